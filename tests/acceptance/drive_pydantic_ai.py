"""Runs inside the environment of Pydantic AI: an agent on each of its models that this gateway can serve does what a
user's would, and what it got is printed as JSON.

usage: drive_pydantic_ai.py ORIGIN KEY
"""

import asyncio
import json
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from anthropic import AsyncAnthropic  # type: ignore[import-not-found]
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, ModelRetry, NativeOutput  # type: ignore[import-not-found]
from pydantic_ai.messages import ModelResponse, ThinkingPart  # type: ignore[import-not-found]
from pydantic_ai.models.anthropic import AnthropicModel  # type: ignore[import-not-found]
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # type: ignore[import-not-found]
from pydantic_ai.models.openrouter import OpenRouterModel  # type: ignore[import-not-found]
from pydantic_ai.providers.anthropic import AnthropicProvider  # type: ignore[import-not-found]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]
from pydantic_ai.providers.openrouter import OpenRouterProvider  # type: ignore[import-not-found]

GPT, CLAUDE = "openai/gpt-5.2", "anthropic/claude-sonnet-4.5"


class Place(BaseModel):
    name: str
    height: int | None


class Report(BaseModel):
    """A weather report."""

    city: str
    days: int
    places: list[Place]


class Wire:
    """Notes the generation id of each answer, in order."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, response: httpx2.Response) -> None:
        if (id := response.headers.get("x-generation-id")) is not None:
            self.ids.append(id)


def _png() -> bytes:
    """One white pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def usage_of(usage: Any) -> dict[str, int]:
    return {
        "input": usage.input_tokens,
        "cached": usage.cache_read_tokens,
        "written": usage.cache_write_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.details.get("reasoning_tokens", usage.details.get("thinking_tokens", 0)),
    }


def answers(messages: list[Any]) -> list[dict[str, Any]]:
    """What the agent kept of each answer of the model."""
    return [
        {
            "parts": [part.part_kind for part in message.parts],
            "id": message.provider_response_id,
            "model": message.model_name,
            "finish": message.finish_reason,
            "usage": usage_of(message.usage),
            "details": message.provider_details,
        }
        for message in messages
        if isinstance(message, ModelResponse)
    ]


def thought_of(part: Any) -> str:
    """The text: what is no summary of it stands apart where the responses API is spoken."""
    return part.content or "".join((part.provider_details or {}).get("raw_content", []))


async def agent_with_tool_and_report(model: Any) -> dict[str, Any]:
    """A tool that asks once to be called again, then a report in the form of a type."""
    called: list[list[Any]] = []
    agent = Agent(model, output_type=Report, instructions="Be brief.", retries=2)

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str, days: int) -> dict[str, Any]:
        """The weather of a city."""
        called.append([city, days])
        return {"sky": "clear", "days": days}

    result = await agent.run("How will the weather be in 'Oslo' for 3 days?")
    return {
        "called": called,
        "output": result.output.model_dump(),
        "usage": usage_of(result.usage),
        "requests": result.usage.requests,
        "answers": answers(result.all_messages()),
    }


async def tool_that_is_asked_again(model: Any) -> dict[str, Any]:
    """A tool refuses its arguments, the model is told and answers in words in the end."""
    called = []
    agent = Agent(model, retries=2)

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        raise ModelRetry(f"{city} is not known; ask again later.")

    result = await agent.run("How is the weather in 'Oslo'?")
    return {"called": called, "output": result.output, "answers": answers(result.all_messages())}


async def native_output(model: Any) -> dict[str, Any]:
    result = await Agent(model, output_type=NativeOutput(Report)).run("Report on 'Oslo' for 4 days.")
    return {"output": result.output.model_dump(), "answers": answers(result.all_messages())}


async def streamed_text(model: Any) -> dict[str, Any]:
    prompt = "Go on. [[prompt=90 cached=40 written=10 completion=24 pieces=4]]"
    async with Agent(model).run_stream(prompt) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        usage = stream.usage
    return {"pieces": pieces, "usage": usage_of(usage), "answers": answers(stream.all_messages())}


async def streamed_agent(model: Any) -> dict[str, Any]:
    """The whole loop of tool and typed report, streamed."""
    agent = Agent(model, output_type=Report)
    called = []

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str, days: int) -> str:
        """The weather of a city."""
        called.append([city, days])
        return "clear"

    async with agent.run_stream("How will the weather be in 'Oslo' for 3 days?") as stream:
        output = await stream.get_output()
    return {"called": called, "output": output.model_dump(), "answers": answers(stream.all_messages())}


async def thinking(model: Any) -> dict[str, Any]:
    """Two turns; the second hands back what the model thought in the first."""
    settings = {"thinking": "low", "max_tokens": 4000, "openai_reasoning_summary": "detailed"}
    agent = Agent(model, model_settings=settings)
    first = await agent.run("Think. [[completion=20 reasoning=8]]")
    thoughts = [thought_of(part) for part in first.response.parts if isinstance(part, ThinkingPart)]
    second = await agent.run("And now? [[completion=6]]", message_history=first.all_messages())
    return {"thoughts": thoughts, "output": second.output, "answers": answers(second.all_messages())}


async def changed_effort(model: Any) -> dict[str, Any]:
    """The second turn wants more thought; models that Pydantic AI trusts with it are told in the conversation."""
    agent = Agent(model, model_settings={"max_tokens": 8000})
    first = await agent.run("Think. [[completion=9]]", model_settings={"thinking": "low"})
    second = await agent.run(
        "Harder. [[completion=8]]", message_history=first.all_messages(), model_settings={"thinking": "high"}
    )
    return {"output": second.output, "answers": answers(second.all_messages())}


async def picture_and_document(model: Any) -> dict[str, Any]:
    page = BinaryContent(b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer <<>>\n%%EOF\n", media_type="application/pdf")
    result = await Agent(model).run(["What is this?", BinaryContent(_png(), media_type="image/png"), page])
    return {"output": result.output, "answers": answers(result.all_messages())}


async def openrouters_settings(model: Any) -> dict[str, Any]:
    """What only the model of OpenRouter can be told."""
    settings = {
        "openrouter_models": [GPT],
        "openrouter_provider": {"order": ["scripted"], "allow_fallbacks": False, "require_parameters": True},
        "openrouter_reasoning": {"effort": "low"},
        "openrouter_usage": {"include": True},
        "openrouter_cache_instructions": "5m",
        "openrouter_cache_messages": "5m",
    }
    result = await Agent(model, instructions="Be brief.", model_settings=settings).run(
        "Hi. [[reasoning=3 completion=9]]"
    )
    return {"output": result.output, "answers": answers(result.all_messages())}


async def faults(model: Any) -> dict[str, Any]:
    found = {}
    for name, prompt in (("refused", "Hi. [[status=400]]"), ("down", "Hi. [[status=500]]")):
        try:
            await Agent(model).run(prompt)
        except ModelHTTPError as error:
            found[name] = error.status_code
    return found


STEPS: tuple[Callable[[Any], Awaitable[dict[str, Any]]], ...] = (
    agent_with_tool_and_report,
    tool_that_is_asked_again,
    native_output,
    streamed_text,
    streamed_agent,
    thinking,
    changed_effort,
    picture_and_document,
    faults,
)


ABLE = {"supports_json_schema_output": True, "supports_thinking": True, "supports_mid_conversation_effort": True}
"""What Pydantic AI does not know of a model by its name alone."""


def models(origin: str, key: str, http: httpx2.AsyncClient) -> dict[str, Any]:
    """Pydantic AI's models, by name, and one more that it takes for one of another vendor."""
    client = AsyncOpenAI(base_url=f"{origin}/api/v1", api_key=key, http_client=http, max_retries=0)
    openrouter, openai = OpenRouterProvider(openai_client=client), OpenAIProvider(openai_client=client)
    anthropic = AnthropicProvider(
        anthropic_client=AsyncAnthropic(base_url=origin, api_key=key, http_client=http, max_retries=0)
    )
    return {
        "OpenRouterModel": OpenRouterModel(GPT, provider=openrouter, profile=ABLE),
        "OpenRouterModel, Claude": OpenRouterModel(CLAUDE, provider=openrouter, profile=ABLE),
        "OpenAIChatModel": OpenAIChatModel(GPT, provider=openai, profile=ABLE),
        "OpenAIResponsesModel": OpenAIResponsesModel(GPT, provider=openai, profile=ABLE),
        "AnthropicModel": AnthropicModel(CLAUDE, provider=anthropic, profile=ABLE),
    }


async def main() -> None:
    origin, key = sys.argv[1:]
    wire = Wire()
    out: dict[str, dict[str, Any]] = {}
    async with httpx2.AsyncClient(event_hooks={"response": [wire]}, timeout=30) as http:
        for name, each in models(origin, key, http).items():
            out[name] = {}
            steps = [*STEPS, openrouters_settings] if isinstance(each, OpenRouterModel) else STEPS
            for step in steps:
                wire.ids.clear()
                got = await step(each)
                out[name][step.__name__] = {**got, "generations": list(wire.ids)}
    print(json.dumps(out, default=str))


if __name__ == "__main__":
    asyncio.run(main())

"""The official `openai` SDK, unmodified, with this gateway as its base URL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.conftest import FLAGGED
from tests.acceptance.gateway import RunningGateway, bearer

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


class Trip(BaseModel):
    city: str
    days: int
    tags: list[str]


@pytest.fixture
def client(gateway: RunningGateway, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=key, base_url=gateway.base, max_retries=0) as opened:
        yield opened


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_a_chat_is_answered_and_counted(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="scripted/cached", messages=said("Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]")
    )
    answer = raw.parse()
    assert answer.id == raw.headers["x-generation-id"]
    assert answer.object == "chat.completion"
    assert answer.model == "scripted/cached"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 90
    assert answer.usage.completion_tokens == 20
    assert answer.usage.total_tokens == 110
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 40
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5


def test_a_stream_gives_the_same_text_and_ends_in_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="scripted/plain",
            messages=said("Go on. [[prompt=11 completion=9 pieces=4]]"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) == 4
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 9)
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_helper_that_accumulates_a_stream_understands_it(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="scripted/plain", messages=said("Go on. [[completion=9]]")) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 9


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_call_makes_its_round_trip(client: openai.OpenAI, streamed: bool) -> None:
    messages = said("What is the weather?")
    if streamed:
        with client.chat.completions.stream(model="scripted/plain", messages=messages, tools=[WEATHER]) as stream:
            choice = stream.get_final_completion().choices[0]
            finish = choice.finish_reason
            message = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
    else:
        answer = client.chat.completions.create(model="scripted/plain", messages=messages, tools=[WEATHER])
        finish = answer.choices[0].finish_reason
        message = answer.choices[0].message.model_dump(exclude_none=True)
    assert finish == "tool_calls"
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "a city", "days": 7}
    call["function"].pop("parsed_arguments", None)
    result: list[ChatCompletionMessageParam] = [
        *messages,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    last = client.chat.completions.create(model="scripted/plain", messages=result, tools=[WEATHER])
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].message.content


def test_structured_outputs_are_parsed_into_the_callers_type(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="scripted/plain", messages=said("Plan."), response_format=Trip)
    assert answer.choices[0].message.parsed == Trip(city="a city", days=7, tags=["a tags"])


def test_models_are_listed(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {"scripted/plain", "scripted/cached"} <= ids


def test_each_fault_is_the_sdks_own_error(gateway: RunningGateway, client: openai.OpenAI) -> None:
    def ask(text: str = "Hi.", model: str = "scripted/plain", **more: object) -> None:
        client.chat.completions.create(model=model, messages=said(text), extra_body=more)

    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(temperature=9)
    with pytest.raises(openai.BadRequestError, match="not a valid model ID"):
        ask(model="scripted/none")
    with pytest.raises(openai.NotFoundError):
        ask(provider={"only": ["nobody"]})
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        ask(f"Say {FLAGGED}.", "scripted/moderated")
    assert forbidden.value.status_code == 403
    with pytest.raises(openai.RateLimitError) as limited:
        ask("Hi. [[status=429]]")
    assert limited.value.response.headers["retry-after"] == "2"
    with pytest.raises(openai.InternalServerError) as down:
        ask("Hi. [[status=500]]")
    assert down.value.status_code == 503
    with (
        openai.OpenAI(api_key="sk-rb-v1-nobodys", base_url=gateway.base, max_retries=0) as nobody,
        pytest.raises(openai.AuthenticationError),
    ):
        nobody.chat.completions.create(model="scripted/plain", messages=said("Hi."))
    with (
        openai.OpenAI(api_key=gateway.new_key(limit=0), base_url=gateway.base, max_retries=0) as poor,
        pytest.raises(openai.APIStatusError) as spent,
    ):
        poor.chat.completions.create(model="scripted/plain", messages=said("Hi."))
    assert spent.value.status_code == 402


def test_an_error_in_a_stream_is_raised_as_the_sdks_own(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="scripted/plain", messages=said("Fail. [[error=2 pieces=4]]"), stream=True
    )
    chunks = iter(stream)
    for _ in range(2):
        assert next(chunks).choices[0].delta.content
    with stream, pytest.raises(openai.APIError) as raised:
        next(chunks)
    assert raised.value.message == "The model crashed."


def test_a_stream_that_is_closed_early_closes_the_provider_and_is_on_the_book(
    gateway: RunningGateway, provider: ScriptedProvider, client: openai.OpenAI, key: str
) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="scripted/plain", messages=said("Go on. [[hang=2 pieces=4]]"), stream=True
    ) as response:
        id = response.headers["x-generation-id"]
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
    gateway.until(lambda: all(entry.intent.id != id for entry in gateway.gateway.app.entries))
    record = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key)).json()["data"]
    assert record["cancelled"] is True
    assert provider.broke_off(record["upstream_id"]).whole is False
    assert record["routebook"]["usage_source"] == "estimated"


def test_the_plain_base_serves_the_same(gateway: RunningGateway, key: str) -> None:
    with openai.OpenAI(api_key=key, base_url=f"{gateway.origin}/v1", max_retries=0) as plain:
        assert plain.chat.completions.create(model="scripted/plain", messages=said("Hi.")).choices


def test_the_asynchronous_client_streams_many_answers_at_once(gateway: RunningGateway, key: str) -> None:
    async def one(client: openai.AsyncOpenAI, place: int) -> str:
        stream = await client.chat.completions.create(
            model="scripted/plain", messages=said(f"Number {place}. [[completion=8 pieces=8]]"), stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(api_key=key, base_url=gateway.base, max_retries=0) as client:
            return await asyncio.gather(*(one(client, place) for place in range(20)))

    assert [len(text.split()) for text in asyncio.run(all_of_them())] == [8] * 20

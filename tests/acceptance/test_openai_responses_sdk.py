"""The official `openai` SDK speaking the responses API to this gateway, unmodified.

Each test runs twice: in front of a provider of the chat API, and in front of a second gateway that is itself a provider
of the responses API, so that events pass through as they came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam
from pydantic import BaseModel

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import RunningGateway, bearer

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Trip(BaseModel):
    city: str
    days: int
    tags: list[str]


@pytest.fixture(scope="module")
def second(gateway: RunningGateway, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose provider is the first one, spoken to in the responses API."""
    lines = [
        "[catalog]\nprice_list = false",
        '[[providers]]\nslug = "first"\nname = "First"\ndialect = "openai_responses"\nabortable = true',
        f'base_url = "{gateway.base}"\napi_key = "{key}"',
    ]
    for name in ("plain", "cached"):
        lines.append(f'[[models]]\nslug = "scripted/{name}"\ncontext_length = 131072')
        lines.append(f'[[models.endpoints]]\nprovider = "first"\nupstream_model = "scripted/{name}"')
        lines.append('[models.endpoints.pricing]\nprompt = "0.000001"\ncompletion = "0.000002"')
    home = tmp_path_factory.mktemp("second") / "home"
    with RunningGateway(home, "\n\n".join(lines) + "\n") as running:
        yield running


@pytest.fixture(params=["chat provider", "responses provider"])
def asked(request: pytest.FixtureRequest, gateway: RunningGateway) -> RunningGateway:
    """The gateway that the client talks to."""
    if request.param == "chat provider":
        return gateway
    through: RunningGateway = request.getfixturevalue("second")
    return through


@pytest.fixture
def own_key(asked: RunningGateway) -> str:
    return asked.new_key(name="responses")


@pytest.fixture
def client(asked: RunningGateway, own_key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=own_key, base_url=asked.base, max_retries=0) as opened:
        yield opened


def test_a_response_is_made_counted_and_on_the_book(asked: RunningGateway, client: openai.OpenAI, own_key: str) -> None:
    raw = client.responses.with_raw_response.create(
        model="scripted/cached", input="Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]"
    )
    answer: Response = raw.parse()
    assert answer.id.startswith("resp_")
    assert (answer.object, answer.status, answer.model) == ("response", "completed", "scripted/cached")
    assert answer.output_text
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (90, 20, 110)
    assert answer.usage.input_tokens_details.cached_tokens == 40
    assert answer.usage.output_tokens_details.reasoning_tokens == 5
    found = httpx2.get(
        f"{asked.base}/generation", params={"id": raw.headers["x-generation-id"]}, headers=bearer(own_key)
    )
    record: dict[str, Any] = json.loads(found.text, parse_float=Decimal)["data"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (90, 20)
    told = json.loads(raw.text, parse_float=Decimal)["usage"]["cost"]
    assert told == record["total_cost"] > 0


def test_a_stream_gives_every_event_and_ends_in_the_whole_response(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(model="scripted/plain", input="Go on. [[prompt=11 completion=9 pieces=4]]", stream=True)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds.count("response.output_text.delta") == 4
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None
    assert (last.response.usage.input_tokens, last.response.usage.output_tokens) == (11, 9)
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == last.response.output_text


def test_the_helper_that_accumulates_a_stream_understands_it(client: openai.OpenAI) -> None:
    with client.responses.stream(model="scripted/cached", input="Think. [[completion=9 reasoning=4]]") as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_response()
    assert {"response.output_text.delta", "response.reasoning_text.delta", "response.completed"} <= kinds
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.output_text


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_call_makes_its_round_trip(client: openai.OpenAI, streamed: bool) -> None:
    question: ResponseInputParam = [{"role": "user", "content": "What is the weather?"}]
    output: list[Any]
    if streamed:
        with client.responses.stream(model="scripted/plain", input=question, tools=[WEATHER]) as stream:
            for _ in stream:
                pass
            output = list(stream.get_final_response().output)
    else:
        output = list(client.responses.create(model="scripted/plain", input=question, tools=[WEATHER]).output)
    (call,) = [item for item in output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "a city", "days": 7})
    history: Any = [
        *question,
        *(item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    last = client.responses.create(model="scripted/plain", input=history, tools=[WEATHER])
    assert last.output_text


def test_structured_outputs_are_parsed_into_the_callers_type(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model="scripted/plain", input="Plan.", text_format=Trip)
    assert answer.output_parsed == Trip(city="a city", days=7, tags=["a tags"])


def test_each_fault_is_the_sdks_own_error(asked: RunningGateway, client: openai.OpenAI) -> None:
    def ask(text: str = "Hi.", model: str = "scripted/plain", **more: Any) -> None:
        client.responses.create(model=model, input=text, extra_body=more)

    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(temperature=9)
    with pytest.raises(openai.BadRequestError, match="answers are not stored"):
        ask(store=True)
    with pytest.raises(openai.BadRequestError, match="answers are not stored"):
        ask(previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError):
        ask(model="scripted/none")
    with pytest.raises(openai.InternalServerError):
        ask("Hi. [[status=500]]")
    with (
        openai.OpenAI(api_key="sk-rb-v1-nobodys", base_url=asked.base, max_retries=0) as nobody,
        pytest.raises(openai.AuthenticationError),
    ):
        nobody.responses.create(model="scripted/plain", input="Hi.")


def test_an_error_in_a_stream_is_its_last_event(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="scripted/plain", input="Fail. [[error=2 pieces=4]]", stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "The model crashed." in last.response.error.message
    assert [event.type for event in events].count("response.output_text.delta") == 2


def test_a_stream_that_is_closed_early_closes_the_provider_and_is_on_the_book(
    asked: RunningGateway, gateway: RunningGateway, provider: ScriptedProvider, client: openai.OpenAI, own_key: str
) -> None:
    with client.responses.with_streaming_response.create(
        model="scripted/plain", input="Go on. [[hang=2 pieces=4]]", stream=True
    ) as response:
        id = response.headers["x-generation-id"]
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
    asked.until(lambda: all(entry.intent.id != id for entry in asked.gateway.app.entries))
    record = httpx2.get(f"{asked.base}/generation", params={"id": id}, headers=bearer(own_key)).json()["data"]
    assert record["cancelled"] is True
    gateway.until(lambda: not gateway.gateway.app.entries)  # the first gateway closed its provider, too
    assert not provider.busy


def test_the_asynchronous_client_streams_many_answers_at_once(asked: RunningGateway, own_key: str) -> None:
    async def one(client: openai.AsyncOpenAI, place: int) -> str:
        stream = await client.responses.create(
            model="scripted/plain", input=f"Number {place}. [[completion=8 pieces=8]]", stream=True
        )
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(api_key=own_key, base_url=asked.base, max_retries=0) as client:
            return await asyncio.gather(*(one(client, place) for place in range(10)))

    assert [len(text.split()) for text in asyncio.run(all_of_them())] == [8] * 10


def test_the_plain_base_serves_the_same(asked: RunningGateway, own_key: str) -> None:
    with openai.OpenAI(api_key=own_key, base_url=f"{asked.origin}/v1", max_retries=0) as plain:
        assert plain.responses.create(model="scripted/plain", input="Hi.").output_text

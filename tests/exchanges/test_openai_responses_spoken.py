"""Every recorded answer of the responses API, said again: to callers of the same API the fast way and the slow way, and
to callers of the chat API. What they get is read back and has to say the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from routebook.core.events import Counted, Delta, Event, Failed
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import openai_chat, openai_responses
from routebook.dialects.base import Receipt, Surface
from routebook.wire.http import HttpHead
from tests import openapi
from tests.dialects.responses_cases import asked, events_of, numbered
from tests.dialects.test_openai_chat_writer import CHARGE, STAMP
from tests.exchanges.harness import Exchange, Facts, exceptions, facts, read, tally
from tests.exchanges.test_openai_responses import ELSEWHERE, FILES, rows_of

SSE = "text/event-stream"
ASKED = {"model": "acme/large", "input": "Hi"}
CHAT = {"model": "m/x", "messages": [{"role": "user", "content": "Hi"}]}
WITH_RESPONSE = ("response.created", "response.in_progress", "response.queued", "response.completed")


def heard(exchange: Exchange) -> list[Event]:
    head = replace(exchange, status=200).head
    reader = openai_responses.UPSTREAM.reader(head, Mint(1_790_000_000, "gen-test"))
    return [*reader.feed(exchange.body), *reader.end()]


def without_native(events: Iterable[Event]) -> list[Event]:
    """What a provider of another dialect would have said; what only this dialect can say stays."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, Delta) and event.native is not None and not event.native.content:
            event = msgspec.structs.replace(event, native=None)
        out.append(event)
    return out


def said(surface: Surface, events: list[Event], streamed: bool, body: dict[str, Any]) -> bytes:
    call = surface.read(json.dumps({**body, "stream": streamed}).encode(), {})
    writer = surface.writer(call)
    writer.start(STAMP)
    usage = next((event.usage for event in reversed(events) if isinstance(event, Counted)), Usage())
    return b"".join([writer.feed(event) for event in events] + [writer.end(Receipt(usage, CHARGE))])


def kept(found: Facts) -> dict[str, Any]:
    """What has to survive being said again; counts but not the provider's own words of them."""
    usage = found.usage or Usage()
    counts = {name: getattr(usage, name) or 0 for name in ("prompt", "completion", "reasoning", "cached")}
    return {
        "text": found.text,
        "reasoning": found.reasoning,
        "refusal": found.refusal,
        "calls": found.tool_calls,
        "finish": found.finish,
        "images": found.images,
        "annotations": found.annotations,
        **counts,
    }


def good(file: str) -> list[tuple[Exchange, list[Event]]]:
    odd = exceptions().get(file, {})
    rows = [(row, heard(row)) for row in rows_of(file) if row.status == 200 and row.name not in odd]
    return [(row, events) for row, events in rows if not isinstance(events[-1], Failed)]


def label(file: str) -> str:
    return file if file != ELSEWHERE else "azure.responses"


def again(body: bytes, streamed: bool) -> Facts:
    head = HttpHead(200, {"content-type": SSE if streamed else "application/json"})
    return facts(read(openai_responses.UPSTREAM, head, [body]))


@pytest.mark.parametrize("file", [*FILES, ELSEWHERE])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_said_again_to_callers_of_the_same_api_it_says_the_same(file: str, streamed: bool) -> None:
    ways: Counter[str] = Counter()
    for exchange, events in good(file):
        expected = kept(facts(read(openai_responses.UPSTREAM, exchange.head, [exchange.body])))
        for way, told in (("passed through", events), ("put together", without_native(events))):
            body = said(openai_responses.SURFACE, told, streamed, ASKED)
            wrong = [f"{exchange.name} {way}"] if kept(again(body, streamed)) != expected else []
            tally(f"{label(file)} said again, {'streamed' if streamed else 'whole'}, {way}", wrong)
            assert kept(again(body, streamed)) == expected, f"{exchange.name}, {way}"
            if streamed:
                numbered(body)
            ways[way] += 1
    print(f"{file}: {dict(ways)}")


@pytest.mark.parametrize("file", [*FILES, ELSEWHERE])
def test_events_of_a_provider_pass_through_as_they_came(file: str) -> None:
    for exchange, events in good(file):
        if exchange.content_type != SSE:
            continue
        body = said(openai_responses.SURFACE, events, True, ASKED)
        stop = next((n for n, value in enumerate(exchange.objects()) if value["type"] == "response.completed"), None)
        theirs = [v for v in exchange.objects()[:stop] if v["type"] not in WITH_RESPONSE]
        ours = [value for value in events_of(body) if value["type"] not in WITH_RESPONSE]
        assert [bare(value) for value in ours] == [bare(value) for value in theirs], exchange.name


def bare(value: dict[str, Any]) -> Any:
    """An event without its number, its padding, and empty lists beside a text."""
    out = {name: member for name, member in value.items() if name not in ("sequence_number", "obfuscation")}
    if value["type"] == "response.output_text.delta" and not value.get("logprobs"):
        out.pop("logprobs", None)
    return json.loads(json.dumps(out, default=float))


@pytest.mark.parametrize("file", [*FILES, ELSEWHERE])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_said_to_callers_of_the_chat_api_it_says_the_same(file: str, streamed: bool) -> None:
    head = HttpHead(200, {"content-type": SSE if streamed else "application/json"})
    for exchange, events in good(file):
        body = said(
            openai_chat.SURFACE, events, streamed, {"model": "m/x", "messages": [{"role": "user", "content": "Hi"}]}
        )
        found = kept(facts(read(openai_chat.UPSTREAM, head, [body])))
        expected = kept(facts(read(openai_responses.UPSTREAM, exchange.head, [exchange.body])))
        wrong = [] if found == expected else [exchange.name]
        tally(f"{label(file)} said to chat, {'streamed' if streamed else 'whole'}", wrong)
        assert found == expected, exchange.name


@pytest.mark.parametrize("file", [*FILES, ELSEWHERE])
def test_what_the_gateway_puts_together_is_what_the_published_schema_says(file: str) -> None:
    """Of answers whose items the schema knows; it is younger than some of the recordings and older than others."""
    known = {"message", "reasoning", "function_call", "web_search_call", "image_generation_call"}
    for exchange, events in good(file):
        plain = [e for e in without_native(events) if not (isinstance(e, Delta) and e.native is not None)]
        notes = [note["type"] for e in plain if isinstance(e, Delta) for note in e.annotations or ()]
        if not {"url_citation", "file_citation", "file_path"}.issuperset(notes):
            continue
        whole = json.loads(said(openai_responses.SURFACE, plain, False, ASKED))
        assert {item["type"] for item in whole["output"]} <= known
        assert openapi.component("OpenResponsesResult").is_valid(whole), (
            exchange.name,
            [error.message for error in openapi.component("OpenResponsesResult").iter_errors(whole)],
        )
        body = said(openai_responses.SURFACE, plain, True, ASKED)
        for value in events_of(body):
            if (value.get("part") or {}).get("type") == "reasoning_text":
                continue  # OpenRouter's own answers have this event; its schema lets it hold other parts alone
            problems = [error.message for error in openapi.component("StreamEvents").iter_errors(value)]
            assert not problems, (exchange.name, value["type"], problems)


def test_openrouter_itself_gives_the_same_members() -> None:
    """The shape of its answers to this API: each event and each member of the response is there, of the same kind."""
    for exchange, events in good("openrouter.responses"):
        streamed = exchange.content_type == SSE
        ours = said(openai_responses.SURFACE, without_native(events), streamed, asked(exchange.request))
        if streamed:
            mine, theirs = events_of(ours), exchange.objects()
            for value in theirs:
                same = next(one for one in mine if kind_of(one) == kind_of(value))
                assert not missing(value, same), (value["type"], missing(value, same))
        else:
            assert not missing(exchange.objects()[0], json.loads(ours))


def kind_of(event: dict[str, Any]) -> tuple[Any, Any, Any]:
    return event["type"], (event.get("item") or {}).get("type"), (event.get("part") or {}).get("type")


def missing(theirs: Any, ours: Any, at: str = "") -> list[str]:
    """Places that OpenRouter's answer has and ours has not, or has of another kind."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        out: list[str] = []
        for name, value in theirs.items():
            place = f"{at}.{name}".lstrip(".")
            if name not in ours:
                out += [] if name in ("phase", "max_tool_calls") else [place]
            elif value is not None and ours[name] is not None:
                out += missing(value, ours[name], place)
        return out
    if isinstance(theirs, list) and isinstance(ours, list):
        return missing(theirs[0], ours[0], f"{at}[0]") if theirs and ours else []
    kinds = [float if type(v).__name__ in ("int", "float", "Decimal") else type(v) for v in (theirs, ours)]
    return [] if kinds[0] is kinds[1] else [f"{at}: {kinds[0].__name__}, {kinds[1].__name__} here"]

"""Every recorded text answer of every dialect, said again to callers of Anthropic's and Gemini's APIs and of the legacy
text API. What they get is read back and has to say the same: text, reasoning, calls, finish, counts.

Where caller and provider speak the same dialect, the provider's own words have to be there, verbatim.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from routebook.core.call import Call, Chat, Message, ReasoningWish
from routebook.core.events import Counted, Delta, Event, Failed
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import anthropic, bedrock, gemini, openai_chat, openai_responses
from routebook.dialects.base import Receipt, Stamp, Surface, Upstream
from routebook.dialects.gemini_surface import GeminiSurface
from routebook.dialects.openai_chat.text import TextSurface
from routebook.metering.counts import split
from routebook.wire.http import HttpHead
from tests import openapi
from tests.dialects.test_openai_chat_writer import CHARGE
from tests.exchanges.harness import FOLDER, Exchange, Facts, exchanges, facts, read, tally

SSE, JSON = "text/event-stream", "application/json"
UPSTREAMS: dict[str, Upstream] = {
    "chat": openai_chat.UPSTREAM,
    "messages": anthropic.UPSTREAM,
    "generate_content": gemini.UPSTREAM,
    "responses": openai_responses.ResponsesUpstream({}),
    "converse": bedrock.Bedrock("bedrock", anthropic.UPSTREAM, native=False),
}
FILES = sorted(
    path.name.removesuffix(".jsonl")
    for path in (FOLDER.iterdir() if FOLDER.exists() else ())
    if path.name.removesuffix(".jsonl").rpartition(".")[2] in UPSTREAMS
)
if not FILES:
    pytest.skip("recorded exchanges are absent: ../shared/exchanges is not here", allow_module_level=True)

STAMP = Stamp("gen-1790000000-k3AbCdEfGhIjKlMnOpQr", 1_790_000_000, "acme/large", "Infermatic")
NO_WORD = {"error"}
"""finish reasons that one of the dialects has no word for: null, or OTHER, which says stop where there is content"""


class Way:
    """One surface, answered streamed or whole, and who reads the answer back."""

    def __init__(self, name: str, surface: Surface, call: Call, back: Upstream | None, kind: str) -> None:
        self.name = name
        self.surface = surface
        self.call = call
        self.back = back
        self.kind = kind

    def written(self, events: Iterable[Event], usage: Usage) -> bytes:
        writer = self.surface.writer(self.call)
        assert writer.content_type == self.kind
        writer.start(STAMP)
        return b"".join([writer.feed(event) for event in events] + [writer.end(Receipt(usage, CHARGE))])


def call(surface: str, stream: bool) -> Call:
    chat = Chat([Message("user", "Hi")], reasoning=ReasoningWish(enabled=True))
    return Call(surface=surface, model="m", chat=chat, raw={}, stream=stream)


def ways() -> list[Way]:
    def own(stream: bool, sse: bool) -> GeminiSurface:
        return GeminiSurface("m", stream, sse)

    return [
        Way("messages streamed", anthropic.SURFACE, call("anthropic", True), anthropic.UPSTREAM, SSE),
        Way("messages whole", anthropic.SURFACE, call("anthropic", False), anthropic.UPSTREAM, JSON),
        Way("gemini streamed", own(True, True), call("gemini", True), gemini.UPSTREAM, SSE),
        Way("gemini as an array", own(True, False), call("gemini", True), gemini.UPSTREAM, JSON),
        Way("gemini whole", own(False, False), call("gemini", False), gemini.UPSTREAM, JSON),
        Way("text streamed", TextSurface(), call("openai_text", True), None, SSE),
        Way("text whole", TextSurface(), call("openai_text", False), None, JSON),
    ]


def heard(upstream: Upstream, row: Exchange, pieces: Iterable[bytes]) -> list[Event]:
    reader = upstream.reader(replace(row, status=200).head, Mint(1_790_000_000, "test"))
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


def good(file: str) -> list[tuple[Exchange, list[Event]]]:
    """The file's answers that are answers of its dialect."""
    upstream = UPSTREAMS[file.rpartition(".")[2]]
    rows = [(row, heard(upstream, row, [row.body])) for row in exchanges(file) if row.status == 200]
    return [(row, events) for row, events in rows if not any(isinstance(event, Failed) for event in events)]


def reported(events: list[Event]) -> Usage:
    return next((event.usage for event in reversed(events) if isinstance(event, Counted)), Usage())


def kept(found: Facts, usage: Usage) -> dict[str, Any]:
    """What has to survive; a refusal is text to callers of these dialects, and what one of them sets apart by blank
    lines another has in blocks of its own."""
    counts = split(usage)
    return {
        "text": found.text + found.refusal,
        "reasoning": "".join(found.reasoning.split()),
        "calls": found.tool_calls,
        "finish": None if found.finish in NO_WORD else found.finish,
        "prompt": usage.prompt or 0,
        "completion": usage.completion or 0,
        "thought": counts.reasoning,
        "read": counts.cache_read + counts.audio_cache_read,
    }


def again(way: Way, body: bytes) -> dict[str, Any]:
    if way.back is not None:
        found = facts(read(way.back, HttpHead(200, {"content-type": way.kind}), [body]))
        return kept(found, found.usage or Usage())
    objects = [json.loads(frame[6:]) for frame in body.decode().split("\n\n") if frame.startswith("data: {")]
    objects = objects or [json.loads(body)]
    rows = [choice for each in objects for choice in each["choices"] if choice["index"] == 0]
    usage = objects[-1]["usage"]
    finish = [row["finish_reason"] for row in rows if row["finish_reason"]]
    return {
        "text": "".join(row["text"] for row in rows),
        "reasoning": "".join("".join(row.get("reasoning", "") for row in rows).split()),
        "finish": finish[-1] if finish and finish[-1] not in NO_WORD else None,
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"],
    }


@pytest.mark.parametrize("way", ways(), ids=lambda way: way.name)
@pytest.mark.parametrize("file", FILES)
def test_a_recorded_answer_says_the_same_to_callers_of_another_dialect(file: str, way: Way) -> None:
    for row, events in good(file):
        found, usage = facts(read(UPSTREAMS[file.rpartition(".")[2]], row.head, [row.body])), reported(events)
        expected = kept(found, usage)
        got = again(way, way.written(events, usage))
        if expected["finish"] is None:
            got["finish"] = None
        wrong = {name: (got[name], expected[name]) for name in got if got[name] != expected[name]}
        tally(f"said again: {way.name}", [str(wrong)] if wrong else [])
        assert not wrong, f"{row.name}: {wrong}"


@pytest.mark.parametrize("way", ways()[:5], ids=lambda way: way.name)
@pytest.mark.parametrize("file", [name for name in FILES if name.endswith((".messages", ".generate_content"))])
def test_however_an_answer_is_cut_its_callers_get_the_same(file: str, way: Way) -> None:
    upstream = UPSTREAMS[file.rpartition(".")[2]]
    for row, events in good(file)[::7]:
        usage = reported(events)
        whole = plainly(way, way.written(events, usage))
        for size in (1000, 97):
            pieces = [row.body[at : at + size] for at in range(0, len(row.body), size)]
            assert plainly(way, way.written(heard(upstream, row, pieces), usage)) == whole, row.name


def plainly(way: Way, body: bytes) -> list[Any]:
    """An answer as JSON; of Gemini's frames what they say together, because the end may come with the last text or
    after it."""
    if way.kind == SSE:
        found = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    else:
        whole = json.loads(body)
        found = whole if isinstance(whole, list) else [whole]
    if not way.name.startswith("gemini"):
        return found
    candidates = [frame.get("candidates") for frame in found]
    ends = [each.get("finishReason") for frame in candidates for each in frame or () if "finishReason" in each]
    return [texts_joined(parts_of(candidates)), ends, found[-1]["usageMetadata"]]


def test_a_message_of_anthropics_keeps_every_block_as_it_came() -> None:
    way = next(way for way in ways() if way.name == "messages whole")
    for row, events in good("anthropic.messages"):
        if row.content_type != JSON:
            continue
        given = json.loads(row.text)
        got = json.loads(way.written(events, reported(events)))
        for block in (*given["content"], *got["content"]):
            block.setdefault("citations", None)
        assert got["content"] == given["content"], row.name
        for name in ("stop_reason", "stop_sequence"):
            assert got[name] == given.get(name), row.name
        assert got["id"] != given["id"]


def test_a_stream_of_anthropics_keeps_every_event_of_its_blocks() -> None:
    way = next(way for way in ways() if way.name == "messages streamed")
    for row, events in good("anthropic.messages"):
        if row.content_type != SSE:
            continue
        given = [event for event in ended(row.objects()) if event["type"].startswith("content_block")]
        written = way.written(events, reported(events)).decode().split("\n")
        got = [json.loads(line[6:]) for line in written if line.startswith("data: ")]
        kinds = [each["type"] for each in got]
        assert (kinds[0], *kinds[-2:]) == ("message_start", "message_delta", "message_stop")
        exact = json.loads(json.dumps(given, default=float))
        assert [event for event in got if event["type"].startswith("content_block")] == exact, row.name


def ended(events: list[Any]) -> list[Any]:
    """The first answer of a recording that strings several together."""
    for place, event in enumerate(events):
        if event["type"] == "message_stop":
            return events[:place]
    return events


@pytest.mark.parametrize("file", [name for name in FILES if name.endswith(".generate_content")])
def test_an_answer_of_geminis_keeps_every_candidate_as_it_came(file: str) -> None:
    streamed, whole = ways()[2], ways()[4]
    for row, events in good(file):
        frames = [frame for frame in row.objects() if frame.get("candidates") or frame.get("promptFeedback")]
        given = json.loads(json.dumps([frame.get("candidates") for frame in frames], default=float))
        if row.content_type == SSE:
            lines = streamed.written(events, reported(events)).decode().split("\n")
            got = [json.loads(line[6:]).get("candidates") for line in lines if line.startswith("data: ")]
            joined = [texts_joined(parts_of(given)), texts_joined(parts_of(got))]
            assert joined[0] == joined[1], row.name
            last = [{k: v for k, v in each[0].items() if k != "content"} for each in (given[-1], got[-1]) if each]
            assert last[:1] == last[1:], row.name
        else:
            body = json.loads(whole.written(events, reported(events)))
            assert texts_joined(parts_of([body.get("candidates")])) == texts_joined(parts_of(given)), row.name


def parts_of(frames: list[Any]) -> list[dict[str, Any]]:
    return [
        part
        for candidates in frames
        for candidate in candidates or ()
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]


def texts_joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for part in parts:
        if part == {"text": ""}:
            continue
        if out and set(part) == {"text"} == set(out[-1]):
            out[-1] = {"text": out[-1]["text"] + part["text"]}
        else:
            out.append(part)
    return out


@pytest.mark.parametrize("file", [name for name in FILES if not name.endswith(".messages")])
def test_what_is_made_for_anthropics_callers_follows_the_published_schema(file: str) -> None:
    openapi.needed()
    streamed, whole = ways()[:2]
    for _, events in good(file)[::3]:
        usage = reported(events)
        if any(isinstance(event, Delta) and event.images for event in events):
            continue  # a picture that a model made has no place in that schema
        openapi.check("POST", "/messages", 200, json.loads(whole.written(events, usage)))
        for frame in filter(None, streamed.written(events, usage).decode().split("\n\n")):
            kind, data = frame.split("\n")
            value = {"event": kind.removeprefix("event: "), "data": json.loads(data.removeprefix("data: "))}
            openapi.check("POST", "/messages", 200, value, SSE)

"""What the tests of the responses dialect share: answers as bytes, ways of feeding them, calls, what was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.core.events import Delta, Event, Native
from routebook.core.ids import Mint
from routebook.dialects.openai_responses import SURFACE, ResponsesUpstream
from routebook.dialects.vendors import Vendor
from routebook.wire.http import HttpHead, HttpRequest
from tests.dialects.chat_cases import comparable
from tests.dialects.plainest import plainest

JSON = "application/json"
SSE = "text/event-stream"

USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 18,
}


def response(output: Iterable[Mapping[str, Any]] = (), status: str = "completed", **more: Any) -> dict[str, Any]:
    """A response object as a provider gives it."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m-1",
        "output": list(output),
        "error": None,
        "incomplete_details": None,
        "usage": USAGE if status in ("completed", "incomplete") else None,
        "service_tier": "default",
        "user": "somebody-hashed",
        "store": False,
        "temperature": 1.0,
        **more,
    }


def message(*texts: str, id: str = "msg_1", **more: Any) -> dict[str, Any]:
    """An item of words."""
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": id, "status": "completed", "role": "assistant", "content": content, **more}


def stream(*events: Mapping[str, Any], named: bool = True, done: bool = False) -> bytes:
    """Events as a provider frames them, numbered."""
    out: list[str] = []
    for number, event in enumerate(events):
        head = f"event: {event['type']}\n" if named else ""
        numbered = event if "sequence_number" in event else {**event, "sequence_number": number}
        out.append(f"{head}data: {json.dumps(numbered)}\n\n")
    return ("".join(out) + ("data: [DONE]\n\n" if done else "")).encode()


def text_stream(*pieces: str, end: Mapping[str, Any] | None = None, **framing: bool) -> bytes:
    """A whole stream of one message in these pieces."""
    whole = "".join(pieces)
    item = {"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    last = end if end is not None else {"type": "response.completed", "response": response([message(whole)])}
    return stream(
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.in_progress", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": part},
        *({"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in pieces),
        {"type": "response.output_text.done", **at, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": {**part, "text": whole}},
        {"type": "response.output_item.done", "output_index": 0, "item": message(whole)},
        last,
        **framing,
    )


def heard(body: bytes, kind: str = SSE, cuts: Iterable[int] = ()) -> list[Event]:
    """The events of these bytes, cut at these places."""
    reader = ResponsesUpstream().reader(HttpHead(200, {"content-type": kind}), Mint(1, "gen-x"))
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    out = [event for a, b in pairwise(places) for event in reader.feed(body[a:b])]
    return out + reader.end()


def natives(events: Iterable[Event]) -> list[Native]:
    """What the provider itself wrote, event by event; text that took the short way is not among it."""
    return [event.native for event in events if isinstance(event, Delta) and event.native is not None]


def three_ways(body: bytes, kind: str = SSE) -> list[Event]:
    """The events in their plainest form, which whole, byte by byte and with junk behind are the same."""
    whole, single = heard(body, kind), heard(body, kind, range(1, len(body)))
    assert natives(single) == natives(whole)
    plain = plainest(whole)
    assert comparable(plainest(single)) == comparable(plain)
    return plain


def asked(body: Any) -> dict[str, Any]:
    """A recorded request as a caller would send it here."""
    kept = {name: value for name, value in body.items() if name not in ("store", "provider")}
    return {**kept, "model": "acme/large"}


def called(**members: Any) -> Call:
    """A call with these members, `input` being Hi."""
    return SURFACE.read(json.dumps({"model": "acme/large", "input": "Hi", **members}).encode(), {})


def endpoint(vendor: str | None = None, **more: Any) -> Endpoint:
    provider = Provider(
        slug="acme", name="Acme", dialect="openai_responses", base_url="https://api.acme.test/v1/", vendor=vendor
    )
    return Endpoint(id="e1", model="acme/large", provider=provider, upstream_model="large-2026", tag="acme", **more)


def built(call: Call, *, vendors: Mapping[str, Vendor] | None = None, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """(the body that a call makes, the parameters that were lost)."""
    losses = Losses()
    vendor = more.pop("vendor", None)
    request = ResponsesUpstream(vendors).build(call, endpoint(vendor, **more), "secret", losses)
    return json.loads(request.body), [loss.parameter for loss in losses.items]


def request_of(call: Call, **more: Any) -> HttpRequest:
    return ResponsesUpstream().build(call, endpoint(**more), "secret", Losses())


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events that a caller was written, the end mark last and left out."""
    blocks = [block for block in body.decode().split("\n\n") if block and not block.startswith(":")]
    assert blocks.pop() == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def numbered(body: bytes) -> list[dict[str, Any]]:
    """The same, counted from 0 without a gap, begun and ended as the API says, every item between its two events."""
    events = events_of(body)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete", "response.failed")
    opened: set[int] = set()
    for event in events[1:-1]:
        place = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert place not in opened
            opened.add(event["output_index"])
        elif place is not None:
            assert place in opened, event
        if event["type"] == "response.output_item.done":
            opened.discard(place)
    if kinds[-1] != "response.failed":
        assert not opened
    return events

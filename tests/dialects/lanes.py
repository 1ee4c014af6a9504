"""What the tests of the fast lanes share: one answer read the fast way and the full way, and everything compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from routebook.core.events import Counted, Event, Failed, Plain
from routebook.core.ids import Mint
from routebook.dialects import plain
from routebook.dialects.base import Upstream
from routebook.dialects.openai_chat import SURFACE, reader
from routebook.metering.meter import Meter
from routebook.wire.http import HttpHead
from tests.dialects.chat_cases import SSE, comparable, hello
from tests.dialects.plainest import compact, plainest
from tests.dialects.test_openai_chat_writer import RECEIPT, STAMP

WORDS = ["a", "b", "ü\n", 'say "x"', "\\", "日本\u2028", "😀", "z"]


def fed(upstream: Upstream, pieces: Iterable[bytes], kind: str = SSE) -> list[Event]:
    one = upstream.reader(HttpHead(200, {"content-type": kind}), Mint(1, "gen-x"))
    return [event for piece in pieces for event in one.feed(piece)] + one.end()


def metered(events: list[Event]) -> dict[str, Any]:
    """Everything that the meter knows in the end."""
    meter = Meter()
    for event in events:
        meter.feed(event)
    known = {name: getattr(meter, name) for name in Meter.__struct_fields__ if not name.startswith("_")}
    return {**known, "usage": compact(meter.usage), "reported": meter.reported}


def written(events: list[Event], streamed: bool, **members: Any) -> list[Any]:
    """What a caller of the chat dialect whose request has these members gets, as JSON."""
    writer = SURFACE.writer(hello(stream=streamed, **members))
    writer.start(STAMP)
    body = b"".join(writer.feed(event) for event in events if not isinstance(event, Failed)) + writer.end(RECEIPT)
    if not streamed:
        return [json.loads(body)]
    return [json.loads(frame[6:]) for frame in body.split(b"\n\n") if frame and frame != b"data: [DONE]"]


def settled(events: list[Event]) -> list[Any]:
    """The events in their plainest form; of the reports of usage only the last, at the end: it replaces the others."""
    whole = plainest(events)
    reports = [event for event in whole if isinstance(event, Counted)]
    return comparable([event for event in whole if not isinstance(event, Counted)] + [*reports[-1:]])


def both_ways(upstream: Upstream, body: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    """The events of these bytes, cut at these places, after a look at what the full way alone makes of them."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    quick = fed(upstream, [body[a:b] for a, b in pairwise(places)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "TRIES_MAX", 0)
        patch.setattr(reader, "common_chunk", lambda data: None)
        full = fed(upstream, [body])
    assert not any(isinstance(event, Plain) for event in full)
    assert settled(quick) == settled(full)
    assert metered(quick) == metered(full)
    for streamed in (True, False):
        assert written(quick, streamed) == written(full, streamed)
    return quick


def ends_of(body: bytes, frames: int, blank: bytes = b"\n\n") -> Iterator[int]:
    """Places where a read would end that holds this many events."""
    at = 0
    while at < len(body):
        for _ in range(frames):
            end = body.find(blank, at)
            at = end + len(blank) if end >= 0 else len(body)
        yield at


def plain_pieces(events: Iterable[Event]) -> int:
    return sum(len(event.texts) for event in events if isinstance(event, Plain))

"""OpenRouter's own answers and this gateway's, to the same calls: the same members, of the same kinds, in the same
places. What it was answered is read, all that only its own lane would pass on is taken out, and said again.

Missing members are named in `OWN`, with the reason; any other difference fails. Money, ids and texts differ, of course.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from routebook.core.events import Delta, Event, Failed
from routebook.dialects import openai_chat
from routebook.dialects.base import Receipt
from routebook.wire import codec
from tests.dialects.plainest import plainest
from tests.dialects.test_openai_chat_writer import CHARGE, STAMP
from tests.exchanges.harness import FOLDER, Exchange, exchanges, tally
from tests.exchanges.test_respoken import heard, reported

FILE = "openrouter.chat"
if not (FOLDER / f"{FILE}.jsonl").exists():
    pytest.skip("recorded exchanges are absent: ../shared/exchanges is not here", allow_module_level=True)

OWN = {
    "usage.server_tool_use_details": "of tools that OpenRouter ran itself, where it made no search",
    "usage.server_tool_use_details.tool_calls_requested": "of tools that OpenRouter ran itself",
    "usage.server_tool_use_details.tool_calls_executed": "of tools that OpenRouter ran itself",
    "choices[].message.annotations": "an empty list; left out here where nothing is cited",
    "choices[].message.content": "an empty text beside calls; null here, as in most of its answers",
}
ROWS = list(exchanges(FILE))


def spoken(row: Exchange) -> list[Any]:
    """What callers here get for it: the body, or the chunks of the stream."""
    events = [bare(event) for event in plainest(heard(openai_chat.UPSTREAM, row, [row.body]))]
    failed = next((event for event in events if isinstance(event, Failed)), None)
    asked = {**(row.request or {}), "model": "acme/large", "stream": row.stream}
    known = {"messages": [{"role": "user", "content": "Hi"}], **asked}
    surface = openai_chat.SURFACE
    writer = surface.writer(surface.read(codec.encode(known), {}))
    writer.start(STAMP)
    body = b"".join([writer.feed(event) for event in events if event is not failed])
    if failed is not None:
        body += writer.fault(failed.fault) or b""
    body += writer.end(Receipt(reported(events), CHARGE))
    if not row.stream:
        return [json.loads(body)]
    return [json.loads(frame[6:]) for frame in body.decode().split("\n\n") if frame.startswith("data: {")]


def bare(event: Event) -> Event:
    """Without what passes through for being of the same dialect."""
    if isinstance(event, Delta):
        return replace(event, extra=None, native=None)
    return event


def shape(value: Any, at: str = "") -> Iterable[tuple[str, str]]:
    """(place, kind) of everything in it; items of a list share a place."""
    if isinstance(value, dict):
        yield at, "object"
        for name, member in value.items():
            yield from shape(member, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list):
        yield at, "list"
        for item in value:
            yield from shape(item, f"{at}[]")
    elif value is not None:
        numbers = ("int", "float", "Decimal")
        yield at, "number" if type(value).__name__ in numbers else type(value).__name__


def kinds(values: Iterable[Any]) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for value in values:
        for place, kind in shape(value):
            out.setdefault(place, set()).add(kind)
    return out


def differences(row: Exchange) -> list[str]:
    """Places that are missing here, or hold something of another kind."""
    theirs, ours = kinds(row.objects()), kinds(spoken(row))
    out = []
    for place, found in theirs.items():
        if place not in ours:
            out.append(place)
        elif not found <= ours[place]:
            out.append(f"{place}: {sorted(found)}, {sorted(ours[place])} here")
    return out


def test_what_is_named_as_openrouters_own_is_nothing_more_than_that() -> None:
    """Of its annotations and contents, that is, only empty ones."""
    for row in ROWS:
        for value in row.objects():
            for choice in value.get("choices") or ():
                message = choice.get("message") or {}
                there = {place for place in differences(row) if place.startswith("choices[].message.")}
                for place in there:
                    assert message[place.rpartition(".")[2]] in ([], ""), row.name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.rpartition("/")[2])
def test_an_answer_has_every_member_of_openrouters(row: Exchange) -> None:
    missing = [place for place in differences(row) if place not in OWN]
    tally("openrouter.chat, shape", missing)
    assert not missing

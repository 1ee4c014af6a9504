"""Events in the one form in which tests compare them, whichever way they were read."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from routebook.core.events import Counted, Delta, Event
from routebook.core.usage import Usage
from routebook.wire import codec
from routebook.wire.text import expand


def plainest(events: Iterable[Event]) -> list[Event]:
    """Runs of text piece by piece, the provider's usage object without its blanks, and of a provider's own words only
    what the events say canonically."""
    out: list[Event] = []
    for event in expand(events):
        if isinstance(event, Counted):
            out.append(Counted(compact(event.usage)))
        elif isinstance(event, Delta) and event.native is not None:
            canonical = msgspec.structs.replace(event, native=None)
            if canonical != Delta(index=event.index):
                out.append(canonical)
        else:
            out.append(event)
    return out


def compact(usage: Usage) -> Usage:
    if usage.raw is None:
        return usage
    return msgspec.structs.replace(usage, raw=codec.encode(codec.decode_exact(usage.raw)))

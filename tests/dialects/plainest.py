"""Events in the one form in which tests compare them, whichever way they were read."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from routebook.core.events import Counted, Event
from routebook.core.usage import Usage
from routebook.wire import codec
from routebook.wire.text import expand


def plainest(events: Iterable[Event]) -> list[Event]:
    """Runs of text piece by piece, and the provider's usage object without its blanks."""
    return [Counted(compact(event.usage)) if isinstance(event, Counted) else event for event in expand(events)]


def compact(usage: Usage) -> Usage:
    if usage.raw is None:
        return usage
    return msgspec.structs.replace(usage, raw=codec.encode(codec.decode_exact(usage.raw)))

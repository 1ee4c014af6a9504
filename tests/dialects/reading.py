"""Reading an answer in ways that may not matter: whole, byte by byte, with trailing junk; and damaged at random."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from routebook.core.events import Counted, Event, Failed, Finish
from routebook.core.ids import Mint
from routebook.dialects.base import Upstream
from routebook.wire.http import HttpHead
from tests.dialects.plainest import plainest


def fed(upstream: Upstream, head: HttpHead, pieces: Iterable[bytes]) -> list[Any]:
    """Events with failures as (kind, message), so that they compare."""
    reader = upstream.reader(head, Mint(1_790_000_000, "seed"))
    events: list[Event] = []
    for piece in pieces:
        events += reader.feed(piece)
    events += reader.end()
    return [(type(e.fault), e.fault.message) if isinstance(e, Failed) else e for e in plainest(events)]


def read(upstream: Upstream, head: HttpHead, body: bytes, junk: bytes = b"") -> list[Any]:
    """The events of an answer, equal in all three ways."""
    whole = fed(upstream, head, [body])
    assert fed(upstream, head, [body[at : at + 1] for at in range(len(body))]) == whole
    if junk and not any(isinstance(event, tuple) for event in whole):
        assert fed(upstream, head, [body, junk]) == whole
    return whole


def ends_cut(upstream: Upstream, head: HttpHead, body: bytes) -> None:
    """An answer cut at any place is never taken for a whole one: it fails unless its finish was read already."""
    for at in range(len(body)):
        events = fed(upstream, head, [body[:at]])
        failed = sum(isinstance(event, tuple) for event in events)
        finished = any(isinstance(event, Finish) for event in events)
        assert failed == (not finished), f"cut at {at}: {events}"


def survives_damage(upstream: Upstream, head: HttpHead, body: bytes, rounds: int = 400) -> None:
    """Bytes that are changed, dropped or doubled never raise, fail once at most, and nothing follows a failure."""
    dice = random.Random(len(body))
    for _ in range(rounds):
        broken = bytearray(body)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(broken))
            match dice.randrange(3):
                case 0:
                    broken[at] = dice.randrange(256)
                case 1:
                    del broken[at : at + dice.randrange(1, 30)]
                case _:
                    broken[at:at] = broken[at : at + dice.randrange(1, 30)]
            if not broken:
                break
        cut = dice.randrange(len(broken) + 1)
        events = fed(upstream, head, [bytes(broken[:cut]), bytes(broken[cut:])])
        failures = [at for at, event in enumerate(events) if isinstance(event, tuple)]
        assert failures in ([], [len(events) - 1])
        assert failures or any(isinstance(event, Finish) for event in events)


def of(events: list[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def usage(events: list[Any]) -> Any:
    """The report that counts."""
    return of(events, Counted)[-1].usage

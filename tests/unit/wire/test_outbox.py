"""Writes of one turn of the loop: in order, together, and none lost because of another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from routebook.wire.outbox import Outbox


class Loop:
    """Runs what was asked for when the test says so."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


def test_what_one_turn_puts_in_leaves_in_order_when_it_is_over() -> None:
    loop, sent = Loop(), list[bytes]()
    outbox = Outbox(loop.call_soon)
    for data in (b"a", b"b", b"c"):
        outbox.put(sent.append, data)
    assert (sent, len(loop.ready)) == ([], 1)
    loop.turn()
    assert (sent, loop.ready) == ([b"a", b"b", b"c"], [])


def test_who_closes_empties_it_first_and_nothing_leaves_twice() -> None:
    loop, sent = Loop(), list[bytes]()
    outbox = Outbox(loop.call_soon)
    outbox.put(sent.append, b"a")
    outbox.flush()
    assert sent == [b"a"]
    loop.turn()
    assert sent == [b"a"]


def test_one_that_cannot_leave_does_not_keep_the_others() -> None:
    """They are answers to other callers."""
    loop, sent = Loop(), list[bytes]()
    outbox = Outbox(loop.call_soon)

    def broken(data: bytes) -> None:
        raise RuntimeError("nobody foresaw this")

    outbox.put(sent.append, b"a")
    outbox.put(broken, b"b")
    outbox.put(sent.append, b"c")
    with pytest.raises(RuntimeError):
        loop.turn()
    loop.turn()
    assert sent == [b"a", b"c"]

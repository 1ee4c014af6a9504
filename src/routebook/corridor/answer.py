"""The caller's side of one exchange. Owns the first-byte rule: before it an error has a true HTTP status, after it an
error is an event in the caller's dialect. Nobody else knows whether headers are out.

Source: inference API, section 2.4; headers wait at most HEADERS_WAIT_NS, then 200 and keep-alive comments.
"""

from __future__ import annotations

import math

from routebook.core.errors import Fault
from routebook.core.events import Event
from routebook.corridor.ports import Reply, Watcher
from routebook.corridor.translation import UNKNOWN
from routebook.dialects.base import Receipt, Stamp, Surface, Writer
from routebook.observe.clock import NS

HEADERS_WAIT_NS = 10 * NS
"""A streamed answer's headers wait this long for the first content; failover stays invisible meanwhile."""
KEEPALIVE_NS = 10 * NS
"""Silence after which a waiting caller of a stream gets a comment."""


class Answer:
    """Writes one answer to one Reply."""

    __slots__ = (
        "_begun",
        "_id",
        "_last_ns",
        "_reply",
        "_started",
        "_surface",
        "_writer",
        "ended",
        "streamed",
        "translation",
    )

    def __init__(self, reply: Reply, surface: Surface, accepted_ns: int, id: str | None = None) -> None:
        """`id`: of the call that the answer is about, where it is known before `bind`."""
        self._reply = reply
        self._surface = surface
        self._writer: Writer | None = None
        self._id = id
        self._begun = False
        self._started = False
        self._last_ns = accepted_ns
        self.streamed = False
        self.ended = False
        self.translation: str | None = None
        """what the head tells of it; None where the caller did not ask"""

    def bind(self, id: str, writer: Writer, streamed: bool, watcher: Watcher) -> None:
        """The call is admitted: from here on the answer carries its id and reports how the caller fares."""
        self._id = id
        self._writer = writer
        self.streamed = streamed
        self._reply.watch(watcher)

    def start(self, stamp: Stamp) -> None:
        """Who answers is decided: the first content event came."""
        assert self._writer is not None
        if not self._started:
            self._started = True
            self._writer.start(stamp)

    def events(self, events: list[Event], now_ns: int) -> None:
        """Events of the answer go to the caller, in one write."""
        assert self._writer is not None
        feed = self._writer.feed
        data = feed(events[0]) if len(events) == 1 else b"".join([feed(event) for event in events])
        if not data:
            return
        if self._begun:
            self._last_ns = now_ns
            self._reply.write(data)
        else:
            self._send(data, now_ns)

    def keep_alive(self, accepted_ns: int, now_ns: int) -> None:
        """Called by the sweep: commits a stream's headers when they have waited long enough, and breaks silences."""
        if not self.streamed or self.ended or self._writer is None:
            return
        due = now_ns - self._last_ns >= KEEPALIVE_NS if self._begun else now_ns - accepted_ns >= HEADERS_WAIT_NS
        if due and (comment := self._writer.keepalive()):
            if self.translation is not None and not self._started:
                self.translation = UNKNOWN  # who answers is open, and with that what they could not be told
            self._send(comment, now_ns)

    def fail(self, fault: Fault, stamp: Stamp, now_ns: int) -> bool:
        """The call failed. True if an in-band error was written and `finish` must follow; False if nothing is out yet,
        so that `refuse` is to answer once the record is durable."""
        if not self._begun and (self.streamed or not self._started):
            return False
        assert self._writer is not None
        self.start(stamp)
        data = self._writer.fault(fault)
        if data is None:
            return False
        if data:
            self._send(data, now_ns)
        return True

    def refuse(self, fault: Fault) -> None:
        """The whole answer is this error, with its true status; or, with headers out, an end without an end mark."""
        if self.ended:
            return
        self.ended = True
        if self._begun:
            self._reply.end()
            return
        body = self._surface.error_body(fault, self._id)
        again = None
        if fault.retry_after is not None and fault.status in (409, 429, 503):
            again = max(0, math.ceil(fault.retry_after))
        self._reply.begin(fault.status, "application/json", self._id, len(body), again, translation=self.translation)
        self._reply.end(body)

    def finish(self, receipt: Receipt) -> None:
        """The record is durable: the caller may have the last byte."""
        if self.ended:
            return
        assert self._writer is not None
        data = self._writer.end(receipt)
        self.ended = True
        if not self._begun:
            length = None if self.streamed else len(data)
            self._reply.begin(200, self._writer.content_type, self._id, length, translation=self.translation)
        self._reply.end(data)

    def drop(self) -> None:
        """The caller has gone: nothing more is written."""
        if not self.ended:
            self.ended = True
            self._reply.end()

    def _send(self, data: bytes, now_ns: int) -> None:
        assert self._writer is not None
        if not self._begun:
            self._begun = True
            self._reply.begin(200, self._writer.content_type, self._id, None, translation=self.translation)
        self._last_ns = now_ns
        self._reply.write(data)

"""Watches one attempt's events and knows, at any moment, what it has cost and said so far. Pure, one per attempt."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from routebook.core.events import Counted, Delta, Event, Failed, Finish, Plain, Start, ToolDelta, Whole
from routebook.core.usage import COUNT_MAX, Usage

_NOTHING = Usage()


class Called(msgspec.Struct):
    """One tool call of the answer, as far as it came."""

    type: str
    name: str | None = None
    pieces: list[str] = []
    """of its arguments"""


class Meter(msgspec.Struct, eq=False):
    """Feed it every event of the attempt that answers, in order. A struct, because that is quicker to make."""

    upstream_id: str | None = None
    upstream_model: str | None = None
    upstream_provider: str | None = None
    service_tier: str | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    finished: bool = False
    """every choice that began has ended"""
    frames: int = 0
    """events that carried content"""
    delivered_bytes: int = 0
    """UTF-8 bytes of text, reasoning, refusals and tool arguments"""
    media: int = 0
    """images in the answer, plus one if it has audio"""
    tool_calls: dict[tuple[int, int], Called] | None = None
    """by choice and place in it; None if there was none"""
    _usage: Usage = _NOTHING
    _reported: bool = False
    _late: Callable[[], Counted] | None = None
    """the report that came with the last run of text, not worked out yet: most of them are never looked at"""
    _open: set[int] = set()
    _ended: set[int] = set()

    @property
    def usage(self) -> Usage:
        """the last report"""
        if self._late is not None:
            self._work_out()
        return self._usage

    @property
    def reported(self) -> bool:
        """the provider gave a usage report with a completion count"""
        if self._late is not None:
            self._work_out()
        return self._reported

    @property
    def open_choices(self) -> tuple[int, ...]:
        """Choices that have not ended; the first one if none was heard of."""
        return tuple(sorted(self._open)) or ((0,) if not self._ended else ())

    def feed(self, event: Event) -> None:
        if isinstance(event, Plain):
            if event.index not in self._open:
                self._begin(event.index)
            self.frames += len(event.texts)
            self.delivered_bytes += event.size
            if event.report is not None:
                self._late = event.report
        elif isinstance(event, Whole):
            self._whole(event)
        elif isinstance(event, Delta):
            self._delta(event)
        elif isinstance(event, Counted):
            if self._late is not None:
                self._work_out()
            self._count(event)
        elif isinstance(event, Finish):
            self._finish(event)
        elif isinstance(event, Start):
            self.upstream_id = event.upstream_id or self.upstream_id
            self.upstream_model = event.model or self.upstream_model
            self.upstream_provider = event.provider or self.upstream_provider
            self.service_tier = event.service_tier or self.service_tier
        elif isinstance(event, Failed):
            self.finish_reason = "error"

    def _whole(self, event: Whole) -> None:
        """What its parts would do, in one step; the text is not empty and the counts are believable."""
        if self._open or self._ended:
            for part in event.parts():
                self.feed(part)
            return
        start, finish, said, usage = event.start, event.finish, event.text or "", event.usage
        self.upstream_id = start.upstream_id
        self.upstream_model = start.model
        self.upstream_provider = start.provider
        self.service_tier = start.service_tier
        self.frames = 1
        self.delivered_bytes = len(said) if said.isascii() else len(said.encode())
        self.finish_reason = finish.reason
        self.native_finish_reason = finish.native
        self.finished = True
        self._ended.add(finish.index)
        self._usage = usage
        self._reported = usage.completion is not None

    def _work_out(self) -> None:
        late, self._late = self._late, None
        if late is not None:
            self._count(late())

    def _count(self, event: Counted) -> None:
        self._usage = believable(event.usage)
        self._reported = self._reported or self._usage.completion is not None

    def _begin(self, index: int) -> None:
        """A choice is heard of; after its end it stays ended, whatever else comes of it."""
        if index not in self._ended:
            self._open.add(index)
            self.finished = False

    def _delta(self, delta: Delta) -> None:
        if delta.index not in self._open:
            self._begin(delta.index)
        if not delta.content:
            return
        self.frames += 1
        size = 0
        for text in (delta.text, delta.reasoning, delta.refusal):
            if text:
                size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for tool in delta.tool_calls or ():
            size += len(tool.arguments.encode("utf-8", "surrogatepass")) + len(tool.name or "")
            self._call(delta.index, tool)
        self.delivered_bytes += size
        self.media += len(delta.images or ())
        if delta.audio and not self.media:
            self.media = 1

    def _call(self, choice: int, piece: ToolDelta) -> None:
        calls = self.tool_calls
        if calls is None:
            calls = self.tool_calls = {}
        called = calls.get((choice, piece.index))
        if called is None:
            called = calls[choice, piece.index] = Called(piece.type)
        called.name = called.name or piece.name
        called.pieces.append(piece.arguments)

    def _finish(self, finish: Finish) -> None:
        # Of several choices the first to end names the reason, unless a later one failed.
        if not self._ended or finish.reason == "error":
            self.finish_reason = finish.reason
            self.native_finish_reason = finish.native
        self._open.discard(finish.index)
        self._ended.add(finish.index)
        self.finished = not self._open


def believable(usage: Usage) -> Usage:
    """The report without counts that cannot be: below 0 or above COUNT_MAX. What the provider wrote stays in `raw`."""
    known = sorted(filter(None, msgspec.structs.astuple(usage)[:_RAW]))
    if not known or (known[0] >= 0 and known[-1] <= COUNT_MAX):
        return usage
    wrong = {
        name: None for name in _COUNTS if (count := getattr(usage, name)) is not None and not 0 <= count <= COUNT_MAX
    }
    return msgspec.structs.replace(usage, **wrong)


_RAW = Usage.__struct_fields__.index("raw")
_COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "raw")

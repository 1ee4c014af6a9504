"""Watches one attempt's events and knows, at any moment, what it has cost and said so far. Pure, one per attempt."""

from __future__ import annotations

import msgspec

from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start
from routebook.core.usage import Usage

COUNT_MAX = 10**9
"""No model takes or makes more tokens in one answer: a count beyond it is a provider's mistake, and unknown."""


class Meter:
    """Feed it every event of the attempt that answers, in order."""

    __slots__ = (
        "_ended",
        "_open",
        "delivered_bytes",
        "finish_reason",
        "finished",
        "frames",
        "media",
        "native_finish_reason",
        "reported",
        "service_tier",
        "upstream_id",
        "upstream_model",
        "upstream_provider",
        "usage",
    )

    def __init__(self) -> None:
        self.usage = Usage()
        self.reported = False
        """the provider gave a usage report with a completion count"""
        self.upstream_id: str | None = None
        self.upstream_model: str | None = None
        self.upstream_provider: str | None = None
        self.service_tier: str | None = None
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.finished = False
        """every choice that began has ended"""
        self._open: set[int] = set()
        self._ended: set[int] = set()
        self.frames = 0
        """events that carried content"""
        self.delivered_bytes = 0
        """UTF-8 bytes of text, reasoning, refusals and tool arguments"""
        self.media = 0
        """images in the answer, plus one if it has audio"""

    def feed(self, event: Event) -> None:
        if isinstance(event, Delta):
            self._delta(event)
        elif isinstance(event, Counted):
            self.usage = believable(event.usage)
            self.reported = self.reported or self.usage.completion is not None
        elif isinstance(event, Finish):
            self._finish(event)
        elif isinstance(event, Start):
            self.upstream_id = event.upstream_id or self.upstream_id
            self.upstream_model = event.model or self.upstream_model
            self.upstream_provider = event.provider or self.upstream_provider
            self.service_tier = event.service_tier or self.service_tier
        elif isinstance(event, Failed):
            self.finish_reason = "error"

    def _delta(self, delta: Delta) -> None:
        if delta.index not in self._open and delta.index not in self._ended:
            self._open.add(delta.index)
            self.finished = False
        if not delta.content:
            return
        self.frames += 1
        size = 0
        for text in (delta.text, delta.reasoning, delta.refusal):
            if text:
                size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for tool in delta.tool_calls or ():
            size += len(tool.arguments.encode("utf-8", "surrogatepass")) + len(tool.name or "")
        self.delivered_bytes += size
        self.media += len(delta.images or ())
        if delta.audio and not self.media:
            self.media = 1

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
    wrong = {
        name: None for name in _COUNTS if (count := getattr(usage, name)) is not None and not 0 <= count <= COUNT_MAX
    }
    return msgspec.structs.replace(usage, **wrong) if wrong else usage


_COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "raw")

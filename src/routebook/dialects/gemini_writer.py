"""Gemini, answers to callers: the stream of frames (server-sent events, or one JSON array), the whole answer, usage,
and errors.

Part of the dialect in `gemini.py`. What a provider of the same dialect wrote is written as it came, with its
`modelVersion`, `responseId` and usage made the gateway's (`core.events.Native`); all else is made of canonical events
by `gemini_candidates`. This dialect has no end mark: the frame with the finish reason is the end, so it waits for the
record.
Sources, read 2026-11: ai.google.dev "Generating content" (GenerateContentResponse, UsageMetadata), "Troubleshooting";
google.rpc.Code; inference API, section 14; generation record, section 9.
"""

from __future__ import annotations

from typing import Any

from routebook.core.errors import Fault, Internal, UpstreamFault
from routebook.core.events import Delta, Event, Finish, Native, Plain, Start, Whole
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt, Stamp
from routebook.dialects.gemini_candidates import Candidate, Piece, joined
from routebook.dialects.gemini_parts import objects
from routebook.metering.counts import split
from routebook.wire import codec
from routebook.wire.text import texts

NAME = "gemini"
_NOBODY = Stamp("", 0, "", None)


# --- usage ------------------------------------------------------------------------------------------------------------


def usage_metadata(usage: Usage, tier: str | None) -> dict[str, Any]:
    """Gemini's usage of the counts that are charged: the prompt includes what was cached, the candidates do not include
    thoughts. Unknown counts are left out."""
    counts = split(usage)
    completion = usage.completion
    thoughts = None if usage.reasoning is None else counts.reasoning
    told: dict[str, int | None] = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": None if completion is None else completion - (thoughts or 0),
        "totalTokenCount": None if usage.empty else (usage.prompt or 0) + (completion or 0),
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": None if usage.cached is None else counts.cache_read + counts.audio_cache_read,
    }
    out: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    kinds = {"AUDIO": usage.audio_prompt, "IMAGE": usage.image_prompt, "VIDEO": usage.video_prompt}
    if details := _by_kind(usage.prompt, kinds):
        out["promptTokensDetails"] = details
    kinds = {"AUDIO": usage.audio_completion, "IMAGE": usage.image_completion}
    if details := _by_kind(told["candidatesTokenCount"], kinds):
        out["candidatesTokensDetails"] = details
    if usage.audio_cached is not None:
        out["cacheTokensDetails"] = [{"modality": "AUDIO", "tokenCount": counts.audio_cache_read}]
    if tier is not None:
        out["serviceTier"] = "standard" if tier == "default" else tier
    return out


def _by_kind(total: int | None, kinds: dict[str, int | None]) -> list[dict[str, Any]]:
    known = {kind: count for kind, count in kinds.items() if count is not None}
    if not known:
        return []
    rest = (total or 0) - sum(known.values())
    known = {**({"TEXT": rest} if rest > 0 else {}), **known}
    return [{"modality": kind, "tokenCount": count} for kind, count in known.items()]


# --- writers ----------------------------------------------------------------------------------------------------------


class _Writer:
    """What streams and whole answers have in common."""

    def __init__(self, exclude: bool) -> None:
        self._exclude = exclude
        self._stamp = _NOBODY
        self._candidates: dict[int, Candidate] = {}
        self._own = False
        """the provider speaks this dialect: its frames are written as they are"""
        self._tier: str | None = None

    def start(self, stamp: Stamp) -> None:
        self._stamp = stamp

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Plain):
            return self._plain(event)
        if isinstance(event, Whole):
            return b"".join([self.feed(part) for part in event.parts()])
        if isinstance(event, Delta):
            if event.native is not None and event.native.dialect == NAME:
                return self._native(event.native)
            return self._delta(event)
        if isinstance(event, Finish):
            return b"" if self._own else self._finish(event)
        if isinstance(event, Start) and event.service_tier is not None:
            self._tier = event.service_tier
        return b""

    def _plain(self, event: Plain) -> bytes:
        return b"".join([self._delta(Delta(index=event.index, text=piece)) for piece in texts(event)])

    def _delta(self, event: Delta) -> bytes:
        piece = self._candidate(event.index).piece(event)
        return b"" if piece is None else self._piece(piece)

    def _native(self, native: Native) -> bytes:
        raise NotImplementedError

    def _piece(self, piece: Piece) -> bytes:
        raise NotImplementedError

    def _finish(self, event: Finish) -> bytes:
        raise NotImplementedError

    def _candidate(self, index: int) -> Candidate:
        found = self._candidates.get(index)
        if found is None:
            seed = self._stamp.id.rpartition("-")[2]
            found = self._candidates[index] = Candidate(index, self._exclude, seed)
        return found

    def _stamped(self) -> dict[str, Any]:
        return {"modelVersion": self._stamp.model, "responseId": self._stamp.id}

    def _usage(self, receipt: Receipt) -> dict[str, Any]:
        return {**usage_metadata(receipt.usage, self._tier), "cost": receipt.charge.total}


class StreamWriter(_Writer):
    """Frames; see dialects.base.Writer. `sse`: as server-sent events, else as the items of one JSON array."""

    def __init__(self, exclude: bool, sse: bool) -> None:
        super().__init__(exclude)
        self.content_type = "text/event-stream" if sse else "application/json"
        self._sse = sse
        self._listed = False
        """the array has begun"""
        self._held: dict[str, Any] | None = None
        """the frame that says how the answer ended"""
        self._failed = False
        self._head, self._tail = b"", b""
        """around the text of a frame that is nothing else"""

    def _plain(self, event: Plain) -> bytes:
        candidate = self._candidate(event.index)
        if event.index or candidate.thinking or not (self._sse or self._listed):
            return super()._plain(event)
        if not self._head:
            self._head = (b"data: " if self._sse else b",\n") + b'{"candidates":[{"content":{"parts":[{"text":"'
            ends = b'"}],"role":"model"},"index":0}],' + codec.encode(self._stamped())[1:]
            self._tail = ends + (b"\n\n" if self._sse else b"")
        candidate.heard(event.texts)
        return self._head + (self._tail + self._head).join(event.texts) + self._tail

    def _piece(self, piece: Piece) -> bytes:
        return self._frame({"candidates": [piece], **self._stamped()})

    def _finish(self, event: Finish) -> bytes:
        return self._hold({"candidates": [self._candidate(event.index).end(event)], **self._stamped()})

    def _native(self, native: Native) -> bytes:
        if not native.data:
            return b""  # said with the event before it
        self._own = True
        frame: dict[str, Any] = {**codec.decode_as(native.data, dict[str, codec.Raw]), **self._stamped()}
        frame.pop("usageMetadata", None)
        ends = b'"finishReason"' in native.data or b'"promptFeedback"' in native.data
        return self._hold(frame) if ends else self._frame(frame)

    def _hold(self, frame: dict[str, Any]) -> bytes:
        before, self._held = self._held, frame
        return b"" if before is None else self._frame(before)

    def _frame(self, frame: dict[str, Any]) -> bytes:
        data = codec.encode(frame)
        if self._sse:
            return b"data: " + data + b"\n\n"
        begin = b",\n" if self._listed else b"["
        self._listed = True
        return begin + data

    def fault(self, fault: Fault) -> bytes:
        """A frame that is an error, after which nothing comes."""
        self._failed = True
        held, self._held = self._held, None
        before = b"" if held is None else self._frame(held)
        return before + self._frame({"error": error_object(fault, self._stamp.id)})

    def end(self, receipt: Receipt) -> bytes:
        """The last frame, with usage, and the end of an array."""
        closing = b"" if self._sse else b"]\n"
        if self._failed:
            return closing
        frame = {**(self._held or self._stamped()), "usageMetadata": self._usage(receipt)}
        return self._frame(frame) + closing

    def keepalive(self) -> bytes:
        """An empty line, which says nothing in either form; Google's clients take comments for data."""
        return b"\n"


class UnaryWriter(_Writer):
    """One body; see dialects.base.Writer."""

    content_type = "application/json"

    def __init__(self, exclude: bool) -> None:
        super().__init__(exclude)
        self._answer: dict[str, Any] = {}
        self._pieces: dict[int, Piece] = {}

    def _piece(self, piece: Piece) -> bytes:
        index = piece.get("index")
        index = index if isinstance(index, int) else 0
        self._pieces[index] = joined(self._pieces.get(index, {}), piece)
        return b""

    def _finish(self, event: Finish) -> bytes:
        return self._piece(self._candidate(event.index).end(event))

    def _native(self, native: Native) -> bytes:
        if native.data:
            self._own = True
            frame = codec.decode_exact(native.data)
            for piece in objects(frame.pop("candidates", None)):
                self._piece(piece)
            self._answer |= frame
        return b""

    def fault(self, fault: Fault) -> None:
        """Nothing: this dialect has no answer that ended in an error, so the answer becomes the error."""
        return

    def end(self, receipt: Receipt) -> bytes:
        """The whole body."""
        candidates = [piece for _, piece in sorted(self._pieces.items())]
        body = {"candidates": candidates} if candidates else {}
        body |= self._answer | self._stamped() | {"usageMetadata": self._usage(receipt)}
        return codec.encode(body)

    def keepalive(self) -> bytes:
        """Nothing: the body is one JSON value."""
        return b""


# --- errors -----------------------------------------------------------------------------------------------------------

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_object(fault: Fault, generation_id: str | None) -> dict[str, Any]:
    """`{code, message, status, details}` as a caller may see it; the kind of error is the reason of its ErrorInfo."""
    code = fault.status
    info: dict[str, str] = {} if generation_id is None else {"generation_id": generation_id}
    message, more = fault.message, fault.metadata
    if code == 500:
        message = Internal().message
    elif isinstance(fault, UpstreamFault) and fault.provider_code is not None:
        info["provider_code"] = fault.provider_code
    if code != 500:
        info |= {
            name: value if isinstance(value, str) else codec.encode(value).decode() for name, value in more.items()
        }
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": fault.error_type.upper(),
            "domain": "routebook",
            "metadata": info,
        }
    ]
    if fault.retry_after is not None:
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{max(0.0, fault.retry_after):g}s"}
        details.append(delay)
    status = _STATUS.get(code) or ("INVALID_ARGUMENT" if code < 500 else "UNKNOWN")
    return {"code": code, "message": message, "status": status, "details": details}


def error_body(fault: Fault, generation_id: str | None) -> bytes:
    """The envelope of an error with a true HTTP status."""
    return codec.encode({"error": error_object(fault, generation_id)})

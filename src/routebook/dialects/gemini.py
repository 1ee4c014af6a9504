"""Gemini's generateContent, both faces, spoken by Google AI Studio and, with the same bodies, by Vertex AI.

This file owns the reading of answers: streams (`alt=sse`), unary bodies, and the JSON array that streamGenerateContent
sends without `alt=sse`. This dialect has no end mark: a candidate ends with its `finishReason`, and frames after it
that hold only usage still count.

Here bytes become frames; `gemini_answer` makes events of them, `gemini_request` writes requests. As callers speak it:
`gemini_surface` reads requests, `gemini_asked` their turns, `gemini_writer` writes answers. Where caller and vendor
both speak it, requests go through `gemini_own` and answers travel as `Native`.
Sources, read 2026-11: ai.google.dev "Generating content", "Thinking", "Thought signatures", "Troubleshooting".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamCredential, UpstreamFault
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Native, Plain
from routebook.core.ids import Mint
from routebook.dialects import faults, lenient, plain
from routebook.dialects import gemini_parts as parts
from routebook.dialects.base import Reader
from routebook.dialects.gemini_answer import Answer
from routebook.dialects.gemini_common import common_answer
from routebook.dialects.gemini_request import build
from routebook.dialects.gemini_surface import GeminiSurface
from routebook.wire import codec
from routebook.wire.codec import count_of
from routebook.wire.http import HttpHead, HttpRequest
from routebook.wire.sse import TooLong

VALUE_BYTES_MAX = 64 * 2**20
"""a JSON value larger than this is not an answer; pictures in base64 may be large"""

_ACCOUNT = re.compile(r"\b(?:location|country|region|billing|free tier)\b", re.IGNORECASE)
"""what a failed precondition of ours speaks of; others are the caller's, such as a file that is not ready"""

_BAD_JSON = (codec.DecodeError, RecursionError, ValueError, ArithmeticError)


class Gemini:
    """The dialect `gemini` as a client of the vendor."""

    name = "gemini"

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        return build(call, endpoint, secret, losses)

    def count_request(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST …:countTokens with the whole request, so that instructions and tools are counted."""
        request = build(call, endpoint, secret, losses)
        base = request.url.partition("?")[0].rpartition(":")[0]
        name = endpoint.upstream_model
        body: dict[str, codec.Raw] = codec.decode_as(request.body, dict[str, codec.Raw])
        asked = {"model": name if "/" in name else f"models/{name}", **body}
        return HttpRequest(
            "POST", f"{base}:countTokens", request.headers, codec.encode({"generateContentRequest": asked})
        )

    def count_answer(self, body: bytes) -> int | None:
        """`{"totalTokens": …}`"""
        return count_of(body, "totalTokens")

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        return GeminiReader(head, mint)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """As `faults.from_answer`, with Google's own code and status where the body has them: gateways in between are
        known to turn a 429 into a 400. A refused region or missing billing is the operator's to correct."""
        error = _google_error(body)
        code = error.get("code")
        told = code if isinstance(code, int) and 400 <= code <= 599 and parts.text(error.get("status")) else head.status
        found = faults.from_answer(HttpHead(told, head.headers), body)
        if error.get("status") == "FAILED_PRECONDITION" and _ACCOUNT.search(parts.text(error.get("message"))):
            found = UpstreamCredential(
                "The provider refuses the gateway's account or region; the operator has to correct it.",
                provider_code="FAILED_PRECONDITION",
                raw=found.raw,
            )
        found.provider_status = head.status
        return found


_SAID = Native("gemini", "", b"")


def _with_native(events: list[Event], data: bytes, frame: Any) -> list[Event]:
    """The events of one frame with the frame itself, for callers of this dialect: on the first Delta, with a mark on
    the others that it said them; where there is none, on one that is made for it in front of the end. A frame of usage
    alone is not told."""
    if not isinstance(frame, dict) or any(isinstance(event, Failed) for event in events):
        return events
    place = next((at for at, event in enumerate(events) if isinstance(event, (Delta, Finish))), None)
    inner = frame.get("response")
    frame = inner if isinstance(inner, dict) else frame
    if place is None and not parts.objects(frame.get("candidates")):
        return events
    if isinstance(inner, dict) or b"\n" in data or b"\r" in data:
        data = codec.encode(frame)
    run = any(mark in data for mark in (b'"executableCode"', b'"codeExecutionResult"'))
    native = Native("gemini", "", data, content=run)
    if place is None:
        return [*events, Delta(native=native)]
    first = events[place]
    if not isinstance(first, Delta):
        return [*events[:place], Delta(native=native), *events[place:]]
    rest = [replace(event, native=_SAID) if isinstance(event, Delta) else event for event in events[place + 1 :]]
    return [*events[:place], replace(first, native=native), *rest]


UPSTREAM = Gemini()
SURFACE = GeminiSurface()


def _google_error(body: bytes) -> dict[str, Any]:
    try:
        value = codec.decode(body)
    except _BAD_JSON:
        return {}
    if isinstance(value, list):
        value = value[0] if value else None
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


# --- from bytes to JSON values ----------------------------------------------------------------------------------------

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_SSE_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class _Values:
    """Cuts one JSON object, or the objects of one array, out of a byte stream; what follows is ignored."""

    __slots__ = ("_base", "_depth", "_escaped", "_held", "_quoted", "closed", "listed")

    def __init__(self) -> None:
        self.closed = False
        """the outermost value is complete"""
        self.listed = False
        self._base = 0
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Values completed by `data`. Raises TooLong."""
        out: list[bytes] = []
        at = begin = 0
        while not self.closed and at < len(data):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = (_INSIDE if self._quoted else _OUTSIDE).search(data, at)
            if match is None:
                break
            sign, at = match.group(), match.end()
            if sign == b"\\":
                self._escaped = True
            elif sign == b'"':
                self._quoted = not self._quoted
            elif sign in b"{[":
                self._depth += 1
                if self._depth == 1 and sign == b"[" and not self.listed:
                    self.listed, self._base = True, 1
                elif self._depth == self._base + 1:
                    begin = match.start()
            else:
                self._depth -= 1
                if self._depth == self._base:
                    out.append(bytes(self._held) + data[begin:at])
                    self._held.clear()
                    self.closed = not self.listed
                self.closed = self.closed or self._depth <= 0
        if self._depth > self._base and not self.closed:
            self._held += data[begin:]
            if len(self._held) > VALUE_BYTES_MAX:
                raise TooLong
        return out


_BEGINS = re.compile(rb'"text"\s*:\s*"')
_PREFIXES = (b"data: ", b"data:")
_REPORT = re.compile(rb'"usageMetadata"\s*:\s*\{')
_NUMBER = re.compile(rb"(?<=[:\s])[0-9]+(?=\s*[,}])")


_NO_LANE = plain.Lane(_BEGINS, ())
_NO_FRAMES = plain.Frames(_NO_LANE)
"""Stand for a stream that has not begun: never fed, so never clear."""


class GeminiReader:
    """Reads one answer of status 200; see `dialects.base.Reader`."""

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._answer = Answer(head, mint)
        self._tier = head.headers.get("x-gemini-service-tier")
        self._streams = head.content_type == "text/event-stream"
        self._lane = _NO_LANE
        self._frames = _NO_FRAMES  # until the answer turns out to be a stream
        self._grows = False
        """the usage object of the learned frame may differ from one to the next"""
        self._values = _Values()
        self._held = b""
        self._take: Callable[[bytes], list[Event]] | None = None
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        if self._frames.clear and (run := self._lane.one(data)) is not None:
            return [self._heard(run)]
        if self._over:
            return []
        try:
            if self._take is None:
                self._held = data = self._held + data
                self._take = self._pick(data)
                if self._take is None:
                    return []
                self._held = b""
            return self._kept(self._take(data))
        except TooLong:
            return self._kept(self._answer.spoilt("a single value is larger than any answer"))

    def end(self) -> list[Event]:
        if self._over:
            return []
        events: list[Event] = []
        try:
            if self._take == self._event_bytes:
                events = self._kept([event for item in self._frames.end() for event in self._frame(item.data)])
        except TooLong:
            events = self._answer.spoilt("a single value is larger than any answer")
        if not self._over and not any(isinstance(event, Failed) for event in events):
            if self._take is None and self._held.strip():
                events += self._answer.spoilt("it is neither JSON nor a stream of events", self._held)
            else:
                events += self._answer.end()
        self._over = True
        self._frames.drop()
        return events

    def _kept(self, events: list[Event]) -> list[Event]:
        """Everything up to the first failure, after which the reader is silent."""
        for at, event in enumerate(events):
            if isinstance(event, Failed):
                self._over = True
                self._frames.drop()
                return events[: at + 1]
        return events

    def _pick(self, data: bytes) -> Callable[[bytes], list[Event]] | None:
        """How to read the answer: by its content type, and by its first bytes where those say otherwise."""
        if b"\xef\xbb\xbf".startswith(data[:3]) and len(data) < 3:
            return None
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            return None
        if start[:1] in (b"{", b"["):
            if start[-3:].rstrip().endswith(b"}") and (common := common_answer(start, self._tier)) is not None:
                self._over = True
                return lambda _: common
            return self._value_bytes
        if (self._streams and start[:1] != b"<") or start.startswith(_SSE_FIELDS):
            self._lane = plain.Lane(_BEGINS, _PREFIXES, self._loose)
            self._frames = plain.Frames(self._lane)
            return self._event_bytes
        if any(field.startswith(start) for field in _SSE_FIELDS):
            return None
        return lambda _: self._answer.spoilt("it is neither JSON nor a stream of events", start)

    def _event_bytes(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        while data:
            run, items, data = self._frames.feed(data)
            if run is not None:
                out.append(self._heard(run))
            for item in items:
                out += self._frame(item.data)
        return out

    def _frame(self, data: bytes) -> list[Event]:
        if (run := self._lane.read(data)) is not None:
            return [self._heard(run)]
        if data.strip() in (b"", b"[DONE]"):
            return []
        before = self._answer.parts_of(0)
        value, data, out = self._decoded(data, whole=False)
        one = out[0] if out else None
        if not isinstance(one, Delta) or not all(isinstance(event, Counted) for event in out[1:]):
            self._lane.forget()
        elif one.text and one == Delta(text=one.text) and self._answer.parts_of(0) == before + 1:
            self._lane.learn(data, one.text, 0)
            return out  # all that it says of the answer is that text
        return _with_native(out, data, value)

    def _heard(self, run: Plain) -> Plain:
        return self._answer.heard(run, b"{" + self._lane.varied if self._grows else None)

    def _loose(self, tail: bytes) -> plain.Tail:
        """Behind the text only the counts of the usage object change from frame to frame."""
        begin = _REPORT.search(tail)
        report = _Values().feed(tail[begin.end() - 1 :]) if begin is not None else []
        self._grows = begin is not None and bool(report) and _NUMBER.search(report[0]) is not None
        if begin is None or not self._grows:
            return plain.Tail(tail)
        rest = tail[begin.end() - 1 + len(report[0]) :]
        words = (re.escape(word) for word in _NUMBER.split(report[0][1:]))
        return plain.Tail(tail[: begin.end()], rb"(?:0|[1-9][0-9]{0,14})".join(words), rest)

    def _value_bytes(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        for value in self._values.feed(data):
            frame, data, events = self._decoded(value, whole=not self._values.listed)
            out += _with_native(events, data, frame)
        return out

    def _decoded(self, data: bytes, *, whole: bool) -> tuple[Any, bytes, list[Event]]:
        """(the frame, its JSON, its events)"""
        try:
            value, data = lenient.written(data)
        except _BAD_JSON:
            return None, data, self._answer.spoilt("a part of it is not JSON", data)
        return value, data, self._answer.frame(value, whole=whole)

"""Cohere's chat API, version 2, as an upstream: the reader of answers, streamed or whole, and the `UPSTREAM` object.

Requests are written by `cohere_request.py`. What is odd: the API counts twice. `tokens` is what the model saw and made,
with Cohere's own prompt around the caller's; `billed_units` is what is charged, so these are the counts here, and the
others (`cached_tokens` among them, which has no price) stay in `raw`. A plan before tool calls comes apart from the
text, as reasoning would. A generation that failed ends with an ordinary last event whose reason is ERROR or TIMEOUT.
Sources, read 2026-11: docs.cohere.com "Chat", "Chat with streaming", "Reasoning", "Errors"; finish reasons: generation
record, section 9.2.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamFault, UpstreamLost, UpstreamOverloaded, UpstreamTimeout
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import cohere_request, faults
from routebook.dialects.base import Reader
from routebook.dialects.lenient import decode, decode_leading
from routebook.dialects.parts import broken_off, count_of, text_of
from routebook.wire import codec, sse
from routebook.wire.http import HttpHead, HttpRequest

UNARY_BYTES_MAX = 64 * 2**20
"""A unary body larger than this is no chat answer."""

_REASONS = {
    "complete": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_call": "tool_calls",
    "error_toxic": "content_filter",
    "error_limit": "length",
}
_MARKS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BOM = b"\xef\xbb\xbf"


class Cohere:
    """The dialect as a client of the vendor (`dialects.base.Upstream`)."""

    name = "cohere"

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/v2/chat. Raises BadRequest, CannotExpress."""
        return cohere_request.build(call, endpoint, secret, losses)

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        return CohereReader(head, mint)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """What an answer of any status but 200 means; 498 is Cohere's word for a blocked prompt."""
        if head.status == 498:
            found = faults.from_answer(HttpHead(400, head.headers), body)
            found.error_type, found.provider_status = "content_policy_violation", 498
            return found
        return faults.from_answer(head, body)


UPSTREAM = Cohere()


# --- what an answer means ---------------------------------------------------------------------------------------------


def usage_of(raw: dict[str, Any]) -> Usage:
    """Cohere's usage object: what is billed, or what the model saw where nothing is said of billing."""
    billed, tokens = raw.get("billed_units"), raw.get("tokens")
    billed = billed if isinstance(billed, dict) else {}
    tokens = tokens if isinstance(tokens, dict) else {}
    counts = [count_of(billed.get(name, tokens.get(name))) for name in ("input_tokens", "output_tokens")]
    return Usage(prompt=counts[0], completion=counts[1], raw=codec.encode(raw))


class _Fold:
    """Cohere's events in, canonical events out; a whole answer is replayed into it."""

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._calls: dict[Any, int] = {}
        """the provider's index of a call -> ours"""
        self._written: set[int] = set()
        """calls that have arguments"""
        self.finished = False

    def event(self, kind: str, frame: dict[str, Any]) -> list[Event]:
        delta = frame.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        message = delta.get("message")
        message = message if isinstance(message, dict) else {}
        if kind == "message-start":
            return [Start(upstream_id=text_of(frame.get("id")))]
        if kind in ("content-start", "content-delta"):
            content = message.get("content")
            return self._said(content) if isinstance(content, dict) else []
        if kind == "tool-plan-delta":
            return _thought(message.get("tool_plan"))
        if kind in ("tool-call-start", "tool-call-delta", "tool-call-end"):
            return self._call(kind, frame.get("index"), message.get("tool_calls"))
        if kind == "citation-start":
            cited = message.get("citations")
            return [_cited([cited])] if isinstance(cited, dict) else []
        if kind == "message-end":
            usage, reason = delta.get("usage"), text_of(delta.get("finish_reason"))
            return self.end(reason, usage, text_of(delta.get("error")))
        return []  # content-end, citation-end, debug, and what may be added

    def end(self, native: str | None, usage: Any, message: str | None = None) -> list[Event]:
        """Finish and counts; a failure that the provider calls a finish is one."""
        self.finished = True
        counts: list[Event] = [Counted(usage_of(usage))] if isinstance(usage, dict) else []
        reason = (native or "COMPLETE").lower()
        if reason in ("error", "timeout"):
            kind = UpstreamTimeout if reason == "timeout" else UpstreamOverloaded
            fault = kind(message, provider_status=self._head.status, provider_code=native)
            return [*counts, Failed(fault)]
        found = _REASONS.get(reason, "stop")
        if found == "stop" and self._calls:
            found = "tool_calls"
        return [*self._closed(), Finish(found, native=native, message=message), *counts]

    def whole(self, value: dict[str, Any]) -> list[Event]:
        """A whole answer: Start, one Delta, Finish, Counted."""
        message = value["message"]
        pieces: list[Event] = _thought(message.get("tool_plan"))
        content = message.get("content")
        if isinstance(content, str):
            content = [{"text": content}]
        for part in content if isinstance(content, list) else ():
            pieces += self._said(part) if isinstance(part, dict) else []
        listed = message.get("tool_calls")
        for index, call in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(call, dict):
                pieces += self._call("tool-call-start", index, call)
        closed = self._closed()
        texts = [piece for piece in [*pieces, *closed] if isinstance(piece, Delta)]
        notes = message.get("citations")
        notes = [one for one in notes if isinstance(one, dict)] if isinstance(notes, list) else []
        cited = _cited(notes) if notes else Delta()
        calls: dict[int, ToolDelta] = {}
        for piece in (call for delta in texts for call in delta.tool_calls or ()):
            old = calls.get(piece.index, piece)
            text = piece.arguments if old is piece else old.arguments + piece.arguments
            calls[piece.index] = ToolDelta(index=piece.index, id=old.id, name=old.name, arguments=text)
        one = Delta(
            role="assistant",
            text="".join(delta.text or "" for delta in texts) or None,
            reasoning="".join(delta.reasoning or "" for delta in texts) or None,
            tool_calls=list(calls.values()) or None,
            annotations=cited.annotations,
            extra=cited.extra,
        )
        start = Start(upstream_id=text_of(value.get("id")))
        return [start, one, *self.end(text_of(value.get("finish_reason")), value.get("usage"))]

    @staticmethod
    def _said(content: dict[str, Any]) -> list[Event]:
        text = text_of(content.get("text"))
        return [*_thought(content.get("thinking")), *([Delta(text=text)] if text else [])]

    def _call(self, kind: str, index: Any, call: Any) -> list[Event]:
        index = index if isinstance(index, int) else 0
        if kind == "tool-call-end":
            return self._closed(self._calls.get(index))
        if not isinstance(call, dict):
            return []
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        said = function.get("arguments")
        arguments = said if isinstance(said, str) and said != "null" else ""  # `null`: the function takes none
        if kind == "tool-call-start" or index not in self._calls:
            place = self._calls[index] = len(self._calls) if index not in self._calls else self._calls[index]
            call_id = text_of(call.get("id")) or self._mint.next("call")
            piece = ToolDelta(place, call_id, text_of(function.get("name")), arguments)
        elif arguments:
            piece = ToolDelta(self._calls[index], arguments=arguments)
        else:
            return []
        if arguments:
            self._written.add(piece.index)
        return [Delta(tool_calls=[piece])]

    def _closed(self, place: int | None = None) -> list[Event]:
        """An empty object for calls without arguments: this one, or all."""
        open_ = [p for p in self._calls.values() if p not in self._written and place in (None, p)]
        self._written.update(open_)
        return [Delta(tool_calls=[ToolDelta(p, arguments="{}")]) for p in open_]


def _thought(text: Any) -> list[Event]:
    if not isinstance(text, str) or not text:
        return []
    return [Delta(reasoning=text)]


def _cited(citations: list[dict[str, Any]]) -> Delta:
    """Sources with a URL as `url_citation`, all citations verbatim beside them."""
    notes = []
    for cited in citations:
        sources = cited.get("sources")
        for source in sources if isinstance(sources, list) else ():
            document = source.get("document") if isinstance(source, dict) else None
            if isinstance(document, dict) and (url := text_of(document.get("url"))) is not None:
                note = {
                    "url": url,
                    "title": text_of(document.get("title")) or "",
                    "content": text_of(document.get("snippet")) or text_of(document.get("text")) or "",
                    "start_index": count_of(cited.get("start")) or 0,
                    "end_index": count_of(cited.get("end")) or 0,
                }
                notes.append({"type": "url_citation", "url_citation": note})
    return Delta(annotations=notes or None, extra={"citations": citations})


# --- bytes ------------------------------------------------------------------------------------------------------------


class CohereReader:
    """Reads one answer of status 200 (`dialects.base.Reader`). The first bytes say stream or whole."""

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._fold = _Fold(head, mint)
        self._shape = ""
        self._body: list[bytes] = []
        self._size = 0
        self._frames = sse.SseDecoder()
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        if self._done or not data:
            return []
        if not self._shape:
            self._body.append(data)
            held = b"".join(self._body)
            self._shape = _shape(held, self._head.content_type)
            if not self._shape:
                return []
            data, self._body = held, []
        if self._shape == "whole":
            self._body.append(data)
            self._size += len(data)
            return self._failed(faults.garbage("its body is too large")) if self._size > UNARY_BYTES_MAX else []
        try:
            events = self._frames.feed(data)
        except sse.TooLong:
            return self._failed(faults.garbage("one of its events is larger than an event can be"))
        return self._events(events)

    def end(self) -> list[Event]:
        if self._done:
            return []
        if self._shape == "stream":
            try:
                out = self._events(self._frames.end(), cut=True)
            except sse.TooLong:
                return self._failed(faults.garbage("one of its events is larger than an event can be"))
            return out if self._done or self._fold.finished else out + self._lost()
        body = b"".join(self._body).removeprefix(_BOM).strip()
        return self._whole(body) if body else self._lost()

    def _events(self, events: list[sse.SseEvent], cut: bool = False) -> list[Event]:
        out: list[Event] = []
        for event in events:
            data = event.data.strip()
            if self._done or not data or data == b"[DONE]":
                continue
            try:
                frame = decode(data)
            except codec.DecodeError:
                if cut:
                    continue
                return out + self._failed(faults.garbage("an event of its stream is not JSON", data))
            if not isinstance(frame, dict):
                return out + self._failed(faults.garbage("an event of its stream is no object", data))
            kind = text_of(frame.get("type")) or event.event
            if not kind or kind == "error":
                return out + self._failed(faults.from_object(frame, self._head))
            out += self._fold.event(kind, frame)
            self._done = self._done or self._fold.finished
        return out

    def _whole(self, body: bytes) -> list[Event]:
        try:
            value = decode_leading(body)
        except codec.DecodeError:
            return self._lost() if broken_off(body) else self._failed(faults.garbage("its body is not JSON", body))
        if isinstance(value, dict):
            if isinstance(value.get("message"), dict):
                self._done = True
                return self._fold.whole(value)
            if isinstance(value.get("message"), str) or value.get("error"):
                return self._failed(faults.from_object(value, self._head))
        return self._failed(faults.garbage("its body is no chat answer of this dialect", body))

    def _lost(self) -> list[Event]:
        return self._failed(
            UpstreamLost(
                "The provider's answer broke off before its end; try again.", provider_status=self._head.status
            )
        )

    def _failed(self, fault: UpstreamFault) -> list[Event]:
        self._done = True
        self._body = []
        return [Failed(fault)]


def _shape(held: bytes, content_type: str) -> str:
    """`stream`, `whole`, or empty while too few bytes are known."""
    start = held.removeprefix(_BOM).lstrip()
    if not start or (len(held) < 3 and _BOM.startswith(held)):
        return ""
    if start[:1] in (b"{", b"["):
        return "whole"
    if start.startswith(_MARKS) or (content_type == "text/event-stream" and start[:1] != b"<"):
        return "stream"
    return "" if any(mark.startswith(start) for mark in _MARKS) else "whole"

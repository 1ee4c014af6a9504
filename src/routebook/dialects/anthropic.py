"""Anthropic Messages, both faces: the reader of a vendor's answers, streamed or whole, and the objects `UPSTREAM` and
`SURFACE`.

The dialect lies in several files. As a client of a vendor: this one frames bytes, `anthropic_fold.py` says what they
mean, `anthropic_request.py` builds requests, `anthropic_models.py` knows what each Claude accepts. As callers speak it:
`anthropic_surface.py` reads requests, `anthropic_asked.py` their messages, `anthropic_writer.py` writes answers. Where
caller and vendor both speak it, requests go through `anthropic_own.py` and answers travel as `Native`. Sources, read
2026-11: platform.claude.com "Messages", "Streaming messages", "Errors".
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamCredential, UpstreamFault, UpstreamLost, UpstreamRefused
from routebook.core.events import Delta, Event, Failed, Finish, Native
from routebook.core.ids import Mint
from routebook.dialects import anthropic_request, faults, lenient, plain
from routebook.dialects.anthropic_common import common_message
from routebook.dialects.anthropic_fold import BAD, Fold, read_message
from routebook.dialects.anthropic_surface import MessagesSurface
from routebook.wire import codec, sse
from routebook.wire.codec import count_of
from routebook.wire.http import HttpHead, HttpRequest

UNARY_BYTES_MAX = 64 * 2**20
"""A unary body larger than this is not an answer; documents that a fetch tool returned may take tens of megabytes."""

_ACCOUNT = re.compile(r"credit balance is too low|reached your specified (?:api )?usage limits", re.IGNORECASE)
"""Anthropic says 400 invalid_request_error of an account without money; no caller can correct that."""

_BEGINS = re.compile(rb'"text"\s*:\s*"')
_PREFIXES = (
    b"event: content_block_delta\ndata: ",
    b"event:content_block_delta\ndata:",
    b"data: ",
    b"data:",
)

_BOM = b"\xef\xbb\xbf"
_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


_NO_LANE = plain.Lane(_BEGINS, ())
_NO_FRAMES = plain.Frames(_NO_LANE)
"""Stand for a stream that has not begun: never fed, so never clear."""


class Anthropic:
    """The dialect as a client of a vendor (`dialects.base.Upstream`)."""

    name = "anthropic"

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/v1/messages. Raises BadRequest, CannotExpress."""
        return anthropic_request.build(call, endpoint, secret, losses)

    def count_request(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/v1/messages/count_tokens: the request without what only an answer needs."""
        request = self.build(call, endpoint, secret, losses)
        body: dict[str, codec.Raw] = codec.decode_as(request.body, dict[str, codec.Raw])
        asked = {name: value for name, value in body.items() if name in _COUNTED}
        return HttpRequest("POST", request.url + "/count_tokens", request.headers, codec.encode(asked))

    def count_answer(self, body: bytes) -> int | None:
        """`{"input_tokens": …}`"""
        return count_of(body, "input_tokens")

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        """The vendor mints all ids of an answer, so `mint` is not needed."""
        return Reader(head)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """What an answer of any status but 200 means."""
        return _fault(faults.from_answer(head, body))


_COUNTED = frozenset(
    """model messages system tools tool_choice thinking output_config cache_control context_management
    mcp_servers""".split()
)
"""members of a request that count_tokens takes"""

UPSTREAM = Anthropic()
SURFACE = MessagesSurface()


def _fault(fault: UpstreamFault) -> UpstreamFault:
    if not isinstance(fault, UpstreamRefused) or not _ACCOUNT.search(fault.message):
        return fault
    return UpstreamCredential(provider_status=fault.provider_status, provider_code=fault.provider_code, raw=fault.raw)


class Reader:
    """Reads one answer of status 200 (`dialects.base.Reader`).

    The first bytes decide between stream and whole message, the content type where they do not: relays are known to
    answer a stream request with a JSON error under an event-stream type, and the reverse.
    """

    __slots__ = ("_body", "_done", "_fold", "_frames", "_head", "_held", "_lane", "_shape", "_size", "_text_at")

    def __init__(self, head: HttpHead) -> None:
        self._head = head
        self._shape: str | None = None
        self._held = b""
        self._body: list[bytes] = []
        self._size = 0
        self._lane = _NO_LANE
        self._frames = _NO_FRAMES  # until the answer turns out to be a stream
        self._fold = Fold()
        self._text_at: int | None = None
        """the text block that is open: to its callers a piece of it is nothing but text"""
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        if self._frames.clear and (run := self._lane.one(data)) is not None:
            self._fold.heard(run.chars)
            return [run]
        if self._done:
            return []
        if self._shape is None:
            self._held = (self._held + data).lstrip(b" \t\r\n")
            self._shape = _shape(self._held, self._head.content_type)
            if self._shape is None:
                return []
            data, self._held = self._held.removeprefix(_BOM), b""
            if self._shape == "stream":
                self._lane = plain.Lane(_BEGINS, _PREFIXES)
                self._frames = plain.Frames(self._lane)
        if self._shape == "stream":
            return self._stream(data)
        if self._shape == "message":
            self._size += len(data)
            if self._size > UNARY_BYTES_MAX:
                return self._garbage("its body is larger than an answer can be")
            self._body.append(data)
            return []
        return self._garbage("its body is neither JSON nor server-sent events", data)

    def end(self) -> list[Event]:
        if self._done:
            return []
        if self._shape == "message":
            return self._message(b"".join(self._body))
        if self._shape is None and self._held:
            return self._garbage("its body is neither JSON nor server-sent events", self._held)
        out: list[Event] = []
        try:
            frames = self._frames.end()
        except sse.TooLong:
            return self._garbage("one of its events is larger than an event can be")
        for event in frames:
            out += self._event(event, cut=True)
        if not self._done and not self._fold.finished:
            out += self._lost()
        self._done = True
        return out

    def _stream(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        while data and not self._done:
            try:
                run, frames, data = self._frames.feed(data)
            except sse.TooLong:
                return out + self._garbage("one of its events is larger than an event can be")
            if run is not None:
                self._fold.heard(run.chars)
                out.append(run)
            for frame in frames:
                out += self._event(frame)
                if self._done:
                    break
        if self._done:
            self._frames.drop()
        return out

    def _event(self, event: sse.SseEvent, cut: bool = False) -> list[Event]:
        """One server-sent event; `cut`: it ended with the connection, so it may be a piece of one."""
        data = event.data.strip()
        if not data or self._done:
            return []
        if not cut and (run := self._lane.read(data)) is not None:
            self._fold.heard(run.chars)
            return [run]
        if data == b"[DONE]":  # Anthropic sends none, relays do
            self._done = True
            return [] if self._fold.finished else self._lost()
        try:
            frame, data = lenient.written(data)
        except BAD:
            if cut:
                return []
            return self._garbage("an event of its stream is not JSON", data)
        if not isinstance(frame, dict):
            return self._garbage("an event of its stream is no object", data)
        kind = frame.get("type") or event.event
        known = isinstance(kind, str) and kind in _KINDS
        if kind == "error" or (not known and frame.get("error")):
            return self._failed(_fault(faults.from_object(frame, self._head)))
        if not isinstance(kind, str) or not kind or kind == "message":
            return self._garbage("an event of its stream has no type of this dialect", data)
        out = self._known(kind, frame)
        if kind == "content_block_delta":
            one = out[0] if len(out) == 1 else None
            if isinstance(one, Delta) and one.text and one == Delta(text=one.text):
                self._lane.learn(data, one.text, 0)
        elif kind != "ping":
            self._lane.forget()
        return self._verbatim(kind, data, frame, out)

    def _verbatim(self, kind: str, data: bytes, frame: dict[str, Any], out: list[Event]) -> list[Event]:
        """The events of one frame with the frame itself, for callers of this dialect. A piece of the text block that
        is open stays as it is: it says all there is."""
        if kind not in _MEMBER:
            return out
        index, member = frame.get("index"), frame.get(_MEMBER[kind]) if _MEMBER[kind] else None
        if _MEMBER[kind] and not isinstance(member, dict):
            return out
        if kind.startswith("content_block") and (not isinstance(index, int) or index < 0):
            return out
        if kind == "content_block_delta" and out and index == self._text_at:
            return out
        block = member.get("type") if kind == "content_block_start" and member is not None else None
        if kind == "content_block_start":
            if not isinstance(block, str):
                return out
            self._text_at = index if block == "text" else None
        elif kind == "content_block_stop":
            self._text_at = None
        data = codec.encode(frame) if b"\n" in data or b"\r" in data else data
        seen = block is not None and block not in _SPOKEN
        return _with_native(out, Native("anthropic", kind, data, content=seen), alone=kind != "message_stop")

    def _known(self, kind: str, frame: dict[str, Any]) -> list[Event]:
        fold = self._fold
        index = frame.get("index")
        index = index if isinstance(index, int) else 0
        if kind == "content_block_delta":
            delta = frame.get("delta")
            return fold.block_delta(index, delta) if isinstance(delta, dict) else []
        if kind == "content_block_start":
            block = frame.get("content_block")
            return fold.block_start(index, block) if isinstance(block, dict) else []
        if kind == "content_block_stop":
            return fold.block_stop(index)
        if kind == "message_start":
            message = frame.get("message")
            return [fold.start(message), *fold.counted()] if isinstance(message, dict) else []
        if kind == "message_delta":
            return fold.message_delta(frame)
        if kind == "message_stop":
            self._done = True
            return fold.finish(None)
        return []  # ping, and the kinds that Anthropic's versioning allows to be added

    def _message(self, body: bytes) -> list[Event]:
        if (common := common_message(body)) is not None:
            self._done = True
            return common
        try:
            value = lenient.decode(body)
        except BAD:
            length = _value_length(body)
            if length is None:
                return self._lost()
            try:
                value = lenient.decode(body[:length])
            except BAD:
                return self._garbage("its body is not JSON", body)
        if isinstance(value, dict):
            if value.get("type") == "error" or (value.get("error") and "content" not in value):
                return self._failed(_fault(faults.from_object(value, self._head)))
            if isinstance(value.get("content"), (list, str)):
                self._done = True
                native = Native("anthropic", "", codec.encode(value), content=_shows(value["content"]))
                return _with_native(read_message(value), native, alone=True)
        return self._garbage("its body is no message of this dialect", body)

    def _lost(self) -> list[Event]:
        return self._failed(
            UpstreamLost(
                "The provider's answer broke off before its end; try again.", provider_status=self._head.status
            )
        )

    def _garbage(self, what: str, sample: bytes = b"") -> list[Event]:
        return self._failed(faults.garbage(what, sample))

    def _failed(self, fault: UpstreamFault) -> list[Event]:
        self._done = True
        self._body = []
        return [Failed(fault)]


_KINDS = frozenset(
    (
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    )
)


_SPOKEN = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "fallback"})
"""kinds of blocks that canonical events say something of"""
_MEMBER = {
    "message_start": "message",
    "content_block_start": "content_block",
    "content_block_delta": "delta",
    "content_block_stop": "",
    "message_delta": "delta",
    "message_stop": "",
}
"""kinds of events that travel as they are -> the member without which they say nothing"""


def _shows(content: Any) -> bool:
    """Whether a message has something to see that canonical events do not say."""
    kinds = [block.get("type") for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return any(isinstance(kind, str) and kind not in _SPOKEN for kind in kinds)


_SAID = Native("anthropic", "", b"")


def _with_native(events: list[Event], native: Native, *, alone: bool) -> list[Event]:
    """The same events with the provider's words on the first Delta, and a mark on the others that it said them.
    `alone`: where there is no Delta, one is made for it, in front of the end."""
    out: list[Event] = []
    told = False
    for event in events:
        if isinstance(event, Delta):
            event = replace(event, native=_SAID if told or not alone else native)
            told = True
        elif isinstance(event, Finish) and alone and not told:
            out.append(Delta(native=native))
            told = True
        out.append(event)
    return out if told or not alone else [*out, Delta(native=native)]


def _shape(held: bytes, content_type: str) -> str | None:
    """`stream`, `message`, `garbage`, or None while too few bytes are known; blanks before them are already gone."""
    held = held.removeprefix(_BOM)
    if not held or _BOM.startswith(held):
        return None
    if held[:1] in (b"{", b"["):
        return "message"
    if held.startswith(_SSE_STARTS):
        return "stream"
    if any(start.startswith(held) for start in _SSE_STARTS):
        return None
    return "stream" if content_type == "text/event-stream" and held[:1] != b"<" else "garbage"


_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]"]', re.DOTALL)
"""a whole JSON string, a bracket, or the quote of a string that does not end"""


def _value_length(body: bytes) -> int | None:
    """Bytes up to the end of the JSON object or array that `body` begins with; None if it does not end."""
    depth = 0
    for token in _TOKEN.finditer(body):
        sign = token.group()
        if sign == b'"':
            return None
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
    return None

"""Writes answers in the chat dialect as OpenRouter gives them: a stream of chunks that ends in usage and `[DONE]`, or
one body, and the error envelope.

Source: inference API, sections 2.3, 2.4, 14 and 16; the usage object: generation record, section 9.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.errors import Fault, Internal, UpstreamFault
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Plain, Start, ToolDelta, Whole
from routebook.dialects.base import Receipt, Stamp
from routebook.dialects.openai_chat.fold import Choice
from routebook.dialects.openai_chat.receipt import UNSET, UsageObject, usage_object
from routebook.wire import codec, sse
from routebook.wire.text import texts

KEEPALIVE = b": ROUTEBOOK PROCESSING\n\n"

ERROR_TYPES = frozenset(
    (
        "context_length_exceeded max_tokens_exceeded token_limit_exceeded string_too_long authentication "
        "permission_denied payment_required rate_limit_exceeded provider_overloaded provider_unavailable "
        "invalid_request invalid_prompt not_found precondition_failed payload_too_large unprocessable "
        "content_policy_violation refusal invalid_image image_too_large image_too_small unsupported_image_format "
        "image_not_found image_download_failed server timeout unmapped"
    ).split()
)
"""What the API's schema lets an `error_type` be; ours that are not among them are written as `unmapped`."""


class StreamWriter(msgspec.Struct, eq=False):
    """Chunks; see dialects.base.Writer. A struct, because that is quicker to make."""

    _exclude: bool = False
    content_type: str = "text/event-stream"
    _head: bytes = b""
    _tail: bytes = b"}\n\n"
    _roles: set[int] = set()
    _frames: dict[int, tuple[bytes, bytes, bytes]] = {}

    def start(self, stamp: Stamp) -> None:
        """Every chunk begins with what the stamp says."""
        head = {
            "id": stamp.id,
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": stamp.model,
        }
        if stamp.provider is not None:
            head["provider"] = stamp.provider
        self._head = b"data: " + codec.encode(head)[:-1]

    def feed(self, event: Event) -> bytes:
        """One chunk for a piece of a choice or its finish, nothing for the rest."""
        match event:
            case Plain():
                frame = self._frames.get(event.index)
                if frame is None:
                    return self._first_plain(event)
                return frame[0] + frame[1].join(event.texts) + frame[2]
            case Whole():
                return b"".join([self.feed(part) for part in event.parts()])
            case Delta():
                return self._delta(event)
            case Finish():
                return self._chunk(
                    _choice(event.index, self._role(event.index, {"content": ""}), event.reason, event.native)
                )
            case Start():
                more: dict[str, Any] = {}
                if event.system_fingerprint is not None:
                    more["system_fingerprint"] = event.system_fingerprint
                if event.service_tier is not None:
                    more["service_tier"] = event.service_tier
                self._tail = (b"," + codec.encode(more)[1:] if more else b"}") + b"\n\n"
                self._frames.clear()
                return b""
            case Counted() | Failed():
                return b""

    def _first_plain(self, event: Plain) -> bytes:
        """A run of text where nothing is known yet of how its choice is framed."""
        if event.index not in self._roles:
            return b"".join(self._delta(Delta(index=event.index, text=piece)) for piece in texts(event))
        begin = self._head + b',"choices":[{"index":%d,"delta":{"content":"' % event.index
        end = b'"},"finish_reason":null,"native_finish_reason":null}]' + self._tail
        self._frames[event.index] = (begin, end + begin, end)
        return begin + (end + begin).join(event.texts) + end

    def _delta(self, event: Delta) -> bytes:
        if event.text and event.index in self._roles and _text_only(event):
            # The common case: one piece of text.
            return b"".join(
                (
                    self._head,
                    b',"choices":[{"index":%d,"delta":{"content":' % event.index,
                    codec.encode(event.text),
                    b'},"finish_reason":null,"native_finish_reason":null}]',
                    self._tail,
                )
            )
        delta, choice_more, answer_more = _delta_members(event, self._exclude)
        if not delta and not choice_more and not answer_more:
            return b""
        choice = _choice(event.index, self._role(event.index, delta), None, None) | choice_more
        if event.logprobs is not None:
            choice["logprobs"] = event.logprobs
        return self._chunk(choice, answer_more)

    def _role(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        if index in self._roles:
            return delta
        self._roles.add(index)
        return {"role": "assistant", "content": "", **delta}

    def _chunk(self, choice: dict[str, Any] | None, more: dict[str, Any] | None = None) -> bytes:
        choices = b',"choices":' + codec.encode([] if choice is None else [choice])
        members = b"," + codec.encode(more)[1:-1] if more else b""
        return self._head + choices + members + self._tail

    def fault(self, fault: Fault) -> bytes:
        """The in-band error: a last choice that finishes with `error`, and what went wrong beside it."""
        error = error_object(fault)
        metadata: dict[str, Any] = error["metadata"]
        error["metadata"] = {name: metadata[name] for name in ("error_type", "provider_code") if name in metadata}
        error.pop("availability", None)
        choice = _choice(0, self._role(0, {"content": ""}), "error", None)
        return self._chunk(choice, {"error": error})

    def end(self, receipt: Receipt) -> bytes:
        """The usage chunk and the end mark."""
        usage = codec.encode(usage_object(receipt))
        if receipt.routing is not None:
            usage += b',"openrouter_metadata":' + codec.encode(receipt.routing)
        return b"".join((self._head, b',"choices":[],"usage":', usage, self._tail, sse.DONE))

    def keepalive(self) -> bytes:
        """A comment."""
        return KEEPALIVE


class _Message(msgspec.Struct, gc=False):
    """A message that is nothing but text; the members that a longer one has are null."""

    role: str
    content: str
    refusal: None = None
    reasoning: msgspec.UnsetType | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int
    finish_reason: str
    native_finish_reason: str | None
    message: _Message


class _Body(msgspec.Struct, gc=False):
    """A whole answer of one such message."""

    id: str
    object: str
    created: int
    model: str
    provider: str | msgspec.UnsetType
    system_fingerprint: str | None
    service_tier: str | msgspec.UnsetType
    choices: list[_Choice]
    usage: UsageObject


class UnaryWriter(msgspec.Struct, eq=False):
    """One body; see dialects.base.Writer. A struct, because that is quicker to make."""

    _exclude: bool = False
    content_type: str = "application/json"
    _stamp: Stamp = Stamp("", 0, "", None)
    _only: Whole | None = None
    """all that was said, as long as it is that"""
    _start: Start = Start()
    _choices: dict[int, Choice] = {}
    _more: dict[str, Any] = {}
    _fault: Fault | None = None

    def start(self, stamp: Stamp) -> None:
        """Who answers."""
        self._stamp = stamp

    def feed(self, event: Event) -> bytes:
        """Folds; a unary answer gives nothing before its end."""
        if isinstance(event, Whole) and self._only is None and not self._choices:
            self._only = event
            return b""
        self._unfold()
        match event:
            case Plain():
                for piece in texts(event):
                    self._choice(event.index).add(Delta(text=piece), self._more)
            case Whole():
                for part in event.parts():
                    self.feed(part)
            case Delta():
                self._choice(event.index).add(event, self._more)
            case Finish():
                self._choice(event.index).finish(event)
            case Start():
                self._start = event
            case Counted() | Failed():
                pass
        return b""

    def _unfold(self) -> None:
        """More comes than one message of text: from here on everything is folded."""
        only, self._only = self._only, None
        if only is not None:
            for part in only.parts():
                self.feed(part)

    def _choice(self, index: int) -> Choice:
        return self._choices.setdefault(index, Choice(index))

    def fault(self, fault: Fault) -> bytes:
        """Remembered: the choice that was under way ends with it."""
        self._fault = fault
        return b""

    def end(self, receipt: Receipt) -> bytes:
        """The whole body."""
        if self._only is not None and self._fault is None and receipt.routing is None:
            return _short(self._stamp, self._only, self._exclude, receipt)
        self._unfold()
        if self._fault is not None:
            self._choice(0).fail(error_object(self._fault))
        stamp = self._stamp
        body: dict[str, Any] = {
            "id": stamp.id,
            "object": "chat.completion",
            "created": stamp.created,
            "model": stamp.model,
        }
        if stamp.provider is not None:
            body["provider"] = stamp.provider
        body["system_fingerprint"] = self._start.system_fingerprint
        if self._start.service_tier is not None:
            body["service_tier"] = self._start.service_tier
        body["choices"] = [choice.written(self._exclude) for _, choice in sorted(self._choices.items())]
        body.update(self._more)
        body["usage"] = usage_object(receipt)
        if receipt.routing is not None:
            body["openrouter_metadata"] = receipt.routing
        return codec.encode(body)

    def keepalive(self) -> bytes:
        """Nothing: the body is one JSON value."""
        return b""


def _short(stamp: Stamp, only: Whole, exclude_reasoning: bool, receipt: Receipt) -> bytes:
    """The commonest body: one message of text."""
    start, finish = only.start, only.finish
    message = _Message("assistant", only.text or "")
    if exclude_reasoning:
        message.reasoning = UNSET
    return codec.encode(
        _Body(
            stamp.id,
            "chat.completion",
            stamp.created,
            stamp.model,
            UNSET if stamp.provider is None else stamp.provider,
            start.system_fingerprint,
            UNSET if start.service_tier is None else start.service_tier,
            [_Choice(only.index, finish.reason, finish.native, message)],
            usage_object(receipt),
        )
    )


# --- pieces -----------------------------------------------------------------------------------------------------------


def _choice(index: int, delta: dict[str, Any], reason: str | None, native: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason, "native_finish_reason": native}


def _text_only(event: Delta) -> bool:
    return (
        event.reasoning is None
        and event.reasoning_details is None
        and event.tool_calls is None
        and event.refusal is None
        and event.images is None
        and event.audio is None
        and event.annotations is None
        and event.logprobs is None
        and event.extra is None
    )


def _delta_members(event: Delta, exclude: bool) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Members of the delta, of its choice, and of the whole chunk."""
    delta: dict[str, Any] = {}
    if event.text:
        delta["content"] = event.text
    if not exclude and (event.reasoning or event.reasoning_details):
        if event.reasoning:
            delta["reasoning"] = event.reasoning
        delta["reasoning_details"] = event.reasoning_details or details_of(event.reasoning or "")
    if event.tool_calls:
        delta["tool_calls"] = [tool_delta(piece) for piece in event.tool_calls]
    for name in ("refusal", "images", "audio", "annotations"):
        if value := getattr(event, name):
            delta[name] = value
    of_delta, of_choice, of_answer = split_extra(event.extra)
    return of_delta | delta, of_choice, of_answer


def details_of(reasoning: str) -> list[dict[str, Any]]:
    """Plain reasoning text in the form that callers send back unmodified."""
    return [{"type": "reasoning.text", "text": reasoning, "format": "unknown", "index": 0}]


def split_extra(extra: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(of the message, of the choice, of the answer): what only the provider sends, back at its own level."""
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    answer: dict[str, Any] = {}
    for name, value in (extra or {}).items():
        level, dot, rest = name.partition(".")
        if dot and level == "choice":
            choice[rest] = value
        elif dot and level == "answer":
            answer[rest] = value
        else:
            message[name] = value
    return message, choice, answer


def tool_delta(piece: ToolDelta) -> dict[str, Any]:
    """One piece of a tool call: id, type and name come with the first one only."""
    out: dict[str, Any] = {"index": piece.index}
    if piece.id is not None or piece.name is not None:
        if piece.id is not None:
            out["id"] = piece.id
        out["type"] = piece.type
    body: dict[str, Any] = {} if piece.name is None else {"name": piece.name}
    if piece.type == "custom":
        out["custom"] = {**body, "input": piece.arguments}
    else:
        out["function"] = {**body, "arguments": piece.arguments}
    return {**(piece.extra or {}), **out}


def error_object(fault: Fault) -> dict[str, Any]:
    """`{code, message, metadata}` as a caller may see it, and `availability` where a model cannot be had.

    Source: inference API, section 14.
    """
    error_type = fault.error_type if fault.error_type in ERROR_TYPES else "unmapped"
    metadata: dict[str, Any] = {"error_type": error_type}
    if fault.status == 500:  # masked: what broke inside is in the log under the generation id
        return {"code": 500, "message": Internal().message, "metadata": metadata}
    if isinstance(fault, UpstreamFault) and fault.provider_code is not None:
        metadata["provider_code"] = fault.provider_code
    told = {**fault.metadata, **metadata}
    availability = told.pop("availability", None)
    error = {"code": fault.status, "message": fault.message, "metadata": told}
    return error if availability is None else {**error, "availability": availability}


def error_body(fault: Fault) -> bytes:
    """The body of an answer that has a true HTTP status."""
    body: dict[str, Any] = {"error": error_object(fault)}
    if fault.routing is not None:
        body["openrouter_metadata"] = fault.routing
    return codec.encode(body)

"""Reads answers of the chat completions family, streamed and not, from any provider, into canonical events.

Vendor forms and where they were seen (API references and answers, read 2026-11): `x_groq` (Groq), content as a list
of parts with `thinking` and `reference` (Mistral), `reasoning_content` (DeepSeek, Moonshot, xAI, Z.AI), `reasoning` and
`reasoning_details` (OpenRouter, Groq, Cerebras, vLLM), usage inside a choice (Moonshot), usage on every chunk
(Perplexity), tool calls without index or with one index for all, legacy `function_call`, error objects in the middle
of a stream with or without `event: error`. What only one provider sends travels in `Delta.extra`, so that a caller of
the same dialect loses nothing: members of the delta under their own name, of the choice as `choice.NAME`, of the whole
answer as `answer.NAME`. (`obfuscation` is padding against traffic analysis and is left out.)
"""

from __future__ import annotations

import re
from typing import Any

from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import faults, plain
from routebook.dialects.openai_chat.common import CommonChunk, common_answer, common_chunk, common_report
from routebook.dialects.openai_chat.lenient import decode, decode_leading
from routebook.dialects.openai_chat.message import Calls, content_of
from routebook.dialects.openai_chat.reasons import REASONS
from routebook.dialects.openai_chat.usage import counts
from routebook.wire import codec, sse
from routebook.wire.http import HttpHead

UNARY_BYTES_MAX = 64 * 2**20
"""A body beyond this is no chat answer."""

_BEGINS = re.compile(rb'"content"\s*:\s*"')
_PREFIXES = (b"data: ", b"data:")
_PADDING = re.compile(rb'"obfuscation"\s*:\s*"(?=[^"]*"}\Z)')
_PADDED = rb'[^"\\\x00-\x1f]*'

_MARKS = (b"data:", b"event:", b"id:", b"retry:", b":")
_ANSWER = frozenset(
    (
        "id object created model choices usage service_tier system_fingerprint provider error obfuscation status_code "
        "request_id"
    ).split()
)
_CHOICE = frozenset("index delta message finish_reason native_finish_reason logprobs usage error text".split())


class ChatReader:
    """One answer; see dialects.base.Reader for the rules."""

    __slots__ = (
        "_calls",
        "_closed",
        "_finished",
        "_frames",
        "_head",
        "_lane",
        "_mint",
        "_mode",
        "_pieces",
        "_seen",
        "_shown",
        "_size",
        "_start",
        "_usage",
    )  # fmt: skip

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._mode = ""
        self._pieces: list[bytes] = []
        self._size = 0
        self._closed = False
        self._start: Start | None = None
        self._usage: Usage | None = None
        self._calls: dict[int, Calls] = {}
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._shown: dict[str, Any] = {}
        self._frames = _NO_FRAMES  # until the answer turns out to be a stream
        self._lane = _NO_LANE

    def feed(self, data: bytes) -> list[Event]:
        """Events that these bytes complete. Never raises."""
        if self._frames.clear and (run := self._lane.one(data)) is not None:
            return [run]
        if self._closed:
            return []
        if not self._mode:
            return self._sniff(data)
        if self._mode == "unary":
            return self._collect(data)
        return self._stream(data)

    def end(self) -> list[Event]:
        """EOF."""
        if self._closed:
            return []
        if self._mode == "stream":
            out: list[Event] = []
            try:
                events = self._frames.end()
            except sse.TooLong:
                return self._fail(faults.garbage(f"one event is larger than {sse.EVENT_BYTES_MAX} bytes"))
            for event in events:
                out += self._event(event)
            return out + self._close()
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if self._mode != "unary" and not body.strip():
            return self._fail(UpstreamLost("The provider ended its answer before the first byte; try again."))
        if self._mode == "unary":
            return self._whole(body)
        return self._fail(faults.garbage("it is neither JSON nor an event stream", body))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _sniff(self, data: bytes) -> list[Event]:
        """The first bytes say what the answer is; the content type only helps where they leave it open."""
        if not self._pieces and data[:1] == b"{":
            self._mode = "unary"
            return self._collect(data)
        self._pieces.append(data)
        held = b"".join(self._pieces)
        start = held.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start or b"\xef\xbb\xbf".startswith(held):
            self._pieces = [held] if len(held) < 3 else []  # leading blanks are a router's sign of life
            return []
        if start[:1] in (b"{", b"["):
            self._mode = "unary"
            self._pieces = []
            return self._collect(held)
        declared = self._head.content_type == "text/event-stream" and start[:1] != b"<"
        if declared or start.startswith(_MARKS):
            self._mode = "stream"
            self._pieces = []
            self._lane = plain.Lane(_BEGINS, _PREFIXES, _loose)
            self._frames = plain.Frames(self._lane)
            return self._stream(held)
        if any(mark.startswith(start) for mark in _MARKS):
            return []
        return self._fail(faults.garbage("it is neither JSON nor an event stream", held))

    def _collect(self, data: bytes) -> list[Event]:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > UNARY_BYTES_MAX:
            return self._fail(faults.garbage(f"its body is larger than {UNARY_BYTES_MAX} bytes"))
        return []

    def _stream(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        while data:
            try:
                run, events, data = self._frames.feed(data)
            except sse.TooLong:
                return out + self._fail(faults.garbage(f"one event is larger than {sse.EVENT_BYTES_MAX} bytes"))
            if run is not None:
                out.append(run)
            for event in events:
                out += self._event(event)
            if self._closed:
                break
        return out

    def _event(self, event: sse.SseEvent) -> list[Event]:
        data = event.data.strip()
        if self._closed or not data:
            return []
        if not event.event and (run := self._lane.read(data)) is not None:
            return [run]
        if data == b"[DONE]":
            return self._close()
        if event.event != "error" and (chunk := common_chunk(data)) is not None:
            return self._learned(data, self._common(chunk))
        try:
            value = decode(data)
        except codec.DecodeError:
            if self._finished and self._finished == self._seen:
                return self._close()  # a good answer with junk behind its finish stays good
            return self._fail(faults.garbage("one event's data is not JSON", data))
        if event.event == "error":
            return self._fail(faults.from_object(value, self._head))
        if not isinstance(value, dict):
            return self._fail(faults.garbage("one event's data is no JSON object", data))
        return self._learned(data, self._answer(value, "delta"))

    def _learned(self, data: bytes, out: list[Event]) -> list[Event]:
        """What an event said, after a look at whether the next ones like it can take the lane."""
        one = out[0] if len(out) == 1 else None
        if isinstance(one, Delta) and one.text and one == Delta(index=one.index, text=one.text):
            self._lane.learn(data, one.text, one.index)
        elif not all(isinstance(event, Delta) and event.extra is None for event in out):
            self._lane.forget()
        return out

    def _whole(self, body: bytes) -> list[Event]:
        if (common := common_answer(body)) is not None:
            self._closed = True
            return common
        try:
            value = decode_leading(body.removeprefix(b"\xef\xbb\xbf").strip())
        except codec.DecodeError:
            return self._fail(faults.garbage("its body is not JSON", body))
        if isinstance(value, list) and value and isinstance(value[0], dict) and "error" in value[0]:
            value = value[0]
        if not isinstance(value, dict):
            return self._fail(faults.garbage("its body is no JSON object", body))
        out = self._answer(value, "message")
        if not self._closed and not self._seen:
            return out + self._fail(faults.garbage("it has no choices", body))
        return out + self._close()

    def _close(self) -> list[Event]:
        """The end mark or EOF: good if every choice that was seen has finished."""
        if self._closed:
            return []
        if self._finished and self._finished == self._seen:
            self._closed = True
            self._frames.drop()
            return []
        return self._fail(UpstreamLost("The provider's answer stopped before its finish; try again."))

    def _fail(self, fault: UpstreamFault) -> list[Event]:
        self._closed = True
        self._frames.drop()
        self._pieces = []
        return [Failed(fault)]

    # --- values -------------------------------------------------------------------------------------------------------

    def _answer(self, value: dict[str, Any], member: str) -> list[Event]:
        """One chunk, or the whole of a unary answer; `member` names where a choice keeps its message."""
        out: list[Event] = []
        self._begin(value, out)
        choices = value.get("choices")
        choices = choices if isinstance(choices, list) else []
        failed: Any = value if _is_error(value) else None
        extra = self._fresh(value)
        finishes: list[Event] = []
        reports: list[Any] = []
        for place, choice in enumerate(choices):
            if not isinstance(choice, dict):
                continue
            self._choice(choice, place, member, extra, out, finishes)
            extra = {}
            reports.append(choice.get("usage"))
            if isinstance(choice.get("error"), (dict, str)) and choice["error"]:
                failed = failed or choice
        if extra and failed is None and "choices" in value:
            out.append(Delta(extra=extra))
        if failed is None:
            out += finishes
        within = value.get("x_groq")
        reports.append(within.get("usage") if isinstance(within, dict) else None)
        reports.append(value.get("usage"))
        for report in reports:
            self._count(report, out)
        if failed is not None:
            out += self._fail(faults.from_object(failed, self._head))
        return out

    def _common(self, chunk: CommonChunk) -> list[Event]:
        """A chunk of a common form; says what `_answer` would say of it."""
        out: list[Event] = []
        self._head_of(chunk.id, chunk.model, chunk.service_tier, chunk.system_fingerprint, chunk.provider, out)
        for choice in chunk.choices:
            self._seen.add(choice.index)
            role, text = choice.delta.role or None, choice.delta.content
            if role is not None or text is not None:
                out.append(Delta(index=choice.index, role=role, text=text))
            self._end_choice(choice.index, choice.finish_reason, choice.native_finish_reason, None, out)
        report = bytes(chunk.usage)
        if report and report != b"null":
            usage = common_report(report)
            if usage is None:
                self._count(decode(report), out)
            elif usage != self._usage:
                self._usage = usage
                out.append(Counted(usage))
        return out

    def _begin(self, value: dict[str, Any], out: list[Event]) -> None:
        within = value.get("x_groq")
        name = (
            _text(value, "id")
            or _text(value, "request_id")
            or (_text(within, "id") if isinstance(within, dict) else None)
        )
        if self._start is not None or value.get("choices") is not None:
            self._head_of(
                name,
                _text(value, "model"),
                _text(value, "service_tier"),
                _text(value, "system_fingerprint"),
                _text(value, "provider"),
                out,
            )

    def _head_of(
        self,
        name: str | None,
        model: str | None,
        tier: str | None,
        fingerprint: str | None,
        provider: str | None,
        out: list[Event],
    ) -> None:
        """What a frame says of the answer as a whole: the first name and model stay, of the rest the last counts."""
        old = self._start
        if old is None:
            new = Start(name or None, model or None, tier or None, fingerprint or None, provider or None)
        else:
            new = Start(
                old.upstream_id or name or None,
                old.model or model or None,
                tier or old.service_tier,
                fingerprint or old.system_fingerprint,
                provider or old.provider,
            )
        if new != old:
            self._start = new
            out.append(new)

    def _fresh(self, value: dict[str, Any]) -> dict[str, Any]:
        """Members of the whole answer that are no part of the dialect, where they say something new."""
        out: dict[str, Any] = {}
        for name, member in value.items():
            if name in _ANSWER or member is None or self._shown.get(name) == member:
                continue
            self._shown[name] = member
            out[f"answer.{name}"] = member
        return out

    def _choice(
        self,
        choice: dict[str, Any],
        place: int,
        member: str,
        extra: dict[str, Any],
        out: list[Event],
        finishes: list[Event],
    ) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) and 0 <= index < 4096 else place
        self._seen.add(index)
        calls = self._calls.setdefault(index, Calls(self._mint))
        message = choice.get(member) or choice.get("message") or choice.get("delta")
        message = message if isinstance(message, dict) else {}
        if not message and isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}  # the legacy completions form
        extra = dict(extra)
        for name, value in choice.items():
            if name not in _CHOICE and value is not None:
                extra[f"choice.{name}"] = value
        delta = content_of(message, index, calls, choice.get("logprobs"), extra)
        if delta is not None:
            out.append(delta)
        native = choice.get("finish_reason")
        if not (isinstance(native, str) and native):
            if member == "delta":
                return
            native = None  # a whole answer is finished, whatever its provider forgot to say
        stop = choice.get("stop_reason") or choice.get("matched_stop")
        told = _text(choice, "native_finish_reason")
        self._end_choice(index, native, told, stop if isinstance(stop, str) else None, finishes, always=True)

    def _end_choice(
        self, index: int, native: str | None, told: str | None, stop: str | None, out: list[Event], always: bool = False
    ) -> None:
        """The finish of a choice, if there is one; `always`: it has ended, even where no reason is given."""
        if index in self._finished or not (native or always):
            return
        self._finished.add(index)
        reason = "stop" if not native else REASONS.get(native.lower(), "stop")
        calls = self._calls.get(index)
        if reason == "stop" and calls is not None and calls.count:
            reason = "tool_calls"
        out.append(Finish(reason, native=told or native, index=index, stop_sequence=stop))

    def _count(self, report: Any, out: list[Event]) -> None:
        usage = counts(report) if isinstance(report, dict) else None
        if usage is not None and usage != self._usage:
            self._usage = usage
            out.append(Counted(usage))


def _loose(tail: bytes) -> plain.Tail:
    """Padding against traffic analysis differs from frame to frame and means nothing."""
    padding = _PADDING.search(tail)
    return plain.Tail(tail) if padding is None else plain.Tail(tail[: padding.end()], _PADDED, b'"}')


_NO_LANE = plain.Lane(_BEGINS, ())
_NO_FRAMES = plain.Frames(_NO_LANE)
"""Stand for a stream that has not begun: never fed, so never clear."""


def _is_error(value: dict[str, Any]) -> bool:
    if value.get("error") or value.get("object") == "error" or value.get("type") == "error":
        return True
    return "choices" not in value and any(value.get(name) for name in ("detail", "errors", "message", "fault"))


def _text(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    return text if isinstance(text, str) and text else None

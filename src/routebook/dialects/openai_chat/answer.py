"""What one answer of the chat family has said so far: JSON values in, canonical events out.

Vendor forms and where they were seen: see `reader`.
"""

from __future__ import annotations

from typing import Any

from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import faults
from routebook.dialects.lenient import decode
from routebook.dialects.openai_chat.common import CommonChunk, common_report
from routebook.dialects.openai_chat.message import Calls, content_of
from routebook.dialects.openai_chat.reasons import REASONS
from routebook.dialects.openai_chat.usage import counts
from routebook.wire.http import HttpHead

_ANSWER = frozenset(
    (
        "id object created model choices usage service_tier system_fingerprint provider error obfuscation status_code "
        "request_id"
    ).split()
)
_CHOICE = frozenset("index delta message finish_reason native_finish_reason logprobs usage error text".split())


class Answer:
    """Grows by `value` and `common`, one chunk or whole body at a time. A Failed is always the last event."""

    __slots__ = ("_calls", "_finished", "_head", "_mint", "_shown", "_start", "_usage", "seen")

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._start: Start | None = None
        self._usage: Usage | None = None
        self._calls: dict[int, Calls] = {}
        self.seen: set[int] = set()
        """choices that were heard of"""
        self._finished: set[int] = set()
        self._shown: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Every choice that was heard of has finished."""
        return bool(self._finished) and self._finished == self.seen

    def value(self, value: dict[str, Any], member: str) -> list[Event]:
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
            out.append(Failed(faults.from_object(failed, self._head)))
        return out

    def common(self, chunk: CommonChunk) -> list[Event]:
        """A chunk of a common form; says what `value` would say of it."""
        out: list[Event] = []
        self._head_of(chunk.id, chunk.model, chunk.service_tier, chunk.system_fingerprint, chunk.provider, out)
        for choice in chunk.choices:
            self.seen.add(choice.index)
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
        self.seen.add(index)
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


def _is_error(value: dict[str, Any]) -> bool:
    if value.get("error") or value.get("object") == "error" or value.get("type") == "error":
        return True
    return "choices" not in value and any(value.get(name) for name in ("detail", "errors", "message", "fault"))


def _text(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    return text if isinstance(text, str) and text else None

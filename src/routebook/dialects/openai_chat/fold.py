"""One choice of an answer, folded from its pieces into the message of a unary body."""

from __future__ import annotations

from typing import Any

from routebook.core.events import Delta, Finish, ToolDelta


class Choice:
    """Grows by `add`; `written` gives the choice as the dialect has it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._audio: dict[str, Any] = {}
        self._calls: dict[int, _Call] = {}
        self._logprobs: Any = None
        self._message: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._finish: Finish | None = None
        self._error: dict[str, Any] | None = None

    def add(self, event: Delta, answer: dict[str, Any]) -> None:
        """One more piece; members of the whole answer go to `answer`."""
        self._text.append(event.text or "")
        self._reasoning.append(event.reasoning or "")
        self._refusal.append(event.refusal or "")
        for detail in event.reasoning_details or ():
            _merge_detail(self._details, detail)
        self._images += event.images or ()
        self._annotations += event.annotations or ()
        _merge_audio(self._audio, event.audio)
        for piece in event.tool_calls or ():
            self._calls.setdefault(piece.index, _Call()).add(piece)
        self._logprobs = _merge_logprobs(self._logprobs, event.logprobs)
        for name, value in (event.extra or {}).items():
            level, dot, rest = name.partition(".")
            if dot and level in ("choice", "answer"):
                (self._choice if level == "choice" else answer)[rest] = value
            else:
                _merge_extra(self._message, name, value)

    def finish(self, event: Finish) -> None:
        """The choice ended."""
        self._finish = event

    def fail(self, error: dict[str, Any]) -> None:
        """The choice ended with an error after some of it had come."""
        self._error = error

    def written(self, exclude_reasoning: bool) -> dict[str, Any]:
        """The choice as the dialect has it."""
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not self._calls else None}
        message["refusal"] = "".join(self._refusal) or None
        if not exclude_reasoning:
            message["reasoning"] = reasoning or None
            if self._details:
                message["reasoning_details"] = self._details
            elif reasoning:
                message["reasoning_details"] = [
                    {"type": "reasoning.text", "text": reasoning, "format": "unknown", "index": 0}
                ]
        if self._calls:
            message["tool_calls"] = [call.written(place) for place, call in sorted(self._calls.items())]
        for name, value in (("images", self._images), ("audio", self._audio), ("annotations", self._annotations)):
            if value:
                message[name] = value
        ended = self._finish
        choice: dict[str, Any] = {
            "index": self.index,
            "finish_reason": "error" if self._error is not None else ended.reason if ended is not None else None,
            "native_finish_reason": ended.native if ended is not None else None,
            "message": self._message | message,
        }
        if self._logprobs is not None:
            choice["logprobs"] = self._logprobs
        if self._error is not None:
            choice["error"] = self._error
        return self._choice | choice


class _Call:
    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.type = "function"
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}

    def add(self, piece: ToolDelta) -> None:
        self.id = self.id or piece.id
        if self.name is None and piece.name is not None:
            self.name, self.type = piece.name, piece.type
        self.arguments.append(piece.arguments)
        self.extra.update(piece.extra or {})

    def written(self, place: int) -> dict[str, Any]:
        arguments = "".join(self.arguments)
        name = self.name or ""
        body = {"name": name, "input": arguments} if self.type == "custom" else {"name": name, "arguments": arguments}
        return {**self.extra, "index": place, "id": self.id or "", "type": self.type, self.type: body}


def _merge_detail(details: list[dict[str, Any]], detail: dict[str, Any]) -> None:
    """Pieces of one block are joined; another block, or one of another kind, stands alone."""
    last = details[-1] if details else None
    kind = detail.get("type")
    if last is None or kind != last.get("type") or detail.get("index") != last.get("index") or "data" in detail:
        details.append(dict(detail))
        return
    for name, value in detail.items():
        if name in ("text", "summary") and isinstance(value, str):
            last[name] = (last.get(name) or "") + value
        elif value is not None:
            last[name] = value


def _merge_audio(audio: dict[str, Any], piece: dict[str, Any] | None) -> None:
    for name, value in (piece or {}).items():
        if name in ("data", "transcript") and isinstance(value, str):
            audio[name] = audio.get(name, "") + value
        elif value is not None:
            audio[name] = value


def _merge_logprobs(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new if new is not None else old
    out = dict(old)
    for name, value in new.items():
        before = out.get(name)
        out[name] = before + value if isinstance(before, list) and isinstance(value, list) else value or before
    return out


def _merge_extra(message: dict[str, Any], name: str, value: Any) -> None:
    """Lists grow, all else is replaced: nobody promises that a stranger's text members are fragments."""
    before = message.get(name)
    message[name] = before + value if isinstance(before, list) and isinstance(value, list) else value

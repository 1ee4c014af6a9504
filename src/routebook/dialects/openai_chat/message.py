"""One message or delta of a chat answer as a canonical Delta: content parts, reasoning, tool calls and the rest."""

from __future__ import annotations

from typing import Any

from routebook.core.events import Delta, ToolDelta
from routebook.core.ids import Mint
from routebook.wire import codec

_KNOWN = frozenset(
    (
        "role content reasoning reasoning_content reasoning_details tool_calls function_call refusal images audio "
        "annotations index"
    ).split()
)
_CALL = frozenset("index id type function custom".split())


class Calls:
    """The tool calls of one choice so far: which piece belongs to which call, however its provider numbers them."""

    __slots__ = ("_current", "_ids", "_mint", "count")

    def __init__(self, mint: Mint) -> None:
        self._mint = mint
        self._current: dict[int, int] = {}
        self._ids: list[str] = []
        self.count = 0

    def piece(self, item: dict[str, Any]) -> ToolDelta | None:
        """The piece in canonical form, None for an empty shell. The first piece of a call has id and name."""
        function = item.get("function")
        custom = item.get("custom")
        body = function if isinstance(function, dict) and function.get("name") else None
        body = body or (custom if isinstance(custom, dict) and custom.get("name") else None)
        body = body or (function if isinstance(function, dict) else custom if isinstance(custom, dict) else {})
        is_custom = body is custom and body is not function
        name = body.get("name")
        name = name if isinstance(name, str) and name else None
        given = item.get("id")
        given = given if isinstance(given, str) and given else None
        arguments = _arguments(body.get("input") if is_custom else body.get("arguments"))
        place = item.get("index")
        place = place if isinstance(place, int) and not isinstance(place, bool) and place >= 0 else None
        if place is None and given is None and name is None and not self.count:
            return None
        index, first = self._slot(place, given, name)
        extra = {key: value for key, value in item.items() if key not in _CALL and value is not None}
        return ToolDelta(
            index=index,
            id=self._ids[index] if first else None,
            name=name if first else None,
            arguments=arguments,
            type="custom" if is_custom else "function",
            extra=extra or None,
        )

    def _slot(self, place: int | None, given: str | None, name: str | None) -> tuple[int, bool]:
        """(canonical index, whether the call is new)."""
        if place is not None and place in self._current:
            slot = self._current[place]
            # One index for all calls: another id together with a name is another call.
            if given is None or name is None or given == self._ids[slot]:
                return slot, False
        elif place is None:
            if given is not None and given in self._ids:
                return self._ids.index(given), False
            if given is None and name is None:
                return self.count - 1, False
        slot = self.count
        self.count += 1
        self._ids.append(given or self._mint.next("call"))
        self._current[slot if place is None else place] = slot
        return slot, True


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else codec.encode(value).decode()


def content_of(message: dict[str, Any], index: int, calls: Calls, logprobs: Any, extra: dict[str, Any]) -> Delta | None:
    """A message or delta as one Delta; None if it says nothing at all. `extra` is filled with what is nobody else's."""
    text, thought, images = _parts(message.get("content"), extra)
    reasoning = thought
    if reasoning is None:
        found = (message.get("reasoning"), message.get("reasoning_content"))
        reasoning = next((one for one in found if isinstance(one, str) and one), None)
        if reasoning is None:
            reasoning = next((one for one in found if isinstance(one, str)), None)
    items = _dicts(message.get("tool_calls")) or []
    legacy = message.get("function_call")
    if not items and isinstance(legacy, dict) and (legacy.get("name") or legacy.get("arguments")):
        items = [{"index": 0, "function": legacy}]
    pieces = [piece for item in items if (piece := calls.piece(item)) is not None]
    images = images + (_dicts(message.get("images")) or [])
    for name, value in message.items():
        if name not in _KNOWN and value is not None:
            extra[name] = value
    if not isinstance(message.get("reasoning"), (str, type(None))):
        extra["reasoning"] = message["reasoning"]
    role = message.get("role")
    delta = Delta(
        index=index,
        role=role if isinstance(role, str) and role else None,
        text=text,
        reasoning=reasoning,
        reasoning_details=_dicts(message.get("reasoning_details")),
        tool_calls=pieces or None,
        refusal=_text(message.get("refusal")),
        images=images or None,
        audio=_audio(message.get("audio")),
        annotations=_dicts(message.get("annotations")),
        logprobs=logprobs if isinstance(logprobs, (dict, list)) and logprobs else None,
        extra=extra or None,
    )
    return None if delta == Delta(index=index) else delta


def _parts(content: Any, extra: dict[str, Any]) -> tuple[str | None, str | None, list[dict[str, Any]]]:
    """(text, reasoning, images) of a message's content; parts of other kinds are kept in `extra`."""
    if isinstance(content, str):
        return content, None, []
    if not isinstance(content, list):
        return None, None, []
    text: list[str] = []
    thought: list[str] = []
    images: list[dict[str, Any]] = []
    others: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            text.append(part)
        elif kind in ("text", "output_text") and isinstance(part.get("text"), str):
            text.append(part["text"])
        elif kind == "thinking":
            thought.append(_thinking(part.get("thinking")))
        elif kind == "image_url":
            images.append(part)
        else:
            others.append(part)
    if others:
        extra["content_parts"] = others
    return ("".join(text) if text else None), ("".join(thought) if thought else None), images


def _thinking(value: Any) -> str:
    """Mistral: a list of text chunks; others: the text itself."""
    if isinstance(value, str):
        return value
    items = value if isinstance(value, list) else []
    return "".join(item["text"] for item in items if isinstance(item, dict) and isinstance(item.get("text"), str))


def _dicts(value: Any) -> list[dict[str, Any]] | None:
    found = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return found or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _audio(value: Any) -> dict[str, Any] | None:
    """An audio object that holds something: some providers fill its members with empty strings."""
    return value if isinstance(value, dict) and any(value.values()) else None

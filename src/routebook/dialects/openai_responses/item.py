"""One item of an answer's output, and what has been heard of it: pieces while it comes, the rest when it is done.

Providers send a text in pieces and once more as a whole, some only as a whole. So characters are counted by part, and
of a whole only what is new becomes an event.
"""

from __future__ import annotations

from typing import Any

from routebook.core.events import Delta, ToolDelta
from routebook.dialects.openai_responses.parts import dicts, nested, probabilities, text_of

_THOUGHTS = {"summary": ("reasoning.summary", "summary"), "thought": ("reasoning.text", "text")}
"""channel -> (type, member) of the hub's reasoning details"""


class Item:
    """`call`: its number among the answer's tool calls, for those that are one."""

    __slots__ = ("_annotated", "_heard", "_numbers", "_probable", "call", "done", "format", "id", "kind")

    def __init__(self, kind: str, id: str | None, call: int | None, format: str, numbers: dict[Any, int]) -> None:
        self.kind = kind
        self.id = id
        self.call = call
        self.format = format
        self.done = False
        self._numbers = numbers
        """of all parts of all reasoning of the answer: each is one block for the hub"""
        self._heard: dict[tuple[str, int], int] = {}
        self._annotated: dict[int, int] = {}
        self._probable = False

    def heard(self, part: int, chars: int) -> None:
        """So much of a part's text took the short way."""
        self._heard["text", part] = self._heard.get(("text", part), 0) + chars

    def piece(self, channel: str, part: int, text: str, logprobs: Any = None) -> Delta:
        """The next piece of one part. `channel`: text, refusal, summary, thought, arguments or input."""
        before = self._heard.get((channel, part), 0)
        self._heard[channel, part] = before + len(text)
        if channel in _THOUGHTS:
            kind, member = _THOUGHTS[channel]
            detail = {"type": kind, member: text, **self._named(channel, part)}
            gap = "\n\n" if part and not before and channel == "summary" else ""
            return Delta(reasoning=gap + text, reasoning_details=[detail])
        if channel == "text":
            found = probabilities(logprobs)
            self._probable = self._probable or found is not None
            return Delta(text=text, logprobs=found)
        if channel == "refusal":
            return Delta(refusal=text)
        kind = "custom" if self.kind == "custom_tool_call" else "function"
        return Delta(tool_calls=[ToolDelta(index=self.call or 0, arguments=text, type=kind)])

    def rest(self, channel: str, part: int, whole: Any, logprobs: Any = None) -> list[Delta]:
        """What a whole text says beyond the pieces that were heard."""
        before = self._heard.get((channel, part), 0)
        if not isinstance(whole, str) or len(whole) <= before:
            return []
        return [self.piece(channel, part, whole[before:], None if before else logprobs)]

    def note(self, part: int, annotation: Any) -> list[Delta]:
        """One annotation of a part."""
        found = nested(annotation)
        self._annotated[part] = self._annotated.get(part, 0) + 1
        return [] if found is None else [Delta(annotations=[found])]

    def begin(self, value: dict[str, Any], call_id: str) -> list[Delta]:
        """The item was announced."""
        if self.kind == "message":
            return [Delta(role=text_of(value, "role") or "assistant")]
        if self.call is None:
            return []
        custom = self.kind == "custom_tool_call"
        channel, member = ("input", "input") if custom else ("arguments", "arguments")
        known = value.get(member)
        text = known if isinstance(known, str) else ""
        self._heard[channel, 0] = len(text)
        kind = "custom" if custom else "function"
        first = ToolDelta(self.call, call_id, text_of(value, "name") or "", text, kind)
        return [Delta(tool_calls=[first])]

    def end(self, value: dict[str, Any]) -> list[Delta]:
        """The item is done; `value` is all of it."""
        self.done = True
        out: list[Delta] = []
        match self.kind:
            case "message":
                for part, content in enumerate(dicts(value.get("content"))):
                    out += self._content(part, content)
            case "reasoning":
                for part, content in enumerate(dicts(value.get("summary"))):
                    out += self.rest("summary", part, content.get("text"))
                for part, content in enumerate(dicts(value.get("content"))):
                    out += self.rest("thought", part, content.get("text"))
                out += self._sealed(value)
            case "function_call":
                out += self.rest("arguments", 0, value.get("arguments"))
            case "custom_tool_call":
                out += self.rest("input", 0, value.get("input"))
            case "image_generation_call":
                if result := text_of(value, "result"):
                    url = result if result.startswith(("http://", "https://", "data:")) else _data_url(value, result)
                    out.append(Delta(images=[{"type": "image_url", "image_url": {"url": url}}]))
            case _:
                pass
        return out

    def _content(self, part: int, content: dict[str, Any]) -> list[Delta]:
        if content.get("type") == "refusal":
            return self.rest("refusal", part, content.get("refusal"))
        out = self.rest("text", part, content.get("text"), None if self._probable else content.get("logprobs"))
        for annotation in dicts(content.get("annotations"))[self._annotated.get(part, 0) :]:
            out += self.note(part, annotation)
        return out

    def _sealed(self, value: dict[str, Any]) -> list[Delta]:
        out: list[dict[str, Any]] = []
        self.format = text_of(value, "format") or self.format
        if signature := text_of(value, "signature"):
            out.append({"type": "reasoning.text", "signature": signature, **self._named("thought", 0)})
        if data := text_of(value, "encrypted_content"):
            out.append({"type": "reasoning.encrypted", "data": data, **self._named("sealed", 0)})
        return [Delta(reasoning_details=out)] if out else []

    def _named(self, channel: str, part: int) -> dict[str, Any]:
        key = (id(self), channel, part)
        index = self._numbers.setdefault(key, len(self._numbers))
        named: dict[str, Any] = {"format": self.format, "index": index}
        return named if self.id is None else {"id": self.id, **named}


def _data_url(value: dict[str, Any], result: str) -> str:
    kind = text_of(value, "output_format") or "png"
    return f"data:image/{kind};base64,{result}"

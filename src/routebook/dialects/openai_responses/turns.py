"""The hub's messages as input items: what an earlier turn said, called and thought, in its order.

An assistant's turn becomes its reasoning, then its words, then its calls, each an item of its own. Reasoning goes back
only in the sealed form that a provider of this dialect made: plain thoughts of others mean nothing to it.
Source: inference API, sections 2.2, 4 and 7.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Losses, Message, Part, ToolCall
from routebook.dialects.openai_responses.parts import FORMATS
from routebook.dialects.vendors import Quirks

Item = dict[str, Any]

_MEDIA_OF_ASSISTANTS = ("images", "audio")


def input_items(messages: list[Message], losses: Losses, quirks: Quirks) -> list[Item]:
    """All messages as items. A router asks for an id with what an assistant said."""
    turns = _Turns(losses, quirks)
    for place, message in enumerate(messages):
        turns.add(message, f"messages[{place}]")
    return turns.items


def has_sealed(messages: list[Message]) -> bool:
    """Whether sealed reasoning is handed back."""
    return any(
        detail.get("type") == "reasoning.encrypted" and detail.get("format") in FORMATS
        for message in messages
        for detail in message.reasoning_details or ()
    )


class _Turns:
    def __init__(self, losses: Losses, quirks: Quirks) -> None:
        self.items: list[Item] = []
        self._losses = losses
        self._identified = quirks.router
        self._developer = "developer" if quirks.developer else "system"
        self._nameless: list[str] = []
        """calls without an id whose results have not come"""
        self._called = 0

    def add(self, message: Message, at: str) -> None:
        if message.cache_control is not None:
            self._lost(f"{at}.cache_control", "the dialect knows no such markers")
        if message.role == "tool":
            call_id = message.tool_call_id or (self._nameless.pop(0) if self._nameless else "")
            output = self._content(message.content, at, "input_text")
            self.items.append({"type": "function_call_output", "call_id": call_id, "output": output})
        elif message.role == "assistant":
            self._assistant(message, at)
        else:
            content = _named(self._content(message.content, at, "input_text"), message.name)
            role = self._developer if message.role == "developer" else message.role
            self.items.append({"type": "message", "role": role, "content": content})

    def _assistant(self, message: Message, at: str) -> None:
        for member in _MEDIA_OF_ASSISTANTS:
            if getattr(message, member):
                self._lost(f"{at}.{member}", "media of an assistant are not taken back")
        self._reasoning(message, at)
        content = self._content(message.content, at, "output_text")
        parts = [_said(content)] if isinstance(content, str) and content else content if content else []
        if message.refusal:
            parts = [*parts, {"type": "refusal", "refusal": message.refusal}]
        if parts:
            said: Item = {"type": "message", "role": "assistant", "status": "completed", "content": parts}
            if self._identified:
                said["id"] = f"msg_{len(self.items)}"
            self.items.append(said)
        self._nameless = []
        for call in message.tool_calls or ():
            self.items.append(self._call(call))

    def _call(self, call: ToolCall) -> Item:
        self._called += 1
        call_id = call.id or f"call_{self._called}"
        if call.id is None:
            self._nameless.append(call_id)
        item: Item = {
            "type": "function_call",
            "call_id": call_id,
            "name": call.function.name,
            "arguments": call.function.arguments or "{}",
            "status": "completed",
        }
        if self._identified:
            item["id"] = f"fc_{len(self.items)}"
        return item

    # --- reasoning ----------------------------------------------------------------------------------------------------

    def _reasoning(self, message: Message, at: str) -> None:
        blocks: dict[Any, Item] = {}
        foreign = bool(message.reasoning or message.reasoning_content) and not message.reasoning_details
        for number, detail in enumerate(message.reasoning_details or ()):
            if detail.get("format") not in FORMATS:
                foreign = True
                continue
            name = detail.get("id")
            block = blocks.setdefault(name or number, {"type": "reasoning", "summary": []})
            if isinstance(name, str):
                block["id"] = name
            _fill(block, detail)
        sealed = [block for block in blocks.values() if block.get("encrypted_content")]
        if foreign or len(sealed) < len(blocks):
            self._lost(f"{at}.reasoning", "only sealed reasoning of the same family can be handed back")
        self.items += sealed

    # --- content ------------------------------------------------------------------------------------------------------

    def _content(self, content: str | list[Part] | None, at: str, kind: str) -> Any:
        """A text as it is, parts as parts of this dialect; `kind` is what a text is called here."""
        if not isinstance(content, list):
            return content or ""
        out: list[Item] = []
        for place, part in enumerate(content):
            found = self._part(part, f"{at}.content[{place}]", kind)
            if found is not None:
                out.append(found)
        return out

    def _part(self, part: Part, at: str, kind: str) -> Item | None:
        if part.cache_control is not None:
            self._lost(f"{at}.cache_control", "the dialect knows no such markers")
        match part.type:
            case "text":
                words = part.text or ""
                text: Item = _said(words) if kind == "output_text" else {"type": kind, "text": words}
                if part.prompt_cache_breakpoint is not None:
                    text["prompt_cache_breakpoint"] = part.prompt_cache_breakpoint
                return text
            case "image_url" if part.image_url is not None and kind == "input_text":
                url, detail = part.image_url.url, part.image_url.detail or "auto"
                return {"type": "input_image", "image_url": url, "detail": detail}
            case "file" if part.file is not None and kind == "input_text":
                return _file(part)
            case "input_audio" if part.input_audio is not None and kind == "input_text":
                data = {"data": part.input_audio.data, "format": part.input_audio.format}
                return {"type": "input_audio", "input_audio": data}
            case "video_url" | "input_video" if (video := part.video_url or part.input_video) is not None:
                return {"type": "input_video", "video_url": video.url}
            case _:
                self._lost(f"{at}.{part.type}", "a part of that type cannot be said there")
                return None

    def _lost(self, parameter: str, detail: str) -> None:
        self._losses.unsupported(parameter, detail)


def _said(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": []}


def _named(content: Any, name: str | None) -> Any:
    """A name stands in front of the words: the dialect has no member for it."""
    if not name:
        return content
    if isinstance(content, str):
        return f"{name}: {content}"
    first = next((part for part in content if part.get("type") == "input_text"), None)
    if first is not None:
        first["text"] = f"{name}: {first['text']}"
    return content


def _file(part: Part) -> Item:
    assert part.file is not None
    item: Item = {"type": "input_file"}
    data = part.file.file_data
    if data is not None:
        item["file_url" if data[:8].lower().startswith(("http://", "https://")) else "file_data"] = data
    if part.file.file_id is not None:
        item["file_id"] = part.file.file_id
    elif part.file.filename is not None or "file_data" in item:
        item["filename"] = part.file.filename or "file.pdf"  # data without a name is refused
    return item


def _fill(block: Item, detail: dict[str, Any]) -> None:
    match detail.get("type"):
        case "reasoning.summary":
            block["summary"].append({"type": "summary_text", "text": detail.get("summary") or ""})
        case "reasoning.text":
            if detail.get("text"):
                block.setdefault("content", []).append({"type": "reasoning_text", "text": detail["text"]})
        case "reasoning.encrypted":
            block["encrypted_content"] = detail.get("data")
        case _:
            pass

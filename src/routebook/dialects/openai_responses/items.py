"""A caller's input items as the hub's messages.

What one turn of the model said stands in several items here (reasoning, words, calls) and in one message there. Items
that only this dialect has (searches, code, shells, programs, compactions, …) go to `untold`: providers of it get them
verbatim, for the others they are losses. Source: inference API, section 4; its schema of inputs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.call import (
    FilePart,
    FunctionCall,
    ImageUrl,
    InputAudio,
    Loss,
    Message,
    Part,
    Tool,
    ToolCall,
    VideoUrl,
)
from routebook.core.errors import BadRequest
from routebook.dialects import efforts
from routebook.dialects.openai_responses.parts import FORMAT
from routebook.dialects.openai_responses.sealed import opened
from routebook.dialects.openai_responses.tools import INPUT, read_tools
from routebook.wire import codec

Item = dict[str, Any]

_ROLES = ("user", "assistant", "system", "developer")
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})


class Read(msgspec.Struct):
    """What the input says."""

    messages: list[Message]
    tools: list[Tool]
    """of `additional_tools`"""
    changed: efforts.Change | None
    """the last change of the effort"""


def read_items(items: list[Any], untold: list[Loss]) -> Read:
    """Messages and tools of the input. Raises BadRequest with the place."""
    reader = _Reader(untold)
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise BadRequest(f"input[{place}]: expected an item, an object with a `type` or a `role`.")
        reader.add(item, f"input[{place}]")
    reader.close()
    if reader.changed is not None:
        untold.append(reader.changed.loss())
    return Read(reader.messages, reader.tools, reader.changed)


class _Reader:
    def __init__(self, untold: list[Loss]) -> None:
        self.messages: list[Message] = []
        self.tools: list[Tool] = []
        self.changed: efforts.Change | None = None
        self._untold = untold
        self._thoughts: list[Item] = []
        """reasoning details of the turn that is being put together"""
        self._parts: list[Part] = []
        self._refusal: str | None = None
        self._calls: list[ToolCall] = []

    def add(self, item: Item, at: str) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, at)
        elif kind == "reasoning":
            if self._parts or self._calls or self._refusal:
                self.close()  # the model thought again: another turn
            self._thoughts += _details(item, at, len(self._thoughts))
        elif kind in ("function_call", "custom_tool_call"):
            self._calls.append(_call(item, kind == "custom_tool_call", at))
        elif kind in _RESULTS:
            self.close()
            content = self._content(item.get("output"), f"{at}.output")
            if content is None:
                raise BadRequest(f"{at}.output: missing; send a text or a list of parts.")
            self.messages.append(Message("tool", content, tool_call_id=_needed(item, "call_id", at)))
        elif kind == "additional_tools":
            rows = item.get("tools")
            if not isinstance(rows, list):
                raise BadRequest(f"{at}.tools: missing; send a list of tools.")
            self.tools += read_tools([row for row in rows if isinstance(row, dict)], f"{at}.tools", self._untold)
        elif kind == efforts.MEMBER:
            self.changed = efforts.change(item, at)
        elif isinstance(kind, str) and kind:
            self._untold.append(Loss(at, f"{kind[:60]} is an item of the responses API alone"))
        else:
            raise BadRequest(f"{at}.type: expected the name of a kind of item.")

    def close(self) -> None:
        """The turn of the model is over."""
        if not (self._thoughts or self._parts or self._calls or self._refusal):
            return
        texts = [part.text or "" for part in self._parts]
        plain = all(part.type == "text" and part.prompt_cache_breakpoint is None for part in self._parts)
        content = ("".join(texts) or None) if plain else list(self._parts)
        self.messages.append(
            Message(
                "assistant",
                content,
                tool_calls=self._calls or None,
                refusal=self._refusal,
                reasoning_details=self._thoughts or None,
            )
        )
        self._thoughts, self._parts, self._calls, self._refusal = [], [], [], None

    def _message(self, item: Item, at: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise BadRequest(f"{at}.role: {str(role)[:40]!r} is not one of {', '.join(_ROLES)}.")
        content = self._content(item.get("content"), f"{at}.content", refusals=role == "assistant")
        if role == "assistant":
            if self._calls:
                self.close()
            said = [Part("text", text=content)] if isinstance(content, str) else content or []
            self._parts += [part for part in said if part.type != "refusal"]
            refused = "".join(part.text or "" for part in said if part.type == "refusal")
            self._refusal = (self._refusal or "") + refused or None
            return
        self.close()
        if content is None:
            raise BadRequest(f"{at}.content: missing; send a text or a list of parts.")
        self.messages.append(Message(role, content))

    def _content(self, content: Any, at: str, refusals: bool = False) -> str | list[Part] | None:
        if content is None or isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise BadRequest(f"{at}: expected a text or a list of parts.")
        out: list[Part] = []
        for place, part in enumerate(content):
            where = f"{at}[{place}]"
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(kind, str):
                raise BadRequest(f"{where}.type: missing; name the kind of part, `input_text` say.")
            if kind == "refusal" and refusals:
                out.append(Part("refusal", text=_needed(part, "refusal", where)))
            elif (read := _PARTS.get(kind)) is not None:
                out.append(read(part, where))
            else:
                self._untold.append(Loss(where, f"{kind[:60]} is a part of the responses API alone"))
        return out


# --- items ------------------------------------------------------------------------------------------------------------


def _call(item: Item, custom: bool, at: str) -> ToolCall:
    name, call_id = _needed(item, "name", at), _needed(item, "call_id", at)
    member = "input" if custom else "arguments"
    said = item.get(member, "")
    if not isinstance(said, str):
        raise BadRequest(f"{at}.{member}: expected a text.")
    if custom:
        said = codec.encode({INPUT: said}).decode()
    return ToolCall(FunctionCall(name, said), call_id)


def _details(item: Item, at: str, before: int) -> list[Item]:
    """One item of reasoning as the hub's details, in the order in which a provider gave them."""
    if (known := opened(item.get("encrypted_content"))) is not None:
        return [{**row, "index": before + number} for number, row in enumerate(known)]
    common: Item = {"format": item.get("format") or FORMAT}
    if isinstance(item.get("id"), str):
        common["id"] = item["id"]
    out: list[Item] = []
    for member, kind, name in (("summary", "reasoning.summary", "summary"), ("content", "reasoning.text", "text")):
        rows = item.get(member)
        if rows is not None and not isinstance(rows, list):
            raise BadRequest(f"{at}.{member}: expected a list of parts.")
        for row in rows or ():
            if isinstance(row, dict) and isinstance(row.get("text"), str):
                out.append({"type": kind, name: row["text"]})
    if isinstance(signature := item.get("signature"), str) and signature:
        signed = next((row for row in out if row["type"] == "reasoning.text"), None)
        if signed is None:
            out.append({"type": "reasoning.text", "signature": signature})
        else:
            signed["signature"] = signature
    sealed = item.get("encrypted_content")
    if isinstance(sealed, str) and sealed:
        out.append({"type": "reasoning.encrypted", "data": sealed})
    return [{**row, **common, "index": before + number} for number, row in enumerate(out)]


# --- parts ------------------------------------------------------------------------------------------------------------


def _text(part: Item, at: str) -> Part:
    text = part.get("text")
    if not isinstance(text, str):
        raise BadRequest(f"{at}.text: missing in a part of that type.")
    mark = part.get("prompt_cache_breakpoint")
    return Part("text", text=text, prompt_cache_breakpoint=mark if isinstance(mark, dict) else None)


def _image(part: Item, at: str) -> Part:
    url, detail = part.get("image_url"), part.get("detail")
    if isinstance(url, dict):  # the chat API's form
        inner: Item = url
        url, detail = inner.get("url"), inner.get("detail", detail)
    if isinstance(url, str) and url:
        return Part("image_url", image_url=ImageUrl(url, detail if isinstance(detail, str) else None))
    return Part("file", file=FilePart(file_id=_needed(part, "file_id", at, "image_url or file_id")))


def _file(part: Item, at: str) -> Part:
    found = {name: part.get(name) for name in ("file_data", "file_url", "file_id", "filename")}
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{at}.{name}: expected a text.")
    data = found["file_url"] or found["file_data"]
    if not data and not found["file_id"]:
        raise BadRequest(f"{at}: a file has one of file_data, file_url and file_id.")
    return Part("file", file=FilePart(data or None, found["file_id"], found["filename"]))


def _audio(part: Item, at: str) -> Part:
    inner = part.get("input_audio", part)
    if not isinstance(inner, dict):
        raise BadRequest(f"{at}.input_audio: expected an object with data and format.")
    return Part("input_audio", input_audio=InputAudio(_needed(inner, "data", at), _needed(inner, "format", at)))


def _video(part: Item, at: str) -> Part:
    return Part("video_url", video_url=VideoUrl(_needed(part, "video_url", at)))


_PARTS = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "summary_text": _text,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
    "input_video": _video,
}


def _needed(item: Item, name: str, at: str, said: str | None = None) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{at}.{said or name}: missing; send a text.")
    return value

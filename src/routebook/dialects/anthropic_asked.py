"""Anthropic Messages, what callers say: turns of content blocks as messages of the hub.

Part of the dialect in `anthropic.py`. A block that the hub has no word for is named in `Asked.untold`: a provider that
speaks this dialect gets the caller's own bytes, for any other it is a loss. Sources, read 2026-11: platform.claude.com
"Messages" (content blocks), "Vision", "PDF support", "Search results", "Extended thinking"; inference API, section 4b.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from routebook.core.call import CacheControl, FilePart, FunctionCall, ImageUrl, Loss, Message, Part, ToolCall
from routebook.core.errors import BadRequest
from routebook.dialects import efforts
from routebook.dialects.anthropic_fold import FORMAT
from routebook.dialects.sealing import unseal
from routebook.wire import codec

_NO_INPUT = codec.Raw(b"{}")


class Source(msgspec.Struct, gc=False):
    """Where the bytes of an image or a document are: base64, url, file, text or content."""

    type: str = ""
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Block] | None = None


class Block(msgspec.Struct, gc=False):
    """A content block of any kind; `type` says which members mean something."""

    type: str = ""
    text: str | None = None
    source: Source | str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NO_INPUT
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: str | list[Block] | dict[str, Any] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    context: str | None = None
    citations: Any = None
    cache_control: CacheControl | None = None


class TurnOutput(msgspec.Struct, gc=False):
    """What an empty system message changes from its place on."""

    effort: str | None = None


class Turn(msgspec.Struct, gc=False):
    """One message of the request."""

    role: str
    content: str | list[Block] | None = None
    output_config: TurnOutput | None = None


class Asked:
    """What the turns became."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.untold: list[Loss] = []
        self.changed: efforts.Change | None = None
        """the last change of the effort"""

    def system(self, content: str | list[Block] | None) -> None:
        """The `system` member. Raises BadRequest."""
        if isinstance(content, str):
            if content:
                self.messages.append(Message("system", content))
        elif content:
            self.messages.append(Message("system", self._texts(content, "system")))

    def turn(self, turn: Turn, place: int) -> None:
        """The next message. Raises BadRequest with its place."""
        at = f"messages[{place}]"
        if turn.role not in ("user", "assistant", "system"):
            raise BadRequest(f"{at}.role: `{turn.role[:40]}` is not one of user, assistant, system.")
        content = turn.content
        changed = turn.output_config.effort if turn.output_config is not None and turn.role == "system" else None
        if changed is not None:
            self.changed = efforts.change({"reasoning": {"effort": changed}}, f"{at}.output_config")
            if not content:
                return
        if content is None:
            raise BadRequest(f"{at}.content: missing; send a text or a list of blocks.")
        if isinstance(content, str):
            self.messages.append(Message(turn.role, content))
        elif turn.role == "system":
            self.messages.append(Message("system", self._texts(content, f"{at}.content")))
        elif turn.role == "assistant":
            self._assistant(content, f"{at}.content")
        else:
            self._user(content, f"{at}.content")

    def lost(self, at: str, why: str) -> None:
        """What only a provider of this dialect is told."""
        self.untold.append(Loss(at, why))

    # --- user ---------------------------------------------------------------------------------------------------------

    def _user(self, blocks: list[Block], at: str) -> None:
        """Results of tools become messages of their own, in their places between what else was said."""
        parts: list[Part] = []
        for place, block in enumerate(blocks):
            here = f"{at}[{place}]"
            if block.type != "tool_result":
                parts += self._parts(block, here)
                continue
            if parts:
                self.messages.append(Message("user", parts))
                parts = []
            self.messages.append(self._result(block, here))
        if parts:
            self.messages.append(Message("user", _plainly(parts)))

    def _result(self, block: Block, at: str) -> Message:
        if not block.tool_use_id:
            raise BadRequest(f"{at}.tool_use_id: missing; name the tool_use block that this answers.")
        if block.is_error:
            self.lost(f"{at}.is_error", "a result of a tool cannot be marked as an error there")
        content: str | list[Part] = ""
        if isinstance(block.content, str):
            content = block.content
        elif isinstance(block.content, list):
            parts: list[Part] = []
            for place, inner in enumerate(block.content):
                parts += self._parts(inner, f"{at}.content[{place}]")
            content = _plainly(parts) or ""
        return Message("tool", content, tool_call_id=block.tool_use_id, cache_control=block.cache_control)

    def _texts(self, blocks: list[Block], at: str) -> list[Part]:
        parts = []
        for place, block in enumerate(blocks):
            if block.type == "text" and block.text is not None:
                parts.append(Part("text", text=block.text, cache_control=block.cache_control))
            else:
                raise BadRequest(f"{at}[{place}]: expected a block of type text.")
        return parts

    def _parts(self, block: Block, at: str) -> list[Part]:
        """A block of a user, or inside a tool's result."""
        kind = block.type
        if kind == "text":
            if block.text is None:
                raise BadRequest(f"{at}.text: missing in a block of that type.")
            return [Part("text", text=block.text, cache_control=block.cache_control)]
        if kind == "image":
            return [self._image(block, at)]
        if kind == "document":
            return self._document(block, at)
        if kind == "search_result":
            said = _joined(block.content)
            where = block.source if isinstance(block.source, str) else ""
            head = "\n".join(line for line in (block.title, where) if line)
            if isinstance(block.citations, dict) and block.citations.get("enabled"):
                self.lost(f"{at}.citations", "citations of what was sent cannot be asked for there")
            return [Part("text", text=f"{head}\n{said}".strip(), cache_control=block.cache_control)]
        if not kind:
            raise BadRequest(f"{at}.type: missing; every block has a type.")
        if kind == "tool_reference" and block.tool_name is not None:
            # A tool that was found: it stands among the tools, and whoever looked for it wants to read its name.
            self.untold.append(Loss(at, "a reference to a tool is said as text", mapped=True))
            told = codec.encode({"type": kind, "tool_name": block.tool_name}).decode()
            return [Part("text", text=told, cache_control=block.cache_control)]
        self.lost(at, f"a block of type {kind[:60]} means nothing there")
        return []

    def _image(self, block: Block, at: str) -> Part:
        source = _source(block, at)
        if source.type == "file":
            file = FilePart(file_id=_given(source.file_id, f"{at}.source.file_id"))
            return Part("file", file=file, cache_control=block.cache_control)
        url = _url(source, at)
        return Part("image_url", image_url=ImageUrl(url), cache_control=block.cache_control)

    def _document(self, block: Block, at: str) -> list[Part]:
        source = _source(block, at)
        if isinstance(block.citations, dict) and block.citations.get("enabled"):
            self.lost(f"{at}.citations", "citations of what was sent cannot be asked for there")
        before = [Part("text", text=block.context)] if block.context else []
        if source.type == "content":
            inner = source.content
            if isinstance(inner, list):
                for place, each in enumerate(inner):
                    before += self._parts(each, f"{at}.source.content[{place}]")
                return before
            return [*before, Part("text", text=inner or "", cache_control=block.cache_control)]
        if source.type == "file":
            file = FilePart(file_id=_given(source.file_id, f"{at}.source.file_id"), filename=block.title)
        elif source.type == "text":
            data = b64encode(_given(source.data, f"{at}.source.data").encode()).decode()
            file = FilePart(f"data:text/plain;base64,{data}", filename=block.title)
        else:
            file = FilePart(_url(source, at), filename=block.title)
        return [*before, Part("file", file=file, cache_control=block.cache_control)]

    # --- assistant ----------------------------------------------------------------------------------------------------

    def _assistant(self, blocks: list[Block], at: str) -> None:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        details: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        marker: CacheControl | None = None
        for place, block in enumerate(blocks):
            here = f"{at}[{place}]"
            kind = block.type
            if kind in ("thinking", "redacted_thinking"):
                if kind == "redacted_thinking" or block.thinking != "" or block.signature:
                    details.append(_detail(block, len(details), here))
            elif kind == "tool_use":
                calls.append(_call(block, here))
                marker = block.cache_control or marker
            elif kind == "compaction" and isinstance(block.content, str):
                parts.append(Part("text", text=block.content, cache_control=block.cache_control))
            elif kind == "image":
                images.append({"type": "image_url", "image_url": {"url": _url(_source(block, here), here)}})
            elif kind == "text":
                if block.citations:
                    self.lost(f"{here}.citations", "citations of an earlier answer cannot be handed back there")
                parts += self._parts(block, here)
            else:
                parts += self._parts(block, here)
        self.messages.append(
            Message(
                "assistant",
                _plainly(parts),
                tool_calls=calls or None,
                reasoning_details=details or None,
                images=images or None,
                cache_control=marker,
            )
        )


def _detail(block: Block, index: int, at: str) -> dict[str, Any]:
    """Reasoning handed back: of Anthropic's models as it is, of others as they gave it."""
    if block.type == "redacted_thinking":
        data = _given(block.data, f"{at}.data")
        return unseal(data) or {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index}
    text = _given(block.thinking, f"{at}.thinking")
    if (foreign := unseal(block.signature)) is not None:
        member = "summary" if foreign["type"] == "reasoning.summary" else "text"
        return {**foreign, member: text or foreign.get(member) or ""}
    detail: dict[str, Any] = {"type": "reasoning.text", "text": text}
    if not block.signature:
        return {**detail, "format": "unknown", "index": index}
    return {**detail, "signature": block.signature, "format": FORMAT, "index": index}


def _call(block: Block, at: str) -> ToolCall:
    identity, name = _given(block.id, f"{at}.id"), _given(block.name, f"{at}.name")
    given = bytes(block.input).decode()
    if given[:1] != "{":
        raise BadRequest(f"{at}.input: expected an object.")
    return ToolCall(FunctionCall(name, given), identity)


def _given(value: str | None, at: str) -> str:
    if value is None:
        raise BadRequest(f"{at}: missing in a block of that type.")
    return value


def _source(block: Block, at: str) -> Source:
    if not isinstance(block.source, Source):
        raise BadRequest(f"{at}.source: missing; send an object with a type.")
    return block.source


def _url(source: Source, at: str) -> str:
    if source.type == "url":
        return _given(source.url, f"{at}.source.url")
    if source.type == "base64":
        media = _given(source.media_type, f"{at}.source.media_type")
        return f"data:{media};base64,{_given(source.data, f'{at}.source.data')}"
    raise BadRequest(f"{at}.source.type: `{source.type[:40]}` is not one of base64, url, file.")


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(block.text for block in blocks if isinstance(block, Block) and block.text)


def _plainly(parts: list[Part]) -> str | list[Part] | None:
    """Parts as the hub mostly has them: one text that is nothing but text is a string."""
    if not parts:
        return None
    if len(parts) == 1 and parts[0] == Part("text", text=parts[0].text):
        return parts[0].text
    return parts

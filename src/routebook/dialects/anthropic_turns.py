"""Chat messages as Anthropic turns: roles, content blocks, tool calls and results, reasoning handed back.

Part of the dialect in `anthropic.py`. How roles map (platform.claude.com "Messages", "Mid-conversation system
messages", read 2026-11):

- system and developer messages before the conversation become `system` blocks. Later ones stay where they are on models
  that take them (after the run of user messages they stand in, the only place allowed); elsewhere they move to the
  end of `system`, which keeps their authority and loses their place, and that is recorded.
- consecutive messages of one role make one turn; a tool's result is a block of a user turn and comes first in it.
- `name` is prepended to the text (inference API, section 2.2).
- blank text is no block: the API refuses it, and it says nothing.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import unquote_to_bytes

from routebook.core.call import CacheControl, FilePart, ImageUrl, Losses, Message, Part, ToolCall
from routebook.core.errors import BadRequest
from routebook.dialects.anthropic_fold import BAD, FORMAT
from routebook.dialects.anthropic_models import Traits
from routebook.dialects.anthropic_own import tool_id
from routebook.wire import codec

Block = dict[str, Any]

_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


class Turns:
    """What `messages` became. `system` and `turns` are ready to be encoded."""

    def __init__(self, messages: list[Message], model: Traits, losses: Losses) -> None:
        """Raises BadRequest naming the message that cannot be sent, CannotExpress where losses are strict."""
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        self.files = False
        """a file of the provider's own store is named"""
        self._late: list[Block] = []
        self._model = model
        self._losses = losses
        for place, message in enumerate(messages):
            self._add(message, f"messages[{place}]")
        self._settle()
        self._prefill()
        if not self.turns:
            if not self.system:
                raise BadRequest("messages holds no text, image or file; add a user message with content.")
            losses.mapped("messages", "a prompt of system messages alone is sent as a user turn")
            self.turns, self.system = [{"role": "user", "content": self.system}], []

    @property
    def prefilled(self) -> bool:
        """True where the model is to go on from an assistant's text."""
        return bool(self.turns) and self.turns[-1]["role"] == "assistant"

    @property
    def unthought(self) -> bool:
        """True where the latest tool calls come without the thinking before them: the API then refuses to think on
        with a budget."""
        last: list[Block] = next((turn["content"] for turn in reversed(self.turns) if turn["role"] == "assistant"), [])
        calls = any(block["type"] == "tool_use" for block in last)
        return calls and last[0]["type"] not in ("thinking", "redacted_thinking")

    def _add(self, message: Message, at: str) -> None:
        role = message.role
        if role in ("system", "developer"):
            self._add_system(_marked(self._texts(message, at), message.cache_control), at)
        elif role == "user":
            blocks = self._named(self._content(message.content, f"{at}.content"), message.name)
            self._turn("user", _marked(blocks, message.cache_control))
        elif role == "assistant":
            self._turn("assistant", _marked(self._assistant(message, at), message.cache_control))
        elif role == "tool":
            self._turn("user", _marked([self._result(message, at)], message.cache_control))
        else:
            raise BadRequest(f"{at}.role is {role!r}; use system, developer, user, assistant or tool.")

    def _add_system(self, blocks: list[Block], at: str) -> None:
        if not self.turns:
            self.system += blocks
        elif self._model.system:
            self._late += blocks
        elif blocks:
            self._losses.mapped(at, "this model takes system messages before the conversation only: moved there")
            self.system += blocks

    def _turn(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if role == "assistant":
            self._settle()
        if not self.turns or self.turns[-1]["role"] != role:
            self.turns.append({"role": role, "content": []})
        content: list[Block] = self.turns[-1]["content"]
        if blocks[0]["type"] == "tool_result":
            first = next((i for i, block in enumerate(content) if block["type"] != "tool_result"), len(content))
            content[first:first] = blocks
        else:
            content += blocks

    def _settle(self) -> None:
        """Put system messages that wait behind the run of user messages they stood in."""
        late, self._late = self._late, []
        if not late:
            return
        if self.turns[-1]["role"] == "user":
            self.turns.append({"role": "system", "content": late})
        else:
            self._losses.mapped("messages", "a system message that follows no user message is moved to the start")
            self.system += late

    def _prefill(self) -> None:
        """The API refuses white space at the end of a text that the model is to continue."""
        if self.prefilled and (last := self.turns[-1]["content"][-1])["type"] == "text":
            last["text"] = last["text"].rstrip()

    # --- content ------------------------------------------------------------------------------------------------------

    def _texts(self, message: Message, at: str) -> list[Block]:
        """Text blocks alone: what system and assistant messages may hold."""
        blocks: list[Block] = []
        for block in self._content(message.content, f"{at}.content"):
            if block["type"] == "text":
                blocks.append(block)
            else:
                self._losses.unsupported(f"{at}.content", f"a message of role {message.role} holds text only")
        return self._named(blocks, message.name)

    def _content(self, content: str | list[Part] | None, at: str) -> list[Block]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content.strip() else []
        blocks = []
        for place, part in enumerate(content or ()):
            block = self._part(part, f"{at}[{place}]")
            if block is not None:
                if part.cache_control is not None:
                    block["cache_control"] = cache(part.cache_control)
                elif part.prompt_cache_breakpoint is not None:
                    block["cache_control"] = cache(CacheControl())
                blocks.append(block)
        return blocks

    def _part(self, part: Part, at: str) -> Block | None:
        if part.type == "text" or (part.type == "input_text" and part.text is not None):
            return {"type": "text", "text": part.text} if part.text and part.text.strip() else None
        if part.type == "image_url" and part.image_url is not None:
            return self._image(part.image_url, at)
        if part.type == "file" and part.file is not None:
            return self._file(part.file, at)
        what = {"input_audio": "audio", "video_url": "video", "input_video": "video"}.get(part.type)
        self._losses.unsupported(at, f"Anthropic reads no {what}" if what else f"part of unknown type {part.type!r}")
        return None

    def _image(self, image: ImageUrl, at: str) -> Block:
        if image.detail not in (None, "auto"):
            self._losses.unsupported(f"{at}.image_url.detail", "Anthropic has no levels of detail")
        if image.url[:5].lower() == "data:":
            media, data = _data_url(image.url, f"{at}.image_url.url")
            media = "image/jpeg" if media == "image/jpg" else media
            return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
        return {"type": "image", "source": _url(image.url, f"{at}.image_url.url")}

    def _file(self, file: FilePart, at: str) -> Block | None:
        place = f"{at}.file"
        if file.file_id is not None and file.file_data is None:
            if not file.file_id.startswith("file_"):
                self._losses.unsupported(place, "a file id of another store; send file_data")
                return None
            self.files = True
            return _document({"type": "file", "file_id": file.file_id}, file)
        if file.file_data is None:
            raise BadRequest(f"{place} needs file_data, an http(s) URL or a data URL.")
        if file.file_data[:5].lower() != "data:":
            return _document(_url(file.file_data, f"{place}.file_data"), file)
        media, data = _data_url(file.file_data, f"{place}.file_data")
        if media == "application/pdf":
            return _document({"type": "base64", "media_type": media, "data": data}, file)
        if media in _IMAGES:
            return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
        if media.startswith("text/") or media in ("application/json", "application/xml"):
            try:
                text = b64decode(data).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise BadRequest(f"{place}.file_data is not UTF-8 text in base64; send it as such.") from error
            return _document({"type": "text", "media_type": "text/plain", "data": text}, file)
        self._losses.unsupported(place, f"Anthropic reads PDF, plain text and images, not {media}")
        return None

    def _named(self, blocks: list[Block], name: str | None) -> list[Block]:
        if name and (first := next((block for block in blocks if block["type"] == "text"), None)) is not None:
            first["text"] = f"{name}: {first['text']}"
        return blocks

    # --- assistant and tool -------------------------------------------------------------------------------------------

    def _assistant(self, message: Message, at: str) -> list[Block]:
        blocks = self._thinking(message, at)
        texts = self._texts(message, at)
        if not texts and message.refusal:
            texts = [{"type": "text", "text": message.refusal}]
        blocks += texts
        for name in ("images", "audio"):
            if getattr(message, name):
                self._losses.unsupported(f"{at}.{name}", "Anthropic takes back no media of an assistant")
        for place, call in enumerate(message.tool_calls or ()):
            blocks.append(self._call(call, f"{at}.tool_calls[{place}]"))
        return blocks

    def _thinking(self, message: Message, at: str) -> list[Block]:
        """Reasoning that Anthropic signed, in its order. Pieces of one block, as a stream gave them, are joined."""
        blocks: list[Block] = []
        places: list[Any] = []
        details = message.reasoning_details or []
        for detail in details:
            kind = detail.get("type")
            if detail.get("format", FORMAT) not in (FORMAT, None) or kind not in (
                "reasoning.text",
                "reasoning.encrypted",
            ):
                self._losses.unsupported(
                    f"{at}.reasoning_details", "reasoning of another provider cannot be handed back"
                )
                continue
            if kind == "reasoning.encrypted":
                blocks.append({"type": "redacted_thinking", "data": detail.get("data") or ""})
                places.append(None)
                continue
            text, signature = detail.get("text") or "", detail.get("signature") or ""
            place = detail.get("index")
            if blocks and place is not None and places[-1] == place and not blocks[-1]["signature"]:
                blocks[-1]["thinking"] += text
                blocks[-1]["signature"] = signature
            else:
                blocks.append({"type": "thinking", "thinking": text, "signature": signature})
                places.append(place)
        signed = [block for block in blocks if block.get("signature") or block.get("data")]
        if len(signed) < len(blocks) or (not details and (message.reasoning or message.reasoning_content)):
            self._losses.unsupported(f"{at}.reasoning", "Anthropic takes reasoning back only with its signature")
        return signed

    def _call(self, call: ToolCall, at: str) -> Block:
        """A tool call. Arguments that are no JSON object (a model wrote them, after all) are handed back as
        `{"arguments": "<the text>"}`, and that is recorded."""
        if not call.id:
            raise BadRequest(f"{at}.id is missing; send the id that the model gave the call.")
        if call.extra_content:
            self._losses.unsupported(f"{at}.extra_content", "another provider's attachment")
        text = call.function.arguments.strip() or "{}"
        given: Any
        try:
            given = codec.Raw(text.encode()) if isinstance(codec.decode(text), dict) else None
        except BAD:
            given = None
        if given is None:
            self._losses.mapped(f"{at}.function.arguments", "not a JSON object: sent as the text in one")
            given = {"arguments": call.function.arguments}
        return {"type": "tool_use", "id": tool_id(call.id), "name": call.function.name, "input": given}

    def _result(self, message: Message, at: str) -> Block:
        if not message.tool_call_id:
            raise BadRequest(f"{at}.tool_call_id is missing; name the call that this message answers.")
        block: Block = {"type": "tool_result", "tool_use_id": tool_id(message.tool_call_id)}
        inner = self._content(message.content, f"{at}.content")
        marks = [part.pop("cache_control") for part in inner if "cache_control" in part]
        if inner:
            block["content"] = inner
        if marks:
            block["cache_control"] = marks[-1]
        return block


def cache(control: CacheControl) -> dict[str, str]:
    """A cache breakpoint in Anthropic's words."""
    return {"type": control.type, **({"ttl": control.ttl} if control.ttl else {})}


def _marked(blocks: list[Block], control: CacheControl | None) -> list[Block]:
    """A message's own breakpoint stands on its last block."""
    if control is not None and blocks:
        blocks[-1]["cache_control"] = cache(control)
    return blocks


def _document(source: dict[str, str], file: FilePart) -> Block:
    return {"type": "document", "source": source, **({"title": file.filename} if file.filename else {})}


def _url(url: str, at: str) -> dict[str, str]:
    if not url.lower().startswith(("http://", "https://")):
        raise BadRequest(f"{at} must be an http(s) URL or a data URL.")
    return {"type": "url", "url": url}


def _data_url(url: str, at: str) -> tuple[str, str]:
    """(media type, base64 data)"""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise BadRequest(f"{at} is a data URL without data; write data:<media type>;base64,<data>.")
    media, *rest = [word.strip().lower() for word in head.split(";")]
    if "base64" not in rest:
        data = b64encode(unquote_to_bytes(data)).decode()
    return media or "text/plain", data

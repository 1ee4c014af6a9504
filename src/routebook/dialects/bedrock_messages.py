"""Canonical messages as Converse's `messages` and `system`.

Part of the dialect in `bedrock.py`. Media travel as bytes in base64 or as a place in S3; Bedrock fetches nothing else.
Sources, read 2026-11: Amazon Bedrock API reference "ContentBlock", "DocumentBlock", "ImageBlock", "VideoBlock",
"AudioBlock", "ToolResultBlock", "ReasoningContentBlock", "CachePointBlock"; inference API, sections 2.2, 7 and 8.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import Any

from routebook.core.call import CacheControl, FilePart, InputAudio, Losses, Message, Part
from routebook.core.errors import BadRequest
from routebook.dialects.parts import arguments, data_url, is_data_url, tool_id

Block = dict[str, Any]

FORMAT = "anthropic-claude-v1"
"""`format` of reasoning details that are signed: of the models here only Claude signs, and its signatures hold
wherever it is served"""

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_VIDEOS = {"x-matroska": "mkv", "quicktime": "mov", "x-flv": "flv", "x-ms-wmv": "wmv", "3gpp": "three_gp"}
_EXTENSIONS = {"jpg": "jpeg", "3gp": "three_gp", "htm": "html"}
_NAME = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_BLANKS = re.compile(r"\s+")


class Turns:
    """What `messages` became; `system` and `turns` are ready to be encoded."""

    def __init__(self, messages: list[Message], *, caches: bool, losses: Losses) -> None:
        """`caches`: the model takes cache points. Raises BadRequest naming the message that cannot be sent."""
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        self._caches = caches
        self._losses = losses
        self._names: set[str] = set()
        for place, message in enumerate(messages):
            self._add(message, f"messages[{place}]")
        if not self.turns:
            if not self.system:
                raise BadRequest("messages holds no text, image or file; add a user message with content.")
            losses.mapped("messages", "a prompt of system messages alone is sent as a user turn")
            self.turns, self.system = [{"role": "user", "content": self.system}], []

    def mark_last(self, control: CacheControl) -> None:
        """A cache point behind everything that was said so far by the caller."""
        last = next((turn for turn in reversed(self.turns) if turn["role"] == "user"), None)
        if last is not None:
            last["content"] += self.point(control, "cache_control")

    def point(self, control: CacheControl, parameter: str) -> list[Block]:
        if not self._caches:
            self._losses.unsupported(parameter, "this model takes no cache points")
            return []
        return [{"cachePoint": {"type": "default", **({"ttl": control.ttl} if control.ttl else {})}}]

    def _add(self, message: Message, at: str) -> None:
        role = message.role
        marks = self.point(message.cache_control, f"{at}.cache_control") if message.cache_control is not None else []
        if role in ("system", "developer"):
            blocks = self._texts(message, at)
            if self.turns and blocks:
                self._losses.mapped(at, "Converse takes system messages before the conversation only: moved there")
            self.system += blocks + (marks if blocks else [])
        elif role == "user":
            self._turn("user", _named(self._content(message.content, f"{at}.content"), message.name), marks)
        elif role == "assistant":
            self._turn("assistant", self._assistant(message, at), marks)
        elif role == "tool":
            self._turn("user", self._result(message, at), marks)
        else:
            raise BadRequest(f"{at}.role is {role!r}; use system, developer, user, assistant or tool.")

    def _turn(self, role: str, blocks: list[Block], marks: list[Block]) -> None:
        if not blocks:
            return
        if not self.turns or self.turns[-1]["role"] != role:
            self.turns.append({"role": role, "content": []})
        self.turns[-1]["content"] += blocks + marks

    # --- content ------------------------------------------------------------------------------------------------------

    def _texts(self, message: Message, at: str) -> list[Block]:
        """Text and cache points alone: what system and assistant messages may hold."""
        kept = []
        for block in self._content(message.content, f"{at}.content"):
            if "text" in block or "cachePoint" in block:
                kept.append(block)
            else:
                self._losses.unsupported(f"{at}.content", f"a message of role {message.role} holds text only")
        return _named(kept, message.name)

    def _content(self, content: str | list[Part] | None, at: str) -> list[Block]:
        if isinstance(content, str):
            return [{"text": content}] if content.strip() else []
        blocks: list[Block] = []
        for place, part in enumerate(content or ()):
            found = self._part(part, f"{at}[{place}]")
            if found is None:
                continue
            blocks.append(found)
            if part.cache_control is not None:
                blocks += self.point(part.cache_control, f"{at}[{place}].cache_control")
            elif part.prompt_cache_breakpoint is not None:
                blocks += self.point(CacheControl(), f"{at}[{place}].prompt_cache_breakpoint")
        return blocks

    def _part(self, part: Part, at: str) -> Block | None:
        video = part.video_url or part.input_video
        if part.text is not None and part.type in ("text", "input_text", "output_text", "refusal"):
            return {"text": part.text} if part.text.strip() else None
        if part.image_url is not None:
            if part.image_url.detail not in (None, "auto"):
                self._losses.unsupported(f"{at}.image_url.detail", "Converse has no levels of detail")
            return self._media(part.image_url.url, "image", _IMAGES, f"{at}.image_url.url")
        if video is not None:
            return self._media(video.url, "video", _VIDEOS, f"{at}.{part.type}.url")
        if part.input_audio is not None:
            return self._sound(part.input_audio, at)
        if part.file is not None:
            return self._file(part.file, f"{at}.file")
        self._losses.unsupported(at, f"part of unknown type {part.type!r}")
        return None

    def _media(self, url: str, kind: str, formats: dict[str, str], at: str) -> Block | None:
        """An image or a video. The format is the media type's, or the extension's of a place in S3."""
        if is_data_url(url):
            media, data = data_url(url, at)
            form = formats.get(media) or formats.get(media.partition("/")[2]) or media.partition("/")[2]
            return {kind: {"format": form, "source": {"bytes": data}}}
        if url.startswith("s3://"):
            return {kind: {"format": _extension(url), "source": {"s3Location": {"uri": url}}}}
        self._losses.unsupported(at, "Bedrock fetches no URLs; set fetches_urls = false on the provider, or send data")
        return None

    def _sound(self, sound: InputAudio, at: str) -> Block:
        data = data_url(sound.data, f"{at}.input_audio.data")[1] if is_data_url(sound.data) else sound.data
        form = {"pcm16": "pcm", "mpeg3": "mp3"}.get(sound.format.lower(), sound.format.lower())
        return {"audio": {"format": form, "source": {"bytes": data}}}

    def _file(self, file: FilePart, at: str) -> Block | None:
        url = file.file_data or (file.file_id if (file.file_id or "").startswith("s3://") else None)
        if url is None:
            if file.file_id is None:
                raise BadRequest(f"{at} needs file_data, a data URL or an http(s) URL.")
            self._losses.unsupported(f"{at}.file_id", "a file id of another store; send file_data")
            return None
        if is_data_url(url):
            media, data = data_url(url, f"{at}.file_data")
            if media in _IMAGES:
                return {"image": {"format": _IMAGES[media], "source": {"bytes": data}}}
            if media.startswith("video/"):
                return self._media(url, "video", _VIDEOS, f"{at}.file_data")
            form = _DOCUMENTS.get(media) or ("txt" if media.startswith("text/") or media.endswith("json") else None)
            if form is None:
                self._losses.unsupported(at, f"Converse reads no document of type {media}")
                return None
            return {"document": {"format": form, "name": self._name(file.filename), "source": {"bytes": data}}}
        if not url.startswith("s3://"):
            self._losses.unsupported(
                at, "Bedrock fetches no URLs; set fetches_urls = false on the provider, or send data"
            )
            return None
        source = {"s3Location": {"uri": url}}
        name = self._name(file.filename or url.rpartition("/")[2])
        return {"document": {"format": _extension(url), "name": name, "source": source}}

    def _name(self, filename: str | None) -> str:
        """A document's name as Converse takes it: of few characters, and no two the same."""
        stem = (filename or "document").rpartition(".")[0] or filename or "document"
        name = base = _BLANKS.sub(" ", _NAME.sub(" ", stem)).strip()[:180] or "document"
        number = 1
        while name in self._names:
            number += 1
            name = f"{base} {number}"
        self._names.add(name)
        return name

    # --- assistant and tool -------------------------------------------------------------------------------------------

    def _assistant(self, message: Message, at: str) -> list[Block]:
        blocks = self._thinking(message, at)
        texts = self._texts(message, at)
        blocks += texts or ([{"text": message.refusal}] if message.refusal else [])
        for name in ("images", "audio"):
            if getattr(message, name):
                self._losses.unsupported(f"{at}.{name}", "Converse takes back no media of an assistant")
        for place, call in enumerate(message.tool_calls or ()):
            here = f"{at}.tool_calls[{place}]"
            if not call.id:
                raise BadRequest(f"{here}.id is missing; send the id that the model gave the call.")
            if call.extra_content:
                self._losses.unsupported(f"{here}.extra_content", "another provider's attachment")
            given = arguments(call.function.arguments, here, self._losses)
            blocks.append({"toolUse": {"toolUseId": tool_id(call.id), "name": call.function.name, "input": given}})
        return blocks

    def _thinking(self, message: Message, at: str) -> list[Block]:
        """Reasoning that Claude signed, in its order. Pieces of one block, as a stream gave them, are joined."""
        found: list[tuple[Any, Block]] = []
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
            elif kind == "reasoning.encrypted":
                data = b64encode(str(detail.get("data") or "").encode()).decode()
                found.append((None, {"redactedContent": data}))
            else:
                text, signature = detail.get("text") or "", detail.get("signature") or ""
                place = detail.get("index")
                last = found[-1][1].get("reasoningText") if found and found[-1][0] == place is not None else None
                if last is not None and not last["signature"]:
                    last["text"] += text
                    last["signature"] = signature
                else:
                    found.append((place, {"reasoningText": {"text": text, "signature": signature}}))
        signed = [
            {"reasoningContent": block}
            for _, block in found
            if block.get("redactedContent") or block.get("reasoningText", {}).get("signature")
        ]
        if len(signed) < len(found) or (not details and (message.reasoning or message.reasoning_content)):
            self._losses.unsupported(f"{at}.reasoning", "Converse takes reasoning back only with its signature")
        return signed

    def _result(self, message: Message, at: str) -> list[Block]:
        """The result, and behind it the cache points that stood inside, where Converse takes none."""
        if not message.tool_call_id:
            raise BadRequest(f"{at}.tool_call_id is missing; name the call that this message answers.")
        blocks = self._content(message.content, f"{at}.content")
        points = [block for block in blocks if "cachePoint" in block]
        content = [block for block in blocks if "cachePoint" not in block]
        if not content:
            self._losses.mapped(f"{at}.content", "a result without content is sent as `(no output)`")
            content = [{"text": "(no output)"}]
        return [{"toolResult": {"toolUseId": tool_id(message.tool_call_id), "content": content}}, *points[-1:]]


def _named(blocks: list[Block], name: str | None) -> list[Block]:
    first = next((block for block in blocks if "text" in block), None)
    if name and first is not None:
        first["text"] = f"{name}: {first['text']}"
    return blocks


def _extension(path: str) -> str:
    found = path.rpartition(".")[2].lower()
    return _EXTENSIONS.get(found, found)


def opened(data: Any) -> str:
    """Redacted thinking as Anthropic's own API names it: Converse wraps that text in base64 once more."""
    if not isinstance(data, str):
        return ""
    try:
        return b64decode(data, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return data

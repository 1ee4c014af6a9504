"""Canonical messages as Gemini's `contents` and `systemInstruction`.

Sources, read 2026-11: ai.google.dev "Generating content" (Content, Part), "Function calling", "Thought signatures",
"File input methods"; inference API, sections 2.2, 7 and 8.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from routebook.core.call import Losses, Message, Part, ToolCall
from routebook.core.errors import BadRequest
from routebook.wire import codec

FORMAT = "google-gemini-v1"
"""the `format` of reasoning details that hold Gemini's thoughts and signatures"""

UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator` as bytes: what Google lets callers send for a call that Gemini did not make.
From Gemini 3 on a turn's first call without a signature is refused, so calls of other models need it."""

_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "xml": "text/xml",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
}
"""media types by file extension; Gemini wants one even for a URL that it fetches itself"""

_SOUNDS = {"m4a": "audio/mp4", "pcm16": "audio/l16", "pcm24": "audio/l24"}


def turns(
    messages: list[Message], losses: Losses, *, signed: bool
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """(systemInstruction or None, contents). `signed`: the model refuses function calls without a thought signature.

    System and developer messages are gathered wherever they stand; neighbouring messages of one role become one
    turn, as Gemini wants them to alternate. A prompt of system messages alone becomes a user turn, because `contents`
    must not be empty. Raises BadRequest for a tool message that answers no call.
    """
    system: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for at, message in enumerate(messages):
        if message.role in ("system", "developer"):
            system += _said(message, losses)
            continue
        if message.role == "tool":
            role, parts = "user", _result(message, at, names, losses, nested=signed)
        elif message.role == "assistant":
            role, parts = "model", _model(message, losses, signed=signed)
            names.update({call.id: call.function.name for call in message.tool_calls or () if call.id})
        else:
            role, parts = "user", _said(message, losses)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if not contents and system:
        return None, [{"role": "user", "parts": system}]
    return ({"parts": system} if system else None), contents


def _said(message: Message, losses: Losses) -> list[dict[str, Any]]:
    """A message's content. A name is written before it, as for every provider without names."""
    found: list[dict[str, Any]] = []
    if message.cache_control is not None:
        losses.unsupported("cache_control", "Gemini caches by itself")
    if isinstance(message.content, str):
        found = [{"text": message.content}] if message.content else []
    elif message.content is not None:
        found = [part for item in message.content for part in _content(item, losses)]
    if message.name and message.role != "tool":
        first = found[0] if found and "text" in found[0] else None
        if first is not None:
            first["text"] = f"{message.name}: {first['text']}"
        else:
            found.insert(0, {"text": f"{message.name}:"})
    return found


def _content(part: Part, losses: Losses) -> Iterator[dict[str, Any]]:
    if part.cache_control is not None:
        losses.unsupported("cache_control", "Gemini caches by itself")
    if part.prompt_cache_breakpoint is not None:
        losses.unsupported("prompt_cache_breakpoint", "Gemini caches by itself")
    video = part.video_url or part.input_video
    if part.text is not None and part.type in ("text", "input_text", "output_text", "refusal"):
        if part.text:
            yield {"text": part.text}
    elif part.image_url is not None:
        if part.image_url.detail not in (None, "auto"):
            losses.unsupported("image_url.detail", "Gemini has one resolution for all pictures of a request")
        yield media(part.image_url.url, "image/jpeg")
    elif part.input_audio is not None:
        kind = part.input_audio.format.lower()
        mime = _SOUNDS.get(kind, f"audio/{kind}")
        yield from (
            [media(part.input_audio.data, mime)]
            if part.input_audio.data.startswith("data:")
            else [{"inlineData": {"mimeType": mime, "data": part.input_audio.data}}]
        )
    elif video is not None:
        yield media(video.url, "video/mp4")
    elif part.file is not None and part.file.file_data:
        yield media(part.file.file_data, _by_extension(part.file.filename or "") or "application/pdf")
    elif part.file is not None and (part.file.file_id or "").startswith(("https://", "gs://")):
        yield media(part.file.file_id or "", _by_extension(part.file.filename or "") or "application/pdf")
    elif part.file is not None:
        losses.unsupported("file.file_id", "Gemini knows only files uploaded to it, by their URI")
    else:
        losses.unsupported(f"content type {part.type}", "Gemini has no such part")


def media(url: str, otherwise: str) -> dict[str, Any]:
    """A data URL as inlineData, base64 of text alone too; any other URL as fileData, which Gemini fetches itself.
    The media type is the data URL's own, the one of the extension, else `otherwise`."""
    if url[:5].lower() != "data:":
        return {"fileData": {"mimeType": _by_extension(urlsplit(url).path) or otherwise, "fileUri": url}}
    header, _, data = url[5:].partition(",")
    kind, *marks = header.split(";")
    if "base64" not in (mark.strip().lower() for mark in marks):
        data = b64encode(unquote_to_bytes(data)).decode()
    return {"inlineData": {"mimeType": kind.strip().lower() or otherwise, "data": data}}


def _by_extension(path: str) -> str | None:
    return _TYPES.get(path.rpartition(".")[2].lower()) if "." in path else None


# --- the model's own turns --------------------------------------------------------------------------------------------


def _model(message: Message, losses: Losses, *, signed: bool) -> list[dict[str, Any]]:
    """Thoughts, text, pictures, calls: in the order in which Gemini gives them, each with its signature again."""
    thoughts, seals, loose = _thoughts(message, losses)
    spoken = _said(message, losses)
    if message.refusal:
        spoken.append({"text": message.refusal})
    pictures = [media(url, "image/png") for item in message.images or () if (url := _url(item))]
    for at, picture in enumerate(pictures):
        if seal := seals.get(f"image_{at}"):
            picture["thoughtSignature"] = seal
    if message.audio is not None:
        losses.unsupported("messages.audio", "Gemini does not know the sound of an earlier answer")
    if loose:
        # Gemini signs the end of its text, in a stream by an empty part after it.
        if not spoken:
            spoken.append({"text": ""})
        spoken[-1]["thoughtSignature"] = loose
    calls = [_call(call, seals) for call in message.tool_calls or ()]
    if signed and calls and "thoughtSignature" not in calls[0]:
        calls[0]["thoughtSignature"] = UNSIGNED
    return [*thoughts, *spoken, *pictures, *calls]


def _url(item: dict[str, Any]) -> str:
    image = item.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    return url if isinstance(url, str) else ""


def _thoughts(message: Message, losses: Losses) -> tuple[list[dict[str, Any]], dict[str, str], str]:
    """(thought parts, signatures by the id of what they sign, the signature of the text) of the reasoning details.

    Thoughts of other models are sent as thoughts, their sealed data is not: it is opaque to everyone but its vendor.
    """
    thoughts: list[dict[str, Any]] = []
    seals: dict[str, str] = {}
    loose = ""
    for detail in message.reasoning_details or ():
        own = detail.get("format") == FORMAT
        words = detail.get("text") or detail.get("summary")
        if isinstance(words, str) and words:
            part: dict[str, Any] = {"text": words, "thought": True}
            if isinstance(signature := detail.get("signature"), str) and signature:
                if own:
                    part["thoughtSignature"] = signature
                else:
                    why = "the words are sent, another provider's signature means nothing to Gemini"
                    losses.mapped("reasoning_details", why, agreed=True)
            thoughts.append(part)
        if isinstance(data := detail.get("data"), str) and own:
            identity = detail.get("id")
            if isinstance(identity, str) and identity:
                seals[identity] = data
            else:
                loose = data
        elif isinstance(data, str) and not losses.strict:
            # Not a parameter: require_parameters is no reason to refuse a conversation that began elsewhere.
            losses.unsupported("reasoning_details", "another provider's sealed reasoning means nothing to Gemini")
    if not thoughts and (words := message.reasoning or message.reasoning_content):
        thoughts.append({"text": words, "thought": True})
    return thoughts, seals, loose


def _call(call: ToolCall, seals: dict[str, str]) -> dict[str, Any]:
    written: dict[str, Any] = {"name": call.function.name, "args": _args(call.function.arguments)}
    if call.id:
        written["id"] = call.id
    part: dict[str, Any] = {"functionCall": written}
    if seal := _attached(call) or seals.get(call.id or ""):
        part["thoughtSignature"] = seal
    return part


def _attached(call: ToolCall) -> str:
    google = (call.extra_content or {}).get("google")
    seal = google.get("thought_signature") if isinstance(google, dict) else None
    return seal if isinstance(seal, str) else ""


def _args(text: str) -> dict[str, Any]:
    """Gemini takes an object only; anything else a model once wrote is kept as text under `arguments`."""
    value = _json(text)
    if isinstance(value, dict):
        return value
    return {"arguments": text} if text.strip() else {}


def _json(text: str) -> Any:
    try:
        return codec.decode_exact(text)
    except (codec.DecodeError, RecursionError, ValueError, ArithmeticError):
        return None


# --- tool results -----------------------------------------------------------------------------------------------------


def _result(message: Message, at: int, names: dict[str, str], losses: Losses, *, nested: bool) -> list[dict[str, Any]]:
    """A functionResponse, whose `response` is the result if that is a JSON object, else {"output": the text}.

    Pictures and files go inside it from Gemini 3 on (`nested`), before that next to it.
    """
    name = names.get(message.tool_call_id or "") or message.name
    if not name:
        raise BadRequest(
            f"messages[{at}]: tool_call_id {message.tool_call_id!r} answers no tool call of an earlier message; "
            "send the assistant message with that call first."
        )
    found = _said(message, losses)
    text = "\n".join(part["text"] for part in found if "text" in part)
    value = _json(text)
    written: dict[str, Any] = {"name": name, "response": value if isinstance(value, dict) else {"output": text}}
    if message.tool_call_id:
        written["id"] = message.tool_call_id
    files = [part for part in found if "text" not in part]
    if files and nested:
        written["parts"] = files
        return [{"functionResponse": written}]
    return [{"functionResponse": written}, *files]

"""Gemini, what callers say: `contents` and `systemInstruction` as messages of the hub.

Part of the dialect in `gemini.py`. A part that the hub has no word for is named in `Asked.untold`: a provider that
speaks this dialect gets the caller's own bytes, for any other it is a loss. Sources, read 2026-11: ai.google.dev
"Generating content" (Content, Part), "Function calling", "Thought signatures", "File input methods".
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.call import FilePart, FunctionCall, ImageUrl, InputAudio, Loss, Message, Part, ToolCall, VideoUrl
from routebook.core.errors import BadRequest
from routebook.dialects.gemini_messages import FORMAT
from routebook.dialects.sealing import unseal
from routebook.wire import codec


class Blob(msgspec.Struct, rename="camel"):
    """Bytes that stand in the request."""

    data: str
    mime_type: str = ""


class FileData(msgspec.Struct, rename="camel"):
    """Bytes that stand elsewhere."""

    file_uri: str
    mime_type: str = ""


class Called(msgspec.Struct, rename="camel"):
    """A call that the model made."""

    name: str
    args: dict[str, Any] | None = None
    id: str | None = None


class Answered(msgspec.Struct, rename="camel"):
    """What a function gave back."""

    name: str = ""
    response: dict[str, Any] | None = None
    id: str | None = None
    parts: list[Piece] | None = None


class Piece(msgspec.Struct, rename="camel"):
    """A part of a turn; which member is filled says what it is."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: Called | None = None
    function_response: Answered | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    video_metadata: dict[str, Any] | None = None


class Content(msgspec.Struct, rename="camel"):
    """One turn."""

    parts: list[Piece] | None = None
    role: str | None = None


_FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/mp4": "m4a"}
_FORMATS |= {"audio/l16": "pcm16", "audio/l24": "pcm24"}


class Asked:
    """What the turns became."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.untold: list[Loss] = []
        self._open: list[tuple[str, str]] = []
        """(id, name) of calls that have no answer yet"""

    def system(self, content: Content | str | None) -> None:
        """The `systemInstruction`. Raises BadRequest."""
        if isinstance(content, str):
            self.messages.append(Message("system", content))
        elif content is not None:
            parts = []
            for place, piece in enumerate(content.parts or ()):
                if piece.text is None:
                    raise BadRequest(f"systemInstruction.parts[{place}].text: missing; system instructions are text.")
                parts.append(Part("text", text=piece.text))
            if parts:
                self.messages.append(Message("system", _plainly(parts)))

    def turn(self, content: Content, place: int) -> None:
        """The next turn. Raises BadRequest with its place."""
        at = f"contents[{place}]"
        if content.role not in (None, "", "user", "model", "function"):
            raise BadRequest(f"{at}.role: `{(content.role or '')[:40]}` is not one of user, model.")
        if not content.parts:
            raise BadRequest(f"{at}.parts: missing or empty; send at least one part.")
        if content.role == "model":
            self._model(content.parts, place, f"{at}.parts")
        else:
            self._user(content.parts, f"{at}.parts")

    def lost(self, at: str, why: str) -> None:
        """What only a provider of this dialect is told."""
        self.untold.append(Loss(at, why))

    # --- user ---------------------------------------------------------------------------------------------------------

    def _user(self, pieces: list[Piece], at: str) -> None:
        """Answers of functions become messages of their own, in their places between what else was said."""
        parts: list[Part] = []
        for place, piece in enumerate(pieces):
            here = f"{at}[{place}]"
            if piece.function_response is None:
                parts += self._parts(piece, here)
                continue
            if parts:
                self.messages.append(Message("user", _plainly(parts)))
                parts = []
            self.messages.append(self._result(piece.function_response, here))
        if parts:
            self.messages.append(Message("user", _plainly(parts)))

    def _result(self, answered: Answered, at: str) -> Message:
        identity = self._answers(answered, f"{at}.functionResponse")
        given = answered.response or {}
        words = next(iter(given.values())) if len(given) == 1 and ("output" in given or "result" in given) else None
        text = words if isinstance(words, str) else codec.encode(given).decode()
        parts: list[Part] = []
        for place, piece in enumerate(answered.parts or ()):
            parts += self._parts(piece, f"{at}.functionResponse.parts[{place}]")
        content: str | list[Part] = [Part("text", text=text), *parts] if parts else text
        return Message("tool", content, tool_call_id=identity)

    def _answers(self, answered: Answered, at: str) -> str:
        """The id of the call that this answers: its own, else the oldest open call of that name."""
        for place, (identity, name) in enumerate(self._open):
            if answered.id == identity or (answered.id is None and name == answered.name):
                del self._open[place]
                return identity
        if answered.id:
            return answered.id
        raise BadRequest(f"{at}: answers no functionCall of an earlier turn; send that turn first, or the call's id.")

    def _parts(self, piece: Piece, at: str) -> list[Part]:
        if piece.video_metadata is not None:
            self.lost(f"{at}.videoMetadata", "a cut of a video cannot be asked for there")
        if piece.text is not None:
            return [Part("text", text=piece.text)]
        if piece.inline_data is not None:
            return [_inline(piece.inline_data)]
        if piece.file_data is not None:
            return [_elsewhere(piece.file_data)]
        self.lost(at, "a part of this kind means nothing there")
        return []

    # --- model --------------------------------------------------------------------------------------------------------

    def _model(self, pieces: list[Piece], place: int, at: str) -> None:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        details: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        for number, piece in enumerate(pieces):
            signature = piece.thought_signature
            foreign = unseal(signature)
            if foreign is not None:
                member = "summary" if foreign["type"] == "reasoning.summary" else "text"
                details = _with_foreign(details, foreign, member)
                if piece.thought and not piece.text:
                    continue
            if piece.thought:
                details.append(_thought(piece, None if foreign is not None else signature, len(details)))
            elif piece.function_call is not None:
                call = piece.function_call
                identity = call.id or f"call_{place}_{len(calls)}"
                self._open.append((identity, call.name))
                own = {"google": {"thought_signature": signature}} if signature and foreign is None else None
                given = codec.encode(call.args or {}).decode()
                calls.append(ToolCall(FunctionCall(call.name, given), identity, extra_content=own))
                if own:
                    details.append(_encrypted(signature or "", len(details), identity))
            elif piece.inline_data is not None and piece.inline_data.mime_type.startswith("image/"):
                if signature and foreign is None:
                    details.append(_encrypted(signature, len(details), f"image_{len(images)}"))
                images.append({"type": "image_url", "image_url": {"url": _data_url(piece.inline_data)}})
            else:
                if signature and foreign is None:
                    details.append(_encrypted(signature, len(details), None))
                if piece.text is None or piece.text:
                    parts += self._parts(piece, f"{at}[{number}]")
        self.messages.append(
            Message(
                "assistant",
                _plainly(parts) if parts else None,
                tool_calls=calls or None,
                reasoning_details=details or None,
                images=images or None,
            )
        )


def _thought(piece: Piece, signature: str | None, index: int) -> dict[str, Any]:
    detail: dict[str, Any] = {"type": "reasoning.text", "text": piece.text or ""}
    if signature:
        detail["signature"] = signature
    return {**detail, "format": FORMAT if signature else "unknown", "index": index}


def _encrypted(data: str, index: int, identity: str | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index}
    return detail if identity is None else {**detail, "id": identity}


def _with_foreign(details: list[dict[str, Any]], foreign: dict[str, Any], member: str) -> list[dict[str, Any]]:
    """Another provider's reasoning again: the thoughts before its seal are its text, where it has none in itself."""
    if foreign["type"] == "reasoning.encrypted" or foreign.get(member):
        return [*details, foreign]
    kept = list(details)
    text = ""
    while kept and kept[-1].get("format") == "unknown" and "signature" not in kept[-1]:
        text = str(kept.pop().get("text") or "") + text
    return [*kept, {**foreign, member: text}]


def _inline(blob: Blob) -> Part:
    mime = blob.mime_type.partition(";")[0].strip().lower()
    if mime.startswith("audio/"):
        return Part("input_audio", input_audio=InputAudio(blob.data, _FORMATS.get(mime, mime.removeprefix("audio/"))))
    return _media(mime, _data_url(blob))


def _elsewhere(file: FileData) -> Part:
    return _media(file.mime_type.partition(";")[0].strip().lower(), file.file_uri)


def _media(mime: str, url: str) -> Part:
    if mime.startswith("image/"):
        return Part("image_url", image_url=ImageUrl(url))
    if mime.startswith("video/"):
        return Part("video_url", video_url=VideoUrl(url))
    return Part("file", file=FilePart(url))


def _data_url(blob: Blob) -> str:
    return f"data:{blob.mime_type or 'application/octet-stream'};base64,{blob.data}"


def _plainly(parts: list[Part]) -> str | list[Part]:
    """Parts as the hub mostly has them: one text is a string."""
    if len(parts) == 1 and parts[0].text is not None:
        return parts[0].text
    return parts

"""Gemini, an answer for callers: canonical events as pieces of candidates.

Part of the dialect in `gemini.py`. A piece is what one frame of a stream says of one candidate; a whole answer joins
them. This dialect has no pieces of function calls, so calls are gathered until their candidate ends. Reasoning of other
providers keeps what they need of it (`sealing`). Sources, read 2026-11: ai.google.dev "Generating content" (Candidate,
Part, GroundingMetadata, LogprobsResult), "Thought signatures", "Function calling".
"""

from __future__ import annotations

from typing import Any

from routebook.core.events import Delta, Finish, ToolDelta
from routebook.dialects import gemini_parts
from routebook.dialects.gemini_messages import FORMAT, media
from routebook.dialects.sealing import seal
from routebook.wire import codec
from routebook.wire.text import decoded

Piece = dict[str, Any]

_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "OTHER"}


class Candidate:
    """One candidate, piece by piece."""

    def __init__(self, index: int, exclude: bool, seed: str) -> None:
        self._index = index
        self._exclude = exclude
        self._seed = seed
        self._texts: list[str | bytes] = []
        """all text so far; bytes are in JSON escapes still"""
        self._calls: dict[int, list[ToolDelta]] = {}
        self._notes: list[dict[str, Any]] = []
        self._seals: dict[str, str] = {}
        """Gemini's signatures by the id of what they sign"""
        self._key: Any = None
        self._detail: dict[str, Any] = {}
        """the reasoning block that is under way"""

    def heard(self, pieces: list[bytes]) -> None:
        """Text that was written without a look at it here."""
        self._texts += pieces

    @property
    def thinking(self) -> bool:
        """A block of reasoning is under way, whose end has something to say."""
        return bool(self._detail)

    def piece(self, delta: Delta) -> Piece | None:
        """What this delta says now."""
        parts: list[dict[str, Any]] = []
        if delta.reasoning_details:
            for detail in delta.reasoning_details:
                parts += self._reasoned(detail)
        elif delta.reasoning:
            parts += self._reasoned({"type": "reasoning.text", "text": delta.reasoning})
        for text in (delta.text, delta.refusal, (delta.audio or {}).get("transcript")):
            if isinstance(text, str) and text:
                parts += self._thought_over()
                self._texts.append(text)
                parts.append({"text": text})
        for image in delta.images or ():
            parts += self._thought_over() + self._shown(image)
        data = (delta.audio or {}).get("data")
        if isinstance(data, str) and data:
            parts.append({"inlineData": {"mimeType": "audio/pcm", "data": data}})
        for call in delta.tool_calls or ():
            self._calls.setdefault(call.index, []).append(call)
        self._notes += delta.annotations or ()
        out: Piece = {"content": {"parts": parts, "role": "model"}, "index": self._index} if parts else {}
        if (result := _logprobs(delta.logprobs)) is not None:
            out = {**out, "index": self._index, "logprobsResult": result}
        return out or None

    def end(self, finish: Finish) -> Piece:
        """The last piece: calls, sources and the reason."""
        parts = self._thought_over()
        parts += [self._call(pieces) for _, pieces in sorted(self._calls.items())]
        parts += [{"text": "", "thoughtSignature": seal} for seal in self._seals.values()]
        self._calls, self._seals = {}, {}
        reason = finish.native if finish.native in gemini_parts.FINISH_REASONS else _REASONS.get(finish.reason, "OTHER")
        out: Piece = {"finishReason": reason, "index": self._index}
        out = {"content": {"parts": parts or [{"text": ""}], "role": "model"}, **out}
        if finish.message:
            out["finishMessage"] = finish.message
        if self._notes and (grounding := self._grounding()):
            out["groundingMetadata"] = grounding
        return out

    # --- parts --------------------------------------------------------------------------------------------------------

    def _reasoned(self, detail: dict[str, Any]) -> list[dict[str, Any]]:
        kind, own = detail.get("type"), detail.get("format") == FORMAT
        if kind in ("reasoning.text", "reasoning.summary"):
            return self._thought(detail, "text" if kind == "reasoning.text" else "summary", own)
        parts = self._thought_over()
        data = detail.get("data")
        if not own or not isinstance(data, str):
            return [*parts, {"text": "", "thought": True, "thoughtSignature": seal(detail)}]
        identity = detail.get("id")
        if isinstance(identity, str) and identity:
            self._seals[identity] = data
            return parts
        return [*parts, {"text": "", "thoughtSignature": data}]

    def _thought(self, detail: dict[str, Any], member: str, own: bool) -> list[dict[str, Any]]:
        key = (member, detail.get("index"))
        parts = [] if self._key == key else self._thought_over()
        self._key = key
        before = self._detail.get(member)
        self._detail |= {name: value for name, value in detail.items() if name != member and value is not None}
        text = detail.get(member)
        if not isinstance(text, str) or not text:
            return parts
        if self._exclude:
            self._detail[member] = (before or "") + text
            return parts
        return [*parts, {"text": text, "thought": True}]

    def _thought_over(self) -> list[dict[str, Any]]:
        """The end of a block of reasoning: its signature, or all that another provider will want to see again."""
        detail, self._detail, self._key = self._detail, {}, None
        signature = detail.get("signature")
        if not detail:
            return []
        if detail.get("format") == FORMAT:
            signature = signature if isinstance(signature, str) else ""
        elif detail.get("format") in (None, "unknown") and not (signature or detail.get("id")):
            signature = ""
        else:
            signature = seal(detail)
        return [{"text": "", "thought": True, "thoughtSignature": signature}] if signature else []

    def _shown(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        found = image.get("image_url")
        url = found.get("url") if isinstance(found, dict) else None
        return [media(url, "image/png")] if isinstance(url, str) and url else []

    def _call(self, pieces: list[ToolDelta]) -> dict[str, Any]:
        first = pieces[0]
        text = "".join(piece.arguments for piece in pieces)
        identity = next((piece.id for piece in pieces if piece.id), None)
        name = next((piece.name for piece in pieces if piece.name), "")
        call: dict[str, Any] = {"name": name, "args": _args(text)}
        call["id"] = identity or f"call_{self._seed}_{first.index}"
        part: dict[str, Any] = {"functionCall": call}
        seals = self._seals.pop(identity or "", None)
        extra = next((piece.extra for piece in pieces if piece.extra), None) or {}
        google = (
            (extra.get("extra_content") or {}).get("google") if isinstance(extra.get("extra_content"), dict) else {}
        )
        attached = google.get("thought_signature") if isinstance(google, dict) else None
        if signature := (attached if isinstance(attached, str) else seals):
            part["thoughtSignature"] = signature
        return part

    def _grounding(self) -> dict[str, Any] | None:
        """Annotations as sources and what they support. Callers of this dialect count bytes, others characters."""
        texts = [(decoded(piece) or "") if isinstance(piece, bytes) else piece for piece in self._texts]
        whole = "".join(texts)
        chunks: list[dict[str, Any]] = []
        places: dict[str, int] = {}
        supports: list[dict[str, Any]] = []
        for note in self._notes:
            cited = note.get("url_citation")
            url = cited.get("url") if isinstance(cited, dict) else None
            if not isinstance(cited, dict) or not isinstance(url, str):
                continue
            if url not in places:
                places[url] = len(chunks)
                chunks.append({"web": {"uri": url, "title": cited.get("title") or ""}})
            start, end = cited.get("start_index"), cited.get("end_index")
            if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= len(whole):
                before, said = _size(whole[:start]), whole[start:end]
                segment = {"startIndex": before, "endIndex": before + _size(said), "text": said}
                supports.append({"segment": segment, "groundingChunkIndices": [places[url]]})
        if not chunks:
            return None
        return {"groundingChunks": chunks, **({"groundingSupports": supports} if supports else {})}


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _args(text: str) -> Any:
    """A call's arguments: an object, the very bytes that the model gave; anything else is text under `arguments`."""
    if not text.strip():
        return {}
    try:
        given = codec.decode(text)
    except codec.DecodeError:
        given = None
    return codec.Raw(text.encode()) if isinstance(given, dict) else {"arguments": text}


def _logprobs(found: Any) -> dict[str, Any] | None:
    """The chat API's log probabilities as `logprobsResult`."""
    content = found.get("content") if isinstance(found, dict) else None
    rows = gemini_parts.objects(content)
    if not rows:
        return None
    tops = [{"candidates": [_token(each) for each in gemini_parts.objects(row.get("top_logprobs"))]} for row in rows]
    out: dict[str, Any] = {"chosenCandidates": [_token(row) for row in rows]}
    return {**out, "topCandidates": tops} if any(top["candidates"] for top in tops) else out


def _token(row: dict[str, Any]) -> dict[str, Any]:
    return {"token": row.get("token"), "logProbability": row.get("logprob")}


# --- joining ----------------------------------------------------------------------------------------------------------


def joined(known: Piece, piece: Piece) -> Piece:
    """One candidate after one more piece of it: neighbouring texts of one kind become one part."""
    content, more = _object(known.get("content")), _object(piece.get("content"))
    parts: list[Any] = gemini_parts.objects(content.get("parts"))
    for part in gemini_parts.objects(more.get("parts")):
        last = parts[-1] if parts else None
        if last is not None and _plain(last) and _plain(part) and last.get("thought") == part.get("thought"):
            parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
        elif part != {"text": ""} or not parts:
            parts.append(part)
    out = {**known, **piece}
    before, after = known.get("logprobsResult"), piece.get("logprobsResult")
    if isinstance(before, dict) and isinstance(after, dict):
        names = ("chosenCandidates", "topCandidates")
        out["logprobsResult"] = {n: [*before.get(n, ()), *after.get(n, ())] for n in names if n in before or n in after}
    if parts:
        out["content"] = {**content, **more, "parts": parts}
    return out


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(part: Any) -> bool:
    """Text that may grow: a signature ends it."""
    return isinstance(part, dict) and isinstance(part.get("text"), str) and set(part) <= {"text", "thought"}

"""Folds the frames of one Gemini answer into canonical events.

A frame is one decoded GenerateContentResponse: a stream's event, an item of an array, or a whole unary body. Single
members are read by `gemini_parts`, bytes are cut into frames by `gemini`.
Sources, read 2026-11: ai.google.dev "Generating content", "Thinking", "Thought signatures", "Function calling".
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import partial
from typing import Any

from routebook.core.errors import UpstreamLost
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Plain, Start, ToolDelta
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import faults
from routebook.dialects import gemini_parts as parts
from routebook.dialects.gemini_messages import FORMAT
from routebook.wire import codec
from routebook.wire.http import HttpHead
from routebook.wire.text import decoded


class _Choice:
    """What is remembered of one candidate between frames."""

    __slots__ = ("block", "blocks", "cited", "content", "images", "native", "pending", "spoken", "texts", "tools")

    def __init__(self) -> None:
        self.texts: list[str | bytes] = []
        """the parts in order, "" for each without text; bytes are in JSON escapes still"""
        self.tools = 0
        self.images = 0
        self.content = False
        self.spoken = False
        self.native: str | None = None
        self.pending: tuple[int, str, parts.PartialArgs] | None = None
        """index, id and arguments of a call that arrives in pieces"""
        self.blocks = -1
        self.block = ""
        self.cited: set[str] = set()


class _Piece:
    """What one frame adds to one candidate, before it becomes a Delta."""

    __slots__ = ("audio", "details", "images", "other", "text", "thoughts", "tools", "wrong")

    def __init__(self) -> None:
        self.text = ""
        self.thoughts = ""
        self.details: list[dict[str, Any]] = []
        self.tools: list[ToolDelta] = []
        self.images: list[dict[str, Any]] = []
        self.audio: list[dict[str, Any]] = []
        self.other: list[dict[str, Any]] = []
        self.wrong = False


class Answer:
    """Folds frames into events. What only Gemini says of a candidate goes, verbatim, where Google's own chat API puts
    such things: `extra_content.google` of the message and of its tool calls."""

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._start: Start | None = None
        self._choices: dict[int, _Choice] = {}
        self._blocked = False
        self._report: dict[str, Any] = {}
        self._queries: set[str] = set()
        self._fetched: set[str] = set()
        self._counted: tuple[dict[str, Any], int | None, int | None] = ({}, None, None)
        """what the last usage was worked out from: report, searches, fetches"""
        self._usage: Usage | None = None
        self._late: bytes | None = None
        """the usage object of the last run of plain frames, not looked at yet"""

    @property
    def finished(self) -> bool:
        return self._blocked or (bool(self._choices) and all(c.native is not None for c in self._choices.values()))

    def spoilt(self, what: str, sample: bytes = b"") -> list[Event]:
        """Bytes that are not the dialect: a failure, unless the answer is complete already."""
        return [] if self.finished else [Failed(faults.garbage(what, sample))]

    def end(self) -> list[Event]:
        if self.finished:
            return []
        return [Failed(UpstreamLost("The provider ended the answer before it was complete; try again."))]

    def parts_of(self, index: int) -> int:
        """How many parts of this candidate have come."""
        choice = self._choices.get(index)
        return 0 if choice is None else len(choice.texts)

    def heard(self, run: Plain, report: bytes | None) -> Plain:
        """A run of plain frames, and the usage object of the last of them where it may have grown. Each report
        replaces the one before it, so of a run only the last matters, and it is decoded when somebody asks."""
        self._choices[run.index].texts += run.texts
        if report is None:
            return run
        self._late = report
        _, searches, fetches = self._counted
        late = partial(_counted, report, self._report, searches, fetches)
        return Plain(run.index, run.texts, run.size, run.chars, report=late)

    def frame(self, value: Any, *, whole: bool) -> list[Event]:
        """The events of one frame; `whole`: it is the entire answer, so what it lacks does not come any more."""
        if isinstance(value, dict) and isinstance(inner := value.get("response"), dict):
            value = inner  # Code Assist wraps each frame
        if not isinstance(value, dict):
            return self.spoilt("a part of it is not an object")
        candidates = parts.objects(value.get("candidates"))
        if value.get("error") and not candidates:
            return [] if self.finished else [Failed(faults.from_object(value, self._head))]
        events: list[Event] = []
        self._begin(value, events)
        for candidate in candidates:
            if not self._candidate(candidate, events, whole=whole):
                return [*events, *self.spoilt("the arguments of a tool call cannot be put together")]
        self._block(value.get("promptFeedback"), events)
        self._count(value, events)
        if whole and not self._choices and not self._blocked:
            events.append(Failed(faults.garbage("it holds no candidates", codec.encode(value))))
        return events

    def _begin(self, value: dict[str, Any], events: list[Event]) -> None:
        found = value.get("usageMetadata")
        report = found if isinstance(found, dict) else {}
        before = self._start or Start(service_tier=parts.tier(self._head.headers.get("x-gemini-service-tier")))
        start = Start(
            upstream_id=parts.text(value.get("responseId")) or before.upstream_id,
            model=parts.text(value.get("modelVersion")) or before.model,
            service_tier=parts.tier(report.get("serviceTier"), report.get("trafficType")) or before.service_tier,
        )
        if start != self._start and (start.upstream_id or start.model or start.service_tier):
            self._start = start
            events.append(start)

    def _block(self, feedback: Any, events: list[Event]) -> None:
        """A refused prompt, which has no candidates; in a stream it may be refused after an answer began."""
        native = parts.text(feedback.get("blockReason")) if isinstance(feedback, dict) else ""
        if not native or self.finished:
            return
        message = parts.text(feedback.get("blockReasonMessage")) or native
        for index in sorted(self._choices) or [0]:
            choice = self._choices.get(index)
            if choice is None or choice.native is None:
                events.append(Finish("content_filter", native, index=index, message=message))
        self._blocked = True

    def _count(self, value: dict[str, Any], events: list[Event]) -> None:
        if self._late is not None:
            self._report = parts.merged(self._report, codec.decode_exact(self._late))
            self._late = None
            self._counted = (self._report, *self._counted[1:])
        found = value.get("usageMetadata")
        if isinstance(found, dict) and found:
            self._report = parts.merged(self._report, found)
        counted = (self._report, self._billed(), len(self._fetched) or None)
        if counted == self._counted:
            return
        self._counted = counted
        usage = parts.usage(*counted)
        if not (usage.empty and self._usage is None):
            self._usage = usage
            events.append(Counted(usage))

    def _billed(self) -> int | None:
        return parts.billed_searches(self._start.model if self._start else None, len(self._queries))

    def _candidate(self, candidate: dict[str, Any], events: list[Event], *, whole: bool) -> bool:
        """False if a call's arguments do not fit together."""
        index = parts.count(candidate.get("index")) or 0
        choice = self._choices.setdefault(index, _Choice())
        piece = _Piece()
        content = candidate.get("content")
        for part in parts.objects(content.get("parts")) if isinstance(content, dict) else ():
            self._part(choice, piece, part)
        native = parts.text(candidate.get("finishReason")) or None
        if (native or whole) and choice.pending is not None:
            self._complete(choice, piece)
        if piece.wrong:
            return False
        self._queries |= parts.queries(candidate)
        self._fetched |= parts.fetched(candidate)
        delta = self._delta(index, choice, piece, candidate)
        if delta is not None:
            choice.content = choice.content or delta.content
            events.append(delta)
        if (native or whole) and (choice.native is None or (native and native != choice.native)):
            choice.native = native or ""
            reason = parts.finish(native, content=choice.content, tools=choice.tools > 0)
            message = parts.text(candidate.get("finishMessage")) or None
            events.append(Finish(reason, native, index=index, message=message))
        return True

    def _delta(self, index: int, choice: _Choice, piece: _Piece, candidate: dict[str, Any]) -> Delta | None:
        known = ("content", "finishReason", "finishMessage", "index", "logprobsResult")
        extra = {name: value for name, value in candidate.items() if name not in known and value}
        if piece.other:
            extra["parts"] = piece.other
        annotations = [a for a in _citations(candidate, choice) if _first_time(a, choice.cited)]
        audio = _audio(piece.audio)
        if audio is not None and (mime := piece.audio[0].get("mimeType")):
            extra["audioMimeType"] = mime
        delta = Delta(
            index=index,
            role=None if choice.spoken else "assistant",
            text=piece.text or None,
            reasoning=piece.thoughts or None,
            reasoning_details=piece.details or None,
            tool_calls=piece.tools or None,
            images=piece.images or None,
            audio=audio,
            annotations=annotations or None,
            logprobs=parts.logprobs(candidate.get("logprobsResult")),
            extra={"extra_content": {"google": extra}} if extra else None,
        )
        if not (delta.content or delta.annotations or delta.logprobs or delta.extra):
            return None
        choice.spoken = True
        return delta

    def _part(self, choice: _Choice, piece: _Piece, part: dict[str, Any]) -> None:
        """One part of a candidate. What the canonical form has no word for stays verbatim among `extra.parts`."""
        signature = parts.text(part.get("thoughtSignature"))
        thought = part.get("thought") is True
        words, call, media = (part.get("text"), part.get("functionCall"), part.get("inlineData"))
        choice.texts.append(words if isinstance(words, str) and not thought else "")
        if isinstance(words, str) and thought:
            piece.thoughts += words
            _thought(choice, piece, words, signature)
        elif isinstance(call, dict):
            self._call(choice, piece, call, signature)
        elif isinstance(media, dict) and not thought and isinstance(media.get("data"), str):
            self._media(choice, piece, part, media, signature)
        elif isinstance(words, str):
            piece.text += words
            _sealed(choice, piece, signature, None)
        elif set(part) <= {"thoughtSignature"}:
            _sealed(choice, piece, signature, None)
        else:
            piece.other.append(part)

    def _media(
        self, choice: _Choice, piece: _Piece, part: dict[str, Any], media: dict[str, Any], signature: str
    ) -> None:
        mime = parts.text(media.get("mimeType"))
        if mime.startswith("image/"):
            url = f"data:{mime};base64,{media['data']}"
            piece.images.append({"type": "image_url", "image_url": {"url": url}})
            _sealed(choice, piece, signature, f"image_{choice.images}")
            choice.images += 1
        elif mime.startswith("audio/"):
            piece.audio.append(media)
        else:
            piece.other.append(part)

    def _call(self, choice: _Choice, piece: _Piece, call: dict[str, Any], signature: str) -> None:
        """A whole call, or a piece of one: its name comes first, then `partialArgs`, and an empty object ends it."""
        goes_on = call.get("willContinue") is True
        pieces = parts.objects(call.get("partialArgs"))
        if name := parts.text(call.get("name")):
            if choice.pending is not None:
                self._complete(choice, piece)
            identity = parts.text(call.get("id")) or self._mint.next("call")
            extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else None
            index, choice.tools = choice.tools, choice.tools + 1
            args = parts.PartialArgs(call.get("args"))
            piece.wrong = not args.add(pieces) or piece.wrong
            written = "" if goes_on else codec.encode(args.value).decode()
            piece.tools.append(ToolDelta(index, identity, name, written, extra=extra))
            _sealed(choice, piece, signature, identity)
            choice.pending = (index, identity, args) if goes_on else None
        elif choice.pending is not None:
            piece.wrong = not choice.pending[2].add(pieces) or piece.wrong
            _sealed(choice, piece, signature, choice.pending[1])
            if not goes_on:
                self._complete(choice, piece)
        elif call:
            piece.other.append({"functionCall": call})

    def _complete(self, choice: _Choice, piece: _Piece) -> None:
        if choice.pending is not None:
            index, _, args = choice.pending
            piece.tools.append(ToolDelta(index, arguments=codec.encode(args.value).decode()))
            choice.pending = None


def _counted(report: bytes, known: dict[str, Any], searches: int | None, fetches: int | None) -> Counted:
    """The usage that stands in a report, on top of what was known before it."""
    return Counted(parts.usage(parts.merged(known, codec.decode_exact(report)), searches, fetches))


def _citations(candidate: dict[str, Any], choice: _Choice) -> list[dict[str, Any]]:
    if "groundingMetadata" not in candidate and "citationMetadata" not in candidate:
        return []
    texts = [(decoded(part) or "") if isinstance(part, bytes) else part for part in choice.texts]
    choice.texts = [*texts]
    return parts.citations(candidate, texts)


def _thought(choice: _Choice, piece: _Piece, words: str, signature: str) -> None:
    """Neighbouring thoughts are one block; a signature ends it."""
    last = piece.details[-1] if piece.details else None
    if last is not None and last["type"] == "reasoning.text" and "signature" not in last:
        last["text"] += words
    else:
        last = {"type": "reasoning.text", "text": words, "format": FORMAT, "index": _block(choice, "reasoning.text")}
        piece.details.append(last)
    if signature:
        last["signature"] = signature
        choice.block = ""


def _sealed(choice: _Choice, piece: _Piece, signature: str, identity: str | None) -> None:
    """A thought signature on anything but a thought: callers send it back to keep the model's train of thought."""
    if signature:
        detail: dict[str, Any] = {"type": "reasoning.encrypted", "data": signature, "format": FORMAT}
        if identity is not None:
            detail["id"] = identity
        detail["index"] = _block(choice, "reasoning.encrypted")
        choice.block = ""
        piece.details.append(detail)


def _block(choice: _Choice, kind: str) -> int:
    if choice.block != kind:
        choice.blocks += 1
        choice.block = kind
    return choice.blocks


def _first_time(annotation: dict[str, Any], seen: set[str]) -> bool:
    """Grounding is repeated from frame to frame as it grows."""
    key = codec.encode(annotation).decode()
    if key in seen:
        return False
    seen.add(key)
    return True


def _audio(pieces: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The sound of one frame; several pieces are joined as bytes, because base64 texts do not simply join."""
    if not pieces:
        return None
    texts = [str(piece["data"]) for piece in pieces]
    if len(texts) == 1:
        return {"data": texts[0]}
    try:
        return {"data": b64encode(b"".join(b64decode(text) for text in texts)).decode()}
    except ValueError:
        return {"data": "".join(texts)}

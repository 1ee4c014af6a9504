"""What a Converse answer means: usage, finish reasons, and the fold from its events to canonical ones.

Part of the dialect in `bedrock.py`, which frames bytes and feeds this. A whole answer is replayed into the same fold
that a stream feeds, so both give the same facts. Sources, read 2026-11: Amazon Bedrock API reference "Converse",
"ConverseStream", "TokenUsage", "CacheDetail", "CitationsContentBlock"; usage and finish reasons are normalised as the
generation record says (sections 9.1 and 9.2).
"""

from __future__ import annotations

from typing import Any

from routebook.core.events import Counted, Delta, Event, Finish, Start, ToolDelta
from routebook.core.usage import Usage
from routebook.dialects.bedrock_messages import FORMAT, opened
from routebook.dialects.parts import BAD, count_of, text_of
from routebook.wire import codec

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


def usage_of(raw: dict[str, Any]) -> Usage:
    """TokenUsage in one meaning. Its `inputTokens` excludes what was read from and written to the cache; our prompt
    has them. Older answers wrote `cacheReadInputTokenCount`."""
    fresh = count_of(raw.get("inputTokens"))
    read = _either(raw, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _either(raw, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    long: int | None = None
    if isinstance(details := raw.get("cacheDetails"), list) and written is not None:
        hours = [count_of(d.get("inputTokens")) or 0 for d in details if isinstance(d, dict) and d.get("ttl") == "1h"]
        long = min(sum(hours), written)
    return Usage(
        prompt=None if fresh is None else fresh + (read or 0) + (written or 0),
        completion=count_of(raw.get("outputTokens")),
        cached=read,
        cache_write=None if written is None else written - (long or 0),
        cache_write_1h=long,
        raw=codec.encode(raw),
    )


def _either(raw: dict[str, Any], *names: str) -> int | None:
    return next((found for name in names if (found := count_of(raw.get(name))) is not None), None)


class _Block:
    """One content block while it is open."""

    __slots__ = ("begins", "citations", "kind", "ordinal", "partial", "value")

    def __init__(self, kind: str, ordinal: int, begins: int, value: dict[str, Any]) -> None:
        self.kind = kind
        """text, call, thought, or other: what the provider's own tools did"""
        self.ordinal = ordinal
        """place among the calls, or among the thoughts"""
        self.begins = begins
        """characters of text before this block"""
        self.value = value
        self.partial: list[str] = []
        self.citations: list[dict[str, Any]] = []


class Fold:
    """Converse's events in, canonical events out. Knows nothing of framing."""

    __slots__ = ("_blocks", "_calls", "_length", "_start", "_thoughts", "finished")

    def __init__(self, request_id: str | None) -> None:
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._thoughts = 0
        self._length = 0
        self._start = Start(upstream_id=request_id)
        self.finished = False

    def start(self) -> list[Event]:
        """What begins an answer: Converse names neither the answer nor its model, so the request's id stands for it."""
        return [self._start]

    def block_start(self, index: int, start: dict[str, Any]) -> list[Event]:
        if index in self._blocks:  # its stop never came
            return [*self.block_stop(index), *self.block_start(index, start)]
        call = start.get("toolUse")
        if not isinstance(call, dict):
            kind = "other" if start else "text"
            self._blocks[index] = _Block(kind, 0, self._length, dict(start))
            return []
        if call.get("type") not in (None, "tool_use"):  # a tool that the provider runs itself
            self._blocks[index] = _Block("other", 0, self._length, {"toolUse": dict(call)})
            return []
        self._blocks[index] = _Block("call", self._calls, self._length, {})
        self._calls += 1
        name, call_id = text_of(call.get("name")), text_of(call.get("toolUseId"))
        return [Delta(tool_calls=[ToolDelta(index=self._calls - 1, id=call_id, name=name)])]

    def block_delta(self, index: int, delta: dict[str, Any]) -> list[Event]:
        if isinstance(text := delta.get("text"), str):
            self._open(index, "text")
            return self._said(text)
        if isinstance(thought := delta.get("reasoningContent"), dict):
            return self._thought(self._open(index, "thought"), thought)
        block = self._blocks.get(index)
        call = delta.get("toolUse")
        if isinstance(call, dict) and isinstance(piece := call.get("input"), str) and block is not None:
            if not piece:
                return []
            block.partial.append(piece)
            called = block.kind == "call"
            return [Delta(tool_calls=[ToolDelta(index=block.ordinal, arguments=piece)])] if called else []
        if isinstance(cited := delta.get("citation"), dict):
            self._open(index, "text").citations.append(cited)
        elif isinstance(result := delta.get("toolResult"), list):
            inner = self._open(index, "other").value.setdefault("toolResult", {})
            if isinstance(inner, dict):
                inner["content"] = [*inner.get("content", ()), *result]
        elif isinstance(picture := delta.get("image"), dict):
            return self._picture(picture)
        return []

    def block_stop(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None or block.kind == "thought":
            return []
        if block.kind == "text":
            return self._cited(block)
        if block.kind == "call":
            return [] if block.partial else [Delta(tool_calls=[ToolDelta(index=block.ordinal, arguments="{}")])]
        if block.partial and isinstance(call := block.value.get("toolUse"), dict):
            text = "".join(block.partial)
            try:
                call["input"] = codec.decode_exact(text)
            except BAD:
                call["input"] = text
        return [Delta(extra={"content_blocks": [block.value]})]

    def finish(self, native: str | None, sequence: str | None = None, message: str | None = None) -> list[Event]:
        """Closes what is open and gives the one Finish; a second call gives nothing."""
        if self.finished:
            return []
        self.finished = True
        out: list[Event] = []
        for index in sorted(self._blocks):
            out += self.block_stop(index)
        reason = REASONS.get(native or "end_turn", "stop")
        if reason in ("stop", "tool_calls"):  # a model also stops for tools that the provider runs itself
            reason = "tool_calls" if self._calls else "stop"
        return [*out, Finish(reason, native=native, stop_sequence=sequence, message=message)]

    def metadata(self, value: dict[str, Any]) -> list[Event]:
        """Usage, and the tier that the answer ran on."""
        out: list[Event] = []
        tier = value.get("serviceTier")
        name = text_of(tier.get("type")) if isinstance(tier, dict) else None
        if name is not None and name != self._start.service_tier:
            self._start = Start(upstream_id=self._start.upstream_id, service_tier=name)
            out.append(self._start)
        if isinstance(usage := value.get("usage"), dict):
            out.append(Counted(usage_of(usage)))
        return out

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _open(self, index: int, kind: str) -> _Block:
        """The block of this index; Converse starts blocks of text and thought without saying so."""
        block = self._blocks.get(index)
        if block is not None and (block.kind == kind or block.kind != "text"):
            return block
        ordinal = 0
        if kind == "thought":
            ordinal, self._thoughts = self._thoughts, self._thoughts + 1
        block = self._blocks[index] = _Block(kind, ordinal, self._length, {})
        return block

    def _said(self, text: str) -> list[Event]:
        self._length += len(text)
        return [Delta(text=text)] if text else []

    def _thought(self, block: _Block, thought: dict[str, Any]) -> list[Event]:
        inner = thought.get("reasoningText")
        said = inner if isinstance(inner, dict) else thought
        text, signature = text_of(said.get("text")), text_of(said.get("signature"))
        out: list[Event] = []
        if text or signature:
            detail: dict[str, Any] = {"type": "reasoning.text"}
            if text:
                detail["text"] = text
            if signature:
                detail |= {"signature": signature, "format": FORMAT}
            out.append(Delta(reasoning=text, reasoning_details=[{**detail, "index": block.ordinal}]))
        if (sealed := thought.get("redactedContent")) is not None:
            data = {"type": "reasoning.encrypted", "data": opened(sealed), "format": FORMAT, "index": block.ordinal}
            out.append(Delta(reasoning_details=[data]))
        return out

    @staticmethod
    def _picture(image: dict[str, Any]) -> list[Event]:
        source = image.get("source")
        data = text_of(source.get("bytes")) if isinstance(source, dict) else None
        if data is None:
            return []
        url = f"data:image/{text_of(image.get('format')) or 'png'};base64,{data}"
        return [Delta(images=[{"type": "image_url", "image_url": {"url": url}}])]

    def _cited(self, block: _Block) -> list[Event]:
        """Citations of a text block, once its extent is known: those of the web as `url_citation`, all of them verbatim
        beside them."""
        if not block.citations:
            return []
        notes = []
        for cited in block.citations:
            place = cited.get("location")
            web = place.get("web") if isinstance(place, dict) else None
            if isinstance(web, dict) and (url := text_of(web.get("url"))) is not None:
                content = cited.get("sourceContent")
                texts = [c.get("text") for c in content if isinstance(c, dict)] if isinstance(content, list) else []
                note = {
                    "url": url,
                    "title": text_of(cited.get("title")) or "",
                    "content": "".join(text for text in texts if isinstance(text, str)),
                    "start_index": block.begins,
                    "end_index": self._length,
                }
                notes.append({"type": "url_citation", "url_citation": note})
        return [Delta(annotations=notes or None, extra={"citations": block.citations})]

    # --- whole answers ------------------------------------------------------------------------------------------------

    def block(self, index: int, value: dict[str, Any]) -> list[Event]:
        """One block of a whole answer."""
        call = value.get("toolUse")
        if isinstance(call, dict):
            begin = self.block_start(index, {"toolUse": {k: v for k, v in call.items() if k != "input"}})
            written = codec.encode(call.get("input")).decode() if call.get("input") is not None else "{}"
            return [*begin, *self.block_delta(index, {"toolUse": {"input": written}}), *self.block_stop(index)]
        if isinstance(cited := value.get("citationsContent"), dict):
            out: list[Event] = []
            for piece in _dicts(cited.get("content")):
                out += self.block_delta(index, {"text": piece.get("text")})
            for one in _dicts(cited.get("citations")):
                self.block_delta(index, {"citation": one})
            return [*out, *self.block_stop(index)]
        if any(name in value for name in ("text", "reasoningContent", "image")):
            return [*self.block_delta(index, value), *self.block_stop(index)]
        return [Delta(extra={"content_blocks": [value]})] if value else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def read_whole(value: dict[str, Any], request_id: str | None) -> list[Event]:
    """A whole answer: Start, one Delta, Finish, Counted."""
    fold = Fold(request_id)
    output = value.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    deltas: list[Event] = []
    for index, block in enumerate(_dicts(message.get("content") if isinstance(message, dict) else None)):
        deltas += fold.block(index, block)
    end = fold.finish(text_of(value.get("stopReason")), sequence_of(value), explained(value.get("trace")))
    told = fold.metadata(value)
    starts = [event for event in told if isinstance(event, Start)] or fold.start()
    counts = [event for event in told if isinstance(event, Counted)]
    return [*starts, _joined([event for event in deltas if isinstance(event, Delta)]), *end, *counts]


def sequence_of(value: dict[str, Any]) -> str | None:
    """The stop sequence that ended the answer, where the caller asked for the model's own fields."""
    fields = value.get("additionalModelResponseFields")
    fields = fields if isinstance(fields, dict) else {}
    inner = fields.get("delta")
    return text_of(fields.get("stop_sequence")) or (
        text_of(inner.get("stop_sequence")) if isinstance(inner, dict) else None
    )


def explained(trace: Any) -> str | None:
    """What a guardrail says of what it did."""
    guard = trace.get("guardrail") if isinstance(trace, dict) else None
    reason = text_of(guard.get("actionReason")) if isinstance(guard, dict) else None
    return None if reason is None or reason.lower().startswith("no action") else reason


def _joined(deltas: list[Delta]) -> Delta:
    """All pieces of one message as one Delta."""
    calls: dict[int, ToolDelta] = {}
    details: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    extra: dict[str, Any] = {}
    for delta in deltas:
        for call in delta.tool_calls or ():
            old = calls.get(call.index)
            text = call.arguments if old is None else old.arguments + call.arguments
            first = old or call
            calls[call.index] = ToolDelta(index=call.index, id=first.id, name=first.name, arguments=text)
        details += delta.reasoning_details or ()
        images += delta.images or ()
        notes += delta.annotations or ()
        for key, value in (delta.extra or {}).items():
            extra[key] = [*extra.get(key, ()), *value]
    return Delta(
        role="assistant",
        text="".join(delta.text or "" for delta in deltas) or None,
        reasoning="".join(delta.reasoning or "" for delta in deltas) or None,
        reasoning_details=details or None,
        tool_calls=list(calls.values()) or None,
        images=images or None,
        annotations=notes or None,
        extra=extra or None,
    )

"""Anthropic Messages, what an answer means: usage, and the fold from Messages events to canonical ones.

Part of the dialect in `anthropic.py`, which frames bytes and feeds this. A whole message is replayed into the same
fold that a stream feeds, so both give the same facts. Sources, read 2026-11: platform.claude.com "Streaming messages",
"Stop reasons", "Extended thinking", "Citations"; member names as in Anthropic's published SDK types; usage and finish
reasons are normalised as the generation record says (sections 9.1 and 9.2), `reasoning_details` as the inference API
(section 7).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routebook.core.events import Counted, Delta, Event, Finish, Start, ToolDelta
from routebook.core.usage import Usage
from routebook.wire import codec

FORMAT = "anthropic-claude-v1"
"""`format` of reasoning details whose signatures only Anthropic's models can check"""

BAD = (codec.DecodeError, ValueError, RecursionError)
"""What decoding hostile bytes raises: malformed JSON, text that is not UTF-8, nesting without end."""

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


# --- usage ------------------------------------------------------------------------------------------------------------


def usage_of(raw: dict[str, Any]) -> Usage:
    """Anthropic's usage object in one meaning. Its `input_tokens` excludes cache reads and writes; our prompt has them.

    The breakdown of writes by lifetime may be older than their total (a stream names it only at its start): the total
    wins, and what the breakdown does not explain counts as five-minute writes. Tokens that stand only in `iterations`
    (an advisor's) are another model's and stay in `raw`.
    """
    fresh, read = (_count(raw.get("input_tokens")), _count(raw.get("cache_read_input_tokens")))
    written = _count(raw.get("cache_creation_input_tokens"))
    short: int | None = None
    long: int | None = None
    if isinstance(kinds := raw.get("cache_creation"), dict):
        short = _count(kinds.get("ephemeral_5m_input_tokens"))
        long = _count(kinds.get("ephemeral_1h_input_tokens"))
    if written is None and (short is not None or long is not None):
        written = (short or 0) + (long or 0)
    if written is not None:
        long = None if long is None else min(long, written)
        short = written - (long or 0)
    details, tools = raw.get("output_tokens_details"), raw.get("server_tool_use")
    return Usage(
        prompt=None if fresh is None else fresh + (read or 0) + (written or 0),
        completion=_count(raw.get("output_tokens")),
        reasoning=_count(details.get("thinking_tokens")) if isinstance(details, dict) else None,
        cached=read,
        cache_write=short,
        cache_write_1h=long,
        web_searches=_count(tools.get("web_search_requests")) if isinstance(tools, dict) else None,
        web_fetches=_count(tools.get("web_fetch_requests")) if isinstance(tools, dict) else None,
        raw=codec.encode(raw),
    )


def _count(value: Any) -> int | None:
    """A count that can be trusted, else None."""
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value < 10**18 and value == value.to_integral_value() else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A later report of a stream over an earlier one. Reports are cumulative and may leave members out; a count cannot
    fall back to nothing, so a 0 after a number is a relay's filler and not believed."""
    out = dict(old)
    for key, value in new.items():
        before = out.get(key)
        filler = value == 0 and isinstance(before, int) and before > 0
        if key not in out or not (value is None or filler):
            out[key] = value
    return out


def _tier(usage: dict[str, Any]) -> str | None:
    """The tier an answer ran on in the API's words: the base tier is `default`, fast mode is `priority`."""
    if usage.get("speed") == "fast":
        return "priority"
    tier = usage.get("service_tier")
    return ("default" if tier == "standard" else tier) if isinstance(tier, str) else None


# --- the fold ---------------------------------------------------------------------------------------------------------


class _Block:
    """One content block while it is open."""

    __slots__ = ("begins", "citations", "kind", "ordinal", "partial", "value")

    def __init__(self, kind: str, value: dict[str, Any], ordinal: int, begins: int) -> None:
        self.kind = kind
        self.value = value
        self.ordinal = ordinal
        """place among the tool calls, or among the reasoning blocks"""
        self.begins = begins
        """characters of text before this block"""
        self.partial: list[str] = []
        self.citations: list[dict[str, Any]] = []


class Fold:
    """Messages events in, canonical events out. Knows nothing of framing; used for streams and whole messages."""

    __slots__ = ("_blocks", "_length", "_thoughts", "_tools", "_usage", "finished")

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self._thoughts = 0
        self._length = 0
        self._usage: dict[str, Any] = {}
        self.finished = False

    def start(self, message: dict[str, Any]) -> Start:
        """Also reads what a message already says of usage; `counted` gives it out."""
        if isinstance(usage := message.get("usage"), dict):
            self._usage = _merged(self._usage, usage)
        return Start(
            upstream_id=_text(message.get("id")), model=_text(message.get("model")), service_tier=_tier(self._usage)
        )

    def counted(self) -> list[Event]:
        return [Counted(usage_of(self._usage))] if self._usage else []

    def block_start(self, index: int, value: dict[str, Any]) -> list[Event]:
        kind = value.get("type")
        if index in self._blocks:  # its stop never came
            return [*self.block_stop(index), *self.block_start(index, value)]
        block = self._open(index, kind if isinstance(kind, str) else "text", value)
        if block.kind == "text":
            if isinstance(cited := value.get("citations"), list):
                block.citations += [citation for citation in cited if isinstance(citation, dict)]
            return self._said(value.get("text"))
        if block.kind == "thinking":
            return _thought(block.ordinal, value.get("thinking"), value.get("signature"))
        if block.kind == "redacted_thinking":
            detail = {"type": "reasoning.encrypted", "data": value.get("data"), "format": FORMAT}
            return [Delta(reasoning_details=[{**detail, "index": block.ordinal}])]
        if block.kind == "tool_use":
            extra = {k: v for k, v in value.items() if k not in ("type", "id", "name", "input")}
            name, call_id = _text(value.get("name")), _text(value.get("id"))
            return [Delta(tool_calls=[ToolDelta(index=block.ordinal, id=call_id, name=name, extra=extra or None)])]
        if block.kind == "fallback" and isinstance(to := value.get("to"), dict) and isinstance(to.get("model"), str):
            return [Start(model=to["model"])]  # another model took over: it is the one that answers
        return []

    def block_delta(self, index: int, delta: dict[str, Any]) -> list[Event]:
        kind = delta.get("type")
        if kind == "text_delta":
            if index not in self._blocks:
                self._open(index, "text", {})
            return self._said(delta.get("text"))
        block = self._blocks.get(index)
        if kind in ("thinking_delta", "signature_delta"):
            block = block or self._open(index, "thinking", {})
            return _thought(block.ordinal, delta.get("thinking"), delta.get("signature"))
        if block is None:
            return []
        if kind == "input_json_delta":
            piece = delta.get("partial_json")
            if isinstance(piece, str) and piece:
                block.partial.append(piece)
                if block.kind == "tool_use":
                    return [Delta(tool_calls=[ToolDelta(index=block.ordinal, arguments=piece)])]
        elif kind == "citations_delta":
            if isinstance(citation := delta.get("citation"), dict):
                block.citations.append(citation)
        else:  # compaction and whatever comes after it: strings grow, other members replace
            for key, value in delta.items():
                if key != "type" and value is not None:
                    old = block.value.get(key)
                    grows = isinstance(old, str) and isinstance(value, str)
                    block.value[key] = old + value if grows else value
        return []

    def block_stop(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None or block.kind in ("thinking", "redacted_thinking"):
            return []
        if block.kind == "text":
            return self._cited(block)
        if block.kind == "tool_use":
            # Some providers give the whole input with the start; a call without any input is an empty object.
            whole = "" if block.partial else codec.encode(block.value.get("input") or {}).decode()
            return [Delta(tool_calls=[ToolDelta(index=block.ordinal, arguments=whole)])] if whole else []
        # What the provider's own tools did is no content of the message: it travels for callers of this dialect.
        if block.partial:
            text = "".join(block.partial)
            try:
                block.value["input"] = codec.decode_exact(text)
            except BAD:
                block.value["input"] = text
        return [Delta(extra={"content_blocks": [block.value]})]

    def message_delta(self, frame: dict[str, Any]) -> list[Event]:
        """`frame` has `delta` (stop_reason and its details) and `usage`."""
        out: list[Event] = []
        delta = frame.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        native = _text(delta.get("stop_reason"))
        known = {"container": delta.get("container"), "context_management": frame.get("context_management")}
        if extra := {key: value for key, value in known.items() if value is not None}:
            out.append(Delta(extra=extra))
        if native is not None:
            out += self.finish(native, _text(delta.get("stop_sequence")), _explained(delta.get("stop_details")))
        if isinstance(usage := frame.get("usage"), dict):
            self._usage = _merged(self._usage, usage)
            out += self.counted()
        return out

    def finish(self, native: str | None, sequence: str | None = None, message: str | None = None) -> list[Event]:
        """Closes what is open and gives the one Finish; a second call gives nothing."""
        if self.finished:
            return []
        self.finished = True
        out: list[Event] = []
        for index in sorted(self._blocks):
            out += self.block_stop(index)
        reason = _REASONS.get(native or "end_turn", "stop")
        if reason == "stop" and self._tools:
            reason = "tool_calls"
        return [*out, Finish(reason, native=native, stop_sequence=sequence, message=message)]

    def heard(self, characters: int) -> None:
        """So much more text came in a text block that is open, without being told here."""
        self._length += characters

    def _open(self, index: int, kind: str, value: dict[str, Any]) -> _Block:
        ordinal = 0
        if kind in ("thinking", "redacted_thinking"):
            ordinal, self._thoughts = self._thoughts, self._thoughts + 1
        elif kind == "tool_use":
            ordinal, self._tools = self._tools, self._tools + 1
        block = self._blocks[index] = _Block(kind, dict(value), ordinal, self._length)
        return block

    def _said(self, text: Any) -> list[Event]:
        if not isinstance(text, str) or not text:
            return []
        self._length += len(text)
        return [Delta(text=text)]

    def _cited(self, block: _Block) -> list[Event]:
        """Citations of a text block, once its extent is known: those of the web as the API's `url_citation`, all of
        them verbatim for callers of this dialect (their `encrypted_index` has to come back)."""
        if not block.citations:
            return []
        notes = [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": cited["url"],
                    "title": cited.get("title") or "",
                    "content": cited.get("cited_text") or "",
                    "start_index": block.begins,
                    "end_index": self._length,
                },
            }
            for cited in block.citations
            if isinstance(cited.get("url"), str)
        ]
        return [Delta(annotations=notes or None, extra={"citations": block.citations})]


def _thought(ordinal: int, text: Any, signature: Any) -> list[Event]:
    text = text if isinstance(text, str) else ""
    signed = isinstance(signature, str) and bool(signature)
    if not text and not signed:
        return []
    detail: dict[str, Any] = {"type": "reasoning.text"}
    if text:
        detail["text"] = text
    if signed:
        detail["signature"] = signature
    return [Delta(reasoning=text or None, reasoning_details=[{**detail, "format": FORMAT, "index": ordinal}])]


def _explained(details: Any) -> str | None:
    """What a refusal says of itself."""
    if not isinstance(details, dict):
        return None
    return _text(details.get("explanation")) or _text(details.get("category"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def read_message(message: dict[str, Any]) -> list[Event]:
    """A whole message: Start, one Delta, Finish, Counted; a `content` that is a plain string is read as text."""
    fold = Fold()
    events: list[Event] = [fold.start(message)]
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for index, block in enumerate(blocks):
        if isinstance(block, dict):
            events += fold.block_start(index, block)
            events += fold.block_stop(index)
    details = _explained(message.get("stop_details"))
    known = {key: message[key] for key in ("container", "context_management") if message.get(key) is not None}
    if known:
        events.append(Delta(extra=known))
    starts: list[Event] = [event for event in events if isinstance(event, Start)]
    whole = _joined([event for event in events if isinstance(event, Delta)])
    end = fold.finish(_text(message.get("stop_reason")), _text(message.get("stop_sequence")), details)
    return [*starts, whole, *end, *fold.counted()]


def _joined(deltas: list[Delta]) -> Delta:
    """All pieces of one message as one Delta."""
    calls: dict[int, ToolDelta] = {}
    details: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    extra: dict[str, Any] = {}
    for delta in deltas:
        for call in delta.tool_calls or ():
            old = calls.get(call.index, call)
            text = call.arguments if old is call else old.arguments + call.arguments
            calls[call.index] = ToolDelta(index=call.index, id=old.id, name=old.name, arguments=text, extra=old.extra)
        details += delta.reasoning_details or ()
        notes += delta.annotations or ()
        for key, value in (delta.extra or {}).items():
            extra[key] = [*extra.get(key, ()), *value] if isinstance(value, list) else value
    return Delta(
        role="assistant",
        text="".join(delta.text or "" for delta in deltas) or None,
        reasoning="".join(delta.reasoning or "" for delta in deltas) or None,
        reasoning_details=details or None,
        tool_calls=list(calls.values()) or None,
        annotations=notes or None,
        extra=extra or None,
    )

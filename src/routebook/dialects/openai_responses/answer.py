"""What one answer of the dialect has said so far: its events and whole bodies as JSON in, canonical events out.

Each event's own JSON travels along as `Native`, for a caller who speaks the dialect too; what the hub has no word for
(searches, code, shells, programs) travels only so. Names of events and their order: inference API, section 4.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from routebook.core.events import Counted, Delta, Event, Failed, Finish, Native, Start
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import faults
from routebook.dialects.openai_responses.item import Item
from routebook.dialects.openai_responses.parts import FORMAT, NAME, RESUMED, dicts, text_of
from routebook.dialects.openai_responses.usage import counts
from routebook.wire import codec
from routebook.wire.http import HttpHead

_PIECES = {
    "response.output_text.delta": ("text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_text.delta": ("thought", "content_index"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.function_call_arguments.delta": ("arguments", ""),
    "response.custom_tool_call_input.delta": ("input", ""),
}
"""event -> (channel, member that numbers the part)"""
_WHOLES = {
    "response.output_text.done": ("text", "content_index", "text"),
    "response.refusal.done": ("refusal", "content_index", "refusal"),
    "response.reasoning_text.done": ("thought", "content_index", "text"),
    "response.reasoning_summary_text.done": ("summary", "summary_index", "text"),
    "response.function_call_arguments.done": ("arguments", "", "arguments"),
    "response.custom_tool_call_input.done": ("input", "", "input"),
}
_PARTS = {
    "content_part": "content_index",
    "output_text": "content_index",
    "refusal": "content_index",
    "reasoning_text": "content_index",
    "reasoning_summary_part": "summary_index",
    "reasoning_summary_text": "summary_index",
}
"""what an event is about -> the member that numbers the part"""
_BEGINS = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CANONICAL = frozenset({"message", "reasoning", "image_generation_call"}) | RESUMED
_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
_UNFINISHED = frozenset({"queued", "in_progress"})


class Answer:
    """Grows by `event`, or by one `whole`. A Failed is always the last event."""

    __slots__ = (
        "_called",
        "_format",
        "_head",
        "_items",
        "_mint",
        "_numbers",
        "_places",
        "_searched",
        "_start",
        "_usage",
        "complete",
        "open_text",
    )

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._start: Start | None = None
        self._format = FORMAT
        self._usage: Usage | None = None
        self._items: dict[int, Item] = {}
        self._numbers: dict[Any, int] = {}
        self._places: dict[str, int] = {}
        """of items by their ids, for providers that do not number them"""
        self._called = 0
        self._searched = 0
        self.complete = False
        """the answer's own end was heard"""
        self.open_text: tuple[str, int, int] | None = None
        """(item, its place, part) of the text that comes at the moment, once it was announced"""

    def event(self, value: dict[str, Any], data: bytes) -> list[Event]:
        """One event of a stream; `data` is its JSON."""
        kind = value.get("type")
        kind = kind if isinstance(kind, str) else ""
        if kind == "error" or (not kind and value.get("error")):
            return [Failed(faults.from_object(value, self._head))]
        if "output_index" not in value and ("item" in value or "item_id" in value):
            value = self._placed(kind, value)
            data = codec.encode(value)
        number = value.get("sequence_number")
        native = Native(NAME, kind, data, number if isinstance(number, int) else None)
        if kind in _BEGINS:
            return [*self._begin(value.get("response"), ended=False), Delta(native=native)]
        if kind in _ENDS:
            return self._terminal(kind, value.get("response"), native)
        deltas, opaque = self._said(kind, value)
        if opaque:
            native = replace(native, content=True)
        if not deltas:
            return [Delta(native=native)]
        return [replace(deltas[0], native=native), *deltas[1:]]

    def whole(self, value: dict[str, Any], data: bytes) -> list[Event]:
        """The whole of an answer that was not streamed."""
        out: list[Event] = [*self._begin(value, ended=True)]
        status = text_of(value, "status")
        if value.get("error") or status in ("failed", "cancelled") or value.get("type") == "error":
            return [*out, *self._failed(value)]
        if status in _UNFINISHED:
            return [*out, Failed(faults.garbage(f"the provider put it off (its status is {status})", data))]
        out.append(Delta(native=Native(NAME, "", data)))
        out += self._output(value, native=True)
        return [*out, *self._finish(value)]

    def text_heard(self, chars: int) -> None:
        """So much of the text that is open took the short way."""
        if self.open_text is not None:
            _, place, part = self.open_text
            self._items[place].heard(part, chars)

    # --- the answer as a whole ----------------------------------------------------------------------------------------

    def _begin(self, response: Any, ended: bool) -> list[Event]:
        if not isinstance(response, dict):
            return []
        model = text_of(response, "model")
        if "content_filters" in response and response["content_filters"] is not None:
            self._format = "azure-openai-responses-v1"
        elif model is not None and model.startswith("grok"):
            self._format = "xai-responses-v1"
        # While the answer is under way the tier is the one that was asked for.
        tier = text_of(response, "service_tier") if ended else None
        old = self._start or Start()
        new = Start(
            old.upstream_id or text_of(response, "id"),
            old.model or model,
            old.service_tier if tier in (None, "auto") else tier,
            None,
            old.provider or text_of(response, "provider"),
        )
        if new == self._start:
            return []
        self._start = new
        return [new]

    def _terminal(self, kind: str, response: Any, native: Native) -> list[Event]:
        value = response if isinstance(response, dict) else {}
        out: list[Event] = [*self._begin(value, ended=True)]
        status = value.get("status")
        if kind in ("response.failed", "response.cancelled") or status in ("failed", "cancelled"):
            return [*out, *self._failed(value)]
        out += self._output(value, native=False)
        out.append(Delta(native=native))
        if kind == "response.incomplete":
            value = {**value, "status": "incomplete"}
        return [*out, *self._finish(value)]

    def _failed(self, value: dict[str, Any]) -> list[Event]:
        out = self._count(value)
        error = value.get("error")
        told = dict(error) if isinstance(error, dict) else {"message": error if isinstance(error, str) else None}
        if kind := text_of(value, "error_type"):
            told["error_type"] = kind
        return [*out, Failed(faults.from_object({"error": told}, self._head))]

    def _finish(self, value: dict[str, Any]) -> list[Event]:
        self.complete = True
        status = text_of(value, "status") or "completed"
        details = value.get("incomplete_details")
        native = status
        reason = "tool_calls" if self._called else "stop"
        if status == "incomplete":
            native = text_of(details, "reason") or status
            reason = _REASONS.get(native, "stop")
        return [Finish(reason, native), *self._count(value)]

    def _count(self, value: dict[str, Any]) -> list[Event]:
        usage = counts(value.get("usage"), value.get("tool_usage"), self._searched)
        if usage is None or usage == self._usage:
            return []
        self._usage = usage
        return [Counted(usage)]

    def _output(self, value: dict[str, Any], native: bool) -> list[Event]:
        """Items of a whole answer that were not heard of already; `native`: with those that only this dialect has."""
        out: list[Event] = []
        for place, item in enumerate(dicts(value.get("output"))):
            known = self._items.get(place)
            if known is not None and known.done:
                continue
            if known is None:
                out += self._announced(place, item)
            out += self._done(place, item)
            if native and text_of(item, "type") not in _CANONICAL:
                out.append(Delta(native=Native(NAME, "item", codec.encode(item), content=True)))
        return out

    def _placed(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """The event of a provider that numbers neither items nor parts, with the numbers that the API wants."""
        item = value.get("item")
        name = text_of(item, "id") or text_of(value, "item_id") or ""
        known = len(self._items)
        if kind == "response.output_item.added":
            self._places[name] = known
        out = {**value, "output_index": self._places.get(name, max(known - 1, 0))}
        part = _PARTS.get(kind.removeprefix("response.").rpartition(".")[0])
        if part is not None:
            out.setdefault(part, 0)
        return out

    # --- items --------------------------------------------------------------------------------------------------------

    def _said(self, kind: str, value: dict[str, Any]) -> tuple[list[Delta], bool]:
        """(what an event says of an item, whether the caller sees something in it that this does not say)."""
        place = _number(value, "output_index")
        if kind == "response.output_item.added":
            item = value.get("item")
            if not isinstance(item, dict):
                return [], False
            return self._announced(place, item), text_of(item, "type") not in _CANONICAL
        if kind == "response.output_item.done":
            item = value.get("item")
            if not isinstance(item, dict):
                return [], False
            first = [] if place in self._items else self._announced(place, item)
            return [*first, *self._done(place, item)], text_of(item, "type") not in _CANONICAL
        if kind in _PIECES:
            channel, numbered = _PIECES[kind]
            text, found = value.get("delta"), self._item(place, channel, value)
            if not isinstance(text, str) or not text:
                return [], False
            return [found.piece(channel, _number(value, numbered), text, value.get("logprobs"))], False
        if kind in _WHOLES:
            channel, numbered, member = _WHOLES[kind]
            self.open_text = None
            found = self._item(place, channel, value)
            return found.rest(channel, _number(value, numbered), value.get(member)), False
        if kind == "response.output_text.annotation.added":
            found = self._item(place, "text", value)
            return found.note(_number(value, "content_index"), value.get("annotation")), False
        if kind == "response.content_part.added":
            name, part = text_of(value, "item_id"), value.get("part")
            if name is not None and isinstance(part, dict) and part.get("type") == "output_text":
                self._item(place, "text", value)
                self.open_text = (name, place, _number(value, "content_index"))
        elif kind == "response.content_part.done":
            self.open_text = None
        return [], False

    def _item(self, place: int, channel: str, value: dict[str, Any]) -> Item:
        """The item that a piece belongs to; one that was never announced is made up."""
        if place not in self._items:
            kinds = {"thought": "reasoning", "summary": "reasoning", "arguments": "function_call"}
            kind = "custom_tool_call" if channel == "input" else kinds.get(channel, "message")
            self._announced(place, {"type": kind, "id": value.get("item_id")})
        return self._items[place]

    def _announced(self, place: int, item: dict[str, Any]) -> list[Delta]:
        kind = text_of(item, "type") or "message"
        call = None
        if kind in RESUMED:
            call = self._called
            self._called += 1
        self.open_text = None
        made = Item(kind, text_of(item, "id"), call, text_of(item, "format") or self._format, self._numbers)
        self._items[place] = made
        if call is None:
            return made.begin(item, "")
        return made.begin(item, text_of(item, "call_id") or text_of(item, "id") or self._mint.next("call"))

    def _done(self, place: int, item: dict[str, Any]) -> list[Delta]:
        known = self._items[place]
        self.open_text = None
        if item.get("type") == "web_search_call" and not known.done:
            action = item.get("action")
            kind = action.get("type") if isinstance(action, dict) else None
            self._searched += kind in (None, "search")
        return known.end(item)


def _number(value: dict[str, Any], name: str) -> int:
    found = value.get(name) if name else 0
    return found if isinstance(found, int) and 0 <= found < 65536 else 0

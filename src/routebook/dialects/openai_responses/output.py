"""The output of an answer that another dialect gave, item by item: what streams as events and what the whole has in it.

One item of reasoning or of words is open at a time; calls stay open until the answer ends, because providers may send
their pieces in turns. Texts are kept in their JSON escapes, as they came, and are never unescaped.
Events and their order: inference API, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from routebook.core.events import Delta, Plain, ToolDelta
from routebook.core.ids import Mint
from routebook.dialects.openai_responses.parts import bare, flat
from routebook.dialects.openai_responses.sealed import grow, sealed
from routebook.dialects.openai_responses.tools import INPUT, Made
from routebook.wire import codec

Emit = Callable[[str, dict[str, Any]], None]
"""Writes one event: its name and its members."""


def quoted(pieces: list[bytes]) -> codec.Raw:
    """A text of pieces in JSON escapes as a JSON string."""
    return codec.Raw(b'"' + b"".join(pieces) + b'"')


def escaped(text: str) -> bytes:
    """A text in JSON escapes, without its quotes."""
    return codec.encode(text)[1:-1]


class _Part(msgspec.Struct, eq=False):
    """One part of an item under way: a text of the answer, a refusal, a thought or a summary."""

    kind: str
    index: int
    block: Any = None
    """the hub's number of the thought it is, where it is one"""
    pieces: list[bytes] = []
    annotations: list[dict[str, Any]] = []
    logprobs: list[Any] = []

    def written(self) -> dict[str, Any]:
        text = quoted(self.pieces)
        if self.kind == "output_text":
            return {"type": self.kind, "text": text, "annotations": self.annotations, "logprobs": self.logprobs}
        return {"type": self.kind, "refusal" if self.kind == "refusal" else "text": text}


class _Open(msgspec.Struct, eq=False):
    """The item of reasoning or words that is under way; `part` is the last of its `parts`, if that is open still."""

    item: dict[str, Any]
    place: int
    key: Any = None
    part: _Part | None = None
    content: list[_Part] = []
    summary: list[_Part] = []
    details: list[dict[str, Any]] = []
    """what the hub said of a reasoning item, if it is to be sealed"""


class _Call(msgspec.Struct, eq=False):
    """A call under way. `free`: its arguments are a text in a function's clothes."""

    item: dict[str, Any]
    place: int
    member: str
    free: bool
    pieces: list[str] = []


_DELTAS = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning_text": "response.reasoning_text",
    "summary_text": "response.reasoning_summary_text",
}


class Output:
    """Grows by `delta` and `plain`; `close` ends what is open."""

    def __init__(
        self, mint: Mint, emit: Emit, made: Callable[[], Mapping[str, Made]], exclude: bool, seals: bool = False
    ) -> None:
        """`exclude`: reasoning is not shown; `seals`: the caller hands sealed reasoning back."""
        self._mint = mint
        self._emit = emit
        self._made = made
        self._exclude = exclude
        self._seals = seals
        self._items: dict[int, dict[str, Any]] = {}
        self._places = 0
        self._open: _Open | None = None
        self._calls: dict[int, _Call] = {}
        self.refused = False

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items that are done, in order."""
        return [item for _, item in sorted(self._items.items())]

    def text(self) -> codec.Raw:
        """All words of the answer."""
        pieces: list[bytes] = []
        for item in self.items:
            for part in item.get("content", ()) if item["type"] == "message" else ():
                if part["type"] == "output_text":
                    pieces.append(bytes(part["text"])[1:-1])
        return quoted(pieces)

    def delta(self, event: Delta) -> None:
        """One more piece of the answer."""
        native = event.native
        own = native is not None and native.dialect == "openai_responses"
        if own and native is not None and native.content and native.kind in ("item", "response.output_item.done"):
            self._verbatim(codec.decode_exact(native.data), native.kind)
        if not self._exclude:
            self._reasoning(event)
        if event.text:
            self._text_part("output_text", [escaped(event.text)], bare(event.logprobs))
        if event.annotations:
            self._annotate(event.annotations)
        if event.refusal:
            self.refused = True
            self._text_part("refusal", [escaped(event.refusal)], [])
        for image in event.images or ():
            self._image(image)
        for piece in event.tool_calls or ():
            self._call(piece)

    def plain(self, event: Plain) -> None:
        """A run of text in its escapes."""
        for piece in event.texts:
            self._text_part("output_text", [piece], [])

    def open_text(self) -> tuple[str, int, int] | None:
        """(item, its place, part) of the words that are under way."""
        opened = self._open
        if opened is None or opened.part is None or opened.part.kind != "output_text":
            return None
        return opened.item["id"], opened.place, opened.part.index

    def keep(self, pieces: list[bytes]) -> None:
        """Pieces of the words under way whose events somebody else wrote."""
        assert self._open is not None
        assert self._open.part is not None
        self._open.part.pieces += pieces

    def close(self, status: str) -> None:
        """The answer is over; what is open ends with this status, `completed` or `incomplete`."""
        self._close_open(status)
        for _, call in sorted(self._calls.items()):
            self._close_call(call, status)
        self._calls.clear()

    # --- words and thoughts -------------------------------------------------------------------------------------------

    def _begin(self, prefix: str, key: Any, item: dict[str, Any], id: str | None = None) -> _Open:
        self._close_open("completed")
        made = {"id": id or self._mint.next(prefix), **item}
        opened = self._open = _Open(made, self._place(), key)
        self._added(opened.place, {**made})
        return opened

    def _text_part(self, kind: str, pieces: list[bytes], logprobs: list[Any]) -> None:
        opened = self._open
        if opened is None or opened.item["type"] != "message":
            message = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
            opened = self._begin("msg", None, message)
        part = opened.part
        if part is None or part.kind != kind:
            self._close_part(opened)
            part = self._begin_part(opened, kind, opened.content)
        part.pieces += pieces
        part.logprobs += logprobs
        self._piece(opened, part, pieces, logprobs)

    def _piece(self, opened: _Open, part: _Part, pieces: list[bytes], logprobs: list[Any] | None = None) -> None:
        where = self._where(opened, part)
        if part.kind == "output_text":
            where["logprobs"] = logprobs or []
        self._emit(f"{_DELTAS[part.kind]}.delta", {**where, "delta": quoted(pieces)})

    def _begin_part(self, opened: _Open, kind: str, among: list[_Part], block: Any = None) -> _Part:
        part = opened.part = _Part(kind, len(among), block)
        among.append(part)
        name = "response.reasoning_summary_part.added" if kind == "summary_text" else "response.content_part.added"
        self._emit(name, {**self._where(opened, part), "part": part.written()})
        return part

    def _close_part(self, opened: _Open) -> None:
        part, opened.part = opened.part, None
        if part is None:
            return
        where, text = self._where(opened, part), quoted(part.pieces)
        name = "refusal" if part.kind == "refusal" else "text"
        more = {"logprobs": part.logprobs} if part.kind == "output_text" else {}
        self._emit(f"{_DELTAS[part.kind]}.done", {**where, name: text, **more})
        done = "response.reasoning_summary_part.done" if part.kind == "summary_text" else "response.content_part.done"
        self._emit(done, {**where, "part": part.written()})

    def _close_open(self, status: str) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        self._close_part(opened)
        item = opened.item
        if item["type"] == "message":
            item["status"] = status
            item["content"] = [part.written() for part in opened.content]
        else:
            item["summary"] = [part.written() for part in opened.summary]
            if opened.content:
                item["content"] = [part.written() for part in opened.content]
            if self._seals and (data := sealed(opened.details)) is not None:
                item["encrypted_content"] = data
        self._done(opened.place, item)

    def _annotate(self, notes: list[dict[str, Any]]) -> None:
        opened = self._open
        if opened is None or opened.part is None or opened.part.kind != "output_text":
            self._text_part("output_text", [], [])
            opened = self._open
        assert opened is not None
        part = opened.part
        assert part is not None
        for note in notes:
            one = flat(note)
            where = {**self._where(opened, part), "annotation_index": len(part.annotations), "annotation": one}
            part.annotations.append(one)
            self._emit("response.output_text.annotation.added", where)

    def _reasoning(self, event: Delta) -> None:
        details = event.reasoning_details
        if details is None and event.reasoning:
            details = [{"type": "reasoning.text", "text": event.reasoning, "format": "unknown"}]
        for detail in details or ():
            self._thought(detail)

    def _thought(self, detail: dict[str, Any]) -> None:
        """One detail: a piece of a thought or of its summary, or a seal."""
        kind, form = detail.get("type"), detail.get("format")
        named = detail.get("id")
        key = ("id", named) if isinstance(named, str) and named else (form, detail.get("index"))
        opened = self._open
        if opened is None or opened.item["type"] != "reasoning" or opened.key != key:
            item: dict[str, Any] = {"type": "reasoning", "summary": []}
            if isinstance(form, str):
                item["format"] = form
            opened = self._begin("rs", key, item, named if isinstance(named, str) and named else None)
        text = detail.get("summary") if kind == "reasoning.summary" else detail.get("text")
        if isinstance(text, str) and text:
            wanted, among = ("reasoning_text", opened.content)
            if kind == "reasoning.summary":
                wanted, among = ("summary_text", opened.summary)
            part = opened.part
            if part is None or part.kind != wanted or part.block != detail.get("index"):
                self._close_part(opened)
                part = self._begin_part(opened, wanted, among, detail.get("index"))
            pieces = [escaped(text)]
            part.pieces += pieces
            self._piece(opened, part, pieces)
        if isinstance(signature := detail.get("signature"), str) and signature:
            opened.item["signature"] = signature
        if isinstance(data := detail.get("data"), str) and data:
            opened.item["encrypted_content"] = data
        if self._seals:
            grow(opened.details, detail)

    # --- calls and pictures -------------------------------------------------------------------------------------------

    def _call(self, piece: ToolDelta) -> None:
        call = self._calls.get(piece.index)
        if call is None:
            call = self._begin_call(piece)
        if not piece.arguments:
            return
        call.pieces.append(piece.arguments)
        if not call.free:
            self._emit(f"{_CALL_EVENTS[call.member]}.delta", self._of_call(call, delta=piece.arguments))

    def _begin_call(self, piece: ToolDelta) -> _Call:
        self._close_open("completed")
        name = piece.name or ""
        made = self._made().get(name)
        custom = piece.type == "custom" or (made is not None and made.custom)
        member = "input" if custom else "arguments"
        item: dict[str, Any] = {
            "id": self._mint.next("ctc" if custom else "fc"),
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": piece.id or self._mint.next("call"),
            "name": name,
            member: "",
            "status": "in_progress",
        }
        if made is not None and made.namespace is not None:
            item["namespace"] = made.namespace
        call = self._calls[piece.index] = _Call(item, self._place(), member, custom and piece.type != "custom")
        self._added(call.place, {**item})
        return call

    def _close_call(self, call: _Call, status: str) -> None:
        said = "".join(call.pieces)
        if call.free:
            said = _freed(said)
            if said:
                self._emit(f"{_CALL_EVENTS[call.member]}.delta", self._of_call(call, delta=said))
        named = {} if call.member == "input" else {"name": call.item["name"]}
        self._emit(f"{_CALL_EVENTS[call.member]}.done", self._of_call(call, **named, **{call.member: said}))
        call.item[call.member] = said
        call.item["status"] = status
        self._done(call.place, call.item)

    def _image(self, image: dict[str, Any]) -> None:
        self._close_open("completed")
        inner = image.get("image_url")
        url = inner.get("url") if isinstance(inner, dict) else inner
        result = str(url or "")
        if result.startswith("data:"):
            result = result.partition(",")[2]
        place = self._place()
        item = {"id": self._mint.next("ig"), "type": "image_generation_call", "status": "in_progress", "result": None}
        self._added(place, item)
        self._done(place, {**item, "status": "completed", "result": result})

    def _verbatim(self, value: dict[str, Any], kind: str) -> None:
        """An item that only this dialect has."""
        item = value if kind == "item" else value.get("item")
        if isinstance(item, dict):
            self._close_open("completed")
            place = self._place()
            self._added(place, item)
            self._done(place, item)

    # --- events -------------------------------------------------------------------------------------------------------

    def _place(self) -> int:
        self._places += 1
        return self._places - 1

    def _added(self, place: int, item: dict[str, Any]) -> None:
        self._emit("response.output_item.added", {"output_index": place, "item": item})

    def _done(self, place: int, item: dict[str, Any]) -> None:
        self._items[place] = item
        self._emit("response.output_item.done", {"output_index": place, "item": item})

    def _where(self, opened: _Open, part: _Part) -> dict[str, Any]:
        name = "summary_index" if part.kind == "summary_text" else "content_index"
        return {"item_id": opened.item["id"], "output_index": opened.place, name: part.index}

    def _of_call(self, call: _Call, **members: Any) -> dict[str, Any]:
        return {"item_id": call.item["id"], "output_index": call.place, **members}


_CALL_EVENTS = {"arguments": "response.function_call_arguments", "input": "response.custom_tool_call_input"}


def _freed(arguments: str) -> str:
    """The text of a call whose function stands for a custom tool; what the model wrote, where it is not that."""
    try:
        value = codec.decode(arguments)
    except codec.DecodeError:
        return arguments
    found = value.get(INPUT) if isinstance(value, dict) else None
    return found if isinstance(found, str) else arguments

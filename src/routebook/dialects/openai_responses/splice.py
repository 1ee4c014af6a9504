"""The fast lane: an answer of a provider of this dialect for a caller of this dialect, event by event as it came.

Written anew are only the events that hold the whole response (id, model, usage and what the caller said are ours), and
the place number of an event where the provider counts otherwise than we do. Pieces of text come without the padding
that some providers put beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from routebook.core.events import Native
from routebook.dialects.openai_responses.envelope import OURS
from routebook.wire import codec

_BEGINS = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS = frozenset({"response.completed", "response.incomplete"})


class _WithResponse(msgspec.Struct):
    response: dict[str, msgspec.Raw]


class _Part(msgspec.Struct):
    item_id: str
    output_index: int = 0
    content_index: int = 0


class _Item(msgspec.Struct):
    item: msgspec.Raw
    output_index: int = 0


class _Content(msgspec.Struct):
    type: str = ""
    text: msgspec.Raw = msgspec.Raw(b'""')


class _Output(msgspec.Struct):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


_with_response = codec.decoder(_WithResponse)
_part = codec.decoder(_Part)
_item = codec.decoder(_Item)
_members = codec.decoder(dict[str, msgspec.Raw])
_output = codec.decoder(list[_Output])
_content = codec.decoder(list[_Content])


class Splice:
    """Grows by `add`. `write` takes a frame's JSON as it is, `emit` an event to be written."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        emit: Callable[[str, dict[str, Any]], None],
        number: Callable[[], int],
        whole: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        self._write = write
        self._emit = emit
        self._number = number
        self._whole = whole
        self._items: dict[int, msgspec.Raw] = {}
        self._last: Native | None = None
        self.open_text: tuple[str, int, int] | None = None
        """(item, its place, part) of the text that comes at the moment"""

    def add(self, native: Native) -> None:
        """The next event of the provider."""
        kind = native.kind
        if not kind or kind in _ENDS:
            self._last = native
            return
        if kind == "item":
            return  # it stands in the whole, too
        if kind in _BEGINS:
            found = _with_response(native.data).response
            self._emit(kind, {"response": self._whole(_theirs(found))})
            return
        if kind == "response.content_part.added":
            try:
                part = _part(native.data)
            except codec.BAD:
                self.open_text = None
            else:
                self.open_text = (part.item_id, part.output_index, part.content_index)
        elif kind == "response.output_item.done":
            try:
                item = _item(native.data)
            except codec.BAD:
                pass
            else:
                self._items[item.output_index] = item.item
        if native.number == self._number() and b"\n" not in native.data:
            self._write(native.data)
        else:
            members: dict[str, Any] = {**_members(native.data)}
            members.pop("type", None)
            members.pop("sequence_number", None)
            self._emit(kind, members)

    @property
    def status(self) -> str:
        """How the answer ended: completed or incomplete."""
        last = self._last
        if last is None or last.kind == "response.completed":
            return "completed"
        if last.kind == "response.incomplete":
            return "incomplete"
        said = bytes(_members(last.data).get("status", b""))
        return "incomplete" if said == b'"incomplete"' else "completed"

    def members(self) -> dict[str, Any]:
        """What the provider said of the answer as a whole, with its output; the gateway's own members are left out."""
        last = self._last
        found: dict[str, Any] = {}
        if last is not None:
            found = _theirs(_members(last.data) if not last.kind else _with_response(last.data).response)
        if bytes(found.get("output", b"[]")).translate(None, b" \t\r\n") in (b"[]", b"null"):
            found["output"] = [item for _, item in sorted(self._items.items())]
        found["output_text"] = _text(found["output"])
        return found


def _theirs(response: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in OURS}


def _text(output: Any) -> msgspec.Raw:
    """All words of the output, in the provider's escapes."""
    pieces: list[bytes] = []
    try:
        for item in _output(bytes(output) if isinstance(output, msgspec.Raw) else codec.encode(output)):
            if item.type == "message" and bytes(item.content) != b"null":
                for part in _content(bytes(item.content)):
                    if part.type == "output_text" and bytes(part.text)[:1] == b'"':
                        pieces.append(bytes(part.text)[1:-1])
    except codec.BAD:
        return msgspec.Raw(b'""')
    return msgspec.Raw(b'"' + b"".join(pieces) + b'"')

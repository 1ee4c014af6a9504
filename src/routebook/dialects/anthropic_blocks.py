"""Anthropic Messages, an answer for callers: canonical deltas as content blocks, one after the other.

Part of the dialect in `anthropic.py`. `Blocks` gives steps (a block starts, grows, stops); a stream writes each of
them, a whole message applies them. Reasoning of other providers keeps what they need of it (`sealing`). Sources, read
2026-11: platform.claude.com "Streaming messages", "Extended thinking", "Citations"; inference API, sections 4b and 17.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from routebook.core.events import Delta, ToolDelta
from routebook.dialects.anthropic_fold import FORMAT
from routebook.dialects.sealing import seal
from routebook.wire import codec


class Step(NamedTuple):
    """One step of an answer: `start` has the block as it begins, `delta` what it grows by."""

    kind: Literal["start", "delta", "stop"]
    place: int
    """of the block among all of the message"""
    value: dict[str, Any]


class Blocks:
    """One block is open at a time, because that is what callers of this dialect are promised.

    Pieces of parallel tool calls may come mixed: those of a later call wait until the arguments of the open one are
    complete, at the latest until the answer's end.
    """

    def __init__(self, seed: str, exclude: bool) -> None:
        """`seed`: ids of tool calls whose provider gave none derive from it; `exclude`: reasoning is not shown."""
        self._seed = seed
        self._exclude = exclude
        self._next = 0
        self._kind: str | None = None
        self._key: Any = None
        """which reasoning detail, or which tool call, the open block is of"""
        self._detail: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._checked = 0
        self._waiting: list[Delta] = []
        self._begun: set[int] = set()
        """tool calls by their places"""

    @property
    def calls(self) -> int:
        """tool calls begun"""
        return len(self._begun)

    @property
    def index(self) -> int:
        """of the block that is open, or was last"""
        return self._next - 1

    @property
    def in_text(self) -> bool:
        """A text block is open and nothing waits: text may be written as it comes."""
        return self._kind == "text"

    def feed(self, delta: Delta) -> list[Step]:
        """What one delta does."""
        if self._kind != "tool_use":
            return self._feed(delta)
        steps: list[Step] = []
        others = []
        for piece in delta.tool_calls or ():
            if piece.index == self._key:
                steps += self._called(piece)
            elif piece.index not in self._begun:
                others.append(piece)
        rest = replace(delta, tool_calls=others or None)
        if not (rest.content or rest.annotations):
            return steps
        if not self._complete():
            self._waiting.append(rest)
            return steps
        return [*steps, *self._release(), *self._feed(rest)]

    def end(self) -> list[Step]:
        """The answer has ended: what waited, and the end of the last block."""
        steps = self._release()
        while self._waiting:
            steps += self._release()
        return [*steps, *self._close()]

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _feed(self, delta: Delta) -> list[Step]:
        steps: list[Step] = []
        if delta.reasoning_details:
            for detail in delta.reasoning_details:
                steps += self._reasoned(detail)
        elif delta.reasoning:
            steps += self._reasoned({"type": "reasoning.text", "text": delta.reasoning})
        for text in (delta.text, delta.refusal, (delta.audio or {}).get("transcript")):
            if isinstance(text, str) and text:
                steps += self._said(text)
        for image in delta.images or ():
            steps += self._shown(image)
        for note in delta.annotations or ():
            steps += self._cited(note)
        calls = list(delta.tool_calls or ())
        while calls:
            if self._kind == "tool_use" and calls[0].index != self._key and not self._complete():
                self._waiting.append(Delta(tool_calls=calls))
                break
            steps += self._called(calls.pop(0))
        return steps

    def _complete(self) -> bool:
        """Whether the arguments of the open call are one JSON value; looked at only where more has come."""
        if len(self._arguments) == self._checked:
            return False
        self._checked = len(self._arguments)
        try:
            codec.decode("".join(self._arguments))
        except codec.DecodeError:
            return False
        return True

    def _release(self) -> list[Step]:
        """Close the open call and go on with what waited for that."""
        steps = self._close()
        waiting, self._waiting = self._waiting, []
        # Of several calls that came mixed each gets its pieces together.
        pieces: dict[int, list[ToolDelta]] = {}
        for delta in waiting:
            for piece in delta.tool_calls or ():
                pieces.setdefault(piece.index, []).append(piece)
            steps += self._feed(replace(delta, tool_calls=None))
        for index in list(pieces)[:1]:
            for piece in pieces.pop(index):
                steps += self._called(piece)
        if pieces:
            self._waiting = [Delta(tool_calls=[piece]) for index in pieces for piece in pieces[index]]
        return steps

    def _open(self, kind: str, key: Any, block: dict[str, Any]) -> list[Step]:
        steps = self._close()
        self._kind, self._key, self._detail = kind, key, {}
        self._arguments, self._checked = [], 0
        self._next += 1
        return [*steps, Step("start", self.index, block)]

    def _close(self) -> list[Step]:
        if self._kind is None:
            return []
        steps: list[Step] = []
        if self._kind == "thinking" and (signature := self._signature()):
            steps.append(self._delta({"type": "signature_delta", "signature": signature}))
        self._kind = None
        return [*steps, Step("stop", self.index, {})]

    def _delta(self, value: dict[str, Any]) -> Step:
        return Step("delta", self.index, value)

    # --- kinds of content ---------------------------------------------------------------------------------------------

    def _said(self, text: str) -> list[Step]:
        steps = self._in_text()
        return [*steps, self._delta({"type": "text_delta", "text": text})]

    def _in_text(self) -> list[Step]:
        """What it takes for a text block to be open."""
        if self._kind == "text":
            return []
        return self._open("text", None, {"type": "text", "text": "", "citations": None})

    def _reasoned(self, detail: dict[str, Any]) -> list[Step]:
        kind = detail.get("type")
        if kind in ("reasoning.text", "reasoning.summary"):
            return self._thought(detail, "text" if kind == "reasoning.text" else "summary")
        own = detail.get("format") == FORMAT and isinstance(detail.get("data"), str)
        data = detail["data"] if own else seal(detail)
        return [*self._open("redacted_thinking", None, {"type": "redacted_thinking", "data": data}), *self._close()]

    def _thought(self, detail: dict[str, Any], member: str) -> list[Step]:
        """A piece of readable reasoning; of one block all pieces have the same type and index."""
        key = (member, detail.get("index"))
        steps: list[Step] = []
        if self._kind != "thinking" or self._key != key:
            steps = self._open("thinking", key, {"type": "thinking", "thinking": "", "signature": ""})
        known = {name: value for name, value in detail.items() if name != member and value is not None}
        before = self._detail.get(member)
        self._detail |= known
        text = detail.get(member)
        if isinstance(text, str) and text:
            if not self._exclude:
                steps.append(self._delta({"type": "thinking_delta", "thinking": text}))
            elif detail.get("format") != FORMAT:  # what is not shown has to come back all the same
                self._detail[member] = (before or "") + text
        return steps

    def _signature(self) -> str:
        """Of the thinking block that is open: Anthropic's own, or all that another provider will want to see again."""
        detail = self._detail
        signature = detail.get("signature")
        if detail.get("format") == FORMAT:
            return signature if isinstance(signature, str) else ""
        plain = detail.get("type") == "reasoning.text" and detail.get("format") in (None, "unknown")
        if plain and not (signature or detail.get("id") or detail.get("text")):
            return ""  # all there is of it is shown
        return seal(detail)

    def _called(self, piece: ToolDelta) -> list[Step]:
        steps: list[Step] = []
        if self._kind != "tool_use" or self._key != piece.index:
            identity = piece.id or f"toolu_{self._seed}_{piece.index}"
            block: dict[str, Any] = {"type": "tool_use", "id": identity, "name": piece.name or "", "input": {}}
            steps = self._open("tool_use", piece.index, {**block, "caller": {"type": "direct"}})
            self._begun.add(piece.index)
        if piece.arguments:
            self._arguments.append(piece.arguments)
            steps.append(self._delta({"type": "input_json_delta", "partial_json": piece.arguments}))
        return steps

    def _shown(self, image: dict[str, Any]) -> list[Step]:
        """A picture that the model made; Anthropic's models make none, so it is said as callers say theirs."""
        found = image.get("image_url")
        url = found.get("url") if isinstance(found, dict) else None
        if not isinstance(url, str):
            return []
        source: dict[str, Any] = {"type": "url", "url": url}
        if url[:5].lower() == "data:":
            head, _, data = url[5:].partition(",")
            source = {"type": "base64", "media_type": head.partition(";")[0] or "image/png", "data": data}
        return [*self._open("image", None, {"type": "image", "source": source}), *self._close()]

    def _cited(self, note: dict[str, Any]) -> list[Step]:
        """A citation belongs to the text that is open; Anthropic's place in the text is that it stands there."""
        cited = note.get("url_citation")
        if not isinstance(cited, dict) or not isinstance(cited.get("url"), str):
            return []
        steps = self._in_text()
        citation = {
            "type": "web_search_result_location",
            "url": cited["url"],
            "title": cited.get("title") if isinstance(cited.get("title"), str) else None,
            "cited_text": cited.get("content") if isinstance(cited.get("content"), str) else "",
            "encrypted_index": "",
        }
        return [*steps, self._delta({"type": "citations_delta", "citation": citation})]


def grown(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Apply one delta to a block that is being put together. Arguments of tools are gathered under `partial_json`."""
    kind = delta.get("type")
    if kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]
        return
    for name, value in delta.items():
        if name != "type" and value is not None:
            before = block.get(name)
            block[name] = before + value if isinstance(before, str) and isinstance(value, str) else value


def ended(block: dict[str, Any]) -> dict[str, Any]:
    """A block that is complete: the arguments of a tool as the object that they are."""
    text = block.pop("partial_json", None)
    if isinstance(text, str) and text.strip():
        try:
            given = codec.decode(text)
        except codec.DecodeError:
            given = None
        block["input"] = codec.Raw(text.encode()) if isinstance(given, dict) else {"arguments": text}
    return block

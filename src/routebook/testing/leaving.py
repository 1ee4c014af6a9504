"""What leaves a gateway, as values that a scenario names and a play notes, and the caller's end that notes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from routebook.core.money import plain
from routebook.wire import codec, heads

LINE_MAX = 300
"""characters of one thing that left, where a mismatch shows all of it"""


@dataclass(frozen=True)
class Left:
    """One thing that left. Expected ones name the facts that matter."""

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, wanted: Left) -> bool:
        """True if this is of the wanted kind and has every fact that is wanted."""
        return self.kind == wanted.kind and all(_is(self.facts.get(name), fact) for name, fact in wanted.facts.items())

    def line(self, names: Mapping[str, Any] | None = None) -> str:
        """One line for a person, cut to LINE_MAX; with `names` only these facts, uncut."""
        shown = self.facts if names is None else {name: self.facts.get(name) for name in names}
        line = " ".join([f"<< {self.kind}", *(f"{name}={value!r}" for name, value in shown.items())])
        return line if names is not None or len(line) <= LINE_MAX else line[: LINE_MAX - 1] + "…"


def _is(found: Any, wanted: Any) -> bool:
    return found is not None if wanted is ... else bool(found == wanted)


def row(state: str, **facts: Any) -> Left:
    """A daybook row: intent, progress, amendment or a terminal state. Facts: the record's fields as of that row, those
    under `routebook` included."""
    return Left(f"row {state}", facts)


def asked(provider: str, **facts: Any) -> Left:
    """A request went to that provider. Facts: the members of its JSON body, `path`."""
    return Left(f"asked {provider}", facts)


def closed(provider: str) -> Left:
    """The socket to that provider was closed before its answer had ended."""
    return Left(f"closed {provider}")


def paused(provider: str) -> Left:
    """That provider is read no further."""
    return Left(f"paused {provider}")


def resumed(provider: str) -> Left:
    """That provider is read again."""
    return Left(f"resumed {provider}")


def begun(status: int, **headers: Any) -> Left:
    """Status and headers went to the caller. Facts: headers, `-` written as `_`."""
    return Left(f"begun {status}", headers)


def chunk(**facts: Any) -> Left:
    """One event of a stream. Facts: see `facts_of`."""
    return Left("chunk", facts)


def body(**facts: Any) -> Left:
    """A whole JSON body. Facts: see `facts_of`."""
    return Left("body", facts)


COMMENT = Left("comment")
DONE = Left("[DONE]")
ENDED = Left("ended")
"""The caller's answer is complete."""


def facts_of(value: dict[str, Any]) -> dict[str, Any]:
    """A chat chunk or body, flat: its members; `content`, `reasoning` … of the first choice's delta or message;
    `finish`, `native_finish`; `error` (code), `error_type`, `message`, `metadata`; the usage's counts and `cost`."""
    facts = {name: member for name, member in value.items() if name not in ("choices", "error")}
    error = value.get("error")
    for choice in (value.get("choices") or [])[:1]:
        facts |= choice.get("delta") or choice.get("message") or {}
        facts |= {"finish": choice.get("finish_reason"), "native_finish": choice.get("native_finish_reason")}
        error = error or choice.get("error")
    if error:
        metadata = error.get("metadata") or {}
        facts |= {"error": error["code"], "error_type": metadata.get("error_type"), "message": error["message"]}
        facts["metadata"] = metadata
    facts |= value.get("usage") or {}
    return {name: written(fact) for name, fact in facts.items()}


def written(fact: Any) -> Any:
    """A fact with money as text, so that a scenario can name it digit for digit."""
    if isinstance(fact, Decimal):
        return plain(fact)
    if isinstance(fact, dict):
        return {name: written(member) for name, member in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [written(member) for member in fact]
    return fact


# --- the caller -------------------------------------------------------------------------------------------------------


class Watcher(Protocol):
    """Who wants to know how the caller fares."""

    def gone(self) -> None: ...

    def full(self) -> None: ...

    def drained(self) -> None: ...


class Caller:
    """The caller's end of one answer: notes what comes, in order."""

    def __init__(self, note: Callable[[Left], None]) -> None:
        self._note = note
        self._json = b""
        self._stream = False
        self.watcher: Watcher | None = None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.received = b""
        """all body bytes"""
        self.left = False
        self.ended = False

    def watch(self, watcher: Watcher) -> None:
        self.watcher = watcher
        if self.left:
            watcher.gone()

    def begin(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None = None,
        replayed: bool = False,
        translation: str | None = None,
    ) -> None:
        assert self.status is None, "an answer begins once"
        headers = heads.fields(content_type, id, length, retry_after)
        if replayed:
            headers.append(heads.REPLAYED)
        if translation is not None:
            headers.append((heads.TRANSLATION, translation))
        self.status, self.headers = status, dict(headers)
        if not self.left:
            self._stream = content_type == "text/event-stream"
            self._note(Left(f"begun {status}", {name.replace("-", "_"): text for name, text in headers}))

    def write(self, data: bytes) -> None:
        assert self.status is not None, "bytes before the head"
        assert not self.ended, "bytes after the end"
        if self.left:
            return
        self.received += data
        if not self._stream:
            self._json += data
            return
        for frame in data.split(b"\n\n"):
            self._frame(frame)

    def end(self, data: bytes = b"") -> None:
        assert not self.ended, "an answer ends once"
        if data:
            self.write(data)
        self.ended = True
        if self.left:
            return
        if self._json:
            self._note(Left("body", facts_of(codec.decode_exact(self._json))))
        self._note(ENDED)

    def leave(self) -> None:
        self.left = True
        if self.watcher is not None and not self.ended:
            self.watcher.gone()

    def _frame(self, frame: bytes) -> None:
        if not frame:
            return
        if frame.startswith(b":"):
            self._note(COMMENT)
        elif frame == b"data: [DONE]":
            self._note(DONE)
        else:
            data = frame.partition(b"\ndata: ")[2] if frame.startswith(b"event: ") else frame.removeprefix(b"data: ")
            self._note(Left("chunk", facts_of(codec.decode_exact(data))))

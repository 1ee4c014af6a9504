"""Recorded answers of real providers, read three ways, and what is compared of them.

The recordings lie beside the repository (`../shared/exchanges`) and are no part of it: `exchanges()` skips the test
where they are absent. Each test file brings its own oracle, which works out the expected `Facts` from the recorded
JSON with the stdlib alone; `tally` keeps the figures that the end of the run prints.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.core.errors import Fault, UpstreamFault
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects.base import Upstream
from routebook.wire.http import HttpHead
from tests.dialects.plainest import plainest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT.parent / "shared" / "exchanges"
EXCEPTIONS = Path(__file__).with_name("exceptions.toml")

STREAM_JUNK = b"\n\ndata: {not json at all\n\nevent: nonsense\ndata: 7\n\n: bye\n\x00\xff tail"
UNARY_JUNK = b"\n\n \x00 } tail {"


@dataclass(frozen=True)
class Exchange:
    """One recorded answer; `body` is what the wire would have carried."""

    name: str
    provider: str
    api: str
    stream: bool
    request: Any
    """the request's JSON body, None where it was not recorded"""
    path: str | None
    status: int
    headers: dict[str, str]
    content_type: str
    body: bytes
    text: str
    """the recorded text as it was stored, for oracles"""
    chunks: bool
    """True where the recording holds one event's JSON a line, which `body` frames again"""

    @property
    def head(self) -> HttpHead:
        return HttpHead(self.status, {**self.headers, "content-type": self.content_type})

    def objects(self) -> list[Any]:
        """Every JSON value of the answer in order, by the stdlib; numbers with a fraction as Decimal."""
        from decimal import Decimal

        def load(text: str) -> Any:
            return json.loads(text, parse_float=Decimal)

        if self.chunks:
            return [load(line) for line in self.text.splitlines() if line.strip()]
        if self.content_type == "text/event-stream":
            lines = self.text.replace("\r\n", "\n").split("\n")
            found = (line[5:].strip() for line in lines if line.startswith("data:"))
            return [load(text) for text in found if text and text != "[DONE]"]
        return [load(self.text)]


@dataclass(frozen=True)
class Facts:
    """What one answer says, in the order the project cares about. Choice 0 only."""

    upstream_id: str | None = None
    model: str | None = None
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[tuple[str, Any]] = field(default_factory=list)
    """(name, arguments parsed; the text itself where it is not JSON)"""
    finish: str | None = None
    native: str | None = None
    usage: Usage | None = None
    images: int = 0
    annotations: int = 0
    service_tier: str | None = None
    failed: Fault | None = field(default=None, compare=False)


def exchanges(name: str) -> list[Exchange]:
    """All recordings of `<name>.jsonl`. Skips the calling test (or module) where the folder is absent."""
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(
            f"recorded exchanges are absent: {path.name} is looked for in ../shared/exchanges", allow_module_level=True
        )
    with path.open(encoding="utf-8") as lines:
        return [_exchange(json.loads(line)) for line in lines if line.strip()]


def _exchange(row: dict[str, Any]) -> Exchange:
    response = row["response"]
    kind = response["content_type"] or ""
    text = response.get("text") or ""
    chunks = kind == "text/x-chunks"
    if response.get("base64"):
        body = base64.b64decode(response["base64"])
    elif chunks:
        body = _framed(text, row["api"])
    else:
        body = text.encode()
    request = row.get("request") or {}
    return Exchange(
        name=row["name"],
        provider=row["provider"],
        api=row["api"],
        stream=bool(row["stream"]),
        request=request.get("body"),
        path=request.get("path"),
        status=response["status"],
        headers={name.lower(): value for name, value in (response.get("headers") or {}).items()},
        content_type="text/event-stream" if chunks else kind.partition(";")[0].strip().lower(),
        body=body,
        text=text,
        chunks=chunks,
    )


def _framed(text: str, api: str) -> bytes:
    """One event's JSON a line, framed as its provider frames it."""
    out: list[bytes] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        if api in ("messages", "responses"):
            kind = re.search(r'"type":\s*"([^"]*)"', line)  # not every recorded line is JSON
            out.append(f"event: {kind[1] if kind else 'message'}\n".encode())
        out.append(b"data: " + line.encode() + b"\n\n")
    if api == "chat":
        out.append(b"data: [DONE]\n\n")
    return b"".join(out)


def read(upstream: Upstream, head: HttpHead, pieces: Iterable[bytes]) -> list[Event]:
    """The events of an answer that arrives in these pieces."""
    reader = upstream.reader(head, Mint(1_790_000_000, "gen-test"))
    out: list[Event] = []
    for piece in pieces:
        out += reader.feed(piece)
    out += reader.end()
    return plainest(out)


def facts(events: Iterable[Event]) -> Facts:
    """Fold events into what they say of choice 0."""
    out = Facts()
    calls: dict[int, list[str]] = {}
    for event in events:
        match event:
            case Start():
                out = replace(
                    out,
                    upstream_id=event.upstream_id or out.upstream_id,
                    model=event.model or out.model,
                    service_tier=event.service_tier or out.service_tier,
                )
            case Delta(index=0):
                out = replace(
                    out,
                    text=out.text + (event.text or ""),
                    reasoning=out.reasoning + (event.reasoning or ""),
                    refusal=out.refusal + (event.refusal or ""),
                    images=out.images + len(event.images or ()),
                    annotations=out.annotations + len(event.annotations or ()),
                )
                for piece in event.tool_calls or ():
                    call = calls.setdefault(piece.index, ["", ""])
                    call[0] = call[0] or piece.name or ""
                    call[1] += piece.arguments
            case Finish(index=0):
                out = replace(out, finish=event.reason, native=event.native)
            case Counted():
                out = replace(out, usage=event.usage)
            case Failed():
                out = replace(out, failed=event.fault)
            case _:
                pass
    return replace(out, tool_calls=[(name, parsed(text)) for _, (name, text) in sorted(calls.items())])


def parsed(text: str) -> Any:
    """A tool call's arguments as JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_three_ways(upstream: Upstream, exchange: Exchange) -> Facts:
    """The facts of an answer of status 200; whole, byte by byte and with trailing junk must say the same."""
    assert exchange.status == 200, f"{exchange.name}: status {exchange.status} goes through fault()"
    body = exchange.body
    whole = read(upstream, exchange.head, [body])
    single = read(upstream, exchange.head, [body[at : at + 1] for at in range(len(body))])
    junk = STREAM_JUNK if exchange.content_type == "text/event-stream" else UNARY_JUNK
    trailed = read(upstream, exchange.head, [body, junk])
    assert canonical(single) == canonical(whole), f"{exchange.name}: byte by byte differs"
    assert canonical(trailed) == canonical(whole), f"{exchange.name}: trailing junk changes the answer"
    return facts(whole)


def canonical(events: Iterable[Event]) -> list[Any]:
    """Events as values that compare: a Failed by its fault's kind and message, and of the reports the last, which is
    the one that counts (a run of text keeps only that)."""
    said = list(events)
    reports = [e for e in said if isinstance(e, Counted)][-1:]
    others = [e for e in said if not isinstance(e, Counted)]
    return [(type(e.fault).__name__, e.fault.message) if isinstance(e, Failed) else e for e in [*others, *reports]]


def differences(got: Facts, expected: Facts) -> list[str]:
    """One sentence a fact that is not equal. Usage is compared count by count, its `raw` where the oracle gives one."""
    out: list[str] = []
    for item in fields(Facts):
        mine, theirs = getattr(got, item.name), getattr(expected, item.name)
        if item.name == "failed":
            if (mine is None) != (theirs is None):
                out.append(f"failed: {mine!r}, expected {theirs!r}")
        elif item.name == "usage" and mine is not None and theirs is not None:
            for name in Usage.__struct_fields__:
                one, two = getattr(mine, name), getattr(theirs, name)
                if one != two and not (name == "raw" and two is None):
                    out.append(f"usage.{name}: {one!r}, expected {two!r}")
        elif mine != theirs:
            out.append(f"{item.name}: {mine!r}, expected {theirs!r}")
    return out


def refused(upstream: Upstream, exchange: Exchange) -> UpstreamFault:
    """What an answer of a status other than 200 means."""
    return upstream.fault(exchange.head, exchange.body)


@dataclass
class Tally:
    """Figures of one file of recordings."""

    read: int = 0
    equal: int = 0
    excepted: int = 0


TALLY: dict[str, Tally] = {}
"""file -> figures, printed at the end of the run"""


def tally(name: str, wrong: list[str], excepted: bool = False) -> None:
    """Count one exchange of file `name`: equal where `wrong` is empty."""
    entry = TALLY.setdefault(name, Tally())
    entry.read += 1
    entry.equal += not wrong
    entry.excepted += bool(wrong) and excepted


@cache
def exceptions() -> dict[str, dict[str, str]]:
    """file -> {exchange name: reason}, as exceptions.toml has it: these may differ, all others must be equal."""
    if not EXCEPTIONS.exists():
        return {}
    table: dict[str, dict[str, str]] = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    return table


def check(name: str, exchange: Exchange, wrong: list[str]) -> None:
    """Count the exchange and fail where a fact differs that no named exception covers; an exception that is not
    needed any more fails too."""
    reason = exceptions().get(name, {}).get(exchange.name)
    tally(name, wrong, excepted=reason is not None)
    if reason is None:
        assert not wrong, f"{exchange.name}:\n  " + "\n  ".join(wrong)
    else:
        assert wrong, f"{exchange.name} is equal now: take it out of exceptions.toml"


def shown(usage: Usage | None) -> dict[str, Any]:
    """A usage as a plain dict without its raw member, for messages."""
    return (
        {}
        if usage is None
        else {k: v for k, v in msgspec.structs.asdict(usage).items() if k != "raw" and v is not None}
    )

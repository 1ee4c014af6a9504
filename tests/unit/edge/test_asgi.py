"""The portable edge: what it makes of a server's messages, and what it tells the corridor of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from routebook.core.errors import BadRequest, RequestTimeout, TooLarge
from routebook.dialects import registry
from routebook.edge.asgi import DRAINED_BYTES, FULL_BYTES, AsgiReply, Edge, header_map, read_body
from routebook.testing.upstream import Hang
from routebook.wire import codec
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    OPEN_KEY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    finish,
    raise_stage,
    text,
)

pytestmark = pytest.mark.anyio

PATH = "/api/v1/chat/completions"


class Wire:
    """The server's side of one request: what it gives, and what it is sent."""

    def __init__(self, body: bytes, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + OPEN_KEY.encode())],
            **scope,
        }
        self._incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self.left = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.moved = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        self.sent.append(message)
        self.moved.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is not True and len(self.sent) > 1


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = await raise_stage(tmp_path)
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


async def control(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"control of {scope['path']}")(scope, receive, send)


def edge(stage: Stage) -> Edge:
    return Edge(lambda: stage.app, registry.surfaces(), control)


async def serve(stage: Stage, wire: Wire) -> Wire:
    async with asyncio.timeout(10):
        await edge(stage)(wire.scope, wire.receive, wire.send)
    return wire


async def until(wire: Wire, what: bytes) -> None:
    async with asyncio.timeout(10):
        while what not in wire.body:
            wire.moved.clear()
            await wire.moved.wait()


# --- whole requests ---------------------------------------------------------------------------------------------------


async def test_a_whole_answer_has_a_length_and_the_generation_id(stage: Stage) -> None:
    stage.transport.script(SENT, JSON, answer("Hi", 10, 2), END)
    wire = await serve(stage, Wire(ask("lab/solo", stream=False).body))
    assert (wire.status, wire.ended) == (200, True)
    assert int(wire.headers["content-length"]) == len(wire.body)
    assert codec.decode(wire.body)["id"] == wire.headers["x-generation-id"]


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/chat/completions"])
async def test_a_stream_is_sent_as_it_comes_on_both_bases(stage: Stage, path: str) -> None:
    more = asyncio.Event()
    stage.transport.script(SENT, SSE, text("Hel"), Hang(more), text("lo"), finish(), counted(10, 2), DONE_MARK, END)
    wire = Wire(ask("lab/solo").body, path=path)
    serving = asyncio.ensure_future(serve(stage, wire))
    await until(wire, b"Hel")
    assert b"lo" not in wire.body.replace(b"Hel", b"")[-40:]
    more.set()
    await serving
    assert wire.body.endswith(b"data: [DONE]\n\n")
    assert "content-length" not in wire.headers
    assert wire.headers["x-accel-buffering"] == "no"


async def test_a_request_before_the_corridor_fails_in_the_callers_envelope(stage: Stage) -> None:
    wire = await serve(stage, Wire(b"", headers=[(b"content-length", b"99999999999")]))
    assert wire.status == 413
    assert codec.decode(wire.body)["error"]["metadata"]["error_type"] == "payload_too_large"


@pytest.mark.parametrize("scope", [{"path": "/api/v1/models"}, {"method": "GET"}, {"path": "/"}])
async def test_everything_else_is_the_control_applications(stage: Stage, scope: dict[str, Any]) -> None:
    wire = await serve(stage, Wire(b"", **{"method": "GET", **scope}))
    assert wire.body.startswith(b"control of ")


async def test_a_page_may_read_the_generation_id(stage: Stage) -> None:
    stage.transport.script(SENT, JSON, answer("Hi", 10, 2), END)
    wire = Wire(ask("lab/solo", stream=False).body)
    wire.scope["headers"].append((b"origin", b"https://app.example"))
    await serve(stage, wire)
    assert wire.headers["access-control-allow-origin"] == "*"
    assert "x-generation-id" in wire.headers["access-control-expose-headers"].lower()
    assert stage.record["origin"] == "https://app.example/"


async def test_a_client_who_hangs_up_is_heard_and_the_record_is_written(stage: Stage) -> None:
    stage.transport.script(SENT, SSE, text("Hel"), Hang())
    wire = Wire(ask("lab/solo").body)
    serving = asyncio.ensure_future(serve(stage, wire))
    await until(wire, b"Hel")
    wire.left.set()
    await serving
    assert stage.record["cancelled"] is True
    assert stage.transport.lines[0].closed
    assert not wire.ended


async def test_a_client_who_hangs_up_before_the_body_has_come_leaves_no_trace(stage: Stage) -> None:
    wire = Wire(b"")
    wire._incoming.clear()
    wire.left.set()
    await serve(stage, wire)
    assert wire.sent == []
    assert stage.daybook.rows(0, 10) == []


async def test_a_server_that_cannot_send_any_more_is_a_client_who_left(stage: Stage) -> None:
    stage.transport.script(SENT, SSE, text("Hel"), Hang())
    wire = Wire(ask("lab/solo").body)

    async def broken(message: Message) -> None:
        raise OSError("the connection is gone")

    async with asyncio.timeout(10):
        await edge(stage)(wire.scope, wire.receive, broken)
    assert stage.record["cancelled"] is True


async def test_a_client_who_reads_slowly_pauses_the_provider(stage: Stage) -> None:
    big = "x" * 40_000
    stage.transport.script(SENT, SSE, *[text(big)] * 12, finish(), counted(10, 2), DONE_MARK, END)
    wire = Wire(ask("lab/solo").body)
    wire.reading.clear()
    serving = asyncio.ensure_future(serve(stage, wire))
    await stage.playbook.rest()
    line = stage.transport.lines[0]
    assert line.pauses == 1
    assert line.played < 12
    wire.reading.set()
    await serving
    assert wire.body.count(big.encode()) == 12
    assert wire.body.endswith(b"data: [DONE]\n\n")


# --- the reply --------------------------------------------------------------------------------------------------------


class Watching:
    """Notes what a reply tells of its client."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def gone(self) -> None:
        self.heard.append("gone")

    def full(self) -> None:
        self.heard.append("full")

    def drained(self) -> None:
        self.heard.append("drained")


async def test_a_reply_says_full_once_and_drained_when_little_is_left() -> None:
    reply, watching = AsgiReply(), Watching()
    reply.watch(watching)
    reply.begin(200, "text/event-stream", None, None)
    for _ in range(3):
        reply.write(b"x" * FULL_BYTES)
    assert watching.heard == ["full"]
    reply.end()
    sizes: list[int] = []

    async def send(message: Message) -> None:
        sizes.append(len(message.get("body", b"")))

    await reply.pump(send)
    assert watching.heard == ["full", "drained"]
    assert sum(sizes) == 3 * FULL_BYTES
    assert DRAINED_BYTES < FULL_BYTES


async def test_a_client_who_left_before_anybody_watched_is_still_told() -> None:
    reply, watching = AsgiReply(), Watching()
    reply.lost()
    reply.watch(watching)
    assert watching.heard == ["gone"]


async def test_a_client_who_left_after_the_end_is_nobodys_business() -> None:
    reply, watching = AsgiReply(), Watching()
    reply.watch(watching)
    reply.begin(200, "text/event-stream", None, None)
    reply.end()
    reply.lost()
    assert watching.heard == []


async def test_what_is_written_to_a_client_who_left_goes_nowhere() -> None:
    reply = AsgiReply()
    reply.lost()
    reply.begin(200, "text/event-stream", None, None)
    reply.write(b"x")
    reply.end()

    async def send(message: Message) -> None:
        raise AssertionError("nobody is there")

    async with asyncio.timeout(1):
        await reply.pump(send)


# --- headers and bodies -----------------------------------------------------------------------------------------------


def test_of_a_repeated_header_the_first_counts() -> None:
    headers = header_map([(b"Authorization", b"Bearer one"), (b"authorization", b"Bearer two"), (b"X-T", b"\xe4")])
    assert headers == {"authorization": "Bearer one", "x-t": "ä"}


def incoming(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("never")

    return receive


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_may_come_in_parts() -> None:
    assert await read_body({}, incoming(part(b"ab"), part(b""), part(b"c", more=False)), 3) == b"abc"


async def test_a_body_that_grows_past_the_limit_is_refused_whatever_its_length_said() -> None:
    with pytest.raises(TooLarge):
        await read_body({"content-length": "1"}, incoming(part(b"ab"), part(b"cd")), 3)


@pytest.mark.parametrize("length", ["4", "9" * 5000])
async def test_a_body_that_says_it_is_too_large_is_not_read(length: str) -> None:
    with pytest.raises(TooLarge):
        await read_body({"content-length": length}, incoming(), 3)


@pytest.mark.parametrize("length", ["", "-1", "many", "²"])
async def test_a_length_that_is_none_is_not_believed(length: str) -> None:
    assert await read_body({"content-length": length}, incoming(part(b"abc", more=False)), 3) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, identity"])
async def test_a_compressed_body_is_a_415(encoding: str) -> None:
    with pytest.raises(BadRequest) as seen:
        await read_body({"content-encoding": encoding}, incoming(), 3)
    assert seen.value.status == 415


async def test_a_body_that_does_not_come_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.edge.asgi.BODY_SECONDS", 0.0)
    with pytest.raises(RequestTimeout):
        await read_body({}, incoming(part(b"a")), 3)


# --- lifespan ---------------------------------------------------------------------------------------------------------


async def lifespan(start: Any, stop: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    app = Edge(lambda: pytest.fail("no request came"), {}, control, start, stop)
    await app({"type": "lifespan"}, incoming({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}), send)
    return sent


async def test_the_gateway_starts_and_stops_with_its_server() -> None:
    done: list[str] = []

    async def start() -> None:
        done.append("start")

    async def stop() -> None:
        done.append("stop")

    sent = await lifespan(start, stop)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert done == ["start", "stop"]


async def test_a_gateway_that_cannot_start_says_why() -> None:
    async def start() -> None:
        raise RuntimeError("the store is not there")

    (sent,) = await lifespan(start, None)
    assert sent == {"type": "lifespan.startup.failed", "message": "the store is not there"}

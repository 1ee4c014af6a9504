"""A scripted HTTP server on a real loopback socket, and one way to drive both clients through the same test."""

from __future__ import annotations

import inspect
import json
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import anyio

from routebook.client import AsyncRoutebook, ChatChunk, Routebook, RoutebookError

KEY = "sk-rb-v1-0123456789abcdef-secret"
LIMIT = 10.0
"""Seconds that anything here may wait; a test that needs them has failed."""


@dataclass
class Seen:
    """A request as it arrived; header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What the server answers: raw parts, each written at once; then it closes, or waits for the client to hang up."""

    parts: Sequence[bytes]
    wait_for_hangup: bool = False


def answer(status: int, body: object, **headers: str) -> Reply:
    """A whole JSON answer (or raw, where `body` is bytes)."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {
        "content-type": "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    lines = [
        f"HTTP/1.1 {status} Scripted",
        *(f"{name}: {text}" for name, text in named.items()),
    ]
    head = "\r\n".join([*lines, f"content-length: {len(raw)}", "connection: close", "", ""])
    return Reply([head.encode() + raw])


def events(*parts: str, wait_for_hangup: bool = False, **headers: str) -> Reply:
    """An event stream that ends with the connection; every part is a write of its own."""
    named = {
        "content-type": "text/event-stream",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    lines = [
        "HTTP/1.1 200 OK",
        *(f"{name}: {text}" for name, text in named.items()),
        "connection: close",
        "",
        "",
    ]
    return Reply(
        ["\r\n".join(lines).encode(), *(part.encode() for part in parts)],
        wait_for_hangup,
    )


def piece(text: str = "", finish: str | None = None, **more: Any) -> str:
    """One event of a chat stream."""
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    chunk = {
        "id": "gen-1-a",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "acme/one",
        "choices": [choice],
    }
    return f"data: {json.dumps({**chunk, **more})}\n\n"


@dataclass
class Loopback:
    """The server. Give it replies in order with `say`; read what came in `seen`."""

    seen: list[Seen] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    _replies: list[Reply] = field(default_factory=list)

    def say(self, *replies: Reply) -> None:
        self._replies.extend(replies)

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = LIMIT

            def handle(self) -> None:
                owner._serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.01},
            daemon=True,
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/api/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(LIMIT)

    def _serve(self, handler: socketserver.StreamRequestHandler) -> None:
        first = handler.rfile.readline().decode()
        if not first:
            return
        method, target, _ = first.split()
        headers = {}
        while line := handler.rfile.readline().strip().decode():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = handler.rfile.read(int(headers.get("content-length", "0")))
        self.seen.append(Seen(method, target, headers, body))
        reply = self._replies.pop(0) if self._replies else answer(599, {"error": {"message": "no reply scripted"}})
        for part in reply.parts:
            handler.wfile.write(part)
            handler.wfile.flush()
        if reply.wait_for_hangup:
            try:
                gone = handler.rfile.read(1) == b""
            except ConnectionResetError:
                gone = True
            except TimeoutError:
                gone = False
            if gone:
                self.hung_up.set()

    def saw_the_client_leave(self) -> None:
        """Fails unless the client hung up on a reply with `wait_for_hangup`."""
        assert self.hung_up.wait(LIMIT), "the client kept the connection"


@dataclass
class Heard:
    """What came of a stream: chunks, the error that ended it (if any), and what the stream knew at its end."""

    chunks: list[ChatChunk]
    error: RoutebookError | None
    stream: Any
    early_generation_id: str | None

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


@dataclass
class Driver:
    """Does the same with either client: `flavour` is "sync" or "async"."""

    flavour: str
    base_url: str | None = None

    def ask(self, act: Callable[[Any], Any], **arguments: Any) -> Any:
        """Make a client, call `act` with it, await what it gives if need be, close the client."""
        arguments = {"api_key": KEY, "base_url": self.base_url, **arguments}
        if self.flavour == "sync":
            with Routebook(**arguments) as client:
                return act(client)

        async def go() -> Any:
            async with AsyncRoutebook(**arguments) as client:
                result = act(client)
                return await result if inspect.isawaitable(result) else result

        return anyio.run(go)

    def listen(
        self,
        *,
        until: int | None = None,
        before_close: Callable[[], Any] = bool,
        **arguments: Any,
    ) -> Heard:
        """Stream a chat completion to its end, or leave it after `until` chunks. Errors before it are raised.

        `before_close` is called when the stream is over or left, while the client is still open.
        """
        hello = [{"role": "user", "content": "Hi"}]
        arguments = {"api_key": KEY, "base_url": self.base_url, **arguments}

        def sync() -> Heard:
            with Routebook(**arguments) as client:
                with client.chat.send(messages=hello, stream=True) as stream:
                    heard = Heard([], None, stream, stream.generation_id)
                    try:
                        for chunk in stream:
                            heard.chunks.append(chunk)
                            if len(heard.chunks) == until:
                                break
                    except RoutebookError as fault:
                        heard.error = fault
                before_close()
            return heard

        async def go() -> Heard:
            async with AsyncRoutebook(**arguments) as client:
                async with await client.chat.send(messages=hello, stream=True) as stream:
                    heard = Heard([], None, stream, stream.generation_id)
                    try:
                        async for chunk in stream:
                            heard.chunks.append(chunk)
                            if len(heard.chunks) == until:
                                break
                    except RoutebookError as fault:
                        heard.error = fault
                before_close()
            return heard

        return sync() if self.flavour == "sync" else anyio.run(go)

"""A scripted provider over real TCP: OpenAI's chat API on a loopback port, which bills what it serves.

    with ScriptedProvider({"large": Rates(prompt="0.0000025", completion="0.00001")}) as provider:
        ...                     # point a gateway at provider.base_url with provider.api_key
        provider.bill           # what it wants to be paid, call by call

It runs on a thread with its own loop, so that whoever uses it may block. What it answers is in `testing.answers`. Its
bill is worked out here and there alone, from its own price sheet: nothing of the gateway's accounting takes part.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter, deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httptools

from routebook.testing.answers import (
    Answer,
    Billed,
    Piece,
    Rates,
    Refusal,
    Script,
    answer,
    billed,
    error_body,
    events,
    whole_body,
)

__all__ = ["Answer", "Billed", "Piece", "Rates", "Script", "ScriptedProvider"]

CREATED = 1_790_000_000
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"x-request-id: req_scripted\r\n\r\n"
)


class ScriptedProvider:
    """Serves the models of `models` under their upstream names, from `start` to `stop`. Use as a context manager."""

    def __init__(
        self,
        models: Mapping[str, Rates],
        api_key: str = "a-key-of-the-scripted-provider",
        failing: Mapping[str, int] | None = None,
    ) -> None:
        self.models = dict(models)
        self.failing = dict(failing or {})
        """models that answer every request with that status"""
        self.api_key = api_key
        self.port = 0
        self.requests = 0
        """requests that came, refused ones included"""
        self.refused = 0
        """requests answered with an error status, which cost nothing"""
        self.bill: list[Billed] = []
        """every call that cost something, in the order of their ends"""
        self._broken = threading.Condition()
        self._times: Counter[bytes] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lines: set[_Line] = set()
        self._stopping = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def busy(self) -> int:
        """Answers under way: their bills are still to come."""
        return sum(line.busy for line in list(self._lines))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens when this returns."""
        ready: queue.SimpleQueue[int | OSError] = queue.SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="scripted-provider")
        self._thread.start()
        port = ready.get()
        if isinstance(port, OSError):
            raise port
        self.port = port

    def stop(self) -> None:
        """Closes the listener and every connection."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._loop = self._thread = None

    def release(self) -> None:
        """Let every answer that is under way go on to its end."""

        def wake() -> None:
            for line in self._lines:
                line.go_on()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(wake)

    def broke_off(self, id: str, seconds: float = 10) -> Billed:
        """The bill of the call with that id, once its line has broken. Raises TimeoutError after `seconds`."""

        def known() -> Billed | None:
            return next((item for item in self.bill if item.id == id and not item.whole), None)

        with self._broken:
            if not self._broken.wait_for(lambda: known() is not None, seconds):
                raise TimeoutError(f"the line of {id} has not broken within {seconds:g} s")
        found = known()
        assert found is not None
        return found

    async def _serve(self, ready: queue.SimpleQueue[int | OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            server = await self._loop.create_server(lambda: _Line(self), "127.0.0.1", 0, backlog=1024)
        except OSError as error:
            ready.put(error)
            return
        ready.put(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        for line in list(self._lines):
            line.drop()
        await server.wait_closed()

    def take(self, body: bytes) -> Answer:
        """Count a request and find its answer. Raises Refusal."""
        self._times[body] += 1
        found = answer(body, self.models, self._times[body])
        if (status := self.failing.get(found.model)) is not None:
            raise Refusal(status, f"{found.model} answers every request with {status}.")
        return found

    def charge(self, served: Answer, produced: int | None = None) -> None:
        """Put a call on the bill: a whole one, or the first `produced` pieces of one that broke off."""
        self.bill.append(billed(served, self.models[served.model], produced))
        if produced is not None:
            with self._broken:
                self._broken.notify_all()


class _Line(asyncio.Protocol):
    """One connection: reads requests, plays answers, one piece a loop tick."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._answer: Answer | None = None
        self._steps: deque[bytes] = deque()
        self._produced = 0
        self._hanging = False
        self._released = False
        """what hangs or is yet to hang in this answer goes on"""

    # --- the socket ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._answer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._provider._lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._provider._lines.discard(self)
        self._transport = None
        if self._answer is not None:
            self._break_off()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()

    # --- the parser ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self.drop()  # pipelining is not spoken here
            return
        self._provider.requests += 1
        try:
            self._check()
            self._begin(self._provider.take(b"".join(self._body)))
        except Refusal as refusal:
            self._provider.refused += 1
            self._plain(refusal.status, error_body(refusal.status, refusal.message))

    def _check(self) -> None:
        if self._headers.get(b"authorization") != b"Bearer " + self._provider.api_key.encode():
            raise Refusal(401, "Incorrect API key provided.")
        if self._parser.get_method() != b"POST" or self._url.partition(b"?")[0] != b"/v1/chat/completions":
            raise Refusal(404, "Unknown request URL.")

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _begin(self, served: Answer) -> None:
        self._answer = served
        self._produced = 0
        self._released = False
        if not served.streamed:
            self._play()
            return
        pieces, end = events(served, CREATED)
        # The last step is the end of the stream; all before it are pieces.
        self._steps = deque([*pieces, b"".join(end)])
        self._write(_CHUNKED)
        self._play()

    def _play(self) -> None:
        """The next piece, or what the script has instead of it."""
        served = self._answer
        if served is None or self._transport is None or self._hanging:
            return
        if self._due(served.script.hang, served) and not self._released:
            self._hanging = True
            return
        self._step(served)

    def _due(self, place: int | None, served: Answer) -> bool:
        """What the script says for after `place` pieces is due now; an answer in one piece has one place."""
        return place == self._produced if served.streamed else place is not None

    def go_on(self) -> None:
        """Hanging is over, for an answer that has not come so far as well."""
        self._released = True
        if self._hanging and self._answer is not None:
            self._hanging = False
            self._step(self._answer)

    def _step(self, served: Answer) -> None:
        if self._due(served.script.cut, served):
            self._break_off()
            self.drop()
        elif self._due(served.script.error, served):
            error = error_body(500, "The model crashed.")
            self._break_off()
            if served.streamed:
                self._write(_chunk(b"data: " + error + b"\n\n") + _chunk(b""))
            else:
                self._plain(200, error)
        elif not served.streamed:
            self._finish(served)
            self._plain(200, whole_body(served, CREATED))
        elif len(self._steps) > 1:
            self._produced += 1
            self._write(_chunk(self._steps.popleft()))
            asyncio.get_running_loop().call_soon(self._play)
        else:
            end = self._steps.popleft()
            self._finish(served)
            self._write(_chunk(end) + _chunk(b""))

    def _finish(self, served: Answer) -> None:
        """On the bill before the last byte leaves: whoever has the answer can rely on its being there."""
        self._provider.charge(served)
        self._answer = None

    def _break_off(self) -> None:
        assert self._answer is not None
        self._provider.charge(self._answer, self._produced)
        self._answer = None
        self._steps.clear()
        self._hanging = False

    def _plain(self, status: int, body: bytes) -> None:
        reason = _REASONS.get(status, "Scripted")
        head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        if status == 429:
            head += "retry-after: 2\r\n"
        self._write(head.encode() + b"\r\n" + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def drop(self) -> None:
        """Cut the connection without a goodbye."""
        if self._transport is not None:
            self._transport.abort()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)

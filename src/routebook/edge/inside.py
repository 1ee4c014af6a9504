"""What the workers of one host say to each other: one UNIX socket a daybook, in its folder, for its owner alone.

A request and its answer are one line of JSON each, and a connection carries one of them. There is no other way in: the
socket's file is 0600, and nothing here is ever bound to an address of a network. Verbs are functions by name; today
`recall` (give back money that no call needs) and `cancel` (stop a running call).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from routebook.core.errors import Unavailable
from routebook.core.money import plain
from routebook.corridor.entry import cancel
from routebook.corridor.ports import App
from routebook.daybook import folder
from routebook.edge.listen import BACKLOG, unix_listener
from routebook.ledger.leases import RECALL_SECONDS
from routebook.observe.log import log
from routebook.wire import codec

SOCKET_NAME = "socket"
LINE_MAX = 64 * 1024
SECONDS = 5.0
"""for one request, from its connection to its answer"""
_PATH_MAX = 100
"""bytes; systems take 104 or 108 with the end"""

Verb = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]


class Unreachable(Exception):
    """The worker that owns the daybook does not answer: there is none, or it is stuck."""


class Inside:
    """The socket of this worker's daybook, from `start` to `close`. A file that a dead owner left is replaced."""

    def __init__(self, daybook: Path, verbs: Mapping[str, Verb]) -> None:
        self._path = daybook / SOCKET_NAME
        self._verbs = verbs
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises OSError."""
        with _short(self._path) as path:
            # Whoever holds the daybook's lock may take the place of whatever is there.
            path.unlink(missing_ok=True)
            listener = unix_listener(path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_MAX, backlog=BACKLOG)

    async def close(self) -> None:
        """Harmless if it was never started."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._answer(await reader.readline())
                writer.write(codec.encode(answer) + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.debug("a request of another worker was not answered: %s", error)
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            asked = codec.decode_as(line, dict[str, str])
        except codec.DecodeError as error:
            return {"error": f"not a request: {error}"}
        verb = self._verbs.get(asked.get("verb", ""))
        if verb is None:
            return {"error": f"no such verb: {asked.get('verb')}"}
        try:
            return await verb(asked)
        except Exception as error:
            log.warning("%s for another worker failed: %s", asked["verb"], error)
            return {"error": f"{type(error).__name__}: {error}"}


class Neighbours:
    """The workers of the same data folder, by the daybooks they own."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def ask(self, daybook: str, verb: str, seconds: float = SECONDS, **facts: str) -> dict[str, Any]:
        """The answer to one request. Raises Unreachable, also where that worker could not do it."""
        path = folder.root(self._home) / daybook / SOCKET_NAME
        try:
            async with asyncio.timeout(seconds):
                line = await _exchange(path, codec.encode({"verb": verb, **facts}) + b"\n")
            answer: dict[str, Any] = codec.decode_as(line, dict[str, Any])
        except (OSError, TimeoutError, ValueError, codec.DecodeError) as error:
            raise Unreachable(f"the owner of daybook {daybook} does not answer ({str(error) or 'too late'})") from error
        if "error" in answer:
            raise Unreachable(f"the owner of daybook {daybook}: {answer['error']}")
        return answer

    async def recall(self, daybooks: Sequence[str], budget: str) -> bool:
        """As `ledger.leases.Recall`."""
        given = False
        asked = [self.ask(each, "recall", RECALL_SECONDS, budget=budget) for each in daybooks]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                # It counts as spent until that daybook is recovered.
                log.info("money of %s was not given back: %s", budget[:12], answer)
            else:
                given = given or answer.get("given", "0") != "0"
        return given

    async def cancel(self, daybook: str, id: str) -> bool:
        """As `control.generation.CancelElsewhere`."""
        try:
            return bool((await self.ask(daybook, "cancel", id=id)).get("stops"))
        except Unreachable as error:
            log.warning("generation %s cannot be cancelled: %s", id, error)
            raise Unavailable(
                "The worker that runs this generation does not answer; ask again.", retry_after=1
            ) from None


def verbs_of(app: App) -> dict[str, Verb]:
    """What this worker does for the others."""

    async def recall(asked: Mapping[str, str]) -> Mapping[str, Any]:
        return {"given": plain(await app.leases.give_back(asked["budget"]))}

    async def stop(asked: Mapping[str, str]) -> Mapping[str, Any]:
        return {"stops": cancel(app.entries, asked["id"])}

    return {"recall": recall, "cancel": stop}


async def _exchange(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        with _short(path) as address:
            await asyncio.get_running_loop().sock_connect(client, str(address))
        reader, writer = await asyncio.open_unix_connection(sock=client.dup(), limit=LINE_MAX)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[Path]:
    """The same file under a name that the system takes for a socket, while this lasts."""
    if len(os.fsencode(path)) <= _PATH_MAX:
        yield path
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}") / path.name
    finally:
        os.close(fd)

"""A gateway in this process, from its start to the end of its drain: what `serve` and `demo` have in common.

SIGTERM or SIGINT: `/readyz` says 503, running calls get `server.drain` seconds, then end with an error event; every
record is shipped. A second SIGINT ends the process at once, and what was under way is marked interrupted at the next
start.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from routebook.cli.problems import CannotListen

if TYPE_CHECKING:
    from routebook.compose import Gateway
    from routebook.config.settings import Server as ServerTable
    from routebook.edge.server import Server

R = TypeVar("R")

BOOK_WAIT_SECONDS = 10.0
"""A successor waits this long for the gateway that still holds the daybook."""
_POLL_SECONDS = 0.1


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run it on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Stopping:
    """The wish to stop, as signals say it. Inside `with`, SIGTERM and the first SIGINT set it.

    A worker of several has a `lifeline` instead of SIGINT: its closing is the wish as well.
    """

    def __init__(self, lifeline: int | None = None) -> None:
        self._asked = asyncio.Event()
        self._lifeline = lifeline

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked.set)
        if self._lifeline is None:
            loop.add_signal_handler(signal.SIGINT, self._interrupted)
        else:
            loop.add_reader(self._lifeline, self._orphaned, self._lifeline)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if self._lifeline is not None:
            loop.remove_reader(self._lifeline)

    def _orphaned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self._asked.set()

    def _interrupted(self) -> None:
        if self._asked.is_set():
            print("Stopped at once; calls under way are marked interrupted at the next start.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)
        self._asked.set()

    async def wait(self) -> None:
        await self._asked.wait()

    async def unless(self, work: Awaitable[R]) -> R | None:
        """The result of the work; None, and the work cancelled, where the wish to stop comes first."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if task.done():
            return await task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None


class Running:
    """A gateway that answers. `shipped` is known at the end: True if every record reached the store."""

    def __init__(self, server: ServerTable, port: int, wait: Callable[[], Awaitable[None]]) -> None:
        self.url = url_of(server, port)
        """of no use where a UNIX socket is served"""
        self.port = port
        self.wait = wait
        """until the server ends by itself, which it does only when something is badly wrong"""
        self.shipped = False


@contextlib.asynccontextmanager
async def served(
    gateway: Gateway, ports: Sequence[int], bind: Callable[[], socket.socket] | None = None
) -> AsyncIterator[Running]:
    """The gateway started and listening on the first of `ports` that is free; drained and stopped at the end.

    `bind` gives the socket instead, for one worker among several. Raises CannotListen, and what `Gateway.start` raises.
    """
    table = gateway.loaded.settings.server
    await gateway.start()
    running: Running | None = None
    server: Server | None = None
    try:
        for port in ports:
            server = gateway.server(port, bind)
            try:
                await server.start()
            except OSError as error:
                server = None
                if error.errno == errno.EADDRINUSE and port != ports[-1]:
                    continue
                raise CannotListen(why_not(error, table, port)) from None
            running = Running(table, server.port, partial(_ended, server, gateway))
            break
        assert running is not None
        yield running
    finally:
        gateway.drain()
        await gateway.run_out()
        if server is not None:
            await server.stop()
        shipped = await gateway.stop()
        if running is not None:
            running.shipped = shipped


async def _ended(server: Server, gateway: Gateway) -> None:
    """Until the server ends by itself, or the gateway cannot go on."""
    waits = [asyncio.ensure_future(server.wait()), asyncio.ensure_future(gateway.broken.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def farewell(running: Running) -> int:
    """The exit code; a sentence where it is not 0."""
    if running.shipped:
        return 0
    print(
        "routebook: not every record reached the store; they are in the daybook and are shipped at the next start",
        file=sys.stderr,
    )
    return 1


async def book_is_free(home: Path, stopping: Stopping) -> bool:
    """Wait for the gateway that holds the daybook to go. False if asked to stop meanwhile; raises DaybookLocked."""
    from routebook.daybook.folder import DaybookLocked, holder
    from routebook.observe.clock import NS, SystemClock

    clock = SystemClock()
    deadline = clock.now_ns() + int(BOOK_WAIT_SECONDS * NS)
    told = False
    while (who := holder(home)) is not None:
        if clock.now_ns() >= deadline:
            raise DaybookLocked(
                f"the data folder {home} is in use by {who}; stop that gateway first, "
                "or give this one its own ROUTEBOOK_HOME"
            )
        if not told:
            told = True
            print(f"Waiting up to {BOOK_WAIT_SECONDS:g} s for {who}, which holds the daybook.", file=sys.stderr)
        await stopping.unless(asyncio.sleep(_POLL_SECONDS))
        if stopping:
            return False
    return True


def check_address(table: ServerTable) -> None:
    """Raises CannotListen if the address cannot be had: said before anything is opened or waited for."""
    if table.unix_socket is not None:
        return  # binding is the check there, and replaces what a dead process left
    host, port = table.host, table.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise CannotListen(why_not(error, table, port)) from None


def url_of(table: ServerTable, port: int | None = None) -> str:
    """Where it is served, without a path; for a UNIX socket what it would be without one."""
    host = f"[{table.host}]" if ":" in table.host else table.host
    return f"{'http' if table.tls_cert is None else 'https'}://{host}:{table.port if port is None else port}"


def shown(table: ServerTable) -> str:
    """Where it is served, for people."""
    return url_of(table) if table.unix_socket is None else f"the UNIX socket {table.unix_socket}"


def why_not(error: Exception, table: ServerTable, port: int) -> str:
    """A sentence about an address that cannot be had."""
    code, host = getattr(error, "errno", None), table.host
    if table.unix_socket is not None:
        reason = getattr(error, "strerror", None) or str(error)
        return (
            f"cannot listen on the UNIX socket {table.unix_socket} ({reason}); choose another path with --unix-socket"
        )
    if code == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; choose another one with --port, or stop the process that has it"
    if code in (errno.EACCES, errno.EPERM):
        return f"port {port} needs more rights than this user has; choose one above 1023 with --port"
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot listen on {host} port {port} ({reason}); choose an address of this machine with --host"

"""`routebook serve`: the gateway, one start-up line, a drain at SIGTERM.

Exit 0, or 1 if something was wrong or rows are left that did not reach the store.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from routebook.cli.problems import CannotListen

if TYPE_CHECKING:
    from routebook.cli.workers import Worker
    from routebook.compose import Gateway
    from routebook.load.settings import Loaded


def serve(
    *,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
    host: Annotated[str | None, cyclopts.Parameter(help="Address to listen on; else 127.0.0.1.")] = None,
    port: Annotated[int | None, cyclopts.Parameter(help="Port to listen on; else 8080; 0 takes a free one.")] = None,
    workers: Annotated[int | None, cyclopts.Parameter(help="Worker processes; else 1.")] = None,
    tls_cert: Annotated[Path | None, cyclopts.Parameter(help="PEM certificate with its chain; serves HTTPS.")] = None,
    tls_key: Annotated[
        Path | None, cyclopts.Parameter(help="PEM key of the certificate; else in the same file.")
    ] = None,
    unix_socket: Annotated[
        Path | None, cyclopts.Parameter(help="Listen on this UNIX socket instead of a port.")
    ] = None,
) -> int:
    """Run the gateway until SIGTERM or Ctrl-C, which let running calls end first.

    Example: `routebook serve --config routebook.toml --port 8080`
    """
    from routebook.cli.running import run
    from routebook.load.settings import Flags, load_settings
    from routebook.observe import log

    log.configure()
    flags = Flags(
        host=host,
        port=port,
        workers=workers,
        tls_cert=None if tls_cert is None else str(tls_cert),
        tls_key=None if tls_key is None else str(tls_key),
        unix_socket=None if unix_socket is None else str(unix_socket),
    )
    loaded = load_settings(config, os.environ, flags)
    if loaded.settings.server.workers > 1:
        return _supervise(loaded)
    return run(_serve(loaded))


def _supervise(loaded: Loaded) -> int:
    """Several workers on one address."""
    import routebook.compose  # noqa: F401 - loaded before the fork, it is there once for all workers
    from routebook.cli.main import short_errors
    from routebook.cli.running import check_address, run, why_not
    from routebook.cli.workers import Supervisor
    from routebook.edge.listen import tcp_listener, unix_listener
    from routebook.observe.clock import SystemClock

    server = loaded.settings.server
    check_address(server)
    path = None if server.unix_socket is None else Path(server.unix_socket).expanduser()
    try:
        if path is not None:
            held = unix_listener(path, int(server.unix_socket_mode, 8))
        else:
            held = tcp_listener(server.host, server.port, reuse_port=True)
    except OSError as error:
        raise CannotListen(why_not(error, server, server.port)) from None

    def bind() -> socket.socket:
        # One that is bound and does not listen keeps the port and gets no connection; each worker has its own beside
        # it. A UNIX socket can only be shared.
        if path is not None:
            return held.dup()
        return tcp_listener(server.host, held.getsockname()[1], reuse_port=True)

    def work(worker: Worker) -> int:
        with short_errors():
            return run(_serve(loaded, worker, bind))

    try:
        return Supervisor(server.workers, work, SystemClock()).run()
    finally:
        held.close()
        if path is not None:
            path.unlink(missing_ok=True)


async def _serve(loaded: Loaded, worker: Worker | None = None, bind: Callable[[], socket.socket] | None = None) -> int:
    from routebook.cli.running import Stopping, book_is_free, check_address, farewell, served
    from routebook.compose import Gateway

    server = loaded.settings.server
    with Stopping(None if worker is None else worker.lifeline) as stopping:
        if worker is None:
            check_address(server)
            if not await book_is_free(loaded.home, stopping):
                return 0
        gateway = Gateway(loaded, os.environ)
        speaks = worker is None or (worker.slot == 0 and worker.first)
        async with served(gateway, [server.port], bind) as running:
            if speaks:
                await _say_hello(gateway, running.url)
            if worker is not None:
                worker.is_ready()
            await stopping.unless(running.wait())
            if stopping and speaks:
                print(f"Stopping: running calls get {server.drain:g} s to end.", file=sys.stderr)
            elif not stopping:
                print("routebook: the gateway ended by itself; its log is above", file=sys.stderr)
    return farewell(running) if stopping else 1


async def _say_hello(gateway: Gateway, url: str) -> None:
    """The start-up line, and what an operator has to know besides."""
    from routebook import __version__
    from routebook.observe.log import log
    from routebook.store.open import database_path

    loaded, catalog = gateway.loaded, gateway.stock.catalog
    settings, server = loaded.settings, loaded.settings.server
    where = f"{url}/api/v1" if server.unix_socket is None else f"/api/v1 on the UNIX socket {server.unix_socket}"
    workers = "" if server.workers == 1 else f" · {server.workers} workers"
    print(
        f"Routebook {__version__} serves {where} · {_many(len(catalog.models), 'model')} of "
        f"{_many(len(catalog.providers), 'provider')} · store {database_path(settings, loaded.home)} · "
        f"durability {settings.store.durability} · edge {server.edge}{workers}"
    )
    if not catalog.providers:
        print(
            "No provider is configured: set OPENAI_API_KEY, ANTHROPIC_API_KEY or another provider's variable, name one "
            "in a file (--config), or try `routebook demo`."
        )
    if loaded.admin_key_hash is None and not await gateway.app.store.keys():
        print("No key exists: `routebook keys create --name NAME` makes one, at once usable.")
    sys.stdout.flush()
    for note in (*loaded.notes, *gateway.stock.notes):
        log.warning("%s", note)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

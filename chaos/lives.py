"""Gateway processes: started, watched, killed, ended by their id.

A life is `python -m routebook serve` in a process of its own. Where very many are needed, they are forked from a
process that has loaded the gateway's modules already, as the workers of one gateway are from their supervisor: the
same `main`, the same arguments, half a second less.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.home import Home

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
STOP_SECONDS = 60.0
_GREETING = re.compile(rb"serves http://127\.0\.0\.1:(\d+)/")
_PRELOADED = ["routebook.cli.main", "routebook.compose", "routebook.cli.serve", "routebook.cli.running", "uvloop"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_PRELOADED)


class Life:
    """One gateway process, from its start to its end, however it ends. `port` is None until it serves.

    `tracer`: strace arguments, which are in force from the beginning. `through`: a module that is run instead of
    `routebook`, with its own arguments before the gateway's.
    """

    def __init__(self, home: Home, *, forked: bool = False, tracer: Sequence[str] = (), through: Sequence[str] = ()):
        self.home = home
        self.port: int | None = None
        self._tracer = tracer
        self._command: subprocess.Popen[bytes] | None = None
        self._fork: ForkServerProcess | None = None
        self._trace: subprocess.Popen[bytes] | None = None
        self._out, out = os.pipe()
        try:
            with home.log.open("ab") as log:
                if forked:
                    self._begin_fork(out, log.fileno(), through)
                else:
                    run = [sys.executable, "-m", *(through or ("routebook",)), *home.arguments()]
                    under = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", *tracer] if tracer else []
                    self._command = subprocess.Popen(
                        [*under, *run], stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=home.environ(), cwd=ROOT,
                        start_new_session=True,
                    )  # fmt: skip
        finally:
            os.close(out)

    def _begin_fork(self, out: int, log: int, through: Sequence[str]) -> None:
        gate, go = os.pipe()
        set_up, ready = os.pipe()
        try:
            run = [*(through or ("routebook",)), *self.home.arguments()]
            work = (run, dict(self.home.environ()), DupFd(out), DupFd(log), DupFd(ready), DupFd(gate))
            self._fork = _forks.Process(target=_live, args=work, daemon=True)
            self._fork.start()
            if not select.select([set_up], [], [], START_SECONDS)[0]:
                raise TimeoutError(f"no process within {START_SECONDS:g} s")
            # From here on it does nothing but what the gateway does: that alone is traced.
            if self._tracer:
                self._trace = attach(self._fork.pid or 0, self._tracer)
            os.write(go, b"!")
        finally:
            for fd in (gate, go, set_up, ready):
                os.close(fd)

    @property
    def pid(self) -> int:
        found = self._fork.pid if self._fork is not None else self._command.pid if self._command is not None else None
        assert found is not None
        return found

    @property
    def code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        if self._fork is not None:
            return self._fork.exitcode
        assert self._command is not None
        return self._command.poll()

    async def serves(self) -> bool:
        """True once it serves; False if it ended before. Raises TimeoutError."""
        line = await asyncio.to_thread(_greeting, self._out, START_SECONDS)
        found = _GREETING.search(line)
        if found:
            self.port = int(found[1])
        elif self.code is None:
            await self.ended()
        return found is not None

    async def serving(self) -> int:
        """Its port, once it serves. Raises RuntimeError with what it said last, if it ended before."""
        if not await self.serves() or self.port is None:
            said = self.home.log.read_text("utf-8", "replace")[-500:]
            raise RuntimeError(f"the gateway did not start: {said}")
        return self.port

    def kill(self) -> None:
        """kill -9, of the supervisor where there are several workers."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code, once it has ended. Raises TimeoutError, with the process killed."""
        deadline = time.monotonic() + seconds
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the gateway did not end within {seconds:g} s")
            await asyncio.sleep(0.002)
        if self._trace is not None:
            await asyncio.to_thread(detach, self._trace)
        return code

    async def stop(self) -> int:
        """SIGTERM, and the exit code: 0 if everything was shipped."""
        self.terminate()
        return await self.ended()

    def close(self) -> None:
        """Make sure that nothing is left of it."""
        if self._command is not None and self._command.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._command.pid, signal.SIGKILL)
            self._command.wait()
        if self._fork is not None:
            self._fork.kill()
            self._fork.join()
            self._fork.close()
            self._fork = None
        if self._trace is not None:
            detach(self._trace)
        if self._out >= 0:
            os.close(self._out)
            self._out = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def command(home: Home, arguments: Sequence[str], seconds: float = 120) -> tuple[int, str]:
    """`routebook` with these arguments in a process of its own, forked: (exit code, stdout); stderr goes to the log.

    Raises TimeoutError."""
    return await asyncio.to_thread(_command, home, list(arguments), seconds)


def _command(home: Home, arguments: list[str], seconds: float) -> tuple[int, str]:
    said, out = os.pipe()
    gate, go = os.pipe()
    set_up, ready = os.pipe()
    os.write(go, b"!")
    with home.log.open("ab") as log, os.fdopen(said, "rb") as reader:
        work = (
            ["routebook", *arguments],
            dict(home.environ()),
            DupFd(out),
            DupFd(log.fileno()),
            DupFd(ready),
            DupFd(gate),
        )
        process = _forks.Process(target=_live, args=work, daemon=True)
        process.start()
        for fd in (out, gate, go, ready):
            os.close(fd)
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        text = reader.read().decode()
        process.join()
        timer.cancel()
        os.close(set_up)
    code = process.exitcode
    process.close()
    if code == -signal.SIGKILL:
        raise TimeoutError(f"routebook {' '.join(arguments)} did not end within {seconds:g} s")
    return code or 0, text


def attach(pid: int, arguments: Sequence[str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """strace on all threads of a process; it is in force when this returns. SIGTERM to it lets the process go on."""
    trace = subprocess.Popen(
        ["strace", "-f", "-o", str(log or "/dev/null"), *arguments, "-p", str(pid)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert trace.stderr is not None
    said = trace.stderr.readline()
    if b"attached" not in said:
        detach(trace)
        raise OSError(f"strace could not attach: {said.decode().strip() or 'the process is gone'}")
    return trace


def detach(trace: subprocess.Popen[bytes]) -> None:
    if trace.poll() is None:
        trace.terminate()
    trace.wait()
    if trace.stderr is not None:
        trace.stderr.close()


def _greeting(fd: int, seconds: float) -> bytes:
    """What the process says up to its first whole line; less if it ends before. Raises TimeoutError."""
    said, deadline = b"", time.monotonic() + seconds
    while b"\n" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise TimeoutError(f"the gateway did not start within {seconds:g} s")
        data = os.read(fd, 4096)
        if not data:
            break
        said += data
    return said


def _live(run: list[str], environ: Mapping[str, str], out: Any, log: Any, ready: Any, gate: Any) -> None:
    """A forked life: what `python -m` does with these arguments, after the wait for a tracer."""
    os.setsid()
    for given, fd in ((out.detach(), 1), (log.detach(), 2)):
        os.dup2(given, fd)
        os.close(given)
    told, wait = ready.detach(), gate.detach()
    os.environ.clear()
    os.environ.update(environ)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for life
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.write(told, b"!")
    os.close(told)
    os.read(wait, 1)
    os.close(wait)
    sys.argv = list(run)
    runpy.run_module(run[0], run_name="__main__", alter_sys=True)

"""`routebook` as a real child process: its lines as they come, its signals, its end."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

PATIENCE = 60.0
"""Seconds after which something has certainly gone wrong, also on a busy machine."""


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a user's shell has, without any provider's variable."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "ROUTEBOOK_HOME": str(home), **(more or {})}


def routebook(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "routebook", *arguments],
        env=environment(home, env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Child:
    """A command that goes on until it is told to stop. Ended at the end of `with`, whatever happened."""

    def __init__(self, home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "routebook", *arguments],
            env=environment(home, env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out = _Lines(self._process.stdout)
        self.err = _Lines(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def url(self) -> str:
        """The address in the start-up line."""
        found = re.search(r"http://[^ /]+", self.out.until("serves "))
        assert found is not None
        return found[0]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit code; waits for it."""
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()
        for lines in (self.out, self.err):
            lines.close()


class _Lines:
    """Lines of a pipe, read by a thread so that the child never blocks on a full one."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._seen: list[str] = []
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self._queue.put(line)
        self._queue.put(None)

    def _next(self) -> str | None:
        if self._over:
            return None
        line = self._queue.get(timeout=PATIENCE)
        if line is None:
            self._over = True
        else:
            self._seen.append(line)
        return line

    def until(self, text: str) -> str:
        """The next line with that text in it; waits for it."""
        while (line := self._next()) is not None:
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r} in:\n{''.join(self._seen)}")

    def all(self) -> str:
        """Everything up to the child's end; waits for it."""
        while self._next() is not None:
            pass
        return "".join(self._seen)

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._pipe.close()

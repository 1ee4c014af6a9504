"""Several worker processes under one supervisor: forked, restarted when they die, ended together.

The supervisor holds no connection and no daybook; it waits. Workers listen on the same address each for itself (or on
one inherited UNIX socket), live in its process group, and end when the pipe from it closes, so that none is left when
the supervisor is killed. SIGTERM and SIGINT to the supervisor let every worker drain; a second SIGINT kills them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from types import FrameType

from routebook.observe.clock import NS, Clock
from routebook.observe.log import log

STEADY_NS = 5 * NS
"""A worker that lived for so long and then died is started again at once."""
FIRST_PAUSE_NS = NS // 4
PAUSE_NS_MAX = 30 * NS
"""One that dies young waits, twice as long each time."""
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Worker:
    """One worker as it sees itself, in its own process."""

    def __init__(self, slot: int, *, first: bool, lifeline: int, ready: int) -> None:
        self.slot = slot
        """0 up to the number of workers"""
        self.first = first
        """the first one in its slot, not one that stands in for a dead one"""
        self.lifeline = lifeline
        """a pipe that closes when the supervisor is gone; nothing is ever written to it"""
        self._ready = ready

    def is_ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        with contextlib.suppress(OSError):
            os.write(self._ready, bytes([self.slot]))


class _Slot:
    """One worker as the supervisor sees it."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.started_ns = 0
        self.deaths = 0
        """in a row, each soon after its start"""
        self.due_ns: int | None = 0
        """when it is to be started; None while it runs"""
        self.lives = 0
        self.served = False
        """one of its lives got as far as serving"""


class Supervisor:
    """Runs `work` in `count` processes until it is told to stop. `work` gives the exit code of one of them."""

    def __init__(self, count: int, work: Callable[[Worker], int], clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._slots = [_Slot() for _ in range(count)]
        self._stopping = False
        self._asked = 0
        self._interrupts = 0
        self._code = 0
        self._own_fds: list[int] = []
        """what a worker must not keep open"""
        self._lifeline = self._ready = self._ready_end = -1

    def run(self) -> int:
        """The exit code: 0, or the first that was not among the workers' at the end."""
        gc.collect()
        gc.freeze()  # what is loaded now stays shared between the processes
        self._lifeline, lifeline_end = os.pipe()
        self._ready, self._ready_end = os.pipe()
        wake, wake_end = socket.socketpair()
        for end in (wake, wake_end):
            end.setblocking(False)
        self._own_fds = [lifeline_end, self._ready, wake.fileno(), wake_end.fileno()]
        before = {number: signal.signal(number, self._heard) for number in _WATCHED}
        wakeup = signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        try:
            while self._goes_on():
                select.select([wake.fileno(), self._ready], [], [], self._pause())
                with contextlib.suppress(BlockingIOError):
                    while wake.recv(4096):
                        pass
                self._hear_ready()
            return self._code
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for fd in (self._lifeline, lifeline_end, self._ready, self._ready_end):
                os.close(fd)
            wake.close()
            wake_end.close()
            gc.unfreeze()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._asked += 1
            self._interrupts += number == signal.SIGINT

    def _goes_on(self) -> bool:
        """Everything there is to do now; False once all is over."""
        if self._asked and not self._stopping:
            self._stop()
        if self._interrupts > 1:
            self._interrupts = 0
            self._send(signal.SIGKILL)
        self._reap()
        if not self._stopping:
            now_ns = self._clock.now_ns()
            for number, slot in enumerate(self._slots):
                if slot.due_ns is not None and slot.due_ns <= now_ns:
                    self._start(number, slot)
        return not self._stopping or any(slot.pid is not None for slot in self._slots)

    def _pause(self) -> float | None:
        """Seconds until somebody is due; None = until something happens."""
        due = [slot.due_ns for slot in self._slots if slot.due_ns is not None]
        if self._stopping or not due:
            return None
        return max(0, min(due) - self._clock.now_ns()) / NS

    def _start(self, number: int, slot: _Slot) -> None:
        slot.lives += 1
        slot.due_ns = None
        slot.started_ns = self._clock.now_ns()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be(Worker(number, first=slot.lives == 1, lifeline=self._lifeline, ready=self._ready_end))
        slot.pid = pid

    def _be(self, worker: Worker) -> None:
        """The rest of a worker's life; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A terminal sends Ctrl-C to the whole group; what is to be done then the supervisor says.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for fd in self._own_fds:
                os.close(fd)
            code = self._work(worker)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _hear_ready(self) -> None:
        while select.select([self._ready], [], [], 0)[0]:
            for number in os.read(self._ready, 256):
                self._slots[number].served = True

    def _reap(self) -> None:
        for number, slot in enumerate(self._slots):
            if slot.pid is None:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid == 0:
                continue
            code = os.waitstatus_to_exitcode(status)
            slot.pid = None
            self._hear_ready()
            if self._stopping:
                # Our own signal ends a worker that has not begun to listen to it: it has served nobody.
                well = code in (0, -signal.SIGTERM)
                self._code = self._code or (0 if well else code if code > 0 else 1)
            elif slot.served:
                self._again(number, slot, pid, code)
            else:
                # It could not even start, and said why: the next one would say the same.
                self._code = code if code > 0 else 1
                self._stop()

    def _again(self, number: int, slot: _Slot, pid: int, code: int) -> None:
        now_ns = self._clock.now_ns()
        slot.deaths = 0 if now_ns - slot.started_ns >= STEADY_NS else slot.deaths + 1
        pause_ns = min(FIRST_PAUSE_NS << min(slot.deaths - 1, 20), PAUSE_NS_MAX) if slot.deaths else 0
        slot.due_ns = now_ns + pause_ns
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        log.error(
            "worker %d (process %d) ended with %s; its successor starts in %.3g s", number, pid, how, pause_ns / NS
        )

    def _stop(self) -> None:
        self._stopping = True
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, number)

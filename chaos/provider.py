"""The scripted provider, with notes on which call each bill belongs to and when its line broke."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from typing import Self

from routebook.testing.provider import Answer, Billed, Rates, ScriptedProvider

_CALL = re.compile(rb"Call ([\w.-]+):")


class ChaosProvider(ScriptedProvider):
    """Every request of the harness names its call (`Call k17:`); bills are kept by that name.

    While it runs, what hangs goes on after `pace` seconds at most, so that a stream lasts a while and none lasts for
    ever; 0 leaves that to `release`.
    """

    def __init__(self, models: dict[str, Rates], failing: dict[str, int], pace: float = 0) -> None:
        super().__init__(models, failing=failing)
        self.pace = pace
        self.bills: defaultdict[str, list[Billed]] = defaultdict(list)
        """what each call was billed; more than one where the gateway tried again"""
        self.asked: set[str] = set()
        """calls that reached the provider"""
        self.broken_s: dict[str, float] = {}
        """when the line of a call broke before its answer's end, on the monotonic clock"""
        self._calls: dict[int, tuple[Answer, str]] = {}
        self._ended = threading.Event()
        self._pacer: threading.Thread | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        if self.pace:
            self._pacer = threading.Thread(target=self._release_in_turn, name="pacer")
            self._pacer.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        if self._pacer is not None:
            self._pacer.join()
        super().stop()

    def _release_in_turn(self) -> None:
        while not self._ended.wait(self.pace):
            self.release()

    def take(self, body: bytes) -> Answer:
        found = _CALL.search(body)
        name = found[1].decode() if found else ""
        self.asked.add(name)
        answer = super().take(body)
        # The answer itself is the key: ids of answers may come twice among very many.
        self._calls[id(answer)] = (answer, name)
        return answer

    def charge(self, served: Answer, produced: int | None = None) -> None:
        moment = time.monotonic()
        _, name = self._calls.pop(id(served))
        super().charge(served, produced)
        self.bills[name].append(self.bill[-1])
        if produced is not None:
            self.broken_s[name] = moment

    def settle(self, seconds: float = 10) -> None:
        """Wait until no answer is under way. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.busy:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.busy} answers of the scripted provider are still under way")
            time.sleep(0.002)

"""Which calls a command is about: filters by model, key and state that `ledger tail` and `ledger export` share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from routebook.core.generation import Folded
    from routebook.core.people import Key
    from routebook.store.port import Store

STATES = ("open", "done", "error", "cancelled", "interrupted", "blocked")
_HASH_MIN = 8


class Which:
    """Call it with a call: True if it is meant."""

    def __init__(self, model: str | None, hashes: tuple[str, ...] | None, state: str | None) -> None:
        self._model = model
        self._hashes = hashes
        """beginnings of key hashes; None = all"""
        self._state = state

    def __call__(self, call: Folded) -> bool:
        from routebook.daybook.library import shown
        from routebook.metering.record import state_name

        return (
            (self._hashes is None or call.intent.key_hash.startswith(self._hashes))
            and (self._state is None or state_name(call) == self._state)
            and (self._model is None or shown(call) == self._model)
        )


async def chosen(store: Store | None, model: str | None, key: str | None, state: str | None = None) -> Which:
    """The filter that these options mean. Ends the program with a sentence where they mean nothing."""
    if state is not None and state not in STATES:
        stop(f"--state must be one of {', '.join(STATES)}, not {state!r}", 2)
    hashes = None if key is None else _hashes(key, [] if store is None else await store.keys())
    return Which(model, hashes, state)


def _hashes(key: str, keys: list[Key]) -> tuple[str, ...]:
    """Of every key of that name, label or hash; a hash may be of a key that was deleted."""
    named = tuple(each.hash for each in keys if key in (each.name, each.label))
    if named:
        return named
    if len(key) >= _HASH_MIN and not key.lower().strip("0123456789abcdef"):
        return (key.lower(),)
    return stop(f"no key is called {key!r}; `routebook keys list` shows them, eight digits of a hash do as well", 1)


def since_until(since: str | None, until: str | None, now_ns: int) -> tuple[int, int]:
    """Both options as nanoseconds of unix time; the end is never later than now."""
    from routebook.cli.generation import moment

    bounds = [0, now_ns]
    for place, (name, text) in enumerate((("--since", since), ("--until", until))):
        at = None if text is None else moment(text, now_ns)
        if text is not None and at is None:
            stop(f"{name} must be like 30m, 1h, 2d or 2027-01-31T12:00:00Z, not {text!r}", 2)
        bounds[place] = bounds[place] if at is None else min(at, now_ns)
    return bounds[0], bounds[1]


def stop(message: str, code: int) -> NoReturn:
    print(f"routebook ledger: {message}", file=sys.stderr)
    raise SystemExit(code)

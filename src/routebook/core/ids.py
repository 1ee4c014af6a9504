"""Ids as text. A generation id names its daybook and its place in it, so that it can be found without an index.

`gen-<unix seconds>-<20 base62>`: of the last nine characters three name the daybook and six are the call number `n`
in it, base 62. The eleven characters before them are random. Minting needs dice, so the caller brings them.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {c: i for i, c in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
RANDOM_GENERATION = 11
RANDOM_REQUEST = 20
"""Base62 characters of an id that are random: 65 and 119 bits."""

MAX_N = 62**6 - 1


def base62(value: int, width: int) -> str:
    """`value` in base 62, left-padded with zeros to `width` characters; ValueError if it does not fit."""
    out = ""
    rest = value
    while len(out) < width:
        rest, low = divmod(rest, 62)
        out = ALPHABET[low] + out
    if rest or value < 0:
        raise ValueError(f"{value} does not fit {width} base62 characters")
    return out


def from_base62(text: str) -> int | None:
    """The number, or None if a character is not base 62."""
    value = 0
    for char in text:
        digit = _VALUE.get(char)
        if digit is None:
            return None
        value = value * 62 + digit
    return value


def generation_id(unix: int, random: str, daybook: str, n: int) -> str:
    """`random` has RANDOM_GENERATION base62 characters, `daybook` three; `n` is the call number in it."""
    if not 0 <= n <= MAX_N:
        raise ValueError(f"{n} does not fit six base62 characters")
    high, low = divmod(n, 3844)
    return f"gen-{unix}-{random}{daybook}{_PAIRS[high // 3844]}{_PAIRS[high % 3844]}{_PAIRS[low]}"


def locate(generation: str) -> tuple[str, int] | None:
    """(daybook, n) that the id names, None for an id of any other shape."""
    parts = generation.split("-")
    if len(parts) != 3 or parts[0] != "gen" or not parts[1].isdigit() or len(parts[2]) != 20 or not parts[2].isascii():
        return None
    if from_base62(parts[2][:14]) is None:
        return None
    n = from_base62(parts[2][14:])
    return None if n is None else (parts[2][11:14], n)


def request_id(unix: int, random: str) -> str:
    """`req-<unix seconds>-<20 base62>`; `random` has RANDOM_REQUEST base62 characters."""
    return f"req-{unix}-{random}"


class Mint:
    """Ids and times for pure code: all derive from one generation, so the same input gives the same output."""

    __slots__ = ("_count", "created", "seed")

    def __init__(self, created: int, seed: str) -> None:
        self.created = created
        """unix seconds"""
        self.seed = seed
        self._count = 0

    def next(self, prefix: str) -> str:
        """`call_<seed>_0`, `call_<seed>_1`, …"""
        text = f"{prefix}_{self.seed}_{self._count}"
        self._count += 1
        return text

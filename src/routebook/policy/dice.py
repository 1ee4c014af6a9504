"""Draws without dice: from a seed, always the same. The seed is the caller's (the time a call was accepted, in ns)."""

from __future__ import annotations

_MASK = (1 << 64) - 1


def mixed(seed: int, turn: int = 0) -> int:
    """64 bits that look random, of a seed and the number of the draw. Neighbouring seeds give unlike bits.

    SplitMix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    bits = (seed + (turn + 1) * 0x9E3779B97F4A7C15) & _MASK
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _MASK
    return bits ^ (bits >> 31)


def unit(seed: int, turn: int = 0) -> float:
    """A fraction from 0 to below 1."""
    return (mixed(seed, turn) >> 11) / (1 << 53)

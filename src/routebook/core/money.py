"""Money: exact decimals of US dollars, prices per unit, and charges that explain themselves line by line."""

from __future__ import annotations

from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from typing import Any

import msgspec

Usd = Decimal
"""US dollars, exact. Never a float."""

ZERO = Decimal(0)

EXACT = Context(prec=1000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])
"""Python's default context keeps 28 digits and rounds in silence; a book that is never closed outgrows that. This one
keeps 1,000 and raises instead of losing one. Whoever multiplies money does it in this context."""

PRICE_KEYS = (
    "prompt",
    "completion",
    "request",
    "image",
    "image_token",
    "image_output",
    "audio",
    "audio_output",
    "input_audio_cache",
    "web_search",
    "internal_reasoning",
    "input_cache_read",
    "input_cache_write",
    "input_cache_write_1h",
)
"""The names of the price sheet. Source: generation record, section 4.1."""


class Prices(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, cache_hash=True):
    """USD per unit; None = absent (falls back as the metering room says), 0 = free."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None
    """per input image"""
    image_token: Decimal | None = None
    image_output: Decimal | None = None
    """per output image token"""
    audio: Decimal | None = None
    audio_output: Decimal | None = None
    input_audio_cache: Decimal | None = None
    web_search: Decimal | None = None
    """per search"""
    internal_reasoning: Decimal | None = None
    input_cache_read: Decimal | None = None
    input_cache_write: Decimal | None = None
    input_cache_write_1h: Decimal | None = None


class Override(msgspec.Struct, frozen=True, omit_defaults=True, cache_hash=True):
    """Prices that replace the base while every condition holds; later overrides win key by key."""

    prices: Prices
    min_prompt_tokens: int | None = None
    """holds when the prompt has strictly more tokens"""
    utc_start: int | None = None
    """HHMM, inclusive; with utc_end a half-open window that may wrap midnight"""
    utc_end: int | None = None


class PriceSheet(msgspec.Struct, frozen=True, omit_defaults=True, cache_hash=True):
    """What one endpoint charges, and where that is known from."""

    base: Prices = Prices()
    discount: Decimal = ZERO
    """fraction taken off the provider's price: price x (1 - discount)"""
    overrides: tuple[Override, ...] = ()
    source: str = "configuration"
    """`configuration`, or the price list's name and version"""
    revision: str = ""
    """names this sheet among its predecessors, with its date"""


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a charge: count x rate = amount, or an adjustment with an amount alone."""

    item: str
    amount: Decimal
    count: int | None = None
    rate: Decimal | None = None
    note: str | None = None
    """a fallback that was taken ("no read price: billed as prompt"), or why an adjustment stands here"""


class Charge(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a call cost. `sum(line.amount for line in lines) == total`, exactly."""

    total: Decimal = ZERO
    """what the account is charged"""
    upstream: Decimal | None = None
    """what the provider charges at its price sheet; None if unpriced"""
    upstream_prompt: Decimal | None = None
    upstream_completion: Decimal | None = None
    cache_discount: Decimal | None = None
    """in charged money; total + cache_discount = the charge without a cache; None without cache traffic or prices"""
    lines: tuple[Line, ...] | None = None
    """None if unpriced"""
    unpriced: bool = False
    insured: bool = False
    """zero-completion insurance took the charge back"""
    price_source: str | None = None
    price_revision: str | None = None


def usd(value: Any) -> Decimal:
    """Exact decimal of a string, an int or a Decimal. A float raises TypeError: it has already lost its digits."""
    if isinstance(value, float):
        raise TypeError("money must not come from a float; write the price as a string")
    return Decimal(value)


def plain(value: Decimal) -> str:
    """Decimal text without exponent and without trailing zeros: `0.0000025`, `0`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


normalize: Callable[[Decimal], Decimal] = EXACT.normalize
"""the same amount without trailing zeros; of ten and more perhaps with an exponent"""


def tidy(value: Decimal) -> Decimal:
    """The same amount without trailing zeros and without exponent, as people expect to read it in JSON."""
    short = normalize(value)
    if short.adjusted() <= 0:  # below ten, so there is no exponent to take out
        return short
    return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1), context=EXACT)  # type: ignore[operator]


add: Callable[[Decimal, Decimal], Decimal] = EXACT.add
"""left + right with every digit kept, whatever the caller's decimal context is; raises decimal.Inexact otherwise"""

subtract: Callable[[Decimal, Decimal], Decimal] = EXACT.subtract
"""left - right with every digit kept, as `add`"""

multiply: Callable[[Decimal | int, Decimal], Decimal] = EXACT.multiply
"""left x right with every digit kept, as `add`"""

"""Counts x prices = charge, exact, with a line for every cent. Pure.

Source: generation record, sections 4.1 to 4.5; the fall-backs of absent prices and the meaning of cache_discount are
this project's decisions (docs/decisions/0004-money.md). Nothing is rounded.
"""

from __future__ import annotations

from decimal import Decimal, getcontext, setcontext
from functools import lru_cache

import msgspec

from routebook.core.catalog import Accounting
from routebook.core.money import (
    EXACT,
    PRICE_KEYS,
    ZERO,
    Charge,
    Line,
    Prices,
    PriceSheet,
    add,
    multiply,
    normalize,
    subtract,
    tidy,
)
from routebook.core.usage import Usage
from routebook.metering.counts import Counts, is_text, split

_FALLBACKS = {
    "input_cache_read": ("prompt",),
    "input_cache_write": ("prompt",),
    "input_cache_write_1h": ("input_cache_write", "prompt"),
    "input_audio_cache": ("audio", "prompt"),
    "audio": ("prompt",),
    "image_token": ("prompt",),
    "internal_reasoning": ("completion",),
    "audio_output": ("completion",),
    "image_output": ("completion",),
}

PROMPT_ITEMS = (
    ("prompt", "prompt"),
    ("image_prompt", "image_token"),
    ("cache_read", "input_cache_read"),
    ("audio_cache_read", "input_audio_cache"),
    ("cache_write", "input_cache_write"),
    ("cache_write_1h", "input_cache_write_1h"),
    ("audio_prompt", "audio"),
)
COMPLETION_ITEMS = (
    ("completion", "completion"),
    ("reasoning", "internal_reasoning"),
    ("audio_completion", "audio_output"),
    ("image_completion", "image_output"),
)
_CACHE_ITEMS = frozenset({"cache_read", "audio_cache_read", "cache_write", "cache_write_1h"})

TEN = Decimal(10)


def prices_for(sheet: PriceSheet, prompt_tokens: int, hhmm: int) -> Prices:
    """The sheet's prices for a prompt of that size at that UTC time of day (HHMM); later overrides win key by key."""
    prices = sheet.base
    for override in sheet.overrides:
        if override.min_prompt_tokens is not None and prompt_tokens <= override.min_prompt_tokens:
            continue
        if override.utc_start is not None and override.utc_end is not None:
            start, end = override.utc_start, override.utc_end
            inside = start <= hhmm < end if start <= end else hhmm >= start or hhmm < end
            if not inside:
                continue
        prices = Prices(
            **{
                key: getattr(prices, key) if getattr(override.prices, key) is None else getattr(override.prices, key)
                for key in PRICE_KEYS
            }
        )
    return prices


def rate_of(prices: Prices, key: str) -> tuple[Decimal | None, str | None]:
    """(rate, note): the price of that name, else the first one it falls back to, with a note that says so."""
    value: Decimal | None = getattr(prices, key)
    if value is not None:
        return value, None
    for other in _FALLBACKS.get(key, ()):
        value = getattr(prices, other)
        if value is not None:
            return value, f"no {key} price: billed as {other}"
    return None, None


Rates = dict[str, tuple[Decimal | None, str | None]]


@lru_cache(maxsize=8192)
def _rates(prices: Prices) -> Rates:
    """`rate_of` for every item of a charge; sheets are few and calls are many."""
    return {item: rate_of(prices, key) for item, key in (*PROMPT_ITEMS, *COMPLETION_ITEMS)}


class _Flat(msgspec.Struct, frozen=True, gc=False):
    """What the commonest charge needs of a sheet whose prices hold for every call: text, priced by the token."""

    prompt: Decimal
    completion: Decimal
    cached: Decimal
    cached_note: str | None
    reasoning: Decimal
    reasoning_note: str | None
    saves: Decimal | None
    """USD that a cached token is cheaper than a plain one; None without cache prices"""
    searches: bool
    """searches have a price"""
    source: str
    revision: str | None


@lru_cache(maxsize=8192)
def _flat(sheet: PriceSheet) -> _Flat | None:
    """None for a sheet with overrides, a discount, a price for each request, or without one for text."""
    base = sheet.base
    if sheet.overrides or sheet.discount or base.request or base.prompt is None or base.completion is None:
        return None
    cached, cached_note = rate_of(base, "input_cache_read")
    reasoning, reasoning_note = rate_of(base, "internal_reasoning")
    if cached is None or reasoning is None or min(base.prompt, base.completion, cached, reasoning) < ZERO:
        return None
    has_cache = not (
        base.input_cache_read is None and base.input_cache_write is None and base.input_cache_write_1h is None
    )
    return _Flat(
        base.prompt,
        base.completion,
        cached,
        cached_note,
        reasoning,
        reasoning_note,
        subtract(base.prompt, cached) if has_cache else None,
        bool(base.web_search),
        sheet.source,
        sheet.revision or None,
    )


def price(
    usage: Usage,
    sheet: PriceSheet | None,
    accounting: Accounting = Accounting(),
    *,
    images: int = 0,
    hhmm: int = 0,
    is_byok: bool = False,
    insured: bool = False,
    contacted: bool = True,
) -> Charge:
    """What `usage` costs. `images` are input images; `insured` takes inference back (zero-completion insurance);
    `contacted` False means that no provider was reached, so the charge is a known zero without lines."""
    if not contacted:
        return Charge(lines=())
    if sheet is None:
        return Charge(unpriced=True)
    if not (images or insured or is_byok) and (flat := _flat(sheet)) is not None and accounting.markup >= ZERO:
        charge = _text_charge(usage, flat, accounting.markup)
        if charge is not None:
            return charge
    if not is_priced(sheet):
        return Charge(unpriced=True)
    outer = getcontext()
    setcontext(EXACT)
    try:
        return _charge(usage, sheet, accounting, images, hhmm, is_byok, insured)
    finally:
        setcontext(outer)


def is_priced(sheet: PriceSheet) -> bool:
    """True if the sheet says what a call costs at all."""
    base = sheet.base
    return base.prompt is not None or base.completion is not None or base.request is not None


def _text_charge(usage: Usage, flat: _Flat, markup: Decimal) -> Charge | None:
    """`_charge` of a call that is nothing but text; None where it is more, searches are billed, or counts contradict
    each other. Neither a price nor the markup is below zero."""
    if not is_text(usage):
        return None
    cached, reasoning = usage.cached or 0, usage.reasoning or 0
    prompt, completion = (usage.prompt or 0) - cached, (usage.completion or 0) - reasoning
    if cached < 0 or prompt < 0 or reasoning < 0 or completion < 0 or (flat.searches and usage.web_searches):
        return None
    lines: list[Line] = []
    prompt_cost = completion_cost = ZERO
    saved: Decimal | None = None
    if prompt:
        prompt_cost = multiply(prompt, flat.prompt)
        lines.append(Line("prompt", prompt_cost, prompt, flat.prompt))
    if cached:
        cost = multiply(cached, flat.cached)
        lines.append(Line("cache_read", cost, cached, flat.cached, flat.cached_note))
        prompt_cost = add(prompt_cost, cost)
        if flat.saves is not None:
            saved = multiply(cached, flat.saves)
    if completion:
        completion_cost = multiply(completion, flat.completion)
        lines.append(Line("completion", completion_cost, completion, flat.completion))
    if reasoning:
        cost = multiply(reasoning, flat.reasoning)
        lines.append(Line("reasoning", cost, reasoning, flat.reasoning, flat.reasoning_note))
        completion_cost = add(completion_cost, cost)
    upstream = total = add(prompt_cost, completion_cost)
    if markup:
        extra = multiply(upstream, markup)
        lines.append(Line("markup", extra, None, markup))
        total = add(upstream, extra)
        if saved is not None:
            saved = add(saved, multiply(saved, markup))
    short = normalize if total < TEN else tidy  # no amount is larger than their sum
    upstream = short(upstream)
    return Charge(
        short(total) if markup else upstream,
        upstream,
        short(prompt_cost),
        short(completion_cost),
        None if saved is None else tidy(saved),
        tuple(lines),
        False,
        False,
        flat.source,
        flat.revision,
    )


def _charge(
    usage: Usage, sheet: PriceSheet, accounting: Accounting, images: int, hhmm: int, is_byok: bool, insured: bool
) -> Charge:
    prices = prices_for(sheet, usage.prompt or 0, hhmm)
    counts, rates = split(usage), _rates(prices)
    lines: list[Line] = []
    prompt_part = _add_items(lines, PROMPT_ITEMS, counts, rates)
    if images and prices.image:
        lines.append(Line("image", images * prices.image, images, prices.image))
        prompt_part += images * prices.image
    completion_part = _add_items(lines, COMPLETION_ITEMS, counts, rates)
    if prices.request and not usage.empty:
        lines.append(Line("request", prices.request, 1, prices.request))
        prompt_part += prices.request
    kept = 1 - sheet.discount
    if sheet.discount:
        off = -(prompt_part + completion_part) * sheet.discount
        lines.append(Line("discount", off, rate=sheet.discount, note="provider's promotion"))
    prompt_part *= kept
    completion_part *= kept
    searches = ZERO
    if usage.web_searches and prices.web_search:
        searches = usage.web_searches * prices.web_search
        lines.append(Line("web_search", searches, usage.web_searches, prices.web_search))
    inference = prompt_part + completion_part
    upstream = inference + searches
    factor = accounting.byok_fee if is_byok else 1 + accounting.markup
    if is_byok:
        lines.append(Line("byok", -inference, note="paid to the provider on the caller's own key"))
        if accounting.byok_fee:
            lines.append(Line("byok_fee", inference * factor, rate=accounting.byok_fee))
    elif accounting.markup:
        lines.append(Line("markup", inference * accounting.markup, rate=accounting.markup))
    total = inference * factor + searches
    saved = _cache_saving(counts, prices)
    cache_discount = None if saved is None else saved * kept * factor
    if insured and inference:
        lines.append(Line("insurance", -inference * factor, note="no completion or an error finish: not charged"))
        total -= inference * factor
        cache_discount = None if cache_discount is None else ZERO
    if counts.note is not None:
        lines.append(Line("note", ZERO, note=counts.note))
    return Charge(
        total=tidy(total),
        upstream=tidy(upstream),
        upstream_prompt=tidy(prompt_part + searches),
        upstream_completion=tidy(completion_part),
        cache_discount=None if cache_discount is None else tidy(cache_discount),
        lines=tuple(lines),
        insured=insured,
        price_source=sheet.source,
        price_revision=sheet.revision or None,
    )


def _add_items(lines: list[Line], items: tuple[tuple[str, str], ...], counts: Counts, rates: Rates) -> Decimal:
    """Append a line for each non-zero count; gives their sum."""
    total = ZERO
    for item, key in items:
        count: int = getattr(counts, item)
        if not count:
            continue
        rate, note = rates[item]
        if rate is None:
            lines.append(Line(item, ZERO, count, note=f"no {key} price and none to fall back to: not billed"))
            continue
        amount = count * rate
        lines.append(Line(item, amount, count, rate, note))
        total += amount
    return total


def _cache_saving(counts: Counts, prices: Prices) -> Decimal | None:
    """List-price saving of cache reads less the extra of cache writes; None without cache prices or cache traffic."""
    if not (counts.cache_read or counts.audio_cache_read or counts.cache_write or counts.cache_write_1h):
        return None
    if prices.input_cache_read is None and prices.input_cache_write is None and prices.input_cache_write_1h is None:
        return None
    saving = ZERO
    plain = prices.prompt or ZERO
    for item, key in PROMPT_ITEMS:
        if item not in _CACHE_ITEMS:
            continue
        base = rate_of(prices, "audio")[0] or ZERO if item == "audio_cache_read" else plain
        rate, _ = rate_of(prices, key)
        saving += getattr(counts, item) * (base - (base if rate is None else rate))
    return saving


def is_insured(usage: Usage, finish_reason: str | None, *, delivered: bool, cancelled: bool) -> bool:
    """Zero-completion insurance: no charge where nothing was generated and nothing finished, or the finish is `error`.

    A caller who left is insured only if no token was produced (generation record, sections 4.5 and 6.6).
    """
    if finish_reason == "error":
        return not cancelled
    return not usage.completion and not delivered and finish_reason is None

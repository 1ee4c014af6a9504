"""What a charge and a bound are, written down as plainly as it can be said: no short ways, nothing kept from call to
call. The metering room has to say the same to the digit."""

from __future__ import annotations

from decimal import Decimal, localcontext

from routebook.core.call import Call
from routebook.core.catalog import Accounting, Endpoint
from routebook.core.money import EXACT, Charge, Line, Prices, PriceSheet
from routebook.core.usage import Usage
from routebook.metering.counts import split
from routebook.metering.estimate import DEFAULT_COMPLETION_TOKENS, prompt_bound
from routebook.metering.pricing import COMPLETION_ITEMS, PROMPT_ITEMS, prices_for, rate_of

ZERO = Decimal(0)
CACHE = {"cache_read": "prompt", "cache_write": "prompt", "cache_write_1h": "prompt", "audio_cache_read": "audio"}


def slow_price(
    usage: Usage, sheet: PriceSheet, accounting: Accounting, images: int, hhmm: int, is_byok: bool, insured: bool
) -> Charge:
    """`pricing.price` of a call that reached a provider whose sheet has a price."""
    with localcontext(EXACT):
        prices = prices_for(sheet, usage.prompt or 0, hhmm)
        lines: list[Line] = []
        prompt = _sum(usage, prices, PROMPT_ITEMS, lines)
        if images and prices.image:
            lines.append(Line("image", images * prices.image, images, prices.image))
            prompt += images * prices.image
        completion = _sum(usage, prices, COMPLETION_ITEMS, lines)
        if prices.request and not (usage.prompt is None and usage.completion is None):
            lines.append(Line("request", prices.request, 1, prices.request))
            prompt += prices.request
        if sheet.discount:
            off = -(prompt + completion) * sheet.discount
            lines.append(Line("discount", off, rate=sheet.discount, note="provider's promotion"))
        kept = 1 - sheet.discount
        prompt, completion = prompt * kept, completion * kept
        searches = (usage.web_searches or 0) * (prices.web_search or ZERO)
        if searches:
            lines.append(Line("web_search", searches, usage.web_searches, prices.web_search))
        inference = prompt + completion
        factor = accounting.byok_fee if is_byok else 1 + accounting.markup
        if is_byok:
            lines.append(Line("byok", -inference, note="paid to the provider on the caller's own key"))
            if accounting.byok_fee:
                lines.append(Line("byok_fee", inference * factor, rate=accounting.byok_fee))
        elif accounting.markup:
            lines.append(Line("markup", inference * accounting.markup, rate=accounting.markup))
        total = inference * factor + searches
        saved = _saved(usage, prices)
        discount = None if saved is None else saved * kept * factor
        if insured and inference:
            lines.append(Line("insurance", -inference * factor, note="no completion or an error finish: not charged"))
            total -= inference * factor
            discount = None if discount is None else ZERO
        if (note := split(usage).note) is not None:
            lines.append(Line("note", ZERO, note=note))
        return Charge(
            total=total,
            upstream=inference + searches,
            upstream_prompt=prompt + searches,
            upstream_completion=completion,
            cache_discount=discount,
            lines=tuple(lines),
            insured=insured,
            price_source=sheet.source,
            price_revision=sheet.revision or None,
        )


def _sum(usage: Usage, prices: Prices, items: tuple[tuple[str, str], ...], lines: list[Line]) -> Decimal:
    total = ZERO
    for item, key in items:
        count = getattr(split(usage), item)
        rate, note = rate_of(prices, key)
        if not count:
            continue
        if rate is None:
            lines.append(Line(item, ZERO, count, note=f"no {key} price and none to fall back to: not billed"))
        else:
            lines.append(Line(item, count * rate, count, rate, note))
            total += count * rate
    return total


def _saved(usage: Usage, prices: Prices) -> Decimal | None:
    counts = split(usage)
    known = (prices.input_cache_read, prices.input_cache_write, prices.input_cache_write_1h)
    if not any(getattr(counts, item) for item in CACHE) or all(price is None for price in known):
        return None
    saved = ZERO
    for item, key in PROMPT_ITEMS:
        if item in CACHE:
            plain = rate_of(prices, CACHE[item])[0] or ZERO
            rate = rate_of(prices, key)[0]
            saved += getattr(counts, item) * (plain - (plain if rate is None else rate))
    return saved


def slow_bound(call: Call, endpoint: Endpoint, accounting: Accounting) -> Decimal | None:
    """`estimate.cost_bound`."""
    sheet = endpoint.pricing
    if sheet is None or (sheet.base.prompt, sheet.base.completion, sheet.base.request) == (None, None, None):
        return None
    tables = [sheet.base, *(override.prices for override in sheet.overrides)]

    def worst(*keys: str) -> Decimal:
        rates = [rate for prices in tables for key in keys if (rate := rate_of(prices, key)[0]) is not None]
        return max(rates, default=ZERO)

    with localcontext(EXACT):
        cost = prompt_bound(call, endpoint) * worst(*(key for _, key in PROMPT_ITEMS)) + worst("request")
        most = call.chat.max_tokens or endpoint.max_completion_tokens or DEFAULT_COMPLETION_TOKENS
        cost += most * max(call.chat.n or 1, 1) * worst(*(key for _, key in COMPLETION_ITEMS))
        cost += call.media_prompt * worst("image")
        cost *= 1 - min(sheet.discount, ZERO)
        return cost * (1 + accounting.markup)

"""Bounds before a call and estimates after one, for where no provider said a number. Pure.

Both lean to the safe side: the bound is never below what a provider can bill for the prompt, the estimate is marked.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from routebook.core.call import Call
from routebook.core.catalog import Accounting, Endpoint
from routebook.core.money import EXACT, ZERO, PriceSheet, multiply
from routebook.core.usage import Usage
from routebook.metering.pricing import COMPLETION_ITEMS, PROMPT_ITEMS, is_priced, rate_of

TEMPLATE_TOKENS_PER_MESSAGE = 16
"""What chat templates add around one message; the largest seen in common templates is 11."""
TEMPLATE_TOKENS = 512
"""System preambles that providers put in front (tool instructions, dates)."""
DEFAULT_COMPLETION_TOKENS = 4096
"""Held for an answer whose length neither the caller nor the catalogue bounds."""
UNKNOWN_CONTEXT = 131_072
"""Counts for a part of unknown size (an image by URL) where the endpoint's context is not known."""

fma: Callable[[Decimal | int, Decimal, Decimal], Decimal] = EXACT.fma
"""first x second + third with every digit kept"""


def prompt_bound(call: Call, endpoint: Endpoint) -> int:
    """Most prompt tokens the provider can count: a token has at least one byte; cut to the endpoint's context."""
    bound = call.body_bytes + TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * len(call.chat.messages)
    if call.media_prompt or call.audio_prompt:
        bound += (call.media_prompt + call.audio_prompt) * (endpoint.context_length or UNKNOWN_CONTEXT)
    context = endpoint.context_length
    return bound if context is None or bound < context else context


def completion_bound(call: Call, endpoint: Endpoint) -> int:
    """Most completion tokens the provider may generate, over all choices."""
    limit, choices = call.chat.max_tokens or endpoint.max_completion_tokens or DEFAULT_COMPLETION_TOKENS, call.chat.n
    return limit if choices is None or choices < 2 else limit * choices


def cost_bound(call: Call, endpoint: Endpoint, accounting: Accounting, completion: int | None = None) -> Decimal | None:
    """USD this call can cost at this endpoint at most; None if the endpoint has no price. `completion`: so many tokens
    of an answer instead of the most that there can be.

    Searches that a provider runs by itself are not in it: nobody can say beforehand how many there will be.
    """
    sheet = endpoint.pricing
    worst = None if sheet is None else _worst_rates(sheet)
    if worst is None:
        return None
    prompt_rate, completion_rate, cost, image, raised = worst
    cost = fma(prompt_bound(call, endpoint), prompt_rate, cost)
    cost = fma(completion_bound(call, endpoint) if completion is None else completion, completion_rate, cost)
    if call.media_prompt:
        cost = fma(call.media_prompt, image, cost)
    if raised is not None:
        cost = multiply(cost, raised)
    return fma(cost, accounting.markup, cost) if accounting.markup else cost


@lru_cache(maxsize=8192)
def _worst_rates(sheet: PriceSheet) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal | None] | None:
    """The highest (prompt, completion, request, image) price of a sheet, and the factor of a negative discount.
    None if it has no price."""
    if not is_priced(sheet):
        return None
    prompt = _worst(sheet, tuple(key for _, key in PROMPT_ITEMS))
    completion = _worst(sheet, tuple(key for _, key in COMPLETION_ITEMS))
    request, image = _worst(sheet, ("request",)), _worst(sheet, ("image",))
    raised = EXACT.subtract(1, sheet.discount) if sheet.discount < 0 else None
    return prompt or ZERO, completion or ZERO, request or ZERO, image or ZERO, raised


def _worst(sheet: PriceSheet, keys: tuple[str, ...]) -> Decimal | None:
    """The highest of these prices in the base and every override."""
    rates = [
        rate
        for prices in (sheet.base, *(o.prices for o in sheet.overrides))
        for key in keys
        if (rate := rate_of(prices, key)[0]) is not None
    ]
    return max(rates, default=None)


def tokens_of(text_bytes: int, frames: int) -> int:
    """Tokens in delivered text: about four bytes each, and every frame that a provider sent had at least one."""
    return max(frames, -(-text_bytes // 4))


def prompt_tokens_of(prompt_bytes: int) -> int:
    """Tokens in a request body: about four bytes each."""
    return -(-prompt_bytes // 4)


def estimate(prompt_bytes: int, delivered_bytes: int, frames: int, known: Usage) -> Usage:
    """Usage of an answer that ended without a report: known counts stay, the others come from what was sent."""
    completion = tokens_of(delivered_bytes, frames)
    return Usage(
        prompt=known.prompt if known.prompt is not None else prompt_tokens_of(prompt_bytes),
        completion=max(completion, known.completion or 0),
        reasoning=known.reasoning,
        cached=known.cached,
        cache_write=known.cache_write,
        cache_write_1h=known.cache_write_1h,
        raw=known.raw,
    )

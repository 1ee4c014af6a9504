"""Splits a provider's overlapping counts into disjoint ones, so that every token is priced exactly once.

Source: generation record, sections 4.2 and 9.1. Counts that contradict each other (more cached than prompt tokens) are
cut so that the parts sum to the whole, and the cut is said in `note`.
"""

from __future__ import annotations

import msgspec

from routebook.core.usage import Usage


class Counts(msgspec.Struct, frozen=True):
    """Disjoint token counts: the prompt ones sum to the prompt, the completion ones to the completion."""

    prompt: int = 0
    """plain prompt tokens"""
    image_prompt: int = 0
    cache_read: int = 0
    audio_cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_prompt: int = 0
    completion: int = 0
    """plain completion tokens"""
    reasoning: int = 0
    audio_completion: int = 0
    image_completion: int = 0
    note: str | None = None


class _Whole:
    """A total that parts are taken from, never below zero."""

    def __init__(self, total: int) -> None:
        self.left = max(total, 0)
        self.cut = False

    def take(self, wanted: int | None) -> int:
        wanted = wanted or 0
        part = min(max(wanted, 0), self.left)
        self.cut = self.cut or part != wanted
        self.left -= part
        return part


def is_text(usage: Usage) -> bool:
    """True for the common report: nothing in it but text, cache reads and reasoning."""
    return not (
        usage.cache_write
        or usage.cache_write_1h
        or usage.audio_prompt
        or usage.audio_cached
        or usage.audio_completion
        or usage.image_prompt
        or usage.image_completion
    )


def split(usage: Usage) -> Counts:
    """Disjoint counts of one usage report; unknown counts are taken as none of that kind."""
    if is_text(usage):
        cached, reasoning = usage.cached or 0, usage.reasoning or 0
        prompt_left, completion_left = (usage.prompt or 0) - cached, (usage.completion or 0) - reasoning
        if cached >= 0 <= prompt_left and reasoning >= 0 <= completion_left:
            return Counts(prompt=prompt_left, cache_read=cached, completion=completion_left, reasoning=reasoning)
    prompt = _Whole(usage.prompt or 0)
    audio_cached = min(usage.audio_cached or 0, usage.cached or 0, usage.audio_prompt or 0)
    cached = (usage.cached or 0) - audio_cached
    audio = (usage.audio_prompt or 0) - audio_cached
    # Money-relevant order: what is cheapest for the account is taken first, so that a contradiction never overcharges.
    audio_cache_read = prompt.take(audio_cached)
    cache_read = prompt.take(cached)
    cache_write = prompt.take(usage.cache_write)
    cache_write_1h = prompt.take(usage.cache_write_1h)
    audio_prompt = prompt.take(audio)
    # Images may be cached too; providers do not say which, so the cut here is no contradiction.
    image_prompt = min(max(usage.image_prompt or 0, 0), prompt.left)
    prompt.left -= image_prompt
    completion = _Whole(usage.completion or 0)
    reasoning = completion.take(usage.reasoning)
    audio_completion = completion.take(usage.audio_completion)
    image_completion = completion.take(usage.image_completion)
    cut = prompt.cut or completion.cut
    return Counts(
        prompt=prompt.left,
        image_prompt=image_prompt,
        cache_read=cache_read,
        audio_cache_read=audio_cache_read,
        cache_write=cache_write,
        cache_write_1h=cache_write_1h,
        audio_prompt=audio_prompt,
        completion=completion.left,
        reasoning=reasoning,
        audio_completion=audio_completion,
        image_completion=image_completion,
        note="the provider's counts contradict each other; parts were cut to the whole" if cut else None,
    )

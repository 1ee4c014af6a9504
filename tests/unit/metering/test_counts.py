"""Overlapping counts become disjoint ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.usage import Usage
from routebook.metering.counts import Counts, split

PROMPT = ("prompt", "image_prompt", "cache_read", "audio_cache_read", "cache_write", "cache_write_1h", "audio_prompt")
COMPLETION = ("completion", "reasoning", "audio_completion", "image_completion")


def parts(counts: Counts, names: tuple[str, ...]) -> list[int]:
    return [getattr(counts, name) for name in names]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), Counts()),
        (Usage(prompt=10, completion=2), Counts(prompt=10, completion=2)),
        (Usage(prompt=12_000, cached=10_000, cache_write=500), Counts(1500, 0, 10_000, 0, 500)),
        (Usage(prompt=100, cache_write=10, cache_write_1h=20), Counts(70, cache_write=10, cache_write_1h=20)),
        (Usage(prompt=100, audio_prompt=30), Counts(70, audio_prompt=30)),
        (
            Usage(prompt=100, cached=50, audio_prompt=30, audio_cached=20),
            Counts(40, 0, 30, audio_cache_read=20, audio_prompt=10),
        ),
        (Usage(prompt=100, image_prompt=40), Counts(60, 40)),
        (Usage(completion=900, reasoning=700), Counts(completion=200, reasoning=700)),
        (
            Usage(completion=90, reasoning=10, audio_completion=20, image_completion=30),
            Counts(completion=30, reasoning=10, audio_completion=20, image_completion=30),
        ),
    ],
)
def test_each_token_is_of_one_kind(usage: Usage, expected: Counts) -> None:
    assert split(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        Usage(prompt=10, cached=11),
        Usage(cached=3),
        Usage(prompt=10, cached=6, cache_write=6),
        Usage(completion=5, reasoning=6),
        Usage(completion=5, reasoning=4, audio_completion=2),
        Usage(prompt=10, cached=-1),
        Usage(prompt=-10),
    ],
)
def test_counts_that_contradict_each_other_are_cut_and_said(usage: Usage) -> None:
    counts = split(usage)
    assert (counts.note is not None) == (usage.prompt != -10)
    assert min(parts(counts, PROMPT + COMPLETION)) >= 0


def test_what_is_cheapest_for_the_account_is_taken_first() -> None:
    assert split(Usage(prompt=10, cached=8, cache_write=8)) == Counts(
        cache_read=8, cache_write=2, note="the provider's counts contradict each other; parts were cut to the whole"
    )


def test_images_that_were_cached_are_no_contradiction() -> None:
    assert split(Usage(prompt=10, cached=8, image_prompt=5)) == Counts(image_prompt=2, cache_read=8)


COUNT = st.none() | st.integers(-5, 200)


@given(st.builds(Usage, **{name: COUNT for name in Usage.__struct_fields__ if name != "raw"}))
def test_the_parts_are_never_negative_and_sum_to_their_wholes(usage: Usage) -> None:
    counts = split(usage)
    assert min(parts(counts, PROMPT + COMPLETION)) >= 0
    assert sum(parts(counts, PROMPT)) == max(usage.prompt or 0, 0)
    assert sum(parts(counts, COMPLETION)) == max(usage.completion or 0, 0)

"""Ids name their daybook and their place in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.ids import ALPHABET, MAX_N, Mint, base62, from_base62, generation_id, locate, request_id

BASE62 = st.text(ALPHABET, min_size=11, max_size=11)


@given(BASE62, st.text(ALPHABET, min_size=3, max_size=3), st.integers(0, MAX_N))
def test_an_id_says_where_its_call_is(random: str, daybook: str, n: int) -> None:
    text = generation_id(1_721_086_399, random, daybook, n)
    assert len(text) == len("gen-1721086399-") + 20
    assert locate(text) == (daybook, n)


@given(st.integers(0, 62**6 - 1))
def test_base62_reads_back(value: int) -> None:
    assert from_base62(base62(value, 6)) == value


@pytest.mark.parametrize(("value", "width"), [(62, 1), (-1, 3), (62**3, 3)])
def test_a_number_that_does_not_fit_is_refused(value: int, width: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        base62(value, width)


@pytest.mark.parametrize("n", [-1, MAX_N + 1])
def test_a_call_number_that_does_not_fit_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        generation_id(1, "0" * 11, "000", n)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG",
        "gen-1721086399-short",
        "gen-1721086399-0000000000000000000!",
        "gen-1721086399-!0000000000000000000",
        "gen-1721086399-000000000000000000000",
        "gen-x-00000000000000000000",
        "req-1721086399-00000000000000000000",
        "gen-1721086399-0000000000000000000é",
        "gen-1721086399-00000000000000000000-1",
    ],
)
def test_an_id_of_another_shape_names_no_place(text: str) -> None:
    assert locate(text) is None


def test_a_request_id_has_the_published_shape() -> None:
    assert request_id(1_727_282_430, "aBcDeFgHiJkLmNoPqRsT") == "req-1727282430-aBcDeFgHiJkLmNoPqRsT"


def test_a_mint_gives_the_same_ids_in_the_same_order_every_time() -> None:
    first, second = Mint(1, "seed"), Mint(1, "seed")
    assert [first.next("call"), first.next("msg")] == ["call_seed_0", "msg_seed_1"]
    assert [second.next("call"), second.next("msg")] == ["call_seed_0", "msg_seed_1"]

"""Money keeps every digit."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.money import add, plain, subtract, tidy, usd

MONEY = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=18)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.0015", "0.0015"),
        ("0.00150", "0.0015"),
        ("1E-7", "0.0000001"),
        ("0E-9", "0"),
        ("10", "10"),
        ("1E+3", "1000"),
        ("100.00", "100"),
        ("-0.50", "-0.5"),
    ],
)
def test_money_is_written_without_exponent_and_without_trailing_zeros(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text
    assert str(tidy(Decimal(value))) == text or Decimal(value).adjusted() < -6


@given(MONEY)
def test_tidying_changes_no_amount(value: Decimal) -> None:
    assert tidy(value) == value
    assert Decimal(plain(value)) == value


@given(MONEY, MONEY)
def test_sums_are_exact_whatever_the_decimal_context_of_the_moment(left: Decimal, right: Decimal) -> None:
    with localcontext(Context(prec=2)):
        total = add(left, right)
        back = subtract(total, right)
    assert back == left
    assert Fraction(total) == Fraction(left) + Fraction(right)


@pytest.mark.parametrize("value", [0.1, 1.0])
def test_money_never_comes_from_a_float(value: float) -> None:
    with pytest.raises(TypeError, match="float"):
        usd(value)


@pytest.mark.parametrize("value", ["0.1", 1, Decimal("0.1")])
def test_money_comes_from_text_and_whole_numbers(value: object) -> None:
    assert usd(value) == Decimal(str(value))

"""The book of balances, by example and against a model that adds everything up anew each time."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import PaymentRequired
from routebook.core.people import Key
from routebook.ledger.book import Usages, remaining
from routebook.ledger.tally import Hold
from routebook.ledger.windows import day_number, day_text, span
from routebook.store.port import Posting, Spend

from .till import Till

D = Decimal
DAY_NS = 86_400 * 1_000_000_000
NOON = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()) * 1_000_000_000  # a Wednesday


def key(limit: str | None = None, reset: str | None = None, **more: Any) -> Key:
    return Key(hash="a" * 64, name="k", label="l", limit=None if limit is None else D(limit), limit_reset=reset, **more)


def spend(day: str, usage: str, byok: str = "0", hash: str = "a" * 64) -> Spend:
    return Spend(hash, "default", day, D(usage), D(byok), requests=1)


def test_a_call_fits_up_to_the_last_digit_of_the_limit() -> None:
    book, mine = Till(), key("1")
    hold = book.hold(mine, D("0.9999999999999999999999999999999999999999"), NOON)
    with pytest.raises(PaymentRequired):
        book.hold(mine, D("0.0000000000000000000000000000000000000002"), NOON)
    book.hold(mine, D("0.0000000000000000000000000000000000000001"), NOON)
    book.settle(hold, D("0.9999999999999999999999999999999999999999"))
    with pytest.raises(PaymentRequired):
        book.hold(mine, D("1e-60"), NOON)


def test_a_refusal_says_what_is_spent_held_and_needed_when_it_resets_and_what_to_do() -> None:
    book, mine = Till(), key("10", "monthly")
    book.settle(book.hold(mine, D(6), NOON), D("5.25"))
    book.hold(mine, D("4.5"), NOON)
    with pytest.raises(PaymentRequired) as fault:
        book.hold(mine, D("0.25000010"), NOON)
    assert str(fault.value.metadata["needed"]) == "0.2500001", "as people expect to read it"
    assert fault.value.message == (
        "Key limit reached: $10 a month, $5.25 spent, $4.5 held by running calls, and this call may need $0.2500001. "
        "Ask for fewer max_tokens, wait for the reset at 2026-04-01T00:00:00Z, or raise the key's limit."
    )
    assert fault.value.metadata == {
        "limit": D(10),
        "limit_reset": "monthly",
        "spent": D("5.25"),
        "held": D("4.5"),
        "needed": D("0.2500001"),
        "reset_at": "2026-04-01T00:00:00Z",
    }
    assert book.holds_open == 1


def test_settling_gives_back_what_the_call_did_not_need() -> None:
    book, mine = Till(), key("1")
    hold = book.hold(mine, D(1), NOON)
    with pytest.raises(PaymentRequired):
        book.hold(mine, D("0.1"), NOON)
    book.settle(hold, D("0.1"))
    assert book.held(mine.hash) == 0
    book.hold(mine, D("0.9"), NOON)


def test_a_released_hold_leaves_no_trace() -> None:
    book, mine = Till(), key("1")
    book.release(book.hold(mine, D(1), NOON))
    assert book.usage(mine.hash, NOON) == Usages()
    assert book.holds_open == 0
    assert book.held(mine.hash) == 0


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_hold_ends_once(first: str, second: str) -> None:
    book = Till()
    hold = book.hold(key("1"), D("0.5"), NOON)

    def end(how: str) -> None:
        book.settle(hold, D("0.1")) if how == "settle" else book.release(hold)

    end(first)
    before = (book.usage(hold.key_hash, NOON), book.held(hold.key_hash), book.holds_open)
    with pytest.raises(AssertionError):
        end(second)
    assert (book.usage(hold.key_hash, NOON), book.held(hold.key_hash), book.holds_open) == before


def test_a_charge_is_never_cut_to_its_hold_but_flagged() -> None:
    book, mine = Till(), key("1")
    hold = book.hold(mine, D("0.5"), NOON)
    book.settle(hold, D("1.5"))
    assert hold.over_hold
    assert book.over_holds == 1
    assert book.usage(mine.hash, NOON).total == D("1.5")
    assert remaining(mine, book.usage(mine.hash, NOON)) == D("-0.5")
    exact = book.hold(key(), D("0.5"), NOON)
    book.settle(exact, D("0.5"))
    assert not exact.over_hold


def test_an_unpriced_call_is_refused_where_there_is_a_limit_and_let_through_where_there_is_none() -> None:
    book = Till()
    with pytest.raises(PaymentRequired, match=r"no known price.*unpriced_ceiling"):
        book.hold(key("100"), None, NOON)
    hold = book.hold(key(), None, NOON)
    book.settle(hold, D("3"))
    assert not hold.over_hold


def test_keys_without_limit_and_the_operators_own_always_get_their_hold() -> None:
    book = Till()
    book.hold(key(), D("1e9"), NOON)
    book.hold(key("1", admin=True), D("1e9"), NOON)


@pytest.mark.parametrize("amount", ["-0.1", "NaN", "Infinity"])
def test_a_hold_that_is_no_amount_is_an_error(amount: str) -> None:
    with pytest.raises(ValueError, match="a hold must be"):
        Till().hold(key("1"), D(amount), NOON)


def test_a_key_that_is_spent_out_still_gets_what_is_free() -> None:
    book, mine = Till(), key("1")
    book.settle(book.hold(mine, D(1), NOON), D(1))
    book.settle(book.hold(mine, D(0), NOON), D(0))
    assert book.holds_open == 0


@pytest.mark.parametrize(("counts", "left"), [(False, "0.5"), (True, "0.25")])
def test_spend_on_the_callers_own_provider_key_counts_where_the_key_says_so(counts: bool, left: str) -> None:
    book, mine = Till(), key("1", include_byok_in_limit=counts)
    book.settle(book.hold(mine, D(1), NOON), D("0.5"), D("0.25"))
    assert remaining(mine, book.usage(mine.hash, NOON)) == D(left)
    book.release(book.hold(mine, D(left), NOON))
    with pytest.raises(PaymentRequired):
        book.hold(mine, D(left) + D("0.01"), NOON)
    usage = book.usage(mine.hash, NOON)
    assert (usage.byok_total, usage.byok_daily, usage.byok_weekly, usage.byok_monthly) == (D("0.25"),) * 4


def test_a_daily_limit_starts_again_at_midnight_utc() -> None:
    book, mine = Till(), key("1", "daily")
    book.settle(book.hold(mine, D(1), NOON), D(1))
    midnight = NOON + DAY_NS // 2
    with pytest.raises(PaymentRequired, match="2026-03-05T00:00:00Z"):
        book.hold(mine, D("0.01"), midnight - 1)
    book.hold(mine, D(1), midnight)


def test_a_call_over_midnight_counts_on_the_day_it_was_accepted() -> None:
    book, mine = Till(), key("1", "daily")
    late = book.hold(mine, D(1), NOON)
    tomorrow = book.hold(mine, D("0.75"), NOON + DAY_NS)
    book.settle(late, D(1))
    book.settle(tomorrow, D("0.5"))
    assert book.usage(mine.hash, NOON + DAY_NS).daily == D("0.5")
    assert book.usage(mine.hash, NOON + DAY_NS).weekly == D("1.5")


def test_a_clock_that_was_ahead_neither_frees_nor_blocks_a_budget() -> None:
    book, mine = Till(), key("1", "daily")
    book.settle(book.hold(mine, D("0.75"), NOON), D("0.75"))
    book.settle(book.hold(mine, D("0.125"), NOON + 365 * DAY_NS), D("0.125"))
    assert book.usage(mine.hash, NOON).daily == D("0.875")
    with pytest.raises(PaymentRequired):
        book.hold(mine, D("0.25"), NOON)
    book.release(book.hold(mine, D("0.125"), NOON))


def test_a_raised_limit_counts_at_once() -> None:
    book, mine = Till(), key("1")
    book.settle(book.hold(mine, D(1), NOON), D(1))
    book.hold(msgspec.structs.replace(mine, limit=D(2)), D(1), NOON)


def test_a_book_starts_from_the_stores_days_and_the_rows_not_shipped_yet() -> None:
    book = Till()
    book.load(
        [
            spend("2026-03-04", "1", "0.5"),
            spend("2026-03-02", "2"),
            spend("2026-03-01", "4"),
            spend("2025-12-31", "8"),
            spend("2026-03-04", "16", hash="b" * 64),
        ]
    )
    book.replay(Posting("a" * 64, "default", "2026-03-04", D("0.25")))
    assert book.usage("a" * 64, NOON) == Usages(
        total=D("15.25"),
        daily=D("1.25"),
        weekly=D("3.25"),
        monthly=D("7.25"),
        byok_total=D("0.5"),
        byok_daily=D("0.5"),
        byok_weekly=D("0.5"),
        byok_monthly=D("0.5"),
    )
    assert book.account_usage("default") == D("31.25")
    assert book.account_usage("nobody") == 0
    assert book.usage("c" * 64, NOON) == Usages()


def test_a_book_is_loaded_once() -> None:
    book = Till()
    book.load([spend("2026-03-04", "1")])
    with pytest.raises(AssertionError):
        book.load([spend("2026-03-04", "1")])


def test_years_of_days_fold_into_the_total_and_every_window_stays_exact() -> None:
    book, mine = Till(), key("1", "monthly")
    first = date(2020, 1, 1).toordinal()
    days = [day_text(first + n) for n in range(2_000)]
    book.load([spend(day, "0.001") for day in reversed(days)])
    now_ns = (first + 1_999 - date(1970, 1, 1).toordinal()) * DAY_NS
    usage = book.usage(mine.hash, now_ns)
    assert usage.total == D("2.000")
    assert usage.monthly == D("0.001") * sum(day[:7] == days[-1][:7] for day in days)
    assert len(book._tallies[mine.hash].days) <= 48


def test_a_call_that_runs_for_months_keeps_its_hold_on_its_day() -> None:
    book, mine = Till(), key("1", "daily")
    long = book.hold(mine, D("0.5"), NOON)
    for day in range(1, 100):
        book.settle(book.hold(mine, D("0.1"), NOON + day * DAY_NS), D(0))
    with pytest.raises(PaymentRequired):
        book.hold(mine, D("0.75"), NOON)
    book.settle(long, D("0.25"))
    book.hold(mine, D("0.75"), NOON)


class _Model:
    """Every call ever made, added up anew for each question."""

    def __init__(self) -> None:
        self.posted: list[tuple[int, Decimal, Decimal]] = []
        self.open: list[Hold] = []

    def spent(self, reset: str | None, now_ns: int) -> Decimal:
        start, _ = span(reset, day_number(now_ns))
        return sum((usage for day, usage, _ in self.posted if day >= start), D(0))

    def held(self, reset: str | None, now_ns: int) -> Decimal:
        start, _ = span(reset, day_number(now_ns))
        return sum((hold.amount or D(0) for hold in self.open if hold.day >= start), D(0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), reset=st.sampled_from([None, "daily", "weekly", "monthly"]))
def test_five_hundred_interleaved_calls_never_pass_the_limit(seed: int, reset: str | None) -> None:
    chance = random.Random(seed)
    book, model, mine = Till(), _Model(), key("0.75", reset)
    now_ns, refused = NOON, 0
    for _ in range(500):
        now_ns += chance.choice([0, 10**9, 3_600 * 10**9, DAY_NS // 3])
        if model.open and chance.random() < 0.5:
            hold = model.open.pop(chance.randrange(len(model.open)))
            assert hold.amount is not None
            charge = hold.amount * D(chance.randrange(0, 101)) / 100
            book.settle(hold, charge)
            model.posted.append((hold.day, charge, D(0)))
        else:
            bound = D(chance.randrange(0, 10**9)).scaleb(-10)
            fits = model.spent(reset, now_ns) + model.held(reset, now_ns) + bound <= mine.limit  # type: ignore[operator]
            try:
                model.open.append(book.hold(mine, bound, now_ns))
                assert fits
            except PaymentRequired:
                assert not fits
                refused += 1
        for each in (None, "daily", "weekly", "monthly"):
            tally, (first, _) = book._tallies[mine.hash], span(each, day_number(now_ns))
            assert tally.spent(each, day_number(now_ns))[0] == model.spent(each, now_ns)
            assert tally.held(first) == model.held(each, now_ns)
        assert model.spent(reset, now_ns) + model.held(reset, now_ns) <= mine.limit  # type: ignore[operator]
    for hold in model.open:
        book.settle(hold, D(0))
    assert (book.holds_open, book.over_holds) == (0, 0)
    assert book.held(mine.hash) == 0
    assert refused or reset is not None


def test_of_many_calls_at_once_exactly_those_are_admitted_that_fit() -> None:
    book, mine = Till(), key("1")
    admitted = 0
    for _ in range(500):
        try:
            book.hold(mine, D("0.03"), NOON)
            admitted += 1
        except PaymentRequired:
            pass
    assert admitted == 33


def test_what_running_calls_held_before_their_key_got_a_limit_counts_against_it() -> None:
    book, free = Till(), key()
    before = book.hold(free, D("6"), NOON)
    mine = key("10")

    with pytest.raises(PaymentRequired):
        book.hold(mine, D("5"), NOON)
    book.settle(before, D("1"))
    after = book.hold(mine, D("5"), NOON)

    assert book.held(mine.hash) == D("5")
    book.release(after)
    assert book.held(mine.hash) == 0

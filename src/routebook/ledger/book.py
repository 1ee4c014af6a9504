"""Balances in memory: what each key has spent, what running calls hold, and whether another call fits its limit.

A worker has a book, and for every budget that its calls count against a purse: money that the store has lent to it
(`ledger.leases`). A hold is a comparison and an addition on that purse, with no await in between, so any number of
parallel calls stays within it, and all purses together stay within the limit. A charge is never cut to its hold: an
excess is posted and flagged. The book starts from the store's days plus the daybook's rows that are not shipped yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from routebook.core.errors import PaymentRequired
from routebook.core.money import ZERO, add, plain, subtract, tidy
from routebook.core.people import Key
from routebook.ledger import windows
from routebook.ledger.purse import NO_PURSES, Budget, Purse, budgets_of
from routebook.ledger.tally import Hold, Tally
from routebook.store.lending import Lease, key_of, shipped
from routebook.store.port import Posting, Spend


@dataclass(frozen=True, slots=True)
class Usages:
    """What a key has spent, USD: in its whole life and in the current UTC day, week and month."""

    total: Decimal = ZERO
    daily: Decimal = ZERO
    weekly: Decimal = ZERO
    monthly: Decimal = ZERO
    byok_total: Decimal = ZERO
    byok_daily: Decimal = ZERO
    byok_weekly: Decimal = ZERO
    byok_monthly: Decimal = ZERO


class Book:
    """All balances of one worker. Times are nanoseconds of unix time, money is USD."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._accounts: dict[str, Decimal] = {}
        self._accounts_stored: dict[str, Decimal] = {}
        self._purses: dict[str, list[Purse]] = {}
        """by budget"""
        self.holds_open = 0
        self.over_holds = 0
        """charges that were more than their hold, since the start"""

    # --- the beginning ------------------------------------------------------------------------------------------------

    def load(self, spends: list[Spend]) -> None:
        """The store's days, once, into an empty book."""
        if self._tallies:
            raise AssertionError("a book is loaded once, before anything is posted to it")
        for spend in sorted(spends, key=lambda spend: spend.day):
            self._post(spend.key_hash, spend.account, windows.day_of_text(spend.day), spend.usage, spend.byok)
            self._stored(spend.key_hash, spend.account, windows.day_of_text(spend.day), spend.usage, spend.byok)

    def replay(self, posting: Posting) -> None:
        """Calls that are in the daybook and not in the store yet."""
        self._post(posting.key_hash, posting.account, windows.day_of_text(posting.day), posting.usage, posting.byok)

    def take_up(self, leases: Iterable[Lease]) -> None:
        """What the store has lent to this worker's daybook before, once, when everything is loaded and replayed."""
        for lease in leases:
            first, last = (windows.day_of_text(day) for day in (lease.window.first, lease.window.last))
            self._purse(Budget(lease.window, ZERO, first, last)).lent(lease.amount)

    # --- the hot path -------------------------------------------------------------------------------------------------

    def hold(self, key: Key, bound: Decimal | None, accepted_ns: int) -> Hold | None:
        """Reserve `bound`, the most the call can cost; None = unpriced, nobody knows. Gives None where the purse of
        this worker is too small: whether the limit is spent, `Leases.hold` finds out.

        Raises PaymentRequired if the key has a limit and the bound is unknown. A key without limit, and the operator's
        own, always gets its hold.
        """
        if bound is not None and (not bound.is_finite() or bound < 0):
            raise ValueError(f"a hold must be a positive amount or zero, not {bound}")
        day = windows.day_number(accepted_ns)
        tally = self._tallies.get(key.hash) or self._tally(key.hash)
        purses = NO_PURSES
        if key.limit is not None and not key.admin:
            if bound is None:
                raise self._unpriced(key, tally, day)
            if tally.key is not key or not tally.first <= day <= tally.last:
                self._turn(tally, key, day)
            purses = tally.purses
            if bound:
                for purse in purses:
                    if bound > purse.free:
                        return None
                for purse in purses:
                    purse.free = subtract(purse.free, bound)
        hold = Hold(key, bound, day, accepted_ns, purses)
        tally.holds.add(hold)
        self.holds_open += 1
        return hold

    def settle(self, hold: Hold, charge: Decimal, byok: Decimal = ZERO) -> None:
        """Replace a hold by what the call cost: `charge` to the account, `byok` at list price on the caller's own key.

        Exactly once for each hold; a second end of a hold is an AssertionError.
        """
        self._end(hold)
        amount, most = hold.amount, charge
        for purse in hold.purses:
            counted = add(charge, byok) if byok and purse.window.byok else charge
            purse.free = subtract(add(purse.free, amount or ZERO), counted)
            most = max(most, counted)
        self._post(hold.key_hash, hold.account, hold.day, charge, byok)
        if amount is not None and most > amount:
            hold.over_hold = True
            self.over_holds += 1

    def release(self, hold: Hold) -> None:
        """Give a hold back without a charge, because the call was never written down. Exactly once, as settle."""
        self._end(hold)
        for purse in hold.purses:
            purse.free = add(purse.free, hold.amount or ZERO)

    def reclaim(self, hold: Hold) -> None:
        """As `release`, for a hold whose call is gone. Should that end after all, `settle_late` takes its charge."""
        self.release(hold)
        hold.reclaimed = True

    def settle_late(self, hold: Hold, charge: Decimal) -> None:
        """The charge of a call whose hold was reclaimed; harmless for any other hold, and the second time."""
        if not hold.reclaimed:
            return
        hold.reclaimed = False
        for purse in hold.purses:
            purse.free = subtract(purse.free, charge)
        self._post(hold.key_hash, hold.account, hold.day, charge, ZERO)

    # --- holds that change --------------------------------------------------------------------------------------------

    def extend(self, hold: Hold, more: Decimal) -> bool:
        """Hold that much more for a running call. False, and nothing happens, where a purse is too small."""
        if hold.amount is None or any(more > purse.free for purse in hold.purses):
            return False
        for purse in hold.purses:
            purse.free = subtract(purse.free, more)
        hold.amount = add(hold.amount, more)
        return True

    def shrink(self, hold: Hold, amount: Decimal) -> None:
        """Hold only that much. ValueError if it is more than what is held."""
        if hold.amount is None or not 0 <= amount <= hold.amount:
            raise ValueError(f"{hold!r} cannot shrink to {amount}")
        for purse in hold.purses:
            purse.free = add(purse.free, subtract(hold.amount, amount))
        hold.amount = amount

    # --- purses -------------------------------------------------------------------------------------------------------

    def purses_of(self, key: Key, accepted_ns: int) -> tuple[Purse, ...]:
        """What a call of that key at that time is paid from; nothing where it has no limit."""
        tally, day = self._tally(key.hash), windows.day_number(accepted_ns)
        self._turn(tally, key, day)
        return tally.purses

    def purses(self, budget: str | None = None) -> list[Purse]:
        """All there are, or those of one budget."""
        if budget is not None:
            return list(self._purses.get(budget, ()))
        return [purse for purses in self._purses.values() for purse in purses]

    def idle(self, purse: Purse) -> bool:
        """Nothing that it has to pay for is under way, or on its way to the store."""
        tally = self._tallies.get(key_of(purse.window.budget))
        if tally is None:
            return True
        if any(purse in hold.purses for hold in tally.holds):
            return False
        if purse.first <= 1:
            return not tally.total.owing(purse.window.byok)
        return not any(
            sums.owing(purse.window.byok) for day, sums in tally.days.items() if purse.first <= day <= purse.last
        )

    def drop(self, purse: Purse) -> None:
        """Forget a purse that is empty and idle."""
        tally = self._tallies.get(key_of(purse.window.budget))
        if tally is not None:
            tally.key = None
        left = self._purses[purse.window.budget]
        left.remove(purse)
        if not left:
            del self._purses[purse.window.budget]

    def shipped(self, postings: Iterable[Posting], own: bool = True) -> None:
        """The store has posted these: calls of this worker, which were in the book already. With `own` false somebody
        else's, which come to the book with it and were lent to nobody."""
        postings = list(postings)
        for posting in postings:
            if not own:
                self.replay(posting)
            on = windows.day_of_text(posting.day)
            self._stored(posting.key_hash, posting.account, on, posting.usage, posting.byok)
        if not own:
            return
        for budget, day, usage, byok in shipped(postings):
            for purse in self._purses.get(budget, ()):
                if purse.window.holds(day):
                    purse.shipped(usage, byok)

    # --- what people ask ----------------------------------------------------------------------------------------------

    def holds(self) -> Iterator[Hold]:
        """Of all running calls."""
        for tally in self._tallies.values():
            yield from tally.holds

    def held(self, key_hash: str, first: int = 0) -> Decimal:
        """What running calls of a key hold; of those alone that were accepted since that day."""
        tally = self._tallies.get(key_hash)
        return tally.held(first) if tally else ZERO

    def owing(self, purse: Purse) -> Decimal:
        """What was charged to the purse's budget here and is not in the store yet."""
        tally = self._tallies.get(key_of(purse.window.budget))
        if tally is None:
            return ZERO
        return subtract(tally.outstanding(purse.first, purse.window.byok), tally.held(purse.first))

    def usage(self, key_hash: str, now_ns: int, posted: Sequence[Spend] | None = None) -> Usages:
        """What a key has spent; zeros for a key that never called. `posted`: the store's days of it as they are now,
        which other workers add to; None: what this worker knows of them."""
        tally = self._tallies.get(key_hash) or Tally()
        day = windows.day_number(now_ns)
        resets = (None, *windows.RESETS)
        if posted is None:
            sums = [tally.spent(reset, day) for reset in resets]
        else:
            sums = [_added(tally.waiting(reset, day), posted, windows.span(reset, day)[0]) for reset in resets]
        return Usages(*(usage for usage, _ in sums), *(byok for _, byok in sums))

    def account_usage(self, account: str, posted: Iterable[Spend] | None = None) -> Decimal:
        """What all keys of an account were charged, deleted ones included. `posted`: as for `usage`, of all keys."""
        used = self._accounts.get(account, ZERO)
        if posted is None:
            return used
        used = subtract(used, self._accounts_stored.get(account, ZERO))
        for spend in posted:
            used = add(used, spend.usage) if spend.account == account else used
        return used

    # --- inside -------------------------------------------------------------------------------------------------------

    def _tally(self, key_hash: str) -> Tally:
        tally = self._tallies.get(key_hash)
        if tally is None:
            tally = self._tallies[key_hash] = Tally()
        return tally

    def _turn(self, tally: Tally, key: Key, day: int) -> None:
        """From here on the tally's purses are those of that key, as it is now, on that day."""
        budgets = budgets_of(key, day)
        purses = tuple(self._purse(budget) for budget in budgets)
        for purse in purses:
            if purse.first < tally.first:
                # The clock went back. What was spent and held while it was ahead counts, as long as it has not passed.
                purse.free = subtract(purse.amount, tally.outstanding(purse.first, purse.window.byok))
        tally.purses = purses
        tally.first = max((budget.first for budget in budgets), default=0)
        tally.last = min((budget.last for budget in budgets), default=0)
        tally.key = key

    def _purse(self, budget: Budget) -> Purse:
        purses = self._purses.setdefault(budget.window.budget, [])
        for purse in purses:
            if purse.window == budget.window:
                purse.budget = budget
                return purse
        purse = Purse(budget)
        purses.append(purse)
        tally = self._tallies.get(key_of(budget.window.budget))
        if tally is not None:
            # Calls that run already, from before the key had this limit, are paid from it as well.
            purse.free = subtract(ZERO, tally.outstanding(purse.first, purse.window.byok))
            for hold in tally.holds:
                if purse.first <= hold.day:
                    hold.purses = (*hold.purses, purse)
        return purse

    def _post(self, key_hash: str, account: str, day: int, usage: Decimal, byok: Decimal) -> None:
        tally = self._tallies.get(key_hash) or self._tally(key_hash)
        tally.post(day, usage, byok)
        if usage:
            self._accounts[account] = add(self._accounts.get(account, ZERO), usage)

    def _stored(self, key_hash: str, account: str, day: int, usage: Decimal, byok: Decimal) -> None:
        tally = self._tally(key_hash)
        tally.total.store(usage, byok)
        tally.day(day).store(usage, byok)
        if usage:
            self._accounts_stored[account] = add(self._accounts_stored.get(account, ZERO), usage)

    def _end(self, hold: Hold) -> None:
        if not hold.open:
            raise AssertionError(f"{hold!r} was settled or released before")
        hold.open = False
        self.holds_open -= 1
        self._tallies[hold.key_hash].holds.remove(hold)

    def _unpriced(self, key: Key, tally: Tally, day: int) -> PaymentRequired:
        usage, byok = tally.spent(key.limit_reset, day)
        return PaymentRequired(
            "This key has a spending limit and the model has no known price, so its cost cannot be kept within "
            "the limit. Use a priced model, give the model a [models.endpoints.pricing] table, or set "
            "accounting.unpriced_ceiling, the USD to reserve for such a call.",
            metadata={
                "limit": None if key.limit is None else tidy(key.limit),
                "spent": tidy(add(usage, byok) if key.include_byok_in_limit else usage),
                "held": tidy(tally.held(windows.span(key.limit_reset, day)[0])),
            },
        )


def _added(waiting: tuple[Decimal, Decimal], posted: Iterable[Spend], first: int) -> tuple[Decimal, Decimal]:
    """(usage, byok) with what was posted from that day on."""
    usage, byok = waiting
    for spend in posted:
        if windows.day_of_text(spend.day) >= first:
            usage, byok = add(usage, spend.usage), add(byok, spend.byok)
    return usage, byok


def remaining(key: Key, usages: Usages) -> Decimal | None:
    """limit - spend in the current window, USD; None without a limit; negative if charges passed their holds."""
    if key.limit is None:
        return None
    spent, byok = {
        None: (usages.total, usages.byok_total),
        "daily": (usages.daily, usages.byok_daily),
        "weekly": (usages.weekly, usages.byok_weekly),
        "monthly": (usages.monthly, usages.byok_monthly),
    }[key.limit_reset]
    return subtract(key.limit, add(spent, byok) if key.include_byok_in_limit else spent)


def exceeded(key: Key, spent: Decimal, held: Decimal, needed: Decimal, now_ns: int) -> PaymentRequired:
    """The refusal of a call that does not fit. USD; `held` by running calls, of this worker and of others."""
    limit, reset_at = key.limit or ZERO, windows.next_reset(key.limit_reset, now_ns)
    every = {None: "", "daily": " a day", "weekly": " a week", "monthly": " a month"}[key.limit_reset]
    wait = f"wait for the reset at {reset_at}, " if reset_at else ""
    amounts = {"limit": tidy(limit), "spent": tidy(spent), "held": tidy(held), "needed": tidy(needed)}
    return PaymentRequired(
        f"Key limit reached: ${plain(limit)}{every}, ${plain(spent)} spent, ${plain(held)} held by running calls, and "
        f"this call may need ${plain(needed)}. Ask for fewer max_tokens, {wait}or raise the key's limit.",
        metadata={**amounts, "limit_reset": key.limit_reset, "reset_at": reset_at},
    )

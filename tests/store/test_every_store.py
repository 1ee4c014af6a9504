"""What every store has to do, run against each of them."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from routebook.core.generation import Amendment, Folded
from routebook.core.people import App, Key
from routebook.store.port import Amended, ModelSpend, Posting, Retired, RetiredBook, Spend
from routebook.wire.codec import pack, unpack

from .conftest import Opener
from .samples import batch, call, sheet, stored

pytestmark = pytest.mark.anyio

AMENDMENT, LATER = pack(Amendment(at_ns=1, tokens_prompt=3)), pack(Amendment(at_ns=2, tokens_prompt=4))
DAY_NS = 86_400 * 10**9

FULL_KEY = Key(
    hash="a" * 64,
    name="ünï ✓ 'quoted'",
    label="sk-rb-v1-0e6...1c96",
    account="acme",
    disabled=True,
    management=True,
    limit=Decimal("0.1000000000000000055511151231257827"),
    limit_reset="weekly",
    include_byok_in_limit=True,
    created_at="2026-01-02T03:04:05.678901+00:00",
    updated_at="2026-01-03T03:04:05.678901+00:00",
    expires_at="2027-12-31T23:59:59Z",
    creator_user_id="user_1",
    workspace_id="0df9e665-d932-5740-b2c7-b52af166bc11",
)
PLAIN_KEY = Key(hash="b" * 64, name="plain", label="sk-rb-v1-b...b", created_at="2026-01-01T00:00:00+00:00")


def posting(usage: str, *, day: str = "2026-03-01", key: str = "a" * 64, account: str = "default") -> Posting:
    return Posting(key_hash=key, account=account, day=day, usage=Decimal(usage), byok=Decimal("0.25"))


async def test_a_key_comes_back_with_every_field_as_it_was(opener: Opener) -> None:
    store = opener()
    await store.put_key(FULL_KEY)
    await store.put_key(PLAIN_KEY)
    assert await store.keys() == [PLAIN_KEY, FULL_KEY]
    assert await opener().keys() == [PLAIN_KEY, FULL_KEY]


async def test_putting_a_key_again_replaces_it(opener: Opener) -> None:
    store = opener()
    await store.put_key(FULL_KEY)
    changed = msgspec.structs.replace(FULL_KEY, disabled=False, limit=None, name="other")
    await store.put_key(changed)
    assert await store.keys() == [changed]


async def test_a_key_is_changed_only_if_it_is_still_as_it_was_known(opener: Opener) -> None:
    store, other = opener(), opener()
    await store.put_key(FULL_KEY)
    disabled = msgspec.structs.replace(FULL_KEY, disabled=not FULL_KEY.disabled)
    renamed = msgspec.structs.replace(FULL_KEY, name="other")
    assert await store.change_key(FULL_KEY, disabled) is True
    assert await other.change_key(FULL_KEY, renamed) is False
    assert await other.keys() == [disabled]
    await store.delete_key(FULL_KEY.hash)
    assert await other.change_key(disabled, renamed) is False, "a key that is gone does not come back"
    assert await other.keys() == []


async def test_the_spend_of_one_key_is_its_part_of_the_whole(opener: Opener) -> None:
    store = opener()
    posted = [posting("1"), posting("2", key="b" * 64), posting("3", day="2026-03-02")]
    await store.ship("aaa", 1, [], posted)
    whole = await store.spend()
    assert await store.spend("a" * 64) == [each for each in whole if each.key_hash == "a" * 64]
    assert len(await store.spend("a" * 64)) == 2
    assert await store.spend("c" * 64) == []


async def test_deleting_a_key_says_whether_there_was_one(opener: Opener) -> None:
    store = opener()
    await store.put_key(PLAIN_KEY)
    assert await store.delete_key(PLAIN_KEY.hash) is True
    assert await store.delete_key(PLAIN_KEY.hash) is False
    assert await store.keys() == []


async def test_an_app_is_made_once_for_a_url_and_a_given_title_replaces_the_old_one(opener: Opener) -> None:
    store = opener()
    first = await store.app("https://one.example", None)
    assert (first.id, first.title) == (1, None)
    assert await store.app("https://one.example", "One") == App(first.id, "https://one.example", "One")
    assert await store.app("https://one.example", None) == App(first.id, "https://one.example", "One")
    second = await store.app("https://two.example", "Two")
    assert second.id == 2
    assert await store.apps() == [App(1, "https://one.example", "One"), second]


async def test_an_app_can_be_put_under_a_chosen_id_and_the_next_one_counts_on_from_it(opener: Opener) -> None:
    store = opener()
    await store.put_app(App(12345, "https://app.example", "App"))
    assert await store.app("https://app.example", None) == App(12345, "https://app.example", "App")
    assert (await store.app("https://next.example", None)).id == 12346
    await store.put_app(App(7, "https://app.example", "Moved"))
    assert [app.id for app in await store.apps()] == [7, 12346]


async def test_the_version_changes_with_keys_and_not_with_what_calls_bring_along(opener: Opener) -> None:
    mine, other = opener(), opener()
    seen = [await other.version()]
    await mine.put_key(PLAIN_KEY)
    seen.append(await other.version())
    await mine.put_key(msgspec.structs.replace(PLAIN_KEY, disabled=True))
    seen.append(await other.version())
    await mine.delete_key(PLAIN_KEY.hash)
    seen.append(await other.version())
    assert len(set(seen)) == 4
    assert await mine.version() == seen[-1]
    await mine.app("https://one.example", None)
    await mine.app("https://one.example", "One")
    await mine.put_app(App(7, "https://two.example", "Two"))
    await mine.ship("aaa", 3, [sheet(call(1))], [posting("1")])
    await mine.delete_key(PLAIN_KEY.hash)
    assert await other.version() == seen[-1]


async def test_two_openings_see_each_others_writes_at_once(opener: Opener) -> None:
    one, two = opener(), opener()
    await one.put_key(PLAIN_KEY)
    assert await two.keys() == [PLAIN_KEY]
    await two.ship("aaa", 3, [sheet(call(1))], [posting("0.5")])
    assert await one.cursor("aaa") == 3
    assert await one.generation(call(1).name) == stored(call(1))
    assert (await one.spend())[0].usage == Decimal("0.5")
    await one.delete_key(PLAIN_KEY.hash)
    assert await two.keys() == []


async def test_shipping_moves_the_cursor_with_its_rows(opener: Opener) -> None:
    store = opener()
    assert await store.cursor("aaa") == 0
    await store.ship("aaa", 5, [sheet(call(1), call(2))], [posting("1.5"), posting("2.25")])
    assert await store.cursor("aaa") == 5
    assert await store.cursor("bbb") == 0
    assert await store.spend() == [
        Spend("a" * 64, "default", "2026-03-01", Decimal("3.75"), Decimal("0.50"), requests=2)
    ]


async def test_shipping_the_same_batch_again_changes_nothing(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [sheet(call(1))], [posting("1.5")])
    before = (await store.spend(), await store.generations(account=None))
    await opener().ship("aaa", 5, [sheet(call(1, total="9"))], [posting("1.5")])
    await store.ship("aaa", 4, [sheet(call(2))], [posting("7")], [Amended("aaa", 1, 4, AMENDMENT)])
    assert (await store.spend(), await store.generations(account=None)) == before
    assert await store.cursor("aaa") == 5


async def test_what_was_spent_on_a_model_is_summed_by_day_and_outlives_its_calls(opener: Opener) -> None:
    def spent(model: str, usd: str, day: str = "2026-03-01") -> ModelSpend:
        return ModelSpend(model, day, Decimal(usd))

    store, tiny = opener(), "0.0000000000000000000000000000000001"
    assert await store.model_spend("2026-01-01") == []
    mine = msgspec.structs.replace(posting("1.5"), models=(spent("m/one", "1"), spent("m/two", "0.5")))
    other = msgspec.structs.replace(posting("2", key="b" * 64), models=(spent("m/one", tiny),))
    await store.ship("aaa", 3, [sheet(call(1))], [mine, other])
    await store.ship("aaa", 3, [sheet(call(1))], [mine])  # the same rows again
    later = msgspec.structs.replace(posting("7", day="2026-03-02"), models=(spent("m/two", "7", "2026-03-02"),))
    await store.ship("aaa", 5, [sheet(call(2))], [mine, later])
    sums = [spent("m/one", f"2.{tiny[2:]}"), spent("m/two", "1.0"), spent("m/two", "7", "2026-03-02")]
    assert await store.model_spend("2026-03-01") == sums
    assert await opener().model_spend("2026-03-02") == sums[2:]
    while await store.delete_before(2**62, 100):
        pass
    assert await store.model_spend("2026-01-01") == sums


async def test_rows_without_anything_to_keep_still_move_the_cursor(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [], [])
    assert await store.cursor("aaa") == 5
    assert await store.spend() == []


async def test_an_amendment_is_folded_into_its_generation_and_posts_nothing(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [sheet(call(1), call(2))], [posting("1")])
    await store.ship("aaa", 9, [], [], [Amended("aaa", 1, 6, AMENDMENT), Amended("aaa", 1, 9, LATER)])
    found = await store.generation(call(1).name)
    assert found is not None
    folded = unpack(found.folded, Folded)
    assert (folded.seq, [each.tokens_prompt for each in folded.amendments]) == (9, [3, 4])
    assert msgspec.structs.replace(folded, seq=2, amendments=()) == call(1).folded
    assert await store.generations(account=None) == [stored(call(2)), found]
    assert (await store.spend())[0].requests == 1


async def test_an_amendment_of_another_daybooks_call_comes_after_its_own(opener: Opener) -> None:
    store = opener()
    await store.ship("bbb", 1, [], [], [Amended("aaa", 1, 1, LATER)])
    await store.ship("aaa", 5, [sheet(call(1))], [], [Amended("aaa", 1, 5, AMENDMENT)])
    found = await store.generation(call(1).name)
    assert found is not None
    assert [each.tokens_prompt for each in unpack(found.folded, Folded).amendments] == [3, 4]


async def test_a_generation_that_is_shipped_again_replaces_the_earlier_one(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, batch([call(n) for n in range(1, 4)]), [])
    again = call(2, finish="length", model="m/two")
    await store.ship("aaa", 6, [sheet(again)], [])
    assert await store.generation(again.name) == stored(again)
    assert await store.generations(account=None) == [stored(call(3)), stored(again), stored(call(1))]


async def test_daybooks_number_their_calls_each_for_itself(opener: Opener) -> None:
    store = opener()
    theirs = call(1, daybook="bbb")
    await store.ship("aaa", 1, [sheet(call(1))], [])
    await store.ship("bbb", 1, [sheet(theirs)], [])
    assert await store.generation(call(1).name) == stored(call(1))
    assert await store.generation(theirs.name) == stored(theirs)
    assert await store.generation(call(1, daybook="ccc").name) is None
    assert await store.generation(call(2).name) is None


async def test_a_generation_is_found_by_its_whole_id_and_not_by_its_place_alone(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 1, [sheet(call(1), call(2, id="gen-of-another-shape"))], [])
    assert await store.generation("gen-of-another-shape") == stored(call(2, id="gen-of-another-shape"))
    for other in (call(1).name.replace("abcdefghijk", "zbcdefghijk"), call(2).name, call(1).name[-9:], "", "1"):
        assert await store.generation(other) is None


async def test_progress_is_kept_with_its_call(opener: Opener) -> None:
    store = opener()
    calls = [call(n, progress=n % 3 == 0) for n in range(1, 8)]
    await store.ship("aaa", 14, batch(calls), [])
    assert await store.generations(account=None) == [stored(each) for each in reversed(calls)]


async def test_many_calls_of_any_number_come_back_as_they_were(opener: Opener) -> None:
    store = opener()
    n, seq, expected = 0, 0, []
    for size in (1, 7, 8, 63, 64, 65, 127, 200):
        calls = [call(n + place, model=f"m/{place % 5}", provider=f"p{place % 2}") for place in range(1, size + 1)]
        n, seq = n + size, seq + 2 * size
        await store.ship("aaa", seq, batch(calls), [])
        expected += [stored(each) for each in calls]
    assert await opener().generations(account=None, limit=1_000) == expected[::-1]
    assert (
        await store.generations(account=None, model="m/3", limit=3)
        == [each for each in expected[::-1] if each.model == "m/3"][:3]
    )


async def test_generations_are_found_by_account_time_and_model_newest_first(opener: Opener) -> None:
    store = opener()
    calls = [call(n, account="acme" if n % 2 else "default", model="m/two" if n > 4 else "m/one") for n in range(1, 8)]
    await store.ship("aaa", 99, batch(calls), [])

    async def ns(**query: object) -> list[int]:
        query.setdefault("account", None)
        return [each.n for each in await store.generations(**query)]  # type: ignore[arg-type]

    assert await ns() == [7, 6, 5, 4, 3, 2, 1]
    assert await ns(account="acme") == [7, 5, 3, 1]
    assert await ns(account="nobody") == []
    assert await ns(since_ns=1_003, until_ns=1_006) == [5, 4, 3]
    assert await ns(model="m/two", account="acme") == [7, 5]
    assert await ns(limit=2) == [7, 6]


async def test_spend_of_a_deleted_key_stays(opener: Opener) -> None:
    store = opener()
    await store.put_key(FULL_KEY)
    await store.ship("aaa", 1, [], [posting("1", account="acme")])
    await store.delete_key(FULL_KEY.hash)
    await store.ship("aaa", 2, [], [posting("2", account="acme")])
    assert [(each.account, each.usage) for each in await store.spend()] == [("acme", Decimal(3))]


async def test_ten_thousand_awkward_amounts_add_up_to_the_last_digit(opener: Opener) -> None:
    store = opener()
    chance = random.Random(20260301)
    expected: dict[tuple[str, str], Fraction] = {}
    for seq in range(1, 21):
        postings = []
        for _ in range(500):
            digits = chance.randrange(1, 10 ** chance.randrange(1, 30))
            usage = Decimal(digits).scaleb(-chance.randrange(0, 45))
            place = (chance.choice(["a", "b", "c"]) * 64, f"2026-03-0{chance.randrange(1, 4)}")
            expected[place] = expected.get(place, Fraction(0)) + Fraction(usage)
            postings.append(Posting(place[0], "default", place[1], usage))
        await store.ship("aaa", seq, [], postings)
    got = {(each.key_hash, each.day): Fraction(each.usage) for each in await opener().spend()}
    assert got == expected
    assert sum(each.requests for each in await store.spend()) == 10_000


async def test_retention_deletes_the_oldest_in_steps_and_keeps_what_was_spent(opener: Opener) -> None:
    store = opener()
    calls = [call(n, accepted_ns=n * DAY_NS // 100, total="0.25", byok="0.5" if n % 2 else None) for n in range(1, 301)]
    await store.ship("aaa", 600, batch(calls), [posting("75", day="1970-01-01")], [Amended("aaa", 7, 601, AMENDMENT)])
    assert await store.retired() == Retired(0, [])
    before, spend = await store.size(), await store.spend()
    assert [await store.delete_before(2 * DAY_NS, 90) for _ in range(4)] == [90, 90, 19, 0]
    assert await store.spend() == spend
    assert await store.generations(account=None, limit=1_000) == [stored(each) for each in calls[:198:-1]]
    assert await store.generation(calls[6].name) is None
    assert await store.retired() == Retired(
        199 * DAY_NS // 100 + 1,
        [
            Spend("a" * 64, "default", "1970-01-01", Decimal("24.75"), Decimal("25.0"), requests=99),
            Spend("a" * 64, "default", "1970-01-02", Decimal("25.00"), Decimal("25.0"), requests=100),
        ],
        [RetiredBook("aaa", 199, 398)],
    )
    assert await store.size() < before
    assert await store.cursor("aaa") == 600


async def test_after_everything_was_deleted_calls_of_the_same_kinds_are_shipped_as_ever(opener: Opener) -> None:
    store, other = opener(), opener()
    for turn in range(3):
        for place, each in enumerate((store, other)):
            n = 2 * turn + place + 1
            await each.ship("aaa", n, [sheet(call(n, accepted_ns=n * DAY_NS))], [])
        assert [row.n for row in await other.generations(account="default", model="m/one")] == [n, n - 1]
        assert await store.delete_before(2**62, 1_000) == 2
        assert await store.generations(account=None) == []


async def test_an_old_call_that_comes_late_is_kept_until_it_is_deleted_itself(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 1, [sheet(*(call(n, accepted_ns=n * DAY_NS) for n in (10, 20)))], [])
    assert await store.delete_before(15 * DAY_NS, 100) == 1
    late = call(5, accepted_ns=5 * DAY_NS)
    await store.ship("aaa", 2, [sheet(late)], [])
    assert await store.generation(late.name) == stored(late)
    assert (await store.retired()).kept_since_ns == 10 * DAY_NS + 1
    assert await store.delete_before(15 * DAY_NS, 100) == 1
    assert await store.generations(account=None) == [stored(call(20, accepted_ns=20 * DAY_NS))]

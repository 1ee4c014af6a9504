"""What every store has to do, run against each of them."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from routebook.core.generation import State
from routebook.core.people import App, Key
from routebook.store.port import Posting, Spend, Stored

from .conftest import Opener

pytestmark = pytest.mark.anyio

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


def stored(n: int, *, daybook: str = "aaa", account: str = "default", model: str = "m/one", total: str = "1") -> Stored:
    return Stored(
        id=f"gen-{daybook}-{n}",
        daybook=daybook,
        n=n,
        accepted_ns=1_000 + n,
        account=account,
        key_hash="a" * 64,
        model=model,
        provider=None,
        state=State.DONE,
        total=Decimal(total),
        folded=b"\x00\xff" + bytes([n % 256]),
    )


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


async def test_the_version_changes_with_keys_and_apps_and_not_with_shipping(opener: Opener) -> None:
    mine, other = opener(), opener()
    seen = [await other.version()]
    await mine.put_key(PLAIN_KEY)
    seen.append(await other.version())
    await mine.put_key(msgspec.structs.replace(PLAIN_KEY, disabled=True))
    seen.append(await other.version())
    await mine.delete_key(PLAIN_KEY.hash)
    seen.append(await other.version())
    await mine.app("https://one.example", None)
    seen.append(await other.version())
    assert len(set(seen)) == 5
    assert await mine.version() == seen[-1]
    await mine.ship("aaa", 3, [stored(1)], [posting("1")])
    await mine.delete_key(PLAIN_KEY.hash)
    assert await other.version() == seen[-1]


async def test_two_openings_see_each_others_writes_at_once(opener: Opener) -> None:
    one, two = opener(), opener()
    await one.put_key(PLAIN_KEY)
    assert await two.keys() == [PLAIN_KEY]
    await two.ship("aaa", 3, [stored(1)], [posting("0.5")])
    assert await one.cursor("aaa") == 3
    assert await one.generation("gen-aaa-1") == stored(1)
    assert (await one.spend())[0].usage == Decimal("0.5")
    await one.delete_key(PLAIN_KEY.hash)
    assert await two.keys() == []


async def test_shipping_moves_the_cursor_with_its_rows(opener: Opener) -> None:
    store = opener()
    assert await store.cursor("aaa") == 0
    await store.ship("aaa", 5, [stored(1), stored(2)], [posting("1.5"), posting("2.25")])
    assert await store.cursor("aaa") == 5
    assert await store.cursor("bbb") == 0
    assert await store.spend() == [
        Spend("a" * 64, "default", "2026-03-01", Decimal("3.75"), Decimal("0.50"), requests=2)
    ]


async def test_shipping_the_same_batch_again_changes_nothing(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [stored(1)], [posting("1.5")])
    before = (await store.spend(), await store.generations(account=None))
    await opener().ship("aaa", 5, [stored(1, total="9")], [posting("1.5")])
    await store.ship("aaa", 4, [stored(2)], [posting("7")])
    assert (await store.spend(), await store.generations(account=None)) == before
    assert await store.cursor("aaa") == 5


async def test_rows_without_anything_to_keep_still_move_the_cursor(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [], [])
    assert await store.cursor("aaa") == 5
    assert await store.spend() == []


async def test_an_amended_generation_replaces_the_earlier_one(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 5, [stored(1)], [posting("1")])
    amended = msgspec.structs.replace(stored(1), folded=b"with amendment")
    await store.ship("aaa", 6, [amended], [])
    assert await store.generation("gen-aaa-1") == amended
    assert await store.generations(account=None) == [amended]
    assert (await store.spend())[0].requests == 1


async def test_daybooks_number_their_calls_each_for_itself(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 1, [stored(1)], [])
    await store.ship("bbb", 1, [stored(1, daybook="bbb")], [])
    assert (await store.generation("gen-aaa-1")) == stored(1)
    assert (await store.generation("gen-bbb-1")) == stored(1, daybook="bbb")
    assert await store.generation("gen-ccc-1") is None


async def test_generations_are_found_by_account_time_and_model_newest_first(opener: Opener) -> None:
    store = opener()
    rows = [stored(n, account="acme" if n % 2 else "default", model="m/two" if n > 4 else "m/one") for n in range(1, 8)]
    await store.ship("aaa", 99, rows, [])

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
    for batch in range(20):
        postings = []
        for _ in range(500):
            digits = chance.randrange(1, 10 ** chance.randrange(1, 30))
            usage = Decimal(digits).scaleb(-chance.randrange(0, 45))
            place = (chance.choice(["a", "b", "c"]) * 64, f"2026-03-0{chance.randrange(1, 4)}")
            expected[place] = expected.get(place, Fraction(0)) + Fraction(usage)
            postings.append(Posting(place[0], "default", place[1], usage))
        await store.ship("aaa", batch + 1, [], postings)
    got = {(each.key_hash, each.day): Fraction(each.usage) for each in await opener().spend()}
    assert got == expected
    assert sum(each.requests for each in await store.spend()) == 10_000

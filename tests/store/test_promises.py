"""Promises to requests with an Idempotency-Key: what every store has to do with them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from routebook.core.errors import Unavailable
from routebook.store.port import Promise
from routebook.store.promises import ROW_BYTES
from routebook.store.sqlite import SqliteStore

from .conftest import Opener

pytestmark = pytest.mark.anyio

NOW, HOUR = 1_700_000_000_000_000_000, 3_600_000_000_000
PLENTY = 10_000_000


def promise(number: int, *, key: str = "a" * 64, owner: str = "aaa", made_ns: int | None = None) -> Promise:
    made_ns = NOW + number if made_ns is None else made_ns
    return Promise(
        key_hash=key,
        digest=b"%032d" % number,
        request=b"r" * 32,
        generation=f"gen-{number}",
        owner=owner,
        state=Promise.RUNNING,
        made_ns=made_ns,
        ends_ns=made_ns + 24 * HOUR,
    )


async def test_of_two_claims_of_one_key_the_second_is_given_the_first(opener: Opener) -> None:
    store, other = opener(), opener()
    first, second = promise(1), replace(promise(1), generation="gen-other", request=b"s" * 32)
    assert await store.claim_promise(first, NOW, PLENTY) is None
    assert await other.claim_promise(second, NOW, PLENTY) == first
    assert await other.promise(first.key_hash, first.digest, NOW) == first


async def test_of_many_claims_at_once_one_is_granted(opener: Opener) -> None:
    stores = [opener() for _ in range(4)]
    claims = [replace(promise(1), generation=f"gen-{number}") for number in range(40)]
    answers = await asyncio.gather(
        *[stores[number % 4].claim_promise(claim, NOW, PLENTY) for number, claim in enumerate(claims)]
    )
    granted = [claim for claim, standing in zip(claims, answers, strict=True) if standing is None]
    assert len(granted) == 1
    assert {standing.generation for standing in answers if standing is not None} == {granted[0].generation}


async def test_the_same_idempotency_key_of_another_api_key_is_another_promise(opener: Opener) -> None:
    store = opener()
    mine, theirs = promise(1), promise(1, key="b" * 64)
    assert await store.claim_promise(mine, NOW, PLENTY) is None
    assert await store.claim_promise(theirs, NOW, PLENTY) is None
    assert await store.promise(mine.key_hash, mine.digest, NOW) == mine


async def test_an_answer_is_kept_as_it_is(opener: Opener) -> None:
    store = opener()
    await store.claim_promise(promise(1), NOW, PLENTY)
    assert await store.end_promise(promise(1), Promise.KEPT, b"\0\xff sealed", NOW, PLENTY)
    kept = await opener().promise("a" * 64, promise(1).digest, NOW)
    assert kept == replace(promise(1), state=Promise.KEPT, answer=b"\0\xff sealed")


@pytest.mark.parametrize("state", [Promise.LARGE, Promise.CUT])
async def test_a_call_without_an_answer_to_keep_still_ends(opener: Opener, state: int) -> None:
    store = opener()
    await store.claim_promise(promise(1), NOW, PLENTY)
    assert await store.end_promise(promise(1), state, None, NOW, PLENTY)
    assert await store.claim_promise(promise(1), NOW, PLENTY) == replace(promise(1), state=state)


async def test_a_promise_ends_once_and_only_by_the_call_it_was_given_to(opener: Opener) -> None:
    store = opener()
    other = replace(promise(1), generation="gen-other")
    assert not await store.end_promise(promise(1), Promise.KEPT, b"x", NOW, PLENTY)
    await store.claim_promise(promise(1), NOW, PLENTY)
    assert not await store.end_promise(other, Promise.KEPT, b"theirs", NOW, PLENTY)
    assert not await store.free_promise(other)
    assert await store.end_promise(promise(1), Promise.KEPT, b"mine", NOW, PLENTY)
    assert not await store.end_promise(promise(1), Promise.CUT, None, NOW, PLENTY)
    assert not await store.free_promise(promise(1))
    kept = await store.promise("a" * 64, promise(1).digest, NOW)
    assert kept is not None
    assert kept.answer == b"mine"


async def test_a_freed_key_may_be_claimed_again(opener: Opener) -> None:
    store = opener()
    await store.claim_promise(promise(1), NOW, PLENTY)
    assert await store.free_promise(promise(1))
    assert await store.promise("a" * 64, promise(1).digest, NOW) is None
    again = replace(promise(1), generation="gen-again")
    assert await store.claim_promise(again, NOW, PLENTY) is None
    assert await store.promise("a" * 64, promise(1).digest, NOW) == again


async def test_from_its_end_on_a_promise_binds_nobody(opener: Opener) -> None:
    store = opener()
    first = promise(1)
    await store.claim_promise(first, NOW, PLENTY)
    assert await store.promise("a" * 64, first.digest, first.ends_ns - 1) == first
    assert await store.promise("a" * 64, first.digest, first.ends_ns) is None
    again = replace(promise(1, made_ns=first.ends_ns), generation="gen-again")
    assert await store.claim_promise(again, first.ends_ns, PLENTY) is None
    assert not await store.end_promise(first, Promise.KEPT, b"late", first.ends_ns, PLENTY)
    assert await store.promise("a" * 64, first.digest, first.ends_ns) == again


async def test_promises_that_are_over_go_in_batches(opener: Opener) -> None:
    store = opener()
    for number in range(5):
        await store.claim_promise(promise(number, made_ns=NOW + number * HOUR), NOW, PLENTY)
    now_ns = NOW + 27 * HOUR
    assert [await store.expire_promises(now_ns, 3) for _ in range(3)] == [3, 1, 0]
    assert [await store.promise("a" * 64, promise(number).digest, NOW) is None for number in range(5)] == [True] * 4 + [
        False
    ]


async def test_running_promises_are_told_by_daybook(opener: Opener) -> None:
    store = opener()
    for number in (3, 1, 2):
        await store.claim_promise(promise(number), NOW, PLENTY)
    await store.claim_promise(promise(4, owner="bbb"), NOW, PLENTY)
    await store.end_promise(promise(2), Promise.CUT, None, NOW, PLENTY)
    assert await store.running_promises("aaa") == [promise(1), promise(3)]
    assert await store.running_promises("ccc") == []


async def test_old_answers_make_room_for_young_ones_and_their_promises_stay(opener: Opener) -> None:
    store = opener()
    room = 3 * ROW_BYTES + 2500
    for number in range(3):
        await store.claim_promise(promise(number), NOW, room)
        await store.end_promise(promise(number), Promise.KEPT, b"x" * 1000, NOW, room)
    states = [await store.promise("a" * 64, promise(number).digest, NOW) for number in range(3)]
    assert [each and (each.state, len(each.answer or b"")) for each in states] == [
        (Promise.DROPPED, 0),
        (Promise.KEPT, 1000),
        (Promise.KEPT, 1000),
    ]


async def test_what_is_over_makes_room_before_an_answer_is_dropped(opener: Opener) -> None:
    store = opener()
    room = 2 * ROW_BYTES + 1000
    await store.claim_promise(promise(1, made_ns=NOW - 25 * HOUR), NOW - 25 * HOUR, room)
    await store.claim_promise(promise(2), NOW, room)
    await store.end_promise(promise(2), Promise.KEPT, b"x" * 1000, NOW, room)
    assert await store.claim_promise(promise(3), NOW, room) is None
    kept = await store.promise("a" * 64, promise(2).digest, NOW)
    assert kept is not None
    assert kept.state == Promise.KEPT


async def test_an_answer_that_fits_nowhere_is_not_kept_and_drops_no_other(opener: Opener) -> None:
    store = opener()
    room = 2 * ROW_BYTES + 1000
    for number in (1, 2):
        await store.claim_promise(promise(number), NOW, room)
    await store.end_promise(promise(1), Promise.KEPT, b"x" * 900, NOW, room)
    assert await store.end_promise(promise(2), Promise.KEPT, b"x" * 1001, NOW, room)
    states = [await store.promise("a" * 64, promise(number).digest, NOW) for number in (1, 2)]
    assert [each and each.state for each in states] == [Promise.KEPT, Promise.DROPPED]


async def test_where_nothing_can_make_room_a_claim_is_refused(opener: Opener) -> None:
    store = opener()
    await store.claim_promise(promise(1), NOW, ROW_BYTES)
    with pytest.raises(Unavailable):
        await store.claim_promise(promise(2), NOW, ROW_BYTES)
    assert await store.promise("a" * 64, promise(2).digest, NOW) is None
    assert await store.promise("a" * 64, promise(1).digest, NOW) == promise(1)


async def test_the_bytes_are_counted_as_they_come_and_go(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")

    def counted() -> tuple[int, int]:
        db = sqlite3.connect(store.path)
        (told,) = db.execute("SELECT value FROM counters WHERE name = 'promised_bytes'").fetchone()
        (there,) = db.execute("SELECT coalesce(sum(size), 0) FROM promises").fetchone()
        db.close()
        return told, there

    for number in range(3):
        await store.claim_promise(promise(number), NOW, PLENTY)
    await store.end_promise(promise(0), Promise.KEPT, b"x" * 1000, NOW, PLENTY)
    await store.free_promise(promise(1))
    assert counted() == (2 * ROW_BYTES + 1000,) * 2
    await store.claim_promise(promise(3), NOW, 2 * ROW_BYTES + 1000)
    assert counted() == (3 * ROW_BYTES,) * 2
    assert await store.expire_promises(NOW + 25 * HOUR, 10) == 3
    assert counted() == (0, 0)
    await store.close()

"""Digests of requests, and what becomes of the promises of a process that died."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routebook.config.secret import Secret
from routebook.config.settings import IdempotencyTable
from routebook.core.errors import Unavailable
from routebook.core.generation import State
from routebook.corridor.promises import FREE, Kept, Promises, about, digests, recover
from routebook.daybook.book import FileDaybook
from routebook.ledger.ship import Shipper
from routebook.observe.clock import SystemClock, SystemDice
from routebook.store.memory import MemoryStore
from routebook.store.port import Promise
from routebook.wire.bulk import LargeBody
from tests.unit.daybook.samples import intent, outcome

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000_000_000_000
DAY = 86_400_000_000_000
PLENTY = 10_000_000


def promises(store: MemoryStore, now_ns: list[int] | None = None, **table: int) -> Promises:
    moment = [NOW] if now_ns is None else now_ns
    return Promises(store, "aaa", IdempotencyTable(**table), lambda: Secret("at rest"), SystemDice(), lambda: moment[0])


# --- digests


async def test_a_request_is_told_from_every_other_by_its_key_its_api_and_its_body() -> None:
    same = await digests("hash", "name", "openai_chat", b"body")
    assert await digests("hash", "name", "openai_chat", b"body") == same
    others = [
        await digests("hash", "name", "openai_chat", b"body "),
        await digests("hash", "name", "anthropic", b"body"),
        await digests("hash", "name2", "openai_chat", b"body"),
    ]
    assert len({same.request, *(other.request for other in others)}) == 4
    assert [other.digest == same.digest for other in others] == [True, True, False]


async def test_a_large_body_has_the_digest_of_its_bytes() -> None:
    body = b'{"url": "data:image/png;base64,' + b"A" * 400_000 + b'", "text": "' + b"word " * 10_000 + b'"}'
    pieces = [body[place : place + 60_000] for place in range(0, len(body), 60_000)]
    whole = await digests("hash", "name", "openai_chat", body)
    assert await digests("hash", "name", "openai_chat", LargeBody(pieces)) == whole
    large = LargeBody(pieces)
    await digests("hash", "name", "openai_chat", large)
    assert large.whole() == body


async def test_neither_key_nor_body_can_be_read_in_them() -> None:
    asked = await digests("hash", "the-name", "openai_chat", b"the prompt")
    assert (len(asked.digest), len(asked.request)) == (32, 32)


# --- one promise


async def test_an_answer_is_sealed_and_opens_for_its_own_promise_alone() -> None:
    store = MemoryStore()
    mine = promises(store)
    kept = Kept(200, "application/json", False, b"the answer of the model")
    found = []
    for name in ("one", "two"):
        promise, new = await mine.claim(await digests("hash", name, "openai_chat", b""), f"gen-{name}")
        assert new
        await mine.end(promise, Promise.KEPT, kept)
        there = await mine.find(await digests("hash", name, "openai_chat", b""))
        assert there is not None
        assert there.answer is not None
        assert b"the answer" not in there.answer
        assert mine.answer_of(there) == kept
        found.append(there)
    assert mine.answer_of(replace(found[0], answer=found[1].answer)) is None
    assert about(found[0]) != about(found[1])


async def test_a_promise_stands_for_as_long_as_is_configured() -> None:
    now_ns = [NOW]
    mine = promises(MemoryStore(), now_ns, hours=2)
    asked = await digests("hash", "name", "openai_chat", b"")
    await mine.claim(asked, "gen-1")
    now_ns[0] = NOW + DAY // 12 - 1
    assert await mine.find(asked) is not None
    now_ns[0] += 1
    assert await mine.find(asked) is None


@pytest.mark.parametrize("secret", [Secret(""), OSError("unreadable")])
async def test_without_a_secret_nothing_is_promised(secret: Secret | OSError) -> None:
    def ask() -> Secret:
        if isinstance(secret, OSError):
            raise secret
        return secret

    mine = Promises(MemoryStore(), "aaa", IdempotencyTable(), ask, SystemDice(), lambda: NOW)
    with pytest.raises(Unavailable):
        await mine.find(await digests("hash", "name", "openai_chat", b""))


class Away(MemoryStore):
    away = True

    async def end_promise(
        self, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
    ) -> bool:
        if self.away:
            raise Unavailable("away")
        return await super().end_promise(promise, state, answer, now_ns, bytes_max)

    async def free_promise(self, promise: Promise) -> bool:
        if self.away:
            raise Unavailable("away")
        return await super().free_promise(promise)


async def test_what_could_not_be_ended_is_ended_later(caplog: pytest.LogCaptureFixture) -> None:
    store = Away()
    mine = promises(store)
    asked = [await digests("hash", name, "openai_chat", b"") for name in ("kept", "free")]
    first, _ = await mine.claim(asked[0], "gen-1")
    second, _ = await mine.claim(asked[1], "gen-2")
    await mine.end(first, Promise.KEPT, Kept(200, "text/plain", False, b"x"))
    await mine.end(second, FREE)
    with pytest.raises(Unavailable):
        await mine.tidy()
    store.away = False
    await mine.tidy()
    there = await mine.find(asked[0])
    assert there is not None
    assert there.state == Promise.CUT
    assert await mine.find(asked[1]) is None
    assert "gen-1" in caplog.text


# --- after a crash


async def running(store: MemoryStore, generation: str, owner: str, number: int) -> Promise:
    promise = Promise("hash", b"%d" % number, b"", generation, owner, Promise.RUNNING, NOW, NOW + DAY)
    assert await store.claim_promise(promise, NOW, PLENTY) is None
    return promise


async def test_the_next_owner_of_a_daybook_ends_what_was_entered_and_frees_what_never_was(tmp_path: Path) -> None:
    store = MemoryStore()
    book = FileDaybook(tmp_path)
    calls = [intent(book.next_n(), book.name) for _ in range(4)]
    left_open, ended, shipped, never = calls
    for call in (left_open, ended, shipped):
        await book.open(call)
    for call in (ended, shipped):
        await book.close(call.id, call.n, State.DONE, outcome())
    made = [await running(store, call.id, book.name, call.n) for call in calls]
    others = await running(store, "gen-else", "zzz", 9)
    await book.aclose()

    successor = FileDaybook(tmp_path)
    await Shipper(successor, store).ship_once()
    await recover(store, successor, SystemClock().now_ns())
    states = [await store.promise("hash", promise.digest, NOW) for promise in made]
    assert [each and each.state for each in states] == [Promise.CUT, Promise.CUT, Promise.CUT, None]
    assert await store.promise("hash", others.digest, NOW) == others
    assert never.n not in successor._open
    await successor.aclose()


async def test_a_call_that_only_the_store_knows_any_more_is_one_that_was_made(tmp_path: Path) -> None:
    store = MemoryStore()
    book = FileDaybook(tmp_path / "old")
    call = intent(book.next_n(), book.name)
    await book.open(call)
    await book.close(call.id, call.n, State.DONE, outcome())
    await Shipper(book, store).ship_once()
    promise = await running(store, call.id, book.name, call.n)
    name = book.name
    await book.aclose()

    (tmp_path / "new" / "daybooks" / name).mkdir(parents=True)
    emptied = FileDaybook(tmp_path / "new")
    assert emptied.name == name
    await recover(store, emptied, NOW)
    there = await store.promise("hash", promise.digest, NOW)
    assert there is not None
    assert there.state == Promise.CUT
    await emptied.aclose()

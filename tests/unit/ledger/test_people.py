"""Keys in memory: making, finding, and noticing what others change."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec
import pytest

from routebook.core.errors import Unavailable
from routebook.core.people import Key
from routebook.ledger.people import People, default_workspace, hash_of, label_of, new_key_text
from routebook.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def key_for(text: str, **more: object) -> Key:
    return Key(hash=hash_of(text), name="n", label=label_of(text), **more)  # type: ignore[arg-type]


def test_a_new_key_is_the_prefix_and_64_hex_digits_of_its_dice() -> None:
    assert new_key_text(0xABC) == "sk-rb-v1-" + "0" * 61 + "abc"
    assert len(new_key_text(2**256 - 1)) == 73


def test_a_key_is_known_by_the_sha_256_of_its_whole_text_and_shown_by_its_ends() -> None:
    text = "sk-rb-v1-0e6" + "7" * 57 + "1c96"
    assert hash_of(text) == hashlib.sha256(text.encode()).hexdigest()
    assert label_of(text) == "sk-rb-v1-0e6...1c96"


def test_the_default_workspace_of_an_account_never_changes() -> None:
    assert default_workspace("default") == "5df66ca5-1342-55d9-b9cd-82df6aad70da"
    assert default_workspace("acme") != default_workspace("default")


async def test_a_key_is_found_after_the_next_refresh_and_gone_after_its_deletion() -> None:
    store, people, text = MemoryStore(), People(), new_key_text(1)
    await store.put_key(key_for(text))
    assert people.find(text) is None
    assert await people.refresh(store) is True
    assert people.find(text) == key_for(text)
    assert people.find(text + "0") is None
    assert await people.refresh(store) is False
    await store.delete_key(hash_of(text))
    assert await people.refresh(store) is True
    assert people.find(text) is None


async def test_the_operators_key_is_there_from_the_start_and_no_stored_key_takes_its_place() -> None:
    store, text = MemoryStore(), "x" * 32
    people = People(admin_hash=hash_of(text))
    admin = people.find(text)
    assert admin is not None
    assert (admin.admin, admin.management, admin.limit) == (True, False, None)
    await store.put_key(key_for(text, disabled=True))
    await people.refresh(store)
    assert people.find(text) == admin
    assert people.of_account("default") == []


async def test_the_keys_of_an_account_are_its_own_newest_first() -> None:
    store, people = MemoryStore(), People()
    for number, account in enumerate(["default", "acme", "default"]):
        await store.put_key(key_for(new_key_text(number), account=account, created_at=f"2026-01-0{number + 1}"))
    await people.refresh(store)
    assert [key.created_at for key in people.of_account("default")] == ["2026-01-03", "2026-01-01"]


async def test_keys_stay_known_while_the_store_is_away() -> None:
    class Away(MemoryStore):
        away = False

        async def keys(self) -> list[Key]:
            if self.away:
                raise Unavailable("away")
            return await super().keys()

    store, people, text = Away(), People(), new_key_text(1)
    await store.put_key(key_for(text))
    await people.refresh(store)
    store.away = True
    await store.put_key(msgspec.structs.replace(key_for(text), disabled=True))
    with pytest.raises(Unavailable):
        await people.refresh(store)
    assert people.find(text) == key_for(text)
    store.away = False
    assert await people.refresh(store) is True
    found = people.find(text)
    assert found is not None
    assert found.disabled


async def test_a_slow_reading_does_not_bring_back_a_key_that_was_deleted_meanwhile() -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on = asyncio.Event(), asyncio.Event()

        async def keys(self) -> list[Key]:
            found = await super().keys()
            if not self.begun.is_set():
                self.begun.set()
                await self.go_on.wait()
            return found

    store, people, text = Slow(), People(), new_key_text(1)
    await store.put_key(key_for(text))
    first = asyncio.ensure_future(people.refresh(store))
    await store.begun.wait()
    await store.delete_key(hash_of(text))
    second = asyncio.ensure_future(people.refresh(store))
    await asyncio.sleep(0)
    store.go_on.set()
    await asyncio.gather(first, second)
    assert people.find(text) is None


async def test_no_text_of_a_key_is_kept_anywhere_in_the_snapshot() -> None:
    store, text = MemoryStore(), new_key_text(int("deadbeef" * 8, 16))
    people = People(admin_hash=hash_of("y" * 40))
    await store.put_key(key_for(text))
    await people.refresh(store)
    people.find(text)
    assert text not in repr(vars(people))
    assert "y" * 40 not in repr(vars(people))

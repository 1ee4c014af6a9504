"""`routebook ledger forfeit` on a real data folder."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.cli.forfeit import forfeit
from routebook.config.settings import Settings
from routebook.core.people import Key
from routebook.daybook.book import FileDaybook
from routebook.store.lending import Ask, Lease, Window, key_budget
from routebook.store.open import open_store
from tests.unit.cli.test_records import home

__all__ = ["home"]

DAY = Window(key_budget("ab" * 32), "2026-11-24", "2026-11-24")


def lend(home: Path, *daybooks: str) -> None:
    async def work() -> None:
        store = open_store(Settings(), home)
        await store.put_key(Key(hash="ab" * 32, name="laptop", label="l"))
        for name in daybooks:
            await store.lend(name, Ask(DAY, Decimal(10), Decimal("2.75"), Decimal(0)))
        await store.close()

    asyncio.run(work())


def lent(home: Path) -> list[Lease]:
    async def work() -> list[Lease]:
        store = open_store(Settings(), home)
        try:
            return await store.leases()
        finally:
            await store.close()

    return asyncio.run(work())


def test_what_a_lost_daybook_was_lent_goes_back_to_its_keys(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lend(home, "4fK", "zzz")
    forfeit("4fK")
    assert capsys.readouterr().out == (
        "2.75 USD back to key 'laptop', 2026-11-24 to 2026-11-24\ndaybook 4fK: 1 leases given back\n"
    )
    assert [lease.daybook for lease in lent(home)] == ["zzz"]
    forfeit("4fK")
    assert capsys.readouterr().out == "nothing is lent to daybook 4fK\n"


def test_a_daybook_of_this_folder_is_not_lost(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def made() -> str:
        book = FileDaybook(home)
        await book.aclose()
        return book.name

    name = asyncio.run(made())
    lend(home, name)
    with pytest.raises(SystemExit) as end:
        forfeit(name)
    assert end.value.code == 1
    assert "is not lost" in capsys.readouterr().err
    assert len(lent(home)) == 1


@pytest.mark.parametrize("name", ["", "ab", "abcd", "a-b", "../"])
def test_what_is_no_name_of_a_daybook_is_wrong_usage(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as end:
        forfeit(name)
    assert end.value.code == 2
    assert "three letters or digits" in capsys.readouterr().err

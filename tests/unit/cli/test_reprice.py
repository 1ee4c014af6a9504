"""`routebook ledger reprice` as people run it: a data folder, a file with prices, a table and JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from routebook.cli import generation, ledger
from routebook.config.settings import Settings
from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.revisions import RevisionBook
from routebook.ledger.ship import Shipper
from routebook.store.open import open_store
from routebook.wire import codec
from tests.unit.cli.test_records import Command, home, run
from tests.unit.daybook.samples import attempt, intent, outcome

__all__ = ["home", "run"]

FILE = """
[[providers]]
slug = "acme"
name = "Acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
[[models]]
slug = "acme/large"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
[[models.endpoints.pricing]]
prompt = "0.000003"
completion = "0.000015"
"""
LATER = """
[[models.endpoints.pricing]]
effective = 2024-07-15
prompt = "0.000004"
completion = "0.000015"
"""
SERVED = "acme:acme/large:large"
GONE = "gone:gone/small:small"


@pytest.fixture
def ids(home: Path) -> list[str]:
    """Two calls at an endpoint of the file, and one at an endpoint that is in no file any more, all shipped."""

    async def work() -> list[str]:
        book, store = FileDaybook(home), open_store(Settings(), home)
        found = []
        for endpoint, model in ((SERVED, "acme/large"), (SERVED, "acme/large"), (GONE, "gone/small")):
            n = book.next_n()
            call = intent(n, book.name)
            await book.open(call)
            tries = (attempt(endpoint_id=endpoint, model=model),)
            await book.close(call.id, n, State.DONE, outcome(endpoint_id=endpoint, model=model, attempts=tries))
            found.append(call.id)
        await Shipper(book, store).ship_once()
        await store.close()
        await book.aclose()
        return found

    home.mkdir(parents=True, exist_ok=True)
    return asyncio.run(work())


def file(home: Path, text: str) -> str:
    path = home.parent / "routebook.toml"
    path.write_text(text, "utf-8")
    return str(path)


def told(out: str) -> Any:
    return codec.decode(out.encode())


def test_a_table_says_what_changes_and_the_records_and_the_proof_follow(
    home: Path, ids: list[str], run: Command
) -> None:
    config = file(home, FILE + LATER)
    out = run(ledger.app, "reprice", "--since", "2024-01-01", "--config", config)
    assert run.code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["acme/large", "Acme", "2", "0.0012", "0.0014", "+0.0002", "+0.0002"] in rows
    assert ["in", "all", "2", "0.0012", "0.0014", "+0.0002", "+0.0002"] in rows
    assert "gone/small at Acme: no price here for the time of 1 calls" in out
    assert "2 revisions are in force" in out
    data = told(run(generation.app, "show", ids[0], "--json", "--config", config))
    assert (str(data["total_cost"]), data["routebook"]["revision"]) == ("0.0007", 1)
    assert data["routebook"]["price_revision"].startswith("2024-07-15 ")
    assert "1 (in force)" in run(generation.app, "show", ids[0], "--config", config)
    proof = told(run(ledger.app, "verify", "--json", "--config", config))
    assert proof["holds"]
    assert [check["figures"]["revisions"] for check in proof["checks"] if check["name"] == "revisions"] == [2]


def test_json_says_the_same_and_a_second_run_nothing(home: Path, ids: list[str], run: Command) -> None:
    config = file(home, FILE + LATER)
    arguments = ("reprice", "--since", "2024-01-01", "--json", "--config", config)
    first = told(run(ledger.app, *arguments))
    assert (first["looked_at"], first["changed"], first["left"], first["in_force"]) == (3, 2, 1, 2)
    (group,) = first["differences"]
    assert (group["model"], group["calls"], group["old"], group["new"]) == ("acme/large", 2, "0.0012", "0.0014")
    assert group["difference"] == first["total"]["difference"] == "0.0002"
    assert first["without_price"] == [{"model": "gone/small", "provider": "Acme", "calls": 1}]
    second = told(run(ledger.app, *arguments))
    assert (second["changed"], second["unchanged"], second["in_force"], second["differences"]) == (0, 2, 0, [])


def test_a_dry_run_writes_nothing(home: Path, ids: list[str], run: Command) -> None:
    config = file(home, FILE + LATER)
    out = run(ledger.app, "reprice", "--since", "2024-01-01", "--dry-run", "--config", config)
    assert "Dry run: nothing was written." in out
    assert "+0.0002" in out
    data = told(run(generation.app, "show", ids[0], "--json", "--config", config))
    assert (str(data["total_cost"]), data["routebook"]["revisions"]) == ("0.0006", [])


def test_the_same_prices_are_nothing_to_write(home: Path, ids: list[str], run: Command) -> None:
    out = run(ledger.app, "reprice", "--since", "2024-01-01", "--config", file(home, FILE))
    assert "0 get another charge, 2 keep theirs, 1 left as they are." in out
    assert "Nothing to write." in out


def test_time_and_model_bound_what_is_looked_at(home: Path, ids: list[str], run: Command) -> None:
    config = file(home, FILE + LATER)
    arguments = ("reprice", "--json", "--dry-run", "--config", config)
    assert told(run(ledger.app, *arguments, "--since", "2024-07-16"))["looked_at"] == 0
    assert told(run(ledger.app, *arguments, "--since", "2024-01-01", "--until", "2024-07-15"))["looked_at"] == 0
    found = told(run(ledger.app, *arguments, "--since", "2024-01-01", "--model", "gone/small"))
    assert (found["looked_at"], found["left"]) == (1, 1)


def test_mistakes_are_told_in_a_line(home: Path, ids: list[str], run: Command) -> None:
    run(ledger.app, "reprice", "--since", "yesterday")
    assert (run.code, "--since must be like" in run.err) == (2, True)
    run(ledger.app, "reprice", "--since", "1h", "--until", "soon")
    assert (run.code, "--until must be like" in run.err) == (2, True)
    run(ledger.app, "reprice", "--since", "1h", "--config", file(home, FILE.replace("prompt", "promt")))
    assert (run.code, "unknown key" in run.err) == (1, True)


def test_a_folder_without_a_store_has_nothing_to_charge_anew(home: Path, run: Command) -> None:
    run(ledger.app, "reprice", "--since", "1h")
    assert (run.code, "no store" in run.err) == (1, True)


def test_while_another_run_is_at_it_one_is_refused(home: Path, ids: list[str], run: Command) -> None:
    async def taken() -> RevisionBook:
        store = open_store(Settings(), home)
        try:
            return await RevisionBook.take(home, store)
        finally:
            await store.close()

    book = asyncio.run(taken())
    run(ledger.app, "reprice", "--since", "2024-01-01", "--config", file(home, FILE + LATER))
    assert (run.code, "is running on this data folder" in run.err) == (1, True)
    asyncio.run(book.close())

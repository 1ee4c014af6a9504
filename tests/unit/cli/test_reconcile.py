"""`routebook ledger reconcile` on a real data folder: what it prints, its exit codes, and what it says of bad input."""

from __future__ import annotations

import asyncio
import io
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.cli import ledger
from routebook.config.settings import Settings
from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.ledger.ship import Shipper
from routebook.store.open import open_store
from routebook.wire import codec
from tests.unit.cli.test_records import Command
from tests.unit.daybook.samples import ACCEPTED_NS, attempt, intent, outcome

HEADER = "when,ref,model,in,out,usd"
MAP = "time=when,id=ref,model=model,prompt=in,completion=out,cost=usd,provider=acme"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROUTEBOOK_CONFIG", "ROUTEBOOK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROUTEBOOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fill(home: Path, calls: int = 3, shipped: int = 0) -> None:
    """Calls a second apart, each of 100 and 20 tokens for 0.0006, with the provider's ids up-1, up-2, …"""

    async def work() -> None:
        book = FileDaybook(home)
        for place in range(calls):
            n = book.next_n()
            at = ACCEPTED_NS + place * 10**9
            call = intent(n, book.name, accepted_ns=at)
            await book.open(call)
            row = attempt(sent_ns=at + 1000, started_ns=at, ended_ns=at + 10**8, upstream_id=f"up-{place + 1}")
            await book.close(call.id, n, State.DONE, outcome(upstream_id=row.upstream_id, attempts=(row,)))
            if place + 1 == shipped:
                store = open_store(Settings(), home)
                await Shipper(book, store).ship_once()
                await store.close()
        await book.aclose()

    home.mkdir(parents=True, exist_ok=True)
    asyncio.run(work())


def bill(tmp_path: Path, *rows: str) -> str:
    path = tmp_path / "bill.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    return str(path)


def row(number: int, usd: str = "0.0006", out: int = 20) -> str:
    return f"2024-07-15T23:33:{18 + number:02}.500000Z,up-{number},large,100,{out},{usd}"


@pytest.mark.parametrize("shipped", [0, 2, 3])
def test_an_equal_bill_agrees_shipped_or_not_and_exits_0(
    home: Path, run: Command, tmp_path: Path, shipped: int
) -> None:
    fill(home, shipped=shipped)
    text = run(ledger.app, "reconcile", bill(tmp_path, *(row(n) for n in (1, 2, 3))), "--map", MAP)
    assert run.code == 0
    assert "3 calls agree to the last unit, matched call by call." in text
    assert "The book and the export agree." in text
    assert ["USD", "0.0018", "0.0018", "0"] in [line.split() for line in text.splitlines()]


def test_each_difference_is_told_with_its_call_and_the_exit_code_is_1(home: Path, run: Command, tmp_path: Path) -> None:
    fill(home, 4)
    path = bill(tmp_path, row(1), row(2, usd="0.0007"), row(3, out=21, usd="0.000615"), row(9))
    text = run(ledger.app, "reconcile", path, "--map", MAP, "--until", "2024-07-16T00:00:00Z")
    assert run.code == 1
    lines = text.splitlines()
    for start in (
        "missing in book  1  +0.0006 USD",
        "missing in export  1  -0.0006 USD",
        "tokens  1  +0.000015 USD",
        "price  1  +0.0001 USD",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert "likely off gateway: the book has no gap" in text
    assert "up-9" in text
    assert "up-4" in text
    assert "completion +1" in text
    assert "1.167 times the book's price" in text
    assert lines[-1] == "4 differences."


def test_json_has_every_difference_with_both_sides(home: Path, run: Command, tmp_path: Path) -> None:
    fill(home)
    path = bill(tmp_path, row(1), row(2, usd="0.0007"), row(3))
    report = codec.decode(run(ledger.app, "reconcile", path, "--map", MAP, "--json"))
    assert run.code == 1
    assert (report["agrees"], report["provider"], report["matched_by"], report["agreed"]) == (False, "acme", "call", 2)
    assert report["export"] == {"requests": 3, "tokens": {"prompt": 300, "completion": 60}, "cost": "0.0019"}
    assert report["book"]["cost"] == "0.0018"
    (found,) = report["differences"]
    assert (found["kind"], found["upstream_id"], found["cost"]) == ("price", "up-2", "0.0001")
    assert found["time"] == "2024-07-15T23:33:20.500000Z"
    assert found["export"]["cost"] == "0.0007"
    assert found["book"]["cost"] == "0.0006"
    assert found["generations"][0].startswith("gen-")


def test_a_bill_on_stdin_and_a_mapping_in_a_file(
    home: Path, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, 1)
    columns = tmp_path / "acme.toml"
    columns.write_text('[columns]\ntime = "when"\nid = "ref"\nprompt = "in"\ncost = "usd"\n', "utf-8")
    stdin = io.TextIOWrapper(io.BytesIO(f"{HEADER}\n{row(1)}\n".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    text = run(ledger.app, "reconcile", "-", "--columns", str(columns), "--provider", "acme")
    assert run.code == 0, run.err
    assert "1 call agrees" in text


def test_only_some_differences_of_a_kind_are_printed_and_the_rest_counted(
    home: Path, run: Command, tmp_path: Path
) -> None:
    fill(home, 9)
    text = run(ledger.app, "reconcile", bill(tmp_path, *(row(n, usd=f"0.01{n}") for n in range(1, 10))), "--map", MAP)
    assert text.count("times the book's price") == 5
    assert "and 4 more; --json has all" in text
    assert text.index("up-9") < text.index("up-8")


def test_the_wrong_provider_is_told(home: Path, run: Command, tmp_path: Path) -> None:
    fill(home)
    text = run(ledger.app, "reconcile", bill(tmp_path, row(1), row(3)), "--map", MAP, "--provider", "beta")
    assert run.code == 1
    assert "but of others (acme 3)" in text


def test_without_a_book_everything_is_missing_and_nothing_is_made(home: Path, run: Command, tmp_path: Path) -> None:
    text = run(ledger.app, "reconcile", bill(tmp_path, row(1)), "--map", MAP)
    assert run.code == 1
    assert "missing in book  1" in text
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.csv"], "nowhere.csv: cannot be read: No such file"),
        (["{bill}"], "no known export has the columns when, ref, model"),
        (["{bill}", "--map", "time=when,prompt=in"], "name the provider with --provider SLUG"),
        (["{bill}", "--map", "time=when,prompt=tokens,provider=acme"], "there is no column tokens (for prompt)"),
        (["{bill}", "--map", MAP, "--format", "openai-usage"], "exclude each other"),
        (["{bill}", "--format", "invoice"], "there is no format invoice"),
        (["{bill}", "--map", MAP, "--since", "tomorrow"], "--since must be like 12h"),
        (["{bill}", "--map", MAP, "--until", "2020-01-01T00:00:00Z"], "nothing lies between"),
        (["{bill}", "--columns", "nowhere.toml"], "cannot be read"),
        (["{empty}", "--map", MAP], "has no rows"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_exit_code_2(
    home: Path, run: Command, tmp_path: Path, words: list[str], told: str
) -> None:
    fill(home, 1)
    empty = tmp_path / "empty.csv"
    empty.write_text(HEADER + "\n", "utf-8")
    places = {"{bill}": bill(tmp_path, row(1)), "{empty}": str(empty)}
    assert run(ledger.app, "reconcile", *(places.get(word, word) for word in words)) == ""
    assert run.code == 2
    assert told in run.err
    assert run.err.startswith("routebook ledger reconcile: ")
    assert run.err.count("\n") == 1


def test_an_empty_export_of_a_named_time_misses_what_the_book_has(home: Path, run: Command, tmp_path: Path) -> None:
    fill(home)
    words = ["--map", MAP, "--since", "2024-07-15T00:00:00Z", "--until", "2024-07-16T00:00:00Z"]
    report = codec.decode(run(ledger.app, "reconcile", bill(tmp_path), *words, "--json"))
    assert run.code == 1
    assert [found["kind"] for found in report["differences"]] == ["missing_in_export"]
    assert Decimal(report["differences"][0]["cost"]) == Decimal("-0.0018")

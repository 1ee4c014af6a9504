"""`routebook ledger tail`, `export` and `verify --chain` on a real data folder, beside its owner and after it."""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import os
import signal
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.cli import export, ledger
from routebook.cli.tail import printable
from routebook.config.settings import Settings
from routebook.core.generation import State
from routebook.core.money import Charge
from routebook.core.people import Key
from routebook.daybook.book import FileDaybook
from routebook.ledger.ship import Shipper
from routebook.metering.columns import COLUMNS
from routebook.store.open import open_store
from routebook.wire import codec
from tests.unit.cli.test_records import Command, fill, home, run
from tests.unit.daybook.samples import ACCEPTED_NS, attempt, charge, intent, outcome

__all__ = ["home", "run"]


def lines(text: str) -> list[str]:
    return text.splitlines()


def records(text: str) -> list[dict[str, Any]]:
    return [codec.decode_exact(line) for line in lines(text)]


def mixed(home: Path) -> None:
    """Calls of two keys, two models and three states, some shipped; money that a float would not hold; one open."""

    async def work() -> None:
        book, store = FileDaybook(home), open_store(Settings(), home)
        await store.put_key(Key(hash="ab" * 32, name="laptop", label="sk-rb-v1-abc...d"))
        for place in range(12):
            n = book.next_n()
            model = "acme/large" if place % 2 else "acme/small"
            call = intent(
                n,
                book.name,
                accepted_ns=ACCEPTED_NS + n * 10**9,
                key_hash=("ab" if place % 3 else "cd") * 32,
                model=model,
                user_agent="=HYPERLINK(0)",
            )
            total = Decimal("0.0000000000000000000000000012345") * (place + 1)
            money = msgspec.structs.replace(charge(), total=charge().total + total)
            lines = (
                *(charge().lines or ()),
                msgspec.structs.replace((charge().lines or ())[0], item="tax", amount=total, count=None, rate=None),
            )
            money = msgspec.structs.replace(money, lines=lines)
            failed = attempt(error="rate_limited", status=429, usage=None)
            state = State.DONE if place % 4 else State.CANCELLED
            await book.open(call)
            await book.close(call.id, n, state, outcome(model=model, charge=money, attempts=(failed, attempt())))
            if place == 7:
                await Shipper(book, store).ship_once()
        await book.open(intent(book.next_n(), book.name, accepted_ns=ACCEPTED_NS + 60 * 10**9))
        await store.close()
        await book.aclose()

    home.mkdir(parents=True, exist_ok=True)
    asyncio.run(work())


@pytest.mark.parametrize("shipped", [0, 2, 3])
def test_tail_shows_the_newest_calls_oldest_first_shipped_or_not(home: Path, run: Command, shipped: int) -> None:
    ids = fill(home, shipped=shipped)
    shown = lines(run(ledger.app, "tail", "-n", "3"))
    assert [line.split()[-1] for line in shown] == ids[1:]
    assert [line.split()[2] for line in shown] == ["done", "done", "open"]
    assert "0.0006" in shown[0]
    assert "\x1b" not in "".join(shown), "colours are for terminals"
    assert [each["id"] for each in records(run(ledger.app, "tail", "--json"))] == ids


def test_tail_shows_only_what_is_asked_for(home: Path, run: Command) -> None:
    mixed(home)
    ends = [each["routebook"]["outcome"] for each in records(run(ledger.app, "tail", "--state", "cancelled", "--json"))]
    assert ends == ["cancelled"] * 3
    models = {each["model"] for each in records(run(ledger.app, "tail", "--model", "acme/small", "--json"))}
    assert models == {"acme/small"}
    assert len(lines(run(ledger.app, "tail", "-n", "99", "--key", "laptop"))) == 9
    assert len(lines(run(ledger.app, "tail", "-n", "99", "--key", "cdcdcdcd"))) == 4
    assert lines(run(ledger.app, "tail", "-n", "0")) == []


@pytest.mark.parametrize(
    ("option", "value", "code"), [("--state", "dead", 2), ("--key", "nobody", 1), ("--number", "-1", 2)]
)
def test_a_filter_that_means_nothing_ends_with_a_sentence(
    home: Path, run: Command, option: str, value: str, code: int
) -> None:
    mixed(home)
    assert run(ledger.app, "tail", option, value) == ""
    assert run.code == code
    assert run.err.startswith("routebook ledger: ")


def test_what_a_caller_calls_a_model_cannot_command_a_terminal() -> None:
    assert printable("a\x1b[31m\nb\u202e") == "a?[31m?b?"


def test_tail_follows_calls_as_they_end_also_over_new_daybooks(home: Path) -> None:
    (first,) = fill(home, 1)[:1]
    command = [sys.executable, "-m", "routebook", "ledger", "tail", "--follow", "--json", "-n", "1", "--state", "done"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "ROUTEBOOK_HOME": str(home)}
    )
    assert child.stdout is not None
    try:
        assert codec.decode(child.stdout.readline())["id"] == first

        async def more() -> list[str]:
            ids = []
            for slots in (1, 2):
                books = [FileDaybook(home, slots=slots) for _ in range(slots)]
                for book in books:
                    call = intent(book.next_n(), book.name)
                    await book.open(call)
                    await book.close(call.id, call.n, State.DONE, outcome())
                    ids.append(call.id)
                for book in books:
                    await book.aclose()
            return ids

        ids = asyncio.run(more())
        seen = {codec.decode(child.stdout.readline())["id"] for _ in ids}
        assert seen == set(ids)
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(10)
        finally:
            child.kill()
            child.stdout.close()


def test_an_export_read_back_has_every_record_and_the_same_totals(home: Path, run: Command, tmp_path: Path) -> None:
    mixed(home)
    lined, tabled = tmp_path / "book.jsonl", tmp_path / "book.csv"
    run(ledger.app, "export", "--output", str(lined))
    assert "13 records, 1 of them open, charged $0.0072" in run.err
    run(ledger.app, "export", "--output", str(tabled))
    read = records(lined.read_text())
    with tabled.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len({each["id"] for each in read}) == 13
    assert [row["id"] for row in rows] == [each["id"] for each in read]
    due = 12 * Decimal("0.0006") + 78 * Decimal("0.0000000000000000000000000012345")
    with localcontext(prec=60):
        assert sum((each["total_cost"] for each in read), Decimal(0)) == due
        assert sum((Decimal(row["total_cost"]) for row in rows), Decimal(0)) == due
    report = codec.decode(run(ledger.app, "verify", "--json"))
    charged = next(check for check in report["checks"] if check["name"] == "lines")["figures"]["charged"]
    assert Decimal(charged) == due
    for row, record in zip(rows, read, strict=True):
        assert codec.decode(row["attempts"]) == codec.decode(codec.encode(record["routebook"]["attempts"]))
        assert row["attempt_count"] == ("0" if row["state"] == "open" else "2")
        assert (row["key_hash"], row["account"]) == (record["key_hash"], record["account"])
    assert {row["user_agent"] for row in rows} == {"'=HYPERLINK(0)", ""}


def test_an_export_is_of_the_period_the_model_and_the_key_that_are_asked_for(home: Path, run: Command) -> None:
    mixed(home)
    assert {each["model"] for each in records(run(ledger.app, "export", "--model", "acme/small"))} == {"acme/small"}
    assert {each["key_hash"] for each in records(run(ledger.app, "export", "--key", "laptop"))} == {"ab" * 32}
    since, until = "2024-07-15T23:33:24", "2024-07-15T23:33:28.433273"
    found = records(run(ledger.app, "export", "--since", since, "--until", until))
    assert sorted(each["routebook"]["daybook"]["n"] for each in found) == [5, 6, 7, 8]
    assert run(ledger.app, "export", "--since", "yesterday") == ""
    assert run.code == 2


def test_an_export_that_cannot_be_written_leaves_nothing_and_says_so(home: Path, run: Command, tmp_path: Path) -> None:
    mixed(home)
    run(ledger.app, "export", "--output", str(tmp_path / "absent" / "x.csv"))
    assert run.code == 1
    assert "cannot be written: No such file or directory" in run.err
    run(ledger.app, "export", "--output", str(tmp_path))
    assert run.code == 1
    assert f"{tmp_path} is a folder; name a file in it, such as {tmp_path / 'book.csv'}" in run.err
    out = tmp_path / "x.csv"
    out.write_text("before")

    def die_half_way() -> None:
        with export._opened(out) as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die_half_way()
    assert out.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("x")] == ["x.csv"]
    run(ledger.app, "export", "--output", str(out))
    assert (out.stat().st_mode & 0o777, len(out.read_text().splitlines())) == (0o600, 14)


def test_a_full_disk_is_not_told_as_damage_to_the_book(
    home: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    mixed(home)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Full())
        with pytest.raises(OSError, match="No space left on device"):
            run(ledger.app, "export")


def test_an_unpriced_call_is_told_apart_from_a_free_one(home: Path, run: Command) -> None:
    fill(home, 1, charge=Charge(unpriced=True))
    rows = csv.DictReader(lines(run(ledger.app, "export", "--format", "csv")))
    (opened, ended) = sorted(rows, key=lambda each: each["state"], reverse=True)
    assert (ended["unpriced"], ended["total_cost"], ended["upstream_inference_cost"]) == ("true", "0", "")
    assert (opened["state"], opened["latency"]) == ("open", "")


def test_the_chain_is_shown_and_a_head_that_was_noted_is_proved_later(home: Path, run: Command) -> None:
    fill(home)
    text = run(ledger.app, "verify", "--chain")
    head = next(line.split()[-1] for line in lines(text) if line.split()[:1] == ["head"])
    assert "rows 1 to 7" in text
    asyncio.run(FileDaybook(home).aclose())  # one row more: the open call is interrupted
    run(ledger.app, "verify", "--head", head)
    assert run.code == 0
    name, row, digest = head.split(":")
    for wrong, says in (
        (f"{name}:{row}:{'0' * 16}", "the digest there is"),
        (f"{name}:99:{digest}", "the daybook ends at row 8"),
        (f"zzz:{row}:{digest}", "there is no daybook zzz here"),
    ):
        text = run(ledger.app, "verify", "--head", wrong)
        assert run.code == 1
        assert says in text
    run(ledger.app, "verify", "--head", "nonsense")
    assert run.code == 2


def test_a_break_is_shown_with_what_it_means(home: Path, run: Command) -> None:
    fill(home)
    (path,) = home.glob("daybooks/*/*.daybook")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    text = run(ledger.app, "verify")
    assert run.code == 1
    assert "are damaged" in text
    assert "What that means (damaged): these bytes are not what was written" in text
    told = codec.decode(run(ledger.app, "verify", "--json"))
    assert {each["kind"] for each in told["chains"][0]["breaks"]} == {"damaged", "missing", "unchained"}

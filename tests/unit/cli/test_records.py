"""`routebook generation` and `routebook ledger` on a real data folder, and over HTTP."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cyclopts
import pytest

from routebook.cli import generation, ledger
from routebook.config.settings import Settings
from routebook.core.generation import State
from routebook.core.money import Charge
from routebook.daybook.book import FileDaybook
from routebook.ledger.ship import Shipper
from routebook.store.open import database_path, open_store
from routebook.wire import codec
from tests.unit.daybook.samples import ACCEPTED_NS, MS, intent, outcome


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROUTEBOOK_CONFIG", "ROUTEBOOK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROUTEBOOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Command:
    """Runs a command line and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = 0
        self.err = ""

    def __call__(self, app: cyclopts.App, *tokens: str) -> str:
        command, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
        self.code = 0
        try:
            command(*bound.args, **bound.kwargs)
        except SystemExit as end:
            self.code = int(end.code or 0)
        out, self.err = self._capsys.readouterr()
        return out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def fill(home: Path, calls: int = 3, *, shipped: int = 0, charge: Charge | None = None) -> list[str]:
    """Ended calls a minute apart, then an open one; the first ones shipped to the store. Gives their ids."""

    async def work() -> list[str]:
        book = FileDaybook(home)
        ids = []
        for place in range(calls):
            n = book.next_n()
            call = intent(n, book.name, accepted_ns=ACCEPTED_NS + n * 60_000 * MS)
            await book.open(call)
            end = outcome() if charge is None else outcome(charge=charge)
            await book.close(call.id, n, State.DONE, end)
            ids.append(call.id)
            if place + 1 == shipped:
                store = open_store(Settings(), home)
                await Shipper(book, store).ship_once()
                await store.close()
        last = intent(book.next_n(), book.name, accepted_ns=ACCEPTED_NS + 10**15, model="acme/small")
        await book.open(last)
        await book.aclose()
        return [*ids, last.id]

    home.mkdir(parents=True, exist_ok=True)
    return asyncio.run(work())


@pytest.mark.parametrize("shipped", [0, 2, 3])
def test_a_record_is_shown_from_the_files_shipped_or_not(home: Path, run: Command, shipped: int) -> None:
    for id in fill(home, shipped=shipped):
        data = codec.decode(run(generation.app, "show", id, "--json"))
        assert data["id"] == id
        assert run.code == 0


def test_the_receipt_names_the_fields_of_the_record(home: Path, run: Command) -> None:
    id = fill(home)[0]
    data = codec.decode(run(generation.app, "show", id, "--json"))
    text = run(generation.app, "show", id)
    for name in data.keys() - {"routebook", "provider_responses"}:
        assert re.search(rf"\b{name}\b", text), name
    assert "provider_responses" in text
    assert "0.0006" in text
    assert id in text


def test_an_unknown_id_ends_with_a_sentence(home: Path, run: Command) -> None:
    fill(home)
    assert run(generation.app, "show", "gen-1-nothing") == ""
    assert run.code == 1
    assert run.err == (
        "routebook generation: no generation gen-1-nothing in this data folder; "
        "`routebook generation list` shows those that are\n"
    )


def test_reading_makes_no_data_folder_and_no_database(home: Path, run: Command) -> None:
    run(generation.app, "list")
    assert run.code == 0
    assert not home.exists()
    fill(home)
    run(generation.app, "list", "--json")
    assert not database_path(Settings(), home).exists()


@pytest.mark.parametrize("shipped", [0, 2, 3])
def test_the_list_is_newest_first_and_has_the_open_call(home: Path, run: Command, shipped: int) -> None:
    ids = fill(home, shipped=shipped)
    listed = codec.decode(run(generation.app, "list", "--json"))
    assert [data["id"] for data in listed] == ids[::-1]
    assert [data["routebook"]["outcome"] for data in listed] == ["open", "done", "done", "done"]
    shorter = codec.decode(run(generation.app, "list", "--limit", "2", "--json"))
    assert [data["id"] for data in shorter] == ids[:1:-1]


def test_the_list_is_filtered_by_model_and_time(home: Path, run: Command) -> None:
    ids = fill(home, shipped=1)

    def listed(*tokens: str) -> list[str]:
        return [data["id"] for data in codec.decode(run(generation.app, "list", "--json", *tokens))]

    assert listed("--model", "acme/small") == ids[3:]
    assert listed("--model", "acme/large") == ids[2::-1]
    assert listed("--since", "2024-07-15T23:35:00Z") == ids[:0:-1]
    assert listed("--since", "2024-07-16T01:36:00+02:00") == ids[:1:-1]
    assert listed("--since", "1h") == []
    run(generation.app, "list", "--since", "yesterday")
    assert (run.code, run.err.count("\n")) == (2, 1)


def test_the_table_shows_whole_ids_even_in_a_pipe(home: Path, run: Command) -> None:
    ids = fill(home)
    text = run(generation.app, "list")
    assert all(id in text for id in ids)


def test_relative_times_are_before_now() -> None:
    now = 10**18
    assert generation.moment("90s", now) == now - 90 * 10**9
    assert generation.moment("2d", now) == now - 172_800 * 10**9
    assert generation.moment("2024-07-15T23:33:19.433273", now) == ACCEPTED_NS
    assert generation.moment("soon", now) is None


class Gateway(BaseHTTPRequestHandler):
    """Answers one id to one key, the way the API does."""

    def do_GET(self) -> None:
        good = self.headers["authorization"] == "Bearer sk-good"
        text = codec.encode({"data": {"id": "gen-1-x", "total_cost": 0.0015}} if good else {})
        self.send_response(200 if good else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_with_a_url_the_record_comes_from_that_gateway(run: Command, url: str) -> None:
    data = codec.decode_exact(run(generation.app, "show", "gen-1-x", "--url", url, "--key", "sk-good", "--json"))
    assert str(data["total_cost"]) == "0.0015"
    assert "gen-1-x" in run(generation.app, "show", "gen-1-x", "--url", url, "--key", "sk-good")
    assert run(generation.app, "show", "gen-1-x", "--url", url, "--key", "sk-secret-bad") == ""
    assert run.code == 1
    assert "sk-secret-bad" not in run.err
    run(generation.app, "show", "gen-1-x", "--key", "sk-good")
    assert run.code == 2


def test_verify_breaks_its_lines_beside_the_names_of_the_checks(
    home: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, 1)
    for name, value in (("TTY_COMPATIBLE", "1"), ("TERM", "dumb"), ("COLUMNS", "60")):
        monkeypatch.setenv(name, value)
    lines = run(ledger.app, "verify").splitlines()
    assert lines[:2] == [
        "holds  calls      every admitted call is settled, open or",
        "                  interrupted, and none is two of these",
    ]
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("shipped", [0, 2])
def test_verify_prints_its_figures_and_exits_0(home: Path, run: Command, shipped: int) -> None:
    fill(home, shipped=shipped)
    text = run(ledger.app, "verify")
    assert run.code == 0
    assert "admitted 4, settled 3, open 1, interrupted 0" in text
    assert "rows 7, gaps 0" in text
    assert "The book holds." in text
    report = codec.decode(run(ledger.app, "verify", "--json"))
    assert report["holds"] is True
    assert {check["name"] for check in report["checks"]} >= {"calls", "sequence", "identity", "lines"}


def test_verify_of_nothing_says_so(home: Path, run: Command) -> None:
    assert "nothing to prove" in run(ledger.app, "verify")
    assert run.code == 0
    assert not home.exists()


def test_verify_names_what_is_wrong_and_exits_1(home: Path, run: Command) -> None:
    ids = fill(home, 1, charge=Charge(total=outcome().charge.total, lines=()))
    text = run(ledger.app, "verify")
    assert run.code == 1
    assert f"{ids[0]}: the lines sum to 0, the total is 0.0006" in text
    assert run.err.count("\n") == 1
    report = codec.decode(run(ledger.app, "verify", "--json"))
    assert run.code == 1
    assert report["holds"] is False


def test_a_damaged_daybook_ends_with_a_sentence(home: Path, run: Command) -> None:
    fill(home)
    (path,) = (home / "daybooks").glob("*/*.daybook")
    path.write_bytes(b"no daybook at all, though it is long enough to look like one" * 100)
    run(ledger.app, "verify")
    assert run.code == 1
    assert "cannot be read" in run.err
    assert run.err.count("\n") == 1

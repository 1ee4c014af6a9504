"""`routebook serve` as a real process: its start-up line, keys, drain, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from routebook.cli import running
from routebook.cli.main import short_errors
from routebook.client import ChatStream, Routebook, RoutebookError
from routebook.daybook.book import FileDaybook
from routebook.store.sqlite import SqliteStore
from tests.cli.child import PATIENCE, Child, routebook
from tests.cli.slow_provider import SlowProvider

ADMIN = "an-admin-key-of-thirty-two-characters-or-more"


@pytest.fixture
def provider() -> Iterator[SlowProvider]:
    with SlowProvider() as slow:
        yield slow


def gateway(home: Path, provider: SlowProvider, drain: float = 10) -> Child:
    file = home / "routebook.toml"
    file.write_text(provider.configuration(drain))
    return Child(home, "serve", "--config", str(file), env={"ROUTEBOOK_ADMIN_KEY": ADMIN})


def client(url: str) -> Routebook:
    return Routebook(ADMIN, f"{url}/api/v1", timeout=PATIENCE)


def begun(user: Routebook) -> ChatStream:
    """A stream whose first text is here."""
    stream = user.chat.send(model="acme/slow", messages=[{"role": "user", "content": "Hello"}], stream=True)
    while not next(stream).text:
        pass
    return stream


def readiness(url: str) -> int:
    return httpx2.get(f"{url}/readyz").status_code


def test_one_line_tells_where_it_is_and_what_it_serves(tmp_path: Path, provider: SlowProvider) -> None:
    with gateway(tmp_path, provider) as child:
        line = child.out.until("serves ")
        assert "http://127.0.0.1:" in line
        assert "1 model of 1 provider" in line
        assert str(tmp_path / "routebook.db") in line
        assert "durability process" in line
        child.send(signal.SIGTERM)
        assert child.ended() == 0
        assert child.out.all() == line
        assert "secret-of-acme" not in line + child.err.all()


def test_it_is_ready_and_sigterm_ends_it_well(tmp_path: Path, provider: SlowProvider) -> None:
    with gateway(tmp_path, provider) as child:
        answer = httpx2.get(f"{child.url()}/readyz")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        child.send(signal.SIGTERM)
        assert child.ended() == 0
        assert "Traceback" not in child.err.all()


def test_without_a_provider_it_says_how_to_get_one(tmp_path: Path) -> None:
    with Child(tmp_path, "serve", "--port", "0") as child:
        assert "0 models of 0 providers" in child.out.until("serves ")
        assert "OPENAI_API_KEY" in child.out.until("No provider is configured")
        assert "routebook keys create" in child.out.until("No key exists")


def test_a_key_made_beside_it_is_taken_within_two_seconds(tmp_path: Path) -> None:
    with Child(tmp_path, "serve", "--port", "0") as child:
        url = child.url()
        made = routebook(tmp_path, "keys", "create", "--name", "laptop")
        assert made.returncode == 0
        key = made.stdout.strip()
        asked = time.monotonic()
        with httpx2.Client(headers={"authorization": f"Bearer {key}"}) as user:
            while (status := user.get(f"{url}/api/v1/key").status_code) == 401 and time.monotonic() - asked < 2:
                pass
        assert status == 200


def test_a_running_stream_ends_by_itself_within_the_drain(tmp_path: Path, provider: SlowProvider) -> None:
    with gateway(tmp_path, provider, drain=60) as child:
        url = child.url()
        with client(url) as user, begun(user) as stream:
            child.send(signal.SIGTERM)
            child.err.until("Stopping: running calls get 60 s")
            assert readiness(url) == 503
            provider.go.set()
            assert "".join(chunk.text for chunk in stream) == " again"
            id = stream.generation_id
        assert child.ended() == 0
    record = routebook(tmp_path, "generation", "show", str(id), "--json", env={"ROUTEBOOK_ADMIN_KEY": ADMIN})
    assert '"native_tokens_completion":2' in record.stdout


def test_a_stream_that_outlasts_the_drain_ends_with_an_error_event(tmp_path: Path, provider: SlowProvider) -> None:
    with gateway(tmp_path, provider, drain=0.2) as child:
        with client(child.url()) as user, begun(user) as stream:
            child.send(signal.SIGTERM)
            with pytest.raises(RoutebookError, match="shutting down"):
                list(stream)
            id = stream.generation_id
        assert child.ended() == 0
    listed = routebook(tmp_path, "generation", "list", "--json")
    assert str(id) in listed.stdout
    assert '"outcome":"error"' in listed.stdout
    assert shipped(tmp_path) == [id]


def test_a_second_ctrl_c_ends_it_at_once_and_the_call_is_interrupted(tmp_path: Path, provider: SlowProvider) -> None:
    with gateway(tmp_path, provider, drain=60) as child, client(child.url()) as user, begun(user) as stream:
        id = stream.generation_id
        child.send(signal.SIGINT)
        child.err.until("Stopping")
        child.send(signal.SIGINT)
        assert child.ended() == 1
        assert "marked interrupted at the next start" in child.err.all()
    with gateway(tmp_path, provider) as child, client(child.url()) as user:
        assert id is not None
        data = user.generations.get(id).data
        assert data.routebook is not None
        assert data.routebook["outcome"] == "interrupted"


def test_a_taken_port_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = routebook(tmp_path, "serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"routebook: port {port} on 127.0.0.1 is taken; choose another one with --port, "
        "or stop the process that has it\n"
    )
    assert not (tmp_path / "daybooks").exists()


def test_an_address_of_another_machine_is_said_in_a_line(tmp_path: Path) -> None:
    done = routebook(tmp_path, "serve", "--port", "0", "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_successor_waits_for_the_daybook_and_takes_over(tmp_path: Path) -> None:
    with Child(tmp_path, "serve", "--port", "0") as first:
        first.url()
        with Child(tmp_path, "serve", "--port", "0") as second:
            assert str(first.pid) in second.err.until("Waiting up to 10 s")
            first.send(signal.SIGTERM)
            assert first.ended() == 0
            assert readiness(second.url()) == 200


def test_a_waiting_successor_can_be_stopped(tmp_path: Path) -> None:
    with Child(tmp_path, "serve", "--port", "0") as first:
        first.url()
        with Child(tmp_path, "serve", "--port", "0") as second:
            second.err.until("Waiting up to 10 s")
            second.send(signal.SIGINT)
            assert second.ended() == 0
        assert first.running


def test_rows_that_cannot_be_shipped_make_the_exit_code_1(tmp_path: Path, provider: SlowProvider) -> None:
    provider.go.set()
    with gateway(tmp_path, provider) as child:
        with client(child.url()) as user, hold(tmp_path / "routebook.db"):
            user.chat.send(model="acme/slow", messages=[{"role": "user", "content": "Hello"}], stream=True).close()
            child.send(signal.SIGTERM)
            code = child.ended()
        assert code == 1
        assert "not every record reached the store" in child.err.all()


class hold:
    """The write lock of a database, held as another program would."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._db.close()


def shipped(home: Path) -> list[str]:
    async def ids() -> list[str]:
        store = SqliteStore(home / "routebook.db")
        found = await store.generations(account=None)
        await store.close()
        return [each.id for each in found]

    return asyncio.run(ids())


def test_a_daybook_that_stays_held_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "BOOK_WAIT_SECONDS", 0.2)

    async def wait() -> None:
        book = FileDaybook(tmp_path)
        try:
            await running.book_is_free(tmp_path, running.Stopping())
        finally:
            await book.aclose()

    with pytest.raises(SystemExit) as end, short_errors():
        asyncio.run(wait())
    assert end.value.code == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("Waiting up to 0.2 s for process ")
    assert told[1].startswith(f"routebook: the data folder {tmp_path} is in use by process {os.getpid()} on ")
    assert "its own ROUTEBOOK_HOME" in told[1]
    assert len(told) == 2

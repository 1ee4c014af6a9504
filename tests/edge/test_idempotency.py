"""Idempotency-Key over real sockets: on both edges, on two workers that share a store, and over a worker's death."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, MODELS, RunningGateway
from tests.cli.child import Child, routebook
from tests.edge.test_protocol import ask, chat, record
from tests.edge.test_workers import all_listen, book_of, eventually, port_of, workers_of
from tests.edge.test_workers import gateway as several
from tests.edge.wire import Got, Wire

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
NAMES = iter(f"key-{number}" for number in range(1000))
SECRETIVE = "a-word-that-no-file-may-hold"


def answered(wire: Wire, key: str, body: bytes, name: str) -> Got:
    wire.send(chat(key, body, **{"Idempotency-Key": name}))
    return wire.answer()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_repeat_has_the_same_bytes_and_costs_nothing(
    gateway: RunningGateway, provider: ScriptedProvider, key: str, stream: bool
) -> None:
    name, body = next(NAMES), ask("[[completion=5 pieces=5]]", stream=stream)
    with Wire(gateway.port) as wire:
        first = answered(wire, key, body, name)
        billed = len(provider.bill)
        again = [answered(wire, key, body, name) for _ in range(3)]
    assert first.status == 200
    assert "idempotent-replayed" not in first.headers
    for each in again:
        assert each.status == 200
        assert each.body == first.body
        assert each.headers["idempotent-replayed"] == "true"
        assert each.headers["x-generation-id"] == first.headers["x-generation-id"]
        assert {line[0] for line in each.lines} - {line[0] for line in first.lines} == {"idempotent-replayed"}
    assert len(provider.bill) == billed


def test_another_body_or_a_bad_key_is_refused(gateway: RunningGateway, key: str) -> None:
    name = next(NAMES)
    with Wire(gateway.port) as wire:
        first = answered(wire, key, ask("one"), name)
        other = answered(wire, key, ask("two"), name)
        bad = answered(wire, key, ask("one"), "not visible\x7f")
    assert (other.status, other.json()["error"]["metadata"]["error_type"]) == (422, "unprocessable")
    assert other.json()["error"]["metadata"]["generation_id"] == first.headers["x-generation-id"]
    assert bad.status == 400


def test_who_hangs_up_finds_the_whole_answer(gateway: RunningGateway, provider: ScriptedProvider, key: str) -> None:
    name, body = next(NAMES), ask("[[completion=6 pieces=3 hang=1]]", stream=True)
    with Wire(gateway.port) as wire:
        wire.send(chat(key, body, **{"Idempotency-Key": name}))
        wire.read_until(b"data: ")
        id = wire.answers[0].headers["x-generation-id"]
    with Wire(gateway.port) as wire:
        early = answered(wire, key, body, name)
        assert (early.status, early.headers["retry-after"]) == (409, "1")
        provider.release()
        got: list[Got] = []

        def there() -> bool:
            got.append(answered(wire, key, body, name))
            return got[-1].status == 200

        eventually(there)
    assert got[-1].body.endswith(b"data: [DONE]\n\n")
    assert got[-1].headers["x-generation-id"] == early.headers["x-generation-id"] == id
    assert record(gateway, key, id)["cancelled"] is False


def test_no_file_holds_the_answer_or_the_key_in_plain_text(gateway: RunningGateway, key: str) -> None:
    name = f"{SECRETIVE}-{next(NAMES)}"
    with Wire(gateway.port) as wire:
        first = answered(wire, key, ask(f"[[completion=9]] {SECRETIVE}"), name)
    content = first.json()["choices"][0]["message"]["content"].encode()
    assert len(content) > 8
    read = 0
    for path in gateway.home.rglob("*"):
        if path.is_file() and path.name not in ("reserve", "next"):
            data = path.read_bytes()
            read += len(data)
            assert content not in data, path
            assert SECRETIVE.encode() not in data, path
    assert read > 1000
    assert (gateway.home / "secret").stat().st_mode & 0o777 == 0o600


# --- several processes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def own() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(MODELS) as running:
        yield running


def on_both(port: int, body: bytes, name: str) -> tuple[list[Got], set[str]]:
    """Ask on fresh connections until each of two workers has answered a request of its own."""
    got: list[Got] = []
    books: set[str] = set()

    def both() -> bool:
        with Wire(port) as wire:
            got.append(answered(wire, ADMIN_KEY, body, name))
            wire.send(chat(ADMIN_KEY, ask("[[completion=1]]")))
            books.add(book_of(wire.answer().headers["x-generation-id"]))
        return len(books) == 2

    eventually(both)
    return got, books


@linux
def test_two_workers_make_one_call_of_many_requests_at_once(home: Path, own: ScriptedProvider) -> None:
    body, name = ask("[[completion=4 pieces=2 hang=1]]", stream=True), "the-same"
    with several(home, own, workers=2) as child, ExitStack() as open_wires:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        wires = [open_wires.enter_context(Wire(port)) for _ in range(20)]
        for wire in wires:
            wire.send(chat(ADMIN_KEY, body, **{"Idempotency-Key": name}))
        refused: list[Wire] = []

        def all_others_refused() -> bool:
            waiting = [wire.socket for wire in wires if wire not in refused]
            for ready in select.select(waiting, [], [], 0.1)[0]:
                wire = next(wire for wire in wires if wire.socket is ready)
                assert wire.more()
                if wire.answers[0].complete:
                    refused.append(wire)
            return len(refused) == len(wires) - 1

        eventually(all_others_refused)
        (served,) = [wire for wire in wires if wire not in refused]
        served.read_until(b"data: ")
        own.release()
        first = served.answer()
        got = [wire.answer() for wire in refused]
        open_wires.close()
        assert first.status == 200
        assert {each.status for each in got} == {409}
        assert len(own.bill) == 1
        again, books = on_both(port, body, name)
        assert len(books) == 2
        assert {each.body for each in again} == {first.body}
        assert {each.headers["x-generation-id"] for each in [*again, *got]} == {first.headers["x-generation-id"]}
        child.send(signal.SIGTERM)
        assert child.ended() == 0


@linux
def test_a_worker_that_is_killed_leaves_its_key_used_and_its_successor_says_so(
    home: Path, own: ScriptedProvider
) -> None:
    kept, cut = ask("[[completion=3]]"), ask("[[completion=6 pieces=3 hang=1]]", stream=True)
    with several(home, own, workers=1) as child:
        port = port_of(child)
        with Wire(port) as wire:
            first = answered(wire, ADMIN_KEY, kept, "kept")
        with Wire(port) as wire:
            wire.send(chat(ADMIN_KEY, cut, **{"Idempotency-Key": "cut"}))
            wire.read_until(b"data: ")
            id = wire.answers[0].headers["x-generation-id"]
            os.kill(pid_of_worker(child), signal.SIGKILL)
            wire.to_the_end()
        assert child.ended() != 0
    with several(home, own, workers=1) as child:
        port = port_of(child)
        calls = len(own.bill)
        with Wire(port) as wire:
            refused = answered(wire, ADMIN_KEY, cut, "cut")
            again = answered(wire, ADMIN_KEY, kept, "kept")
        assert refused.status == 409
        assert "retry-after" not in refused.headers
        assert refused.headers["x-generation-id"] == id
        assert refused.json()["error"]["metadata"]["generation_id"] == id
        assert again.body == first.body
        assert len(own.bill) == calls
        child.send(signal.SIGTERM)
        assert child.ended() == 0
    shown = routebook(home, "generation", "show", id, "--json")
    assert '"interrupted"' in shown.stdout, shown


def pid_of_worker(child: Child) -> int:
    """With one worker that is the process itself."""
    return next(iter(workers_of(child.pid)), child.pid)

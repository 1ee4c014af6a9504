"""`routebook serve --workers N` as real processes: one address, a daybook each, and what happens when some die."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from routebook.core.ids import locate
from routebook.daybook import folder
from routebook.daybook.folder import DaybookLocked
from routebook.observe.clock import SystemDice
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, configuration
from tests.cli.child import Child, environment, routebook
from tests.edge.test_protocol import ask, chat, events
from tests.edge.wire import Wire, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

ENV = {"ROUTEBOOK_ADMIN_KEY": ADMIN_KEY}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def gateway(home: Path, provider: ScriptedProvider, *flags: str, drain: float = 10, workers: int = 2) -> Child:
    file = home.with_suffix(".toml")
    quiet = "[accounting]\nreference_tokens = false"
    config = configuration(provider, f"[server]\nport = 0\ndrain = {drain}").replace("[accounting]", quiet, 1)
    file.write_text(config)
    return Child(home, "serve", "--config", str(file), "--workers", str(workers), *flags, env=ENV)


def port_of(child: Child) -> int:
    return int(child.url().rpartition(":")[2])


def workers_of(pid: int) -> list[int]:
    """Process ids of the children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(holds: Callable[[], bool], seconds: float = 20) -> float:
    """Waits until it is so; how long that took."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, "it did not come about"
        time.sleep(0.01)
    return time.monotonic() - start


def all_listen(port: int, count: int) -> bool:
    """That many sockets listen on the port."""
    wanted = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(each[1].endswith(wanted) and each[3] == "0A" for each in lines) == count


def exists(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def book_of(id: str) -> str:
    """The daybook that a generation id names."""
    place = locate(id)
    assert place is not None
    return place[0]


def call(port: int) -> str:
    """One call on a connection of its own; its id."""
    with Wire(port) as wire:
        wire.send(chat(ADMIN_KEY, ask("[[completion=3]]")))
        got = wire.answer()
        assert got.status == 200
        return got.headers["x-generation-id"]


def calls_to_both(port: int) -> list[str]:
    """Calls until two daybooks have some."""
    ids: list[str] = []

    def both() -> bool:
        ids.append(call(port))
        return len({book_of(id) for id in ids}) == 2

    eventually(both)
    return ids


def status_of(port: int, id: str) -> int:
    with Wire(port) as wire:
        wire.send(request("GET", f"/api/v1/generation?id={id}", Authorization=f"Bearer {ADMIN_KEY}"))
        return wire.answer().status


def begun(port: int) -> Wire:
    wire = Wire(port)
    wire.send(chat(ADMIN_KEY, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
    wire.read_until(b"data: ")
    return wire


def begun_on_both(port: int) -> list[Wire]:
    """Streams under way, of each worker at least one."""
    streams: list[Wire] = []

    def both() -> bool:
        streams.append(begun(port))
        return len({book_of(id_of(each)) for each in streams}) == 2

    eventually(both)
    return streams


def id_of(stream: Wire) -> str:
    return stream.answers[0].headers["x-generation-id"]


def test_two_workers_share_an_address_and_every_record_is_read_from_both(
    home: Path, provider: ScriptedProvider
) -> None:
    with gateway(home, provider) as child:
        line = child.out.until("serves ")
        assert "2 workers" in line
        port = int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        eventually(lambda: all_listen(port, 2))
        ids = calls_to_both(port)
        assert {book_of(id) for id in ids} == set(folder.names(home))
        # Twenty connections for each record: the system deals them out to both.
        assert {status_of(port, id) for id in ids for _ in range(20)} == {200}
        assert status_of(port, "gen-1790000000-00000000000000000000") == 404
        child.send(signal.SIGTERM)
        assert child.ended() == 0
        assert "Traceback" not in child.err.all()
    verified = routebook(home, "ledger", "verify", "--config", str(home.with_suffix(".toml")), env=ENV)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_worker_that_is_killed_has_a_successor_within_a_second_which_takes_over_its_book(
    home: Path, provider: ScriptedProvider
) -> None:
    with gateway(home, provider) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        calls_to_both(port)
        names = folder.names(home)
        before = workers_of(child.pid)
        with begun(port) as stream:
            id = id_of(stream)
            (victim,) = [pid for pid in before if holds(pid, home, book_of(id))]
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: len(set(workers_of(child.pid)) - set(before)) == 1) < 1
            assert not any(got.complete for got in stream.to_the_end()), "a cut answer must not look whole"
        child.err.until(f"process {victim}) ended with signal 9")
        eventually(lambda: all_listen(port, 2))
        assert folder.names(home) == names
        eventually(lambda: status_of(port, id) == 200)
        with Wire(port) as wire:
            wire.send(request("GET", f"/api/v1/generation?id={id}", Authorization=f"Bearer {ADMIN_KEY}"))
            assert wire.answer().json()["data"]["routebook"]["outcome"] == "interrupted"
        assert {book_of(id) for id in calls_to_both(port)} == set(names)


def holds(pid: int, home: Path, name: str) -> bool:
    """The process has the lock of that daybook."""
    return f"process {pid} " in (folder.root(home) / name / "lock").read_text()


def test_a_worker_that_is_told_to_stop_alone_is_replaced(home: Path, provider: ScriptedProvider) -> None:
    with gateway(home, provider) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        before = workers_of(child.pid)
        os.kill(before[1], signal.SIGTERM)
        eventually(lambda: before[1] not in workers_of(child.pid) and len(workers_of(child.pid)) == 2)
        eventually(lambda: all_listen(port, 2))
        calls_to_both(port)


def test_no_worker_survives_a_supervisor_that_is_killed(home: Path, provider: ScriptedProvider) -> None:
    with gateway(home, provider) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        left = workers_of(child.pid)
        child.send(signal.SIGKILL)
        child.ended()
        eventually(lambda: not any(exists(pid) for pid in left))
        assert all_listen(port, 0)


@pytest.mark.parametrize("how", ["SIGTERM to the supervisor", "Ctrl-C to the whole group"])
def test_all_workers_drain(home: Path, provider: ScriptedProvider, how: str) -> None:
    with gateway(home, provider, drain=60) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        streams = begun_on_both(port)
        if how.startswith("SIGTERM"):
            child.send(signal.SIGTERM)
        else:
            os.killpg(child.pid, signal.SIGINT)
        eventually(lambda: readiness(port) == 503)
        provider.release()
        for each in streams:
            assert events(each.answer())[-1] == "[DONE]"
            each.close()
        assert child.ended() == 0


def readiness(port: int) -> int:
    with Wire(port) as wire:
        wire.send(request("GET", "/readyz"))
        return wire.answer().status


def test_a_second_ctrl_c_ends_all_at_once(home: Path, provider: ScriptedProvider) -> None:
    with gateway(home, provider, drain=60) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        left = workers_of(child.pid)
        with begun(port):
            os.killpg(child.pid, signal.SIGINT)
            eventually(lambda: readiness(port) == 503 if all_listen(port, 2) else True)
            os.killpg(child.pid, signal.SIGINT)
            assert child.ended() == 1
        assert not any(exists(pid) for pid in left)


def test_fewer_workers_bring_the_books_of_the_others_to_their_end(home: Path, provider: ScriptedProvider) -> None:
    with gateway(home, provider) as child:
        port = port_of(child)
        eventually(lambda: all_listen(port, 2))
        streams = begun_on_both(port)
        ids = [id_of(each) for each in streams]
        for pid in (child.pid, *workers_of(child.pid)):
            os.kill(pid, signal.SIGKILL)
        child.ended()
        for each in streams:
            each.close()
    provider.release()
    with gateway(home, provider, workers=1) as child:
        port = port_of(child)
        assert {status_of(port, id) for id in ids} == {200}
        child.send(signal.SIGTERM)
        assert child.ended() == 0
    verified = routebook(home, "ledger", "verify", "--config", str(home.with_suffix(".toml")), env=ENV)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_workers_share_a_unix_socket(
    home: Path, provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("u") / "socket"
    with gateway(home, provider, "--unix-socket", str(place)) as child:
        assert f"on the UNIX socket {place}" in child.out.until("serves ")
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        eventually(lambda: len(folder.names(home)) == 2)
        books = set()

        def called() -> bool:
            with Wire(path=place) as wire:
                wire.send(chat(ADMIN_KEY, ask("[[completion=3]]")))
                books.add(book_of(wire.answer().headers["x-generation-id"]))
            return bool(books)

        eventually(called)
        child.send(signal.SIGTERM)
        assert child.ended() == 0
    assert not place.exists()


def test_a_taken_port_is_said_in_one_line(home: Path, provider: ScriptedProvider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with gateway(home, provider, "--port", str(port)) as child:
            assert child.ended() == 1
            assert child.err.all() == (
                f"routebook: port {port} on 127.0.0.1 is taken; choose another one with --port, "
                "or stop the process that has it\n"
            )


def test_two_gateways_never_share_a_port(home: Path, provider: ScriptedProvider, tmp_path: Path) -> None:
    with gateway(home, provider) as first:
        port = port_of(first)
        with gateway(tmp_path / "other", provider, "--port", str(port)) as second:
            assert second.ended() == 1
            assert "is taken" in second.err.all()


def test_what_keeps_every_worker_from_starting_ends_the_gateway(home: Path, provider: ScriptedProvider) -> None:
    with gateway(home, provider, "--tls-cert", str(home / "nowhere.pem")) as child:
        assert child.ended() == 1
        told = child.err.all()
        assert "server.tls_cert" in told
        assert "Traceback" not in told


DYING = """
import os, sys, time
from routebook.cli.workers import Supervisor
from routebook.observe.clock import SystemClock

def work(worker):
    with open(sys.argv[1], "a") as file:
        file.write(f"{time.monotonic()}\\n")
    worker.is_ready()
    return 3

sys.exit(Supervisor(1, work, SystemClock()).run())
"""


STARTING = """
import sys, time
from routebook.cli.workers import Supervisor
from routebook.observe.clock import SystemClock

def work(worker):
    with open(sys.argv[1], "a") as file:
        file.write("here")
    time.sleep(60)  # stands for a start: nothing listens to signals yet
    return 0

sys.exit(Supervisor(2, work, SystemClock()).run())
"""


def test_a_stop_that_finds_workers_still_starting_is_a_good_one(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    process = subprocess.Popen([sys.executable, "-c", STARTING, str(starts)], env=environment(tmp_path))
    try:
        eventually(lambda: starts.exists() and starts.read_text() == "herehere")
    finally:
        process.terminate()
    assert process.wait(20) == 0


def test_a_worker_that_dies_at_once_again_and_again_is_started_less_and_less_often(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    process = subprocess.Popen([sys.executable, "-c", DYING, str(starts)], env=environment(tmp_path))
    try:
        eventually(lambda: starts.exists() and starts.read_text().count("\n") >= 4)
    finally:
        process.terminate()
    # 3 if the signal finds a worker that is just dying: a stop is as good as its workers' ends.
    assert process.wait(20) in (0, 3)
    times = [float(line) for line in starts.read_text().split()]
    pauses = [after - before for before, after in pairwise(times)]
    assert 0.2 < pauses[0] < 1, "the first time it is back within a second"
    assert pauses[1] > 0.45
    assert pauses[2] > 0.95


def test_every_process_of_a_gateway_gets_a_daybook_and_a_successor_that_of_the_dead(tmp_path: Path) -> None:
    dice = SystemDice()
    claimed = dict(folder.claim(tmp_path, 0, dice, slots=3) for _ in range(3))
    assert sorted(claimed) == folder.names(tmp_path)
    assert len(claimed) == 3
    with pytest.raises(DaybookLocked):
        folder.claim(tmp_path, 0, dice, slots=3)
    middle = folder.names(tmp_path)[1]
    claimed[middle].release()
    name, lock = folder.claim(tmp_path, 0, dice, slots=3)
    assert name == middle
    for each in (lock, claimed[folder.names(tmp_path)[0]], claimed[folder.names(tmp_path)[2]]):
        each.release()


def test_a_single_process_waits_for_its_own_book_and_takes_no_other(tmp_path: Path) -> None:
    dice = SystemDice()
    books = dict(folder.claim(tmp_path, 0, dice, slots=2) for _ in range(2))
    first, second = folder.names(tmp_path)
    books[second].release()
    with pytest.raises(DaybookLocked):
        folder.claim(tmp_path, 0, dice)
    books[first].release()
    name, lock = folder.claim(tmp_path, 0, dice)
    assert name == first
    lock.release()

"""Four real workers, one budget, and calls that are cancelled through any of them."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY
from tests.cli.child import Child, routebook
from tests.edge.test_protocol import ask, chat, events
from tests.edge.test_workers import ENV, all_listen, eventually, gateway, port_of
from tests.edge.wire import Got, Wire, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

WORKERS = 4
CALLS = 500
FIT = 150


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared") / "home"


@pytest.fixture(scope="module")
def running(home: Path, provider: ScriptedProvider) -> Iterator[Child]:
    with gateway(home, provider, workers=WORKERS) as child:
        yield child


@pytest.fixture(scope="module")
def port(running: Child) -> int:
    port = port_of(running)
    eventually(lambda: all_listen(port, WORKERS))
    return port


def new_key(port: int, limit: Decimal) -> str:
    made = httpx2.post(
        f"http://127.0.0.1:{port}/api/v1/keys",
        json={"name": "n", "limit": str(limit)},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
    )
    assert made.status_code == 201, made.text
    key: str = made.json()["key"]
    return key


def cancel(wire: Wire, key: str, id: str) -> Got:
    wire.send(request("POST", f"/api/v1/generation/{id}/cancel", Authorization=f"Bearer {key}"))
    return wire.answer()


def spent(home: Path) -> tuple[Decimal, Decimal]:
    """(posted, lent) of all keys with a limit, as the store has it at one moment."""
    with closing(sqlite3.connect(f"file:{home / 'routebook.db'}?mode=ro", uri=True)) as store:
        store.execute("BEGIN")
        limited = [row[0] for row in store.execute("SELECT hash FROM keys WHERE limit_usd IS NOT NULL")]
        posted = [row[1] for row in store.execute("SELECT key_hash, usage FROM spend") if row[0] in limited]
        lent = [row[0] for row in store.execute("SELECT amount FROM leases")]
    return sum(map(Decimal, posted), Decimal(0)), sum(map(Decimal, lent), Decimal(0))


def test_five_hundred_calls_at_once_stay_within_the_limit_and_all_are_admitted_that_fit(
    port: int, home: Path, provider: ScriptedProvider
) -> None:
    """Each costs all that it holds, so one that ends makes no room for another: as many are admitted as fit."""
    said = "[[completion=40 prompt=000]]"
    body = {"model": "scripted/plain", "messages": [{"role": "user", "content": said}], "max_tokens": 40}
    prompt = len(json.dumps(body, separators=(",", ":")).encode()) + 512 + 16
    body["messages"] = [{"role": "user", "content": said.replace("000", str(prompt))}]
    bound = prompt * Decimal("0.00000015") + 40 * Decimal("0.0000006")
    key = new_key(port, bound * FIT)
    seen: list[tuple[Decimal, Decimal]] = []

    async def rush() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=CALLS, max_keepalive_connections=0)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as client:

            async def one() -> httpx2.Response:
                return await client.post(
                    f"http://127.0.0.1:{port}/api/v1/chat/completions",
                    content=json.dumps(body, separators=(",", ":")),
                    headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
                )

            calls = [asyncio.ensure_future(one()) for _ in range(CALLS)]
            while not all(call.done() for call in calls):
                seen.append(await asyncio.to_thread(spent, home))
                await asyncio.sleep(0.02)
            return [await call for call in calls]

    # A key that was just made is known to every worker within a second.
    eventually(
        lambda: all(
            httpx2.get(f"http://127.0.0.1:{port}/api/v1/key", headers={"authorization": f"Bearer {key}"}).is_success
            for _ in range(20)
        )
    )
    answers = asyncio.run(rush())
    assert Counter(answer.status_code for answer in answers) == {200: FIT, 402: CALLS - FIT}
    assert all(posted + lent <= bound * FIT for posted, lent in seen), max(seen, key=sum)
    cost = sum((Decimal(str(answer.json()["usage"]["cost"])) for answer in answers if answer.is_success), Decimal(0))
    assert cost == bound * FIT
    told = [answer.json()["error"]["metadata"] for answer in answers if not answer.is_success]
    assert all(Decimal(str(each["spent"])) + Decimal(str(each["held"])) <= bound * FIT for each in told)
    eventually(lambda: spent(home)[0] == cost)


def begun(port: int, key: str) -> Wire:
    wire = Wire(port)
    wire.send(chat(key, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
    wire.read_until(b"data: ")
    return wire


def test_a_stream_is_cancelled_through_any_worker_and_still_ends_properly(port: int) -> None:
    for _ in range(8):  # the system deals connections out: through its own worker, and through others
        with begun(port, ADMIN_KEY) as stream, Wire(port) as wire:
            id = stream.answers[0].headers["x-generation-id"]
            got = cancel(wire, ADMIN_KEY, id)
            assert (got.status, got.json()) == (200, {"data": {"id": id, "cancelled": True}})
            *said, last, counts, done = events(stream.answer())
            assert done == "[DONE]"
            assert len(said) == 1, "nothing of the answer comes after the cancelling"
            assert json.loads(last)["choices"][0]["native_finish_reason"] == "cancelled"
            assert cancel(wire, ADMIN_KEY, id).status == 409
            wire.send(request("GET", f"/api/v1/generation?id={id}", Authorization=f"Bearer {ADMIN_KEY}"))
            record = wire.answer().json()["data"]
            assert record["cancelled"] is True
            assert record["native_tokens_completion"] == json.loads(counts)["usage"]["completion_tokens"]
            assert record["routebook"]["completion"]["delivered"] <= record["routebook"]["completion"]["billed"]


def test_each_worker_has_a_socket_of_its_own_which_nobody_else_may_use(port: int, home: Path) -> None:
    sockets = list((home / "daybooks").glob("*/socket"))
    assert len(sockets) == WORKERS
    assert {stat.S_IMODE(path.stat().st_mode) for path in sockets} == {0o600}


def test_the_book_holds_and_nothing_is_lent_when_all_have_ended(running: Child, port: int, home: Path) -> None:
    running.send(signal.SIGTERM)
    assert running.ended() == 0
    assert not list((home / "daybooks").glob("*/socket"))
    assert spent(home)[1] == 0
    verified = routebook(home, "ledger", "verify", "--config", str(home.with_suffix(".toml")), env=ENV)
    assert verified.returncode == 0, verified.stdout + verified.stderr

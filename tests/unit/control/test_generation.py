"""GET /generation over a real daybook and a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from routebook.config.settings import AccountingTable, Settings
from routebook.control.generation import find, routes
from routebook.core.errors import Fault, Unavailable
from routebook.core.generation import Folded, Row, State
from routebook.core.people import Key
from routebook.corridor.entry import Entry
from routebook.daybook.book import FileDaybook
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People, hash_of
from routebook.ledger.ship import Shipper
from routebook.metering.folding import fold
from routebook.observe.clock import Dice, SystemClock, SystemDice
from routebook.store.memory import MemoryStore
from routebook.wire import codec
from routebook.wire.codec import pack
from tests.unit.daybook.samples import intent, outcome

MINE, MANAGER, STRANGER, ADMIN, OTHER = ("sk-rb-v1-" + letter * 64 for letter in "12345")


@dataclass
class Desk:
    """The parts of the gateway that this path works with."""

    daybook: FileDaybook
    store: MemoryStore = field(default_factory=MemoryStore)
    settings: Settings = field(default_factory=Settings)
    people: People = field(default_factory=lambda: People(hash_of(ADMIN)))
    credits: Decimal = Decimal(0)
    dice: Dice = field(default_factory=SystemDice)
    entries: set[Entry] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    others: dict[tuple[str, int], Folded] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def leases(self) -> Leases:
        return Leases(Book(), self.store, self.daybook.name, self.now_ns)

    def now_ns(self) -> int:
        return SystemClock().now_ns()

    async def get(self, key: str | None, **query: str) -> httpx2.Response:
        app = Starlette(routes=routes(self), exception_handlers={Fault: _envelope})
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
            return await client.get("/generation", params=query, headers=headers)

    async def cancel(self, key: str, id: str) -> httpx2.Response:
        """Its workers elsewhere run `elsewhere` and have ended every other call."""

        async def cancel_there(daybook: str, id: str) -> bool:
            self.asked.append(daybook)
            return id in self.elsewhere

        async def read_there(daybook: str, n: int) -> Folded | None:
            return self.others.get((daybook, n))

        app = Starlette(routes=routes(self, read_there, cancel_there), exception_handlers={Fault: _envelope})
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
            return await client.post(f"/generation/{id}/cancel", headers={"authorization": f"Bearer {key}"})


def _envelope(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, Fault)
    return JSONResponse({"error": {"code": fault.status, "message": fault.message}}, fault.status)


def at_the_desk(home: Path, steps: Callable[[Desk], Awaitable[None]], settings: Settings | None = None) -> None:
    async def run() -> None:
        desk = Desk(FileDaybook(home), settings=settings or Settings())
        try:
            await desk.store.put_key(Key(hash=hash_of(MINE), name="mine", label="m"))
            await desk.store.put_key(Key(hash=hash_of(MANAGER), name="manager", label="m", management=True))
            await desk.store.put_key(Key(hash=hash_of(STRANGER), name="stranger", label="s", account="other"))
            await desk.people.refresh(desk.store)
            await steps(desk)
        finally:
            await desk.daybook.aclose()

    asyncio.run(run())


async def made(desk: Desk) -> str:
    call = intent(desk.daybook.next_n(), desk.daybook.name)
    await desk.daybook.open(call)
    await desk.daybook.close(call.id, call.n, State.DONE, outcome())
    return call.id


def data_of(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = codec.decode_exact(response.content)["data"]
    return found


def test_a_record_is_there_as_soon_as_the_call_is_closed(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        id = await made(desk)
        data = data_of(await desk.get(MINE, id=id))
        assert data["id"] == id
        assert data["total_cost"] == Decimal("0.0006")
        assert data["latency"] == 251
        assert data["routebook"]["outcome"] == "done"

    at_the_desk(tmp_path, steps)


def test_an_open_call_has_a_record_too(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        call = intent(desk.daybook.next_n(), desk.daybook.name)
        await desk.daybook.open(call)
        assert data_of(await desk.get(MINE, id=call.id))["routebook"]["outcome"] == "open"

    at_the_desk(tmp_path, steps)


def test_management_and_admin_keys_read_records_of_their_account(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        id = await made(desk)
        for key in (MANAGER, ADMIN):
            assert data_of(await desk.get(key, id=id))["id"] == id

    at_the_desk(tmp_path, steps)


def test_another_accounts_record_is_answered_like_one_that_does_not_exist(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        id = await made(desk)
        there = await desk.get(STRANGER, id=id)
        nowhere = await desk.get(STRANGER, id="gen-1-zzz")
        assert there.status_code == nowhere.status_code == 404
        assert there.text.replace(id, "ID") == nowhere.text.replace("gen-1-zzz", "ID")

    at_the_desk(tmp_path, steps)


def test_the_right_number_under_a_wrong_id_finds_nothing(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        id = await made(desk)
        wrong = id[:-12] + ("x" if id[-12] != "x" else "y") + id[-11:]
        assert wrong[-9:] == id[-9:]
        assert (await desk.get(MINE, id=wrong)).status_code == 404

    at_the_desk(tmp_path, steps)


def test_a_call_of_another_daybook_is_found_in_the_store(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        elsewhere = FileDaybook(tmp_path / "elsewhere")
        while elsewhere.name == desk.daybook.name:
            await elsewhere.aclose()
            elsewhere = FileDaybook(tmp_path / "elsewhere" / elsewhere.name)
        call = intent(elsewhere.next_n(), elsewhere.name)
        await elsewhere.open(call)
        await elsewhere.close(call.id, call.n, State.DONE, outcome())
        assert (await desk.get(MINE, id=call.id)).status_code == 404
        await Shipper(elsewhere, desk.store).ship_once()
        await elsewhere.aclose()
        assert data_of(await desk.get(MINE, id=call.id))["id"] == call.id
        assert (await desk.get(STRANGER, id=call.id)).status_code == 404

    at_the_desk(tmp_path, steps)


def test_a_missing_or_empty_id_is_a_bad_request_and_a_missing_key_is_401(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        assert (await desk.get(MINE)).status_code == 400
        assert (await desk.get(MINE, id="")).status_code == 400
        assert (await desk.get(None, id="gen-1-a")).status_code == 401
        assert (await desk.get("sk-unknown", id="gen-1-a")).status_code == 401

    at_the_desk(tmp_path, steps)


def test_ids_of_any_shape_are_looked_up_without_trouble(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        for id in ("gen-1-a", "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG", "x" * 5000, "gen-1-" + "é" * 20, "'; --", "\0"):
            assert (await desk.get(MINE, id=id)).status_code == 404, id

    at_the_desk(tmp_path, steps)


def test_a_setting_switches_the_reading_of_latency(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        assert data_of(await desk.get(MINE, id=await made(desk)))["latency"] == 60

    at_the_desk(tmp_path, steps, Settings(accounting=AccountingTable(latency="first_token")))


@pytest.mark.parametrize("key", [MINE, MANAGER, ADMIN], ids=["who made it", "a management key", "the operator"])
def test_a_call_of_another_worker_is_cancelled_there(tmp_path: Path, key: str) -> None:
    async def steps(desk: Desk) -> None:
        call = msgspec.structs.replace(intent(7, "zzz"), key_hash=hash_of(MINE))
        desk.others["zzz", 7] = Folded(1, call)
        desk.elsewhere.add(call.id)
        assert data_of(await desk.cancel(key, call.id)) == {"id": call.id, "cancelled": True}
        assert desk.asked == ["zzz"]

    at_the_desk(tmp_path, steps)


def test_who_may_not_cancel_a_call_and_what_cannot_be_cancelled(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        await desk.store.put_key(Key(hash=hash_of(OTHER), name="other", label="o"))
        await desk.people.refresh(desk.store)
        open_call = msgspec.structs.replace(intent(7, "zzz"), key_hash=hash_of(MINE))
        desk.others["zzz", 7] = Folded(1, open_call)
        ended = await made(desk)
        for key, id, status, says in (
            (STRANGER, open_call.id, 404, "not found"),
            (MINE, "gen-1-zzz", 404, "not found"),
            (OTHER, open_call.id, 403, "the key that made this call"),
            (MANAGER, ended, 409, "has ended"),
            (MINE, open_call.id, 409, "has ended"),  # by the time its worker was asked
            ("sk-rb-v1-nobody", ended, 401, ""),
        ):
            answer = await desk.cancel(key, id)
            assert answer.status_code == status, answer.text
            assert says in answer.text
        assert desk.asked == ["zzz"]

    at_the_desk(tmp_path, steps)


def test_what_the_store_has_is_found_though_its_daybook_cannot_be_read(tmp_path: Path) -> None:
    """The daybook of another worker, damaged or on its way out: shipped calls do not depend on it."""

    async def unreadable(name: str, n: int) -> Folded | None:
        raise Unavailable("The daybook of another worker cannot be read; ask again.", retry_after=1)

    async def steps(desk: Desk) -> None:
        shipped, waiting = intent(1, "zzz"), intent(2, "zzz")
        rows = [Row(1, 1, shipped.id, State.INTENT, pack(shipped)), Row(2, 1, shipped.id, State.DONE, pack(outcome()))]
        await Shipper(Elsewhere(rows), desk.store).ship_once()
        found = await find(shipped.id, desk.daybook, desk.store, unreadable)
        assert found is not None
        assert found.intent == shipped
        with pytest.raises(Unavailable, match="ask again"):
            await find(waiting.id, desk.daybook, desk.store, unreadable)

    at_the_desk(tmp_path, steps)


class Elsewhere:
    """What a shipper reads of another worker's daybook."""

    name = "zzz"

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def rows(self, after: int, limit: int) -> list[Row]:
        return [row for row in self._rows if row.seq > after][:limit]

    def read(self, n: int) -> Folded | None:
        return fold(row for row in self._rows if row.n == n)

    def shipped(self, seq: int) -> None:
        """It may forget them."""

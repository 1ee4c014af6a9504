"""GET /ledger/completeness over real daybooks and a real store, and through the typed client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import yaml
from starlette.applications import Starlette

from routebook.client import AsyncRoutebook, Forbidden
from routebook.control.ledger import routes
from routebook.core.errors import Fault
from routebook.core.generation import State
from routebook.core.people import Key
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from routebook.daybook.standing import Standings
from routebook.ledger.people import hash_of
from routebook.ledger.ship import Shipper
from tests.docs import pages
from tests.unit.control.test_generation import ADMIN, MANAGER, MINE, STRANGER, Desk, _envelope
from tests.unit.daybook.forge import forge
from tests.unit.daybook.samples import ACCEPTED_NS, intent, outcome

HOUR_NS = 3600 * 10**9


class Asked:
    """A gateway's parts on one data folder; gives the `data` of an answer that follows the documented schema."""

    def __init__(self, home: Path, desk: Desk) -> None:
        self.home = home
        self.desk = desk
        self.standings = Standings(home)
        (block,) = pages.blocks("yaml", [pages.ROOT / "docs" / "completeness.md"])
        described = yaml.safe_load(block.text)
        operation = described["paths"]["/ledger/completeness"]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        self._follows = jsonschema_rs.Draft202012Validator(schema)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=routes(self.desk, self.standings), exception_handlers={Fault: _envelope})

    async def get(self, key: str | None = ADMIN, **query: str) -> httpx2.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get("/ledger/completeness", params=query, headers=headers)

    async def __call__(self, key: str = ADMIN, **query: str) -> dict[str, Any]:
        answered = await self.get(key, **query)
        assert answered.status_code == 200, answered.text
        self._follows.validate(answered.json())
        data: dict[str, Any] = answered.json()["data"]
        return data


def asking(home: Path, steps: Callable[[Asked], Awaitable[None]], sizes: Sizes = Sizes()) -> None:
    async def run() -> None:
        desk = Desk(FileDaybook(home, sizes=sizes))
        asked = Asked(home, desk)
        try:
            await desk.store.put_key(Key(hash=hash_of(MINE), name="mine", label="m"))
            await desk.store.put_key(Key(hash=hash_of(MANAGER), name="manager", label="m", management=True))
            await desk.store.put_key(
                Key(hash=hash_of(STRANGER), name="stranger", label="s", account="other", management=True)
            )
            await desk.people.refresh(desk.store)
            await steps(asked)
        finally:
            asked.standings.close()
            await desk.daybook.aclose()

    asyncio.run(run())


async def calls(book: FileDaybook, *states: int | None, account: str = "default", since_ns: int = ACCEPTED_NS) -> None:
    """One call for each state, an hour apart; None stays open."""
    for place, state in enumerate(states):
        call = intent(book.next_n(), book.name, account=account, accepted_ns=since_ns + place * HOUR_NS)
        await book.open(call)
        if state is not None:
            await book.close(call.id, call.n, state, outcome(interrupted=state == State.INTERRUPTED))


EVERY = (State.DONE, State.ERROR, State.CANCELLED, State.BLOCKED, State.INTERRUPTED, None)


@pytest.mark.parametrize("when", ["unshipped", "shipped", "between"])
def test_every_call_is_counted_once_shipped_or_not(tmp_path: Path, when: str) -> None:
    async def steps(asked: Asked) -> None:
        book, shipper = asked.desk.daybook, Shipper(asked.desk.daybook, asked.desk.store)
        await calls(book, *EVERY, State.DONE)
        if when == "between":
            await shipper.ship_once()
        await calls(book, *EVERY)
        if when == "shipped":
            await shipper.ship_once()
        data = await asked()
        assert data["holds"], data["reasons"]
        assert (data["admitted"], data["settled"], data["open"], data["interrupted"]) == (13, 9, 2, 2)
        assert data["states"] == {"done": 3, "error": 2, "cancelled": 2, "interrupted": 2, "blocked": 2, "open": 2}
        (daybook,) = data["daybooks"]
        assert daybook["rows"] == {"first": 1, "last": 24, "count": 24}
        shipped = {"unshipped": 0, "shipped": 24, "between": 13}[when]
        assert (daybook["shipped"], daybook["waiting"], daybook["open"]) == (shipped, 24 - shipped, 2)
        assert daybook["head"] == {"seq": 24, "digest": book._digest.hex()}

    asking(tmp_path, steps)


def test_a_second_look_reads_on_and_sees_open_calls_end(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        book, shipper = asked.desk.daybook, Shipper(asked.desk.daybook, asked.desk.store)
        await calls(book, None, None, State.DONE)
        assert (await asked())["open"] == 2
        await book.close(intent(1, book.name).id, 1, State.DONE, outcome())
        await shipper.ship_once()
        await book.close(intent(2, book.name).id, 2, State.INTERRUPTED, outcome())
        await calls(book, State.DONE, None)
        data = await asked()
        assert data["holds"], data["reasons"]
        assert (data["admitted"], data["settled"], data["open"], data["interrupted"]) == (5, 3, 1, 1)

    asking(tmp_path, steps)


def test_a_period_counts_calls_by_when_they_were_accepted(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        await calls(asked.desk.daybook, *EVERY)
        await Shipper(asked.desk.daybook, asked.desk.store).ship_once()
        await calls(asked.desk.daybook, *EVERY)
        data = await asked(**{"from": "2024-07-16", "to": "2024-07-16T03:33:19.433273Z"})
        assert data["from"] == "2024-07-16T00:00:00.000000+00:00"
        counted = {"done": 0, "error": 2, "cancelled": 2, "blocked": 2, "interrupted": 0, "open": 0}
        assert (data["admitted"], data["states"]) == (6, counted)
        assert data["holds"]

    asking(tmp_path, steps)


def test_each_account_sees_its_own_calls_and_the_operators_key_all(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        await calls(asked.desk.daybook, State.DONE, None)
        await Shipper(asked.desk.daybook, asked.desk.store).ship_once()
        await calls(asked.desk.daybook, State.ERROR, account="other")
        seen = {key: (await asked(key))["admitted"] for key in (ADMIN, MANAGER, STRANGER)}
        assert seen == {ADMIN: 3, MANAGER: 2, STRANGER: 1}
        assert (await asked.get(MINE)).status_code == 403
        assert (await asked.get(None)).status_code == 401

    asking(tmp_path, steps)


@pytest.mark.parametrize("query", [{"from": "yesterday"}, {"to": "1969-01-01"}, {"from": "2027-01-02", "to": "2027"}])
def test_a_period_that_is_none_is_refused(tmp_path: Path, query: dict[str, str]) -> None:
    async def steps(asked: Asked) -> None:
        answered = await asked.get(**query)
        assert answered.status_code == 400
        assert "from" in answered.text or "to" in answered.text

    asking(tmp_path, steps)


def test_a_missing_row_an_exchanged_one_and_a_lost_call_are_reasons(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        book, store = asked.desk.daybook, asked.desk.store
        await calls(book, *EVERY)
        await Shipper(book, store).ship_once()
        assert (await asked())["holds"]
        del store._calls[book.name, 2]
        (reason,) = (await asked())["reasons"]
        assert reason == f"daybook {book.name}: 5 calls ended up to row 11, but the store has 4 of them"
        forge(book.path, lambda rows: [row for row in rows if row.seq not in (1, 5)])
        other = Asked(asked.home, asked.desk)
        data = await other()
        assert not data["holds"]
        assert data["gaps"] == 2
        assert any("row 5 is missing" in reason for reason in data["reasons"])
        assert any("ended twice, or without having begun" in reason for reason in data["reasons"])
        other.standings.close()

    asking(tmp_path, steps)


def test_deleted_calls_are_told_and_no_reason_to_worry(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        await calls(asked.desk.daybook, *EVERY)
        await Shipper(asked.desk.daybook, asked.desk.store).ship_once()
        assert await asked.desk.store.delete_before(ACCEPTED_NS + 2 * HOUR_NS, 10) == 2
        data = await asked()
        assert data["holds"], data["reasons"]
        assert (data["admitted"], data["deleted"]["calls"], data["daybooks"][0]["deleted"]) == (4, 2, 2)
        assert data["deleted"]["kept_since"] == "2024-07-16T00:33:19.433273+00:00"

    asking(tmp_path, steps)


def test_segments_that_leave_between_two_looks_are_no_gap(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        book, shipper = asked.desk.daybook, Shipper(asked.desk.daybook, asked.desk.store)
        await calls(book, State.DONE)
        assert (await asked())["daybooks"][0]["rows"]["first"] == 1
        first = book.path
        async with asyncio.timeout(30):
            while first.exists():
                await calls(book, *EVERY[:4])
                await shipper.ship_once()
                await asyncio.sleep(0.005)
        data = await asked()
        assert data["holds"], data["reasons"]
        assert data["gaps"] == 0
        assert data["daybooks"][0]["rows"]["first"] > 1
        assert data["admitted"] == data["settled"]

    asking(tmp_path, steps, Sizes(segment_bytes=20_000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0))


def test_counts_hold_while_calls_are_made_and_shipped(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        book, stop = asked.desk.daybook, asyncio.Event()

        async def caller() -> None:
            while not stop.is_set():
                await calls(book, State.DONE, State.ERROR)

        shipping = asyncio.create_task(Shipper(book, asked.desk.store, every=0.001).run(stop))
        callers = [asyncio.create_task(caller()) for _ in range(3)]
        for _ in range(20):
            data = await asked()
            assert data["holds"], data["reasons"]
        stop.set()
        await asyncio.gather(*callers, shipping)
        data = await asked()
        assert data["admitted"] == data["settled"] == book.next_n() - 1

    asking(tmp_path, steps)


def test_the_typed_client_reads_it(tmp_path: Path) -> None:
    async def steps(asked: Asked) -> None:
        await calls(asked.desk.daybook, *EVERY)
        transport = httpx2.ASGITransport(app=asked.app)
        async with AsyncRoutebook(MANAGER, "http://gateway", transport=transport) as client:
            data = (await client.ledger.completeness(since="2024-07-16")).data
        assert data.holds is True
        assert (data.admitted, data.settled, data.open, data.interrupted) == (5, 3, 1, 1)
        assert data.states is not None
        assert data.states.blocked == 1
        assert data.daybooks is not None
        assert data.daybooks[0].head is not None
        assert (data.since, data.until) == ("2024-07-16T00:00:00.000000+00:00", None)
        assert type(data).from_json(data.to_json()) == data
        async with AsyncRoutebook(MINE, "http://gateway", transport=transport) as client:
            with pytest.raises(Forbidden):
                await client.ledger.completeness()

    asking(tmp_path, steps)

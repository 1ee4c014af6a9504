"""The API of keys and of the account, through the real handlers, people, book and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import msgspec
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from routebook.control import account, keys
from routebook.core.errors import Fault
from routebook.core.people import Key
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People, default_workspace, hash_of
from routebook.observe.clock import SystemDice
from routebook.store.memory import MemoryStore
from routebook.store.port import Store
from routebook.store.sqlite import SqliteStore
from routebook.wire.codec import decode_exact, encode

pytestmark = pytest.mark.anyio

OPENAPI = Path(__file__).parents[4] / "shared" / "spec" / "openrouter-openapi.yaml"
ADMIN = "the operator's own key, long enough to be one"
NOON = 1_772_625_600 * 10**9  # 2026-03-04T12:00:00Z, a Wednesday


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Desk:
    """The parts of a gateway that these handlers need, all real but the clock."""

    store: Store
    people: People = field(default_factory=lambda: People(hash_of(ADMIN)))
    book: Book = field(default_factory=Book)
    credits: Decimal = Decimal("100.50")
    dice: SystemDice = field(default_factory=SystemDice)
    time: int = NOON
    leases: Leases = field(init=False)

    def __post_init__(self) -> None:
        self.leases = Leases(self.book, self.store, "aaa", self.now_ns)

    def now_ns(self) -> int:
        return self.time


class Caller:
    """Sends requests to the handlers and reads JSON with every digit."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        app = Starlette(
            routes=[*keys.routes(desk), *account.routes(desk)],
            exception_handlers={Fault: _envelope},
        )
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway")

    async def __call__(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN, expect: int = 200
    ) -> Any:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        content = body if isinstance(body, bytes) else None if body is None else encode(body)
        answer = await self.http.request(method, path, headers=headers, content=content)
        assert answer.status_code == expect, answer.text
        assert answer.headers["content-type"] == "application/json"
        parsed = decode_exact(answer.content)
        if expect < 300:
            _follows_the_schema(method, path, expect, parsed)
        return parsed

    async def make(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        made = await self("POST", "/keys", {"name": "n", **fields}, expect=201)
        return made["key"], made["data"]


def _envelope(_: Request, error: Exception) -> Response:
    assert isinstance(error, Fault)
    return Response(encode({"message": error.message}), error.status, media_type="application/json")


@cache
def _paths() -> Any:
    if not OPENAPI.exists():
        return None
    return yaml.load(OPENAPI.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["paths"]


def _follows_the_schema(method: str, path: str, status: int, body: Any) -> None:
    paths = _paths()
    if paths is None:
        return  # the test below says that it was skipped
    path = path.partition("?")[0]
    path = "/keys/{hash}" if path.startswith("/keys/") else path
    answer = paths[path][method.lower()]["responses"][str(status)]
    schema = answer["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(_floats(body))


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_floats(each) for each in value]
    return float(value) if isinstance(value, Decimal) else value


@pytest.fixture(params=["sqlite", "memory"])
async def call(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Caller]:
    store: Store = SqliteStore(tmp_path / "routebook.db") if request.param == "sqlite" else MemoryStore()
    caller = Caller(Desk(store))
    yield caller
    await caller.http.aclose()
    await store.close()


def test_the_published_schema_was_there_to_compare_with() -> None:
    if _paths() is None:
        pytest.skip("the published API description is not here: ../shared/spec/openrouter-openapi.yaml")
    with pytest.raises(jsonschema_rs.ValidationError):
        _follows_the_schema("GET", "/key", 200, {"data": {}})


async def test_a_new_key_is_shown_once_and_works_at_once(call: Caller) -> None:
    text, data = await call.make(name="Laptop")
    assert text.startswith("sk-rb-v1-")
    assert len(text) == 73
    assert data == {
        "hash": hash_of(text),
        "name": "Laptop",
        "label": f"{text[:12]}...{text[-4:]}",
        "disabled": False,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        **dict.fromkeys((f"{kind}usage{span}" for kind in ("", "byok_") for span in SPANS), 0),
        "created_at": "2026-03-04T12:00:00.000000+00:00",
        "updated_at": None,
        "expires_at": None,
        "creator_user_id": None,
        "external_user": None,
        "last_used_at": None,
        "workspace_id": default_workspace("default"),
    }
    assert (await call("GET", "/key", key=text))["data"]["label"] == data["label"]
    assert text not in repr(await call.desk.store.keys())
    assert text not in repr(await call("GET", "/keys"))


SPANS = ("", "_daily", "_weekly", "_monthly")


async def test_every_wish_for_a_new_key_is_kept(call: Caller) -> None:
    _, data = await call.make(
        limit=Decimal("50.0000000000000000000001"),
        limit_reset="monthly",
        include_byok_in_limit=True,
        expires_at="2027-12-31T23:59:59Z",
        creator_user_id="user_1",
        workspace_id=default_workspace("default"),
        something_else={"is": "ignored"},
    )
    assert data["limit"] == data["limit_remaining"] == Decimal("50.0000000000000000000001")
    assert (data["limit_reset"], data["include_byok_in_limit"]) == ("monthly", True)
    assert (data["expires_at"], data["creator_user_id"]) == ("2027-12-31T23:59:59Z", "user_1")
    assert (await call("GET", f"/keys/{data['hash']}"))["data"] == data


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "request body"),
        (b"{", "request body"),
        (b"[]", "request body"),
        (b'{"name": 5}', "$.name"),
        ({}, "name"),
        ({"name": ""}, "$.name"),
        ({"name": "n", "limit": -1}, "limit must be"),
        ({"name": "n", "limit": "NaN"}, "limit must be"),
        ({"name": "n", "limit": "Infinity"}, "limit must be"),
        ({"name": "n", "limit": 1e30}, "limit must be"),
        ({"name": "n", "limit": "much"}, "$.limit"),
        ({"name": "n", "limit": True}, "$.limit"),
        ({"name": "n", "limit_reset": "hourly"}, "$.limit_reset"),
        ({"name": "n", "expires_at": "2027-12-31T23:59:59"}, "expires_at must be"),
        ({"name": "n", "expires_at": "2027-12-31T23:59:59+02:00"}, "expires_at must be"),
        ({"name": "n", "expires_at": "soon"}, "expires_at must be"),
        ({"name": "n", "workspace_id": "0df9e665-d932-5740-b2c7-b52af166bc11"}, "workspace"),
    ],
)
async def test_a_new_key_that_cannot_be_is_refused_with_the_reason(call: Caller, body: Any, says: str) -> None:
    answer = await call("POST", "/keys", body, expect=400)
    assert says in answer["message"]
    assert await call.desk.store.keys() == []


async def test_a_change_touches_what_it_names_and_null_takes_a_limit_away(call: Caller) -> None:
    text, data = await call.make(limit=5, limit_reset="daily")
    path = f"/keys/{data['hash']}"
    call.desk.time += 10**9
    later = "2026-03-04T12:00:01.000000+00:00"
    assert (await call("PATCH", path, {"name": "New"}))["data"] == {**data, "name": "New", "updated_at": later}
    changed = (await call("PATCH", path, {"limit": None, "limit_reset": None}))["data"]
    assert (changed["limit"], changed["limit_remaining"], changed["limit_reset"]) == (None, None, None)
    changed = (await call("PATCH", path, {"limit": 7, "include_byok_in_limit": True, "expires_at": "never"}))["data"]
    assert (changed["limit"], changed["include_byok_in_limit"], changed["expires_at"]) == (7, True, None)
    assert (await call("PATCH", path, {}))["data"] == changed
    await call("PATCH", path, {"disabled": True})
    assert "disabled" in (await call("GET", "/key", key=text, expect=401))["message"]
    await call("PATCH", path, {"disabled": False})
    await call("GET", "/key", key=text)


@pytest.mark.parametrize("body", [b"no json", {"name": ""}, {"disabled": None}, {"limit": -1}, {"limit_reset": "x"}])
async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(call: Caller, body: Any) -> None:
    _, data = await call.make()
    await call("PATCH", f"/keys/{data['hash']}", body, expect=400)
    assert (await call("GET", f"/keys/{data['hash']}"))["data"] == data


async def test_two_changes_at_the_same_moment_both_count(call: Caller) -> None:
    _, data = await call.make()
    path = f"/keys/{data['hash']}"
    changes: list[dict[str, Any]] = [{"name": "New"}, {"disabled": True}, {"limit": 3}, {"limit_reset": "daily"}]
    await asyncio.gather(*(call("PATCH", path, change) for change in changes))
    after = (await call("GET", path))["data"]
    assert [after[name] for change in changes for name in change] == ["New", True, 3, "daily"]


def spend(call: Caller, key: Key, usage: str, byok: str = "0", at_ns: int = NOON) -> None:
    """A call of a key without limit that costs so much."""
    hold = call.desk.book.hold(key, None, at_ns)
    assert hold is not None
    call.desk.book.settle(hold, Decimal(usage), Decimal(byok))


async def test_a_deleted_key_is_gone_and_its_spend_is_not(call: Caller) -> None:
    text, data = await call.make()
    key = call.desk.people.by_hash(data["hash"])
    assert key is not None
    spend(call, key, "1")
    assert await call("DELETE", f"/keys/{data['hash']}") == {"deleted": True}
    await call("GET", "/key", key=text, expect=401)
    await call("DELETE", f"/keys/{data['hash']}", expect=404)
    assert (await call("GET", "/credits"))["data"] == {"total_credits": Decimal("100.50"), "total_usage": 1}


async def test_what_a_key_has_spent_is_shown_to_the_last_digit_by_day_week_and_month(call: Caller) -> None:
    text, data = await call.make(limit=10, limit_reset="weekly", include_byok_in_limit=True)
    key = call.desk.people.by_hash(data["hash"])
    assert key is not None
    day = 86_400 * 10**9
    for days, usage, byok in (
        (0, "0.1", "0"),
        (1, "0.02", "1"),
        (3, "0.000000000000000000000003", "0"),
        (40, "4", "0"),
    ):
        spend(call, msgspec.structs.replace(key, limit=None), usage, byok, NOON - days * day)
    shown = {
        "limit": 10,
        "limit_remaining": Decimal("8.88"),
        "limit_reset": "weekly",
        "include_byok_in_limit": True,
        "usage": Decimal("4.120000000000000000000003"),
        "usage_daily": Decimal("0.1"),
        "usage_weekly": Decimal("0.12"),
        "usage_monthly": Decimal("0.120000000000000000000003"),
        "byok_usage": 1,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 1,
        "byok_usage_monthly": 1,
    }
    budget = {
        "scope": "key_limit",
        "budget_id": None,
        "guardrail_id": None,
        "limit_usd": 10,
        "spend_usd": Decimal("1.12"),
        "remaining_usd": Decimal("8.88"),
        "reset_interval": "weekly",
        "resets_at": "2026-03-09T00:00:00Z",
        "include_byok": True,
    }
    assert (await call("GET", "/key", key=text))["data"] == {
        "label": data["label"],
        **shown,
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "expires_at": None,
        "creator_user_id": None,
        "rate_limit": {"requests": -1, "interval": "1h", "note": "This field is deprecated and safe to ignore."},
        "organization_id": None,
        "workspace_id": default_workspace("default"),
        "allowed_data_regions": ["global"],
        "budgets": [budget],
        "effective_budget": budget,
        "free_model_daily_requests": {"limit": -1, "remaining": -1, "used": 0},
    }
    assert shown.items() <= (await call("GET", f"/keys/{data['hash']}"))["data"].items()


async def test_the_list_is_newest_first_a_hundred_a_page_without_disabled_keys_unless_asked(call: Caller) -> None:
    for number in range(103):
        stamp = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
        key = Key(hash=f"{number:064x}", name=str(number), label="l", created_at=stamp, disabled=number == 102)
        await call.desk.store.put_key(key)

    async def names(query: str) -> list[int]:
        return [int(key["name"]) for key in (await call("GET", f"/keys?{query}"))["data"]]

    assert await names("") == list(range(101, 1, -1))
    assert await names("offset=100") == [1, 0]
    assert await names("offset=500") == []
    assert await names("include_disabled=true") == list(range(102, 2, -1))
    assert await names("include_disabled=false&offset=101") == [0]
    assert await names(f"workspace_id={default_workspace('default')}&offset=101") == [0]
    assert await names("workspace_id=0df9e665-d932-5740-b2c7-b52af166bc11") == []
    for query in ("offset=-1", "offset=x", "offset=1e3", "include_disabled=perhaps"):
        await call("GET", f"/keys?{query}", expect=400)


MANAGED = [
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("GET", "/keys/" + "0" * 64),
    ("PATCH", "/keys/" + "0" * 64),
    ("DELETE", "/keys/" + "0" * 64),
    ("GET", "/credits"),
]


@pytest.mark.parametrize(("method", "path"), MANAGED)
async def test_management_needs_a_management_key(call: Caller, method: str, path: str) -> None:
    text, data = await call.make()
    path = path.replace("0" * 64, data["hash"])
    nobody = await call(method, path, {"name": "x"}, key=None, expect=401)
    assert nobody["message"] == "Missing Authentication header"
    await call(method, path, {"name": "x"}, key=text + "0", expect=401)
    ordinary = await call(method, path, {"name": "x"}, key=text, expect=403)
    assert ordinary["message"] == "Only management keys can perform this operation"
    assert [key.name for key in await call.desk.store.keys()] == ["n"]


async def put_management_key(call: Caller, account: str) -> str:
    text = f"sk-rb-v1-management-of-{account}"
    key = keys.make_key(keys.NewKey(name="boss"), text, account, NOON, management=True)
    await call.desk.store.put_key(key)
    await call.desk.people.refresh(call.desk.store)
    return text


async def test_a_management_key_manages_its_own_account_and_sees_no_other(call: Caller) -> None:
    acme, other = await put_management_key(call, "acme"), await put_management_key(call, "other")
    made = await call("POST", "/keys", {"name": "mine"}, key=acme, expect=201)
    path = f"/keys/{made['data']['hash']}"
    assert [key["name"] for key in (await call("GET", "/keys", key=acme))["data"]].count("mine") == 1
    assert [key["name"] for key in (await call("GET", "/keys", key=other))["data"]] == ["boss"]
    never = (await call("GET", "/keys/" + "0" * 64, key=other, expect=404))["message"]
    for method, body in (("GET", None), ("PATCH", {"disabled": True}), ("DELETE", None)):
        assert (await call(method, path, body, key=other, expect=404))["message"] == never
    assert not (await call("GET", path, key=acme))["data"]["disabled"]
    key = call.desk.people.by_hash(made["data"]["hash"])
    assert key is not None
    assert (key.account, key.workspace_id) == ("acme", default_workspace("acme"))
    spend(call, key, "0.5")
    assert (await call("GET", "/credits", key=acme))["data"]["total_usage"] == Decimal("0.5")
    assert (await call("GET", "/credits", key=other))["data"]["total_usage"] == 0


async def test_management_keys_may_look_at_themselves_and_say_what_they_are(call: Caller) -> None:
    for key in (await put_management_key(call, "acme"), ADMIN):
        data = (await call("GET", "/key", key=key))["data"]
        assert (data["is_management_key"], data["is_provisioning_key"], data["limit"]) == (True, True, None)
        assert (data["budgets"], data["effective_budget"]) == ([], None)


async def test_the_operators_own_key_is_in_no_list_and_cannot_be_changed(call: Caller) -> None:
    assert (await call("GET", "/keys"))["data"] == []
    await call("PATCH", f"/keys/{hash_of(ADMIN)}", {"disabled": True}, expect=404)
    await call("DELETE", f"/keys/{hash_of(ADMIN)}", expect=404)


async def test_a_key_ends_at_its_time(call: Caller) -> None:
    text, _ = await call.make(expires_at="2026-03-04T12:00:01Z")
    assert (await call("GET", "/key", key=text))["data"]["expires_at"] == "2026-03-04T12:00:01Z"
    call.desk.time += 10**9
    assert "expired" in (await call("GET", "/key", key=text, expect=401))["message"]


async def test_the_header_of_anthropic_clients_is_as_good(call: Caller) -> None:
    text, _ = await call.make()
    answer = await call.http.get("/key", headers={"x-api-key": text})
    assert answer.status_code == 200


async def test_a_key_disabled_by_another_process_is_refused_after_the_next_refresh(tmp_path: Path) -> None:
    mine, other = SqliteStore(tmp_path / "routebook.db"), SqliteStore(tmp_path / "routebook.db")
    call = Caller(Desk(mine))
    text, data = await call.make()
    key = call.desk.people.by_hash(data["hash"])
    assert key is not None
    await other.put_key(msgspec.structs.replace(key, disabled=True))
    assert await call.desk.people.refresh(mine) is True
    await call("GET", "/key", key=text, expect=401)
    await call.http.aclose()
    await mine.close()
    await other.close()


class Shared(MemoryStore):
    """A store that another process uses as well: what it does happens right before this one's next change of a key."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def put_key(self, key: Key) -> None:
        await self._others()
        await super().put_key(key)

    async def change_key(self, known: Key, changed: Key) -> bool:
        await self._others()
        return await super().change_key(known, changed)

    async def _others(self) -> None:
        if self.meanwhile:
            await self.meanwhile.pop(0)()


async def test_a_key_that_another_process_deletes_meanwhile_stays_deleted() -> None:
    store = Shared()
    call = Caller(Desk(store))
    _, data = await call.make()
    store.meanwhile = [lambda: store.delete_key(data["hash"])]
    await call("PATCH", f"/keys/{data['hash']}", {"name": "New"}, expect=404)
    assert await store.keys() == []
    await call.http.aclose()


async def test_what_another_process_changes_meanwhile_is_kept_and_one_that_goes_on_is_told() -> None:
    store = Shared()
    call = Caller(Desk(store))
    _, data = await call.make()
    (key,) = await store.keys()

    def other(**changes: Any) -> Callable[[], Awaitable[object]]:
        async def change() -> None:
            await MemoryStore.put_key(store, msgspec.structs.replace(key, **changes))

        return change

    path = f"/keys/{data['hash']}"
    store.meanwhile = [other(disabled=True)]
    after = (await call("PATCH", path, {"name": "New"}))["data"]
    assert (after["name"], after["disabled"]) == ("New", True)
    store.meanwhile = [other(limit=Decimal(number)) for number in range(20)]
    refused = await call("PATCH", path, {"name": "Newest"}, expect=409)
    assert "repeat" in refused["message"]
    await call.http.aclose()

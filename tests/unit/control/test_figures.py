"""What the endpoint listings tell of uptime, latency and throughput, and whom. Source: platform, section 14; the API's
schema: latency and throughput are null for callers without a key."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from routebook.control.catalog import endpoints_body, routes, zdr_body
from routebook.core.catalog import Endpoint
from routebook.observe.clock import NS
from routebook.policy.health import Health, Listing, Seen
from tests.unit.control.test_catalog import CATALOG, GPT, plain_json, spec, validator

__all__ = ["spec"]

pytestmark = pytest.mark.anyio

NOW = 1_790_000_000 * NS
FIRST, SECOND = GPT.endpoints
SPEEDS = ("latency_last_30m", "throughput_last_30m")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def health(calls: int = 200, failures: int = 10) -> Health:
    """The first endpoint answered `calls` times, half a second to the first word and 50 tokens a second, and failed."""
    known = Health()
    for at in range(calls):
        known.record(Seen(FIRST.id, NOW + at, True, NS // 2, 2 * NS, 100))
    for at in range(failures):
        known.record(Seen(FIRST.id, NOW + calls + at, False))
    return known


def figures(known: Health) -> Any:
    def of(endpoint: Endpoint) -> Listing:
        return known.listing(endpoint.id, NOW + NS)

    return of


def told(known: Health) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second = plain_json(endpoints_body(GPT, figures(known)))["data"]["endpoints"]
    return first, second


def test_uptime_is_a_percentage_and_speeds_are_percentiles() -> None:
    first, _ = told(health())
    assert first["uptime_last_5m"] == first["uptime_last_30m"] == first["uptime_last_1d"] == 95.24
    assert list(first["latency_last_30m"]) == ["p50", "p75", "p90", "p99"]
    assert first["latency_last_30m"]["p50"] == pytest.approx(500, rel=0.1)
    assert first["throughput_last_30m"]["p90"] == pytest.approx(50, rel=0.1)


def test_below_a_hundred_requests_no_uptime_is_told() -> None:
    first, _ = told(health(calls=80, failures=19))
    assert first["uptime_last_1d"] is None
    assert first["latency_last_30m"] is not None


def test_an_endpoint_that_nobody_asked_has_nulls() -> None:
    _, second = told(health())
    assert [second[name] for name in ("uptime_last_5m", *SPEEDS)] == [None, None, None]


def test_the_listing_is_what_the_schema_says(spec: dict[str, Any]) -> None:
    check = validator(spec, "/models/{author}/{slug}/endpoints")
    check.validate(plain_json(endpoints_body(GPT, figures(health()))))
    check.validate(plain_json(endpoints_body(GPT)))


def test_offers_without_retention_have_a_list_of_their_own(spec: dict[str, Any]) -> None:
    body = plain_json(zdr_body(CATALOG, figures(health())))
    validator(spec, "/endpoints/zdr").validate(body)
    assert {each["provider_name"] for each in body["data"]} == {"OpenAI"}
    assert body["data"][0]["uptime_last_30m"] == 95.24


@pytest.mark.parametrize("path", ["/models/openai/gpt-4o/endpoints", "/endpoints/zdr"])
async def test_without_a_key_uptime_is_told_and_speed_is_not(path: str) -> None:
    known = health()
    app = Starlette(
        routes=routes(
            lambda: CATALOG,
            lambda endpoint_id: known.listing(endpoint_id, NOW + NS),
            lambda request: request.headers.get("authorization") == "Bearer a key",
        )
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        stranger, caller = [
            (await client.get(path, headers=headers)).json()["data"]
            for headers in ({}, {"authorization": "Bearer a key"})
        ]
    first, same = [data[0] if isinstance(data, list) else data["endpoints"][0] for data in (stranger, caller)]
    assert (first["uptime_last_30m"], same["uptime_last_30m"]) == (95.24, 95.24)
    assert [first[name] for name in SPEEDS] == [None, None]
    assert None not in [same[name] for name in SPEEDS]

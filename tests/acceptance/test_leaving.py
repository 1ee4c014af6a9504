"""Callers who hang up: where that does not stop the bill, the answer is read to its end and the book has the bill."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx2

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import RunningGateway, bearer

CALLS = 40
CHAT = "/chat/completions"


def leave_all(gateway: RunningGateway, client: httpx2.Client, model: str) -> list[str]:
    """Begin streams, read the first event of each, hang up in the middle of all; their ids."""
    ids = []
    with ExitStack() as open_streams:
        lines = []
        for place in range(CALLS):
            said = f"Call {place}. [[prompt={100 + place} completion={50 + place} pieces=5 hang=2]]"
            body = {"model": model, "stream": True, "messages": [{"role": "user", "content": said}]}
            answer = open_streams.enter_context(client.stream("POST", CHAT, json=body))
            lines.append(answer.iter_lines())
            assert next(lines[-1]).startswith("data: ")
            ids.append(answer.headers["x-generation-id"])
    gateway.until(lambda: all(e.cancelled for e in gateway.gateway.app.entries if e.intent.id in ids))
    return ids


def records(gateway: RunningGateway, client: httpx2.Client, ids: list[str]) -> list[dict[str, Any]]:
    """The records of those calls, once all are settled."""
    gateway.until(lambda: not any(e.intent.id in ids for e in gateway.gateway.app.entries))
    return [client.get("/generation", params={"id": id}).json()["data"] for id in ids]


def test_where_the_bill_runs_on_the_book_has_all_of_it(
    gateway: RunningGateway, provider: ScriptedProvider, key: str
) -> None:
    limits = httpx2.Limits(max_connections=CALLS + 2)
    with httpx2.Client(base_url=gateway.base, headers=bearer(key), limits=limits) as client:
        ids = leave_all(gateway, client, "scripted/drained")
        provider.release()
        found = records(gateway, client, ids)
    bill = {item.id: item for item in provider.bill}
    for record in found:
        item = bill[record["upstream_id"]]
        assert item.whole
        assert (record["cancelled"], record["finish_reason"]) == (True, None)
        assert record["routebook"]["usage_source"] == "drained"
        assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (item.prompt, item.completion)
        assert record["upstream_inference_cost"] == float(item.cost)


def test_where_hanging_up_stops_the_bill_the_provider_hears_of_it_at_once(
    gateway: RunningGateway, provider: ScriptedProvider, key: str
) -> None:
    limits = httpx2.Limits(max_connections=CALLS + 2)
    with httpx2.Client(base_url=gateway.base, headers=bearer(key), limits=limits) as client:
        found = records(gateway, client, leave_all(gateway, client, "scripted/plain"))
    assert len({record["upstream_id"] for record in found}) == CALLS
    for record in found:
        assert provider.broke_off(record["upstream_id"]).prompt < 100 + CALLS
        assert (record["cancelled"], record["finish_reason"]) == (True, None)
        assert record["routebook"]["usage_source"] == "estimated"
        assert record["total_cost"] > 0

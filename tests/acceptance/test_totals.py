"""10,000 requests against a provider that counts tokens and money itself: the book says the same, to the last unit."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.core.generation import Folded
from routebook.daybook.reading import read_daybooks
from routebook.load.settings import Flags, load_settings
from routebook.store.open import open_store
from routebook.store.port import Spend, Stored
from routebook.testing.provider import Billed, ScriptedProvider
from tests.acceptance import figures
from tests.acceptance.gateway import FAILING, MODELS, RunningGateway, bearer, configuration, slug
from tests.acceptance.load import Answered, drive, post

REQUESTS = int(os.environ.get("ROUTEBOOK_TEST_REQUESTS", "10000"))
CONNECTIONS = 64
SAMPLE = 200
"""records that are read through GET /generation"""
COUNTS = ("prompt", "completion", "reasoning", "cached", "written")
EXACT = Context(prec=200)
VERIFY = ("-m", "routebook", "ledger", "verify")

pytestmark = pytest.mark.timeout(300)


@dataclass
class Run:
    """What was sent, what came, and what both books say afterwards."""

    sent: list[dict[str, Any]]
    seconds: float
    answers: list[Answered]
    bill: dict[str, Billed]
    """the provider's, by its own id"""
    records: list[dict[str, Any]]
    """a sample, as GET /generation gave them while the gateway ran"""
    key_usage: Decimal
    book: dict[str, Folded] = field(default_factory=dict)
    """the daybook, by generation id"""
    stored: list[Stored] = field(default_factory=list)
    spends: list[Spend] = field(default_factory=list)
    shipped: bool | None = None
    open_holds: int = -1
    verify: tuple[int, dict[str, Any]] = (-1, {})

    def entered(self) -> list[Answered]:
        """Answers of the requests that got an id, so that a record has to exist."""
        return [answer for answer in self.answers if "x-generation-id" in answer.headers]


def request(place: int, dice: random.Random) -> dict[str, Any]:
    """The body of one request: half are streamed; every 25th is to fail at the provider, in one way or another."""
    model = ("plain-1", "cached-1", "odd-1")[place % 3]
    prompt = dice.randint(1, 20_000)
    completion = dice.randint(1, 4_000)
    cached = dice.randint(0, prompt) if dice.random() < 0.5 else 0
    written = dice.randint(0, prompt - cached) if model == "cached-1" and dice.random() < 0.5 else 0
    reasoning = dice.randint(0, completion) if dice.random() < 0.3 else 0
    said = f"prompt={prompt} completion={completion} cached={cached} written={written} reasoning={reasoning}"
    name = slug(model)
    match place % 100:
        case 25:
            said = "status=500"
        case 50:
            said = "status=429"
        case 75:
            said = "status=400"
        case 30 | 31:
            name = "scripted/fallback"  # its first endpoint is down
        case 99:
            name = "scripted/none"
    return {
        "model": name,
        "stream": bool(place // 3 % 2),
        "messages": [{"role": "user", "content": f"Request {place}. [[{said} pieces={dice.randint(1, 6)}]]"}],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("totals") / "home"
    dice = random.Random(20_260_102)
    sent = [request(place, dice) for place in range(REQUESTS)]
    with (
        ScriptedProvider(MODELS, failing=FAILING) as provider,
        RunningGateway(home, configuration(provider)) as gateway,
    ):
        key = gateway.new_key(name="totals")
        wire = [
            post("/api/v1/chat/completions", json.dumps(body).encode(), "wrong" if place % 100 == 98 else key)
            for place, body in enumerate(sent)
        ]
        began = time.perf_counter()
        answers = asyncio.run(drive(gateway.port, wire, CONNECTIONS))
        seconds = time.perf_counter() - began
        bill = {item.id: item for item in provider.bill}
        assert len(bill) == len(provider.bill), "the provider billed an id twice"
        done = Run(sent, seconds, answers, bill, _sample(gateway, key, answers), _usage(gateway, key))
        done.open_holds = gateway.gateway.app.book.holds_open
        gateway.stop()
        done.shipped = gateway.shipped
        _read_books(done, home, gateway.config)
    figures.append(_summary(done))
    return done


def _summary(run: Run) -> str:
    statuses = Counter(answer.status for answer in run.answers)
    return (
        f"{REQUESTS:,} requests, {CONNECTIONS} at once, in {run.seconds:.1f} s "
        f"({REQUESTS / run.seconds:.0f} a second; client, gateway and provider in one process), "
        f"by status {dict(sorted(statuses.items()))}: {len(run.book):,} records; the provider billed "
        f"{sum(item.streamed for item in run.bill.values()):,} streamed and "
        f"{sum(not item.streamed for item in run.bill.values()):,} whole answers, "
        f"{sum(item.prompt + item.completion for item in run.bill.values()):,} tokens, "
        f"{_total(item.cost for item in run.bill.values())} USD; the book holds "
        f"{_total(call.outcome.charge.total for call in run.book.values() if call.outcome)} USD"
    )


def _sample(gateway: RunningGateway, key: str, answers: list[Answered]) -> list[dict[str, Any]]:
    ids = [answer.headers["x-generation-id"] for answer in answers if "x-generation-id" in answer.headers]
    with httpx2.Client(base_url=gateway.base, headers=bearer(key)) as client:
        chosen = ids[:: max(1, len(ids) // SAMPLE)]
        return [_exact(client.get("/generation", params={"id": id}).content)["data"] for id in chosen]


def _usage(gateway: RunningGateway, key: str) -> Decimal:
    usage: Decimal = _exact(httpx2.get(f"{gateway.base}/key", headers=bearer(key)).content)["data"]["usage"]
    return Decimal(usage)


def _exact(body: bytes) -> Any:
    return json.loads(body, parse_float=Decimal)


def _read_books(run: Run, home: Path, config: Path) -> None:
    for book in read_daybooks(home):
        with book:
            run.book |= {call.intent.id: call for call in book.scan()}

    async def stored() -> None:
        store = open_store(load_settings(config, {}, Flags(home=home)).settings, home)
        run.stored = await store.generations(account=None, limit=REQUESTS + 1)
        run.spends = await store.spend()
        await store.close()

    asyncio.run(stored())
    proof = subprocess.run(
        [
            sys.executable,
            "-c",
            "from routebook.cli.ledger import app; app()",
            "verify",
            "--json",
            "--config",
            str(config),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "ROUTEBOOK_HOME": str(home)},
        timeout=120,
        check=False,
    )
    assert proof.stdout, proof.stderr
    run.verify = (proof.returncode, json.loads(proof.stdout))


def _final(answer: Answered) -> dict[str, Any]:
    """The usage that the caller was told, whichever way the answer came."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        *_, usage, end, rest = answer.body.split(b"\n\n")
        assert (end, rest) == (b"data: [DONE]", b"")
        chunk: dict[str, Any] = _exact(usage.removeprefix(b"data: "))
        return chunk
    whole: dict[str, Any] = _exact(answer.body)
    return whole


def _total(values: Iterator[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(values, Decimal(0))


def test_every_call_of_the_book_is_the_providers_to_the_last_unit(run: Run) -> None:
    paid = {call.outcome.upstream_id: call for call in run.book.values() if call.outcome and call.outcome.upstream_id}
    assert paid.keys() == run.bill.keys()
    for id, item in run.bill.items():
        outcome = paid[id].outcome
        assert outcome is not None
        usage = outcome.usage
        counted = (usage.prompt, usage.completion, usage.reasoning, usage.cached or 0, usage.cache_write or 0)
        assert counted == tuple(getattr(item, name) for name in COUNTS)
        assert outcome.charge.total == outcome.charge.upstream == item.cost
        assert paid[id].intent.streamed == item.streamed


def test_the_totals_of_all_books_are_the_providers(run: Run) -> None:
    for streamed in (True, False):
        due = _total(item.cost for item in run.bill.values() if item.streamed == streamed)
        ours = [
            call.outcome.charge.total for call in run.book.values() if call.outcome and call.intent.streamed == streamed
        ]
        assert _total(iter(ours)) == due > 0
    due = _total(item.cost for item in run.bill.values())
    assert run.key_usage == due
    assert _total(stored.total for stored in run.stored) == due
    assert _total(spend.usage for spend in run.spends) == due
    proved = {check["name"]: check["figures"] for check in run.verify[1]["checks"]}
    assert Decimal(proved["lines"]["charged"]) == Decimal(proved["lines"]["upstream"]) == due
    assert Decimal(proved["postings"]["posted"]) == due


def test_what_callers_were_told_is_what_the_provider_billed(run: Run) -> None:
    told = [_final(answer)["usage"] for answer in run.answers if answer.status == 200]
    assert len(told) == len(run.bill)
    assert _total(Decimal(usage["cost"]) for usage in told) == _total(item.cost for item in run.bill.values())
    assert sum(usage["prompt_tokens"] for usage in told) == sum(item.prompt for item in run.bill.values())
    assert sum(usage["completion_tokens"] for usage in told) == sum(item.completion for item in run.bill.values())


def test_records_read_over_http_are_the_providers_bill(run: Run) -> None:
    assert len(run.records) >= min(SAMPLE, REQUESTS // 2)
    for record in run.records:
        item = run.bill.get(record["upstream_id"])
        if item is None:
            assert record["total_cost"] == 0
            assert record["finish_reason"] == "error"
            continue
        assert record["total_cost"] == record["usage"] == record["upstream_inference_cost"] == item.cost
        assert record["native_tokens_prompt"] == item.prompt
        assert record["native_tokens_completion"] == item.completion
        assert record["native_tokens_reasoning"] == item.reasoning
        assert record["native_tokens_cached"] == item.cached


def test_every_request_that_entered_has_one_record_and_no_other_has(run: Run) -> None:
    ids = [answer.headers["x-generation-id"] for answer in run.entered()]
    assert len(set(ids)) == len(ids)
    assert set(ids) == run.book.keys() == {stored.id for stored in run.stored}
    refused = sum(place % 100 in (98, 99) for place in range(REQUESTS))
    assert len(ids) == REQUESTS - refused
    assert run.shipped is True
    assert run.open_holds == 0


def test_every_request_was_answered_with_its_own_status(run: Run) -> None:
    wanted = {25: 503, 50: 429, 75: 400, 98: 401, 99: 400}
    for place, answer in enumerate(run.answers):
        assert answer.status == wanted.get(place % 100, 200), (place, answer)


def test_the_book_proves_itself(run: Run) -> None:
    code, report = run.verify
    assert (code, report["holds"]) == (0, True)
    proved = {check["name"]: check["figures"] for check in report["checks"]}
    assert proved["calls"] == {"admitted": len(run.book), "settled": len(run.book), "open": 0, "interrupted": 0}
    assert proved["sequence"]["gaps"] == 0
    # The provider claims more prompt tokens than a request has bytes; what no bound can foresee is flagged, not hidden.
    over = sum(call.outcome.charge.total > (call.intent.hold or 0) for call in run.book.values() if call.outcome)
    assert proved["lines"]["over_hold"] == over
    assert proved["shipped"]["waiting"] == 0

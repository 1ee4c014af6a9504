"""A provider that keeps its own bill: the bill is the book's; and what is changed on it afterwards is named."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import Billed, ScriptedProvider
from tests.acceptance.gateway import FAILING, MODELS, RunningGateway, bearer, configuration, slug

SAID = (
    ("plain-1", "prompt=1000 completion=200"),
    ("cached-1", "prompt=5000 cached=3000 written=500 completion=300 reasoning=100"),
    ("odd-1", "prompt=777 cached=111 completion=33"),
    ("plain-1", "prompt=20 completion=2"),
)
MAP = (
    "time=at,id=id,model=model,prompt=prompt,completion=completion,cached=cached,cache_write=written,"
    "reasoning=reasoning,cost=cost,provider=scripted"
)
FIELDS = ("id", "model", "prompt", "cached", "written", "completion", "reasoning", "cost")


@dataclass
class Period:
    """A day in whose middle the test runs, so that no midnight comes in between."""

    since: datetime
    until: datetime

    @property
    def words(self) -> list[str]:
        return ["--since", self.since.isoformat(), "--until", self.until.isoformat()]


@dataclass
class Books:
    provider: ScriptedProvider
    gateway: RunningGateway
    period: Period
    home: Path

    def bill(self) -> list[Billed]:
        return list(self.provider.bill)

    def reconcile(self, export: Path, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and report of the command, in a process of its own."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "routebook",
                "ledger",
                "reconcile",
                str(export),
                *words,
                "--json",
                "--config",
                str(self.gateway.config),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "ROUTEBOOK_HOME": str(self.home)},
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def ask(base: str, key: str, model: str, said: str, stream: bool) -> httpx2.Response:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": f"Say it. [[{said}]]"}]}
    return httpx2.post(f"{base}/chat/completions", json=body, headers=bearer(key), timeout=30)


@pytest.fixture
def books(tmp_path: Path) -> Any:
    home = tmp_path / "home"
    now = datetime.now(UTC).replace(microsecond=0)
    period = Period(now - timedelta(hours=12), now + timedelta(hours=12))
    with (
        ScriptedProvider(MODELS, failing=FAILING) as provider,
        RunningGateway(home, configuration(provider, markup="0.1")) as gateway,
    ):
        key = gateway.new_key(name="reconcile")
        for stream in (True, False):
            for model, said in SAID:
                assert ask(gateway.base, key, slug(model), said, stream).status_code == 200
        # A try that is refused, and a model whose first endpoint is down, so that its second one answers.
        assert ask(gateway.base, key, "scripted/plain", "status=400", False).status_code == 400
        assert ask(gateway.base, key, "scripted/fallback", "prompt=10 completion=1", False).status_code == 200
        yield Books(provider, gateway, period, home)


def by_call(books: Books, path: Path, bill: Sequence[Billed], **changes: dict[str, str]) -> Path:
    """The bill as CSV; `changes` are other cells of a row, by id."""
    text = io.StringIO()
    out = csv.DictWriter(text, ["at", *FIELDS])
    out.writeheader()
    for item in bill:
        cells = {name: str(getattr(item, name)) for name in FIELDS} | {"at": datetime.now(UTC).isoformat()}
        out.writerow(cells | changes.get(item.id, {}))
    path.write_text(text.getvalue(), "utf-8")
    return path


def in_buckets(books: Books, path: Path, bill: Sequence[Billed]) -> Path:
    """The bill as OpenAI's usage answer: one bucket, a result for each model."""
    results = []
    for model in sorted({item.model for item in bill}):
        own = [item for item in bill if item.model == model]
        results.append(
            {
                "object": "organization.usage.completions.result",
                "model": model,
                "num_model_requests": len(own),
                "input_tokens": sum(item.prompt for item in own),
                "output_tokens": sum(item.completion for item in own),
                "input_cached_tokens": sum(item.cached for item in own),
                "input_cache_write_tokens": sum(item.written for item in own),
            }
        )
    start, end = (int(at.timestamp()) for at in (books.period.since, books.period.until))
    bucket = {"object": "bucket", "start_time": start, "end_time": end, "results": results}
    path.write_text(json.dumps({"object": "page", "data": [bucket], "has_more": False}), "utf-8")
    return path


def scripted(bill: Sequence[Billed]) -> list[Billed]:
    """What the provider `scripted` is behind; the second endpoint of `fallback` is another provider."""
    return [item for item in bill if item.prompt != 10]


def test_the_providers_bill_is_the_books_running_and_stopped(books: Books, tmp_path: Path) -> None:
    bill = scripted(books.bill())
    assert len(bill) == 2 * len(SAID)
    export = by_call(books, tmp_path / "bill.csv", bill)
    sums = in_buckets(books, tmp_path / "sums.json", bill)
    for stopped in (False, True):
        if stopped:
            books.gateway.stop()
        code, report = books.reconcile(export, "--map", MAP, *books.period.words)
        assert (code, report["agrees"], report["differences"]) == (0, True, [])
        assert report["agreed"] == len(bill)
        assert Decimal(report["export"]["cost"]) == Decimal(report["book"]["cost"]) == sum(item.cost for item in bill)
        code, report = books.reconcile(sums, "--provider", "scripted")
        assert (code, report["differences"]) == (0, [])
        assert report["agreed"] == 3
    other = [item for item in books.bill() if item not in bill]
    export = by_call(books, tmp_path / "slow.csv", other)
    assert len(other) == 1
    assert books.reconcile(export, "--map", MAP, "--provider", "slow", *books.period.words)[0] == 0


def test_what_is_changed_is_named(books: Books, tmp_path: Path) -> None:
    past = ask(books.provider.base_url, books.provider.api_key, "plain-1", "prompt=500 completion=50", False)
    assert past.status_code == 200
    bill = scripted(books.bill())
    dearer, longer, lost = bill[0], bill[1], bill[2]
    changes = {
        dearer.id: {"cost": str(dearer.cost + Decimal("0.001"))},
        longer.id: {"completion": str(longer.completion + 1)},
    }
    kept = [item for item in bill if item is not lost]
    export = by_call(books, tmp_path / "bill.csv", kept, **changes)
    code, report = books.reconcile(export, "--map", MAP, *books.period.words)
    assert code == 1
    found = {item["upstream_id"]: item for item in report["differences"] if item["kind"] != "price"}
    assert {id: item["kind"] for id, item in found.items()} == {
        past.json()["id"]: "missing_in_book",
        lost.id: "missing_in_export",
        longer.id: "tokens",
    }
    missing = found[past.json()["id"]]
    assert missing["likely"] == "off_gateway"
    assert Decimal(missing["cost"]) == next(item.cost for item in bill if item.id == past.json()["id"])
    assert found[longer.id]["why"] == "completion +1"
    prices = {item["upstream_id"]: Decimal(item["cost"]) for item in report["differences"] if item["kind"] == "price"}
    assert prices[dearer.id] == Decimal("0.001")
    # The amount of the longer call stayed: for one token more it is too low.
    assert set(prices) == {dearer.id, longer.id}
    assert report["agreed"] == len(bill) - 4


def test_traffic_past_the_gateway_shows_in_sums_too(books: Books, tmp_path: Path) -> None:
    ask(books.provider.base_url, books.provider.api_key, "odd-1", "prompt=500 completion=50", True)
    export = in_buckets(books, tmp_path / "sums.json", scripted(books.bill()))
    code, report = books.reconcile(export, "--provider", "scripted")
    assert code == 1
    (found,) = report["differences"]
    assert (found["kind"], found["model"], found["likely"]) == ("missing_in_book", "odd-1", "off_gateway")
    assert found["why"].endswith("prompt +500, completion +50 in +1 requests")


def test_a_line_that_broke_is_an_estimate_of_what_the_provider_billed(books: Books, tmp_path: Path) -> None:
    key = books.gateway.new_key(name="broken")
    ask(books.gateway.base, key, "scripted/plain", "prompt=4000 completion=900 pieces=6 cut=3", True)
    broken = next(item for item in books.bill() if not item.whole)
    export = by_call(books, tmp_path / "bill.csv", scripted(books.bill()))
    code, report = books.reconcile(export, "--map", MAP, *books.period.words)
    assert code == 1
    (found,) = report["differences"]
    assert (found["kind"], found["upstream_id"]) == ("estimate", broken.id)

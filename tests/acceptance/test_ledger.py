"""A running gateway forgets old calls, says over HTTP that its book is complete, and is exported to the last unit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook import compose
from routebook.client import Routebook
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, FAILING, MODELS, RunningGateway, bearer, configuration, slug
from tests.unit.cli.test_records import fill

OLD = 9
PATIENCE = 20
KEEP = "[store]\nkeep_days = 30"


def ledger(gateway: RunningGateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the ledger as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "routebook", "ledger", *arguments, "--config", str(gateway.config)],
        capture_output=True,
        text=True,
        env={**os.environ, "ROUTEBOOK_HOME": str(gateway.home)},
        timeout=60,
        check=False,
    )


def ask(gateway: RunningGateway, key: str, model: str, stream: bool) -> None:
    said = [{"role": "user", "content": "Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]"}]
    body = {"model": model, "messages": said, "stream": stream}
    answer = httpx2.post(f"{gateway.base}/chat/completions", json=body, headers=bearer(key), timeout=30)
    assert answer.status_code == 200, answer.text


def test_old_calls_go_and_the_book_beside_the_gateway_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "RETAIN_SECONDS", 0.05)
    home = tmp_path / "home"
    fill(home, OLD, shipped=OLD)  # of 2024, and one that was left open
    with (
        ScriptedProvider(MODELS, failing=FAILING) as provider,
        RunningGateway(home, configuration(provider, KEEP)) as gateway,
    ):
        key = gateway.new_key(name="laptop")
        for number in range(12):
            ask(gateway, key, slug(("plain-1", "cached-1", "odd-1")[number % 3]), number % 2 == 0)
        with Routebook(ADMIN_KEY, gateway.base) as client:
            deleted, deadline = 0, time.monotonic() + PATIENCE
            while deleted < OLD + 1:  # the open one was interrupted at the start, and goes as well
                data = client.ledger.completeness().data
                assert data.holds, data.reasons
                assert data.deleted is not None
                deleted = data.deleted.calls or 0
                assert time.monotonic() < deadline, data
            assert (data.admitted, data.settled, data.open, data.interrupted) == (12, 12, 0, 0)
            assert data.daybooks is not None
            assert data.daybooks[0].head is not None
            head = data.daybooks[0].head
        out = tmp_path / "book.csv"
        exported = ledger(gateway, "export", "--key", "laptop", "--output", str(out))
        assert exported.returncode == 0, exported.stderr
        with out.open(newline="") as file, localcontext(prec=60):
            charged = sum((Decimal(row["total_cost"]) for row in csv.DictReader(file)), Decimal(0))
            assert charged == sum((item.cost for item in provider.bill), Decimal(0))
        assert len(ledger(gateway, "tail", "--key", "laptop", "-n", "99").stdout.splitlines()) == 12
        noted = f"{data.daybooks[0].name}:{head.seq}:{head.digest}"
        proved = ledger(gateway, "verify", "--json", "--head", noted)
        assert proved.returncode == 0, proved.stdout
        checks: dict[str, Any] = {check["name"]: check["figures"] for check in json.loads(proved.stdout)["checks"]}
        assert checks["retention"]["deleted"] == OLD + 1
        assert checks["chain"]["heads"] == 1
        assert checks["calls"]["admitted"] == OLD + 1 + 12

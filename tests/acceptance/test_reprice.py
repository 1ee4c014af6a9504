"""A wrong price put right beside a running gateway: afterwards the book is the provider's bill, to the last unit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import FAILING, MODELS, RunningGateway, bearer, configuration
from tests.acceptance.load import drive, post

PATIENCE = 20
RIGHT, WRONG = 'completion = "0.0000006"', 'completion = "0.0000009"'


def ledger(gateway: RunningGateway, *arguments: str) -> Any:
    """What a command of the ledger says, as JSON, run as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "routebook", "ledger", *arguments, "--json", "--config", str(gateway.config)],
        capture_output=True,
        text=True,
        env={**os.environ, "ROUTEBOOK_HOME": str(gateway.home)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shipped(gateway: RunningGateway) -> None:
    """Returns when every row is in the store."""
    deadline = time.monotonic() + PATIENCE
    while True:
        figures = {check["name"]: check["figures"] for check in ledger(gateway, "verify")["checks"]}
        if not figures["shipped"]["waiting"] and figures["shipped"]["shipped"]:
            return
        assert time.monotonic() < deadline, figures


def usage(gateway: RunningGateway, key: str) -> Decimal:
    answer = httpx2.get(f"{gateway.base}/key", headers=bearer(key))
    found: Decimal = json.loads(answer.content, parse_float=Decimal)["data"]["usage"]
    return Decimal(found)


def test_after_a_wrong_price_was_put_right_the_book_is_the_providers_bill(tmp_path: Path) -> None:
    with ScriptedProvider(MODELS, failing=FAILING) as provider:
        right = configuration(provider)
        assert RIGHT in right
        with RunningGateway(tmp_path / "home", right.replace(RIGHT, WRONG)) as gateway:
            key = gateway.new_key(name="reprice")
            bodies = [
                {
                    "model": ("scripted/plain", "scripted/fallback", "scripted/odd")[place % 3],
                    "stream": bool(place % 2),
                    "messages": [{"role": "user", "content": f"[[prompt={100 + place} completion={50 + place}]]"}],
                }
                for place in range(30)
            ]
            wire = [post("/api/v1/chat/completions", json.dumps(body).encode(), key) for body in bodies]
            answers = asyncio.run(drive(gateway.port, wire, 8))
            assert {answer.status for answer in answers} == {200}
            bill = sum((item.cost for item in provider.bill), Decimal(0))
            before = usage(gateway, key)
            assert before != bill
            shipped(gateway)

            gateway.config.write_text(right, "utf-8")
            report = ledger(gateway, "reprice", "--since", "1h")
            assert (report["looked_at"], report["changed"], report["unchanged"]) == (30, 20, 10)
            assert Decimal(report["total"]["difference"]) == bill - before

            ids = [answer.headers["x-generation-id"] for answer in answers]
            records = []
            for id in ids:
                answer = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key))
                records.append(json.loads(answer.content, parse_float=Decimal)["data"])
            assert sum((Decimal(each["total_cost"]) for each in records), Decimal(0)) == bill
            assert sum(each["routebook"]["revision"] for each in records) == 20
            deadline = time.monotonic() + PATIENCE
            while usage(gateway, key) != bill:
                assert time.monotonic() < deadline, "the running gateway never learnt of it"

            again = ledger(gateway, "reprice", "--since", "1h")
            assert (again["changed"], again["in_force"]) == (0, 0)
            assert ledger(gateway, "verify")["holds"]
        assert gateway.shipped
        gateway.start()
        assert usage(gateway, key) == bill, "and it is so after a restart"
        gateway.stop()

"""A total outage through the real edge: every endpoint fails, and what all callers together ask of the providers stays
within a quarter more than they asked of the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.gateway import RunningGateway, bearer
from tests.faults.matrix import PRICING
from tests.faults.server import RESET, FaultServer, Script
from tests.faults.table import body, error

CALLS = 1000
SIDE_BY_SIDE = 50
MOST = 1.25

OUTAGES: dict[str, Script] = {
    "overloaded": body(503, error()),
    "limited": body(429, error()),
    "cut": [RESET],
}


def configuration(port: int, kind: str) -> str:
    parts = ["[catalog]\nprice_list = false"]
    offers = [f'[[models]]\nslug = "lab/{kind}"\ncontext_length = 8192']
    for name in ("one", "two", "three"):
        parts.append(
            f'[[providers]]\nslug = "{name}"\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
            'api_key = "a-key"'
        )
        offers.append(f'[[models.endpoints]]\nprovider = "{name}"\nupstream_model = "{kind}~{name}"\n{PRICING}')
    return "\n".join([*parts, *offers])


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_not_multiplied_by_its_victims(tmp_path: Path, kind: str) -> None:
    script = OUTAGES[kind]
    with (
        FaultServer({(kind, True): script, (kind, False): script}) as server,
        RunningGateway(tmp_path / "home", configuration(server.port, kind)) as running,
    ):
        statuses = asyncio.run(ask(running, kind))
        asked = sum(server.asked.values())
        assert len(statuses) == CALLS
        assert set(statuses) == {429 if kind == "limited" else 502 if kind == "cut" else 503}
        assert CALLS < asked <= MOST * CALLS, f"{asked} requests for {CALLS} calls"


async def ask(running: RunningGateway, kind: str) -> list[int]:
    """All calls, some side by side; the statuses of their answers."""
    statuses: list[int] = []
    left = iter(range(CALLS))

    async def caller(client: httpx2.AsyncClient) -> None:
        for number in left:
            asked = {
                "model": f"lab/{kind}",
                "stream": bool(number % 2),
                "messages": [{"role": "user", "content": "Hi"}],
            }
            answer = await client.post("/chat/completions", json=asked)
            statuses.append(answer.status_code)

    headers = bearer(running.new_key())
    async with httpx2.AsyncClient(base_url=running.base, headers=headers, timeout=60) as client:
        await asyncio.gather(*[caller(client) for _ in range(SIDE_BY_SIDE)])
    return statuses

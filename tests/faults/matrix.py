"""Runs every row of the table against a gateway: one, two and three endpoints, streamed and whole, all at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from routebook.testing.provider import Rates
from tests.acceptance.gateway import RunningGateway, bearer
from tests.faults.server import Deaf, FaultServer, closed_port
from tests.faults.table import GOOD, KINDS, Kind, Outcome

ATTEMPTS = 3
FIRST_TOKEN = 2
"""seconds; each of three silent endpoints takes that long"""
CONNECT = 1

RATES = Rates(prompt="0.000001", completion="0.000002")
PRICING = '[models.endpoints.pricing]\nprompt = "0.000001"\ncompletion = "0.000002"'


@dataclass(frozen=True)
class Case:
    """One call: the first `faulty` of `endpoints` fail, the others are well."""

    kind: Kind
    streamed: bool
    endpoints: int
    faulty: int

    @property
    def slug(self) -> str:
        return f"{self.kind.name}/{'streamed' if self.streamed else 'whole'}-{self.faulty}-of-{self.endpoints}"

    @property
    def outcome(self) -> Outcome:
        return (self.kind.streamed if self.streamed else self.kind.whole)[1]

    def upstream(self, place: int) -> str:
        """The model's name at its endpoint `place`."""
        kind = self.kind if place < self.faulty else GOOD
        return f"{kind.name}~{self.slug}~{place}"


@dataclass(frozen=True)
class Seen:
    """What came of one call."""

    status: int
    headers: httpx2.Headers
    data: bytes
    record: dict[str, Any]
    asked: list[int]
    """requests that came to the fault server, by endpoint"""

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came in a stream, without its end mark."""
        lines = [line[6:] for line in self.data.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]


CASES = [
    Case(kind, streamed, endpoints, faulty)
    for kind in KINDS
    for streamed in (True, False)
    for endpoints, faulty in ((1, 1), (2, 1), (2, 2), (3, 2), (3, 3))
]


@contextmanager
def gateway(home: Path) -> Iterator[tuple[RunningGateway, FaultServer]]:
    """A gateway, on its default edge, with a model for every case."""
    scripts = {(kind.name, True): kind.streamed[0] for kind in (*KINDS, GOOD)}
    scripts |= {(kind.name, False): kind.whole[0] for kind in (*KINDS, GOOD)}
    with ExitStack() as stack:
        server, deaf = stack.enter_context(FaultServer(scripts)), stack.enter_context(Deaf())
        where = {
            "tcp": f"http://127.0.0.1:{server.port}/v1",
            "refused": f"http://127.0.0.1:{closed_port()}/v1",
            "tls": f"https://127.0.0.1:{server.port}/v1",
            "deaf": f"http://127.0.0.1:{deaf.port}/v1",
        }
        running = stack.enter_context(RunningGateway(home, configuration(where)))
        yield running, server


def configuration(where: dict[str, str]) -> str:
    parts = [
        "[catalog]\nprice_list = false",
        f"[timeouts]\nconnect = {CONNECT}\nfirst_token = {FIRST_TOKEN}\nanswer = {FIRST_TOKEN}\nidle = {FIRST_TOKEN}",
        # Whether all calls together may be repeated is another matter: see the outage.
        f'[routing]\nbalance = "order"\nattempts = {ATTEMPTS}\nretry_floor = 1000000',
    ]
    for slug, base_url in where.items():
        parts.append(
            f'[[providers]]\nslug = "{slug}"\nname = "{slug.capitalize()}"\ndialect = "openai_chat"\n'
            f'base_url = "{base_url}"\napi_key = "a-key"\nabortable = true'
        )
    for case in CASES:
        parts.append(f'[[models]]\nslug = "{case.slug}"\ncontext_length = 8192')
        for place in range(case.endpoints):
            provider = case.kind.at if place < case.faulty else "tcp"
            parts.append(
                f'[[models.endpoints]]\nprovider = "{provider}"\nupstream_model = "{case.upstream(place)}"\n{PRICING}'
            )
    return "\n".join(parts)


async def run(running: RunningGateway, server: FaultServer, key: str) -> dict[str, Seen]:
    """Every case once, all of them side by side; by slug."""
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx2.AsyncClient(base_url=running.base, headers=bearer(key), limits=limits, timeout=60) as client:
        seen = await asyncio.gather(*[_call(client, server, case) for case in CASES])
    return dict(zip([case.slug for case in CASES], seen, strict=True))


async def _call(client: httpx2.AsyncClient, server: FaultServer, case: Case) -> Seen:
    asked = {"model": case.slug, "stream": case.streamed, "messages": [{"role": "user", "content": "Hi"}]}
    answer = await client.post("/chat/completions", json=asked)
    found = await client.get("/generation", params={"id": answer.headers["x-generation-id"]})
    assert found.status_code == 200, found.text
    return Seen(
        answer.status_code,
        answer.headers,
        answer.content,
        found.json()["data"],
        [server.asked[case.upstream(place)] for place in range(case.endpoints)],
    )

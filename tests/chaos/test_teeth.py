"""The harness finds a gateway out that breaks its promises: one guard is switched off, then it is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from chaos.finding import strace_is_missing
from chaos.home import FAILING, RATES, Home
from chaos.judge import Verdict, judge
from chaos.kills import Chain, Point
from chaos.lines import drive
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import ask

CALLS = 5

pytestmark = pytest.mark.skipif(strace_is_missing() is not None, reason=str(strace_is_missing()))


async def verdict_on(folder: Path, guard: str, nth_write: int) -> Verdict:
    """Calls one after the other at a gateway without that guard, which is killed when it writes its n-th row."""
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / "home", provider)
        await Chain(home).begin()
        tracer = Point("daybook", "write", nth_write).tracer(home)
        with Life(home, forked=True, tracer=tracer, through=("chaos.mutate", guard)) as life:
            told = await drive(
                await life.serving(), iter([ask(f"t{place}", "pieces=1") for place in range(CALLS)]), lanes=1
            )
            await life.ended()
        provider.settle()
        return judge(home, told, open_allowed=True)


@pytest.mark.parametrize(
    ("guard", "nth_write", "count"),
    [("intent_commit", 5, "unrecorded"), ("last_byte", 6, "lost")],
    ids=["a call goes out before its intent is on disk", "an answer ends before its outcome is on disk"],
)
def test_a_gateway_without_that_guard_is_found_out_by_one_kill(
    tmp_path: Path, guard: str, nth_write: int, count: str
) -> None:
    verdict = asyncio.run(verdict_on(tmp_path, guard, nth_write))
    assert verdict.counts[count] == 1, verdict.broken
    assert len(verdict.broken) == 1

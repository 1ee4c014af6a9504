"""Every suite of the chaos harness, short: gateway processes that are killed, starved of disk, stopped and left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from chaos.suites import SUITES, Suite

_TRIED = {
    "commit_latency": "commits",
    "client_gone": "closed_upstream",
    "read_elsewhere": "reads",
    "budget_1_worker": "refused_402",
    "budget_4_workers": "refused_402",
    "sigterm": "streams_at_sigterm",
    "disk_refuses": "refused_503",
    "disk_full": "refused",
    "sync_fails": "refused",
    "mutations": "noticed",
    "worker_killed": "acknowledged",
    "write_fails_once": "done",
    "kill_at_syscalls": "interrupted",
    "kill_at_random": "interrupted",
}
"""the figure that is 0 where a suite tried nothing"""


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_what_the_book_promises_holds(suite: Suite, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finding = runner.run(suite.look(tmp_path, print, short=True))
    if finding.skipped:
        pytest.skip(finding.skipped)
    assert finding.broken == []
    tried = finding.figures[_TRIED[suite.name]]
    assert isinstance(tried, int)
    assert tried > 0

"""Scenarios run on the real corridor with a daybook on disk; what must hold after each of them is checked here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import Stage, raise_stage


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A gateway; when the test is over nobody waits, nothing is on hold, and all sums are right."""
    stage = await raise_stage(tmp_path)
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()

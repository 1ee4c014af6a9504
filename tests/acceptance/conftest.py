"""One scripted provider and one gateway for all acceptance tests that need nothing special of either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routebook.core.call import Call
from routebook.corridor.ports import Verdict
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import FAILING, MODELS, RunningGateway, configuration

FLAGGED = "a forbidden word"


class WordModerator:
    """Flags one word."""

    async def check(self, call: Call) -> Verdict:
        said = " ".join(m.content for m in call.chat.messages if isinstance(m.content, str))
        return Verdict(FLAGGED in said, ("forbidden",) if FLAGGED in said else (), said[:100])


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(MODELS, failing=FAILING) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    home: Path = tmp_path_factory.mktemp("acceptance") / "home"
    with RunningGateway(home, configuration(provider, markup="0.25"), moderator=WordModerator()) as running:
        yield running


@pytest.fixture(scope="session")
def key(gateway: RunningGateway) -> str:
    """An ordinary key without a limit."""
    return gateway.new_key(name="acceptance")

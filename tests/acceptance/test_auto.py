"""`openrouter/auto` learns from the gateway's own traffic: what callers named and paid for is ranked first."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from routebook import compose
from routebook.testing.provider import ScriptedProvider

from .gateway import ADMIN_KEY, RunningGateway, bearer, configuration

CHEAPEST, DEARER = "scripted/odd", "scripted/cached"


def answered_by(running: RunningGateway, model: str) -> str:
    """The model that answered a call."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx2.post(f"{running.base}/chat/completions", json=body, headers=bearer(running.new_key()))
    assert answer.status_code == 200, answer.text
    data = httpx2.get(f"{running.base}/generation", params={"id": answer.json()["id"]}, headers=bearer(ADMIN_KEY))
    assert data.json()["data"]["router"] == (model if model == "openrouter/auto" else None)
    answered: str = answer.json()["model"]
    return answered


def test_auto_follows_what_callers_spend_and_not_itself(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "LEARN_SECONDS", 0.01)
    home, config = tmp_path / "home", configuration(provider)
    with RunningGateway(home, config) as running:
        assert answered_by(running, "openrouter/auto") == CHEAPEST, "nothing is learnt yet"
        assert answered_by(running, DEARER) == DEARER
        running.until(lambda: running.gateway.app.fleet.outlook.ranking == (DEARER,))
        assert answered_by(running, "openrouter/auto") == DEARER
    with RunningGateway(home, config) as running:
        assert answered_by(running, "openrouter/auto") == DEARER, "a new process knows it from its first call on"
    chosen = config.replace("[routing]", f'[routing]\nauto = ["{CHEAPEST}"]')
    with RunningGateway(home, chosen) as running:
        assert answered_by(running, "openrouter/auto") == CHEAPEST, "the operator's own ranking goes first"


def test_a_store_that_is_away_leaves_the_ranking_as_it_was(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def broken(store: object, now_ns: int) -> tuple[str, ...]:
        asked.append(now_ns)
        if len(asked) == 1:
            return (DEARER,)
        raise OSError("away")

    monkeypatch.setattr(compose, "LEARN_SECONDS", 0.01)
    monkeypatch.setattr(compose, "ranking_of", broken)
    with RunningGateway(tmp_path / "home", configuration(provider)) as running:
        running.until(lambda: len(asked) > 3)
        assert answered_by(running, "openrouter/auto") == DEARER

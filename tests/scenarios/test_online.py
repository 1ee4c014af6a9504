"""`:online` and the `web` plugin: the provider's own search where it has one, else a loss or a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.core.catalog import Catalog
from routebook.core.money import PriceSheet
from routebook.testing.playbook import ENDED, Says, asked, begun, body, row
from routebook.testing.upstream import Data
from routebook.wire import codec
from tests.dialects.anthropic_answers import message
from tests.support import END, JSON, PROVIDERS, SENT, SHEET, Stage, answer, ask, model, offer, raise_stage

pytestmark = pytest.mark.anyio

NONE_HERE = "this provider has no search of the web, and the gateway runs none"
PRICED = PriceSheet(msgspec.structs.replace(SHEET.base, web_search=msgspec.convert("0.01", type(SHEET.base.prompt))))


@pytest.fixture
async def searching(tmp_path: Path) -> AsyncIterator[Stage]:
    """Claude, whose API has a search that costs a cent, and a provider of the chat and of the responses API."""
    claude, acme = offer("lab/cited", "claude", PRICED), offer("lab/both", "acme")
    provider = msgspec.structs.replace(acme.provider, also=("openai_responses",))
    models = (model("lab/cited", claude), model("lab/both", msgspec.structs.replace(acme, provider=provider)))
    stage = await raise_stage(tmp_path, models=Catalog({each.slug: each for each in models}, PROVIDERS))
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


async def test_online_gives_the_model_the_providers_own_search_and_its_price_is_charged(searching: Stage) -> None:
    usage = {"input_tokens": 100, "output_tokens": 10, "server_tool_use": {"web_search_requests": 2}}
    said = message({"type": "text", "text": "It rains."}, usage=usage)
    await searching.play(
        ask("lab/cited:online", stream=False),
        row("intent"),
        asked("claude", model="cited-2026", tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        Says(SENT, JSON, Data(said), END),
        row("done", total_cost="0.02045", web_search_engine="native", losses=[]),
        begun(200),
        body(content="It rains.", model="lab/cited"),
        ENDED,
    )


async def test_a_chat_caller_is_searched_for_in_the_api_that_can(searching: Stage) -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It rains."}]}
    told = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": [item]}
    used = {"usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}}
    lost = [
        {"parameter": "plugins.web.max_uses", "detail": "the provider decides how much it searches", "mapped": True}
    ]
    await searching.play(
        ask("lab/both", stream=False, plugins=[{"id": "web", "max_uses": 1, "include_domains": ["yr.no"]}]),
        row("intent"),
        asked(
            "acme",
            path="https://acme.example/v1/responses",
            tools=[{"type": "web_search", "filters": {"allowed_domains": ["yr.no"]}}],
        ),
        Says(SENT, JSON, Data(codec.encode({**told, **used})), END),
        row("done", losses=lost),
        begun(200),
        body(content="It rains."),
        ENDED,
    )


@pytest.mark.parametrize(
    ("name", "members", "parameter"),
    [("lab/solo:online", {}, "model"), ("lab/solo", {"plugins": [{"id": "web"}]}, "plugins.web")],
)
async def test_where_no_endpoint_can_search_the_record_says_so(
    stage: Stage, name: str, members: dict[str, Any], parameter: str
) -> None:
    await stage.play(
        ask(name, stream=False, **members),
        row("intent"),
        asked("acme", tools=None, web_search_options=None),
        Says(SENT, JSON, answer("Hi", 10, 2), END),
        row("done", losses=[{"parameter": parameter, "detail": NONE_HERE}]),
        begun(200),
        body(),
        ENDED,
        ask(name, stream=False, provider={"require_parameters": True}, **members),
        begun(404),
        body(error=404),
        ENDED,
    )
    assert len(stage.transport.requests) == 1

"""The example of the published schema, made by a call: every value of it that one call can have at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from routebook.core.call import Call
from routebook.core.catalog import Accounting, Catalog, Provider
from routebook.core.money import Prices, PriceSheet
from routebook.core.people import App
from routebook.corridor.ports import Verdict
from routebook.testing.playbook import DONE, ENDED, Says, asked, begun, chunk, row
from routebook.testing.upstream import Data, Head, Wait
from routebook.wire import codec
from tests.support import END, SENT, Stage, ask, event, model, offer, raise_stage

pytestmark = pytest.mark.anyio

SLUG = "sao10k/l3-stheno-8b"

# Ten prompt tokens, three of them read from the cache and one written to it, and 25 of completion: 0.0012 USD.
# Reading the three cheaper saves 0.0001728, writing the one dearer costs 0.0000128; with the markup that is 0.0002.
SHEET = PriceSheet(
    Prices(
        prompt=Decimal("0.000064"),
        input_cache_read=Decimal("0.0000064"),
        input_cache_write=Decimal("0.0000768"),
        completion=Decimal("0.0000288"),
        web_search=Decimal(0),
    )
)

SEED = {
    "app_id": 12345,
    "cache_discount": Decimal("0.0002"),
    "cancelled": False,
    "created_at": "2024-07-15T23:33:19.433273+00:00",
    "data_region": "global",
    "external_user": "user-123",
    "finish_reason": "stop",
    "generation_time": 1200,
    "http_referer": "https://openrouter.ai/",
    "is_byok": False,
    "latency": 1250,
    "model": SLUG,
    "moderation_latency": 50,
    "native_finish_reason": "stop",
    "native_tokens_cached": 3,
    "native_tokens_completion": 25,
    "native_tokens_completion_images": 0,
    "native_tokens_prompt": 10,
    "native_tokens_reasoning": 5,
    "num_input_audio_prompt": 0,
    "num_media_completion": 0,
    "num_media_prompt": 1,
    "num_search_results": 5,
    "origin": "https://openrouter.ai/",
    "provider_name": "Infermatic",
    "service_tier": "priority",
    "session_id": None,
    "streamed": True,
    "tokens_completion": 25,
    "tokens_prompt": 10,
    "total_cost": Decimal("0.0015"),
    "upstream_id": "chatcmpl-791bcf62-080e-4568-87d0-94c72e3b4946",
    "upstream_inference_cost": Decimal("0.0012"),
    "usage": Decimal("0.0015"),
    "user_agent": "Mozilla/5.0",
    "workspace_id": "550e8400-e29b-41d4-a716-446655440000",
}


class Moderation:
    """Passes everything, in 50 ms."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def check(self, call: Call) -> Verdict:
        self._stage.clock.advance(50)
        return Verdict(flagged=False)


@pytest.fixture
async def seeded(tmp_path: Path) -> AsyncIterator[Stage]:
    """A gateway with the example's provider, prices, markup and app, at the example's moment."""
    infermatic = Provider(
        "infermatic", "Infermatic", "openai_chat", "https://acme.example/v1", moderated=True, abortable=True
    )
    endpoint = msgspec.structs.replace(offer(SLUG, "acme", SHEET), provider=infermatic)
    stage = await raise_stage(
        tmp_path,
        accounting=Accounting(markup=Decimal("0.25")),
        models=Catalog({SLUG: model(SLUG, endpoint)}, {"infermatic": infermatic}),
        at="2024-07-15T23:33:19.433273+00:00",
    )
    stage.app.moderator = Moderation(stage)
    await stage.store.put_app(App(12345, "https://openrouter.ai", "Seed"))
    await stage.app.apps.refresh()
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


def frame(**more: object) -> Data:
    return event(
        {
            "id": "chatcmpl-791bcf62-080e-4568-87d0-94c72e3b4946",
            "model": "l3-stheno-8b-2026",
            "service_tier": "priority",
            "choices": [],
            **more,
        }
    )


async def test_the_example_of_the_schema_comes_out_of_a_call_to_the_last_cent(seeded: Stage) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 25,
        "total_tokens": 35,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 5, "image_tokens": 0},
        "server_tool_use": {"web_search_requests": 5},
    }
    picture = {"type": "image_url", "image_url": {"url": "https://openrouter.ai/picture.png"}}
    await seeded.play(
        ask(
            SLUG,
            messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}],
            user="user-123",
            service_tier="priority",
            headers={"http-referer": "https://openrouter.ai/", "user-agent": "Mozilla/5.0"},
        ),
        row("intent", moderation_latency=None),
        asked("acme"),
        Says(
            SENT,
            Head(200, "text/event-stream"),
            Wait(400),
            frame(choices=[{"index": 0, "delta": {"role": "assistant", "content": "A llama."}}]),
            Wait(800),
            frame(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
            frame(usage=usage),
            END,
        ),
        begun(200),
        chunk(content="A llama."),
        chunk(finish="stop"),
        row("done"),
        chunk(cost="0.0015"),
        DONE,
        ENDED,
    )
    data = seeded.record
    assert {name: data[name] for name in SEED} == SEED
    assert re.fullmatch(r"gen-1721086399-[0-9A-Za-z]{20}", data["id"])
    assert re.fullmatch(r"req-1721086399-[0-9A-Za-z]{20}", data["request_id"])


async def test_the_examples_money_is_written_as_the_example_writes_it(seeded: Stage) -> None:
    await test_the_example_of_the_schema_comes_out_of_a_call_to_the_last_cent(seeded)
    text = codec.encode(seeded.record).decode()
    for written in ('"total_cost":0.0015,', '"cache_discount":0.0002,', '"upstream_inference_cost":0.0012,'):
        assert written in text

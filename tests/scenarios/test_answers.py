"""Calls that go well."""

from __future__ import annotations

import pytest

from routebook.testing.playbook import DONE, ENDED, Says, asked, begun, chunk, row
from tests.support import (
    DONE_MARK,
    END,
    ROLE_ONLY,
    SENT,
    SSE,
    Stage,
    ask,
    counted,
    finish,
    text,
)

pytestmark = pytest.mark.anyio


async def test_a_stream_is_relayed_metered_and_booked_before_its_end_mark(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent", outcome="open", model="lab/solo", streamed=True),
        asked("acme", model="solo-2026", stream=True, stream_options={"include_usage": True}),
        Says(SENT, SSE, ROLE_ONLY),
        Says(text("Hel")),
        begun(200, content_type="text/event-stream", x_generation_id=...),
        chunk(role="assistant", content="Hel", model="lab/solo", provider="Acme", finish=None),
        Says(text("lo"), finish("stop")),
        chunk(content="lo"),
        chunk(finish="stop", native_finish="stop"),
        Says(counted(10, 2), DONE_MARK, END),
        row("done", total_cost="0.00006", finish_reason="stop", native_tokens_prompt=10, native_tokens_completion=2),
        chunk(prompt_tokens=10, completion_tokens=2, total_tokens=12, cost="0.00006", is_byok=False),
        DONE,
        ENDED,
    )
    assert stage.playbook.caller.headers["x-generation-id"] == stage.record["id"]

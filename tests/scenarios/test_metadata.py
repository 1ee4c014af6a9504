"""`openrouter_metadata`: told to whoever asks, on answers and errors, and to nobody else. Source: inference API, 12."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routebook.core.errors import NotFound
from routebook.core.events import Delta, Finish, Start
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.corridor.tell import is_asked
from routebook.dialects import registry
from routebook.dialects.base import Receipt, Stamp
from routebook.testing.playbook import DONE, ENDED, Request, Says, asked, begun, body, chunk, row
from routebook.wire import codec
from tests import openapi
from tests.support import (
    END,
    JSON,
    LIMITED_KEY,
    OPEN_KEY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    finish,
    refused,
    text,
)

pytestmark = pytest.mark.anyio

ASKS = {"x-openrouter-metadata": "enabled"}
GOOD = (SENT, JSON, answer("Hi", 10, 2), END)
MISSING = object()


def available(*selected: bool) -> dict[str, Any]:
    names = ("Acme", "Beta", "Gamma") if len(selected) == 3 else ("Acme",)
    model = "lab/large" if len(selected) == 3 else "lab/solo"
    return {
        "total": len(selected),
        "available": [
            {"provider": name, "model": model, "selected": each} for name, each in zip(names, selected, strict=True)
        ],
    }


def told(stage: Stage) -> Any:
    """The metadata of the last answer that was no stream; MISSING without."""
    return codec.decode(stage.playbook.callers[-1].received).get("openrouter_metadata", MISSING)


def check(metadata: Any) -> None:
    """As the published schema has it."""
    openapi.component("OpenRouterMetadata").validate(metadata)


async def test_a_whole_answer_tells_who_was_there_who_was_tried_and_who_answered(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", stream=False, headers=ASKS), row("intent"), asked("acme"), Says(*refused(503)),
        asked("beta"), Says(*GOOD), row("done"), begun(200), body(content="Hi"), ENDED,
    )  # fmt: skip
    assert told(stage) == {
        "requested": "lab/large",
        "strategy": "direct",
        "region": None,
        "summary": "3 endpoints could serve it; Beta answered, 2 tried",
        "attempt": 2,
        "is_byok": False,
        "endpoints": available(False, True, False),
        "attempts": [
            {"provider": "Acme", "model": "lab/large", "status": 503},
            {"provider": "Beta", "model": "lab/large", "status": 200},
        ],
    }
    check(told(stage))


async def test_in_a_stream_it_comes_with_the_last_chunk_and_only_there(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", headers=ASKS), row("intent"), asked("acme"),
        Says(SENT, SSE, text("Hi"), finish(), counted(10, 2), END), begun(200), chunk(content="Hi"),
        chunk(finish="stop"), row("done"), chunk(completion_tokens=2, openrouter_metadata=...), DONE, ENDED,
    )  # fmt: skip
    frames = stage.playbook.callers[-1].received.split(b"\n\n")
    assert [b"openrouter_metadata" in frame for frame in frames] == [False, False, True, False, False]
    last = codec.decode(frames[2].removeprefix(b"data: "))["openrouter_metadata"]
    assert (last["attempt"], last["endpoints"]) == (1, available(True))
    check(last)


@pytest.mark.parametrize("headers", [{}, {"x-openrouter-metadata": "disabled"}, {"x-openrouter-metadata": "yes"}])
async def test_who_does_not_ask_is_told_nothing(stage: Stage, headers: dict[str, str]) -> None:
    await stage.play(
        ask("lab/solo", stream=False, headers=headers), row("intent"), asked("acme"), Says(*GOOD), row("done"),
        begun(200), body(content="Hi"), ENDED,
    )  # fmt: skip
    assert told(stage) is MISSING


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"x-openrouter-metadata": "Enabled"}, True),
        ({"x-openrouter-experimental-metadata": "ENABLED"}, True),
        ({"x-openrouter-metadata": "disabled", "x-openrouter-experimental-metadata": "enabled"}, False),
        ({"x-openrouter-metadata": "1"}, False),
    ],
)
def test_either_header_asks_in_any_case(headers: dict[str, str], wanted: bool) -> None:
    assert is_asked(headers) is wanted


async def test_when_all_have_failed_the_error_tells_of_every_attempt(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", stream=False, headers=ASKS), row("intent"),
        asked("acme"), Says(*refused(429)), asked("beta"), Says(*refused(429)), asked("gamma"), Says(*refused(429)),
        row("error"), begun(429), body(error=429), ENDED,
    )  # fmt: skip
    metadata = told(stage)
    assert (metadata["attempt"], metadata["endpoints"]) == (3, available(False, False, False))
    assert [each["status"] for each in metadata["attempts"]] == [429, 429, 429]
    check(metadata)


async def test_where_no_provider_could_be_asked_the_attempt_is_0(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", stream=False, headers=ASKS, provider={"zdr": True}), begun(404), body(error=404), ENDED
    )
    metadata = told(stage)
    assert (metadata["attempt"], metadata["endpoints"]) == (0, {"total": 0, "available": []})
    check(metadata)


async def test_an_error_after_the_first_content_has_it_in_the_last_chunk(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", headers=ASKS), row("intent"), asked("acme"), Says(SENT, SSE, text("Hi"), END), begun(200),
        chunk(content="Hi"), chunk(error=502, openrouter_metadata=None), row("error"),
        chunk(cost=0, openrouter_metadata=...), DONE, ENDED,
    )  # fmt: skip


async def test_errors_about_who_asks_and_what_tell_nothing(stage: Stage) -> None:
    wrong = (
        (ask("lab/solo", stream=False, headers=ASKS, key="sk-rb-v1-nobody"), 401),
        (ask("lab/nothing", stream=False, headers=ASKS), 400),
        (ask("lab/solo", stream=False, headers=ASKS, temperature="warm"), 400),
        (ask("lab/unpriced", stream=False, headers=ASKS, key=LIMITED_KEY), 402),
    )
    for request, status in wrong:
        await stage.play(request, begun(status), body(error=status), ENDED)
        assert told(stage) is MISSING, status


async def test_the_router_tells_the_kind_of_task(stage: Stage) -> None:
    settings = msgspec.structs.replace(stage.app.settings.routing, balance="order", auto=["lab/solo"])
    stage.app.fleet.follow(settings)
    await stage.play(
        ask("openrouter/auto", stream=False, headers=ASKS), row("intent"), asked("acme"), Says(*GOOD), row("done"),
        begun(200), body(content="Hi"), ENDED,
    )  # fmt: skip
    metadata = told(stage)
    assert metadata["strategy"] == "auto"
    assert metadata["pipeline"] == [{"type": "plugin", "name": "auto-router", "data": {"task_type": "general"}}]
    check(metadata)


BODIES: dict[str, dict[str, Any]] = {
    "openai_responses": {"input": "Hello"},
    "anthropic": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9},
    "openai_text": {"prompt": "Hello"},
}


@pytest.mark.parametrize("surface", BODIES)
async def test_other_dialects_have_it_at_the_top_of_their_bodies(stage: Stage, surface: str) -> None:
    said = codec.encode({"model": "lab/solo", **BODIES[surface]})
    request = Request(said, {"authorization": f"Bearer {OPEN_KEY}", **ASKS}, surface)
    await stage.play(request, row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED)
    assert told(stage)["endpoints"] == available(True)
    check(told(stage))


@pytest.mark.parametrize("surface", [*BODIES, "openai_chat"])
def test_every_dialect_has_it_at_the_top_of_its_errors(surface: str) -> None:
    spoken, fault = registry.surfaces()[surface], NotFound("No endpoint is left.")
    assert "openrouter_metadata" not in codec.decode(spoken.error_body(fault, None))
    fault.routing = {"requested": "lab/solo"}
    assert codec.decode(spoken.error_body(fault, None))["openrouter_metadata"] == {"requested": "lab/solo"}


RECEIPT = Receipt(Usage(prompt=1, completion=1), Charge(total=Decimal(0), lines=()), routing={"requested": "lab/solo"})


@pytest.mark.parametrize(
    ("surface", "asked_for", "where"),
    [
        ("anthropic", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}, b"event: message_stop"),
        ("openai_responses", {"input": "Hi"}, b'data: {"type":"response.completed"'),
    ],
)
def test_their_streams_have_it_in_their_last_event(surface: str, asked_for: dict[str, Any], where: bytes) -> None:
    spoken = registry.surfaces()[surface]
    call = spoken.read(codec.encode({"model": "lab/solo", "stream": True, **asked_for}), {})
    writer = spoken.writer(call)
    writer.start(Stamp("gen-1-a", 1, "lab/solo", "Acme"))
    written = b"".join(writer.feed(event) for event in (Start(), Delta(text="Hi"), Finish("stop")))
    assert b"openrouter_metadata" not in written
    last = writer.end(RECEIPT)
    frames = [frame for frame in last.split(b"\n\n") if b"openrouter_metadata" in frame]
    assert len(frames) == 1
    assert frames[0].startswith(where)


async def test_what_routing_does_is_not_recorded_as_lost_and_no_reason_to_refuse(stage: Stage) -> None:
    asks = ask("lab/solo", stream=False, transforms=["middle-out"], provider={"require_parameters": True})
    await stage.play(asks, row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED)
    assert stage.record["routebook"]["losses"] == []


async def test_a_plugin_that_nobody_runs_is_recorded_as_lost(stage: Stage) -> None:
    asks = ask("lab/solo", stream=False, plugins=[{"id": "web-fetch"}])
    await stage.play(asks, row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED)
    (loss,) = stage.record["routebook"]["losses"]
    assert (loss["parameter"], loss["detail"]) == ("plugins", "the gateway does not run web-fetch")

"""Every fault there is, before and after the first content, streamed and not: what the caller and the book are told."""

from __future__ import annotations

import pytest

from routebook.core import errors
from routebook.core.call import Call
from routebook.core.errors import Fault, UpstreamFault
from routebook.corridor.ports import Verdict
from routebook.testing.playbook import DONE, ENDED, Do, Says, asked, begun, body, chunk, closed, row
from routebook.testing.upstream import Lost
from tests.support import SENT, SSE, Stage, ask, text

pytestmark = pytest.mark.anyio

# fault -> (status, error_type, the book's state). Source: inference API, section 14.
TABLE: dict[type[Fault], tuple[int, str, str]] = {
    errors.Fault: (500, "server", "error"),
    errors.BadRequest: (400, "invalid_request", "error"),
    errors.ModelUnknown: (400, "not_found", "error"),
    errors.Unauthenticated: (401, "authentication", "error"),
    errors.PaymentRequired: (402, "payment_required", "error"),
    errors.Forbidden: (403, "permission_denied", "blocked"),
    errors.NotFound: (404, "not_found", "error"),
    errors.RequestTimeout: (408, "timeout", "error"),
    errors.Conflict: (409, "unmapped", "error"),
    errors.Cancelled: (499, "unmapped", "error"),
    errors.TooLarge: (413, "payload_too_large", "error"),
    errors.RateLimited: (429, "rate_limit_exceeded", "error"),
    errors.Internal: (500, "server", "error"),
    errors.Unavailable: (503, "provider_overloaded", "error"),
    errors.UpstreamFault: (502, "provider_unavailable", "error"),
    errors.UpstreamRefused: (400, "invalid_request", "error"),
    errors.UpstreamCredential: (502, "provider_unavailable", "error"),
    errors.UpstreamLimited: (429, "rate_limit_exceeded", "error"),
    errors.UpstreamOverloaded: (503, "provider_overloaded", "error"),
    errors.UpstreamTimeout: (504, "timeout", "error"),
    errors.UpstreamLost: (502, "provider_unavailable", "error"),
    errors.UpstreamGarbage: (502, "provider_unavailable", "error"),
}

EVERY = pytest.mark.parametrize("kind", TABLE, ids=lambda kind: str(kind.__name__))
STREAMED = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


def every_fault(kind: type[Fault]) -> set[type[Fault]]:
    return {kind}.union(*(every_fault(each) for each in kind.__subclasses__()))


def test_the_table_knows_every_fault_there_is() -> None:
    assert set(TABLE) == every_fault(Fault)


class Refuses:
    """A moderator that fails with that fault: it stands for whatever of ours may fail before content."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    async def check(self, call: Call) -> Verdict:
        raise self._fault


@EVERY
@STREAMED
async def test_before_content_every_fault_has_its_true_status_and_envelope(
    stage: Stage, kind: type[Fault], streamed: bool
) -> None:
    status, error_type, state = TABLE[kind]
    told = (
        row(state, finish_reason="error", total_cost="0", provider_name=None, streamed=streamed),
        begun(status, content_type="application/json", x_generation_id=...),
        body(error=status, error_type=error_type, message=...),
        ENDED,
    )
    stage.app.fleet.attempts = 1
    if issubclass(kind, UpstreamFault):
        await stage.play(
            ask("lab/solo", stream=streamed), row("intent"), asked("acme"), Says(SENT, Lost(kind())), *told
        )
        assert stage.record["routebook"]["attempts"][0]["error"] == kind.__name__
    else:
        stage.app.moderator = Refuses(kind())
        await stage.play(ask("lab/strict", stream=streamed), row("intent"), *told)
    assert stage.record["routebook"]["error"]["status"] == status


@EVERY
async def test_after_content_every_fault_is_an_event_and_a_complete_end_of_the_stream(
    stage: Stage, kind: type[Fault]
) -> None:
    status, error_type, state = TABLE[kind]
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        *breaks(stage, kind()),
        chunk(error=status, error_type=error_type, finish="error", content="", message=...),
        row(state, finish_reason="error", total_cost="0", insured=True, native_tokens_completion=1),
        chunk(completion_tokens=1, cost=0),
        DONE,
        ENDED,
    )


@EVERY
async def test_after_content_a_whole_answer_is_a_200_that_carries_the_fault(stage: Stage, kind: type[Fault]) -> None:
    status, error_type, state = TABLE[kind]
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        *breaks(stage, kind()),
        row(state, finish_reason="error", total_cost="0", insured=True, native_tokens_completion=1),
        begun(200, content_type="application/json"),
        body(error=status, error_type=error_type, finish="error", content="word", cost=0),
        ENDED,
    )


def breaks(stage: Stage, fault: Fault) -> tuple[object, ...]:
    """The fault comes: from the provider's side, or as an end that the gateway itself makes."""
    if isinstance(fault, UpstreamFault):
        return (Says(Lost(fault)),)

    def stop() -> None:
        for entry in list(stage.app.entries):
            entry.stop(fault)

    return (Do(stop), closed("acme"))

"""The first-byte rule: before it a true status, after it an event. Source: inference API, section 2.4."""

from __future__ import annotations

from decimal import Decimal

import pytest

from routebook.core.errors import Fault, RateLimited, Unavailable, UpstreamLost
from routebook.core.events import Delta, Finish, Start
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.corridor.answer import HEADERS_WAIT_NS, KEEPALIVE_NS, Answer
from routebook.dialects import registry
from routebook.dialects.base import Receipt, Stamp
from routebook.testing.playbook import COMMENT, DONE, ENDED, Caller, Left, begun, body, chunk
from tests.support import ask

SURFACE = registry.surfaces()["openai_chat"]
STAMP = Stamp("gen-1", 1, "lab/solo", "Acme")
RECEIPT = Receipt(Usage(prompt=10, completion=2), Charge(total=Decimal("0.00006")))
SECOND = 1_000_000_000


class Ear:
    """Nobody in particular listens."""

    def gone(self) -> None: ...

    def full(self) -> None: ...

    def drained(self) -> None: ...


class Case:
    """An answer bound to a call, and what its caller got."""

    def __init__(self, streamed: bool = True, *, bound: bool = True) -> None:
        self.left: list[Left] = []
        self.caller = Caller(self.left.append)
        self.answer = Answer(self.caller, SURFACE, 0)
        if bound:
            call = SURFACE.read(ask(stream=streamed).body, {})
            self.answer.bind("gen-1", SURFACE.writer(call), streamed, Ear())

    def got(self, *wanted: Left) -> None:
        assert len(self.left) == len(wanted), self.left
        for found, want in zip(self.left, wanted, strict=True):
            assert found.meets(want), (found, want)


def test_nothing_is_sent_until_something_is_said() -> None:
    case = Case()
    case.answer.start(STAMP)
    case.answer.events([Start(upstream_id="x")], 1)
    case.got()
    case.answer.events([Delta(text="Hi")], 2)
    case.got(begun(200, content_type="text/event-stream", x_generation_id="gen-1"), chunk(content="Hi"))


def test_a_refusal_before_anybody_is_known_has_no_generation_id() -> None:
    case = Case(bound=False)
    case.answer.refuse(RateLimited())
    case.got(begun(429, content_type="application/json", x_generation_id=None), body(error=429), ENDED)


@pytest.mark.parametrize(
    ("fault", "header"),
    [
        (RateLimited(retry_after=7.2), "8"),
        (Unavailable(retry_after=0), "0"),
        (Unavailable(retry_after=-3), "0"),
        (RateLimited(), None),
        (UpstreamLost(retry_after=7), None),
    ],
)
def test_a_wait_is_told_in_whole_seconds_where_waiting_helps(fault: Fault, header: str | None) -> None:
    case = Case()
    case.answer.refuse(fault)
    case.got(begun(fault.status, retry_after=header), body(error=fault.status), ENDED)


def test_a_stream_that_fails_with_nothing_out_leaves_the_status_to_the_refusal() -> None:
    case = Case()
    case.answer.start(STAMP)
    assert not case.answer.fail(UpstreamLost(), STAMP, 1)
    case.got()


def test_a_stream_that_fails_with_headers_out_is_told_in_band() -> None:
    case = Case()
    case.answer.keep_alive(0, HEADERS_WAIT_NS)
    assert case.answer.fail(UpstreamLost(), Stamp("gen-1", 1, "lab/solo", None), HEADERS_WAIT_NS + 1)
    case.answer.finish(RECEIPT)
    case.got(begun(200), COMMENT, chunk(error=502, provider=None), chunk(cost="0.00006"), DONE, ENDED)


def test_a_whole_answer_is_one_body_with_its_length() -> None:
    case = Case(streamed=False)
    case.answer.start(STAMP)
    for event in (Delta(text="Hel"), Delta(text="lo"), Finish("stop")):
        case.answer.events([event], 1)
    case.answer.keep_alive(0, 100 * SECOND)
    case.got()
    case.answer.finish(RECEIPT)
    case.got(begun(200, content_length=str(len(case.caller.received))), body(content="Hello", finish="stop"), ENDED)


def test_comments_come_in_silences_and_not_between() -> None:
    case = Case()
    case.answer.keep_alive(0, HEADERS_WAIT_NS - 1)
    case.got()
    case.answer.start(STAMP)
    case.answer.events([Delta(text="Hi")], HEADERS_WAIT_NS)
    case.answer.keep_alive(0, HEADERS_WAIT_NS + KEEPALIVE_NS - 1)
    case.got(begun(200), chunk())
    case.answer.keep_alive(0, HEADERS_WAIT_NS + KEEPALIVE_NS)
    case.answer.keep_alive(0, HEADERS_WAIT_NS + KEEPALIVE_NS + 1)
    case.got(begun(200), chunk(), COMMENT)


def test_an_answer_ends_once_whoever_ends_it_again() -> None:
    case = Case()
    case.answer.start(STAMP)
    case.answer.events([Delta(text="Hi")], 1)
    case.answer.refuse(Unavailable())
    case.answer.finish(RECEIPT)
    case.answer.drop()
    case.answer.refuse(Unavailable())
    case.answer.keep_alive(0, 100 * SECOND)
    case.got(begun(200), chunk(content="Hi"), ENDED)

"""Whatever a provider sends, its reader raises nothing: an answer fails once, at its end, or has a finish. For every
dialect, streamed and whole: good answers that were changed, cut, doubled and mixed; JSON of the right names with the
wrong things in them; and bytes.
"""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import UpstreamFault
from routebook.core.events import Finish
from routebook.wire.aws_events import event as aws_event
from routebook.wire.http import HttpHead
from tests.acceptance import clouds
from tests.conformance.answers import ANSWERS, written
from tests.conformance.lanes import LANES, Lane
from tests.dialects.reading import fed

SSE, JSON, LINES, BINARY = (
    "text/event-stream",
    "application/json",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
)
FACES = {"openai_chat": "chat", "openai_responses": "responses", "anthropic": "messages", "gemini": "gemini"}
PATHS = {
    "azure": ("/openai", "/openai"),
    "bedrock": ("/model/m/converse", "/model/m/converse-stream"),
    "bedrock_anthropic": ("/model/m/invoke", "/model/m/invoke-with-response-stream"),
    "cohere": ("/v2/chat", "/v2/chat"),
    "ollama": ("/api/chat", "/api/chat"),
}
VERTEX = {"vertex (Claude)": "messages", "vertex (Gemini)": "gemini"}


def good(lane: Lane) -> list[tuple[str, bytes]]:
    """(content type, body) of answers that are well."""
    face = FACES.get(lane.dialect) or VERTEX.get(lane.name)
    if face is None:
        whole, streamed = PATHS[lane.dialect]
        said = [clouds.said(whole, {"stream": False}), clouds.said(streamed, {"stream": True})]
        return [(kind, body) for kind, body in said]
    return [(SSE if stream else JSON, written(answer, face, stream)) for answer in ANSWERS for stream in (False, True)]


GOOD = {lane.name: good(lane) for lane in LANES}
NAMES = sorted(
    {
        name
        for rows in GOOD.values()
        for _, body in rows
        for name in body.decode("utf-8", "replace").replace("\\", "").split('"')[1::2]
        if name.isidentifier() and len(name) < 30
    }
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**70,
    0.5,
    1e308,
    "",
    "x",
    "\ud83d",
    [],
    {},
    [[]],
    [None],
    {"type": None},
    "a" * 99,
)
SEEDS = st.integers(0, 2**48)
"""Each of a walk with dice of its own: drawing every step of it would take a hundred times as long."""


def holds(lane: Lane, kind: str, body: bytes, dice: Random) -> None:
    places = sorted({0, len(body), *(dice.randrange(len(body) + 1) for _ in range(dice.randrange(4)))})
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    events = fed(lane.upstream, HttpHead(200, {"content-type": kind}), pieces)
    failures = [at for at, event in enumerate(events) if isinstance(event, tuple)]
    assert failures in ([], [len(events) - 1]), events
    assert failures or any(isinstance(event, Finish) for event in events), events


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
def test_good_answers_end_well(lane: Lane) -> None:
    for kind, body in GOOD[lane.name]:
        events = fed(lane.upstream, HttpHead(200, {"content-type": kind}), [body])
        assert not any(isinstance(event, tuple) for event in events), events
        assert any(isinstance(event, Finish) for event in events), body


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
def test_half_a_pair_of_surrogates_costs_its_character_and_not_the_answer(lane: Lane) -> None:
    """Who streams text by UTF-16 cuts an emoji in two: each half is JSON that strict readers refuse."""
    halved = 0
    for kind, body in GOOD[lane.name]:
        if kind == BINARY:
            continue  # its frames are JSON like the whole answer, in a framing that `framed` does not keep
        values = [cut(value) for value in objects(kind, body)]
        halved += json.dumps(values).count("\\ud83d")
        events = fed(lane.upstream, HttpHead(200, {"content-type": kind}), [framed(kind, values, Random(1))])
        assert not any(isinstance(event, tuple) for event in events), events
        assert any(isinstance(event, Finish) for event in events), body
    assert halved


def cut(value: Any) -> Any:
    """The same with half an emoji behind what is said."""
    if isinstance(value, list):
        return [cut(each) for each in value]
    if not isinstance(value, dict):
        return value
    said = ("text", "content", "delta", "thinking")
    return {k: v + "\ud83d" if k in said and isinstance(v, str) and v else cut(v) for k, v in value.items()}


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_a_good_answer_that_was_damaged(lane: Lane, seed: int) -> None:
    dice = Random(seed)
    kind, body = dice.choice(GOOD[lane.name])
    broken = bytearray(body)
    for _ in range(dice.randrange(1, 5)):
        at, size = dice.randrange(len(broken) + 1), dice.randrange(1, 40)
        match dice.randrange(5):
            case 0:
                broken[at : at + 1] = dice.randbytes(1)
            case 1:
                del broken[at : at + size]
            case 2:
                broken[at:at] = broken[at : at + size]
            case 3:
                del broken[at:]
            case _:
                broken[at:] = dice.choice(GOOD[lane.name])[1][at:]
    holds(lane, kind, bytes(broken), dice)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_members_of_the_right_names_with_anything_in_them(lane: Lane, seed: int) -> None:
    """Good answers' JSON with some values exchanged, in the framing it had."""
    dice = Random(seed)
    kind, body = dice.choice(GOOD[lane.name])
    values = [exchanged(value, dice) for value in objects(kind, body)]
    holds(lane, kind, framed(kind, values, dice), dice)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_bytes_and_json_of_any_kind(lane: Lane, seed: int) -> None:
    dice = Random(seed)
    kind = dice.choice([SSE, JSON, LINES, BINARY, "text/html", ""])
    body = dice.randbytes(dice.randrange(200)) if dice.random() < 0.3 else framed(kind, [odd(dice, 3)], dice)
    holds(lane, kind, body, dice)


def odd(dice: Random, depth: int) -> Any:
    """Anything, made of the members that answers have."""
    what = dice.random()
    if depth == 0 or what < 0.3:
        return dice.choice(ODD)
    if what < 0.45:
        return dice.choice(NAMES)
    if what < 0.6:
        return [odd(dice, depth - 1) for _ in range(dice.randrange(4))]
    return {dice.choice(NAMES): odd(dice, depth - 1) for _ in range(dice.randrange(5))}


def objects(kind: str, body: bytes) -> list[Any]:
    """The JSON values of an answer; of Amazon's frames those of their payloads."""
    if kind == BINARY:
        return [json.loads(piece) for piece in payloads(body)]
    if kind == JSON:
        return [json.loads(body)]
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def payloads(body: bytes) -> list[bytes]:
    out, at = [], 0
    while at < len(body):
        size, head = int.from_bytes(body[at : at + 4], "big"), int.from_bytes(body[at + 4 : at + 8], "big")
        out.append(body[at + 12 + head : at + size - 4])
        at += size
    return out


def exchanged(value: Any, dice: Random) -> Any:
    if dice.random() < 0.06:
        return odd(dice, 2)
    if isinstance(value, dict):
        return {name: exchanged(member, dice) for name, member in value.items() if dice.random() > 0.02}
    return [exchanged(item, dice) for item in value] if isinstance(value, list) else value


FRAMES = ("chunk", "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "metadata", "x")


def framed(kind: str, values: list[Any], dice: Random) -> bytes:
    texts = [json.dumps(value) for value in values]
    if kind == BINARY:
        return b"".join(aws_event(dice.choice(FRAMES), text.encode()) for text in texts)
    if kind == SSE:
        return "".join(f"data: {text}\n\n" for text in texts).encode()
    return "\n".join(texts).encode()


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_an_error_of_any_kind_is_one_fault_with_something_to_say(lane: Lane, seed: int) -> None:
    dice = Random(seed)
    said = {"error": odd(dice, 3), "message": odd(dice, 1), "type": odd(dice, 1), "code": odd(dice, 1)}
    body = dice.randbytes(50) if dice.random() < 0.2 else json.dumps(dice.choice([said, odd(dice, 3)])).encode()
    headers = {
        "content-type": JSON,
        "retry-after": dice.choice(["", "7", "-1", "nan", "Mon, 30 Nov 2026 00:00:00 GMT"]),
    }
    fault = lane.upstream.fault(HttpHead(dice.randrange(201, 600), headers), body)
    assert isinstance(fault, UpstreamFault)
    assert fault.message
    assert fault.retry_after is None or 0 <= fault.retry_after < float("inf")

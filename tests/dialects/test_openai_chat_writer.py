"""What callers of the chat dialect are answered: bytes, the published schema, and the way back through the reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import (
    BadRequest,
    Fault,
    Internal,
    NotFound,
    Unavailable,
    UpstreamCredential,
    UpstreamLimited,
    UpstreamLost,
)
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt, Stamp
from routebook.dialects.openai_chat import SURFACE
from tests.dialects.chat_cases import JSON, SSE, hello, read_once
from tests.exchanges.harness import facts

STAMP = Stamp("gen-1790000000-abcdefghijklmnopqrst", 1790000000, "acme/large", "Acme")
USAGE = Usage(prompt=9, completion=12, reasoning=5, cached=3, cache_write=1, cache_write_1h=1, image_completion=0)
CHARGE = Charge(
    total=Decimal("0.0000375"),
    upstream=Decimal("0.00003"),
    upstream_prompt=Decimal("0.0000075"),
    upstream_completion=Decimal("0.0000225"),
)
RECEIPT = Receipt(USAGE, CHARGE)

ANSWER: list[Event] = [
    Start("up-1", "large-2026", "default", "fp_1"),
    Delta(role="assistant", text=""),
    Delta(reasoning="hm "),
    Delta(text="Hé"),
    Delta(text="llo"),
    Delta(tool_calls=[ToolDelta(0, "call_a", "f", "")]),
    Delta(tool_calls=[ToolDelta(0, arguments='{"x":1}')]),
    Delta(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]),
    Delta(annotations=[{"type": "url_citation", "url_citation": {"url": "https://x.test", "title": "X"}}]),
    Delta(
        extra={"channel": "final", "choice.seed": 7, "answer.citations": ["https://x.test"]},
        logprobs={"content": [{"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": []}], "refusal": None},
    ),
    Finish("tool_calls", "tool_use"),
    Counted(USAGE),
]


def answered(
    events: Sequence[Event], stream: bool, receipt: Receipt = RECEIPT, fault: Fault | None = None, **members: Any
) -> bytes:
    writer = SURFACE.writer(hello(stream=stream, **members))
    writer.start(STAMP)
    out = b"".join(writer.feed(event) for event in events)
    if not stream:
        assert out == b""
    if fault is not None:
        out += writer.fault(fault) or b""
    return out + writer.end(receipt)


def chunks(data: bytes) -> list[dict[str, Any]]:
    frames = data.decode().split("\n\n")
    assert frames[-1] == ""
    assert frames[-2] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: "), parse_float=Decimal) for frame in frames[:-2]]


def body(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data, parse_float=Decimal)
    return value


EXPECTED_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "total_tokens": 21,
    "cost": Decimal("0.0000375"),
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    "cost_details": {
        "upstream_inference_cost": Decimal("0.00003"),
        "upstream_inference_prompt_cost": Decimal("0.0000075"),
        "upstream_inference_completions_cost": Decimal("0.0000225"),
    },
    "completion_tokens_details": {"reasoning_tokens": 5, "image_tokens": 0},
}


def test_a_stream_is_stamped_chunks_then_usage_then_done() -> None:
    got = chunks(answered(ANSWER, stream=True))
    assert all(
        (chunk["id"], chunk["model"], chunk["provider"], chunk["created"], chunk["object"])
        == (STAMP.id, "acme/large", "Acme", 1790000000, "chat.completion.chunk")
        for chunk in got
    )
    assert all(chunk["system_fingerprint"] == "fp_1" and chunk["service_tier"] == "default" for chunk in got)
    deltas = [chunk["choices"][0]["delta"] for chunk in got[:-1]]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert "".join(delta.get("content", "") for delta in deltas) == "Héllo"
    assert deltas[0]["reasoning"] == "hm "
    assert deltas[0]["reasoning_details"][0]["text"] == "hm "
    assert deltas[3]["tool_calls"] == [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}
    ]
    assert deltas[4]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"x":1}'}}]
    assert got[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert got[-2]["choices"][0]["native_finish_reason"] == "tool_use"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in got[:-2])
    assert got[-1]["choices"] == []
    assert got[-1]["usage"] == EXPECTED_USAGE
    assert all("usage" not in chunk for chunk in got[:-1])


def test_what_only_the_provider_sends_goes_back_to_its_own_level() -> None:
    chunk = next(chunk for chunk in chunks(answered(ANSWER, stream=True)) if "citations" in chunk)
    assert chunk["citations"] == ["https://x.test"]
    assert chunk["choices"][0]["seed"] == 7
    assert chunk["choices"][0]["delta"] == {"channel": "final"}
    whole = body(answered(ANSWER, stream=False))
    assert whole["citations"] == ["https://x.test"]
    assert whole["choices"][0]["seed"] == 7
    assert whole["choices"][0]["message"]["channel"] == "final"


def test_a_whole_answer_folds_everything() -> None:
    got = body(answered(ANSWER, stream=False))
    assert list(got)[:5] == ["id", "object", "created", "model", "provider"]
    assert (got["object"], got["system_fingerprint"], got["service_tier"]) == ("chat.completion", "fp_1", "default")
    (choice,) = got["choices"]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("tool_calls", "tool_use")
    message = choice["message"]
    assert (message["role"], message["content"], message["refusal"], message["reasoning"]) == (
        "assistant",
        "Héllo",
        None,
        "hm ",
    )
    assert message["tool_calls"] == [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    ]
    assert len(message["images"]) == 1
    assert len(message["annotations"]) == 1
    assert choice["logprobs"]["content"][0]["token"] == "a"
    assert got["usage"] == EXPECTED_USAGE


def test_the_fingerprint_is_always_there_in_a_whole_answer() -> None:
    got = body(answered([Delta(text="x"), Finish("stop", "stop")], stream=False))
    assert got["system_fingerprint"] is None
    assert "service_tier" not in got


@pytest.mark.parametrize("members", [{"reasoning": {"exclude": True}}, {"include_reasoning": False}])
@pytest.mark.parametrize("stream", [True, False])
def test_excluded_reasoning_is_not_shown_but_counted(stream: bool, members: dict[str, Any]) -> None:
    events: list[Event] = [Delta(reasoning="secret", reasoning_details=[{"type": "reasoning.text", "text": "secret"}])]
    data = answered([*events, Delta(text="x"), Finish("stop", "stop")], stream=stream, **members)
    assert b"secret" not in data
    assert b'"reasoning_tokens":5' in data


def test_money_is_written_with_exactly_its_digits() -> None:
    data = answered([Finish("stop")], stream=True, receipt=Receipt(USAGE, Charge(Decimal("0.1234567890123456789"))))
    assert b'"cost":0.1234567890123456789' in data


def test_an_unpriced_answer_costs_nothing_and_has_no_cost_details() -> None:
    usage = body(answered([Finish("stop")], False, Receipt(Usage(), Charge(unpriced=True), is_byok=True)))["usage"]
    assert (usage["cost"], usage["cost_details"], usage["is_byok"]) == (0, None, True)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (0, 0, 0)


CUT = UpstreamLost("The connection to the provider failed.", provider_code="reset", metadata={"kind": "x"})


def test_a_stream_that_fails_says_so_in_a_last_choice_and_still_ends() -> None:
    got = chunks(answered([Delta(text="ha")], stream=True, fault=CUT))
    bad = got[-2]
    assert bad["error"] == {
        "code": 502,
        "message": "The connection to the provider failed.",
        "metadata": {"error_type": "provider_unavailable", "provider_code": "reset"},
    }
    assert bad["choices"][0]["finish_reason"] == "error"
    assert bad["choices"][0]["delta"] == {"content": ""}
    assert got[-1]["usage"]["completion_tokens"] == 12


def test_a_whole_answer_that_fails_half_way_keeps_its_text() -> None:
    (choice,) = body(answered([Delta(text="ha")], stream=False, fault=CUT))["choices"]
    assert choice["finish_reason"] == "error"
    assert choice["message"]["content"] == "ha"
    assert choice["error"]["code"] == 502
    assert choice["error"]["metadata"]["error_type"] == "provider_unavailable"


def test_why_a_model_cannot_be_had_stands_in_the_error_itself() -> None:
    why = {"code": "no_endpoints", "retryable": False, "requested_models": ["a/b"]}
    body = json.loads(SURFACE.error_body(NotFound("No endpoint.", metadata={"availability": why}), None))
    assert body["error"] == {
        "code": 404,
        "message": "No endpoint.",
        "metadata": {"error_type": "not_found"},
        "availability": why,
    }


def test_an_error_body_is_the_envelope_and_tells_nothing_of_what_broke_inside() -> None:
    envelope = json.loads(
        SURFACE.error_body(UpstreamLimited("slow", provider_code="rpm", metadata={"kind": "rate"}), "gen-1")
    )
    assert envelope == {
        "error": {
            "code": 429,
            "message": "slow",
            "metadata": {"kind": "rate", "error_type": "rate_limit_exceeded", "provider_code": "rpm"},
        }
    }
    inside = json.loads(SURFACE.error_body(Internal("KeyError at x.py", metadata={"where": "x"}), None))
    assert inside["error"]["code"] == 500
    assert "KeyError" not in inside["error"]["message"]
    assert inside["error"]["metadata"] == {"error_type": "server"}


def test_only_a_stream_has_a_sign_of_life() -> None:
    assert SURFACE.writer(hello(stream=True)).keepalive() == b": ROUTEBOOK PROCESSING\n\n"
    assert SURFACE.writer(hello()).keepalive() == b""
    assert SURFACE.writer(hello(stream=True)).content_type == SSE
    assert SURFACE.writer(hello()).content_type == JSON


# --- the published schema ---------------------------------------------------------------------------------------------

OPENAPI = Path(__file__).resolve().parents[3] / "shared" / "spec" / "openrouter-openapi.yaml"


@cache
def document() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    value: dict[str, Any] = yaml.load(OPENAPI.read_text(encoding="utf-8"), Loader=loader)
    return value


@pytest.fixture
def valid() -> Callable[[str, Any], None]:
    if not OPENAPI.exists():
        pytest.skip("the published schema is absent: it is looked for in ../shared/spec/openrouter-openapi.yaml")

    def check(name: str, value: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(value)

    return check


def test_answers_validate_against_the_published_schema(valid: Callable[[str, Any], None]) -> None:
    unpriced = Receipt(Usage(), Charge(unpriced=True))
    for receipt in (RECEIPT, unpriced):
        for fault in (None, CUT):
            valid("ChatResult", json.loads(answered(ANSWER, False, receipt, fault)))
            for chunk in answered(ANSWER, True, receipt, fault).decode().split("\n\n")[:-2]:
                valid("ChatStreamChunk", json.loads(chunk.removeprefix("data: ")))


def test_the_schema_check_can_fail(valid: Callable[[str, Any], None]) -> None:
    bad = json.loads(answered(ANSWER, False))
    bad["choices"][0]["finish_reason"] = "tired"
    del bad["system_fingerprint"]
    with pytest.raises(jsonschema_rs.ValidationError):
        valid("ChatResult", bad)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (BadRequest("x"), "BadRequestResponse"),
        (UpstreamLimited("x", provider_code="c"), "TooManyRequestsResponse"),
        (Internal(), "InternalServerResponse"),
        (UpstreamCredential(), "BadGatewayResponse"),
        (Unavailable(), "ServiceUnavailableResponse"),
    ],
)
def test_error_bodies_validate_against_the_published_schema(
    valid: Callable[[str, Any], None], fault: Fault, name: str
) -> None:
    valid(name, json.loads(SURFACE.error_body(fault, None)))


# --- write, then read -------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
PIECES = st.lists(
    st.one_of(
        st.builds(lambda text: Delta(text=text), WORDS),
        st.builds(lambda text: Delta(reasoning=text), WORDS),
        st.builds(lambda index, text: Delta(tool_calls=[ToolDelta(index, arguments=text)]), st.integers(0, 2), WORDS),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(PIECES, st.sampled_from(["stop", "length", "content_filter"]), st.booleans())
def test_what_is_written_reads_back_as_the_same(pieces: list[Delta], reason: str, stream: bool) -> None:
    events: list[Event] = [Start("up", "m")]
    begun: set[int] = set()
    for piece in pieces:
        for call in piece.tool_calls or ():
            # A provider's calls begin in order: the first piece of each has its id and name.
            for index in range(call.index + 1):
                if index not in begun:
                    begun.add(index)
                    events.append(Delta(tool_calls=[ToolDelta(index, f"call_{index}", f"f{index}")]))
        events.append(piece)
    events.append(Finish(reason, "native"))
    data = answered(events, stream)
    again = read_once(data, SSE if stream else JSON)
    assert not any(isinstance(event, Failed) for event in again)
    before, after = facts(events), facts(again)
    assert (after.text, after.reasoning, after.tool_calls) == (before.text, before.reasoning, before.tool_calls)
    assert (after.finish, after.native) == ("tool_calls" if begun and reason == "stop" else reason, "native")
    assert after.usage is not None
    assert (after.usage.prompt, after.usage.completion) == (9, 12)

"""The short way of common requests reads and writes exactly what the full way does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from routebook.core.call import Call, CannotExpress, Loss, Losses
from routebook.core.errors import BadRequest
from routebook.dialects.openai_chat import SURFACE, ChatUpstream, surface
from routebook.dialects.openai_chat.common_request import BYTES_MAX, COMMON_MEMBERS
from routebook.dialects.vendors import Quirks, Vendor
from tests.dialects.chat_cases import endpoint

Read = tuple[Call | None, str]


def read(body: bytes, headers: dict[str, str], short: bool = True) -> Read:
    """(the call, why there is none)."""
    with pytest.MonkeyPatch.context() as patch:
        if not short:
            patch.setattr(surface, "common_call", lambda body, session: None)
        try:
            return SURFACE.read(body, headers), ""
        except BadRequest as error:
            return None, error.message


def both_ways(body: bytes, headers: dict[str, str] | None = None) -> Call | None:
    """What is read of these bytes, after a look at what the full way makes of them."""
    short, why = read(body, headers or {})
    full, said = read(body, headers or {}, short=False)
    assert why == said
    if short is None or full is None:
        assert short is full
        return None
    assert not full.common
    assert replace(short, common=False) == full
    assert list(short.raw) == list(full.raw)
    return short


HELLO: dict[str, Any] = {"model": "acme/large", "messages": [{"role": "user", "content": "Hi"}]}
EVERY: dict[str, Any] = {
    **HELLO,
    "stream": True,
    "stream_options": {"include_usage": False},
    "temperature": 1,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "frequency_penalty": -2,
    "presence_penalty": 2,
    "repetition_penalty": 1.1,
    "seed": -7,
    "max_tokens": 9,
    "stop": ["a", "b"],
    "n": 2,
}


def test_every_common_member_takes_the_short_way() -> None:
    assert set(EVERY) | {"max_completion_tokens"} == COMMON_MEMBERS
    for body in (HELLO, EVERY, {**HELLO, "max_completion_tokens": 5}):
        found = both_ways(json.dumps(body).encode())
        assert found is not None
        assert found.common


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"model": None},
        {"model": 7},
        {"models": ["b"]},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [{"role": "user", "content": "Hi", "name": "n"}]},
        {"messages": [{"role": "user", "content": "Hi", "zzz": 1}]},
        {"messages": [{"role": "tool", "content": "Hi"}]},
        {"messages": [{"role": "tool", "content": "Hi", "tool_call_id": "c"}]},
        {"messages": [{"role": "developer", "content": "Hi"}]},
        {"messages": [{"role": "nobody", "content": "Hi"}]},
        {"messages": [{"content": "Hi"}]},
        {"messages": "Hi"},
        {"temperature": None},
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"top_p": 1.5},
        {"frequency_penalty": 3},
        {"presence_penalty": -3},
        {"repetition_penalty": 9},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"n": 0},
        {"stop": "a"},
        {"stream": None},
        {"stream": "yes"},
        {"stream_options": None},
        {"stream_options": {"include_usage": None}},
        {"stream_options": {"include_obfuscation": False}},
        {"user": "u"},
        {"zzz": 1},
        {"tools": []},
        {"route": "fallback"},
    ],
)
def test_a_request_with_something_more_reads_the_same_both_ways(change: dict[str, Any]) -> None:
    found = both_ways(json.dumps({**HELLO, **change}).encode())
    assert found is None or not found.common


WHOLE = json.dumps(HELLO).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"[]",
        WHOLE[:-1],
        WHOLE + b"x",
        WHOLE + b" \n",
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.replace(b"Hi", b"\xff"),
        WHOLE.replace(b"Hi", b"\xed\xa0\x80"),
        WHOLE.replace(b"Hi", b"\\ud800"),
        WHOLE.replace(b"Hi", b"\xc3\xbc \\u00fc \\ud83d\\ude00"),
        WHOLE.replace(b"Hi", b"{[" * 200),
        WHOLE.replace(b"acme/large", b"a\xff"),
        WHOLE.replace(b"}]", b"}]" + b", " + b'"zzz": ' + b"[" * 80 + b"]" * 80),
        WHOLE[:-1] + b',"model":"b"}',
        WHOLE[:-1] + b',"mod\\u0065l":"b"}',
        WHOLE[:-1] + b',"seed":' + b"9" * 30 + b"}",
        WHOLE[:-1] + b',"temperature":1e400}',
        WHOLE[:-1] + b',"stop":"' + b"x" * BYTES_MAX + b'"}',
    ],
)
def test_bytes_that_are_not_quite_a_request_read_the_same_both_ways(body: bytes) -> None:
    both_ways(body)


def test_the_session_of_the_header_is_read_and_checked_both_ways() -> None:
    found = both_ways(WHOLE, {"x-session-id": "s"})
    assert found is not None
    assert found.session_id == "s"
    assert both_ways(WHOLE, {"x-session-id": "s" * 257}) is None


def test_a_body_that_is_too_large_to_be_decoded_twice_is_not_tried() -> None:
    found = both_ways(WHOLE.replace(b"Hi", b"x" * BYTES_MAX))
    assert found is not None
    assert not found.common


# --- what is sent -----------------------------------------------------------------------------------------------------


def sent(call: Call, vendor: Vendor, supported: set[str] | None, strict: bool) -> tuple[Any, list[Loss], str]:
    """(the body as JSON, losses, what it cannot express)."""
    losses = Losses(strict)
    try:
        request = ChatUpstream({"v": vendor}).build(call, endpoint(vendor, supported), "sk-secret", losses)
    except CannotExpress as error:
        return None, losses.items, str(error)
    return (json.loads(request.body), request.headers, request.url), losses.items, ""


def same_request(call: Call, quirks: Quirks, supported: set[str] | None = None, strict: bool = False) -> Any:
    vendor = Vendor("v", "V", "", quirks=quirks)
    short = sent(call, vendor, supported, strict)
    assert short == sent(replace(call, common=False), vendor, supported, strict)
    return short


def test_an_endpoint_without_quirks_gets_the_callers_own_bytes() -> None:
    rest = b'"messages":[ {"content":"\\u00e9 \\/","role":"user"} ],"temperature":0.70,"top_p":1e-1}'
    call = SURFACE.read(b'{"model":"m",' + rest, {})
    assert call.common
    request = ChatUpstream().build(call, endpoint(), None, Losses())
    assert request.body == b'{"model":"large-2026",' + rest


def test_a_limit_that_was_clamped_on_its_way_is_what_is_sent() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        call = SURFACE.read(json.dumps({**HELLO, name: 900}).encode(), {})
        clamped = replace(call, chat=replace(call.chat, max_tokens=50))
        (body, _, _), _, _ = same_request(clamped, Quirks(max_tokens="max_tokens"))
        assert body["max_tokens"] == 50
        same_request(replace(call, chat=replace(call.chat, max_tokens=None)), Quirks())


def test_headers_are_the_same_object_until_the_credential_changes() -> None:
    upstream, offered, call = ChatUpstream(), endpoint(), SURFACE.read(WHOLE, {})
    first, again, other = [upstream.build(call, offered, secret, Losses()).headers for secret in ("a", "a", "b")]
    assert first is again
    assert dict(other)["authorization"] == "Bearer b"
    assert "authorization" not in dict(upstream.build(call, offered, None, Losses()).headers)


REQUESTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["acme/large", "ü"]),
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "system", "assistant", "developer"]), "content": st.text(max_size=9)}
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "stream": st.booleans(),
        "stream_options": st.sampled_from([{}, {"include_usage": True}, {"include_usage": False}]),
        "temperature": st.sampled_from([0, 0.5, 2, None]),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(0, 99),
        "seed": st.integers(-9, 9),
        "max_tokens": st.integers(1, 99),
        "max_completion_tokens": st.integers(1, 99),
        "stop": st.one_of(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=2)),
        "n": st.integers(1, 3),
        "presence_penalty": st.floats(-2, 2),
    },
)
QUIRKS = st.builds(
    Quirks,
    stream_usage=st.booleans(),
    max_tokens=st.sampled_from([None, "max_tokens", "max_completion_tokens"]),
    history=st.sampled_from(["keep", "strip", "reasoning_content"]),
    cache=st.sampled_from(["keep", "breakpoints", "strip"]),
    developer=st.booleans(),
    drop=st.lists(st.sampled_from(["seed", "n", "top_k"]), max_size=2).map(tuple),
    accepts=st.sampled_from([(), ("temperature", "max_tokens", "random_seed"), ("top_p", "stop")]),
    rename=st.sampled_from([{}, {"seed": "random_seed"}, {"seed": "n"}, {"top_k": "k"}]),
    headers=st.sampled_from([{}, {"x-a": "b"}]),
)
SUPPORTED = st.none() | st.sets(st.sampled_from(["temperature", "top_p", "seed", "max_tokens", "stop"]))


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.booleans(), QUIRKS, SUPPORTED, st.booleans())
def test_any_request_is_read_and_sent_the_same_both_ways(
    body: dict[str, Any], ascii: bool, quirks: Quirks, supported: set[str] | None, strict: bool
) -> None:
    call = both_ways(json.dumps(body, ensure_ascii=ascii).encode())
    if call is not None:
        same_request(call, quirks, supported, strict)

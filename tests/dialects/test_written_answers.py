"""Answers as callers of Anthropic's, Gemini's and the text API get them: what the recorded ones do not have in them,
and properties that hold for all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.call import Call, Chat, Message, ReasoningWish
from routebook.core.errors import BadRequest, Internal, RateLimited, UpstreamLost
from routebook.core.events import Counted, Delta, Event, Finish, Plain, Start, ToolDelta
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects.anthropic import SURFACE as MESSAGES
from routebook.dialects.anthropic import UPSTREAM as ANTHROPIC
from routebook.dialects.base import Receipt, Surface, Upstream, Writer
from routebook.dialects.gemini import UPSTREAM as GEMINI
from routebook.dialects.gemini_surface import GeminiSurface
from routebook.dialects.openai_chat.text import TextSurface
from routebook.dialects.sealing import BEGINS, seal, unseal
from routebook.wire.http import HttpHead
from tests.dialects.test_openai_chat_writer import CHARGE, STAMP
from tests.exchanges.harness import facts

TEXT = TextSurface()
USAGE = Usage(prompt=100, completion=20, reasoning=5, cached=40, cache_write=10, cache_write_1h=4)
RECEIPT = Receipt(USAGE, CHARGE)


def writer(surface: Surface, stream: bool, **members: Any) -> Writer:
    chat = Chat([Message("user", "Say")], **members)
    made = surface.writer(Call(surface=surface.name, model="m", chat=chat, raw={}, stream=stream))
    made.start(STAMP)
    return made


def messages(events: Iterable[Event], stream: bool = False, **members: Any) -> Any:
    """The message, or the data of the stream's events."""
    made = writer(MESSAGES, stream, **members)
    body = b"".join([made.feed(event) for event in events]) + made.end(RECEIPT)
    if not stream:
        return json.loads(body)
    return [json.loads(frame.split("\n")[1][6:]) for frame in body.decode().split("\n\n") if frame]


def gemini(events: Iterable[Event], stream: bool = False, **members: Any) -> Any:
    """The answer, or the frames of the stream."""
    made = writer(GeminiSurface("m", stream, True), stream, **members)
    body = b"".join([made.feed(event) for event in events]) + made.end(RECEIPT)
    if not stream:
        return json.loads(body)
    return [json.loads(frame[6:]) for frame in body.decode().split("\n\n") if frame]


def call_piece(index: int, arguments: str = "", name: str | None = None) -> Delta:
    identity = f"call_{index}" if name else None
    return Delta(tool_calls=[ToolDelta(index, identity, name, arguments)])


# --- Anthropic --------------------------------------------------------------------------------------------------------


def test_pieces_of_parallel_calls_that_come_mixed_become_whole_blocks_one_after_the_other() -> None:
    mixed: list[Event] = [
        call_piece(0, name="f"),
        call_piece(1, name="g"),
        call_piece(0, '{"a":'),
        call_piece(1, '{"b"'),
        call_piece(0, "1}"),
        call_piece(1, ":2}"),
        Delta(text="Done."),
        Finish("tool_calls"),
    ]
    content = messages(mixed)["content"]
    assert [(b["type"], b.get("name"), b.get("input"), b.get("text")) for b in content] == [
        ("tool_use", "f", {"a": 1}, None),
        ("tool_use", "g", {"b": 2}, None),
        ("text", None, None, "Done."),
    ]
    kinds = [event["type"] for event in messages(mixed, stream=True)]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    depth = 0
    for kind in kinds:
        depth += {"content_block_start": 1, "content_block_stop": -1}.get(kind, 0)
        assert depth in (0, 1), "one block is open at a time"


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    content = messages([call_piece(0, "oops", name="f"), Finish("tool_calls")])["content"]
    assert content[0]["input"] == {"arguments": "oops"}


def test_a_call_without_arguments_is_an_empty_object() -> None:
    assert messages([call_piece(0, name="f"), Finish("tool_calls")])["content"][0]["input"] == {}


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop"), "end_turn"),
        (Finish("length", "length"), "max_tokens"),
        (Finish("tool_calls", "stop"), "tool_use"),
        (Finish("content_filter", "SAFETY", message="No."), "refusal"),
        (Finish("stop", "stop", stop_sequence="END"), "stop_sequence"),
        (Finish("stop", "pause_turn"), "pause_turn"),
        (Finish("length", "model_context_window_exceeded"), "model_context_window_exceeded"),
        (Finish("error", "MALFORMED"), None),
    ],
)
def test_every_end_has_its_stop_reason(finish: Finish, reason: str | None) -> None:
    message = messages([Delta(text="x"), finish])
    assert message["stop_reason"] == reason
    assert message["stop_sequence"] == ("END" if reason == "stop_sequence" else None)
    if reason == "refusal":
        assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "No."}


def test_usage_excludes_what_was_cached_and_tells_what_was_written_for_how_long() -> None:
    usage = messages([Start(service_tier="default"), Delta(text="x"), Finish("stop")])["usage"]
    assert {name: usage[name] for name in ("input_tokens", "cache_read_input_tokens", "output_tokens")} == {
        "input_tokens": 46,
        "cache_read_input_tokens": 40,
        "output_tokens": 20,
    }
    assert usage["cache_creation_input_tokens"] == 14
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 4}
    assert usage["output_tokens_details"] == {"thinking_tokens": 5}
    assert usage["service_tier"] == "standard"


def test_reasoning_of_another_provider_can_be_handed_back_even_where_it_is_not_shown() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "In ", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.summary", "summary": "short.", "format": "openai-responses-v1", "index": 0, "id": "rs"},
        {"type": "reasoning.encrypted", "data": "opaque", "format": "openai-responses-v1", "index": 1, "id": "rs"},
    ]
    events: list[Event] = [*(Delta(reasoning_details=[d]) for d in details), Delta(text="So."), Finish("stop")]
    for exclude in (False, True):
        content = messages(events, reasoning=ReasoningWish(exclude=exclude))["content"]
        assert content[0]["thinking"] == ("" if exclude else "In short.")
        body = {"model": "m/x", "messages": [{"role": "assistant", "content": content}]}
        (message,) = MESSAGES.read(json.dumps(body).encode(), {}).chat.messages
        assert message.reasoning_details == [
            {
                "type": "reasoning.summary",
                "summary": "In short.",
                "format": "openai-responses-v1",
                "index": 0,
                "id": "rs",
            },
            details[2],
        ]
        assert message.content == "So."


@pytest.mark.parametrize("exclude", [False, True])
def test_plain_reasoning_can_be_handed_back_even_where_it_is_not_shown(exclude: bool) -> None:
    """DeepSeek and Moonshot want it back in a conversation with tools, and a coding agent asks not to see it."""
    events: list[Event] = [Delta(reasoning="I have "), Delta(reasoning="to look."), call_piece(0, "{}"), Finish("stop")]
    content = messages(events, reasoning=ReasoningWish(exclude=exclude))["content"]
    assert content[0]["thinking"] == ("" if exclude else "I have to look.")
    body = {"model": "m/x", "messages": [{"role": "assistant", "content": content}]}
    (message,) = MESSAGES.read(json.dumps(body).encode(), {}).chat.messages
    assert message.reasoning_details is not None
    (detail,) = message.reasoning_details
    assert (detail["type"], detail["text"]) == ("reasoning.text", "I have to look.")


def test_thinking_that_says_nothing_at_all_is_not_handed_on() -> None:
    content = [{"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": "So."}]
    body = {"model": "m/x", "messages": [{"role": "assistant", "content": content}]}
    (message,) = MESSAGES.read(json.dumps(body).encode(), {}).chat.messages
    assert message.reasoning_details is None


def test_an_error_in_a_stream_is_its_last_event_and_a_whole_answer_becomes_the_error() -> None:
    made = writer(MESSAGES, True)
    made.feed(Delta(text="x"))
    last = made.fault(UpstreamLost("Lost."))
    assert last is not None
    assert last.startswith(b"event: error\n")
    assert json.loads(last.split(b"\n")[1][6:]) == {
        "type": "error",
        "error": {"type": "api_error", "message": "Lost.", "error_type": "provider_unavailable"},
    }
    assert made.end(RECEIPT) == b""
    assert writer(MESSAGES, False).fault(UpstreamLost()) is None


def test_errors_have_the_types_of_the_dialect_and_inner_ones_say_nothing() -> None:
    said = json.loads(MESSAGES.error_body(RateLimited("Slow.", metadata={"a": 1}), "gen-1"))
    assert said == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow.", "error_type": "rate_limit_exceeded"},
        "request_id": "gen-1",
        "metadata": {"a": 1},
    }
    inner = json.loads(MESSAGES.error_body(Internal("secret path", metadata={"secret": 1}), None))
    assert "secret" not in json.dumps(inner)
    assert inner["error"]["type"] == "api_error"


def test_who_waits_is_pinged() -> None:
    assert writer(MESSAGES, True).keepalive() == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert writer(MESSAGES, False).keepalive() == b""


# --- Gemini -----------------------------------------------------------------------------------------------------------


def test_calls_come_whole_with_the_end_and_their_signatures() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    first = Delta(tool_calls=[ToolDelta(0, "c1", "f", '{"a":', extra=signed)])
    frames = gemini([first, call_piece(0, "1}"), call_piece(1, "{}", name="g"), Finish("tool_calls")], stream=True)
    parts = frames[-1]["candidates"][0]["content"]["parts"]
    assert parts == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "g", "args": {}, "id": "call_1"}},
    ]
    assert frames[-1]["candidates"][0]["finishReason"] == "STOP"


def test_thoughts_are_hidden_from_who_did_not_ask_for_them_but_can_be_handed_back() -> None:
    detail = {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
    events: list[Event] = [Delta(reasoning="Hm.", reasoning_details=[detail]), Delta(text="So."), Finish("stop")]
    parts = gemini(events)["candidates"][0]["content"]["parts"]
    assert [(part.get("thought"), part["text"]) for part in parts] == [(True, ""), (None, "So.")]
    assert unseal(parts[0]["thoughtSignature"]) == detail
    shown = gemini(events, reasoning=ReasoningWish(enabled=True))["candidates"][0]["content"]
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, shown]}
    message = GeminiSurface("m").read(json.dumps(body).encode(), {}).chat.messages[1]
    assert message.reasoning_details == [detail]


def test_geminis_usage_includes_the_cache_and_excludes_thoughts() -> None:
    usage = gemini([Delta(text="x"), Finish("stop")])["usageMetadata"]
    assert usage.pop("cost") > 0
    assert usage == {
        "promptTokenCount": 100,
        "candidatesTokenCount": 15,
        "totalTokenCount": 120,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 40,
    }


def test_citations_are_sources_with_places_in_bytes() -> None:
    cited = {"url": "https://a", "title": "A", "start_index": 2, "end_index": 4}
    note = {"type": "url_citation", "url_citation": cited}
    answer = gemini([Delta(text="Öl ist"), Delta(annotations=[note]), Finish("stop")])
    assert answer["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 3, "endIndex": 5, "text": " i"}, "groundingChunkIndices": [0]}
        ],
    }


def test_several_choices_are_candidates_and_log_probabilities_travel() -> None:
    token = {"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "y", "logprob": -1.5}]}
    events: list[Event] = [
        Delta(text="x", logprobs={"content": [token]}),
        Delta(index=1, text="z"),
        Finish("stop"),
        Finish("length", index=1),
    ]
    first, second = gemini(events)["candidates"]
    assert first["logprobsResult"] == {
        "chosenCandidates": [{"token": "x", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "y", "logProbability": -1.5}]}],
    }
    assert (second["index"], second["finishReason"]) == (1, "MAX_TOKENS")


def test_geminis_errors_have_its_statuses_and_say_when_to_come_again() -> None:
    said = json.loads(GeminiSurface().error_body(RateLimited("Slow.", retry_after=2), "gen-1"))["error"]
    assert (said["code"], said["status"], said["message"]) == (429, "RESOURCE_EXHAUSTED", "Slow.")
    assert said["details"][0]["metadata"] == {"generation_id": "gen-1"}
    assert said["details"][1]["retryDelay"] == "2s"
    assert json.loads(GeminiSurface().error_body(BadRequest("No."), None))["error"]["status"] == "INVALID_ARGUMENT"


def test_an_array_is_whole_json_whatever_happens() -> None:
    made = writer(GeminiSurface("m", True, False), True)
    body = made.keepalive() + made.feed(Delta(text="x"))
    fault = made.fault(UpstreamLost("Lost."))
    assert fault is not None
    frames = json.loads(body + fault + made.end(RECEIPT))
    assert frames[-1]["error"]["code"] == 502


# --- text -------------------------------------------------------------------------------------------------------------


def text(events: Iterable[Event], stream: bool = False, **raw: Any) -> Any:
    body = {"model": "m/x", "prompt": "Once", "stream": stream, **raw}
    made = TEXT.writer(TEXT.read(json.dumps(body).encode(), {}))
    made.start(STAMP)
    said = b"".join([made.feed(event) for event in events]) + made.end(RECEIPT)
    if not stream:
        return json.loads(said)
    return [json.loads(frame[6:]) for frame in said.decode().split("\n\n") if frame and not frame.endswith("[DONE]")]


def test_a_text_completion_has_text_and_may_begin_with_its_prompt() -> None:
    events: list[Event] = [Delta(text=" upon"), Delta(text=" a time"), Finish("length", "length")]
    body = text(events)
    assert (body["object"], body["choices"][0]["text"]) == ("text_completion", " upon a time")
    assert body["choices"][0]["finish_reason"] == "length"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (100, 20)
    assert text(events, echo=True)["choices"][0]["text"] == "Once upon a time"
    pieces = [c["text"] for each in text(events, stream=True, echo=True) for c in each["choices"]]
    assert "".join(pieces) == "Once upon a time"


def test_log_probabilities_have_the_legacy_shape() -> None:
    def piece(token: str) -> Delta:
        row = {"token": token, "logprob": -1, "top_logprobs": [{"token": token, "logprob": -1}]}
        return Delta(text=token, logprobs={"content": [row]})

    body = text([piece(" upon"), piece(" a"), Finish("stop")], logprobs=1)
    assert body["choices"][0]["logprobs"] == {
        "tokens": [" upon", " a"],
        "token_logprobs": [-1, -1],
        "top_logprobs": [{" upon": -1}, {" a": -1}],
        "text_offset": [0, 5],
    }


def test_what_a_chat_cannot_be_told_is_named() -> None:
    found = TEXT.read(b'{"model": "m/x", "prompt": ["Once"], "suffix": ".", "best_of": 3, "tokens": 7}', {})
    assert found.chat.messages == [Message("user", "Once")]
    assert [loss.parameter for loss in found.untold] == ["suffix", "best_of", "tokens"]


def test_an_answer_that_fails_half_way_keeps_what_came() -> None:
    made = writer(TEXT, False)
    made.feed(Delta(text="half"))
    assert made.fault(UpstreamLost("Lost.")) == b""
    choice = json.loads(made.end(RECEIPT))["choices"][0]
    assert (choice["text"], choice["finish_reason"], choice["error"]["code"]) == ("half", "error", 502)


# --- for all ----------------------------------------------------------------------------------------------------------

WORDS = st.text(max_size=12)
DETAILS = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"])},
    optional={
        "text": WORDS,
        "summary": WORDS,
        "data": WORDS,
        "signature": WORDS,
        "format": st.sampled_from(["unknown", "anthropic-claude-v1", "google-gemini-v1", "openai-responses-v1"]),
        "index": st.integers(0, 2),
        "id": WORDS,
    },
)
PIECES = st.builds(
    ToolDelta,
    index=st.integers(0, 2),
    id=st.none() | WORDS,
    name=st.none() | WORDS,
    arguments=st.sampled_from(["", "{", "}", "{}", '{"a":1}', '"', "1"]),
)
DELTAS = st.builds(
    Delta,
    index=st.integers(0, 1),
    text=st.none() | WORDS,
    reasoning=st.none() | WORDS,
    reasoning_details=st.none() | st.lists(DETAILS, max_size=3),
    tool_calls=st.none() | st.lists(PIECES, max_size=3),
    refusal=st.none() | WORDS,
    images=st.none() | st.just([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]),
    annotations=st.none() | st.just([{"type": "url_citation", "url_citation": {"url": "https://a"}}]),
)
PLAINS = st.builds(Plain, index=st.just(0), texts=st.just([b"a", b"\\n"]), size=st.just(2), chars=st.just(2))
ENDS = st.builds(Finish, reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error"]))
EVENTS = st.lists(st.one_of(DELTAS, PLAINS, st.just(Start(model="x")), st.just(Counted(USAGE))), max_size=12)
SURFACES: list[Surface] = [MESSAGES, GeminiSurface("m", True, True), GeminiSurface("m", True, False), TEXT]


@given(events=EVENTS, end=ENDS, exclude=st.booleans())
def test_whatever_a_provider_says_every_writer_says_valid_json_and_all_of_the_text(
    events: list[Event], end: Finish, exclude: bool
) -> None:
    said = "".join(
        (event.text or "") + (event.refusal or "") if isinstance(event, Delta) else "a\n"
        for event in events
        if isinstance(event, (Delta, Plain)) and event.index == 0
    )
    wish = ReasoningWish(exclude=exclude)
    streamed = messages([*events, end], stream=True, reasoning=wish)
    whole = messages([*events, end], reasoning=wish)
    starts = [event["index"] for event in streamed if event["type"] == "content_block_start"]
    assert starts == list(range(len(starts)))
    assert "".join(e["delta"].get("text", "") for e in streamed if e["type"] == "content_block_delta") == said
    assert "".join(block["text"] for block in whole["content"] if block["type"] == "text") == said
    frames = gemini([*events, end], stream=True, reasoning=wish)
    answer = gemini([*events, end], reasoning=wish)
    for candidates in ([c for f in frames for c in f.get("candidates", ())], answer["candidates"]):
        parts = [p for c in candidates if c["index"] == 0 for p in c.get("content", {}).get("parts", ())]
        assert "".join(part.get("text", "") for part in parts if not part.get("thought")) == said
    assert (
        "".join(c["text"] for each in text([*events, end], stream=True) for c in each["choices"] if not c["index"])
        == said
    )


@given(detail=DETAILS)
def test_a_sealed_detail_is_unsealed_word_for_word(detail: dict[str, Any]) -> None:
    assert unseal(seal(detail)) == detail
    assert seal(detail).startswith(BEGINS)


@given(text=st.text() | st.binary().map(lambda data: BEGINS + data.hex()))
def test_what_is_no_seal_of_ours_is_left_alone(text: str) -> None:
    assert unseal(text) is None or text.startswith(BEGINS)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    """model messages contents prompt system tools tool_choice thinking role content parts type text source input
    functionCall functionResponse inlineData fileData thoughtSignature generationConfig toolConfig signature data
    name id tool_use_id citations stream provider""".split()
)
SHAPES = st.recursive(
    JSONS | st.sampled_from(["user", "model", "assistant", "tool_result", "tool_use", "image", "text", "thinking"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(body=SHAPES | st.dictionaries(NAMES, SHAPES, max_size=6))
def test_no_body_makes_a_surface_raise_anything_but_its_refusal(body: Any) -> None:
    data = json.dumps(body).encode("utf-8", "surrogatepass")
    for surface in SURFACES:
        with suppress(BadRequest):
            surface.read(data, {})


MEMBERS = NAMES | st.sampled_from(
    """index delta message content_block candidates usage usageMetadata promptFeedback finishReason response""".split()
)
KINDS = st.sampled_from(
    "message_start content_block_start content_block_delta content_block_stop message_delta ping".split()
)


@given(frames=st.lists(st.dictionaries(MEMBERS, SHAPES, max_size=5), max_size=5), kind=KINDS)
def test_no_answer_of_a_provider_makes_a_writer_of_its_own_dialect_raise(frames: list[Any], kind: str) -> None:
    streams: dict[Upstream, bytes] = {
        ANTHROPIC: b"".join(
            b"event: x\ndata: " + json.dumps({**frame, "type": kind}).encode("utf-8", "surrogatepass") + b"\n\n"
            for frame in frames
        ),
        GEMINI: b"".join(b"data: " + json.dumps(frame).encode("utf-8", "surrogatepass") + b"\n\n" for frame in frames),
    }
    for upstream, data in streams.items():
        reader = upstream.reader(HttpHead(200, {"content-type": "text/event-stream"}), Mint(1, "x"))
        events = [*reader.feed(data), *reader.end()]
        facts(events)
        for surface in SURFACES:
            for stream in (True, False):
                made = writer(surface, stream)
                for event in events:
                    made.feed(event)
                made.end(RECEIPT)

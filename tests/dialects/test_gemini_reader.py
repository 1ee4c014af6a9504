"""The gemini dialect reads answers: own cases, each fed whole, byte by byte and with trailing junk."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from routebook.core.errors import (
    UpstreamCredential,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
)
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects.gemini import UPSTREAM
from routebook.wire import codec
from routebook.wire.http import HttpHead
from tests.dialects.plainest import plainest

SSE = "text/event-stream"
JSON = "application/json; charset=UTF-8"
JUNK = {SSE: b"\n\ndata: {half\n\ndata: [1]\n\n\xff: x", JSON: b"\n } , { \x00 ]"}


def head(content_type: str, **headers: str) -> HttpHead:
    return HttpHead(200, {"content-type": content_type, **headers})


def fed(pieces: list[bytes], answer: HttpHead) -> list[Any]:
    """Events with failures as (kind, message), so that they compare."""
    reader = UPSTREAM.reader(answer, Mint(1_790_000_000, "seed"))
    events: list[Event] = []
    for piece in pieces:
        events += reader.feed(piece)
    events += reader.end()
    events = plainest(events)
    return [(type(e.fault), e.fault.message) if isinstance(e, Failed) else e for e in events]


def read(body: bytes, content_type: str, **headers: str) -> list[Any]:
    """The events of an answer, equal in all three ways."""
    answer = head(content_type, **headers)
    whole = fed([body], answer)
    assert fed([body[at : at + 1] for at in range(len(body))], answer) == whole
    if not any(isinstance(event, tuple) for event in whole):
        assert fed([body, JUNK[content_type]], answer) == whole
    return whole


def sse(*frames: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\r\n\r\n" for frame in frames)


def frame(*parts: dict[str, Any], finish: str | None = None, **members: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    for name in ("index", "groundingMetadata", "finishMessage", "logprobsResult", "citationMetadata"):
        if name in members:
            candidate[name] = members.pop(name)
    return {"candidates": [candidate], **members}


def stream(*frames: dict[str, Any]) -> list[Any]:
    return read(sse(*frames), SSE)


def unary(value: dict[str, Any]) -> list[Any]:
    return read(json.dumps(value, indent=2).encode(), JSON)


def first(events: list[Any], kind: type[Any]) -> Any:
    return next(event for event in events if isinstance(event, kind))


COUNTS = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}


def test_a_stream_gives_start_deltas_finish_and_usage_in_order() -> None:
    events = stream(
        frame(
            {"text": "Good "}, responseId="r-1", modelVersion="gemini-2.5-flash", usageMetadata={"promptTokenCount": 7}
        ),
        frame({"text": "day"}, finish="STOP", usageMetadata=COUNTS),
    )
    assert events == [
        Start("r-1", "gemini-2.5-flash"),
        Delta(role="assistant", text="Good "),
        Counted(Usage(prompt=7, raw=codec.encode({"promptTokenCount": 7}))),
        Delta(text="day"),
        Finish("stop", "STOP"),
        Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS))),
    ]


def test_a_unary_answer_gives_the_same_events_with_one_delta() -> None:
    events = unary(frame({"text": "Good "}, {"text": "day"}, finish="MAX_TOKENS", responseId="r", usageMetadata=COUNTS))
    assert events == [
        Start("r"),
        Delta(role="assistant", text="Good day"),
        Finish("length", "MAX_TOKENS"),
        Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS))),
    ]


def test_an_array_of_chunks_is_a_stream() -> None:
    chunks = [frame({"text": 'a "quoted\\ ]} text'}), frame({"text": "b"}, finish="STOP")]
    events = read(json.dumps(chunks, indent=1).encode(), JSON)
    assert [e.text for e in events if isinstance(e, Delta)] == ['a "quoted\\ ]} text', "b"]
    assert events[-1] == Finish("stop", "STOP")


def test_an_array_that_stops_without_a_finish_reason_is_lost() -> None:
    events = read(json.dumps([frame({"text": "a"})]).encode(), JSON)
    assert events[-1][0] is UpstreamLost


@pytest.mark.parametrize("content_type", ["application/octet-stream", "", "text/plain"])
def test_a_stream_under_a_wrong_content_type_is_read_as_a_stream(content_type: str) -> None:
    body = b": hello\n\n" + sse(frame({"text": "a"}, finish="STOP"))
    assert fed([body], head(content_type))[-1] == Finish("stop", "STOP")
    assert fed([body[at : at + 1] for at in range(len(body))], head(content_type))[-1] == Finish("stop", "STOP")


def test_json_under_the_content_type_of_a_stream_is_read_as_json() -> None:
    body = json.dumps(frame({"text": "a"}, finish="STOP")).encode()
    assert fed([b"\xef\xbb\xbf \n" + body], head(SSE)) == fed([body], head(JSON))


@pytest.mark.parametrize("content_type", ["text/html", SSE, "application/json"])
def test_a_page_instead_of_an_answer_is_garbage(content_type: str) -> None:
    events = fed([b"<html>", b"<p>sign in"], head(content_type))
    assert [kind for kind, _ in events] == [UpstreamGarbage]


def test_an_embeddings_answer_is_no_generation() -> None:
    assert [kind for kind, _ in unary({"predictions": []})] == [UpstreamGarbage]


def test_an_empty_body_is_lost() -> None:
    for content_type in (SSE, "application/json"):
        assert [kind for kind, _ in fed([], head(content_type))] == [UpstreamLost]


def test_a_stream_without_finish_reason_is_lost_even_if_it_ended_cleanly() -> None:
    events = stream(frame({"text": "half"}, usageMetadata=COUNTS))
    assert events[-1][0] is UpstreamLost
    assert isinstance(events[-2], Counted), "what was counted so far stays known"


def test_a_body_cut_in_the_middle_is_lost() -> None:
    body = json.dumps(frame({"text": "whole"}, finish="STOP")).encode()
    assert [kind for kind, _ in fed([body[:-9]], head(JSON))] == [UpstreamLost]


def test_a_broken_frame_is_garbage_and_silences_the_reader() -> None:
    body = sse(frame({"text": "a"})) + b"data: {broken\n\n" + sse(frame({"text": "b"}, finish="STOP"))
    events = fed([body], head(SSE))
    assert [type(event).__name__ for event in events] == ["Delta", "tuple"]
    assert events[-1][0] is UpstreamGarbage


def test_usage_that_comes_after_the_finish_counts() -> None:
    events = stream(frame({"text": "a"}, finish="STOP"), {"usageMetadata": COUNTS})
    assert events[-1] == Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS)))


def test_a_partial_report_never_takes_counts_back() -> None:
    late = {"promptTokenCount": 7, "totalTokenCount": 7, "trafficType": "ON_DEMAND"}
    events = stream(
        frame({"text": "a"}, usageMetadata={**COUNTS, "thoughtsTokenCount": 5}),
        frame({"text": "b"}, finish="STOP", usageMetadata=late),
    )
    usage = [event.usage for event in events if isinstance(event, Counted)][-1]
    assert (usage.prompt, usage.completion, usage.reasoning) == (7, 8, 5)


def test_every_count_is_normalised() -> None:
    report = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 40,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 190,
        "cachedContentTokenCount": 60,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 10},
            {"modality": "AUDIO", "tokenCount": 50},
            {"modality": "IMAGE", "tokenCount": 25},
            {"modality": "VIDEO", "tokenCount": 15},
        ],
        "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 45}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 12}, {"modality": "AUDIO", "tokenCount": 6}],
    }
    counted = first(unary(frame({"text": "a"}, finish="STOP", usageMetadata=report)), Counted)
    assert counted.usage == Usage(
        prompt=140,
        completion=50,
        reasoning=20,
        cached=60,
        audio_prompt=50,
        audio_cached=45,
        audio_completion=6,
        image_prompt=29,
        video_prompt=15,
        image_completion=12,
        raw=codec.encode(report),
    )


def test_counts_of_the_response_are_counts_of_the_candidates() -> None:
    report = {
        "promptTokenCount": 4,
        "responseTokenCount": 6,
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }
    usage = first(unary(frame({"text": "a"}, finish="STOP", usageMetadata=report)), Counted).usage
    assert (usage.completion, usage.audio_completion) == (6, 5)


def test_integers_that_protobuf_wrote_as_strings_are_counts() -> None:
    report = {"promptTokenCount": "12", "candidatesTokenCount": 3.0, "thoughtsTokenCount": 1}
    usage = first(unary(frame({"text": "a"}, finish="STOP", usageMetadata=report)), Counted).usage
    assert (usage.prompt, usage.completion, usage.reasoning) == (12, 4, 1)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"promptTokenCount": -4, "candidatesTokenCount": 5, "totalTokenCount": 1}, (None, 5, None)),
        ({"promptTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": -1}, (4, None, None)),
        ({"promptTokenCount": 4, "candidatesTokenCount": True, "totalTokenCount": 9}, (4, None, None)),
        ({"promptTokenCount": 4, "candidatesTokenCount": 1.5}, (4, None, None)),
    ],
)
def test_negative_and_odd_counts_are_unknown_not_zero(
    report: dict[str, Any], expected: tuple[int | None, int | None, int | None]
) -> None:
    usage = first(unary(frame({"text": "a"}, finish="STOP", usageMetadata=report)), Counted).usage
    assert (usage.prompt, usage.completion, usage.reasoning) == expected


def test_a_zero_that_protobuf_left_out_is_known_from_the_total() -> None:
    report = {"promptTokenCount": 9, "totalTokenCount": 9}
    usage = first(stream({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": report}), Counted).usage
    assert (usage.prompt, usage.completion) == (9, 0)


@pytest.mark.parametrize(
    ("report", "headers", "expected"),
    [
        ({"serviceTier": "standard"}, {}, "default"),
        ({"serviceTier": "FLEX"}, {}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, {}, "priority"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, {"x-gemini-service-tier": "priority"}, "priority"),
        ({}, {"x-gemini-service-tier": "standard"}, "default"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, {}, "provisioned_throughput"),
    ],
)
def test_the_service_tier_is_the_one_that_was_served(
    report: dict[str, str], headers: dict[str, str], expected: str
) -> None:
    body = sse(frame({"text": "a"}, finish="STOP", responseId="r", usageMetadata=report))
    assert first(read(body, SSE, **headers), Start).service_tier == expected


def test_thoughts_become_reasoning_with_details_and_a_text_signature_is_sealed() -> None:
    events = stream(
        frame({"text": "Hm. ", "thought": True}),
        frame({"text": "Right.", "thought": True}),
        frame({"text": "42"}),
        frame({"text": "", "thoughtSignature": "c2ln"}, finish="STOP"),
    )
    assert events[0] == Delta(
        role="assistant",
        reasoning="Hm. ",
        reasoning_details=[{"type": "reasoning.text", "text": "Hm. ", "format": "google-gemini-v1", "index": 0}],
    )
    assert events[1].reasoning_details[0]["index"] == 0, "one block of thoughts keeps one index"
    assert events[3] == Delta(
        reasoning_details=[{"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1", "index": 1}]
    )
    assert "".join(event.text or "" for event in events if isinstance(event, Delta)) == "42"


def test_function_calls_get_an_id_where_gemini_gives_none_and_keep_their_own() -> None:
    events = unary(
        frame(
            {
                "functionCall": {"name": "weather", "args": {"city": "Łódź", "days": 3, "min": 0.10}},
                "thoughtSignature": "c2ln",
            },
            {"functionCall": {"name": "now", "id": "fc-9"}},
            finish="STOP",
        )
    )
    delta = first(events, Delta)
    assert delta.tool_calls == [
        ToolDelta(
            0,
            "call_seed_0",
            "weather",
            '{"city":"Łódź","days":3,"min":0.1}',
            extra={"extra_content": {"google": {"thought_signature": "c2ln"}}},
        ),
        ToolDelta(1, "fc-9", "now", "{}"),
    ]
    assert delta.reasoning_details == [
        {
            "type": "reasoning.encrypted",
            "data": "c2ln",
            "format": "google-gemini-v1",
            "id": "call_seed_0",
            "index": 0,
        }
    ]
    assert first(events, Finish) == Finish("tool_calls", "STOP")


def test_numbers_in_arguments_keep_every_digit() -> None:
    body = (
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"n":12345678901234567890123,'
        b'"d":0.1000000000000000055511151231257827}}}]},"finishReason":"STOP"}]}'
    )
    call = first(read(body, JSON), Delta).tool_calls[0]
    assert call.arguments == '{"n":12345678901234567890123,"d":0.1000000000000000055511151231257827}'


def partial(*pieces: dict[str, Any], goes_on: bool = True, **members: Any) -> dict[str, Any]:
    return {"functionCall": {"partialArgs": list(pieces), **({"willContinue": True} if goes_on else {}), **members}}


def test_a_call_in_pieces_is_put_together_and_ended_by_an_empty_one() -> None:
    events = stream(
        frame({"functionCall": {"name": "order", "willContinue": True}}),
        frame(partial({"jsonPath": "$.items[0].sku", "stringValue": "A-", "willContinue": True})),
        frame(partial({"jsonPath": "$.items[0].sku", "stringValue": "17"})),
        frame(partial({"jsonPath": "$.items[0].count", "numberValue": 2})),
        frame(partial({"jsonPath": "$.items[1]['the note']", "nullValue": "NULL_VALUE"})),
        frame(partial({"jsonPath": '$["gift"]', "boolValue": True})),
        frame({"functionCall": {}}),
        frame({"functionCall": {"name": "done", "args": {}}}, finish="STOP"),
    )
    calls = [call for event in events if isinstance(event, Delta) for call in event.tool_calls or ()]
    assert [(call.index, call.name) for call in calls] == [(0, "order"), (0, None), (1, "done")]
    assert calls[0].arguments == ""
    assert json.loads(calls[1].arguments) == {
        "items": [{"sku": "A-17", "count": 2}, {"the note": None}],
        "gift": True,
    }
    assert events[-1] == Finish("tool_calls", "STOP")


@pytest.mark.parametrize("last", [{"functionCall": {"name": "g"}}, {"text": ""}])
def test_a_call_in_pieces_is_complete_when_the_next_begins_or_the_candidate_ends(last: dict[str, Any]) -> None:
    events = stream(
        frame({"functionCall": {"name": "f", "willContinue": True}}),
        frame(partial({"jsonPath": "$.a", "stringValue": "x"})),
        frame(last, finish="STOP"),
    )
    calls = [call for event in events if isinstance(event, Delta) for call in event.tool_calls or ()]
    assert "".join(call.arguments for call in calls if call.index == 0) == '{"a":"x"}'


@pytest.mark.parametrize("path", ["a", "$", "$..a", "$.a[9999999]", "$.a[5000]", "$.b.c", "$[0]", "$.a" + ".x" * 70, 7])
def test_pieces_that_do_not_fit_fail_the_answer_instead_of_guessing(path: Any) -> None:
    events = stream(
        frame({"functionCall": {"name": "f", "args": {"b": 1}, "willContinue": True}}),
        frame(partial({"jsonPath": path, "stringValue": "x"}), finish="STOP"),
    )
    assert events[-1][0] is UpstreamGarbage


@pytest.mark.parametrize(
    ("native", "parts", "expected"),
    [
        ("STOP", [{"text": "a"}], "stop"),
        ("MAX_TOKENS", [], "length"),
        ("SAFETY", [{"text": "a"}], "content_filter"),
        ("RECITATION", [], "content_filter"),
        ("SPII", [], "content_filter"),
        ("IMAGE_SAFETY", [], "content_filter"),
        ("LANGUAGE", [], "content_filter"),
        ("MALFORMED_FUNCTION_CALL", [{"text": "a"}], "error"),
        ("UNEXPECTED_TOOL_CALL", [{"functionCall": {"name": "f"}}], "error"),
        ("OTHER", [], "error"),
        ("OTHER", [{"text": "a"}], "stop"),
        ("FINISH_REASON_UNSPECIFIED", [], "error"),
        ("A_WORD_OF_TOMORROW", [{"functionCall": {"name": "f"}}], "tool_calls"),
    ],
)
def test_finish_reasons_are_normalised_and_kept(native: str, parts: list[dict[str, Any]], expected: str) -> None:
    finish = first(stream(frame(*parts, finish=native, finishMessage="so it is")), Finish)
    assert finish == Finish(expected, native, message="so it is")


def test_a_whole_answer_without_finish_reason_has_ended_all_the_same() -> None:
    assert unary(frame({"text": "a"}))[-1] == Finish("stop", None)


def test_a_refused_prompt_finishes_as_filtered() -> None:
    value = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "responseId": "r", "usageMetadata": COUNTS}
    for events in (stream(value), unary(value)):
        assert events[1] == Finish("content_filter", "PROHIBITED_CONTENT", message="PROHIBITED_CONTENT")
        assert isinstance(events[2], Counted)


def test_a_prompt_refused_after_the_answer_began_ends_it() -> None:
    events = stream(frame({"text": "a"}), {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "no"}})
    assert events[-1] == Finish("content_filter", "OTHER", message="no")


def test_several_candidates_keep_their_index_and_all_must_end() -> None:
    two = {
        "candidates": [
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
            {"content": {"parts": [{"text": "b"}]}, "index": 1},
        ]
    }
    assert stream(two)[-1][0] is UpstreamLost
    events = stream(two, frame({"text": "c"}, finish="STOP", index=1))
    assert [(e.index, e.text) for e in events if isinstance(e, Delta)] == [(0, "a"), (1, "b"), (1, "c")]
    assert events[-1] == Finish("stop", "STOP", index=1)


def test_text_after_a_finish_reason_is_not_cut() -> None:
    events = stream(frame({"text": "a"}, finish="STOP"), frame({"text": "b"}, finish="STOP"))
    assert [event.text for event in events if isinstance(event, Delta)] == ["a", "b"]
    assert sum(isinstance(event, Finish) for event in events) == 1


def test_pictures_and_sound_are_media() -> None:
    events = unary(
        frame(
            {"inlineData": {"mimeType": "image/png", "data": "iVBO"}, "thoughtSignature": "c2ln"},
            {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAE="}},
            {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AgM="}},
            {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": True},
            finish="STOP",
        )
    )
    delta = first(events, Delta)
    assert delta.images == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]
    assert delta.audio == {"data": "AAECAw=="}
    assert delta.reasoning_details[0]["id"] == "image_0"
    assert delta.extra["extra_content"]["google"]["parts"][0]["thought"] is True, (
        "a draft is kept, but it is not the picture"
    )


def test_code_and_its_result_stay_verbatim_and_are_no_text() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "c2ln"}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
    delta = first(unary(frame(code, result, {"text": "One."}, finish="STOP")), Delta)
    assert (delta.text, delta.reasoning_details) == ("One.", None)
    assert delta.extra == {"extra_content": {"google": {"parts": [code, result]}}}


def test_grounding_becomes_citations_counted_in_characters_once() -> None:
    grounding = {
        "webSearchQueries": ["a", "b"],
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"web": {"uri": "https://b.example"}},
            {"retrievedContext": {"text": "no address"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 5, "endIndex": 10, "text": "word!"}, "groundingChunkIndices": [0, 2, 99]}
        ],
    }
    events = stream(
        frame({"text": "Žé "}, groundingMetadata=grounding, modelVersion="gemini-3-pro"),
        frame({"text": "word!"}, groundingMetadata=grounding),
        frame(finish="STOP", groundingMetadata=grounding, usageMetadata=COUNTS),
    )
    found = [a["url_citation"] for e in events if isinstance(e, Delta) for a in e.annotations or ()]
    assert found == [
        {"url": "https://a.example", "title": "A", "start_index": 3, "end_index": 3},
        {"url": "https://b.example", "title": ""},
        {"url": "https://a.example", "title": "A", "start_index": 3, "end_index": 8},
    ]
    assert [e.usage.web_searches for e in events if isinstance(e, Counted)] == [2]


def test_grounding_of_earlier_models_is_billed_once_a_request() -> None:
    grounding = {"webSearchQueries": ["a", "b"]}
    value = frame(
        {"text": "a"}, finish="STOP", groundingMetadata=grounding, modelVersion="gemini-2.5-pro", usageMetadata=COUNTS
    )
    assert first(unary(value), Counted).usage.web_searches == 1


def test_log_probabilities_take_the_shape_of_the_chat_api() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "tokenId": 4, "logProbability": -0.25}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1.5}, {"token": "é"}]}],
    }
    delta = first(unary(frame({"text": "é"}, finish="STOP", logprobsResult=result)), Delta)
    entry = delta.logprobs["content"][0]
    assert (entry["token"], float(entry["logprob"]), entry["bytes"]) == ("é", -0.25, [195, 169])
    assert [(top["token"], float(top["logprob"])) for top in entry["top_logprobs"]] == [("e", -1.5), ("é", 0.0)]


def test_an_error_under_status_200_is_classified_like_any_other() -> None:
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}}
    body = json.dumps(error).encode()
    assert [kind for kind, _ in read(body, JSON)] == [UpstreamLimited]
    assert [kind for kind, _ in read(b"[" + body + b"]", JSON)] == [UpstreamLimited]
    overloaded = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}
    events = stream(frame({"text": "a"}), overloaded)
    assert [type(event).__name__ for event in events] == ["Delta", "tuple"]
    assert events[-1][0] is UpstreamOverloaded


def test_frames_wrapped_as_code_assist_does_are_read() -> None:
    assert stream({"response": frame({"text": "a"}, finish="STOP")})[-1] == Finish("stop", "STOP")


def test_mangled_answers_never_raise() -> None:
    dice = random.Random(20261124)
    seeds = [
        sse(
            frame({"text": "a", "thought": True}),
            frame(partial({"jsonPath": "$.a[0]", "stringValue": "x"}), finish="STOP"),
        ),
        json.dumps(
            frame({"functionCall": {"name": "f", "args": {"a": [1]}}}, finish="STOP", usageMetadata=COUNTS)
        ).encode(),
        json.dumps([frame({"text": "a"}, groundingMetadata={"groundingChunks": [{"web": {"uri": "u"}}]})]).encode(),
    ]
    bits = [b"null", b"[]", b"{}", b"1e999", b"-1", b'"', b"}", b"]", b"\\", b"[" * 3000, b"9" * 5000, b"\xff", b"true"]
    for _ in range(3000):
        body = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(body))
            body[at : at + dice.randint(0, 8)] = dice.choice(bits)
        for content_type in (SSE, JSON):
            fed([bytes(body)], head(content_type))


ODD: list[Any] = [None, True, 0, -1, "x", "", [], [None], {}, {"x": 1}, [[{}]]]


def test_members_of_any_type_never_raise() -> None:
    rich = frame(
        {"text": "a", "thought": True, "thoughtSignature": "s"},
        {
            "functionCall": {
                "name": "f",
                "id": "i",
                "args": {},
                "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}],
            }
        },
        {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        finish="STOP",
        index=0,
        groundingMetadata={
            "webSearchQueries": ["q"],
            "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
            "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 1}, "groundingChunkIndices": [0]}],
        },
        citationMetadata={"citationSources": [{"uri": "u", "startIndex": 0, "endIndex": 1}]},
        logprobsResult={"chosenCandidates": [{"token": "a"}], "topCandidates": [{"candidates": [{"token": "a"}]}]},
        promptFeedback={"blockReason": "SAFETY"},
        usageMetadata={**COUNTS, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}]},
        responseId="r",
        modelVersion="m",
    )
    count = 0
    for path in paths(rich):
        for odd in ODD:
            value = json.loads(json.dumps(rich))
            put(value, path, odd)
            fed([sse(value)], head(SSE))
            fed([json.dumps(value).encode()], head(JSON))
            count += 1
    assert count > 300


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in items for path in [(*here, key), *paths(inner, (*here, key))]]


def put(value: Any, path: tuple[Any, ...], odd: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = odd


# --- fault ------------------------------------------------------------------------------------------------------------


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    return json.dumps(
        {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
    ).encode()


QUOTA = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.837906927s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def test_an_exhausted_day_is_told_from_a_rate() -> None:
    fault = UPSTREAM.fault(HttpHead(429, {}), google(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", QUOTA, RETRY))
    assert isinstance(fault, UpstreamLimited)
    assert fault.metadata == {"kind": "day"}
    assert fault.retry_after == pytest.approx(45.837906927)


def test_googles_own_code_wins_over_a_status_changed_on_the_way() -> None:
    fault = UPSTREAM.fault(HttpHead(400, {}), b"[" + google(429, "RESOURCE_EXHAUSTED", "Slow down.", RETRY) + b"]")
    assert isinstance(fault, UpstreamLimited)
    assert fault.provider_status == 400


def test_a_bad_key_is_our_credential_and_is_never_shown() -> None:
    key = "AIzaSyD-0123456789abcdefghijklmnopqrstu"
    body = google(400, "INVALID_ARGUMENT", f"API key not valid: {key}", BAD_KEY)
    fault = UPSTREAM.fault(HttpHead(400, {}), body)
    assert isinstance(fault, UpstreamCredential)
    assert key not in fault.message + (fault.raw or "")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("User location is not supported for the API use.", UpstreamCredential),
        ("The File abc is not in an ACTIVE state.", UpstreamRefused),
    ],
)
def test_a_failed_precondition_is_ours_or_the_callers_by_what_it_speaks_of(message: str, kind: type[Exception]) -> None:
    assert type(UPSTREAM.fault(HttpHead(400, {}), google(400, "FAILED_PRECONDITION", message))) is kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, google(403, "PERMISSION_DENIED", "no"), UpstreamCredential),
        (404, google(404, "NOT_FOUND", "models/x is not found"), UpstreamCredential),
        (400, google(400, "INVALID_ARGUMENT", "bad"), UpstreamRefused),
        (500, google(500, "INTERNAL", "oops"), UpstreamOverloaded),
        (503, b"<html>busy</html>", UpstreamOverloaded),
        (302, b"", UpstreamLost),
    ],
)
def test_statuses_become_kinds(status: int, body: bytes, kind: type[Exception]) -> None:
    assert type(UPSTREAM.fault(HttpHead(status, {}), body)) is kind

"""Calls as requests to a provider of the responses API: what is said in its words, what is lost, what passes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.call import CannotExpress, Losses, Message
from routebook.dialects.openai_responses import SURFACE, ResponsesUpstream
from routebook.dialects.vendors import Quirks, Vendor
from tests.dialects.chat_cases import hello
from tests.dialects.responses_cases import built, called, endpoint, request_of

ROUTER = {"router": Vendor(slug="router", name="R", docs="", quirks=Quirks(router=True))}


def body(**members: Any) -> dict[str, Any]:
    """The body of a chat call; nothing may be lost."""
    made, lost = built(hello(**members))
    assert lost == []
    return made


def lost(**members: Any) -> list[str]:
    return built(hello(**members))[1]


def items(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = body(messages=list(messages))["input"]
    return made


def test_the_request_goes_to_the_base_url_with_the_credential_in_its_header_alone() -> None:
    request = request_of(hello(stream=True))
    assert (request.method, request.url) == ("POST", "https://api.acme.test/v1/responses")
    headers = dict(request.headers)
    assert headers["authorization"] == "Bearer secret"
    assert headers["accept"] == "text/event-stream"
    assert b"secret" not in request.body
    assert "secret" not in repr(request)


def test_a_plain_call_is_items_and_is_never_stored() -> None:
    assert body(temperature=0.5, max_tokens=9, top_p=0.5, metadata={"a": "b"}) == {
        "model": "large-2026",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 0.5,
        "metadata": {"a": "b"},
        "store": False,
        "max_output_tokens": 9,
    }
    assert body(stream=True)["stream"] is True


# --- turns ------------------------------------------------------------------------------------------------------------


def test_parts_are_said_in_this_dialects_words() -> None:
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "https://x.test/a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    assert items({"role": "user", "content": parts})[0]["content"] == [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
    ]


def test_a_turn_with_tools_is_words_then_calls_then_results() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]
    got = items(
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Wait.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": picture},
        {"role": "developer", "content": "Go on."},
    )
    assert [item["type"] for item in got] == ["message", "message", "function_call", "function_call_output", "message"]
    assert got[1]["content"] == [{"type": "output_text", "text": "Wait.", "annotations": []}]
    assert (got[2]["call_id"], got[2]["name"], got[2]["arguments"]) == ("call_1", "f", '{"a":1}')
    assert got[3]["output"] == [{"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"}]
    assert (got[0]["role"], got[4]["role"]) == ("system", "developer")


def test_sealed_reasoning_of_the_family_goes_back_as_its_item_before_the_words() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "S1", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "E1", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "E2", "id": "rs_2", "format": "openai-responses-v1", "index": 2},
    ]
    made = body(messages=[{"role": "assistant", "content": "Yes", "reasoning_details": details}])
    assert made["input"][:2] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "S1"}],
            "encrypted_content": "E1",
        },
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "E2"},
    ]
    assert made["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": "plain"},
        {"reasoning_content": "plain"},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1"}
            ]
        },
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "s", "format": "openai-responses-v1"}]},
    ],
)
def test_reasoning_that_nobody_sealed_for_this_family_is_told_as_lost(message: dict[str, Any]) -> None:
    made, gone = built(hello(messages=[{"role": "assistant", "content": "Yes", **message}]))
    assert gone == ["messages[0].reasoning"]
    assert [item["type"] for item in made["input"]] == ["message"]


def test_names_stand_before_the_words_and_refusals_are_parts() -> None:
    got = items(
        {"role": "user", "name": "Ann", "content": "Hi"}, {"role": "assistant", "refusal": "No.", "content": None}
    )
    assert got[0]["content"] == "Ann: Hi"
    assert got[1]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_what_cannot_stand_in_an_item_is_lost_with_its_place() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "x", "images": [{"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "user", "content": [{"type": "hologram"}]},
    ]
    assert lost(messages=messages) == [
        "messages[0].content[0].cache_control",
        "messages[1].images",
        "messages[2].content[0].hologram",
    ]


# --- tools, form, reasoning -------------------------------------------------------------------------------------------


def test_functions_are_flat_and_say_whether_they_are_strict() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    made = body(
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
    )
    assert made["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
    ]
    assert made["tool_choice"] == {"type": "function", "name": "f"}
    assert made["parallel_tool_calls"] is False
    assert lost(tools=[tool, {"type": "openrouter:web_search"}]) == ["tools[1]"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
            {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}},
        ),
    ],
)
def test_the_form_of_the_answer_is_flat(form: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(response_format=form, verbosity="low")["text"] == {"format": expected, "verbosity": "low"}
    assert lost(response_format={"type": "grammar", "grammar": "x"}) == ["response_format"]


@pytest.mark.parametrize(
    ("wish", "expected", "gone"),
    [
        ({"effort": "high"}, {"effort": "high", "summary": "auto"}, []),
        ({"effort": "high", "exclude": True}, {"effort": "high"}, []),
        ({"effort": "none"}, {"effort": "none"}, []),
        ({"enabled": True}, {"effort": "medium", "summary": "auto"}, []),
        ({"max_tokens": 1000}, {"effort": "low", "summary": "auto"}, ["reasoning.max_tokens"]),
        ({"effort": "low", "summary": "detailed"}, {"effort": "low", "summary": "detailed"}, []),
        ({"summary": "concise"}, {"summary": "concise"}, []),
        ({"exclude": True}, None, []),
    ],
)
def test_a_wish_for_reasoning_is_an_effort_and_its_summary(wish: Any, expected: Any, gone: list[str]) -> None:
    made, found = built(hello(reasoning=wish))
    assert (made.get("reasoning"), found) == (expected, gone)


def test_who_asks_for_reasoning_gets_it_sealed_so_that_it_can_be_given_back() -> None:
    assert body(reasoning={"effort": "low"})["include"] == ["reasoning.encrypted_content"]
    assert "include" not in body(reasoning={"effort": "none"})


def test_efforts_go_to_the_nearest_that_the_vendor_knows() -> None:
    vendors = {"v": Vendor(slug="v", name="V", docs="", quirks=Quirks(efforts=("low", "high")))}
    made, gone = built(hello(reasoning={"effort": "max"}), vendors=vendors, vendor="v")
    assert (made["reasoning"]["effort"], gone) == ("high", ["reasoning.effort"])
    made, gone = built(hello(reasoning={"effort": "none"}), vendors=vendors, vendor="v")
    assert ("reasoning" in made and "effort" in made["reasoning"], gone) == (False, ["reasoning"])


def test_a_vendors_header_and_roles_are_its_own() -> None:
    row = Vendor(slug="v", name="V", docs="", quirks=Quirks(key_header="api-key", developer=False, user=False))
    upstream, call = ResponsesUpstream({"v": row}), hello(messages=[{"role": "developer", "content": "D"}], user="ann")
    losses = Losses()
    request = upstream.build(call, endpoint("v"), "secret", losses)
    assert ("api-key", "secret") in request.headers
    assert json.loads(request.body)["input"][0]["role"] == "system"
    assert [loss.parameter for loss in losses.items] == ["safety_identifier"]


def test_probabilities_are_asked_for_by_include() -> None:
    made = body(logprobs=True, top_logprobs=3)
    assert (made["include"], made["top_logprobs"]) == (["message.output_text.logprobs"], 3)


@pytest.mark.parametrize(
    "members",
    [
        {"seed": 1},
        {"stop": ["x"]},
        {"n": 2},
        {"logit_bias": {"1": 2}},
        {"min_p": 0.1},
        {"top_k": 3},
        {"frequency_penalty": 0.5},
        {"repetition_penalty": 1.1},
        {"audio": {"voice": "a"}},
        {"prediction": {"type": "content", "content": "x"}},
        {"modalities": ["text", "audio"]},
        {"image_config": {"aspect_ratio": "1:1"}},
        {"safe_prompt": True},
    ],
)
def test_what_the_dialect_has_no_word_for_is_lost_and_refused_where_the_caller_requires_it(members: Any) -> None:
    (name,) = members
    assert lost(**members) == [name]
    with pytest.raises(CannotExpress):
        ResponsesUpstream().build(hello(**members), endpoint(), None, Losses(strict=True))


def test_neutral_values_and_the_gateways_own_members_are_no_loss() -> None:
    made = body(
        frequency_penalty=0,
        presence_penalty=0,
        repetition_penalty=1,
        n=1,
        modalities=["text"],
        provider={"sort": "price"},
        models=["a/b"],
        session_id="s",
        usage={"include": True},
    )
    assert set(made) == {"model", "input", "store"}


def test_parameters_that_the_endpoint_does_not_list_are_lost() -> None:
    made, gone = built(
        hello(temperature=1, max_tokens=5, reasoning={"effort": "low"}), supported_parameters=frozenset({"max_tokens"})
    )
    assert gone == ["temperature", "reasoning"]
    assert made["max_output_tokens"] == 5


def test_the_callers_user_is_hashed_wherever_it_stands() -> None:
    made = body(user="ann@x.test")
    assert "ann" not in json.dumps(made)
    assert len(made["safety_identifier"]) == 32
    own, _ = built(called(user="ann@x.test", safety_identifier="bob@x.test"))
    assert "x.test" not in json.dumps(own)
    assert own["user"] == made["safety_identifier"]


# --- callers of the same dialect --------------------------------------------------------------------------------------


def test_a_callers_own_items_and_members_pass_as_the_bytes_that_came() -> None:
    raw = (
        b'{"model":"acme/large","input":[ {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"E"},'
        b'{"type":"shell_call","call_id":"c","action":{"commands":["ls"]}} ],"temperature":0.70,'
        b'"tools":[{"type":"web_search","search_context_size":"low"}],"include":["reasoning.encrypted_content"],'
        b'"text":{"format":{"type":"text"}},"truncation":"auto","prompt_cache_key":"k"}'
    )
    call = SURFACE.read(raw, {})
    sent = request_of(call).body
    for piece in (
        b'"input":[ {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"E"},',
        b'"temperature":0.70',
        b'"tools":[{"type":"web_search","search_context_size":"low"}]',
        b'"truncation":"auto"',
    ):
        assert piece in sent
    made, gone = built(call)
    assert gone == []
    assert (made["model"], made["store"]) == ("large-2026", False)


def test_the_gateways_own_members_and_nulls_do_not_pass() -> None:
    made, gone = built(
        called(
            provider={"sort": "price"},
            models=["a/b"],
            plugins=[{"id": "web"}],
            session_id="s",
            trace={"a": "b"},
            background=True,
            store=False,
            previous_response_id=None,
            temperature=None,
            stream=True,
        )
    )
    assert set(made) == {"model", "input", "store", "stream"}
    assert gone == []


def test_tools_that_only_routers_run_are_lost_on_others_and_neutral_values_are_not() -> None:
    tools = [{"type": "web_search"}, {"type": "openrouter:datetime"}]
    made, gone = built(called(tools=tools, frequency_penalty=0, modalities=["text"]))
    assert (made["tools"], gone) == ([{"type": "web_search"}], ["tools[1]"])
    assert {"frequency_penalty", "modalities"}.isdisjoint(made)
    assert built(called(tools=tools), vendors=ROUTER, vendor="router")[0]["tools"] == tools
    assert built(called(top_k=3))[1] == ["top_k"]


def test_a_clamped_limit_is_what_is_sent() -> None:
    call = called(max_output_tokens=1000)
    clamped = msgspec.structs.replace(call, chat=msgspec.structs.replace(call.chat, max_tokens=10))
    assert built(clamped)[0]["max_output_tokens"] == 10


def test_what_the_reasoning_member_says_beside_effort_is_kept() -> None:
    made, gone = built(called(reasoning={"effort": "xhigh", "summary": "auto", "context": "all_turns"}))
    assert made["reasoning"] == {"effort": "xhigh", "summary": "auto", "context": "all_turns"}
    assert gone == []
    made, gone = built(called(reasoning={"max_tokens": 9000, "enabled": True}))
    assert made["reasoning"] == {"effort": "high"}
    assert gone == ["reasoning.max_tokens"]


def test_a_call_whose_messages_were_changed_on_the_way_is_written_from_them() -> None:
    call = called(input="a long text")
    raw = {name: value for name, value in call.raw.items() if name != "input"}
    changed = msgspec.structs.replace(
        call, raw=raw, chat=msgspec.structs.replace(call.chat, messages=[Message("user", "short")])
    )
    assert built(changed)[0]["input"] == [{"type": "message", "role": "user", "content": "short"}]


def test_a_router_gets_what_only_routers_know() -> None:
    made, gone = built(
        called(plugins=[{"id": "web"}], top_k=3, session_id="s", provider={"zdr": True, "order": ["x"]}),
        vendors=ROUTER,
        vendor="router",
    )
    assert (made["plugins"], made["top_k"], made["session_id"]) == ([{"id": "web"}], 3, "s")
    assert made["provider"] == {"zdr": True}
    assert gone == []
    told, gone = built(
        hello(messages=[{"role": "assistant", "content": "x"}], top_k=3, reasoning={"max_tokens": 2000}),
        vendors=ROUTER,
        vendor="router",
    )
    assert (told["top_k"], told["reasoning"], gone) == (3, {"max_tokens": 2000}, [])
    assert told["input"][0]["id"].startswith("msg_")  # routers ask for one


# --- the way back -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufdd0"), min_size=1, max_size=12)
CALLS = st.lists(st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(["{}", '{"a":1}'])), max_size=3)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [{"role": "user", "content": draw(TEXTS)}]
    for turn in range(draw(st.integers(0, 3))):
        said: dict[str, Any] = {"role": "assistant", "content": draw(TEXTS)}
        found = draw(CALLS)
        if draw(st.booleans()):
            said["reasoning_details"] = [
                {
                    "type": "reasoning.encrypted",
                    "data": "E",
                    "id": f"rs_{turn}",
                    "format": "openai-responses-v1",
                    "index": 0,
                }
            ]
        if found:
            said["tool_calls"] = [
                {"id": f"call_{turn}_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for n, (name, arguments) in enumerate(found)
            ]
        out.append(said)
        for n in range(len(found)):
            out.append({"role": "tool", "tool_call_id": f"call_{turn}_{n}", "content": draw(TEXTS)})
        out.append({"role": "user", "content": draw(TEXTS)})
    return out


@settings(max_examples=200, deadline=None)
@given(turns())
def test_what_is_written_as_items_is_read_back_as_the_same_messages(messages: list[dict[str, Any]]) -> None:
    call = hello(messages=messages)
    made, gone = built(call)
    assert gone == []
    back = SURFACE.read(json.dumps({"model": "m", "input": made["input"]}).encode(), {})
    assert back.chat.messages == call.chat.messages
    assert back.untold == ()

"""Codex, unmodified, against the gateway: it speaks the responses API and streams, has tools of free text, and asks for
sealed reasoning, whoever serves its model. Its model is a script (`turns`). Needs npm.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.coding import DIALECTS, NOTE, Desk, codex, configuration, cost, pictures_in, records
from tests.acceptance.gateway import RunningGateway
from tests.acceptance.turns import Say, Seen, Turns
from tests.acceptance.turns_said import CACHED, COMPLETION, FRESH, sealed
from tests.scenarios.agents import CODEX_ASKS, CODEX_CODES, CODEX_GOES_ON, skeleton
from tests.scenarios.agents import codex as playbook

pytestmark = pytest.mark.timeout(400)
"""The first run installs the agent."""

PATCH = f"*** Begin Patch\n*** Add File: out.txt\n+{NOTE}\n*** End Patch\n"
MODELS = {
    "gemini": "google/gpt-5.5",
    "anthropic": "anthropic/gpt-5.5",
    "openai_responses": "openai/gpt-5.5",
    "openai_chat": "deepseek/gpt-5.5",
}
"""Codex knows a model by the end of its name, and gives this one a tool that takes a patch as plain text."""
CODERS = {
    "gemini": "google/gpt-6.2-sol",
    "anthropic": "anthropic/gpt-6.2-sol",
    "openai_responses": "openai/gpt-6.2-sol",
    "openai_chat": "a/gpt-6.2-sol",
}
"""This one is given its tools among the items of its input: one that runs what the model writes, and others in
namespaces."""
UNKNOWN = {
    "gemini": "google/gemini-3-pro",
    "anthropic": "anthropic/opus",
    "openai_responses": "openai/odd",
    "openai_chat": "deepseek/deepseek-v4",
}
"""Codex does not know these, and gives them its plainest tools."""
SCHEMA = {
    "type": "object",
    "properties": {"note": {"type": "string"}},
    "required": ["note"],
    "additionalProperties": False,
}


THOUGHTS = ["I have to read.", "And look."]


def script(seen: Seen) -> Say:
    """Reads the note by a command, looks at the picture, then writes what the note says by a patch."""
    if "Say it as JSON." in json.dumps(seen.body):
        return Say(json.dumps({"note": NOTE}))
    if "exec" in seen.tools:
        return _coded(seen)
    if "apply_patch" not in seen.tools:
        return _plainly(seen)
    match len(seen.results):
        case 0:
            return Say("Let me read it.", THOUGHTS[0], ("exec_command", {"cmd": "cat note.txt"}))
        case 1:
            return Say("", THOUGHTS[1], ("view_image", {"path": "dot.png"}))
        case 2:
            return Say("", "", ("apply_patch", PATCH))
        case _:
            return Say(f"It says {seen.results[0].split()[-1]}.")


def _coded(seen: Seen) -> Say:
    """The same by a program of the model's, in its tool of free text; then a function in a namespace."""
    match len(seen.results):
        case 0:
            command = f"cat note.txt; echo {NOTE} > out.txt"
            code = f"const done = await tools.exec_command({{cmd: {json.dumps(command)}}}); text(done.output);"
            return Say("Let me read it.", THOUGHTS[0], ("exec", code))
        case 1:
            return Say("", THOUGHTS[1], ("list_agents", {}))
        case _:
            return Say(f"It says {seen.results[0].split()[-1]}.")


def _plainly(seen: Seen) -> Say:
    """The same by commands alone; then a function in a namespace, which says that there is no such agent."""
    match len(seen.results):
        case 0:
            return Say(
                "Let me read it.", THOUGHTS[0], ("exec_command", {"cmd": f"echo {NOTE} > out.txt; cat note.txt"})
            )
        case 1:
            return Say("", THOUGHTS[1], ("close_agent", {"target": "nobody"}))
        case _:
            return Say(f"It says {seen.results[0].split()[-1]}.")


@pytest.fixture(scope="module")
def provider() -> Iterator[Turns]:
    with Turns(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Turns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with RunningGateway(
        tmp_path_factory.mktemp("codex") / "home", configuration(provider, MODELS, CODERS, UNKNOWN)
    ) as running:
        yield running


@pytest.fixture
def key(gateway: RunningGateway) -> str:
    return gateway.new_key(name="agent")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def items(events: list[Any], kind: str) -> list[Any]:
    """What was done of that kind."""
    return [each["item"] for each in events if each["type"] == "item.completed" and each["item"].get("type") == kind]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_with_tools_is_had_and_is_on_the_book(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, dialect: str
) -> None:
    before, asked = len(records(gateway, key)), len(provider.asked)
    events = codex(desk, gateway, key, MODELS[dialect], "--image", "dot.png", "--", "Copy the note.")
    assert [item["text"] for item in items(events, "agent_message")] == ["Let me read it.", f"It says {NOTE}."]
    (command,) = items(events, "command_execution")
    assert (command["aggregated_output"], command["exit_code"]) == (f"{NOTE}\n", 0)
    (change,) = items(events, "file_change")
    assert change["status"] == "completed"
    assert desk.written == f"{NOTE}\n"
    assert not [each for each in events if each["type"] in ("error", "turn.failed")]
    seen = provider.asked[asked:]
    assert [len(each.results) for each in seen] == [0, 1, 2, 3]
    assert {each.dialect for each in seen} == {dialect}
    assert {"exec_command", "apply_patch", "view_image"} <= set(seen[0].tools)
    pictures = [b64decode(each) for each in pictures_in(seen[-1].body)]
    assert [each[:4] for each in pictures] == [b"\x89PNG"] * 2, "the caller's and the one that a tool gave back"

    made = records(gateway, key, before)
    assert [record["finish_reason"] for record in made] == ["tool_calls", "tool_calls", "tool_calls", "stop"]
    assert all(record["user_agent"].startswith("codex_exec/") for record in made)
    (ended,) = [each for each in events if each["type"] == "turn.completed"]
    usage = ended["usage"]
    assert usage["input_tokens"] == sum(record["native_tokens_prompt"] for record in made) == 4 * (FRESH + CACHED)
    assert usage["cached_input_tokens"] == sum(record["native_tokens_cached"] for record in made) == 4 * CACHED
    assert usage["output_tokens"] == sum(record["native_tokens_completion"] for record in made) == 4 * COMPLETION
    assert sum(record["total_cost"] for record in made) == cost(4, FRESH, CACHED, COMPLETION)
    lost = {loss["detail"] for record in made for loss in record["routebook"]["losses"] or ()}
    assert ("the grammar is told, not enforced" in lost) == (dialect != "openai_responses")


@pytest.mark.parametrize("models", [CODERS, UNKNOWN], ids=["a model that codes", "a model it does not know"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_whatever_tools_it_gives_a_model_are_called(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, dialect: str, models: dict[str, str]
) -> None:
    before, asked = len(records(gateway, key)), len(provider.asked)
    events = codex(desk, gateway, key, models[dialect], "Copy the note.")
    assert items(events, "agent_message")[-1]["text"] == f"It says {NOTE}."
    assert desk.written == f"{NOTE}\n"
    assert not [each for each in events if each["type"] in ("error", "turn.failed")]
    assert [len(each.results) for each in provider.asked[asked:]] == [0, 1, 2]
    second = provider.asked[-1].results[1]
    assert "/root" in second if models is CODERS else "nobody" in second, "the namespace's own function answered"
    if dialect == "openai_responses" and models is CODERS:
        ours = json.loads(playbook("x", CODEX_CODES).body)
        assert skeleton(provider.asked[asked].body) == skeleton(ours), "our playbook is as of today"
    made = records(gateway, key, before)
    assert [record["finish_reason"] for record in made] == ["tool_calls", "tool_calls", "stop"]
    assert sum(record["total_cost"] for record in made) == cost(3, FRESH, CACHED, COMPLETION)


def test_its_own_kind_of_provider_has_its_words_as_it_said_them(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk
) -> None:
    asked = len(provider.asked)
    codex(desk, gateway, key, MODELS["openai_responses"], "Copy the note.")
    first, *_, last = provider.asked[asked:]
    body = first.body
    for seen, items in ((first, CODEX_ASKS), (last, CODEX_GOES_ON)):
        ours = json.loads(playbook("x", items).body)
        # The namespace is told where the model is asked to search for it only.
        ours["tools"] = [tool for tool in ours["tools"] if tool["type"] != "namespace"]
        assert skeleton(seen.body) == skeleton(ours), "our playbooks are as of today"
    assert (body["store"], body["stream"], body["tool_choice"], body["parallel_tool_calls"]) == (
        False,
        True,
        "auto",
        True,
    )
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["prompt_cache_key"] == body["client_metadata"]["session_id"]
    (patch,) = [tool for tool in body["tools"] if tool.get("name") == "apply_patch"]
    assert (patch["type"], patch["format"]["type"], patch["format"]["syntax"]) == ("custom", "grammar", "lark")
    assert {"web_search", "tool_search"} <= {tool["type"] for tool in body["tools"]}
    history = [item for item in last.body["input"] if item["type"] != "message"]
    assert [item["type"] for item in history] == [
        *("reasoning", "function_call", "function_call_output"),
        *("reasoning", "function_call", "function_call_output"),
        *("custom_tool_call", "custom_tool_call_output"),
    ]
    assert [item["encrypted_content"] for item in history if item["type"] == "reasoning"] == [
        sealed(each) for each in THOUGHTS
    ]
    assert [item["input"] for item in history if item["type"] == "custom_tool_call"] == [PATCH]


def test_what_a_model_of_another_kind_thought_comes_back_to_it(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk
) -> None:
    asked = len(provider.asked)
    codex(desk, gateway, key, MODELS["openai_chat"], "Copy the note.")
    codex(Desk(desk.work / "again"), gateway, key, MODELS["anthropic"], "Copy the note.")
    chat, claude = (
        [each for each in provider.asked[asked:] if each.dialect == dialect][-1].body["messages"]
        for dialect in ("openai_chat", "anthropic")
    )
    assert [each["reasoning_content"] for each in chat if each.get("reasoning_content")] == THOUGHTS
    blocks = [block for turn in claude if turn["role"] == "assistant" for block in turn["content"]]
    assert [(b["thinking"], b["signature"]) for b in blocks if b["type"] == "thinking"] == [
        (each, sealed(each)) for each in THOUGHTS
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_in_a_schema_is_asked_for_in_each_dialects_words(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, dialect: str
) -> None:
    (desk.work / "schema.json").write_text(json.dumps(SCHEMA))
    events = codex(desk, gateway, key, MODELS[dialect], "--output-schema", "schema.json", "Say it as JSON.")
    (said,) = items(events, "agent_message")
    assert json.loads(said["text"]) == {"note": NOTE}
    body = provider.asked[-1].body
    asked = {
        "openai_responses": lambda: body["text"]["format"]["schema"],
        "openai_chat": lambda: body["response_format"]["json_schema"]["schema"],
        "anthropic": lambda: body["output_config"]["format"]["schema"],
        "gemini": lambda: body["generationConfig"]["responseJsonSchema"],
    }[dialect]()
    assert asked["required"] == ["note"]


@pytest.mark.parametrize("first", ["anthropic", "gemini"])
def test_a_conversation_goes_on_with_models_of_every_other_provider(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, first: str
) -> None:
    """What one signed is nothing to the next, and no reason to fail; the first knows its own again at the end."""
    codex(desk, gateway, key, MODELS[first], "Copy the note.")
    for dialect in (*(name for name in DIALECTS if name != first), first):
        events = codex(desk, gateway, key, MODELS[dialect], "resume", "--last", "And again?")
        assert items(events, "agent_message")[-1]["text"] == f"It says {NOTE}.", events
        assert (provider.asked[-1].dialect, len(provider.asked[-1].results)) == (dialect, 3)
    signed = json.dumps(provider.asked[-1].body)
    assert all(sealed(each) in signed for each in THOUGHTS)


def test_it_goes_on_over_http_where_it_tried_a_web_socket(gateway: RunningGateway, key: str, desk: Desk) -> None:
    events = codex(desk, gateway, key, MODELS["openai_responses"], "Copy the note.", more="supports_websockets = true")
    (warning,) = items(events, "error")
    assert "Falling back from WebSockets" in warning["message"]
    assert items(events, "agent_message")[-1]["text"] == f"It says {NOTE}."


def test_a_wrong_key_and_an_unknown_model_are_told(gateway: RunningGateway, key: str, desk: Desk) -> None:
    for events, status in (
        (codex(desk, gateway, "sk-rb-v1-nobodys", MODELS["openai_chat"], "Hi"), "401"),
        (codex(desk, gateway, key, "turns/nothing", "Hi"), "turns/nothing is not a valid model ID"),
    ):
        (failed,) = [each for each in events if each["type"] == "turn.failed"]
        assert status in failed["error"]["message"]

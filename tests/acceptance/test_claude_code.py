"""Claude Code, unmodified, against the gateway: what it asks reaches providers of every kind, what they say reaches it,
and its conversation is on the book to the last token. Its model is a script (`turns`). Needs npm.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.coding import (
    DIALECTS,
    NOTE,
    Desk,
    claude_code,
    configuration,
    cost,
    pictures_in,
    records,
    try_claude_code,
)
from tests.acceptance.gateway import RunningGateway
from tests.acceptance.turns import Say, Seen, Turns
from tests.acceptance.turns_said import CACHED, COMPLETION, FRESH, sealed
from tests.scenarios.agents import CLAUDE_ASKS, CLAUDE_GOES_ON, skeleton
from tests.scenarios.agents import claude_code as playbook

pytestmark = pytest.mark.timeout(400)
"""The first run installs the agent."""


THOUGHTS = ["I have to read.", "And look."]


def script(seen: Seen) -> Say:
    """Reads the note, then the picture, then writes what the note says."""
    place = _folder(seen.body)
    match len(seen.results):
        case 0:
            return Say("Let me read it.", THOUGHTS[0], ("Read", {"file_path": f"{place}/note.txt"}))
        case 1:
            return Say("", THOUGHTS[1], ("Read", {"file_path": f"{place}/dot.png"}))
        case 2:
            return Say("", "", ("Write", {"file_path": f"{place}/out.txt", "content": f"{NOTE}\n"}))
        case _:
            return Say(f"It says {seen.results[0].split()[1]}.")


def _folder(body: dict[str, Any]) -> str:
    """The folder that the test named in its question."""
    return json.dumps(body).partition("files of <<")[2].partition(">>")[0]


@pytest.fixture(scope="module")
def provider() -> Iterator[Turns]:
    with Turns(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Turns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("claude") / "home", configuration(provider)) as running:
        yield running


@pytest.fixture
def key(gateway: RunningGateway) -> str:
    return gateway.new_key(name="agent")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_with_tools_is_had_and_is_on_the_book(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, dialect: str
) -> None:
    before, asked = len(records(gateway, key)), len(provider.asked)
    told = claude_code(desk, gateway, key, f"turns/{dialect}", f"Copy the note. The files of <<{desk.work}>>")
    assert told["result"] == f"It says {NOTE}."
    assert desk.written == f"{NOTE}\n"
    assert (told["is_error"], told["num_turns"], told["permission_denials"]) == (False, 4, [])
    seen = provider.asked[asked:]
    assert [len(each.results) for each in seen] == [0, 1, 2, 3]
    assert {each.dialect for each in seen} == {dialect}
    assert {"Bash", "Edit", "Read", "Write"} <= set(seen[0].tools)
    (picture,) = pictures_in(seen[-1].body)
    assert b64decode(picture).startswith(b"\x89PNG"), "what a tool gave back was a picture"

    made = records(gateway, key, before)
    assert [record["finish_reason"] for record in made] == ["tool_calls", "tool_calls", "tool_calls", "stop"]
    assert all(record["streamed"] and not record["cancelled"] for record in made)
    assert all(record["user_agent"].startswith("claude-cli/") for record in made)
    (user,) = {record["external_user"] for record in made}
    assert set(json.loads(user)) >= {"device_id", "session_id"}
    usage = told["usage"]
    assert usage["input_tokens"] == 4 * FRESH
    assert usage["cache_read_input_tokens"] == sum(record["native_tokens_cached"] for record in made) == 4 * CACHED
    assert usage["output_tokens"] == sum(record["native_tokens_completion"] for record in made) == 4 * COMPLETION
    assert sum(record["native_tokens_prompt"] for record in made) == 4 * (FRESH + CACHED)
    assert sum(record["total_cost"] for record in made) == cost(4, FRESH, CACHED, COMPLETION)
    lost = {loss["parameter"] for record in made for loss in record["routebook"]["losses"] or ()}
    if dialect == "anthropic":
        assert lost == set()
    else:
        assert "context_management" in lost


def test_its_own_kind_of_provider_has_its_words_as_it_said_them(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk
) -> None:
    asked = len(provider.asked)
    claude_code(desk, gateway, key, "turns/anthropic", f"Copy the note. The files of <<{desk.work}>>")
    first, second, *_, last = provider.asked[asked:]
    assert "claude-code-20250219" in first.headers["anthropic-beta"]
    assert first.headers["anthropic-version"] == "2023-06-01"
    for seen, messages in ((first, CLAUDE_ASKS), (second, CLAUDE_GOES_ON)):
        assert skeleton(seen.body) == skeleton(json.loads(playbook("x", messages).body)), (
            "our playbooks are as of today"
        )
    assert first.body["model"] == DIALECTS["anthropic"][1]
    assert first.body["thinking"] == {"type": "adaptive", "display": "omitted"}
    assert first.body["context_management"]["edits"]
    assert first.body["output_config"]["effort"]
    assert [block.get("cache_control") for block in first.body["system"]][-1] == {"type": "ephemeral"}
    assert any(tool.get("defer_loading") for tool in first.body["tools"])
    said = [block for turn in last.body["messages"] if turn["role"] == "assistant" for block in turn["content"]]
    assert [block["type"] for block in said] == ["thinking", "text", "tool_use", "thinking", "tool_use", "tool_use"]
    thoughts = [(block["thinking"], block["signature"]) for block in said if block["type"] == "thinking"]
    assert thoughts == [("", sealed(each)) for each in THOUGHTS], "what is not shown is signed all the same"


@pytest.mark.parametrize(("dialect", "member"), [("openai_chat", "reasoning_content"), ("openai_responses", "summary")])
def test_what_a_model_of_another_kind_thought_comes_back_to_it_though_it_is_not_shown(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, dialect: str, member: str
) -> None:
    asked = len(provider.asked)
    claude_code(desk, gateway, key, f"turns/{dialect}", f"Copy the note. The files of <<{desk.work}>>")
    history = provider.asked[asked:][-1].body["input" if dialect == "openai_responses" else "messages"]
    thoughts = [item[member] for item in history if item.get(member)]
    if dialect == "openai_responses":
        given = [item["encrypted_content"] for item in history if item.get("type") == "reasoning"]
        assert given == [sealed(each) for each in THOUGHTS]
        thoughts = [part["text"] for parts in thoughts for part in parts]
    assert thoughts == THOUGHTS


@pytest.mark.parametrize("first", ["anthropic", "gemini"])
def test_a_conversation_goes_on_with_models_of_every_other_provider(
    gateway: RunningGateway, provider: Turns, key: str, desk: Desk, first: str
) -> None:
    """What one signed is nothing to the next, and no reason to fail; the first knows its own again at the end."""
    claude_code(desk, gateway, key, f"turns/{first}", f"Copy the note. The files of <<{desk.work}>>")
    for dialect in (*(name for name in DIALECTS if name != first), first):
        told = claude_code(desk, gateway, key, f"turns/{dialect}", "And again?", "--continue")
        assert told["result"] == f"It says {NOTE}.", dialect
        assert (provider.asked[-1].dialect, len(provider.asked[-1].results)) == (dialect, 3)
    signed = json.dumps(provider.asked[-1].body)
    assert all(sealed(each) in signed for each in THOUGHTS)


def test_a_wrong_key_and_an_unknown_model_are_told_at_once(gateway: RunningGateway, key: str, desk: Desk) -> None:
    nobody = try_claude_code(desk, gateway, "sk-rb-v1-nobodys", "turns/anthropic", "Hi")
    assert nobody.returncode == 1
    assert json.loads(nobody.stdout)["api_error_status"] == 401
    nothing = try_claude_code(desk, gateway, key, "turns/nothing", "Hi")
    assert nothing.returncode == 1
    told = json.loads(nothing.stdout)
    assert told["api_error_status"] in (400, 404)
    assert "turns/nothing" in told["result"]


def test_its_probes_are_answered(gateway: RunningGateway, key: str) -> None:
    """What it asks beside its calls in other modes: whether the host is there, which models there are, and a count."""
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": "token-counting-2024-11-01"}
    assert httpx2.head(gateway.origin, headers=headers).status_code < 500
    models = httpx2.get(f"{gateway.origin}/v1/models", params={"limit": 1000}, headers=headers)
    assert {"turns/anthropic"} <= {each["id"] for each in models.json()["data"]}
    body = {"model": "turns/openai_chat", "messages": [{"role": "user", "content": "Hi"}], "tools": []}
    counted = httpx2.post(f"{gateway.origin}/v1/messages/count_tokens?beta=true", json=body, headers=headers)
    assert counted.status_code == 200
    assert counted.json()["input_tokens"] > 0

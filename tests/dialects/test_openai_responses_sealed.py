"""Reasoning of other families in the hands of a client that knows this API's own members only, and drops all others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.events import Delta, Event, Finish, Start
from routebook.dialects.openai_responses import SURFACE
from routebook.dialects.vendors import Quirks, Vendor
from tests.dialects.responses_cases import built, called
from tests.dialects.test_openai_responses_writer import last

SEALED = ["reasoning.encrypted_content"]
CLAUDE = "anthropic-claude-v1"
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "claude": [
        {"type": "reasoning.text", "text": "I have ", "format": CLAUDE, "index": 0},
        {"type": "reasoning.text", "text": "to look.", "format": CLAUDE, "index": 0},
        {"type": "reasoning.text", "signature": "sig", "format": CLAUDE, "index": 0},
    ],
    "claude, redacted": [{"type": "reasoning.encrypted", "data": "opaque", "format": CLAUDE, "index": 0}],
    "gemini": [
        {"type": "reasoning.text", "text": "I have to look.", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1", "index": 0, "id": "tool_1"},
    ],
    "plain": [{"type": "reasoning.text", "text": "I have to look.", "format": "unknown", "index": 0}],
}
WANT: dict[str, list[dict[str, Any]]] = {
    "claude": [{"type": "reasoning.text", "text": "I have to look.", "signature": "sig", "format": CLAUDE}],
    "claude, redacted": [{"type": "reasoning.encrypted", "data": "opaque", "format": CLAUDE}],
    "gemini": [
        {"type": "reasoning.text", "text": "I have to look.", "format": "google-gemini-v1"},
        {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1", "id": "tool_1"},
    ],
    "plain": [{"type": "reasoning.text", "text": "I have to look.", "format": "unknown"}],
}


def handed_back(family: str, **members: Any) -> list[dict[str, Any]]:
    """The reasoning items of an answer, as such a client sends them with its next turn."""
    details: list[Event] = [Delta(reasoning_details=[one]) for one in FAMILIES[family]]
    answer = last([Start(), *details, Delta(text="So."), Finish("stop")], **members)
    items = [item for item in answer["output"] if item["type"] == "reasoning"]
    known = ("type", "id", "summary", "encrypted_content")
    return [{**{name: item[name] for name in known if name in item}, "content": None} for item in items]


def asked(*items: dict[str, Any]) -> Any:
    said = {"type": "message", "role": "assistant", "content": "So."}
    return called(input=[{"role": "user", "content": "Hi"}, *items, said, {"role": "user", "content": "And?"}])


@pytest.mark.parametrize("family", FAMILIES)
def test_it_comes_back_whole_where_sealed_reasoning_was_asked_for(family: str) -> None:
    items = handed_back(family, include=SEALED)
    details = asked(*items).chat.messages[1].reasoning_details or []
    assert [{name: value for name, value in one.items() if name != "index"} for one in details] == WANT[family]


def test_without_that_wish_nothing_is_sealed() -> None:
    assert not any("encrypted_content" in item for item in handed_back("claude"))
    (item,) = handed_back("claude, redacted")
    assert item["encrypted_content"] == "opaque"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_provider_of_this_api_is_not_sent_what_another_family_thought(family: str) -> None:
    """Its API refuses what it did not seal: the conversation goes on without, and the record says so."""
    own = {"type": "reasoning", "id": "rs_own", "summary": [], "encrypted_content": "its own"}
    items = handed_back(family, include=SEALED)
    sent, lost = built(asked(*items, own))
    assert [item for item in sent["input"] if item.get("type") == "reasoning"] == [own]
    assert len(sent["input"]) == 4
    assert lost == [f"input[{1 + place}]" for place in range(len(items))]


def test_a_router_is_sent_it_in_the_form_that_routers_have() -> None:
    vendors = {"router": Vendor(slug="router", name="R", docs="", quirks=Quirks(router=True))}
    sent, lost = built(asked(*handed_back("claude", include=SEALED)), vendors=vendors, vendor="router")
    (item,) = [item for item in sent["input"] if item.get("type") == "reasoning"]
    assert (item["content"], item["signature"], item["format"]) == (
        [{"type": "reasoning_text", "text": "I have to look."}],
        "sig",
        CLAUDE,
    )
    assert "encrypted_content" not in item
    assert lost == []


def test_a_seal_that_was_damaged_is_nobodys() -> None:
    (item,) = handed_back("plain", include=SEALED)
    item["encrypted_content"] = item["encrypted_content"][:-9]
    details = asked(item).chat.messages[1].reasoning_details
    assert details == [
        {
            "type": "reasoning.encrypted",
            "data": item["encrypted_content"],
            "format": "openai-responses-v1",
            "id": item["id"],
            "index": 0,
        }
    ]


def test_input_without_foreign_reasoning_stays_as_the_bytes_that_came() -> None:
    body = b'{"model":"acme/large","input":[ {"type":"reasoning","id":"r","summary":[],"encrypted_content":"E"} ,'
    body += b'{"role":"user","content":"Hi"}]}'
    sent, lost = built(SURFACE.read(body, {}))
    assert lost == []
    assert json.dumps(sent["input"][0]) == '{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "E"}'

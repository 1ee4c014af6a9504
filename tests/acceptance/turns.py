"""A provider on loopback that plays a conversation turn by turn: as Anthropic, Gemini, OpenAI's responses and its chat.

    with Turns(script) as provider:
        ...                     # script(seen) says what the model says next
        provider.asked          # every request of an inference path, in order

It keeps no state of a conversation: what a request holds of results says where the conversation stands. Every turn
costs the same counts, so that what a whole conversation cost is known without adding anything up here. What it is told
of its own thoughts has to be theirs: like the vendors it refuses a signature that it never gave, and as Gemini also a
call without one.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.turns_said import SAID, sealed, tools_of
from tests.loopback import Loopback, Said

PATHS = {"/v1/messages": "anthropic", "/v1/responses": "openai_responses", "/v1/chat/completions": "openai_chat"}
GEMINI = "/v1beta/models/"
SKIPS = b64encode(b"skip_thought_signature_validator").decode()
"""What Gemini takes in place of a signature for calls of other models: ai.google.dev, "Thought signatures", 2026-11."""
BEARER = "a-key-of-the-turns"


@dataclass(frozen=True)
class Say:
    """One turn of the model. `call` is a tool's name and its input: members, or one text for a tool of free text."""

    text: str = ""
    thought: str = ""
    call: tuple[str, dict[str, Any] | str] | None = None


@dataclass(frozen=True)
class Seen:
    """One request, as the provider had it."""

    dialect: str
    body: dict[str, Any]
    headers: dict[str, str]
    """names in lower case"""
    results: list[str] = field(default_factory=list)
    """what tools gave back so far, the texts alone, in order"""

    @property
    def tools(self) -> list[str]:
        """Names of the tools that may be called, those inside of namespaces included; kinds where there is no name."""
        names: list[str] = []
        for tool in tools_of(self.body):
            inner = tool.get("tools") or [tool.get("function") or tool]
            inner = tool.get("functionDeclarations") or inner
            names += [each.get("name") or each["type"] for each in inner]
        return names


class Turns(Loopback):
    """From entering to leaving the context."""

    def __init__(self, script: Callable[[Seen], Say]) -> None:
        super().__init__()
        self.script = script
        self.asked: list[Seen] = []
        self.signed: set[str] = set()
        """signatures that it has given"""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Said:
        keys = (
            headers.get(name, "").removeprefix("Bearer ") for name in ("x-api-key", "x-goog-api-key", "authorization")
        )
        if BEARER not in keys:
            return 401, "application/json", b'{"error":{"message":"Who are you?","type":"authentication_error"}}'
        path, _, query = path.partition("?")
        asked = json.loads(body)
        if path.startswith(GEMINI):
            dialect, asked["model"] = "gemini", path.removeprefix(GEMINI).partition(":")[0]
            asked["stream"] = path.endswith(":streamGenerateContent") and query == "alt=sse"
        elif (dialect := PATHS.get(path, "")) == "":
            return 404, "application/json", b'{"error":{"message":"No such path.","type":"not_found_error"}}'
        seen = Seen(dialect, asked, headers, results(dialect, asked))
        self.asked.append(seen)
        if (wrong := unsigned(dialect, asked, self.signed)) is not None:
            return 400, "application/json", json.dumps({"error": {"message": wrong, "code": 400}}).encode()
        say = self.script(seen)
        self.signed.add(sealed(say.thought))
        kind, said = SAID[dialect](say, asked, len(self.asked))
        return 200, kind, said


def results(dialect: str, body: dict[str, Any]) -> list[str]:
    """The texts of the results of tools in a request."""
    if dialect == "openai_responses":
        kinds = ("function_call_output", "custom_tool_call_output")
        return [_text(item["output"]) for item in body["input"] if item.get("type") in kinds]
    if dialect == "openai_chat":
        return [_text(message["content"]) for message in body["messages"] if message["role"] == "tool"]
    if dialect == "gemini":
        parts = [part for turn in body["contents"] for part in turn["parts"]]
        return [_said(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]
    blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    return [_text(block.get("content")) for block in blocks if block["type"] == "tool_result"]


def unsigned(dialect: str, body: dict[str, Any], signed: set[str]) -> str | None:
    """What is wrong with the thoughts in a request, if anything is."""
    if dialect == "gemini":
        parts = [part for turn in body["contents"] for part in turn["parts"]]
        if any("functionCall" in part and "thoughtSignature" not in part for part in parts):
            return "Function call is missing a thought_signature."
        given = [part["thoughtSignature"] for part in parts if part.get("thoughtSignature", SKIPS) != SKIPS]
    elif dialect == "anthropic":
        turns = [turn["content"] for turn in body["messages"] if isinstance(turn["content"], list)]
        given = [block["signature"] for blocks in turns for block in blocks if block["type"] == "thinking"]
    elif dialect == "openai_responses":
        given = [item["encrypted_content"] for item in body["input"] if item.get("type") == "reasoning"]
    else:
        return None
    strange = set(given) - signed
    return f"Invalid signature in a thought: {strange}" if strange else None


def _said(response: dict[str, Any]) -> str:
    """The text of a function's response, which is an object."""
    return "".join(value if isinstance(value, str) else json.dumps(value) for value in response.values())


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())

"""A provider on loopback that plays a conversation turn by turn: as Anthropic, as OpenAI's responses and as its chat.

    with Turns(script) as provider:
        ...                     # script(seen) says what the model says next
        provider.asked          # every request of an inference path, in order

It keeps no state of a conversation: what a request holds of results says where the conversation stands. Every turn
costs the same counts, so that what a whole conversation cost is known without adding anything up here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.acceptance.turns_said import SAID, tools_of

PATHS = {"/v1/messages": "anthropic", "/v1/responses": "openai_responses", "/v1/chat/completions": "openai_chat"}
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
            names += [each.get("name") or each["type"] for each in inner]
        return names


class Turns:
    """From entering to leaving the context."""

    def __init__(self, script: Callable[[Seen], Say]) -> None:
        self.script = script
        self.asked: list[Seen] = []
        turns = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, kind, said = turns.answer(self.path.partition("?")[0], headers, body)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """(status, content type, body)"""
        if BEARER not in (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")):
            return 401, "application/json", b'{"error":{"message":"Who are you?","type":"authentication_error"}}'
        if path not in PATHS:
            return 404, "application/json", b'{"error":{"message":"No such path.","type":"not_found_error"}}'
        dialect, asked = PATHS[path], json.loads(body)
        seen = Seen(dialect, asked, headers, results(dialect, asked))
        self.asked.append(seen)
        kind, said = SAID[dialect](self.script(seen), asked, len(self.asked))
        return 200, kind, said


def results(dialect: str, body: dict[str, Any]) -> list[str]:
    """The texts of the results of tools in a request."""
    if dialect == "openai_responses":
        kinds = ("function_call_output", "custom_tool_call_output")
        return [_text(item["output"]) for item in body["input"] if item.get("type") in kinds]
    if dialect == "openai_chat":
        return [_text(message["content"]) for message in body["messages"] if message["role"] == "tool"]
    blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    return [_text(block.get("content")) for block in blocks if block["type"] == "tool_result"]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())

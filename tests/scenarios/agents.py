"""What two coding agents send, in their own shapes: member for member, kind for kind, with none of their prose.

Drawn from their requests to a gateway of ours, 2026-11: Claude Code 2.1.332 (messages) and Codex 0.171.0 (responses).
The acceptance tests hold these against what the agents send today, wherever they can be installed.
"""

from __future__ import annotations

import json
from typing import Any

from routebook.testing.playbook import Request
from routebook.wire import codec
from tests.support import OPEN_KEY

MARK = {"cache_control": {"type": "ephemeral"}}
SESSION = "01a22dfe-a2bc-7820-9918-a14f244ee4ed"
DEVICE = "3558bdc1-81d1-4291-b112-b3b159d49bad"
ACCOUNT = json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": SESSION})
BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,"
    "effort-2025-11-24"
)
PATCH = "*** Begin Patch\n*** Add File: out.txt\n+forty-two\n*** End Patch\n"


def schema(*required: str, **more: dict[str, Any]) -> dict[str, Any]:
    """An object with texts for members, as both agents write them."""
    members = {name: {"type": "string", "description": "What it is."} for name in required}
    return {
        "type": "object",
        "properties": members | more,
        "required": list(required),
        "additionalProperties": False,
    }


# --- Claude Code ------------------------------------------------------------------------------------------------------

CLAUDE_TOOLS: list[dict[str, Any]] = [
    {
        "name": name,
        "description": "What it does.",
        "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema(*members)},
    }
    for name, members in {
        "Bash": ("command",),
        "Edit": ("file_path", "old_string", "new_string"),
        "Read": ("file_path",),
        "ToolSearch": ("query",),
        "Write": ("file_path", "content"),
    }.items()
]
DEFERRED = {"name": "DeferredToolPlaceholder", "description": "What it does.", "input_schema": schema()}
CLAUDE_TOOLS.append({**DEFERRED, "defer_loading": True})

CLAUDE_ASKS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "<system-reminder>"}, {"type": "text", "text": "Copy it."}]},
    {"role": "system", "content": [{"type": "text", "text": "# Environment", **MARK}]},
]
CLAUDE_GOES_ON: list[dict[str, Any]] = [
    CLAUDE_ASKS[0],
    {"role": "system", "content": "# Environment"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"},
            {"type": "text", "text": "Let me read it."},
            {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "/project/note.txt"}},
        ],
    },
    {
        "role": "user",
        "content": [{"tool_use_id": "toolu_1", "type": "tool_result", "content": "1\tforty-two\n", **MARK}],
    },
]
"""Its second request: the answer's blocks as they came, and what the tool gave back."""


CLAUDE_SEARCHES: list[dict[str, Any]] = [
    *CLAUDE_GOES_ON[:2],
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {"query": "select:Write"}}],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "tool_reference", "tool_name": "Write"}],
                **MARK,
            }
        ],
    },
]
"""What it sends after it looked for a tool: the result names tools that stand in `tools` from now on."""
WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
"""The one tool of the call that it makes to search the Web; its `tool_choice` is auto."""


def claude_code(slug: str, messages: list[dict[str, Any]] = CLAUDE_ASKS, **members: Any) -> Request:
    """One request of Claude Code's."""
    body = {
        "model": slug,
        "messages": messages,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=0; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You are an agent.", **MARK},
            {"type": "text", "text": "Rules.", **MARK},
        ],
        "tools": CLAUDE_TOOLS,
        "metadata": {"user_id": ACCOUNT},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
        **members,
    }
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": "claude-cli/2.1.332 (external, sdk-cli)",
        "x-claude-code-session-id": SESSION,
        "x-stainless-lang": "js",
        "x-stainless-retry-count": "0",
        "x-stainless-timeout": "600",
        "anthropic-beta": BETAS,
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-version": "2023-06-01",
        "x-api-key": OPEN_KEY,
        "x-app": "cli",
        "accept-encoding": "gzip, deflate, br, zstd",
    }
    return Request(codec.encode(body), headers, "anthropic")


# --- Codex ------------------------------------------------------------------------------------------------------------


def function(name: str, *required: str, **more: dict[str, Any]) -> dict[str, Any]:
    head = {"type": "function", "name": name, "description": "What it does.", "strict": False}
    return {**head, "parameters": schema(*required, **more)}


CODEX_TOOLS: list[dict[str, Any]] = [
    function("exec_command", "cmd", tty={"type": "boolean", "description": "Or not."}),
    function("view_image", "path"),
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "What it does.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"},
    },
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "description": "What they are for.",
        "tools": [function("spawn_agent", "message"), function("wait_agent", "targets")],
    },
    {"type": "tool_search", "execution": "client", "description": "What it does.", "parameters": schema("query")},
    {"type": "web_search", "external_web_access": True, "search_content_types": ["text", "image"]},
]


def _said(role: str, *texts: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "id": f"msg_{role}_{len(texts)}", "role": role, "content": content}


CODEX_ASKS: list[dict[str, Any]] = [
    _said("developer", "You are an agent."),
    _said("developer", "<skills_instructions>", "<permissions instructions>"),
    _said("user", "<environment_context>"),
    _said("user", "Copy it."),
]
CODEX_CODES: list[dict[str, Any]] = [
    {
        "type": "additional_tools",
        "id": "at_1",
        "role": "developer",
        "tools": [
            {
                "type": "namespace",
                "name": "functions",
                "description": "",
                "tools": [
                    {
                        "type": "custom",
                        "name": "exec",
                        "description": "What it does.",
                        "format": {"type": "grammar", "syntax": "lark", "definition": "start: source"},
                    },
                    function("wait", "cell_id"),
                ],
            },
            {
                "type": "namespace",
                "name": "clock",
                "description": "What they are for.",
                "tools": [function("sleep", "ms")],
            },
        ],
    },
    *CODEX_ASKS,
]
"""Its first request for a model that works by code: the tools stand among the items, and there are no others."""
CODEX_GOES_ON: list[dict[str, Any]] = [
    *CODEX_ASKS,
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "I have to read."}],
        "content": None,
        "encrypted_content": "c2VhbGVk",
    },
    {
        "type": "message",
        "status": "completed",
        "id": "msg_1",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Let me read it.", "annotations": [], "logprobs": []}],
    },
    {
        "type": "function_call",
        "status": "completed",
        "id": "fc_1",
        "name": "exec_command",
        "arguments": '{"cmd": "cat note.txt"}',
        "call_id": "call_1",
    },
    {"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "Output:\nforty-two\n"},
    {
        "type": "function_call",
        "status": "completed",
        "id": "fc_2",
        "name": "view_image",
        "arguments": '{"path": "dot.png"}',
        "call_id": "call_3",
    },
    {
        "type": "function_call_output",
        "id": "fco_2",
        "call_id": "call_3",
        "output": [{"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "high"}],
    },
    {
        "type": "custom_tool_call",
        "id": "ctc_2",
        "status": "completed",
        "call_id": "call_2",
        "name": "apply_patch",
        "input": PATCH,
    },
    {"type": "custom_tool_call_output", "id": "ctco_2", "call_id": "call_2", "output": "Exit code: 0\n"},
]
"""A later request: all that was said and done, each with an id."""


def codex(slug: str, items: list[dict[str, Any]] = CODEX_ASKS, **members: Any) -> Request:
    """One request of Codex's."""
    turn = {"session_id": SESSION, "thread_id": SESSION, "turn_id": SESSION, "request_kind": "turn", "sandbox": "none"}
    body = {
        "model": slug,
        "stream": True,
        "input": items,
        "tools": CODEX_TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "text": {"verbosity": "low"},
        "client_metadata": {
            "session_id": SESSION,
            "thread_id": SESSION,
            "turn_id": SESSION,
            "root_turn_id": SESSION,
            "x-codex-installation-id": DEVICE,
            "x-codex-window-id": f"{SESSION}:0",
            "x-codex-turn-metadata": json.dumps(turn),
        },
        **members,
    }
    if items and items[0]["type"] == "additional_tools":
        del body["tools"]
        body |= {"parallel_tool_calls": False, "reasoning": {"effort": "low", "context": "all_turns"}}
    headers = {
        "accept": "text/event-stream",
        "content-type": "application/json",
        "authorization": f"Bearer {OPEN_KEY}",
        "originator": "codex_exec",
        "user-agent": "codex_exec/0.171.0 (Debian 12.0.0; x86_64) unknown (codex_exec; 0.171.0)",
        "session-id": SESSION,
        "thread-id": SESSION,
        "x-client-request-id": SESSION,
        "x-codex-beta-features": "remote_compaction_v2",
        "x-codex-window-id": f"{SESSION}:0",
        "x-codex-turn-metadata": json.dumps(turn),
        "accept-encoding": "zstd,gzip",
    }
    return Request(codec.encode(body), headers, "openai_responses")


# --- shapes -----------------------------------------------------------------------------------------------------------

_FREE = frozenset("input_schema parameters input arguments client_metadata".split())
"""Members whose own members differ from tool to tool and from call to call."""


def skeleton(value: Any, name: str = "") -> Any:
    """What a request is made of: its members, and each kind of thing in a list once; no texts, no numbers."""
    if isinstance(value, dict):
        if name in _FREE:
            return "members"
        named = {key: value[key] for key in ("type", "role") if key in value}
        return {key: skeleton(inner, key) for key, inner in value.items()} | named
    if isinstance(value, list):
        kinds = {json.dumps(skeleton(inner), sort_keys=True) for inner in value}
        return [json.loads(kind) for kind in sorted(kinds)]
    return type(value).__name__

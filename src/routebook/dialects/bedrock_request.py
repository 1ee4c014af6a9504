"""A canonical call as a Converse request: parameters, tools, reasoning, format of the answer.

Part of the dialect in `bedrock.py`; messages are turned in `bedrock_messages.py`. What Converse has no member for goes
to the model's own `additionalModelRequestFields`, by family. What Claude accepts, and what its own API would be told
for the same call, `claude` says: a function that the registry hands in, because dialects do not import each other.
Sources, read 2026-11: Amazon Bedrock API reference "Converse" (InferenceConfiguration, ToolConfiguration, OutputConfig,
ServiceTier), user guide "Inference request parameters for foundation models", "Prompt caching", "Nova: extended
thinking"; inference API, sections 2.1, 5, 6 and 7.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from routebook.core.call import Call, Chat, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.dialects.bedrock_messages import Turns
from routebook.dialects.parts import Takes, not_here, own_members, strangers
from routebook.wire import codec

Claude = Callable[[Call, Endpoint, Losses], dict[str, Any]]
"""(call, endpoint, losses) -> the body that Anthropic's own API would be sent"""

_OWN = {
    "guardrailConfig": "guardrailConfig",
    "guardrail_config": "guardrailConfig",
    "performanceConfig": "performanceConfig",
    "performance_config": "performanceConfig",
    "additionalModelRequestFields": "additionalModelRequestFields",
    "additionalModelResponseFieldPaths": "additionalModelResponseFieldPaths",
    "promptVariables": "promptVariables",
}
"""Converse's own members, which a caller may send beside the chat API's"""

_NOT_HERE = tuple(
    "n min_p top_a frequency_penalty presence_penalty repetition_penalty seed logit_bias logprobs top_logprobs "
    "modalities audio image_config prediction prompt_cache_key".split()
)
_CLAUDES = tuple("reasoning temperature top_p top_k stop verbosity max_tokens".split())
"""parameters whose losses Anthropic's rules decide for a Claude"""

_EFFORTS = {"max": "high", "xhigh": "high", "high": "high", "medium": "medium", "low": "low", "minimal": "low"}


def family(model: str) -> str:
    """`claude`, `nova`, `gpt-oss`, `qwen`, `mistral`, `cohere` or ``, by the model's id, profile or ARN."""
    found = re.search(r"claude|nova|gpt-oss|qwen|mistral|cohere", model.lower())
    return found[0] if found else ""


def body(call: Call, endpoint: Endpoint, claude: Claude, losses: Losses) -> dict[str, Any]:
    """The request's body. Raises BadRequest, CannotExpress."""
    chat, takes = call.chat, Takes(endpoint, losses)
    kind = family(endpoint.upstream_model)
    caches = kind in ("claude", "nova")
    turns = Turns(chat.messages, caches=caches, losses=losses)
    if chat.cache_control is not None:
        turns.mark_last(chat.cache_control)
    out: dict[str, Any] = {"messages": turns.turns}
    if turns.system:
        out["system"] = turns.system
    more: dict[str, Any] = {}
    if kind == "claude":
        config = _claude(call, endpoint, claude, more, losses)
    else:
        config = _config(chat, takes)
        _top_k(chat, kind, more, takes, losses)
        _reasoning(chat, kind, more, takes, losses)
        if chat.verbosity is not None:
            losses.unsupported("verbosity", "Converse has no such parameter")
    if config:
        out["inferenceConfig"] = config
    if tools := _tools(call, turns, takes, losses):
        out["toolConfig"] = tools
    if (form := _format(chat, takes, losses)) is not None:
        out["outputConfig"] = {"textFormat": form}
    _rest(call, out, more, losses)
    if more:
        out["additionalModelRequestFields"] = more
    return out


# --- what the model is told -------------------------------------------------------------------------------------------


def _config(chat: Chat, takes: Takes) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if chat.max_tokens is not None and takes("max_tokens", "max_completion_tokens"):
        out["maxTokens"] = chat.max_tokens
    for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if (value := getattr(chat, name)) is not None and takes(name):
            out[theirs] = value
    if chat.stop and takes("stop"):
        out["stopSequences"] = chat.stop
    return out


def _claude(call: Call, endpoint: Endpoint, claude: Claude, more: dict[str, Any], losses: Losses) -> dict[str, Any]:
    """Claude's thinking, effort, sampling and limit as Anthropic's own API would be told them."""
    doubled = Losses()
    native = claude(call, endpoint, doubled)
    for loss in doubled.items:
        if loss.parameter.partition(".")[0] in _CLAUDES:
            if loss.mapped:
                losses.mapped(loss.parameter, loss.detail, agreed=loss.parameter == "reasoning.effort")
            else:
                losses.unsupported(loss.parameter, loss.detail)
    out: dict[str, Any] = {"maxTokens": native["max_tokens"]}
    for name, theirs in (("temperature", "temperature"), ("top_p", "topP"), ("stop_sequences", "stopSequences")):
        if name in native:
            out[theirs] = native[name]
    for name in ("top_k", "thinking"):
        if name in native:
            more[name] = native[name]
    if "effort" in native.get("output_config", {}):
        more["output_config"] = {"effort": native["output_config"]["effort"]}
    return out


def _top_k(chat: Chat, kind: str, more: dict[str, Any], takes: Takes, losses: Losses) -> None:
    if chat.top_k is None or not takes("top_k"):
        return
    if kind == "nova":
        more["inferenceConfig"] = {"topK": chat.top_k}
    elif kind in ("mistral", "qwen"):
        more["top_k"] = chat.top_k
    elif kind == "cohere":
        more["k"] = chat.top_k
    else:
        losses.unsupported("top_k", "this model takes none")


def _reasoning(chat: Chat, kind: str, more: dict[str, Any], takes: Takes, losses: Losses) -> None:
    wish = chat.reasoning
    if wish is None or not (wish.asked or wish.off) or not takes("reasoning", "reasoning_effort", "include_reasoning"):
        return
    if wish.summary in ("concise", "detailed"):
        losses.unsupported("reasoning.summary", "Converse has no kinds of summary")
    effort = _EFFORTS.get(wish.effort or "medium", "medium")
    if kind == "nova":
        config = {"type": "disabled"} if wish.off else {"type": "enabled", "maxReasoningEffort": effort}
        more["reasoningConfig"] = config
    elif kind in ("gpt-oss", "qwen"):
        name = "reasoning_effort" if kind == "gpt-oss" else "reasoning_config"
        if wish.off:
            losses.unsupported("reasoning", "this model always reasons")
            return
        more[name] = effort
    else:
        losses.unsupported("reasoning", "this model cannot be told")
        return
    if wish.max_tokens is not None and not wish.off:
        losses.unsupported("reasoning.max_tokens", "this model takes an effort, no number of tokens")


def _format(chat: Chat, takes: Takes, losses: Losses) -> dict[str, Any] | None:
    wish = chat.response_format or {}
    kind = wish.get("type", "text")
    if kind == "text":
        return None
    if kind != "json_schema":
        losses.unsupported("response_format", f"Converse has no {kind} mode; use json_schema, or ask in the prompt")
        return None
    if not takes("response_format", "structured_outputs"):
        return None
    named = wish.get("json_schema")
    named = named if isinstance(named, dict) else {}
    if not isinstance(schema := named.get("schema"), dict):
        raise BadRequest("response_format.json_schema.schema is missing; give the JSON schema of the answer.")
    told: dict[str, Any] = {"schema": codec.encode(schema).decode()}
    told |= {name: named[name] for name in ("name", "description") if isinstance(named.get(name), str)}
    return {"type": "json_schema", "structure": {"jsonSchema": told}}


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(call: Call, turns: Turns, takes: Takes, losses: Losses) -> dict[str, Any]:
    chat = call.chat
    specs: list[dict[str, Any]] = []
    for place, tool in enumerate(chat.tools or () if chat.tools and takes("tools", "tool_choice") else ()):
        if tool.type != "function" or tool.function is None:
            losses.unsupported(f"tools[{place}]", f"a tool of type {tool.type!r} is not run by this provider")
            continue
        function = tool.function
        spec: dict[str, Any] = {"name": function.name}
        if function.description:
            spec["description"] = function.description
        schema = function.parameters or {}
        spec["inputSchema"] = {"json": schema if "type" in schema else {"type": "object", "properties": {}, **schema}}
        if function.strict:
            spec["strict"] = True
        specs.append({"toolSpec": spec})
        if tool.cache_control is not None:
            specs += turns.point(tool.cache_control, f"tools[{place}].cache_control")
    if not specs:
        if chat.tool_choice not in (None, "none", "auto"):
            losses.unsupported("tool_choice", "no tool is sent that could be forced")
        return {}
    if chat.parallel_tool_calls is False:
        losses.unsupported("parallel_tool_calls", "Converse cannot keep a model from calling several tools at once")
    wish = chat.tool_choice
    if wish == "none":
        return _without(turns, specs, losses)
    out: dict[str, Any] = {"tools": specs}
    choice = _choice(wish)
    if choice is not None and wish is not None and takes("tool_choice", "tools"):
        out["toolChoice"] = choice
    elif choice is None:
        losses.unsupported("tool_choice", "Converse knows auto, required and one named function")
    return out


def _without(turns: Turns, specs: list[dict[str, Any]], losses: Losses) -> dict[str, Any]:
    """Converse has no `none`: without tools it cannot call any. Where the conversation has calls already, tools have
    to be named, so it may."""
    used = any("toolUse" in block or "toolResult" in block for turn in turns.turns for block in turn["content"])
    if not used:
        return {}
    losses.unsupported("tool_choice", "Converse has no `none`, and a conversation with calls has to name its tools")
    return {"tools": specs}


def _choice(wish: Any) -> dict[str, Any] | None:
    if wish is None or isinstance(wish, str):
        return {None: {"auto": {}}, "auto": {"auto": {}}, "required": {"any": {}}}.get(wish)
    if not isinstance(wish, dict) or wish.get("type") != "function":
        return None
    function = wish.get("function")
    name = function.get("name") if isinstance(function, dict) else wish.get("name")
    return {"tool": {"name": name}} if isinstance(name, str) and name else None


# --- the rest ---------------------------------------------------------------------------------------------------------


def _rest(call: Call, out: dict[str, Any], more: dict[str, Any], losses: Losses) -> None:
    chat = call.chat
    if chat.service_tier not in (None, "auto"):
        tier = {"default": "default", "flex": "flex", "priority": "priority", "fast": "priority"}.get(chat.service_tier)
        if tier is None:
            losses.unsupported("service_tier", f"Bedrock has no tier {chat.service_tier!r}")
        else:
            out["serviceTier"] = {"type": tier}
    user = call.user if call.user is not None else chat.user
    told = {key: value for key, value in (chat.metadata or {}).items() if value and len(value) <= 256}
    for key in (chat.metadata or {}).keys() - told.keys():
        losses.unsupported(f"metadata.{key}", "Bedrock takes values of 1 to 256 characters")
    if user is not None:
        told["user"] = hashlib.sha256(user.encode()).hexdigest()[:32]
    if told:
        out["requestMetadata"] = told
    not_here(call, _NOT_HERE, "Converse", losses)
    strangers(call, _OWN, "Converse", losses)
    for name, value in own_members(call, _OWN).items():
        if name != "additionalModelRequestFields":
            out[_OWN[name]] = value
            continue
        fields = codec.decode_exact(bytes(value))
        if not isinstance(fields, dict):
            raise BadRequest("additionalModelRequestFields: expected an object.")
        more |= fields

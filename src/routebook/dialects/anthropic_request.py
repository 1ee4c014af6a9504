"""Anthropic Messages, the request: parameters, tools, thinking, output format, headers.

Part of the dialect in `anthropic.py`; messages are turned in `anthropic_turns.py`. Every parameter is sent, mapped, or
goes through `losses.unsupported`; values that change nothing (a penalty of 0, n of 1) are not asked for. Sources,
read 2026-11: platform.claude.com "Messages", "Extended thinking", "Adaptive thinking", "Effort", "Structured outputs",
"Service tiers"; efforts, budgets and verbosity: inference API, section 7; `user` is hashed: section 2.1.
"""

from __future__ import annotations

import hashlib
from typing import Any

from routebook.core.call import Call, Chat, Losses, Tool
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.dialects.anthropic_models import EFFORTS, Traits, nearest, traits
from routebook.dialects.anthropic_own import own_body
from routebook.dialects.anthropic_turns import Turns, cache
from routebook.wire import codec
from routebook.wire.http import HttpRequest

VERSION = "2023-06-01"
FILES_BETA = "files-api-2025-04-14"

MAX_TOKENS = 4096
"""What an answer may have where neither the caller nor the catalogue says: the API wants a number."""

BUDGET_MIN = 1024
BUDGET_MAX = 128_000
_PERCENT = {"max": 95, "xhigh": 95, "high": 80, "medium": 50, "low": 20, "minimal": 10}
"""of max_tokens that an effort gives to thinking where it is a budget"""

_GATEWAY = frozenset(
    """model models messages prompt stream stream_options usage route provider preset plugins transforms session_id
    trace debug stop_server_tools_when max_tool_calls web_search_options x_search_filter include_reasoning
    reasoning_effort structured_outputs max_completion_tokens""".split()
)
"""members of a chat body that the gateway itself acts on or accounts for"""


def build(call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
    """POST {base_url}/v1/messages; a base_url that already ends in /v1 is tolerated."""
    if call.surface == "anthropic":
        body, files = own_body(call, endpoint, losses, MAX_TOKENS)
    else:
        body, files = _translated(call, endpoint, losses)
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if call.stream else "application/json"),
    ]
    headers.append(("anthropic-version", VERSION))
    betas = dict.fromkeys((*call.betas, FILES_BETA) if files else call.betas)
    if betas:
        headers.append(("anthropic-beta", ",".join(betas)))
    if secret is not None:
        headers.append(("x-api-key", secret))
    base = endpoint.provider.base_url.rstrip("/").removesuffix("/v1")
    return HttpRequest("POST", f"{base}/v1/messages", tuple(headers), body)


def _translated(call: Call, endpoint: Endpoint, losses: Losses) -> tuple[bytes, bool]:
    """(the body of a call in another dialect, whether it names files of the vendor's own store)."""
    chat, model = call.chat, traits(endpoint.upstream_model)
    takes = _Takes(endpoint, losses)
    turns = Turns(chat.messages, model, losses)
    tools = _tools(chat, model, takes, losses, call.stream)
    choice = _choice(chat, bool(tools), model, takes, losses)
    thinking = _thinking(chat, endpoint, model, turns, choice, takes, losses)
    body: dict[str, Any] = {"model": endpoint.upstream_model, "max_tokens": thinking.max_tokens}
    if turns.system:
        body["system"] = turns.system
    body["messages"] = turns.turns
    if call.stream:
        body["stream"] = True
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if thinking.config is not None:
        body["thinking"] = thinking.config
    if config := _output_config(chat, model, thinking.effort, endpoint, takes, losses):
        body["output_config"] = config
    body |= _sampling(chat, model, thinking.on, takes, losses)
    if chat.cache_control is not None:
        body["cache_control"] = cache(chat.cache_control)
    user = call.user if call.user is not None else chat.user
    if user is not None:
        body["metadata"] = {"user_id": hashlib.sha256(user.encode()).hexdigest()[:32]}
    if tier := _tier(chat.service_tier, losses):
        body["service_tier"] = tier
    _unsupported(call, losses)
    return codec.encode(body), turns.files


class _Takes:
    """Which parameters the endpoint is known to take; what it does not is recorded once and not sent."""

    def __init__(self, endpoint: Endpoint, losses: Losses) -> None:
        self._known = endpoint.supported_parameters
        self._losses = losses

    def __call__(self, parameter: str, *also: str) -> bool:
        """True if the endpoint takes `parameter` or one of its other names."""
        if self._known is None or not self._known.isdisjoint((parameter, *also)):
            return True
        self._losses.unsupported(parameter, "this endpoint does not take it")
        return False


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(chat: Chat, model: Traits, takes: _Takes, losses: Losses, stream: bool) -> list[dict[str, Any]]:
    if not chat.tools or not takes("tools", "tool_choice"):
        return []
    out = []
    for place, tool in enumerate(chat.tools):
        if tool.type != "function" or tool.function is None:
            losses.unsupported(f"tools[{place}]", f"a tool of type {tool.type!r} is not run by this provider")
        else:
            out.append(_tool(tool, f"tools[{place}]", model, losses, stream))
    return out


def _tool(tool: Tool, at: str, model: Traits, losses: Losses, stream: bool) -> dict[str, Any]:
    function = tool.function
    assert function is not None
    out: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        out["description"] = function.description
    schema = function.parameters or {}
    out["input_schema"] = schema if "type" in schema else {"type": "object", "properties": {}, **schema}
    if function.strict:
        if model.schema is False:
            losses.unsupported(f"{at}.function.strict", "this model does not hold tools to their schema")
        else:
            out["strict"] = True
    elif stream and model.schema:
        # Otherwise the provider withholds arguments until they are complete (inference API, section 5).
        out["eager_input_streaming"] = True
    if tool.cache_control is not None:
        out["cache_control"] = cache(tool.cache_control)
    return out


def _choice(chat: Chat, tools: bool, model: Traits, takes: _Takes, losses: Losses) -> dict[str, Any] | None:
    wanted, parallel = chat.tool_choice, chat.parallel_tool_calls
    if not tools:
        if wanted not in (None, "none", "auto"):
            losses.unsupported("tool_choice", "no tool is sent that could be forced")
        return None
    out: dict[str, Any] | None = None
    if wanted is not None and takes("tool_choice", "tools"):
        out = _forced(wanted)
        if out is None:
            losses.unsupported("tool_choice", "Anthropic knows none, auto, required and one named function")
        elif out["type"] in ("any", "tool") and not model.forced:
            losses.unsupported("tool_choice", "this model cannot be forced to use a tool")
            out = {"type": "auto"}
    if parallel is False and (out is None or out["type"] != "none"):
        out = {**(out or {"type": "auto"}), "disable_parallel_tool_use": True}
    return out


def _forced(wanted: Any) -> dict[str, Any] | None:
    if isinstance(wanted, str):
        kind = {"none": "none", "auto": "auto", "required": "any"}.get(wanted)
        return {"type": kind} if kind else None
    if not isinstance(wanted, dict) or wanted.get("type") != "function":
        return None
    function = wanted.get("function")
    name = function.get("name") if isinstance(function, dict) else wanted.get("name")
    return {"type": "tool", "name": name} if isinstance(name, str) and name else None


# --- thinking and output ----------------------------------------------------------------------------------------------


class _Thinking:
    """What the wish for reasoning became."""

    def __init__(self, max_tokens: int, config: dict[str, Any] | None = None, effort: str | None = None) -> None:
        self.max_tokens = max_tokens
        self.config = config
        self.effort = effort

    @property
    def on(self) -> bool:
        return self.config is not None and self.config["type"] in ("enabled", "adaptive")


def _thinking(
    chat: Chat,
    endpoint: Endpoint,
    model: Traits,
    turns: Turns,
    choice: dict[str, Any] | None,
    takes: _Takes,
    losses: Losses,
) -> _Thinking:
    """Thinking as the model takes it: adaptive with an effort from Claude 4.6 on, a budget before and where the caller
    names one that the model takes. What cannot stand beside thinking (a forced tool, a prefill, tool calls without
    their thinking, too few tokens) wins, because the caller's answer depends on it."""
    maximum = chat.max_tokens or endpoint.max_completion_tokens or MAX_TOKENS
    plain = _Thinking(maximum)
    wish = chat.reasoning
    if wish is None or not (wish.asked or wish.off) or not takes("reasoning", "include_reasoning", "reasoning_effort"):
        return plain
    if wish.off:
        if model.off is None:
            raise BadRequest("This model always reasons; leave reasoning out or ask for a low effort.")
        return _Thinking(maximum, {"type": model.off} if model.thinks else None)
    if not model.thinks:
        losses.unsupported("reasoning", "this model does not reason")
        return plain
    if wish.summary in ("concise", "detailed"):
        losses.unsupported("reasoning.summary", "Anthropic has one kind of summary")
    if model.adaptive and (wish.max_tokens is None or not model.budget):
        if wish.max_tokens is not None:
            losses.unsupported("reasoning.max_tokens", "this model decides itself how much to think")
        config = {"type": "adaptive"}
        if wish.exclude:
            config["display"] = "omitted"
        elif not model.shows:
            config["display"] = "summarized"
        effort = nearest(wish.effort, model.efforts) if wish.effort else None
        if effort != wish.effort:
            losses.mapped("reasoning.effort", f"the nearest that this model has: {effort or 'its own'}", agreed=True)
        return _Thinking(maximum, config, effort)
    hindrance = (
        "a forced tool" if choice is not None and choice["type"] in ("any", "tool")
        else "a last message of the assistant" if turns.prefilled
        else "tool calls handed back without their reasoning_details" if turns.unthought
        else None
    )  # fmt: skip
    if hindrance:
        losses.unsupported("reasoning", f"this model cannot think with a budget beside {hindrance}")
        return plain
    return _budget(chat, endpoint, maximum, losses)


def _budget(chat: Chat, endpoint: Endpoint, maximum: int, losses: Losses) -> _Thinking:
    """`thinking.type: enabled`. max_tokens must exceed the budget; where the caller set none it is raised to that."""
    wish = chat.reasoning
    assert wish is not None
    if wish.max_tokens is None:
        wanted = maximum * _PERCENT.get(wish.effort or "medium", 50) // 100
    else:
        wanted = wish.max_tokens
        if chat.max_tokens is not None and chat.max_tokens <= wanted:
            raise BadRequest("reasoning.max_tokens must be less than max_tokens: raise max_tokens or lower the budget.")
    budget = min(max(wanted, BUDGET_MIN), BUDGET_MAX)
    if chat.max_tokens is None and maximum <= budget:
        maximum = min(budget + MAX_TOKENS, endpoint.max_completion_tokens or budget + MAX_TOKENS)
    if maximum <= BUDGET_MIN:
        losses.unsupported("reasoning", f"thinking takes {BUDGET_MIN} tokens at least and max_tokens leaves no more")
        return _Thinking(maximum)
    if maximum <= budget:
        losses.mapped("reasoning.max_tokens", "more than the endpoint answers at most: lowered")
        budget = maximum - 1
    if wish.max_tokens is None and wish.effort is not None:
        losses.mapped("reasoning.effort", f"this model takes a budget: {budget} tokens", agreed=True)
    return _Thinking(maximum, {"type": "enabled", "budget_tokens": budget})


def _output_config(
    chat: Chat, model: Traits, effort: str | None, endpoint: Endpoint, takes: _Takes, losses: Losses
) -> dict[str, Any]:
    """Effort (verbosity wins over reasoning.effort) and the schema of the answer."""
    out: dict[str, Any] = {}
    if chat.verbosity is not None and takes("verbosity"):
        if chat.verbosity in EFFORTS and model.efforts:
            effort = nearest(chat.verbosity, model.efforts)
        else:
            losses.unsupported("verbosity", "this model has no levels of effort")
    if effort is not None:
        out["effort"] = effort
    wanted = chat.response_format or {}
    kind = wanted.get("type", "text")
    if kind == "text":
        return out
    if kind != "json_schema":
        losses.unsupported("response_format", f"Anthropic has no {kind} mode; use json_schema, or ask in the prompt")
        return out
    if not takes("response_format", "structured_outputs"):
        return out
    known = endpoint.supported_parameters
    if not (known is not None and "structured_outputs" in known if model.schema is None else model.schema):
        losses.unsupported("response_format", "this model does not hold its answer to a schema")
        return out
    described = wanted.get("json_schema")
    described = described if isinstance(described, dict) else {}
    schema = described.get("schema")
    if not isinstance(schema, dict):
        raise BadRequest("response_format.json_schema.schema is missing; give the JSON schema of the answer.")
    schema = _closed(schema)
    if isinstance(text := described.get("description"), str) and "description" not in schema:
        schema["description"] = text
    out["format"] = {"type": "json_schema", "schema": schema}
    return out


def _closed(schema: Any) -> Any:
    """The schema with objects closed where it says nothing of further members: the API refuses them open."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            out[key] = {name: _closed(inner) for name, inner in value.items()}
        elif key in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"):
            out[key] = _closed(value)
        else:
            out[key] = value
    if (out.get("type") == "object" or "properties" in out) and "additionalProperties" not in out:
        out["additionalProperties"] = False
    return out


# --- the rest ---------------------------------------------------------------------------------------------------------


def _sampling(chat: Chat, model: Traits, thinks: bool, takes: _Takes, losses: Losses) -> dict[str, Any]:
    """temperature, top_p, top_k and stop. While a model thinks, and on models from Claude 4.7 on, the provider refuses
    most of the first three."""
    out: dict[str, Any] = {}
    given = {"temperature": chat.temperature, "top_p": chat.top_p, "top_k": chat.top_k}
    for name, value in given.items():
        if value is None or not takes(name):
            continue
        if name == "temperature" and value > 1:
            losses.mapped(name, "Anthropic's highest is 1: sent as 1")
            value = 1
        default = name == "temperature" and value == 1
        if not model.sampling:
            why = "" if default else "this model takes no sampling parameters"
        elif thinks and not default and not (name == "top_p" and value >= 0.95):
            why = "cannot be set while the model thinks"
        elif name == "top_p" and "temperature" in out and not model.both:
            why = "this model takes temperature or top_p, not both"
        else:
            out[name] = value
            continue
        if why:
            losses.unsupported(name, why)
    if chat.stop and takes("stop"):
        out["stop_sequences"] = [text for text in chat.stop if text.strip()]
        if len(out["stop_sequences"]) < len(chat.stop):
            losses.unsupported("stop", "Anthropic refuses sequences of white space alone")
        if not out["stop_sequences"]:
            del out["stop_sequences"]
    return out


def _tier(wanted: str | None, losses: Losses) -> str | None:
    """`auto` uses the account's priority capacity where there is some, `standard_only` never does."""
    if wanted is None:
        return None
    if wanted == "default":
        return "standard_only"
    if wanted in ("auto", "priority", "fast"):
        return "auto"
    losses.unsupported("service_tier", f"Anthropic has no {wanted} tier")
    return None


def _unsupported(call: Call, losses: Losses) -> None:
    """Record what Anthropic has no word for."""
    chat = call.chat
    asked = {
        "seed": chat.seed is not None,
        "n": chat.n is not None and chat.n != 1,
        "min_p": bool(chat.min_p),
        "top_a": bool(chat.top_a),
        "frequency_penalty": bool(chat.frequency_penalty),
        "presence_penalty": bool(chat.presence_penalty),
        "repetition_penalty": chat.repetition_penalty is not None and chat.repetition_penalty != 1,
        "logit_bias": bool(chat.logit_bias),
        "logprobs": bool(chat.logprobs),
        "top_logprobs": bool(chat.top_logprobs),
        "modalities": chat.modalities is not None and chat.modalities != ["text"],
        "audio": bool(chat.audio),
        "image_config": bool(chat.image_config),
        "prediction": bool(chat.prediction),
        "prompt_cache_key": chat.prompt_cache_key is not None,
        "metadata": bool(chat.metadata),
    }
    for name, yes in asked.items():
        if yes:
            losses.unsupported(name, "Anthropic has no such parameter")
    if call.surface != "openai_chat":
        return
    noted = {name.partition("[")[0].partition(".")[0] for name, _ in call.ignored}
    for name, value in call.raw.items():
        if (
            name not in _GATEWAY
            and name not in Chat.__struct_fields__
            and name not in noted
            and bytes(value) != b"null"
        ):
            losses.unsupported(name, "not a parameter that Anthropic knows")

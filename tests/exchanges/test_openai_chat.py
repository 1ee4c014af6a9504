"""Every recorded chat completions answer, read three ways, against an oracle that uses the stdlib alone."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import UpstreamCredential, UpstreamRefused
from routebook.core.events import Plain
from routebook.core.usage import Usage
from routebook.dialects.openai_chat import UPSTREAM
from routebook.wire import codec
from tests.dialects.test_openai_chat_common import both_ways
from tests.exchanges.harness import (
    FOLDER,
    Exchange,
    Facts,
    check,
    differences,
    exchanges,
    parsed,
    read_three_ways,
    refused,
)

FILES = (
    "openai.chat",
    "groq.chat",
    "mistral.chat",
    "deepseek.chat",
    "cerebras.chat",
    "openrouter.chat",
    "azure.chat",
    "xai.chat",
    "moonshotai.chat",
    "perplexity.chat",
    "z-ai.chat",
    "huggingface.chat",
    "alibaba.chat",
    "openai-compatible.chat",
    "google-ai-studio.chat",
    "ollama.chat",
    "crusoe.chat",
    "snowflake.chat",
)
NAMES = {
    name: [row.name for row in exchanges(name)] if (FOLDER / f"{name}.jsonl").exists() else ["(absent)"]
    for name in FILES
}

NORMAL = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


def of_details(usage: dict[str, Any], group: str, name: str) -> Any:
    return (usage.get(group) or {}).get(name)


def expected_usage(usage: dict[str, Any]) -> Usage:
    """Counts by the rules of the generation record, section 9.1, in the plainest words possible."""
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    hidden = usage.get("total_tokens", 0) - prompt - completion
    cached = [
        of_details(usage, "prompt_tokens_details", "cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("num_cached_tokens"),
    ]
    known = [count for count in cached if count is not None]
    return Usage(
        prompt=prompt,
        completion=completion + max(hidden, 0),
        reasoning=of_details(usage, "completion_tokens_details", "reasoning_tokens"),
        cached=max(known) if known else None,
        cache_write=of_details(usage, "prompt_tokens_details", "cache_write_tokens"),
        audio_prompt=of_details(usage, "prompt_tokens_details", "audio_tokens"),
        audio_completion=of_details(usage, "completion_tokens_details", "audio_tokens"),
        image_prompt=of_details(usage, "prompt_tokens_details", "image_tokens"),
        video_prompt=of_details(usage, "prompt_tokens_details", "video_tokens"),
        image_completion=of_details(usage, "completion_tokens_details", "image_tokens"),
        accepted_prediction=of_details(usage, "completion_tokens_details", "accepted_prediction_tokens"),
        rejected_prediction=of_details(usage, "completion_tokens_details", "rejected_prediction_tokens"),
        web_searches=of_details(usage, "server_tool_use_details", "web_search_requests"),
        raw=codec.encode(usage),
    )


def text_and_thought(content: Any) -> tuple[str, str]:
    """Content is a text, or Mistral's list of text and thinking parts."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part["text"] for part in content if part["type"] == "text")
    thoughts = [piece["text"] for part in content if part["type"] == "thinking" for piece in part["thinking"]]
    return text, "".join(thoughts)


def expected(exchange: Exchange) -> Facts:
    """Fold the recorded JSON; message and delta have the same members."""
    text = reasoning = refusal = ""
    calls: dict[Any, list[str]] = {}
    images = annotations = 0
    known: dict[str, Any] = {}
    finish = native = usage = None
    failed = False
    for value in exchange.objects():
        for name in ("id", "model", "service_tier"):
            known[name] = known.get(name) or value.get(name)
        failed = failed or bool(value.get("error"))
        usage = value.get("usage") or (value.get("x_groq") or {}).get("usage") or usage
        for choice in value.get("choices") or ():
            message = choice.get("delta") or choice.get("message") or {}
            more, thought = text_and_thought(message.get("content"))
            text += more
            reasoning += thought or message.get("reasoning") or message.get("reasoning_content") or ""
            refusal += message.get("refusal") or ""
            images += len(message.get("images") or ())
            annotations += len(message.get("annotations") or ())
            for place, call in enumerate(message.get("tool_calls") or ()):
                index = call.get("index", place) if exchange.stream else place
                body = call["function"] if call.get("type", "function") == "function" else call[call["type"]]
                kept = calls.setdefault(index, ["", ""])
                kept[0] = kept[0] or body.get("name") or ""
                kept[1] += body.get("arguments") or ""
            if choice.get("finish_reason") is not None and finish is None and not failed:
                finish, native = choice["finish_reason"], choice.get("native_finish_reason") or choice["finish_reason"]
    if finish == "" and not exchange.stream:  # a provider that leaves the word out of a whole answer
        finish, native = "stop", None
    if finish == "stop" and calls:
        finish = "tool_calls"
    return Facts(
        upstream_id=known["id"] or None,
        model=known["model"] or None,
        text=text,
        reasoning=reasoning,
        refusal=refusal,
        tool_calls=[(name, parsed(arguments)) for _, (name, arguments) in sorted(calls.items())],
        finish=finish,
        native=native,
        usage=expected_usage(usage) if usage else None,
        images=images,
        annotations=annotations,
        service_tier=known["service_tier"] or None,
        failed=UpstreamRefused() if failed else None,
    )


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in NAMES.items() for name in names])
def test_a_recorded_chat_answer_gives_the_facts_its_json_holds(file: str, name: str) -> None:
    exchange = next(row for row in exchanges(file) if row.name == name)
    if exchange.status != 200:
        fault = refused(UPSTREAM, exchange)
        kind = UpstreamCredential if exchange.status == 404 else UpstreamRefused
        check(
            file,
            exchange,
            [] if type(fault) is kind and fault.message else [f"{type(fault).__name__} {fault.message!r}"],
        )
        assert fault.provider_status == exchange.status
        return
    if "choices" not in exchange.text:  # filed under chat, but an answer of another API: must fail as garbage
        facts = read_three_ways(UPSTREAM, exchange)
        check(file, exchange, ["no chat answer"] if facts.failed is not None else [])
        return
    check(file, exchange, differences(read_three_ways(UPSTREAM, exchange), expected(exchange)))


@pytest.mark.parametrize("file", FILES)
def test_recorded_whole_answers_say_the_same_the_short_way_and_the_full_way(file: str) -> None:
    short = 0
    for exchange in exchanges(file):
        if exchange.status == 200 and exchange.content_type == "application/json":
            short += any(isinstance(event, Plain) for event in both_ways(exchange.body))
    print(f"{file}: {short} whole answers took the short way")

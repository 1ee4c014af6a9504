"""Canonical requests, one for each thing a caller can say. Each names its evidence: marks that have to be in what the
provider is sent. Marks are words and numbers that no escaping changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PNG = "data:image/png;base64,iVBORw0KGgoZEBRA"
PDF = "data:application/pdf;base64,JVBERi0ZEBRA"
WAV = "UklGRgZEBRAA"
SIGNATURE = "c2lnbmVkZEBRA"
SCHEMA = {
    "type": "object", "properties": {"zebra": {"type": "string"}}, "required": ["zebra"], "additionalProperties": False
}  # fmt: skip
WEATHER = {"type": "function", "function": {"name": "zebra_weather", "description": "Zebras", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "zebra_time", "parameters": SCHEMA}}
HI = {"role": "user", "content": "Zebra"}


@dataclass(frozen=True)
class Case:
    name: str
    body: dict[str, Any]
    evidence: tuple[str, ...]


def said(name: str, *evidence: str, messages: list[dict[str, Any]] | None = None, **members: Any) -> Case:
    return Case(name, {"messages": messages or [HI], "max_tokens": 9000, **members}, evidence)


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "Zebra"}, *parts]}]


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def call(id: str, name: str = "zebra_weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"zebra":"Oslo"}'}}


def result(id: str, content: Any = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def called(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HI, *turns, {"role": "user", "content": "Go on"}], "tools": [WEATHER, TIME]}


def thought(**detail: Any) -> list[dict[str, Any]]:
    """A conversation whose earlier answer has that piece of reasoning."""
    answer = {"role": "assistant", "content": "So.", "reasoning_details": [{"index": 0, **detail}]}
    return [HI, answer, {"role": "user", "content": "Go on"}]


CASES: tuple[Case, ...] = (
    said("text", "Zebra"),
    said("system message", "Brief77", messages=[{"role": "system", "content": "Brief77"}, HI]),
    said("developer message", "Brief77", messages=[{"role": "developer", "content": "Brief77"}, HI]),
    said(
        "system message in the middle", "Brief77",
        messages=[HI, {"role": "assistant", "content": "A"}, {"role": "system", "content": "Brief77"}, HI],
    ),
    said(
        "several turns", "Answer77", "Again77",
        messages=[HI, {"role": "assistant", "content": "Answer77"}, {"role": "user", "content": "Again77"}],
    ),
    said("two messages of one role", "One77", "Two77", messages=[
        {"role": "user", "content": "One77"}, {"role": "user", "content": "Two77"},
    ]),
    said("name of a speaker", "Ann77", messages=[{"role": "user", "content": "Zebra", "name": "Ann77"}]),
    said("prefill", "Begins77", messages=[HI, {"role": "assistant", "content": "Begins77"}]),
    said("tools", "zebra_weather", "zebra_time", "Zebras", tools=[WEATHER, TIME]),
    said("strict tool", "zebra_weather", tools=[
        {"type": "function", "function": {**WEATHER["function"], "strict": True}},  # type: ignore[dict-item]
    ]),
    said("tool_choice auto", "zebra_weather", tools=[WEATHER], tool_choice="auto"),
    said("tool_choice none", "Zebra", tools=[WEATHER], tool_choice="none"),
    said("tool_choice required", "zebra_weather", tools=[WEATHER], tool_choice="required"),
    said(
        "tool_choice by name", "zebra_time", tools=[WEATHER, TIME],
        tool_choice={"type": "function", "function": {"name": "zebra_time"}},
    ),
    said("one tool at a time", "zebra_weather", tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False),
    said(
        "a call and its result", "zebra_weather", "Oslo", "sunny",
        **called({"role": "assistant", "content": None, "tool_calls": [call("call_77")]}, result("call_77")),
    ),
    said(
        "two calls and their results", "zebra_weather", "zebra_time", "sunny77", "noon77",
        **called(
            {"role": "assistant", "content": "Both", "tool_calls": [call("call_77"), call("call_78", "zebra_time")]},
            result("call_77", "sunny77"), result("call_78", "noon77"),
        ),
    ),
    said(
        "a result with a picture", "iVBORw0KGgoZEBRA", "This77",
        **called(
            {"role": "assistant", "content": None, "tool_calls": [call("call_77")]},
            result("call_77", [{"type": "text", "text": "This77"}, image(PNG)]),
        ),
    ),
    said("picture as data", "iVBORw0KGgoZEBRA", messages=user(image(PNG))),
    said("picture by URL", "https://zebra.test/a.png", messages=user(image("https://zebra.test/a.png"))),
    said("detail of a picture", "iVBORw0KGgoZEBRA", "low", messages=user(image(PNG, detail="low"))),
    said("PDF as data", "JVBERi0ZEBRA", messages=user(
        {"type": "file", "file": {"filename": "z.pdf", "file_data": PDF}},
    )),
    said("PDF by URL", "https://zebra.test/z.pdf", messages=user(
        {"type": "file", "file": {"filename": "z.pdf", "file_data": "https://zebra.test/z.pdf"}},
    )),
    said("sound", WAV, messages=user({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})),
    said("video", "AAAAZEBRAA==", messages=user(
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAAZEBRAA=="}},
    )),
    said("json_schema", "zebra", response_format={
        "type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }),
    said("json_object", response_format={"type": "json_object"}),
    said("reasoning effort", reasoning={"effort": "low"}),
    said("reasoning budget", "2077", reasoning={"max_tokens": 2077}),
    said("reasoning off", reasoning={"effort": "none"}),
    said("Claude's signed thought", "Hmm77", SIGNATURE, messages=thought(
        type="reasoning.text", text="Hmm77", signature=SIGNATURE, format="anthropic-claude-v1",
    )),
    said("Claude's redacted thought", "redactedZEBRA", messages=thought(
        type="reasoning.encrypted", data="redactedZEBRA", format="anthropic-claude-v1",
    )),
    said("Gemini's signed thought", SIGNATURE, messages=thought(
        type="reasoning.encrypted", data=SIGNATURE, format="google-gemini-v1",
    )),
    said("OpenAI's sealed reasoning", "sealedZEBRA", messages=thought(
        type="reasoning.encrypted", data="sealedZEBRA", id="rs_77", format="openai-responses-v1",
    )),
    said("open reasoning", "Hmm77", messages=[
        HI, {"role": "assistant", "content": "So.", "reasoning": "Hmm77"}, {"role": "user", "content": "Go on"},
    ]),
    said("cache mark", "Long77", "ache", messages=[
        {"role": "user", "content": [{"type": "text", "text": "Long77", "cache_control": {"type": "ephemeral"}}]},
    ]),
    said("temperature and top_p", "0.77", "0.88", temperature=0.77, top_p=0.88),
    said("temperature above 1", "1.77", temperature=1.77),
    said("top_k", "77", top_k=77),
    said("min_p, top_a", "0.077", "0.078", min_p=0.077, top_a=0.078),
    said("penalties", "0.77", "0.88", presence_penalty=0.77, frequency_penalty=0.88),
    said("repetition_penalty", "1.077", repetition_penalty=1.077),
    said("stop", "STOP7", "STOP8", stop=["STOP7", "STOP8"]),
    said("seed", "471147", seed=471147),
    said("several choices", "17", n=17),
    said("logprobs", "13", logprobs=True, top_logprobs=13),
    said("logit_bias", "471147", logit_bias={"471147": -7}),
    said("verbosity", "low", verbosity="low"),
    said("service_tier", "flex", service_tier="flex"),
    said("prompt_cache_key", "key77", prompt_cache_key="key77"),
    said("prediction", "Guess77", prediction={"type": "content", "content": "Guess77"}),
    said("metadata", "value77", metadata={"name77": "value77"}),
    said("user", user="ann-77"),
    said("streamed", stream=True),
    said("a member that nobody knows", "riddle77", riddle="riddle77"),
    said("what is for the gateway", "Zebra", session_id="s77", provider={"order": ["acme"]}),
)  # fmt: skip

CHANGED = {
    "tool_choice none": "tool_choice",
    "tool_choice required": "tool_choice",
    "tool_choice by name": "tool_choice",
    "one tool at a time": "parallel_tool_calls",
    "json_object": "response_format",
    "reasoning effort": "reasoning",
    "reasoning off": "reasoning",
    "verbosity": "verbosity",
    "service_tier": "service_tier",
    "user": "user",
    "streamed": "stream",
}
"""Cases whose mark may be there without them: what the provider is sent has to be another thing without that member,
unless it is said to be lost."""

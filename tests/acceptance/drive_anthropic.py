"""Runs inside the environment of the `anthropic` SDK: does what a user of it would, prints what it got as JSON.

usage: drive_anthropic.py BASE_URL KEY MODEL
"""

import json
import sys
from typing import Any

import anthropic  # type: ignore[import-not-found]

WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def message(client: Any, model: str) -> dict[str, Any]:
    raw = client.messages.with_raw_response.create(
        model=model,
        max_tokens=1000,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=said("Hi. [[prompt=90 cached=40 written=10 completion=20 reasoning=5]]"),
        metadata={"user_id": "u-1"},
    )
    return {"message": raw.parse().model_dump(), "generation": raw.headers["x-generation-id"]}


def stream(client: Any, model: str) -> dict[str, Any]:
    kinds = []
    with client.messages.stream(
        model=model, max_tokens=1000, messages=said("Go on. [[prompt=11 completion=9 pieces=4]]")
    ) as events:
        for event in events:
            kinds.append(event.type)
        whole = events.get_final_message()
    return {"kinds": kinds, "message": whole.model_dump()}


def thinking(client: Any, model: str) -> dict[str, Any]:
    """Two turns, the second with the thinking of the first handed back."""
    asked = said("Think. [[completion=20 reasoning=8]]")
    wish = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(model=model, max_tokens=4000, messages=asked, thinking=wish) as events:
        first = events.get_final_message()
    turns = [*asked, {"role": "assistant", "content": first.content}, *said("And now? [[completion=6]]")]
    second = client.messages.create(model=model, max_tokens=4000, messages=turns, thinking=wish)
    return {"first": first.model_dump(), "second": second.model_dump()}


def tools(client: Any, model: str) -> dict[str, Any]:
    """A call of a tool, whole and streamed, and its result with a picture."""
    asked = said("What is the weather?")
    first = client.messages.create(
        model=model, max_tokens=1000, messages=asked, tools=[WEATHER], tool_choice={"type": "any"}
    )
    with client.messages.stream(model=model, max_tokens=1000, messages=asked, tools=[WEATHER]) as events:
        streamed = events.get_final_message()
    call = next(block for block in streamed.content if block.type == "tool_use")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}, image]}
    turns = [*asked, {"role": "assistant", "content": streamed.content}, {"role": "user", "content": [result]}]
    last = client.messages.create(
        model=model, max_tokens=1000, messages=turns, tools=[WEATHER], tool_choice={"type": "none"}
    )
    return {"whole": first.model_dump(), "streamed": streamed.model_dump(), "last": last.model_dump()}


def structured(client: Any, model: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = client.messages.create(
        model=model,
        max_tokens=1000,
        messages=said("Plan."),
        output_config={"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}},
    )
    return {"message": answer.model_dump()}


def counted(client: Any, model: str) -> dict[str, Any]:
    raw = client.messages.with_raw_response.count_tokens(model=model, messages=said("How long is this?"), system="Hm.")
    return {"tokens": raw.parse().input_tokens, "how": raw.headers.get("x-routebook-count")}


def faults(client: Any, model: str) -> dict[str, Any]:
    """The SDK's own error for each."""
    out = {}

    def ask(name: str, text: str = "Hi.", model: str = model, who: Any = client, **more: Any) -> None:
        try:
            who.messages.create(model=model, max_tokens=100, messages=said(text), **more)
        except anthropic.APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {}
            out[name] = [type(error).__name__, error.status_code, body.get("error", {}).get("type")]

    ask("temperature", extra_body={"temperature": 9})
    ask("model", model="scripted/none")
    ask("limited", "Hi. [[status=429]]")
    ask("down", "Hi. [[status=500]]")
    ask("nobody", who=anthropic.Anthropic(api_key="sk-rb-v1-nobodys", base_url=str(client.base_url), max_retries=0))
    try:
        with client.messages.stream(model=model, max_tokens=100, messages=said("Fail. [[error=2 pieces=4]]")) as events:
            for _ in events:
                pass
    except anthropic.APIError as error:
        out["in the stream"] = [type(error).__name__, getattr(error, "status_code", None), error.message]
    return out


def main() -> None:
    base, key, model = sys.argv[1:]
    out = {}
    with anthropic.Anthropic(api_key=key, base_url=base, max_retries=0) as client:
        for step in (message, stream, thinking, tools, structured, counted, faults):
            out[step.__name__] = step(client, model)
    print(json.dumps(out))


if __name__ == "__main__":
    main()

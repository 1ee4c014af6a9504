"""Runs inside the environment of the `openrouter` SDK: does what a user of it would, prints what it got as JSON.

usage: drive_openrouter.py BASE_URL KEY ADMIN_KEY
"""

import json
import sys
from typing import Any

from openrouter import OpenRouter, errors  # type: ignore[import-not-found]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def record_of(client: Any, id: str) -> dict[str, Any]:
    found = client.generations.get_generation(id=id)
    assert type(found).__name__ == "GenerationResponse", type(found)
    record: dict[str, Any] = found.data.model_dump()
    return record


def chat(client: Any) -> dict[str, Any]:
    answer = client.chat.send(
        model="scripted/cached",
        messages=said("Hi. [[prompt=90 cached=40 written=10 completion=20 reasoning=5]]"),
        user="u-1",
        session_id="s-1",
    )
    return {"answer": answer.model_dump(), "record": record_of(client, answer.id)}


def stream(client: Any) -> dict[str, Any]:
    with client.chat.send(
        model="scripted/plain", messages=said("Go on. [[prompt=11 completion=9 pieces=4]]"), stream=True
    ) as events:
        chunks = list(events)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    return {
        "text": text,
        "usage": chunks[-1].usage.model_dump(),
        "record": record_of(client, chunks[0].id),
    }


def tools(client: Any) -> dict[str, Any]:
    messages = said("What is the weather?")
    first = client.chat.send(model="scripted/plain", messages=messages, tools=[WEATHER])
    call = first.choices[0].message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    back = [*messages, first.choices[0].message.model_dump(exclude_none=True), result]
    last = client.chat.send(model="scripted/plain", messages=back, tools=[WEATHER])
    return {
        "finish": first.choices[0].finish_reason,
        "name": call.function.name,
        "arguments": call.function.arguments,
        "answer": last.choices[0].message.content,
    }


def failed_over(client: Any) -> dict[str, Any]:
    # In this order, whatever the gateway has learnt of the first one meanwhile.
    order = {"order": ["scripted", "slow"]}
    answer = client.chat.send(model="scripted/fallback", messages=said("Hi."), provider=order)
    return {"record": record_of(client, answer.id)}


def catalogue(client: Any) -> dict[str, Any]:
    endpoints = client.endpoints.list(author="scripted", slug="cached").data
    return {
        "models": [model.id for model in client.models.list().result.data],
        "model": client.models.get(author="scripted", slug="cached").data.pricing.prompt,
        "endpoint": endpoints.endpoints[0].model_dump(),
        "providers": [provider.name for provider in client.providers.list().data],
    }


def accounts(operator: Any) -> dict[str, Any]:
    made = operator.api_keys.create(name="from the SDK", limit=1.5, limit_reset="daily")
    hash = made.data.hash
    return {
        "credits": operator.credits.get_credits().data.model_dump(),
        "made": made.data.model_dump(),
        "text": made.key,
        "listed": [key.hash for key in operator.api_keys.list().data],
        "changed": operator.api_keys.update(hash=hash, disabled=True).data.disabled,
        "shown": operator.api_keys.get(hash=hash).data.name,
        "deleted": operator.api_keys.delete(hash=hash).DELETED,
        "hash": hash,
    }


def faults(client: Any, base: str) -> dict[str, Any]:
    found = {}

    def ask(name: str, who: Any, **more: Any) -> None:
        try:
            who.chat.send(**{"model": "scripted/plain", "messages": said("Hi."), "retries": None, **more})
        except errors.OpenRouterError as error:
            found[name] = [type(error).__name__, error.status_code, error.body]

    ask("unknown model", client, model="scripted/none")
    ask("nobody", OpenRouter(api_key="sk-rb-v1-nobodys", server_url=base))
    ask("limited", client, messages=said("Hi. [[status=429]]"))
    ask("down", client, messages=said("Hi. [[status=500]]"))
    try:
        client.generations.get_generation(id="gen-1790000000-0123456789abcdefghij")
    except errors.OpenRouterError as error:
        found["no record"] = [type(error).__name__, error.status_code, error.body]
    return found


def main() -> None:
    base, key, admin_key = sys.argv[1:]
    with (
        OpenRouter(api_key=key, server_url=base, http_referer="https://app.example/chat") as client,
        OpenRouter(api_key=admin_key, server_url=base) as operator,
    ):
        got = {
            "chat": chat(client),
            "stream": stream(client),
            "tools": tools(client),
            "failed_over": failed_over(client),
            "catalogue": catalogue(client),
            "me": client.api_keys.get_current_key_metadata().data.model_dump(),
            "accounts": accounts(operator),
            "faults": faults(client, base),
        }
    print(json.dumps(got, default=str))


if __name__ == "__main__":
    main()

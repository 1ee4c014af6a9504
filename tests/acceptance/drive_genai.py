"""Runs inside the environment of the `google-genai` SDK: does what a user of it would, prints what it got as JSON.

usage: drive_genai.py BASE_URL KEY MODEL
"""

import base64
import json
import sys
from typing import Any

from google import genai  # type: ignore[import-not-found]
from google.genai import errors, types  # type: ignore[import-not-found]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="The weather of a city",
            parameters=types.Schema(
                type="OBJECT",
                properties={"city": types.Schema(type="STRING"), "days": types.Schema(type="INTEGER")},
                required=["city", "days"],
            ),
        )
    ]
)


def dumped(answer: Any) -> dict[str, Any]:
    out: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response", "parsed"})
    return out


def whole(client: Any, model: str) -> dict[str, Any]:
    answer = client.models.generate_content(
        model=model,
        contents="Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]",
        config=types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=1000, temperature=0.5),
    )
    headers = answer.sdk_http_response.headers
    return {"answer": dumped(answer), "text": answer.text, "generation": headers.get("x-generation-id")}


def stream(client: Any, model: str) -> dict[str, Any]:
    chunks = list(
        client.models.generate_content_stream(model=model, contents="Go on. [[prompt=11 completion=9 pieces=4]]")
    )
    texts = [chunk.text for chunk in chunks]
    return {"texts": texts, "last": dumped(chunks[-1])}


def thinking(client: Any, model: str) -> dict[str, Any]:
    """Two turns, the second with the thoughts of the first handed back."""
    wish = types.GenerateContentConfig(
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
    )
    asked = types.Content(role="user", parts=[types.Part(text="Think. [[completion=20 reasoning=8]]")])
    first = client.models.generate_content(model=model, contents=[asked], config=wish)
    again = types.Content(role="user", parts=[types.Part(text="And now? [[completion=6]]")])
    turns = [asked, first.candidates[0].content, again]
    second = client.models.generate_content(model=model, contents=turns, config=wish)
    return {"first": dumped(first), "second": dumped(second)}


def tools(client: Any, model: str) -> dict[str, Any]:
    """A call of a function, whole and streamed, and its result."""
    asked = types.Content(role="user", parts=[types.Part(text="What is the weather?")])
    config = types.GenerateContentConfig(
        tools=[WEATHER],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
    )
    first = client.models.generate_content(model=model, contents=[asked], config=config)
    streamed = list(client.models.generate_content_stream(model=model, contents=[asked], config=config))
    called = [chunk.candidates[0].content for chunk in streamed if chunk.function_calls]
    call = called[0].parts[0].function_call
    response = types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"})
    turns = [asked, called[0], types.Content(role="user", parts=[types.Part(function_response=response)])]
    last = client.models.generate_content(
        model=model, contents=turns, config=types.GenerateContentConfig(tools=[WEATHER])
    )
    return {"whole": dumped(first), "call": call.model_dump(), "last": dumped(last)}


def picture(client: Any, model: str) -> dict[str, Any]:
    parts = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), types.Part(text="What is it? [[prompt=7]]")]
    answer = client.models.generate_content(model=model, contents=types.Content(role="user", parts=parts))
    return {"answer": dumped(answer)}


def automatic(client: Any, model: str) -> dict[str, Any]:
    """The SDK's own loop, which calls a Python function."""
    called = []

    def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return "sunny"

    config = types.GenerateContentConfig(tools=[weather])
    answer = client.models.generate_content(model=model, contents="What is the weather?", config=config)
    return {"called": called, "text": answer.text}


def structured(client: Any, model: str) -> dict[str, Any]:
    schema = types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"])
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    return {"text": client.models.generate_content(model=model, contents="Plan.", config=config).text}


def counted(client: Any, model: str) -> dict[str, Any]:
    found = client.models.count_tokens(model=model, contents="How long is this?")
    return {"tokens": found.total_tokens}


def faults(client: Any, model: str) -> dict[str, Any]:
    """The SDK's own error for each."""
    out = {}

    def ask(name: str, text: str = "Hi.", model: str = model, who: Any = client, **config: Any) -> None:
        try:
            who.models.generate_content(model=model, contents=text, config=config)
        except errors.APIError as error:
            out[name] = [type(error).__name__, error.code, error.status]

    ask("temperature", temperature=9)
    ask("model", model="scripted/none")
    ask("limited", "Hi. [[status=429]]")
    ask("down", "Hi. [[status=500]]")
    ask("nobody", who=opened(sys.argv[1], "sk-rb-v1-nobodys"))
    try:
        list(client.models.generate_content_stream(model=model, contents="Fail. [[error=2 pieces=4]]"))
    except errors.APIError as error:
        out["in the stream"] = [type(error).__name__, error.code, error.status]
    return out


def opened(base: str, key: str) -> Any:
    options = types.HttpOptions(base_url=base, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key=key, http_options=options, vertexai=False)


def main() -> None:
    base, key, model = sys.argv[1:]
    out = {}
    client = opened(base, key)
    for step in (whole, stream, thinking, tools, picture, automatic, structured, counted, faults):
        out[step.__name__] = step(client, model)
    print(json.dumps(out))


if __name__ == "__main__":
    main()

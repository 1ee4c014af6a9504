"""Every answer of the gateway against the published description of the API, over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests import openapi
from tests.acceptance.conftest import FLAGGED
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer, configuration

CHAT = "/chat/completions"
EVENTS = "text/event-stream"

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "trip", "strict": True, "schema": WEATHER["function"]["parameters"]},  # type: ignore[index]
}


@pytest.fixture(autouse=True, scope="module")
def described() -> None:
    openapi.needed()


@pytest.fixture
def client(gateway: RunningGateway, key: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.base, headers=bearer(key), timeout=30) as opened:
        yield opened


@pytest.fixture
def operator(gateway: RunningGateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.base, headers=bearer(ADMIN_KEY), timeout=30) as opened:
        yield opened


def body(said: str, model: str = "scripted/plain", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": said}], **more}


def record_of(client: httpx2.Client, answer: httpx2.Response) -> dict[str, Any]:
    """The record of that answer, which has to be there at once and as described."""
    found = client.get("/generation", params={"id": answer.headers["x-generation-id"]})
    assert found.status_code == 200, found.text
    openapi.check("GET", "/generation", 200, found.json())
    data: dict[str, Any] = found.json()["data"]
    return data


def chunks_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, each as described; the end mark must be there."""
    assert answer.headers["content-type"].startswith(EVENTS)
    events = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    assert events.pop() == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    for chunk in chunks:
        openapi.check("POST", CHAT, 200, {"data": chunk}, EVENTS)
    return chunks


GOOD = {
    "plain": body("Hello."),
    "cached": body("Hi. [[prompt=900 cached=500 written=100 completion=30]]", "scripted/cached"),
    "reasoning": body("Think. [[completion=30 reasoning=12]]", "scripted/cached", reasoning={"effort": "high"}),
    "tools": body("Which weather?", tools=[WEATHER]),
    "structured": body("Plan a trip.", response_format=SCHEMA),
    "length": body("Much. [[completion=300]]", max_tokens=5),
    "unpriced": body("Hello.", "scripted/unpriced"),
    "failed over": body("Hello.", "scripted/fallback"),
    "empty": body("Nothing. [[completion=0]]"),
    "described by its caller": body("Hello.", user="u-1", session_id="s-1", metadata={"a": "b"}, seed=7, top_k=3),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_answer_and_its_record_follow_the_schema(client: httpx2.Client, name: str) -> None:
    answer = client.post(CHAT, json=GOOD[name])
    assert answer.status_code == 200, answer.text
    openapi.check("POST", CHAT, 200, answer.json())
    record = record_of(client, answer)
    assert record["streamed"] is False
    assert record["native_tokens_prompt"] == answer.json()["usage"]["prompt_tokens"]


@pytest.mark.parametrize("name", GOOD)
def test_every_chunk_and_its_record_follow_the_schema(client: httpx2.Client, name: str) -> None:
    answer = client.post(CHAT, json={**GOOD[name], "stream": True})
    assert answer.status_code == 200, answer.text
    chunks = chunks_of(answer)
    assert chunks[-1]["usage"]["prompt_tokens"] == record_of(client, answer)["native_tokens_prompt"]


def test_an_unpriced_record_has_no_cost_but_what_was_charged(client: httpx2.Client) -> None:
    record = record_of(client, client.post(CHAT, json=GOOD["unpriced"]))
    assert record["routebook"]["unpriced"] is True
    assert (record["total_cost"], record["upstream_inference_cost"], record["routebook"]["lines"]) == (0, None, None)


REFUSED = {
    400: body("Hi.", temperature=9),
    401: body("Hi."),
    402: body("Hi. [[prompt=10]]"),
    403: body(f"Say {FLAGGED}.", "scripted/moderated"),
    404: body("Hi.", provider={"only": ["nobody"]}),
    413: body("x" * 33 * 2**20),
    429: body("Hi. [[status=429]]"),
    502: body("Hi. [[status=401]]"),
    503: body("Hi. [[status=500]]"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_follows_the_schema_of_its_status(
    gateway: RunningGateway, client: httpx2.Client, status: int, stream: bool
) -> None:
    headers = {}
    if status == 401:
        headers = bearer("sk-rb-v1-nobodys")
    if status == 402:
        headers = bearer(gateway.new_key(limit=0))
    answer = client.post(CHAT, json={**REFUSED[status], "stream": stream}, headers=headers)
    assert answer.status_code == status, answer.text
    openapi.check("POST", CHAT, status, answer.json())
    assert answer.json()["error"]["code"] == status
    if "x-generation-id" in answer.headers:
        record = record_of(client, answer)
        assert record["total_cost"] == 0
        assert record["finish_reason"] == "error"


def test_bad_json_is_answered_as_described(client: httpx2.Client) -> None:
    answer = client.post(CHAT, content=b'{"model": "scripted/plain", ')
    openapi.check("POST", CHAT, 400, answer.json())
    assert answer.status_code == 400


@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_stream_that_fails_ends_as_described(client: httpx2.Client, how: str) -> None:
    answer = client.post(CHAT, json=body(f"Fail. [[{how}=2]]", stream=True))
    assert answer.status_code == 200
    chunks = chunks_of(answer)
    failed = next(chunk for chunk in chunks if "error" in chunk)
    assert failed["choices"][0]["finish_reason"] == "error"
    record = record_of(client, answer)
    assert (record["finish_reason"], record["total_cost"]) == ("error", 0)


@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_whole_answer_that_fails_is_answered_as_described(client: httpx2.Client, how: str) -> None:
    answer = client.post(CHAT, json=body(f"Fail. [[{how}=2]]"))
    assert answer.status_code in (502, 503)
    openapi.check("POST", CHAT, answer.status_code, answer.json())
    record_of(client, answer)


def test_a_cancelled_call_has_a_record_as_described(
    provider: ScriptedProvider, client: httpx2.Client, gateway: RunningGateway
) -> None:
    with client.stream("POST", CHAT, json=body("Go on. [[hang=2 pieces=5]]", stream=True)) as answer:
        lines = answer.iter_lines()
        next(lines)
        id = answer.headers["x-generation-id"]
    data = ended(client, gateway, id)
    assert (data["cancelled"], data["finish_reason"]) == (True, None)
    assert provider.broke_off(data["upstream_id"]).whole is False


def ended(client: httpx2.Client, gateway: RunningGateway, id: str) -> dict[str, Any]:
    """The record of a call whose caller left, once it is settled."""
    gateway.until(lambda: all(entry.intent.id != id for entry in gateway.gateway.app.entries))
    found = client.get("/generation", params={"id": id})
    openapi.check("GET", "/generation", 200, found.json())
    data: dict[str, Any] = found.json()["data"]
    return data


def test_open_and_interrupted_calls_have_records_as_described(tmp_path: Path, provider: ScriptedProvider) -> None:
    config = configuration(provider)
    with RunningGateway(tmp_path / "home", config) as first, httpx2.Client(headers=bearer(ADMIN_KEY)) as client:
        streamed = client.stream("POST", first.base + CHAT, json=body("Go on. [[hang=2 pieces=5]]", stream=True))
        with streamed as answer:
            lines = answer.iter_lines()  # kept: the line closes when the iterator goes
            next(lines)
            id = answer.headers["x-generation-id"]
            running = client.get(f"{first.base}/generation", params={"id": id}).json()
            # The folder as a crash at this moment would leave it.
            shutil.copytree(first.home, tmp_path / "crashed", ignore=shutil.ignore_patterns("socket"))
        with RunningGateway(tmp_path / "crashed", config) as second:
            after = client.get(f"{second.base}/generation", params={"id": id}).json()
    openapi.check("GET", "/generation", 200, running)
    assert running["data"]["routebook"]["outcome"] == "open"
    openapi.check("GET", "/generation", 200, after)
    assert after["data"]["routebook"]["outcome"] == "interrupted"
    assert after["data"]["id"] == id


def test_records_that_are_not_there_are_answered_as_described(client: httpx2.Client) -> None:
    for params, headers, status in (
        ({"id": "gen-1790000000-0123456789abcdefghij"}, {}, 404),
        ({"id": "chatcmpl-1"}, {}, 404),
        ({"id": "gen-1"}, bearer("nobody"), 401),
    ):
        answer = client.get("/generation", params=params, headers=headers)
        assert answer.status_code == status, answer.text
        openapi.check("GET", "/generation", status, answer.json())


CATALOGUE = {
    "/models": "/models",
    "/models?offset=1&limit=2": "/models",
    "/models/count": "/models/count",
    "/models/scripted/cached/endpoints": "/models/{author}/{slug}/endpoints",
    "/models/scripted/unpriced/endpoints": "/models/{author}/{slug}/endpoints",
    "/models/scripted/fallback/endpoints": "/models/{author}/{slug}/endpoints",
    "/model/scripted/cached": "/model/{author}/{slug}",
    "/providers": "/providers",
}


@pytest.mark.parametrize("path", CATALOGUE)
def test_the_catalogue_follows_the_schema(client: httpx2.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]
    openapi.check("GET", CATALOGUE[path], 200, answer.json())


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/models/scripted/none/endpoints", "/models/{author}/{slug}/endpoints"),
        ("/model/scripted/none", "/model/{author}/{slug}"),
    ],
)
def test_an_unknown_model_is_answered_as_described(client: httpx2.Client, path: str, described: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    openapi.check("GET", described, 404, answer.json())


def test_the_keys_api_follows_the_schema(operator: httpx2.Client, client: httpx2.Client) -> None:
    wish = {"name": "k", "limit": 12.5, "limit_reset": "monthly", "expires_at": "2099-12-31T23:59:59Z"}
    made = operator.post("/keys", json=wish)
    assert made.status_code == 201
    openapi.check("POST", "/keys", 201, made.json())
    path = f"/keys/{made.json()['data']['hash']}"
    for method, answer, described in (
        ("GET", operator.get("/keys"), "/keys"),
        ("GET", operator.get(path), "/keys/{hash}"),
        ("PATCH", operator.patch(path, json={"name": "new", "limit": None, "disabled": True}), "/keys/{hash}"),
        ("GET", operator.get("/keys", params={"include_disabled": "true", "offset": 1}), "/keys"),
        ("DELETE", operator.delete(path), "/keys/{hash}"),
    ):
        assert answer.status_code == 200, answer.text
        openapi.check(method, described, 200, answer.json())
    for status, answer, described in (
        (404, operator.get(path), "/keys/{hash}"),
        (401, operator.get("/keys", headers=bearer("nobody")), "/keys"),
    ):
        assert answer.status_code == status
        openapi.check("GET", described, status, answer.json())
    refused = operator.post("/keys", json={"limit": 1})
    assert refused.status_code == 400
    openapi.check("POST", "/keys", 400, refused.json())
    assert client.get("/keys").status_code == 403
    openapi.check_component("ForbiddenResponse", client.get("/keys").json())


def test_what_a_key_may_know_follows_the_schema(
    gateway: RunningGateway, operator: httpx2.Client, client: httpx2.Client
) -> None:
    limited = gateway.new_key(limit=3, limit_reset="daily")
    for headers in ({}, bearer(limited), bearer(ADMIN_KEY)):
        answer = client.get("/key", headers=headers)
        assert answer.status_code == 200
        openapi.check("GET", "/key", 200, answer.json())
    refused = client.get("/key", headers=bearer("nobody"))
    assert refused.status_code == 401
    openapi.check("GET", "/key", 401, refused.json())


def test_credits_follow_the_schema(operator: httpx2.Client, client: httpx2.Client) -> None:
    answer = operator.get("/credits")
    assert answer.status_code == 200
    openapi.check("GET", "/credits", 200, answer.json())
    refused = client.get("/credits")
    assert refused.status_code == 403
    openapi.check("GET", "/credits", 403, refused.json())


def test_the_check_itself_refuses_what_is_not_described() -> None:
    with pytest.raises(AssertionError, match="data/id"):
        openapi.check("GET", "/generation", 200, {"data": {"id": 7}})
    with pytest.raises(AssertionError, match="does not describe the status 418"):
        openapi.check("GET", "/generation", 418, {})

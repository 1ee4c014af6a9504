"""Google's own Python SDK, unmodified, in an environment of its own: with an upstream of OpenAI's dialect, and with one
of its own (a gateway behind the gateway)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.behind import gateway_behind
from tests.acceptance.foreign import python_sdk
from tests.acceptance.gateway import RunningGateway, bearer

DRIVER = Path(__file__).with_name("drive_genai.py")

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


def drive(base: str, key: str, model: str) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does not work."""
    command = [str(python_sdk("genai")), str(DRIVER), base, key, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


Met = tuple[dict[str, Any], RunningGateway, str, str]


@pytest.fixture(scope="module", params=["openai", "gemini through /api"])
def met(
    request: pytest.FixtureRequest, gateway: RunningGateway, key: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Met]:
    """(what the SDK got, the gateway that it spoke to, its key, the model)."""
    if request.param == "openai":
        yield drive(gateway.origin, key, "scripted/plain"), gateway, key, "scripted/plain"
        return
    with gateway_behind(gateway, key, tmp_path_factory.mktemp("behind") / "home") as outer:
        own = outer.new_key(name="sdk")
        yield drive(outer.origin + "/api", own, "behind/gemini"), outer, own, "behind/gemini"


def test_an_answer_has_its_text_and_its_counts(met: Met) -> None:
    got, gateway, key, model = met
    answer = got["whole"]["answer"]
    assert got["whole"]["text"]
    assert (answer["model_version"], answer["response_id"]) == (model, got["whole"]["generation"])
    assert answer["candidates"][0]["finish_reason"] == "STOP"
    assert answer["usage_metadata"] == {
        "prompt_token_count": 90,
        "candidates_token_count": 15,
        "thoughts_token_count": 5,
        "cached_content_token_count": 40,
        "total_token_count": 110,
    }
    found = httpx2.get(f"{gateway.base}/generation", params={"id": answer["response_id"]}, headers=bearer(key))
    record = found.json()["data"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (90, 20)
    assert (record["native_tokens_cached"], record["native_tokens_reasoning"]) == (40, 5)


def test_a_stream_comes_in_pieces_and_ends_in_usage(met: Met) -> None:
    got = met[0]["stream"]
    assert len("".join(text or "" for text in got["texts"]).split()) == 4
    assert len(got["texts"]) >= 4
    usage = got["last"]["usage_metadata"]
    assert (usage["prompt_token_count"], usage["candidates_token_count"], usage["total_token_count"]) == (11, 9, 20)
    assert got["last"]["candidates"][0]["finish_reason"] == "STOP"


def test_thoughts_are_shown_to_who_asks_and_may_be_handed_back(met: Met) -> None:
    got = met[0]["thinking"]
    thought, text = got["first"]["candidates"][0]["content"]["parts"]
    assert (thought["thought"], thought["text"]) == (True, "Let me think about it.")
    assert text["text"]
    assert got["second"]["usage_metadata"]["candidates_token_count"] == 6


def test_a_function_is_called_and_its_response_is_taken(met: Met) -> None:
    got = met[0]["tools"]
    (part,) = got["whole"]["candidates"][0]["content"]["parts"]
    assert part["function_call"]["name"] == "weather"
    assert part["function_call"]["args"] == got["call"]["args"] == {"city": "a city", "days": 7}
    assert got["last"]["candidates"][0]["content"]["parts"][0]["text"]


def test_the_sdks_own_loop_calls_a_python_function(met: Met) -> None:
    assert met[0]["automatic"]["called"] == ["a city"]
    assert met[0]["automatic"]["text"]


def test_a_picture_is_sent_on(met: Met) -> None:
    assert met[0]["picture"]["answer"]["usage_metadata"]["prompt_token_count"] == 7


def test_structured_output_is_asked_for_by_its_schema(met: Met) -> None:
    assert json.loads(met[0]["structured"]["text"]) == {"city": "a city"}


def test_tokens_are_counted_without_a_call(met: Met) -> None:
    assert met[0]["counted"]["tokens"] > 0


def test_each_fault_is_the_sdks_own_error(met: Met) -> None:
    assert met[0]["faults"] == {
        "temperature": ["ClientError", 400, "INVALID_ARGUMENT"],
        "model": ["ClientError", 400, "INVALID_ARGUMENT"],
        "limited": ["ClientError", 429, "RESOURCE_EXHAUSTED"],
        "down": ["ServerError", 503, "UNAVAILABLE"],
        "nobody": ["ClientError", 401, "UNAUTHENTICATED"],
        "in the stream": ["ServerError", 503, "UNAVAILABLE"],
    }

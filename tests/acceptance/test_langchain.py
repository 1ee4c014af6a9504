"""LangChain's own standard tests of a chat model, with its model for OpenRouter, both unmodified and in an environment
of their own: all of them against the scripted provider; and against a gateway behind the gateway, in three more
dialects, those whose requests and answers each dialect words in its own way.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.behind import PRICES, gateway_behind
from tests.acceptance.foreign import python_sdk
from tests.acceptance.gateway import RunningGateway, bearer

DRIVER = Path(__file__).with_name("drive_langchain.py")

pytestmark = pytest.mark.timeout(500)
"""The first run installs LangChain."""

CACHED, WRITTEN, REASONING = "cache_read_input", "cache_creation_input", "reasoning_output"
DETAILS = {
    "openai_chat": [CACHED, WRITTEN, REASONING],
    "anthropic": [CACHED, WRITTEN, REASONING],
    "gemini": [CACHED, REASONING],  # has no count of what was written to a cache
    "openai_responses": [CACHED, WRITTEN, REASONING],
}
"""Model -> the kinds of tokens that its provider counts apart, in LangChain's words. Each is asked for by a test."""
WORDED = (
    "test_stream test_double_messages_conversation test_usage_metadata test_usage_metadata_streaming test_stop_sequence"
    " test_tool_calling test_tool_message_histories_string_content test_tool_message_histories_list_content"
    " test_tool_choice test_tool_calling_with_no_arguments test_tool_message_error_status"
    " test_structured_few_shot_examples test_structured_output test_structured_output_optional_param test_pdf_inputs"
    " test_audio_inputs test_image_inputs test_image_tool_message test_pdf_tool_message test_anthropic_inputs"
    " test_message_with_name test_agent_loop test_unicode_tool_call_integration"
).split()
"""The standard tests that are worth the time in each dialect."""
SKIPPED = {"openai_chat.test_stream_time": "VCR not set up."}
"""It replays recordings of a provider's HTTP, to measure nothing but LangChain; there are no such recordings here."""

STRICT = f"""
[[models]]
slug = "behind/strict"
[[models.endpoints]]
provider = "anthropic"
upstream_model = "scripted/plain"
supported_parameters = ["max_tokens", "temperature", "stop", "tools", "tool_choice", "reasoning", "structured_outputs"]
[models.endpoints.pricing]
{PRICES}
"""
"""Anthropic's dialect with a model that is said to hold its answer to a schema: its name alone does not say so."""

INI = """
[pytest]
addopts = --noconftest --import-mode=importlib -p no:cacheprovider --benchmark-disable -q
    --disable-socket --allow-hosts=127.0.0.1
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


@dataclass(frozen=True)
class Run:
    """What came of the standard tests."""

    passed: set[str]
    skipped: dict[str, str]
    """test -> why"""
    failed: dict[str, str]
    seen: dict[str, list[dict[str, Any]]]
    """model -> id, usage and cost of each of its answers, as LangChain showed them"""
    asked: dict[str, tuple[RunningGateway, str]]
    """model -> the gateway that served it, and the key"""
    billed: Decimal
    """by the provider meanwhile, in USD"""
    charged: Decimal
    """to the two keys through which all of it went"""


def spent(gateway: RunningGateway, key: str) -> Decimal:
    text = httpx2.get(f"{gateway.base}/key", headers=bearer(key)).text
    return Decimal(json.loads(text, parse_float=str, parse_int=str)["data"]["usage"])


@pytest.fixture(scope="module")
def run(gateway: RunningGateway, provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("langchain")
    direct, passing = gateway.new_key(name="direct"), gateway.new_key(name="passing through")
    before = len(provider.bill)
    with gateway_behind(gateway, passing, folder / "home", STRICT) as outer:
        asked = {name: (outer, outer.new_key(name=name)) for name in DETAILS} | {"openai_chat": (gateway, direct)}
        cases = standard_tests(folder, asked)
        yield Run(
            passed={name for name, case in cases.items() if len(case) == 0 or case[0].tag == "properties"},
            skipped={
                name: case[0].get("message", "") for name, case in cases.items() if case.find("skipped") is not None
            },
            failed={
                name: (found.text or "")[-2000:]
                for name, case in cases.items()
                for found in [*case.findall("failure"), *case.findall("error")]
            },
            seen={
                name: [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()] for name in asked
            },
            asked=asked,
            billed=sum((item.cost for item in provider.bill[before:]), Decimal(0)),
            charged=spent(gateway, direct) + spent(gateway, passing),
        )


def standard_tests(folder: Path, asked: dict[str, tuple[RunningGateway, str]]) -> dict[str, ElementTree.Element]:
    """Runs them: name -> its case in the report. Fails where there is no report."""
    models = {"openai_chat": ("scripted/cached", "scripted/plain"), "anthropic": ("behind/strict", "behind/anthropic")}
    told = []
    for name, (gateway, key) in asked.items():
        model, other = models.get(name, (f"behind/{name}", "behind/openai_chat"))
        # With the function that a schema is called by default, and with the schema of the answer itself.
        method = "function_calling" if name == "openai_chat" else "json_schema"
        about = {"name": name, "model": model, "other": other, "method": method, "details": DETAILS[name]}
        told.append({**about, "base": gateway.base, "key": key})
    (folder / "pytest.ini").write_text(INI, "utf-8")
    report = folder / "report.xml"
    chosen = [f"{DRIVER}::TestWithoutCalls", f"{DRIVER}::Test_openai_chat"]
    chosen += [f"{DRIVER}::Test_{name}::{test}" for name in asked if name != "openai_chat" for test in WORDED]
    done = subprocess.run(
        [
            str(python_sdk("langchain")),
            "-m",
            "pytest",
            "-c",
            str(folder / "pytest.ini"),
            f"--junitxml={report}",
            *chosen,
        ],
        env={
            **os.environ,
            "ROUTEBOOK_ASKED": json.dumps(told),
            "ROUTEBOOK_SEEN": str(folder),
            # Each of a few hundred models reads the certificates of all authorities, and no connection needs one.
            "SSL_CERT_DIR": str(folder),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode in (0, 1), (done.stdout + done.stderr)[-3000:]
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname', '').rpartition('.Test')[2].strip('_')}.{case.get('name')}": case for case in cases}


def test_every_standard_test_passes(run: Run) -> None:
    assert run.failed == {}
    assert run.skipped == SKIPPED


def test_none_of_them_is_missing(run: Run) -> None:
    counts = {name: sum(test.startswith(f"{name}.") for test in run.passed) for name in ["WithoutCalls", *DETAILS]}
    assert counts["WithoutCalls"] >= 9
    assert counts["openai_chat"] >= 49
    # Some run twice, with either form of LangChain's messages.
    assert all(counts[name] >= len(WORDED) for name in DETAILS), counts


@pytest.mark.parametrize("name", DETAILS)
def test_usage_and_cost_that_langchain_shows_are_those_of_the_record(run: Run, name: str) -> None:
    gateway, key = run.asked[name]
    assert len(run.seen[name]) >= len(WORDED)
    with httpx2.Client(base_url=gateway.base, headers=bearer(key)) as client:
        for shown in run.seen[name]:
            record = client.get("/generation", params={"id": shown["id"]}).json()["data"]
            usage = shown["usage"]
            assert shown["cost"] == record["total_cost"] > 0
            assert usage["input_tokens"] == record["native_tokens_prompt"]
            assert usage["output_tokens"] == record["native_tokens_completion"]
            assert usage["input_token_details"]["cache_read"] == record["native_tokens_cached"]
            assert usage["output_token_details"]["reasoning"] == record["native_tokens_reasoning"]


def test_what_the_provider_billed_is_what_was_charged(run: Run) -> None:
    assert run.charged == run.billed * 5 / 4

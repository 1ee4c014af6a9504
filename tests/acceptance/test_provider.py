"""The scripted provider by itself: what it says follows from the request, and its bill from what it said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import Rates, ScriptedProvider

RATES = Rates(prompt="0.003", completion="0.01", input_cache_read="0.001", internal_reasoning="0.02", request="5")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider({"m": RATES}, failing={"gone": 503}) as running:
        running.models["gone"] = RATES
        yield running


def ask(provider: ScriptedProvider, said: str, **more: Any) -> httpx2.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": said}], **more}
    headers = {"authorization": f"Bearer {provider.api_key}"}
    return httpx2.post(f"{provider.base_url}/chat/completions", json=body, headers=headers)


def test_the_same_request_is_answered_the_same_but_for_its_number(provider: ScriptedProvider) -> None:
    first, second = ask(provider, "Hello.").json(), ask(provider, "Hello.").json()
    assert first.pop("id") != second.pop("id")
    assert first == second
    assert ask(provider, "Hello there.").json()["choices"] != first["choices"]


def test_the_bill_is_the_counts_times_the_rates(provider: ScriptedProvider) -> None:
    answer = ask(provider, "[[prompt=100 cached=40 completion=30 reasoning=10]]").json()
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 40}
    (item,) = provider.bill
    assert item.id == answer["id"]
    # 60 x 0.003 + 40 x 0.001 + 20 x 0.01 + 10 x 0.02 + 5
    assert item.cost == Decimal("5.62")


def test_a_stream_says_and_bills_what_the_whole_answer_does(provider: ScriptedProvider) -> None:
    whole = ask(provider, "[[prompt=9 completion=7 reasoning=2 pieces=3]]").json()
    text = ask(
        provider, "[[prompt=9 completion=7 reasoning=2 pieces=3]]", stream=True, stream_options={"include_usage": True}
    ).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert text.endswith("data: [DONE]\n\n")
    assert events[-1]["usage"] == whole["usage"]
    assert sum(bool(event["choices"] and event["choices"][0]["delta"].get("content")) for event in events) == 3
    assert provider.bill[0].cost == provider.bill[1].cost


def test_a_stream_without_the_option_reports_no_usage(provider: ScriptedProvider) -> None:
    assert "usage" not in ask(provider, "Hi.", stream=True).text


def test_a_limit_cuts_the_answer_and_its_bill(provider: ScriptedProvider) -> None:
    answer = ask(provider, "[[completion=50]]", max_tokens=4).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert provider.bill[0].completion == answer["usage"]["completion_tokens"] == 4


def test_refusals_cost_nothing(provider: ScriptedProvider) -> None:
    assert ask(provider, "[[status=500]]").status_code == 500
    assert ask(provider, "Hi.", model="gone").status_code == 503
    assert ask(provider, "Hi.", model="none").status_code == 404
    assert ask(provider, "[[nonsense=1]]").status_code == 400
    assert httpx2.post(f"{provider.base_url}/chat/completions", json={}).status_code == 401
    assert (provider.requests, provider.refused, provider.bill) == (5, 5, [])


def test_a_line_that_is_cut_is_billed_for_what_was_produced(provider: ScriptedProvider) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(provider, "[[prompt=10 completion=40 pieces=4 cut=1]]", stream=True)
    (item,) = provider.bill
    assert provider.broke_off(item.id) is item
    assert (item.prompt, item.completion) == (10, 10)


def test_an_answer_that_hangs_goes_on_when_it_is_released(provider: ScriptedProvider) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "[[pieces=4 completion=4 hang=2]]"}]}
    headers = {"authorization": f"Bearer {provider.api_key}"}
    with httpx2.stream("POST", f"{provider.base_url}/chat/completions", json=body, headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        assert provider.bill == []
        provider.release()
        assert list(lines)[-2:] == ["data: [DONE]", ""]
    assert provider.bill[0].completion == 4

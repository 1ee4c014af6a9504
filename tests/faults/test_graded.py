"""How this gateway retries, graded by somebody else: llmock breaks as it is told, watches every attempt and its timing,
and says what a client did wrong. It runs as a process of its own environment; nothing of it is imported here."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.acceptance.foreign import python_sdk
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer
from tests.faults.matrix import PRICING

START_SECONDS = 30
BREAKS = ("truncate", "disconnect", "malformed")


class Judge:
    """The running llmock, and a gateway whose providers it plays."""

    def __init__(self, base: str, gateway: RunningGateway) -> None:
        self.http = httpx2.Client(base_url=base, timeout=30)
        self._gateway = gateway
        self._count = 0

    def will(self, *behaviors: dict[str, Any]) -> None:
        """From now on it behaves like that, and forgets what was."""
        self.http.post("/_llmock/reset").raise_for_status()
        self.http.post("/_llmock/scenario", json={"behaviors": list(behaviors)}).raise_for_status()

    def ask(self, model: str = "lab/lone", *, stream: bool = False) -> httpx2.Response:
        """One call through the gateway, unlike any other: equal ones count as repeats."""
        self._count += 1
        said = [{"role": "user", "content": f"Question {self._count}"}]
        return httpx2.post(
            f"{self._gateway.base}/chat/completions",
            json={"model": model, "messages": said, "stream": stream},
            headers=bearer(ADMIN_KEY),
            timeout=60,
        )

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/_llmock/verdict").json()
        return found

    def close(self) -> None:
        self.http.close()


def configuration(port: int) -> str:
    parts = [
        '[catalog]\nprice_list = false\n[routing]\nbalance = "order"\n',
        "[timeouts]\nfirst_token = 2\nidle = 2\nanswer = 2\n",
    ]
    # The same mock by two of its names, so that it can tell one provider from the other.
    for slug, path in (("first", "/v1"), ("second", "/mistral/v1")):
        parts.append(
            f'[[providers]]\nslug = "{slug}"\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{port}{path}"\n'
            'api_key = "anything"\n'
        )
    offer = '[[models.endpoints]]\nprovider = "{}"\nupstream_model = "{}"\n' + PRICING + "\n"
    parts.append('[[models]]\nslug = "lab/lone"\n' + offer.format("first", "gpt-4o"))
    both = offer.format("first", "gpt-4o") + offer.format("second", "mistral-large-latest")
    # A model for each test that wants two providers: what one of them breaks is remembered.
    parts += [f'[[models]]\nslug = "lab/both-{name}"\n{both}' for name in ("outage", *BREAKS)]
    return "\n".join(parts)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    python = python_sdk("llmock")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [str(python), "-m", "llmock.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_health(f"http://127.0.0.1:{port}", process)
        with RunningGateway(tmp_path_factory.mktemp("graded") / "home", configuration(port)) as gateway:
            running = Judge(f"http://127.0.0.1:{port}", gateway)
            yield running
            running.close()
    finally:
        process.terminate()
        process.wait(10)


def await_health(base: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{base}/health", timeout=1).status_code == 200:
                return
        except httpx2.HTTPError:
            assert process.poll() is None, "llmock ended at once"
            time.sleep(0.05)
    raise AssertionError(f"llmock did not start within {START_SECONDS} s")


def codes(verdict: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in verdict["findings"]}


@pytest.mark.parametrize("stream", [False, True])
def test_retry_after_is_waited_for_to_the_end(judge: Judge, stream: bool) -> None:
    judge.will({"type": "fail", "status": 429, "retry_after": 1, "times": 2})
    assert judge.ask(stream=stream).status_code == 200
    verdict = judge.verdict()
    assert (verdict["attempts"], verdict["findings"]) == (3, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again_after_a_pause(judge: Judge, status: int) -> None:
    judge.will({"type": "fail", "status": status, "times": 1})
    assert judge.ask().status_code == 200
    verdict = judge.verdict()
    assert (verdict["attempts"], verdict["findings"]) == (2, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_fail_the_same_way_is_not_tried_again(judge: Judge, status: int) -> None:
    judge.will({"type": "fail", "status": status, "times": None})
    assert judge.ask().status_code == (502 if status in (401, 403) else status)
    verdict = judge.verdict()
    assert (verdict["attempts"], verdict["findings"]) == (1, [])


@pytest.mark.parametrize("status", [429, 503])
def test_an_outage_is_given_up_after_three_attempts(judge: Judge, status: int) -> None:
    judge.will({"type": "fail", "status": status, "times": None})
    assert [judge.ask().status_code for _ in range(3)] == [status] * 3
    verdict = judge.verdict()
    assert (verdict["calls"], verdict["attempts"], verdict["errors"]) == (3, 9, 0)
    assert codes(verdict) <= {"no_backoff"}, "two pauses may be alike by chance; that is the only thing to say"


def test_a_long_retry_after_is_passed_on_to_the_caller_who_is_not_kept_waiting(judge: Judge) -> None:
    judge.will({"type": "fail", "status": 429, "retry_after": 30, "times": None})
    answer = judge.ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    verdict = judge.verdict()
    assert (verdict["attempts"], codes(verdict)) == (1, {"gave_up"})


def test_a_second_provider_takes_over_and_the_first_is_left_alone(judge: Judge) -> None:
    judge.will({"type": "fail", "status": 503, "times": None, "match": {"provider": "openai"}})
    assert [judge.ask("lab/both-outage", stream=bool(n % 2)).status_code for n in range(4)] == [200] * 4
    verdict = judge.verdict()
    # In the judge's eyes every call of the first provider was given up; it was: by then the second one had answered.
    assert (verdict["errors"], codes(verdict)) == (0, {"gave_up"})
    asked = [record["provider"] for record in judge.http.get("/_llmock/requests").json()["requests"]]
    # Two failures are an outage: from then on the first provider is asked last, which is not at all.
    assert (asked.count("openai"), asked.count("mistral")) == (2, 4)


def test_a_stalled_stream_is_not_sat_through(judge: Judge) -> None:
    judge.will({"type": "stream_fault", "kind": "stall", "after_chunks": 2, "stall_seconds": 20})
    answer = judge.ask(stream=True)
    assert '"error"' in answer.text
    assert "no_read_timeout" not in codes(judge.verdict())


@pytest.mark.parametrize("kind", BREAKS)
def test_a_stream_that_breaks_after_a_word_is_told_as_broken_and_never_asked_for_again(judge: Judge, kind: str) -> None:
    judge.will({"type": "stream_fault", "kind": kind, "after_chunks": 3})
    answer = judge.ask(f"lab/both-{kind}", stream=True)
    assert answer.status_code == 200
    assert '"finish_reason":"error"' in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    # Somebody has the first words by now. The judge wants a retry; what it cannot see is that the caller was told.
    assert judge.verdict()["attempts"] == 1


@pytest.mark.parametrize("kind", BREAKS)
def test_a_stream_that_breaks_before_a_word_goes_to_the_next_provider(judge: Judge, kind: str) -> None:
    judge.will({"type": "stream_fault", "kind": kind, "after_chunks": 0, "match": {"provider": "openai"}})
    answer = judge.ask(f"lab/both-{kind}", stream=True)
    assert answer.status_code == 200
    assert "error" not in answer.text
    assert judge.verdict()["attempts"] == 2

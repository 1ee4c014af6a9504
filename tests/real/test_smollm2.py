"""A real model behind the real gateway: SmolLM2 served by llama.cpp, real processes, real HTTP.

llama.cpp is also asked directly, so that what the record says can be held against what the provider counted.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from routebook.cli import embedded
from routebook.cli.embedded import EmbeddedModel
from routebook.client import GetGenerationData, Routebook
from tests.cli.child import PATIENCE, Child, environment, routebook

if embedded.missing():
    pytest.skip(
        f"the embedded model is not installed ({', '.join(embedded.missing())}); {embedded.INSTALL}",
        allow_module_level=True,
    )

pytestmark = pytest.mark.timeout(180)

ADMIN = "an-admin-key-of-thirty-two-characters-or-more"
MODEL = "huggingfacetb/smollm2-135m-instruct"
PROMPT_PRICE, COMPLETION_PRICE, CACHED_PRICE = Decimal("0.00000001"), Decimal("0.00000003"), Decimal("0.000000004")
SHORT = [{"role": "user", "content": "Name three things a good librarian does."}]
ENDLESS = [{"role": "user", "content": "What is the capital of France?"}]
"""At temperature 0 this model begins to repeat itself here and does not stop."""

CONFIGURATION = f"""
[server]
port = 0
[[providers]]
slug = "local"
name = "SmolLM2"
vendor = "llamacpp"
base_url = "BASE_URL"
api_key = "API_KEY"
[[models]]
slug = "{MODEL}"
[[models.endpoints]]
provider = "local"
upstream_model = "{embedded.MODEL}"
[models.endpoints.pricing]
prompt = "{PROMPT_PRICE:f}"
completion = "{COMPLETION_PRICE:f}"
input_cache_read = "{CACHED_PRICE:f}"
"""


class Place(NamedTuple):
    """The two sides: the caller's client of the gateway, and llama.cpp itself."""

    client: Routebook
    llama: httpx2.Client

    def direct(self, messages: list[dict[str, str]], **more: Any) -> dict[str, Any]:
        """llama.cpp's own answer, without the gateway."""
        body = {"model": embedded.MODEL, "messages": messages, **more}
        answer = self.llama.post("/v1/chat/completions", json=body).raise_for_status().json()
        assert isinstance(answer, dict)
        return answer

    def busy(self) -> int:
        """Calls that llama.cpp works on now."""
        return sum(slot["is_processing"] for slot in self.llama.get("/slots").raise_for_status().json())

    def record(self, id: str | None) -> GetGenerationData:
        """The record as it is at once after the answer."""
        assert id is not None
        return self.client.generations.get(id).data

    def ended(self, id: str | None) -> GetGenerationData:
        """The record of a call whose caller has left, once the gateway has noticed that."""
        deadline = time.monotonic() + 5
        while (data := self.record(id)).routebook and data.routebook["outcome"] == "open":
            assert time.monotonic() < deadline, "the call is still open"
        return data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    with EmbeddedModel(home / "llama.log") as model:
        base_url = model.ready()
        file = home / "routebook.toml"
        file.write_text(CONFIGURATION.replace("BASE_URL", base_url).replace("API_KEY", model.key.reveal()))
        with (
            Child(home, "serve", "--config", str(file), env={"ROUTEBOOK_ADMIN_KEY": ADMIN}) as child,
            Routebook(ADMIN, f"{child.url()}/api/v1", timeout=PATIENCE) as client,
            httpx2.Client(
                base_url=base_url.removesuffix("/v1"),
                headers={"authorization": f"Bearer {model.key.reveal()}"},
                timeout=PATIENCE,
            ) as llama,
        ):
            yield Place(client, llama)
            child.send(signal.SIGTERM)
            assert child.ended() == 0
            assert "Traceback" not in child.err.all()


def check_money(data: GetGenerationData) -> None:
    """The cost follows from the record's own native tokens, to the last digit."""
    assert data.native_tokens_prompt is not None
    assert data.native_tokens_completion is not None
    cached = data.native_tokens_cached or 0
    fresh = data.native_tokens_prompt - cached
    cost = fresh * PROMPT_PRICE + cached * CACHED_PRICE + data.native_tokens_completion * COMPLETION_PRICE
    assert data.total_cost == data.usage == data.upstream_inference_cost == cost


def test_an_answer_in_one_piece_has_the_record_that_llama_cpp_counted(place: Place) -> None:
    answer = place.client.chat.send(model=MODEL, messages=SHORT, temperature=0, seed=7, max_tokens=60)
    own = place.direct(SHORT, temperature=0, seed=7, max_tokens=60)
    data = place.record(answer.generation_id)
    assert answer.text == own["choices"][0]["message"]["content"]
    assert data.native_tokens_prompt == own["usage"]["prompt_tokens"]
    assert data.native_tokens_completion == own["usage"]["completion_tokens"]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == data.native_tokens_prompt
    assert answer.usage.completion_tokens == data.native_tokens_completion
    assert answer.usage.cost == data.total_cost
    assert (data.streamed, data.cancelled, data.finish_reason) == (False, False, "stop")
    assert data.provider_name == "SmolLM2"
    assert data.upstream_id is not None
    assert data.upstream_id.startswith("chatcmpl-")
    check_money(data)


def test_a_streamed_answer_comes_in_pieces_and_has_the_same_counts(place: Place) -> None:
    pieces: list[str] = []
    with place.client.chat.send(
        model=MODEL, messages=SHORT, stream=True, temperature=0, seed=7, max_tokens=60
    ) as stream:
        pieces += [chunk.text for chunk in stream if chunk.text]
    own = place.direct(SHORT, temperature=0, seed=7, max_tokens=60)
    data = place.record(stream.generation_id)
    assert len(pieces) > 10
    assert "".join(pieces) == own["choices"][0]["message"]["content"]
    assert stream.usage is not None
    assert stream.usage.prompt_tokens == data.native_tokens_prompt == own["usage"]["prompt_tokens"]
    assert stream.usage.completion_tokens == data.native_tokens_completion == own["usage"]["completion_tokens"]
    assert stream.usage.cost == data.total_cost
    assert (data.streamed, data.cancelled, data.finish_reason) == (True, False, "stop")
    assert data.routebook is not None
    assert data.routebook["usage_source"] == "provider"
    check_money(data)


def test_a_prompt_asked_again_is_counted_as_cached_and_costs_less(place: Place) -> None:
    question = [{"role": "user", "content": "Say one word about a lighthouse that stands on a long and stony beach."}]
    records = []
    for _ in range(2):
        answer = place.client.chat.send(model=MODEL, messages=question, temperature=0, max_tokens=4)
        records.append(place.record(answer.generation_id))
    first, second = records
    assert second.native_tokens_prompt == first.native_tokens_prompt
    assert second.native_tokens_cached is not None
    assert second.native_tokens_cached > (first.native_tokens_cached or 0)
    assert second.cache_discount == second.native_tokens_cached * (PROMPT_PRICE - CACHED_PRICE)
    for data in records:
        check_money(data)


def test_a_cut_answer_says_length(place: Place) -> None:
    answer = place.client.chat.send(model=MODEL, messages=ENDLESS, temperature=0, max_tokens=5)
    data = place.record(answer.generation_id)
    assert (data.finish_reason, data.native_tokens_completion) == ("length", 5)


def test_a_caller_who_leaves_half_way_stops_the_model_and_is_charged_an_estimate(place: Place) -> None:
    with place.client.chat.send(model=MODEL, messages=ENDLESS, stream=True, temperature=0, max_tokens=1_500) as stream:
        received = 0
        while received < 10:
            received += bool(next(stream).text)
        assert place.busy() == 1
    left = time.monotonic()
    # 1,500 tokens take more than ten seconds; the socket to llama.cpp was closed, so it stops at once.
    while place.busy():
        assert time.monotonic() - left < 5, "llama.cpp still works on a call whose caller has left"
    data = place.ended(stream.generation_id)
    own = place.direct(ENDLESS, temperature=0, max_tokens=1)
    assert (data.cancelled, data.streamed, data.finish_reason) == (True, True, None)
    assert data.routebook is not None
    assert data.routebook["outcome"] == "cancelled"
    assert data.routebook["usage_source"] == "estimated"
    assert data.native_tokens_completion is not None
    assert 5 <= data.native_tokens_completion < 1_500
    assert data.native_tokens_prompt is not None
    assert own["usage"]["prompt_tokens"] / 3 <= data.native_tokens_prompt <= own["usage"]["prompt_tokens"] * 3
    check_money(data)


def test_the_demo_prints_the_answer_and_its_receipt_and_ends(tmp_path: Path) -> None:
    done = routebook(tmp_path, "demo", "--once", "--port", "0")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer, _, receipt = done.stdout.partition("Generation record")
    assert "Name three things" in answer
    assert len(answer.partition("model  ")[2].partition("GET")[0].split()) > 5
    id = re.search(r"gen-\d+-\w{20}", answer)
    assert id is not None
    for field in ("native_tokens_prompt", "native_tokens_completion", "total_cost", "latency", "provider_name", id[0]):
        assert field in receipt
    assert "prices are made up" in receipt
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["demo"]
    proof = routebook(tmp_path / "demo", "ledger", "verify")
    assert proof.returncode == 0, proof.stdout


def test_the_demo_serves_on_until_ctrl_c_with_a_key_that_works(tmp_path: Path) -> None:
    with Child(tmp_path, "demo", "--port", "0") as child:
        url = child.out.until(" API ").split()[-1]
        key = child.out.until(" key ").split()[-1]
        child.out.until("Serving until Ctrl-C")
        with Routebook(key, url, timeout=PATIENCE) as client:
            answer = client.chat.send(model=MODEL, messages=SHORT, temperature=0, max_tokens=3)
            assert answer.usage is not None
            assert answer.usage.completion_tokens == 3
        child.send(signal.SIGINT)
        assert child.ended() == 0
        assert "Stopping" in child.out.all()
        assert child.err.all() == ""


def test_no_model_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from routebook.cli.embedded import EmbeddedModel
        model = EmbeddedModel(Path(sys.argv[1]))
        model.ready()
        print(model.pid, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "llama.log")],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    ended, _, _ = select.select([child], [], [], 10)
    os.close(child)
    parent.stdout.close()
    parent.stdin.close()
    assert ended, "llama.cpp goes on without its parent"


def test_a_model_that_cannot_load_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('broken on purpose')\n")
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    done = routebook(tmp_path, "demo", "--once", "--port", "0")
    assert done.returncode == 1
    log = tmp_path / "demo" / "llama.log"
    assert done.stderr == f"routebook: the model did not start (exit code 1); its log is {log}\n"
    assert "broken on purpose" in log.read_text()

"""`routebook route` as people run it: a configuration, a request or a data folder, a table and JSON."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from routebook.cli import route
from routebook.config.settings import Settings
from routebook.core.generation import State
from routebook.core.usage import Usage
from routebook.daybook.book import FileDaybook
from routebook.ledger.ship import Shipper
from routebook.ledger.windows import day_number, day_text
from routebook.metering.pricing import price
from routebook.observe.clock import SystemClock
from routebook.store.open import open_store
from routebook.store.port import ModelSpend, Posting
from routebook.wire import codec
from tests.unit.cli.test_records import Command, home, run
from tests.unit.daybook.samples import ACCEPTED_NS, MS, attempt, intent, outcome
from tests.unit.policy.stock import sheet
from tests.unit.policy.test_replay import RULES

__all__ = ["home", "run"]

FILE = """
[server]
port = 9
[[providers]]
slug = "acme"
name = "Acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
api_key = "a-secret-of-acme"
[[providers]]
slug = "beta"
name = "Beta"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
api_key = "a-secret-of-beta"
zdr = true
[[models]]
slug = "lab/one"
[[models.endpoints]]
provider = "acme"
upstream_model = "one"
[models.endpoints.pricing]
prompt = "0.000001"
completion = "0.000001"
[[models.endpoints]]
provider = "beta"
upstream_model = "one"
[models.endpoints.pricing]
prompt = "0.000002"
completion = "0.000002"
"""
ORDERED = '[routing]\nbalance = "order"\n'
PRIVATE = '[routing]\nzdr = true\nbalance = "order"\n'
BOOK = """
[[prices]]
model = "lab/one"
provider = "acme"
[prices.pricing]
prompt = "0.0000005"
completion = "0.000001"
"""


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gateway of this machine is asked, nor a proxy."""
    for name in ("ROUTEBOOK_BASE_URL", "ROUTEBOOK_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def written(home: Path, name: str, text: str) -> str:
    home.parent.mkdir(parents=True, exist_ok=True)
    path = home.parent / name
    path.write_text(text, "utf-8")
    return str(path)


def told(out: str) -> Any:
    return codec.decode(out.encode())


# --- explain ----------------------------------------------------------------------------------------------------------


def test_a_table_says_who_is_tried_and_how_often_first(home: Path, run: Command) -> None:
    out = run(route.app, "explain", "--model", "lab/one", "--config", written(home, "c.toml", FILE))
    assert run.code == 0
    first, second = [line.split() for line in out.splitlines() if line[:1] in ("1", "2")]
    assert first[:5] == ["1", "acme", "lab/one", "1", "1"]
    assert 75 < float(first[5]) < 85, "1 and 2 USD: 4 to 1"
    assert "drawn by price among 2" in out
    assert second[1] == "beta"
    assert "no gateway answers at http://127.0.0.1:9/api/v1" in out
    assert "a-secret" not in out


def test_dropped_ones_name_the_filter_and_nobody_left_is_a_failure(home: Path, run: Command) -> None:
    config = written(home, "c.toml", FILE)
    out = run(route.app, "explain", "--model", "lab/one", "--only", "beta", "--config", config)
    assert "dropped by provider.only (kept: who is one of beta)" in out
    body = written(home, "ask.json", '{"model": "lab/one", "provider": {"zdr": true}}')
    data = told(run(route.app, "explain", body, "--only", "acme", "--json", "--config", config))
    assert run.code == 1
    assert [each["dropped_by"] for each in data["endpoints"]] == ["data_policy:zdr", "provider.only"]
    assert (data["error"]["status"], data["error"]["metadata"]["availability"]["excluded_by"]) == (
        404,
        "data_policy:zdr",
    )


def test_a_request_comes_from_stdin_as_well(home: Path, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = b'{"model": "lab/one", "messages": [{"role": "user", "content": "Hi"}], "provider": {"order": ["beta"]}}'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(asked)))
    data = told(run(route.app, "explain", "-", "--json", "--config", written(home, "c.toml", FILE)))
    assert [(each["tag"], each["notes"]) for each in data["endpoints"]] == [
        ("beta", ["named by provider.order"]),
        ("acme", []),
    ]
    assert data["endpoints"][0]["first_of"] == {"draws": 1000, "first": 1000}


def test_a_seed_draws_again_what_a_call_drew(home: Path, run: Command) -> None:
    config = written(home, "c.toml", FILE)
    firsts = {
        told(run(route.app, "explain", "--model", "lab/one", "--seed", str(seed), "--json", "--config", config))[
            "endpoints"
        ][0]["tag"]
        for seed in range(12)
    }
    assert firsts == {"acme", "beta"}


SPENT = """
[[models]]
slug = "lab/two"
[[models.endpoints]]
provider = "beta"
upstream_model = "two"
[models.endpoints.pricing]
prompt = "0.000004"
completion = "0.000004"
"""


def test_auto_is_explained_by_what_the_store_says_traffic_spent(home: Path, run: Command) -> None:
    config = written(home, "c.toml", FILE + SPENT)

    def explained() -> tuple[list[str], list[str]]:
        data = told(run(route.app, "explain", "--model", "openrouter/auto", "--json", "--config", config))
        return data["ranking"], [each["model"] for each in data["endpoints"] if each["place"] is not None]

    assert explained() == ([], ["lab/one", "lab/one"]), "nothing is learnt: the cheapest fifth"
    assert not (home / "routebook.db").exists(), "explaining makes no database"

    async def spend() -> None:
        store, day = open_store(Settings(), home), day_text(day_number(SystemClock().now_ns()))
        one = Posting("k", "default", day, Decimal(9), models=(ModelSpend("lab/two", day, Decimal(9)),))
        await store.ship("aaa", 1, [], [one])
        await store.close()

    home.mkdir(parents=True, exist_ok=True)
    asyncio.run(spend())
    assert explained() == (["lab/two"], ["lab/two"])
    out = run(route.app, "explain", "--model", "openrouter/auto", "--config", config)
    assert "ranking: learnt from traffic: lab/two" in out
    assert "ranking" not in run(route.app, "explain", "--model", "lab/one", "--config", config)


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        ((), 2, "name a model"),
        (("no-such-file.json",), 1, "cannot be read"),
        (("--model", "lab/nothing"), 1, ""),
        (("--model", "lab/one", "--url", "http://127.0.0.1:9/api/v1"), 1, "no gateway answers"),
    ],
)
def test_mistakes_of_an_explanation_are_told_in_a_line(
    home: Path, run: Command, tokens: tuple[str, ...], code: int, says: str
) -> None:
    run(route.app, "explain", *tokens, "--config", written(home, "c.toml", FILE))
    assert run.code == code
    assert says in run.err


# --- replay -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(home: Path) -> int:
    """Twenty calls at acme, two of them not shipped yet; 100 tokens in, 80 out, 1 USD a million."""

    async def work() -> None:
        book, store = FileDaybook(home), open_store(Settings(), home)
        usage = Usage(prompt=100, completion=80)
        for place in range(20):
            n, at_ns = book.next_n(), ACCEPTED_NS + place * 60_000 * MS
            call = intent(
                n,
                book.name,
                accepted_ns=at_ns,
                requested_model="lab/one",
                model="lab/one",
                endpoint_id="acme:lab/one:one",
            )
            tried = attempt(
                model="lab/one",
                endpoint_id="acme:lab/one:one",
                **{f"{mark}_ns": at_ns + ms * MS for mark, ms in (("started", 0), ("sent", 0), ("first", 50))},
                ended_ns=at_ns + 250 * MS,
            )
            charged = price(usage, sheet("1"), RULES)
            end = outcome(ended_ns=at_ns + 251 * MS, model="lab/one", usage=usage, charge=charged, attempts=(tried,))
            await book.open(call)
            await book.close(call.id, n, State.DONE, end)
            if place == 17:
                await Shipper(book, store).ship_once()
        await store.close()
        await book.aclose()

    home.mkdir(parents=True, exist_ok=True)
    asyncio.run(work())
    return 20


BOUNDS = ("--since", "2024-07-15", "--until", "2024-07-17")


def replayed(run: Command, *tokens: str) -> Any:
    out = run(route.app, "replay", *BOUNDS, "--json", *tokens)
    assert run.code == 0, run.err
    return told(out)


def test_a_policy_is_a_difference_in_cost_and_latency(home: Path, calls: int, run: Command) -> None:
    config, policy = written(home, "c.toml", ORDERED + FILE), written(home, "p.toml", PRIVATE)
    data = replayed(run, "--policy", policy, "--config", config)
    assert (data["calls"]["rerun"], data["calls"]["moved"], data["calls"]["as_planned"]) == (20, 20, 20)
    assert data["cost"] == {"charged": "0.0036", "would_be": "0.0072", "difference": "0.0036"}
    assert (data["latency"]["calls"], data["latency"]["unknown"]) == (0, 20), "nobody asked beta in the period"
    (move,) = data["moves"]
    assert (move["provider"], move["to_provider"], move["difference"]) == ("Acme", "Beta", "0.0036")
    out = run(route.app, "replay", *BOUNDS, "--policy", policy, "--config", config)
    assert "20 calls, 20 run again" in out
    assert "+0.0036 (+100.0%)" in out
    assert "Records hold no prompt" in out


def test_without_a_policy_the_present_configuration_is_held_against_the_records(
    home: Path, calls: int, run: Command
) -> None:
    data = replayed(run, "--config", written(home, "c.toml", ORDERED + FILE))
    assert data["cost"]["difference"] == "0"
    assert (data["latency"]["p50_ms"], data["latency"]["would_be_p50_ms"]) == (251, 251)
    assert data["latency"]["estimate_off_by_p50_permille"] == 0
    assert data["measured"] == [{"endpoint_id": "acme:lab/one:one", "answers": 20, "first_ms": 50, "token_us": 2500}]


def test_a_price_book_changes_what_it_names(home: Path, calls: int, run: Command) -> None:
    config, prices = written(home, "c.toml", ORDERED + FILE), written(home, "b.toml", BOOK)
    data = replayed(run, "--prices", prices, "--config", config)
    # 100 at 0.5 and 80 at 1 USD a million, instead of 180 at 1.
    assert data["cost"] == {"charged": "0.0036", "would_be": "0.0026", "difference": "-0.001"}


def test_a_policy_may_bring_models_of_its_own(home: Path, calls: int, run: Command) -> None:
    config = written(home, "c.toml", ORDERED + FILE)
    policy = written(
        home,
        "p.toml",
        '[[models]]\nslug = "lab/one"\n[[models.endpoints]]\nprovider = "beta"\nupstream_model = "one"\n'
        '[models.endpoints.pricing]\nprompt = "0"\ncompletion = "0"\n',
    )
    data = replayed(run, "--policy", policy, "--config", config)
    assert (data["cost"]["would_be"], data["moves"][0]["to_provider"]) == ("0", "Beta")


def test_the_same_command_prints_the_same_bytes_whatever_the_order_of_hashes(home: Path, calls: int) -> None:
    config, policy = written(home, "c.toml", FILE), written(home, "p.toml", '[routing]\nsort = "throughput"\n')
    code = "from routebook.cli.main import main; main()"
    command = [sys.executable, "-c", code, "route", "replay", *BOUNDS, "--policy", policy, "--config", config]
    for more in ([], ["--json"]):
        printed = [
            subprocess.run(
                [*command, *more],
                env={**os.environ, "ROUTEBOOK_HOME": str(home), "PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                timeout=60,
            ).stdout
            for seed in ("1", "2")
        ]
        assert printed[0] == printed[1]
        assert printed[0]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("--policy", "[server]\nport = 1\n", ":1: server: a policy has no such table"),
        ("--policy", "[routing]\nbalanse = 1\n", ":2: routing.balanse: unknown key"),
        ("--policy", "[routing\n", "not valid TOML"),
        ("--prices", '[[prices]]\nmodel = "lab/two"\n[prices.pricing]\n', ':2: prices[0].model: no model "lab/two"'),
        ("--prices", BOOK.replace('"acme"', '"gamma"'), "does not serve it"),
        ("--prices", BOOK.replace('"0.0000005"', "0.0000005"), "write the number in quotes"),
    ],
)
def test_mistakes_of_a_file_are_told_with_its_line(
    home: Path, calls: int, run: Command, name: str, text: str, says: str
) -> None:
    run(route.app, "replay", *BOUNDS, name, written(home, "x.toml", text), "--config", written(home, "c.toml", FILE))
    assert run.code == 1
    assert says in run.err


def test_a_span_that_is_none_is_wrong_usage(home: Path, run: Command) -> None:
    run(route.app, "replay", "--since", "yesterday")
    assert (run.code, "--since must be like" in run.err) == (2, True)


def test_a_folder_without_calls_is_a_report_of_nothing(home: Path, run: Command) -> None:
    out = run(route.app, "replay", "--since", "1h", "--config", written(home, "c.toml", FILE))
    assert run.code == 0
    assert "0 calls, 0 run again" in out

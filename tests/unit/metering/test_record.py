"""The record: every key, every field from the rows it is computed from. Examples: generation record, section 14."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from routebook.core.call import Loss
from routebook.core.catalog import Accounting
from routebook.core.generation import Amendment, AttemptRow, Folded, Outcome, Progress, State
from routebook.core.money import Override, Prices, PriceSheet
from routebook.core.usage import Usage
from routebook.metering.pricing import is_insured, price
from routebook.metering.record import record
from routebook.metering.revision import unanswered
from routebook.wire import codec
from tests.unit.daybook.samples import ACCEPTED_NS, MS, attempt, intent, outcome
from tests.unit.metering.test_revision import revised

OPENAPI = Path(__file__).parents[4] / "shared" / "spec" / "openrouter-openapi.yaml"

SHEET = PriceSheet(
    Prices(
        prompt=Decimal("0.000003"),
        completion=Decimal("0.000015"),
        input_cache_read=Decimal("0.0000003"),
        input_cache_write=Decimal("0.00000375"),
    )
)


@cache
def schema() -> Any:
    if not OPENAPI.exists():
        pytest.skip("the published API description is not here: ../shared/spec/openrouter-openapi.yaml")
    document = yaml.load(OPENAPI.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document["components"]


def valid(data: dict[str, Any]) -> None:
    """`data` travels as JSON and is what the published schema of GET /generation says."""
    rules = {"$ref": "#/components/schemas/GenerationResponse", "components": schema()}
    jsonschema_rs.validator_for(rules).validate(codec.decode(codec.encode({"data": data})))


def ended(state: int = State.DONE, end: Outcome | None = None, **changes: Any) -> Folded:
    return Folded(7, intent(5, **changes), None, end or outcome(), state)


def priced(usage: Usage, sheet: PriceSheet = SHEET, **how: Any) -> Outcome:
    """An outcome with that usage, charged at that sheet."""
    return outcome(usage=usage, charge=price(usage, sheet, **how), is_byok=how.get("is_byok", False))


CACHED = Usage(prompt=12000, completion=400, cached=10000, cache_write=500)


def test_every_key_of_the_schema_is_there_for_ended_and_open_calls() -> None:
    properties = set(schema()["schemas"]["GenerationResponse"]["properties"]["data"]["properties"])
    for call in (ended(), Folded(1, intent(5))):
        assert set(record(call)) == properties | {"routebook"}


@pytest.mark.parametrize(
    "call",
    [
        ended(provider_name="OpenAI", end=outcome(attempts=(attempt(provider_name="OpenAI"),))),
        Folded(1, intent(5)),
        ended(State.ERROR, Outcome(ended_ns=ACCEPTED_NS, finish_reason="error", error={"status": 503})),
        ended(State.CANCELLED, outcome(cancelled=True, finish_reason=None, attempts=())),
        ended(State.BLOCKED, Outcome(ended_ns=ACCEPTED_NS)),
        ended(State.INTERRUPTED, Outcome(ended_ns=ACCEPTED_NS, interrupted=True)),
    ],
    ids=["done", "open", "error", "cancelled", "blocked", "interrupted"],
)
def test_the_record_of_every_kind_of_call_is_what_the_published_schema_says(call: Folded) -> None:
    valid(record(call))


def test_identity_comes_from_the_intent() -> None:
    data = record(
        ended(
            router="openrouter/auto",
            preset_id="a9e8d400-592a-494f-908c-375efa66cafd",
            app_id=12345,
            http_referer="https://openrouter.ai/",
            user_agent="Mozilla/5.0",
            external_user="user-123",
            session_id="s-1",
        )
    )
    assert data["id"] == intent(5).id
    assert data["created_at"] == "2024-07-15T23:33:19.433273+00:00"
    assert datetime.fromisoformat(data["created_at"]).timestamp() == 1721086399.433273
    assert data["model"] == "acme/large"
    assert (data["router"], data["app_id"], data["user_agent"]) == ("openrouter/auto", 12345, "Mozilla/5.0")
    assert (data["external_user"], data["session_id"]) == ("user-123", "s-1")
    assert data["origin"] == ""
    assert data["request_id"] == "req-1721086399-00000000000000000005"


def test_a_whole_second_keeps_its_microseconds() -> None:
    assert record(ended(accepted_ns=1_721_086_399 * 10**9))["created_at"] == "2024-07-15T23:33:19.000000+00:00"


def test_the_model_is_the_one_that_answered_else_the_planned_one_else_the_one_asked_for() -> None:
    assert record(ended(end=outcome(model="acme/small")))["model"] == "acme/small"
    assert record(ended(end=outcome(model=None)))["model"] == "acme/large"
    assert record(ended(end=outcome(model=None), model=None, requested_model="x/y"))["model"] == "x/y"


def test_the_published_example_of_timing_and_money() -> None:
    row = attempt(
        started_ns=ACCEPTED_NS + 50 * MS,
        sent_ns=ACCEPTED_NS + 50 * MS,
        ended_ns=ACCEPTED_NS + 1250 * MS,
        upstream_id="chatcmpl-791bcf62-080e-4568-87d0-94c72e3b4946",
    )
    # Three cached reads alone cannot save 0.00016 exactly; a cache write, absent from the record, makes it even.
    usage = Usage(prompt=10, completion=25, reasoning=5, cached=3, cache_write=1, image_completion=0)
    sheet = PriceSheet(
        Prices(
            prompt=Decimal("0.00007"),
            completion=Decimal("0.0000264"),
            input_cache_read=Decimal("0.00001"),
            input_cache_write=Decimal("0.00009"),
        )
    )
    charge = price(usage, sheet, Accounting(markup=Decimal("0.25")))
    end = outcome(ended_ns=row.ended_ns, moderation_ns=50 * MS, attempts=(row,), usage=usage, charge=charge)
    data = record(ended(end=end))
    assert (data["latency"], data["moderation_latency"], data["generation_time"]) == (1250, 50, 1200)
    assert (data["native_tokens_prompt"], data["native_tokens_completion"]) == (10, 25)
    assert (data["native_tokens_reasoning"], data["native_tokens_cached"]) == (5, 3)
    assert data["native_tokens_completion_images"] == 0
    assert data["total_cost"] == data["usage"] == Decimal("0.0015")
    assert data["upstream_inference_cost"] == Decimal("0.0012")
    assert data["cache_discount"] == Decimal("0.0002")


def test_latency_has_two_readings() -> None:
    assert record(ended())["latency"] == 251
    assert record(ended(), "first_token")["latency"] == 60
    assert record(ended(end=outcome(attempts=())), "first_token")["latency"] is None


def test_durations_keep_three_decimals_at_most() -> None:
    data = record(ended(end=outcome(ended_ns=ACCEPTED_NS + 1_234_567)))
    assert data["latency"] == 1.234


def test_a_cached_read_with_a_small_write() -> None:
    data = record(ended(end=priced(CACHED)))
    assert data["total_cost"] == data["usage"] == Decimal("0.015375")
    assert data["cache_discount"] == Decimal("0.026625")
    assert (data["native_tokens_prompt"], data["native_tokens_cached"]) == (12000, 10000)
    assert data["native_tokens_completion"] == 400
    assert data["routebook"]["counts"]["cache_write"] == 500


def test_a_first_write_costs_more_than_no_cache() -> None:
    data = record(ended(end=priced(Usage(prompt=12000, completion=100, cached=0, cache_write=10000))))
    assert data["total_cost"] == Decimal("0.045")
    assert data["cache_discount"] == Decimal("-0.0075")
    assert data["native_tokens_cached"] == 0


def test_a_callers_own_key_is_charged_the_fee() -> None:
    data = record(ended(end=priced(CACHED, accounting=Accounting(byok_fee=Decimal("0.05")), is_byok=True)))
    assert data["is_byok"] is True
    assert data["total_cost"] == data["usage"] == Decimal("0.00076875")
    assert data["upstream_inference_cost"] == Decimal("0.015375")
    assert sum(Decimal(line["amount"]) for line in data["routebook"]["lines"]) == data["total_cost"]


def test_a_fallback_lists_every_attempt_and_times_the_one_that_answered() -> None:
    def failed(status: int, begun: int, took: int) -> AttemptRow:
        at = ACCEPTED_NS + begun * MS
        return attempt(
            status=status, sent_ns=at, head_ns=None, first_ns=None, ended_ns=at + took * MS, error="E", upstream_id=None
        )

    dispatched = ACCEPTED_NS + 1035 * MS
    good = attempt(sent_ns=dispatched, first_ns=dispatched + 460 * MS, ended_ns=dispatched + 2100 * MS)
    rows = (failed(429, 15, 120), failed(503, 135, 900), good)
    call = ended(end=outcome(attempts=rows, ended_ns=good.ended_ns))
    data = record(call)
    assert [item["status"] for item in data["provider_responses"]] == [429, 503, 200]
    assert [item["latency"] for item in data["provider_responses"]] == [120, 900, 460]
    assert "id" not in data["provider_responses"][0]
    assert data["generation_time"] == 2100
    assert data["latency"] == 3135
    assert record(call, "first_token")["latency"] == 1495
    assert [row["error"] for row in data["routebook"]["attempts"]] == ["E", "E", None]


def test_an_attempt_without_an_answer_has_a_null_status_and_no_made_up_keys() -> None:
    row = AttemptRow(provider_name="OpenAI", provider_slug="openai", model="m/x", endpoint_id="e", error="UpstreamLost")
    data = record(ended(State.ERROR, Outcome(ended_ns=ACCEPTED_NS, finish_reason="error", attempts=(row,))))
    assert data["provider_responses"] == [
        {"status": None, "provider_name": "OpenAI", "model_permaslug": "m/x", "endpoint_id": "e", "is_byok": False}
    ]
    assert data["generation_time"] is None
    assert data["provider_name"] is None


def test_a_cancelled_stream_is_charged_for_what_was_produced() -> None:
    usage = Usage(prompt=800, completion=37)
    end = outcome(
        usage=usage,
        usage_source="estimated",
        cancelled=True,
        finish_reason=None,
        native_finish_reason=None,
        charge=price(usage, SHEET),
    )
    data = record(ended(State.CANCELLED, end))
    assert (data["cancelled"], data["streamed"], data["finish_reason"]) == (True, True, None)
    assert data["native_tokens_completion"] == 37
    assert data["total_cost"] == Decimal("0.002955")
    assert data["routebook"]["usage_source"] == "estimated"
    assert data["routebook"]["outcome"] == "cancelled"


def test_a_cancelled_call_that_was_drained_is_charged_in_full() -> None:
    usage = Usage(prompt=800, completion=512)
    end = outcome(usage=usage, usage_source="drained", cancelled=True, finish_reason=None, charge=price(usage, SHEET))
    data = record(ended(State.CANCELLED, end))
    assert data["native_finish_reason"] == "stop"
    assert data["total_cost"] == Decimal("0.01008")


def test_a_failure_in_mid_stream_is_insured_and_keeps_its_tokens() -> None:
    usage = Usage(prompt=100, completion=50)
    insured = is_insured(usage, "error", delivered=True, cancelled=False)
    row = attempt(error="UpstreamLost")
    end = outcome(usage=usage, finish_reason="error", charge=price(usage, SHEET, insured=insured), attempts=(row,))
    data = record(ended(State.ERROR, end))
    assert data["finish_reason"] == "error"
    assert data["native_tokens_completion"] == 50
    assert data["total_cost"] == 0
    assert data["routebook"]["insured"] is True
    assert data["generation_time"] == 248


def test_an_answer_from_the_response_cache_costs_nothing_and_names_its_source() -> None:
    end = Outcome(
        ended_ns=ACCEPTED_NS,
        usage=Usage(prompt=0, completion=0, cached=0),
        provider_name="OpenAI",
        response_cache_source_id="gen-1-a",
    )
    data = record(ended(end=end))
    assert (data["native_tokens_prompt"], data["native_tokens_completion"], data["native_tokens_cached"]) == (0, 0, 0)
    assert data["response_cache_source_id"] == "gen-1-a"
    assert data["provider_responses"] is None
    assert data["upstream_id"] is None
    assert data["total_cost"] == 0


def test_reasoning_is_billed_as_completion_where_it_has_no_price() -> None:
    data = record(ended(end=priced(Usage(prompt=100, completion=900, reasoning=700))))
    assert (data["native_tokens_completion"], data["native_tokens_reasoning"]) == (900, 700)
    assert data["total_cost"] == Decimal("0.0003") + 900 * Decimal("0.000015")
    notes = [line["note"] for line in data["routebook"]["lines"] if line["item"] == "reasoning"]
    assert notes == ["no internal_reasoning price: billed as completion"]


def test_long_context_prices_hold_for_more_than_the_limit() -> None:
    dear = Override(Prices(prompt=Decimal("0.000006")), min_prompt_tokens=200_000)
    sheet = msgspec.structs.replace(SHEET, overrides=(dear,))
    assert record(ended(end=priced(Usage(prompt=200_000, completion=0), sheet)))["total_cost"] == Decimal("0.6")
    assert record(ended(end=priced(Usage(prompt=200_001, completion=0), sheet)))["total_cost"] == Decimal("1.200006")


def test_an_unpriced_call_says_so_and_claims_no_price() -> None:
    usage = Usage(prompt=5, completion=5)
    data = record(ended(end=outcome(usage=usage, charge=price(usage, None))))
    assert data["total_cost"] == data["usage"] == 0
    assert data["upstream_inference_cost"] is None
    assert data["cache_discount"] is None
    assert data["routebook"]["lines"] is None
    assert data["routebook"]["unpriced"] is True
    assert data["routebook"]["attempts"][0]["total_cost"] is None


def test_unknown_counts_are_null_and_not_zero() -> None:
    data = record(ended(end=outcome(usage=Usage())))
    assert [data[name] for name in data if "tokens" in name] == [None] * 7
    assert data["num_search_results"] is None


def test_reference_counts_come_as_amendments_and_are_flagged() -> None:
    plain = record(ended())
    assert (plain["tokens_prompt"], plain["tokens_completion"]) == (100, 20)
    assert plain["routebook"]["reference_tokens"] == "native"
    call = msgspec.structs.replace(
        ended(),
        amendments=(
            Amendment(at_ns=1, tokens_prompt=90, tokens_completion=18, reference_tokenizer="o200k_base"),
            Amendment(at_ns=2, tokens_completion=19),
        ),
    )
    data = record(call)
    assert (data["tokens_prompt"], data["tokens_completion"]) == (90, 19)
    assert data["routebook"]["reference_tokens"] == "o200k_base"
    assert data["native_tokens_prompt"] == 100


def test_an_open_call_has_a_record_that_claims_nothing() -> None:
    progress = Progress(
        at_ns=1, model="acme/small", provider_name="Acme", endpoint_id="e", frames=3, delivered_bytes=40
    )
    data = record(Folded(2, intent(5), progress))
    assert data["routebook"]["outcome"] == "open"
    assert data["routebook"]["delivered"] == {"frames": 3, "bytes": 40}
    assert data["routebook"]["lines"] is None
    assert data["model"] == "acme/small"
    assert data["total_cost"] == 0
    nulls = ("cancelled", "finish_reason", "latency", "generation_time", "provider_responses", "num_media_completion")
    assert [data[name] for name in nulls] == [None] * len(nulls)


def test_our_additions_explain_the_charge_and_the_call() -> None:
    end = outcome(
        losses=(Loss("logit_bias", "the provider has no such parameter"),),
        upstream_model="large-2026-01",
        delivered_frames=20,
        delivered_bytes=99,
        moderation_ns=1 * MS,
        usage=Usage(prompt=100, completion=20, raw=b'{"prompt_tokens":100,"rate":0.10}'),
    )
    own = record(ended(end=end, hold=Decimal("0.0005")))["routebook"]
    assert own["lines"][0] == {
        "item": "prompt", "count": 100, "rate": "0.000003", "amount": "0.0003", "note": None
    }  # fmt: skip
    assert (own["hold"], own["over_hold"]) == ("0.0005", True)
    assert own["marks"] == {
        "moderation": 1, "dispatch": 2, "headers": 40, "first_token": 60, "last_byte": 250, "ended": 251
    }  # fmt: skip
    assert own["losses"] == [{"parameter": "logit_bias", "detail": "the provider has no such parameter"}]
    assert own["upstream"] == {"model": "large-2026-01", "provider": None}
    assert own["daybook"] == {"name": "ABC", "n": 5, "seq": 7}
    assert own["delivered"] == {"frames": 20, "bytes": 99}
    assert own["provider_usage"] == {"prompt_tokens": 100, "rate": Decimal("0.10")}
    assert own["price_revision"] == "2024-07"
    assert own["outcome"] == "done"


@pytest.mark.parametrize("raw", [b'{"x":"\xff"}', b'{"x":1e99999999999999999999}', b'{"x":"\\ud800"}'])
def test_a_usage_object_that_is_not_quite_json_is_shown_as_text(raw: bytes) -> None:
    own = record(ended(end=outcome(usage=Usage(prompt=1, completion=2, raw=raw))))["routebook"]
    assert own["provider_usage"] == raw.decode("utf-8", "replace")


def test_a_providers_error_body_is_not_shown_to_the_caller() -> None:
    row = attempt(error="UpstreamRefused", raw="internal details")
    assert b"internal details" not in codec.encode(record(ended(State.ERROR, outcome(attempts=(row,)))))


def test_money_is_written_digit_for_digit_without_idle_zeros() -> None:
    charge = msgspec.structs.replace(outcome().charge, total=Decimal("0.00150000"))
    body = codec.encode(record(ended(end=outcome(charge=charge))))
    assert b'"total_cost":0.0015,' in body


def test_a_call_priced_anew_shows_the_newest_charge_and_keeps_all() -> None:
    dear = PriceSheet(Prices(prompt=Decimal("0.000004"), completion=Decimal("0.000015")), revision="2024-08-01 ab")
    call = ended()
    new = price(Usage(prompt=100, completion=20), dear)
    data = record(msgspec.structs.replace(call, amendments=(revised(new),)))
    assert (data["total_cost"], data["usage"], data["upstream_inference_cost"]) == (Decimal("0.0007"),) * 3
    own = data["routebook"]
    assert (own["revision"], own["price_revision"]) == (1, "2024-08-01 ab")
    assert sum(Decimal(line["amount"]) for line in own["lines"]) == data["total_cost"]
    first, second = own["revisions"]
    assert (first["revision"], first["total_cost"], first["price_revision"]) == (0, "0.0006", "2024-07")
    assert (second["revision"], second["total_cost"], second["lines"]) == (1, "0.0007", own["lines"])
    for each in own["revisions"]:
        assert sum(Decimal(line["amount"]) for line in each["lines"]) == Decimal(each["total_cost"])
        assert datetime.fromisoformat(each["at"]).tzinfo is not None


def test_a_call_never_priced_anew_has_revision_zero() -> None:
    own = record(ended())["routebook"]
    assert (own["revision"], own["revisions"]) == (0, [])


def test_what_a_try_cost_that_did_not_answer_is_seen() -> None:
    usage = Usage(prompt=50, completion=1, raw=b'{"input_tokens":50}')
    lost = attempt(
        error="UpstreamOverloaded",
        usage=usage,
        charge=unanswered(usage, SHEET, Accounting(), images=0, hhmm=0),
    )
    end = outcome(attempts=(lost, attempt()))
    own = record(ended(end=end))["routebook"]
    assert own["hidden_retry_spend"] == "0.000165"
    told = own["attempts"][0]
    assert (told["total_cost"], told["upstream_inference_cost"]) == ("0", "0.000165")
    assert told["provider_usage"] == {"input_tokens": 50}
    assert sum(Decimal(line["amount"]) for line in told["lines"]) == 0
    assert record(ended())["routebook"]["hidden_retry_spend"] == "0"

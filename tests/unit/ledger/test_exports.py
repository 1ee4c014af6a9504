"""Every known export is found by its columns and read to the last unit; what cannot be read is told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from routebook.ledger.export_formats import FORMATS
from routebook.ledger.export_lines import DAY_NS, ExportError, Tokens, family
from routebook.ledger.exports import mapping_file, mapping_of, read
from routebook.ledger.reconcile import period, side_of_lines
from tests.unit.ledger import exports_samples as samples
from tests.unit.ledger.exports_samples import DAY_START_NS, csv, page

OPENAI = Tokens(prompt=3000, completion=300, cached=500)
ANTHROPIC = Tokens(prompt=3000, completion=300, cached=500, cache_write=300, cache_write_1h=0)
COST = Decimal("0.01215")

SAMPLES = {
    "openai-usage": (samples.OPENAI_USAGE_JSON, 3, OPENAI, None, 2),
    "openai-costs": (samples.OPENAI_COSTS_JSON, None, Tokens(), COST, 2),
    "openai-costs-csv": (samples.OPENAI_COSTS_CSV, None, Tokens(), COST, 2),
    "anthropic-usage": (samples.ANTHROPIC_USAGE_JSON, None, ANTHROPIC, None, 2),
    "anthropic-usage-csv": (samples.ANTHROPIC_USAGE_CSV, None, ANTHROPIC, None, 1),
    "anthropic-costs": (samples.ANTHROPIC_COSTS_JSON, None, Tokens(), Decimal("0.012375"), 2),
    "anthropic-costs-csv": (samples.ANTHROPIC_COSTS_CSV, None, Tokens(), Decimal("0.01"), 1),
    "openrouter-generations": (
        samples.OPENROUTER_CSV,
        3,
        Tokens(prompt=3000, completion=300, cached=500, reasoning=0),
        COST,
        0,
    ),
    "openrouter-activity": (
        samples.OPENROUTER_ACTIVITY,
        3,
        Tokens(prompt=3000, completion=300, reasoning=0),
        COST,
        1,
    ),
}


def test_every_known_format_has_a_sample_here() -> None:
    assert SAMPLES.keys() == {each.name for each in FORMATS}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_found_by_its_columns_and_read_to_the_last_unit(name: str) -> None:
    data, requests, tokens, cost, spans = SAMPLES[name]
    export = read(data)
    assert export.format == name
    assert export.provider == name.partition("-")[0]
    side = side_of_lines(export.lines)
    assert (side.requests, side.tokens, side.cost) == (requests, tokens, cost)
    assert len(export.spans) == spans
    covered = period(export)
    assert covered is not None
    if spans:
        assert covered == (DAY_START_NS, DAY_START_NS + spans * DAY_NS)
    assert read(data, name) == export


def test_the_dashboards_csv_of_openai_usage_is_read_like_the_api() -> None:
    export = read(samples.OPENAI_USAGE_CSV)
    assert export.format == "openai-usage"
    assert side_of_lines(export.lines).tokens == OPENAI
    assert side_of_lines(export.lines).requests == 3
    assert [line.key for line in export.lines] == ["key_a", "key_b"]
    assert period(export) == (DAY_START_NS, DAY_START_NS + 2 * DAY_NS)


def test_buckets_in_which_nothing_happened_are_a_time_with_no_lines() -> None:
    head = "start_time,end_time,start_time_iso,end_time_iso"
    row = f"{samples.DAY},{samples.DAY + 60},2026-04-01T00:00:00+00:00,2026-04-01T00:01:00+00:00"
    for data, format in (
        (csv(head, row), "openai-usage"),
        (
            page({"starting_at": "2026-04-01T00:00:00Z", "ending_at": "2026-04-01T00:01:00Z", "results": []}),
            "anthropic",
        ),
    ):
        export = read(data)
        assert export.format.startswith(format)
        assert export.lines == []
        assert period(export) == (DAY_START_NS, DAY_START_NS + 60 * 10**9)


def test_pages_one_a_line_are_one_export_and_a_missing_page_is_told() -> None:
    whole = samples.OPENAI_USAGE_JSON
    both = read(whole + b"\n" + whole + b"\n")
    assert side_of_lines(both.lines).requests == 6
    assert both.notes == []
    (note,) = read(page({"start_time": samples.DAY, "end_time": samples.DAY + 60, "results": []}, has_more=True)).notes
    assert "one page of several" in note


@pytest.mark.parametrize(
    "text",
    ["1775001600", "1775001600000", "2026-04-01T00:00:00Z", "2026-04-01 02:00:00+02:00", "2026-04-01 00:00:00 UTC"],
)
def test_times_are_read_as_they_are_written(text: str) -> None:
    export = read(csv("at,in", f"{text},5"), mapping=mapping_of("time=at,prompt=in"))
    assert export.lines[0].start_ns == DAY_START_NS
    assert export.lines[0].end_ns is None


def test_a_microsecond_is_kept() -> None:
    export = read(csv("at,in", "2026-04-01T00:00:00.000001,5"), mapping=mapping_of("time=at,prompt=in"))
    assert export.lines[0].start_ns == DAY_START_NS + 1000


def test_a_date_is_a_day_and_a_bucket_that_is_named_wins() -> None:
    export = read(csv("at,in", "2026-04-01,5"), mapping=mapping_of("time=at,prompt=in"))
    assert export.lines[0].end_ns == DAY_START_NS + DAY_NS
    hour = read(csv("at,in", "2026-04-01T05:30:00,5"), mapping=mapping_of("time=at,prompt=in,bucket=hour"))
    assert (hour.lines[0].start_ns, hour.lines[0].end_ns) == (
        DAY_START_NS + 5 * samples.HOUR,
        DAY_START_NS + 6 * samples.HOUR,
    )


def test_an_amount_keeps_every_digit_however_many_it_has() -> None:
    digits = "1.2345678901234567890123456789012345"
    for column, amount in (
        ("cost", Decimal(digits)),
        ("cost_cents", Decimal("0.012345678901234567890123456789012345")),
    ):
        found = read(
            f"when,paid\n2026-04-01T00:00:00,{digits}\n".encode(), mapping=mapping_of(f"time=when,{column}=paid")
        )
        assert found.lines[0].cost == amount


def test_a_mapping_reads_semicolons_cents_and_counts_without_the_cache() -> None:
    mapping = mapping_file(
        b'provider = "acme"\n[columns]\ntime = "when"\nid = "ref"\nuncached = "new"\ncached = "old"\n'
        b'completion = "out"\ncost_cents = "cents"\n'
    )
    export = read("\ufeffwhen;ref;new;old;out;cents\n2026-04-01T00:00:00;a;10;5;2;$1.25\n".encode(), mapping=mapping)
    (line,) = export.lines
    assert export.provider == "acme"
    assert line.tokens == Tokens(prompt=15, cached=5, completion=2)
    assert line.cost == Decimal("0.0125")
    assert line.id == "a"


def test_a_mapping_reads_objects_of_json_by_their_dotted_names() -> None:
    data = b'{"at":1775001600,"use":{"in":7},"usd":0.1}\n{"at":1775001660,"use":{"in":8},"usd":1E-7}\n'
    export = read(data, mapping=mapping_of("time=at,prompt=use.in,cost=usd,bucket=call"))
    assert [line.tokens.prompt for line in export.lines] == [7, 8]
    assert [line.cost for line in export.lines] == [Decimal("0.1"), Decimal("1E-7")]


def test_an_empty_cell_is_unknown_and_never_0() -> None:
    export = read(
        csv("at,in,out,usd", "2026-04-01,5,,"), mapping=mapping_of("time=at,prompt=in,completion=out,cost=usd")
    )
    assert export.lines[0].tokens == Tokens(prompt=5)
    assert export.lines[0].cost is None
    assert export.unit is None


@pytest.mark.parametrize(
    ("amounts", "unit"), [(["0.01"], "0.01"), (["3"], "0.01"), (["0.5", "0.12345"], "0.00001"), (["1E-7"], "1E-7")]
)
def test_the_smallest_step_is_the_finest_amount_of_the_file_but_a_cent_at_most(amounts: list[str], unit: str) -> None:
    export = read(
        csv("at,usd", *(f"2026-04-01,{amount}" for amount in amounts)), mapping=mapping_of("time=at,cost=usd")
    )
    assert export.unit == Decimal(unit)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"\x00\xff\xfe", "neither JSON nor UTF-8"),
        (b"{broken", "not JSON"),
        (b"[1, 2]", "objects are expected"),
        (b'{"data": [3]}', "are no objects"),
        (csv("a,b", "1,2"), "--map time=COLUMN"),
        (csv("generation_id,created_at,price", "a,b,c"), "openrouter-generations, lacks cost_total"),
        (csv("usage_date_utc,cost_usd", "2026-04-01"), "row 1 has 1 columns, the header has 2"),
        (csv("usage_date_utc,cost_usd", "2026-04-01,cheap"), "row 1, column cost_usd: 'cheap' is not an amount"),
        (csv("usage_date_utc,cost_usd", "2026-04-01,NaN"), "'NaN' is not an amount"),
        (csv("usage_date_utc,cost_usd", "2026-04-01,1e999999"), "is not an amount"),
        (csv("usage_date_utc,cost_usd", "April,1"), "column usage_date_utc: 'April' is neither"),
        (csv("usage_date_utc,cost_usd", ",1"), "every row needs its time"),
        (csv("usage_date_utc,cost_usd", '2026-04-01,"1'), "is not CSV"),
        (samples.OPENAI_COSTS_JSON.replace(b"usd", b"eur"), "amounts in eur"),
        (samples.OPENAI_USAGE_JSON.replace(b"3000", b"3000.5"), "'3000.5' is not a count"),
        (samples.OPENAI_USAGE_JSON.replace(b"3000", b"-3"), "'-3' is not a count"),
        (samples.OPENAI_USAGE_JSON.replace(b"3000", b"[]"), "is a list or an object"),
        (csv("start_time,end_time,amount_value", "60,60,1"), "is neither"),
        (csv("start_time,end_time,amount_value", "1775001600,1775001600,1"), "ends at or before its start"),
    ],
)
def test_what_cannot_be_read_is_told(data: bytes, told: str) -> None:
    with pytest.raises(ExportError) as error:
        read(data)
    assert told in str(error.value)


def test_a_format_or_column_that_is_not_there_is_told() -> None:
    with pytest.raises(ExportError, match="there is no format invoice"):
        read(samples.OPENROUTER_CSV, "invoice")
    with pytest.raises(ExportError, match="not openai-usage: there is no column start_time"):
        read(samples.OPENROUTER_CSV, "openai-usage")
    with pytest.raises(ExportError, match=r"no column nowhere \(for prompt\)"):
        read(samples.OPENROUTER_CSV, mapping=mapping_of("time=created_at,prompt=nowhere"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time", "is not NAME=COLUMN"),
        ("prompt=x", "missing required field"),
        ("time=x,colour=y", "unknown field"),
        ("time=x", "no column that counts"),
        ("time=x,prompt=y,bucket=week", "can be call, minute, hour, day"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told(text: str, told: str) -> None:
    with pytest.raises(ExportError) as error:
        mapping_of(text)
    assert told in str(error.value)


def test_a_mapping_file_that_is_no_toml_is_told() -> None:
    with pytest.raises(ExportError, match="not TOML"):
        mapping_file(b"= nothing")


@pytest.mark.parametrize(
    ("name", "kin"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4.1-2025-04-14", "gpt-4-1"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("openai/gpt-oss-120b:free", "gpt-oss-120b"),
        ("llama3:8b", "llama3:8b"),
        ("gpt-3.5-turbo-0125", "gpt-3-5-turbo-0125"),
    ],
)
def test_spellings_of_a_model_are_one_family(name: str, kin: str) -> None:
    assert family(name) == kin

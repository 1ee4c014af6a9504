"""Exports that tests make up: columns and shapes of real ones, invented values. And book entries to go with them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.money import Line
from routebook.ledger.bookside import Book, Entry
from routebook.ledger.export_lines import DAY_NS, Tokens, family
from routebook.wire import codec

DAY = 1_775_001_600
"""2026-04-01T00:00:00Z"""
DAY_START_NS = DAY * 10**9
SECOND = 10**9
HOUR = 3600 * SECOND

PROMPT = Decimal("0.000003")
READ = Decimal("0.0000003")
WRITE = Decimal("0.00000375")
COMPLETION = Decimal("0.000015")


def cost(prompt: int, completion: int, cached: int = 0, written: int = 0) -> Decimal:
    """At the rates of these samples; prompt includes the cached and the written ones."""
    return (prompt - cached - written) * PROMPT + cached * READ + written * WRITE + completion * COMPLETION


def entry(
    number: int, at: int = 0, model: str = "gpt-4o", prompt: int = 1000, completion: int = 100, **more: Any
) -> Entry:
    """A call `at` seconds after the start of the day, with the provider's id `up-<number>`."""
    cached, written = more.pop("cached", 0), more.pop("written", 0)
    kinds = (
        ("prompt", prompt - cached - written, PROMPT),
        ("cache_read", cached, READ),
        ("cache_write", written, WRITE),
    )
    lines = [
        Line(item, count * rate, count, rate) for item, count, rate in (*kinds, ("completion", completion, COMPLETION))
    ]
    plain = Entry(
        generation=f"gen-{number}",
        upstream_id=f"up-{number}",
        sent_ns=DAY_START_NS + at * SECOND,
        ended_ns=DAY_START_NS + (at + 2) * SECOND,
        families=(family(model),),
        tokens=Tokens(prompt, completion, cached, written),
        cost=cost(prompt, completion, cached, written),
        lines=tuple(line for line in lines if line.count),
        billed=True,
        hold=Decimal("0.5"),
    )
    return msgspec.structs.replace(plain, **more)


def book(*entries: Entry) -> Book:
    return Book(sorted(entries, key=lambda each: each.sent_ns), DAY_START_NS - 30 * DAY_NS)


def csv(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def page(*buckets: Any, **more: Any) -> bytes:
    return codec.encode({"object": "page", "data": list(buckets), "has_more": False, "next_page": None, **more})


# --- one of every format, each for the same two days: 3 calls on the first, none on the second ------------------------

OPENAI_USAGE_JSON = page(
    {
        "object": "bucket",
        "start_time": DAY,
        "end_time": DAY + 86400,
        "results": [
            {
                "object": "organization.usage.completions.result",
                "input_tokens": 3000,
                "output_tokens": 300,
                "input_cached_tokens": 500,
                "input_audio_tokens": 0,
                "output_audio_tokens": 0,
                "num_model_requests": 3,
                "project_id": None,
                "user_id": None,
                "api_key_id": "key_a",
                "model": "gpt-4o-2024-08-06",
                "batch": False,
            }
        ],
    },
    {"object": "bucket", "start_time": DAY + 86400, "end_time": DAY + 2 * 86400, "results": []},
)

OPENAI_USAGE_CSV = csv(
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
    "service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens",
    f"{DAY},{DAY + 86400},2026-04-01T00:00:00+00:00,2026-04-02T00:00:00+00:00,proj_a,2.0,,key_a,gpt-4o-2024-08-06,,,"
    "2000,200,500,1500",
    f"{DAY},{DAY + 86400},2026-04-01T00:00:00+00:00,2026-04-02T00:00:00+00:00,proj_a,1.0,,key_b,gpt-4o-2024-08-06,,,"
    "1000,100,0,1000",
    f"{DAY + 86400},{DAY + 2 * 86400},2026-04-02T00:00:00+00:00,2026-04-03T00:00:00+00:00,,,,,,,,,,,",
)

OPENAI_COSTS_JSON = page(
    {
        "object": "bucket",
        "start_time": DAY,
        "end_time": DAY + 86400,
        "results": [
            {
                "object": "organization.costs.result",
                "amount": {"value": Decimal("0.00765"), "currency": "usd"},
                "line_item": "gpt-4o-2024-08-06, input",
                "project_id": "proj_a",
            },
            {
                "object": "organization.costs.result",
                "amount": {"value": Decimal("0.0045"), "currency": "usd"},
                "line_item": "gpt-4o-2024-08-06, output",
                "project_id": "proj_a",
            },
        ],
    },
    {"object": "bucket", "start_time": DAY + 86400, "end_time": DAY + 2 * 86400, "results": []},
)

OPENAI_COSTS_CSV = csv(
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,"
    "user_id,api_key_id,project_id,organization_id,project_name,organization_name,user_email,api_source",
    f"{DAY},{DAY + 86400},2026-04-01T00:00:00,2026-04-02T00:00:00,0.007650000000000000000000000000,usd,,,"
    '"gpt-4o-2024-08-06, input",,key_a,proj_a,org,,Org,,',
    f"{DAY},{DAY + 86400},2026-04-01T00:00:00,2026-04-02T00:00:00,0.0045,usd,300,tokens,"
    '"gpt-4o-2024-08-06, output",,key_a,proj_a,org,,Org,,',
    f"{DAY + 86400},{DAY + 2 * 86400},2026-04-02T00:00:00,2026-04-03T00:00:00,,,,,,,,,,,,,",
)

ANTHROPIC_USAGE_JSON = page(
    {
        "starting_at": "2026-04-01T00:00:00Z",
        "ending_at": "2026-04-02T00:00:00Z",
        "results": [
            {
                "uncached_input_tokens": 2200,
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 300},
                "cache_read_input_tokens": 500,
                "output_tokens": 300,
                "server_tool_use": {"web_search_requests": 0},
                "api_key_id": None,
                "workspace_id": None,
                "model": "claude-sonnet-4-5-20250929",
                "service_tier": "standard",
                "context_window": "0-200k",
            }
        ],
    },
    {"starting_at": "2026-04-02T00:00:00Z", "ending_at": "2026-04-03T00:00:00Z", "results": []},
)

ANTHROPIC_USAGE_CSV = csv(
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count,inference_geo,speed",
    "2026-04-01,claude-sonnet-4-5-20250929,one,Default,standard,≤ 200k,1200,300,0,500,200,0,not_available,",
    "2026-04-01,claude-sonnet-4-5-20250929,two,Default,standard,≤ 200k,1000,0,0,0,100,0,not_available,",
)

ANTHROPIC_COSTS_JSON = page(
    {
        "starting_at": "2026-04-01T00:00:00Z",
        "ending_at": "2026-04-02T00:00:00Z",
        "results": [
            {
                "currency": "USD",
                "amount": amount,
                "workspace_id": None,
                "description": f"Claude Sonnet 4.5 Usage - {kind}",
                "cost_type": "tokens",
                "context_window": "0-200k",
                "model": "claude-sonnet-4-5-20250929",
                "service_tier": "standard",
                "token_type": kind,
            }
            for kind, amount in (
                ("uncached_input_tokens", "0.66"),
                ("cache_read_input_tokens", "0.015"),
                ("cache_creation.ephemeral_5m_input_tokens", "0.1125"),
                ("output_tokens", "0.45"),
            )
        ],
    },
    {"starting_at": "2026-04-02T00:00:00Z", "ending_at": "2026-04-03T00:00:00Z", "results": []},
)

ANTHROPIC_COSTS_CSV = csv(
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,"
    "inference_geo,speed",
    "2026-04-01,Claude Sonnet 4.5,Default,one,message,≤ 200k,input_no_cache,0.01,0.01,token,not_available,",
    "2026-04-01,Claude Sonnet 4.5,Default,one,message,≤ 200k,input_cache_read,0.00,0.00,token,not_available,",
    "2026-04-01,Claude Sonnet 4.5,Default,one,message,≤ 200k,output,0.00,0.00,token,not_available,",
)

OPENROUTER_HEADER = (
    "generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,"
    "tokens_prompt,tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,cancelled,"
    "streamed,user,finish_reason_raw,finish_reason_normalized,generation_time_ms,time_to_first_token_ms,"
    "api_key_disabled,api_key_name,app_name"
)


def openrouter_row(number: int, at: int = 0, **changes: Any) -> str:
    """The row of `entry(number, at)`."""
    values = {
        "id": f"up-{number}",
        "minute": f"{at // 60:02}",
        "second": f"{at % 60:02}",
        "cost": "0.0045",
        "prompt": 1000,
        "completion": 100,
        "cached": 0,
        "model": "openai/gpt-4o-2024-08-06",
        "key": "gateway",
        **changes,
    }
    return (
        "{id},2026-04-01 00:{minute}:{second}.040,{cost},0,0,0,0,{prompt},{completion},0,{cached},{model},OpenAI,"
        "standard,false,true,,stop,stop,900,300,false,{key},"
    ).format(**values)


def openrouter_csv(*rows: str) -> bytes:
    return csv(OPENROUTER_HEADER, *rows)


OPENROUTER_CSV = openrouter_csv(
    openrouter_row(1, 60, cost="0.00315", cached=500), openrouter_row(2, 120), openrouter_row(3, 180)
)

OPENROUTER_ACTIVITY = codec.encode(
    {
        "data": [
            {
                "date": "2026-04-01 00:00:00",
                "model": "openai/gpt-4o",
                "model_permaslug": "openai/gpt-4o-2024-08-06",
                "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
                "provider_name": "OpenAI",
                "usage": Decimal("0.01215"),
                "byok_usage_inference": 0,
                "requests": 3,
                "prompt_tokens": 3000,
                "completion_tokens": 300,
                "reasoning_tokens": 0,
            }
        ]
    }
)

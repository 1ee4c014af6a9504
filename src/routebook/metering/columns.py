"""A generation record as one flat row, for tables: which columns there are, and what each of them holds. Pure.

Money keeps every digit as decimal text, times are as in the record, lists are JSON. Nothing is rounded, and what is
not known is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from routebook.core.money import plain
from routebook.wire import codec

_RECORD = (
    "id",
    "created_at",
    "request_id",
    "upstream_id",
    "model",
    "provider_name",
    "api_type",
    "streamed",
    "cancelled",
    "finish_reason",
    "native_finish_reason",
    "service_tier",
    "latency",
    "generation_time",
    "moderation_latency",
    "tokens_prompt",
    "tokens_completion",
    "native_tokens_prompt",
    "native_tokens_completion",
    "native_tokens_reasoning",
    "native_tokens_cached",
    "native_tokens_completion_images",
    "num_media_prompt",
    "num_input_audio_prompt",
    "num_media_completion",
    "num_search_results",
    "num_fetches",
    "total_cost",
    "usage",
    "upstream_inference_cost",
    "cache_discount",
    "is_byok",
    "router",
    "preset_id",
    "app_id",
    "origin",
    "http_referer",
    "user_agent",
    "external_user",
    "session_id",
    "workspace_id",
    "data_region",
    "response_cache_source_id",
)
"""columns that are the record's own fields, under their names"""

_OWN: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("state", lambda own: own["outcome"]),
    ("requested_model", lambda own: own["requested_model"]),
    ("usage_source", lambda own: own["usage_source"]),
    ("reference_tokens", lambda own: own["reference_tokens"]),
    ("unpriced", lambda own: own["unpriced"]),
    ("insured", lambda own: own["insured"]),
    ("price_source", lambda own: own["price_source"]),
    ("price_revision", lambda own: own["price_revision"]),
    ("hold", lambda own: own["hold"]),
    ("over_hold", lambda own: own["over_hold"]),
    ("hidden_retry_spend", lambda own: own["hidden_retry_spend"]),
    ("revision", lambda own: own["revision"]),
    ("first_token", lambda own: own["marks"].get("first_token")),
    ("delivered_bytes", lambda own: own["delivered"]["bytes"]),
    ("error_type", lambda own: (own["error"] or {}).get("type")),
    ("error_message", lambda own: (own["error"] or {}).get("message")),
    ("daybook", lambda own: (own["daybook"] or {}).get("name")),
    ("n", lambda own: (own["daybook"] or {}).get("n")),
    ("seq", lambda own: (own["daybook"] or {}).get("seq")),
    ("attempt_count", lambda own: len(own["attempts"])),
    ("attempts", lambda own: own["attempts"]),
    ("lines", lambda own: own["lines"]),
)
"""columns from the record's `routebook`"""

COLUMNS = (*_RECORD, "account", "key_hash", *(name for name, _ in _OWN))
"""in the order they are written"""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def row_of(record: dict[str, Any], account: str, key_hash: str) -> list[str]:
    """The cells of one record, `metering.record.record`, in the order of COLUMNS."""
    values = [record[name] for name in _RECORD] + [account, key_hash]
    own = record["routebook"]
    values += [read(own) for _, read in _OWN]
    return [cell(value) for value in values]


def cell(value: Any) -> str:
    """A value as text. Text that a spreadsheet would take for a formula gets an apostrophe before it: callers choose
    what some columns say, and other people open the table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) and not _is_number(value) else value
    if isinstance(value, list | dict):
        return codec.encode(value).decode()
    return str(value)


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit() and text[0] in "+-"

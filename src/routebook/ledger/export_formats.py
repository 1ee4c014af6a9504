"""The export formats that are known: which column says what. Each is a row of `FORMATS`, a mapping of one's own is one.

Where the columns come from (looked at in November 2026):

- `openai-usage`: "Completions usage object" of the API reference, platform.openai.com/docs/api-reference/usage, as in
  docs.rs/crate/openai-client-base/0.16.0 (made from OpenAI's OpenAPI document 2.3.0): `input_tokens` includes cached
  and cache-write tokens. The dashboard's CSV (`completions_usage_<from>_<to>.csv`) has the same names, a row for each
  bucket and grouping, counts like `3.0`; no page of OpenAI lists its columns, these are what public readers of it take.
- `openai-costs`: "Costs object" of the same reference; `line_item` reads `<model>, <kind of token>`. The dashboard's
  CSV (`cost_<from>_<to>.csv`) writes `amount_value`, again as public readers take it.
- `anthropic-usage`, `anthropic-costs`: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and
  …/admin/cost_report: amounts are decimal strings in cents. The console's CSVs are mentioned on
  support.anthropic.com/en/articles/9534590; their columns are what public readers of them take.
- `openrouter-generations`: the CSV of openrouter.ai's activity and logs pages, one row a generation; columns as public
  readers of it take them. That its token counts are native ones is read from the analytics pages, and not stated for
  this file.
- `openrouter-activity`: GET /api/v1/activity in OpenRouter's OpenAPI document, one row a day, model and endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from routebook.ledger.export_lines import DAY_NS, Cells, ExportError, Line, Tokens

BUCKETS = {"minute": 60 * 10**9, "hour": 3600 * 10**9, "day": DAY_NS}


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which column says what; None = none does. Objects inside JSON rows are named with dots (`amount.value`)."""

    time: str
    """of the call, or start of the bucket: unix seconds, unix milliseconds, ISO date or time; UTC where unsaid"""
    end: str | None = None
    """end of the bucket, exclusive"""
    id: str | None = None
    """the provider's id of the call, as in the answer's `id`"""
    model: str | None = None
    requests: str | None = None
    prompt: str | None = None
    """all prompt tokens, cache reads and writes included"""
    uncached: str | None = None
    """prompt tokens without cache reads and writes, for exports that have no sum"""
    completion: str | None = None
    cached: str | None = None
    cache_write: str | None = None
    cache_write_1h: str | None = None
    reasoning: str | None = None
    cost: str | None = None
    """USD"""
    cost_cents: str | None = None
    """cents of USD"""
    currency: str | None = None
    """must say USD where it says anything"""
    item: str | None = None
    """what is charged; a row whose item names web searches is compared with the book's search lines"""
    key: str | None = None

    def metrics(self) -> list[str]:
        """The columns that count something."""
        names = (self.requests, *self.counts().values(), self.uncached, self.cost, self.cost_cents)
        return [name for name in names if name is not None]

    def counts(self) -> dict[str, str | None]:
        return {kind: getattr(self, kind) for kind in Tokens.__struct_fields__}


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One known export."""

    name: str
    provider: str
    what: str
    columns: Columns
    needs: tuple[str, ...]
    """columns that tell this format from all others"""
    bucket: str | None = None
    """what rows without an end are sums over, whatever their times look like"""
    model_of: Callable[[str], str | None] = str


def _item_model(item: str) -> str | None:
    """`gpt-4o-2024-08-06, input` is of gpt-4o-2024-08-06."""
    return item.partition(",")[0].strip() or None


_OPENAI_USAGE = Columns(
    time="start_time",
    end="end_time",
    model="model",
    requests="num_model_requests",
    prompt="input_tokens",
    completion="output_tokens",
    cached="input_cached_tokens",
    cache_write="input_cache_write_tokens",
    key="api_key_id",
)

FORMATS: tuple[Format, ...] = (
    Format(
        name="openai-usage",
        provider="openai",
        what="OpenAI usage: JSON of /v1/organization/usage/completions, or the dashboard's CSV",
        columns=_OPENAI_USAGE,
        needs=("start_time", "input_tokens", "output_tokens"),
    ),
    Format(
        name="openai-costs",
        provider="openai",
        what="OpenAI costs: JSON of /v1/organization/costs",
        columns=Columns(
            time="start_time",
            end="end_time",
            model="line_item",
            item="line_item",
            cost="amount.value",
            currency="amount.currency",
            key="project_id",
        ),
        needs=("start_time", "amount.value"),
        model_of=_item_model,
    ),
    Format(
        name="openai-costs-csv",
        provider="openai",
        what="OpenAI costs: the dashboard's CSV",
        columns=Columns(
            time="start_time",
            end="end_time",
            model="line_item",
            item="line_item",
            cost="amount_value",
            currency="amount_currency",
            key="api_key_id",
        ),
        needs=("start_time", "amount_value"),
        model_of=_item_model,
    ),
    Format(
        name="anthropic-usage",
        provider="anthropic",
        what="Anthropic usage: JSON of /v1/organizations/usage_report/messages",
        columns=Columns(
            time="starting_at",
            end="ending_at",
            model="model",
            uncached="uncached_input_tokens",
            completion="output_tokens",
            cached="cache_read_input_tokens",
            cache_write="cache_creation.ephemeral_5m_input_tokens",
            cache_write_1h="cache_creation.ephemeral_1h_input_tokens",
            key="api_key_id",
        ),
        needs=("starting_at", "uncached_input_tokens", "output_tokens"),
    ),
    Format(
        name="anthropic-usage-csv",
        provider="anthropic",
        what="Anthropic usage: the console's CSV",
        columns=Columns(
            time="usage_date_utc",
            model="model_version",
            uncached="usage_input_tokens_no_cache",
            completion="usage_output_tokens",
            cached="usage_input_tokens_cache_read",
            cache_write="usage_input_tokens_cache_write_5m",
            cache_write_1h="usage_input_tokens_cache_write_1h",
            key="api_key",
        ),
        needs=("usage_date_utc", "usage_input_tokens_no_cache", "usage_output_tokens"),
        bucket="day",
    ),
    Format(
        name="anthropic-costs",
        provider="anthropic",
        what="Anthropic costs: JSON of /v1/organizations/cost_report",
        columns=Columns(
            time="starting_at",
            end="ending_at",
            model="model",
            item="cost_type",
            cost_cents="amount",
            currency="currency",
            key="workspace_id",
        ),
        needs=("starting_at", "amount"),
    ),
    Format(
        name="anthropic-costs-csv",
        provider="anthropic",
        what="Anthropic costs: the console's CSV",
        columns=Columns(time="usage_date_utc", model="model", item="cost_type", cost="cost_usd", key="api_key"),
        needs=("usage_date_utc", "cost_usd"),
        bucket="day",
    ),
    Format(
        name="openrouter-generations",
        provider="openrouter",
        what="OpenRouter generations: the CSV of the activity and logs pages",
        columns=Columns(
            time="created_at",
            id="generation_id",
            model="model_permaslug",
            prompt="tokens_prompt",
            completion="tokens_completion",
            cached="tokens_cached",
            reasoning="tokens_reasoning",
            cost="cost_total",
            key="api_key_name",
        ),
        needs=("generation_id", "created_at", "cost_total"),
    ),
    Format(
        name="openrouter-activity",
        provider="openrouter",
        what="OpenRouter activity: JSON of /api/v1/activity",
        columns=Columns(
            time="date",
            model="model_permaslug",
            requests="requests",
            prompt="prompt_tokens",
            completion="completion_tokens",
            reasoning="reasoning_tokens",
            cost="usage",
        ),
        needs=("date", "model_permaslug", "requests", "usage"),
        bucket="day",
    ),
)


def line(cells: Cells, columns: Columns, bucket: str | None, model_of: Callable[[str], str | None]) -> Line:
    """One row as a line. Raises ExportError naming row and column."""
    start, whole_day = cells.moment(columns.time)
    end = None if cells.text(columns.end) is None or columns.end is None else cells.moment(columns.end)[0]
    if bucket in BUCKETS:
        start -= start % BUCKETS[bucket]
        end = start + BUCKETS[bucket]
    elif end is None and whole_day and bucket is None:
        end = start + DAY_NS
    if end is not None and end <= start:
        raise ExportError(f"row {cells.row}: the bucket ends at or before its start")
    currency = cells.text(columns.currency)
    if currency is not None and currency.upper() != "USD":
        raise ExportError(f"row {cells.row}: amounts in {currency}; the book is in USD, so only USD can be compared")
    item = (cells.text(columns.item) or "").lower().replace("_", " ")
    searches = "web search" in item
    model = cells.text(columns.model)
    return Line(
        row=cells.row,
        start_ns=start,
        end_ns=end,
        id=cells.text(columns.id),
        model=None if model is None or searches else model_of(model),
        requests=cells.count(columns.requests),
        tokens=_tokens(cells, columns),
        cost=_cost(cells, columns),
        searches=searches,
        key=cells.text(columns.key),
    )


def _tokens(cells: Cells, columns: Columns) -> Tokens:
    counts = {kind: cells.count(column) for kind, column in columns.counts().items()}
    uncached = cells.count(columns.uncached)
    if counts["prompt"] is None and uncached is not None:
        parts = (counts["cached"], counts["cache_write"], counts["cache_write_1h"])
        counts["prompt"] = uncached + sum(part or 0 for part in parts)
    return Tokens(**counts)


def _cost(cells: Cells, columns: Columns) -> Decimal | None:
    cost = cells.amount(columns.cost)
    return cells.amount(columns.cost_cents, 2) if cost is None else cost

"""Models and prices from the `genai-prices` library, as offers with exact prices per unit.

What the library says and how it is read (its data model, version 0.2.3):

- prices are USD per million tokens, or per thousand requests or searches: shifted to one unit, no digit lost;
- a price in tiers becomes overrides: above `start` prompt tokens (strictly) the tier's price holds for all tokens;
- of prices with a start date the one in force on the day of loading counts; `next_change` names the day of the next;
- prices for a time of day, where they stand after the one in force, become overrides with a UTC window;
- an absent price is absent: what it falls back to is the metering room's business. Only models whose answer is no
  text (embeddings, transcripts) get a completion price of 0, because no completion tokens are billed there;
- prices a sheet has no name for (video, hours of audio, citations, …) are named in the model's description;
- variants (batch, service tiers, fast mode) are other products: the sheet is the standard one.

Ids: the library's own id where the library itself would recognise it as a name of that model, else the first name it
recognises (Fireworks' `accounts/…` paths, Mistral's `codestral-latest`); further names that begin with the id
(`gpt-4o-2024-11-20`) are models of their own at the same price. Left out: names that are only beginnings (`ft:…`),
`:batch`, and what no path of this API can call (realtime, OCR, moderation). Slugs: see `routebook.config.names`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from routebook.config.catalog import Offer
from routebook.config.names import inputs_of, outputs_of, slug_of
from routebook.config.sheet import revision_of
from routebook.core.money import ZERO, Override, Prices, PriceSheet

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider

_NAMES = {
    "input_mtok": ("prompt", 6),
    "output_mtok": ("completion", 6),
    "cache_read_mtok": ("input_cache_read", 6),
    "cache_write_mtok": ("input_cache_write", 6),
    "cache_write_5m_mtok": ("input_cache_write", 6),
    "cache_write_1h_mtok": ("input_cache_write_1h", 6),
    "input_audio_mtok": ("audio", 6),
    "output_audio_mtok": ("audio_output", 6),
    "cache_audio_read_mtok": ("input_audio_cache", 6),
    "input_image_mtok": ("image_token", 6),
    "output_image_mtok": ("image_output", 6),
    "output_reasoning_mtok": ("internal_reasoning", 6),
    "web_searches_kcount": ("web_search", 3),
    "requests_kcount": ("request", 3),
}
"""The library's name -> ours, and how many digits the unit is shifted."""

_IN_WORDS = {"_mtok": " tokens", "_kcount": "", "_kpages": " pages", "_mchars": " characters", "_hours": " hours"}


@lru_cache(maxsize=1)
def price_list(now: datetime) -> PriceList:
    """The price list as it holds at `now`. The library is imported here, on first use: it takes most of a second."""
    from genai_prices.data_snapshot import get_snapshot

    return PriceList({provider.id: provider for provider in get_snapshot().providers}, now)


class PriceList:
    """Models and prices by provider. The names of providers here are the library's (`pricing_provider` of a vendor)."""

    def __init__(self, providers: dict[str, Provider], now: datetime) -> None:
        self._providers = providers
        self._now = now.astimezone(UTC)
        self.source = f"genai-prices {version('genai-prices')}"

    def offers(self, provider: str, vendor: str, pricing_provider: str) -> list[Offer]:
        """Everything the list has for that vendor, in its order; `provider` is the slug the offers get."""
        found = self._providers.get(pricing_provider)
        offers = []
        for model in found.models if found else ():
            for upstream in _upstream_names(model, vendor):
                if _callable(upstream, vendor):
                    offers.append(self._offer(provider, vendor, upstream, model))
        return offers

    def match(self, provider: str, vendor: str, pricing_provider: str, upstream: str) -> Offer | None:
        """The offer under a name that is not listed but that the library's own matching (dated, tuned names) knows."""
        found = self._providers.get(pricing_provider)
        if found is None or not _callable(upstream, vendor):
            return None
        model = found.find_model(upstream)
        return None if model is None else self._offer(provider, vendor, upstream, model)

    def days(self, pricing_providers: Iterable[str]) -> list[str]:
        """ISO days from which another dated price of one of these providers holds, past and coming, in order."""
        found = {
            start
            for name in pricing_providers
            for model in (self._providers[name].models if name in self._providers else ())
            for entry in _entries(model)
            if (start := _start(entry)) is not None
        }
        return [day.isoformat() for day in sorted(found)]

    def next_change(self, pricing_providers: Iterable[str]) -> str | None:
        """The first of these days that is to come, None if none is known."""
        today = self._now.date().isoformat()
        return next((day for day in self.days(pricing_providers) if day > today), None)

    def _offer(self, provider: str, vendor: str, upstream: str, model: ModelInfo) -> Offer:
        outputs = outputs_of(upstream) or ("text",)
        sheet, unnamed = self._sheet(model, outputs)
        inputs = inputs_of(upstream)
        if sheet is not None and sheet.base.audio is not None and "audio" not in inputs:
            inputs = (*inputs, "audio")
        if sheet is not None and sheet.base.audio_output is not None and "text" in outputs:
            outputs = (*outputs, "audio")
        return Offer(
            provider=provider,
            slug=slug_of(vendor, upstream),
            upstream_model=upstream,
            name=model.name if upstream == model.id else None,
            context_length=model.context_window or None,
            pricing=sheet,
            input_modalities=inputs,
            output_modalities=outputs,
            note=f"Not on the price sheet: {', '.join(unnamed)}." if unnamed else "",
        )

    def _sheet(self, model: ModelInfo, outputs: tuple[str, ...]) -> tuple[PriceSheet | None, list[str]]:
        """The sheet in force, None without prices; and the library's prices that it has no name for, in words."""
        entries = _entries(model)
        if not entries:
            return None, []
        today = self._now.date()
        in_force = [i for i, e in enumerate(entries) if _window(e) is None and (_start(e) or today) <= today]
        at = in_force[-1] if in_force else -1
        standard = entries[max(at, 0)].prices
        base, overrides, unnamed = _read(standard, {})
        if "text" not in outputs and "completion" not in base and "prompt" in base:
            base["completion"] = ZERO
        for entry in entries[at + 1 :]:
            if (window := _window(entry)) is not None and entry.prices is not standard:
                prices, tiers, _ = _read(entry.prices, window)
                overrides += [Override(Prices(**prices), **window), *tiers]
        if not base.keys() & {"prompt", "completion", "request"}:
            return None, unnamed
        sheet, stated = Prices(**base), tuple(overrides)
        revision = revision_of(sheet, ZERO, stated, today.isoformat())
        return PriceSheet(sheet, ZERO, stated, self.source, revision), unnamed


def _entries(model: ModelInfo) -> list[ConditionalPrice]:
    from genai_prices.types import ConditionalPrice

    return model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]


def _start(entry: ConditionalPrice) -> date | None:
    return getattr(entry.constraint, "start_date", None)


def _window(entry: ConditionalPrice) -> dict[str, int] | None:
    start, end = getattr(entry.constraint, "start_time", None), getattr(entry.constraint, "end_time", None)
    return None if start is None or end is None else {"utc_start": _hhmm(start), "utc_end": _hhmm(end)}


def _hhmm(moment: time) -> int:
    if moment.tzinfo is not None:
        moment = datetime.combine(date(2000, 1, 2), moment).astimezone(UTC).time()
    return moment.hour * 100 + moment.minute


def _read(prices: ModelPrice, window: dict[str, int]) -> tuple[dict[str, Decimal], list[Override], list[str]]:
    """(prices by our names, overrides for its tiers in ascending order, prices without a name here)."""
    base: dict[str, Decimal] = {}
    tiers: dict[int, dict[str, Decimal]] = {}
    unnamed = []
    for key, value in vars(prices).items():
        if value is None:
            continue
        if key not in _NAMES:
            unnamed.append(_in_words(key))
            continue
        name, digits = _NAMES[key]
        steps: Any = getattr(value, "tiers", ())
        base[name] = _shifted(getattr(value, "base", value), digits)
        for step in steps:
            tiers.setdefault(step.start, {})[name] = _shifted(step.price, digits)
    return (
        base,
        [Override(Prices(**tiers[start]), min_prompt_tokens=start, **window) for start in sorted(tiers)],
        unnamed,
    )


def _shifted(price: Any, digits: int) -> Decimal:
    # A scale, not a division: exact whatever the decimal context says.
    sign, numerals, exponent = Decimal(price).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("the price list holds a price that is no number")
    return Decimal((sign, numerals, exponent - digits))


def _in_words(key: str) -> str:
    for ending, words in _IN_WORDS.items():
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " ") + words
    return key.replace("_", " ")


def _upstream_names(model: ModelInfo, vendor: str) -> list[str]:
    """What the vendor is asked for: the main name, and further ones that begin with it."""
    stated = [str(clause.equals) for clause in _clauses(model.match) if hasattr(clause, "equals")]
    main = model.id if vendor == "openrouter" or model.is_match(model.id) or not stated else stated[0]
    if vendor == "openrouter":
        return [main]
    return [main, *(name for name in dict.fromkeys(stated) if name.startswith(f"{main}-"))]


def _clauses(match: Any) -> list[Any]:
    return list(match.or_) if hasattr(match, "or_") else [match]


def _callable(upstream: str, vendor: str) -> bool:
    if outputs_of(upstream) is None or upstream.endswith("-") or upstream.endswith(":batch"):
        return False
    if vendor == "openrouter":
        return "/" in upstream
    if vendor == "amazon-bedrock":
        return not upstream.startswith("regional.")  # the library's word for all regions alike: no id
    if vendor == "google-vertex":
        return upstream.startswith(("gemini-", "claude-"))  # others there speak other APIs
    if vendor == "google-ai-studio" and (not upstream.startswith(("gemini-", "gemma-")) or upstream.endswith("-maas")):
        return False  # the library's list for Google also has what only Vertex AI serves
    if vendor == "openai" and upstream.startswith("gpt-oss-"):
        return False  # open weights: others serve them, OpenAI does not
    return ":" not in upstream or (upstream.startswith("ft:") and upstream.count(":") > 1)

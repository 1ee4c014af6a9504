"""What a configuration may say and hardly means: a price of a million tokens where that of one belongs, nobody's name.

Pure. None of it is an error: who means it is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from urllib.parse import urlsplit

from routebook.config.problems import KeyPath, dotted
from routebook.config.settings import ModelTable, PricingTable, ProviderTable, Settings
from routebook.core.catalog import Catalog
from routebook.core.money import plain

TOKEN_PRICE_ODD = Decimal("0.01")
"""USD a token, 10,000 a million: more than ten times what the dearest model known in 2026-11 takes"""
_OPENAI = ("openai_chat", "openai_responses")
_PER_TOKEN = (
    "prompt", "completion", "image_token", "image_output", "audio", "audio_output", "input_audio_cache",
    "internal_reasoning", "input_cache_read", "input_cache_write", "input_cache_write_1h",
)  # fmt: skip


def advice(settings: Settings, catalog: Catalog, file: str | None, lines: Mapping[KeyPath, int]) -> list[str]:
    """A sentence for each, with file and line where they are known."""
    found = [*_urls(settings.providers), *_prices(settings.models), *_names(settings, catalog)]
    return [f"{_place(path, file, lines)}{dotted(path)}: {told}" for path, told in found]


def _place(path: KeyPath, file: str | None, lines: Mapping[KeyPath, int]) -> str:
    if file is None:
        return ""
    while path and path not in lines:
        path = path[:-1]
    return f"{file}:{lines[path]}: " if path else f"{file}: "


def _urls(providers: Iterable[ProviderTable]) -> Iterator[tuple[KeyPath, str]]:
    for n, provider in enumerate(providers):
        url = provider.base_url
        if url is not None and provider.dialect in _OPENAI and not urlsplit(url).path.strip("/"):
            yield ("providers", n, "base_url"), f'"{url}" has no path; mostly it is {url.rstrip("/")}/v1'


def _prices(models: Iterable[ModelTable]) -> Iterator[tuple[KeyPath, str]]:
    for n, model in enumerate(models):
        for m, endpoint in enumerate(model.endpoints):
            path: KeyPath = ("models", n, "endpoints", m, "pricing")
            if isinstance(endpoint.pricing, PricingTable):
                yield from _odd(path, endpoint.pricing)
            else:
                for k, table in enumerate(endpoint.pricing or ()):
                    yield from _odd((*path, k), table)


def _odd(path: KeyPath, table: PricingTable) -> Iterator[tuple[KeyPath, str]]:
    for name in _PER_TOKEN:
        text = getattr(table, name)
        price = None if text is None else Decimal(text)
        if price is not None and price >= TOKEN_PRICE_ODD:
            told = f'"{text}" is USD for one token, {plain(price.scaleb(6))} for a million'
            yield (*path, name), f'{told}; if it is meant for a million, write "{plain(price.scaleb(-6))}"'


def _names(settings: Settings, catalog: Catalog) -> Iterator[tuple[KeyPath, str]]:
    tags = {endpoint.tag for model in catalog.models.values() for endpoint in model.endpoints}
    shown = {provider.name for provider in catalog.providers.values()}
    who = {name.lower() for name in {*catalog.providers, *tags, *shown}}
    for place, name in enumerate(settings.routing.only or ()):
        if name.lower() not in who:
            yield ("routing", "only", place), f'no provider "{name}" here{_near(name, who)}'
    for place, name in enumerate(settings.routing.ignore or ()):
        # Who is not here may well be ignored; a name that is nearly somebody's hardly.
        if name.lower() not in who and (near := _near(name, who)):
            yield ("routing", "ignore", place), f'no provider "{name}" here{near}'
    for place, name in enumerate(settings.routing.auto or ()):
        if name not in catalog.models:
            yield ("routing", "auto", place), f'no model "{name}" here{_near(name, catalog.models)}'


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""

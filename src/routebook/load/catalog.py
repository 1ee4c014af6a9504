"""The catalogue of a running gateway: known vendors, the environment's keys, the price list, the configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from importlib import resources
from urllib.parse import urlsplit

import msgspec

from routebook.config.advice import advice
from routebook.config.catalog import Offer, build_catalog, build_providers, next_change_ns, passthrough
from routebook.config.problems import ConfigError
from routebook.config.reading import check_base_url
from routebook.config.secret import Secret
from routebook.core.catalog import Catalog, Model, Provider
from routebook.dialects import registry
from routebook.dialects.vendors import Vendor, credential, parse, placed
from routebook.load.google import Account, account, with_project
from routebook.load.prices import PriceList, price_list
from routebook.load.settings import Loaded


class Stock(msgspec.Struct, frozen=True):
    """What can be served, and with which credentials."""

    catalog: Catalog
    keys: Mapping[str, Secret]
    """provider slug -> credential, from file and environment"""
    accounts: Mapping[str, Account]
    """provider slug -> the Google account that makes its credential"""
    passthrough: Callable[[str], Model | None]
    """offers a model that is in no list: see `config.catalog.passthrough`"""
    prices: str | None = None
    """name and version of the price list, None if it was not needed"""
    reload_on: str | None = None
    """ISO day (UTC) from which another dated price holds, so that the catalogue has to be loaded anew; None = none"""
    price_days: tuple[str, ...] = ()
    """ISO days (UTC) on which a price in the list changes, past and coming, in order"""
    notes: tuple[str, ...] = ()


def known_vendors(environ: Mapping[str, str] | None = None) -> dict[str, Vendor]:
    """The rows of vendors.toml by slug, with what the environment says filled in where one is given."""
    rows = parse((resources.files("routebook.dialects") / "vendors.toml").read_text("utf-8"))
    if environ is None:
        return rows
    environ = with_project(environ)
    return {slug: placed(row, environ) for slug, row in rows.items()}


def load_stock(
    loaded: Loaded, environ: Mapping[str, str], now: datetime, vendors: Mapping[str, Vendor] | None = None
) -> Stock:
    """Everything this gateway can serve at `now` (dated prices). Raises ConfigError with file and line.

    The price list (a library that takes most of a second to import) is loaded only where a provider that is in it is
    there with a credential.
    """
    rows = known_vendors(environ) if vendors is None else vendors
    try:
        return _stock(loaded, environ, now, rows)
    except ConfigError as error:
        raise loaded.located(error) from None


def _stock(loaded: Loaded, environ: Mapping[str, str], now: datetime, rows: Mapping[str, Vendor]) -> Stock:
    dialects = registry.upstreams(rows).keys()
    providers = build_providers(loaded.settings, rows, _present(rows, environ), dialects)
    accounts, unread = _accounts(loaded, environ, providers, rows)
    keys, notes = _credentials(loaded, environ, providers, rows, accounts)
    notes += unread
    listed = _listed(loaded, providers, {*keys, *accounts}, rows)
    prices = price_list(now) if listed else None
    offers: list[Offer] = []
    if prices is not None:
        for provider, vendor in listed:
            offers += prices.offers(provider.slug, vendor.slug, vendor.pricing_provider or "")
    dated = loaded.dated
    version = " ".join(part for part in (dated, prices.source if prices else "") if part)
    now_ns = int(now.timestamp()) * 10**9
    catalog = build_catalog(loaded.settings, providers, offers, dated=dated, version=version, now_ns=now_ns)
    notes += advice(loaded.settings, catalog, None if loaded.file is None else str(loaded.file), loaded.lines)
    names = [vendor.pricing_provider or "" for _, vendor in listed]
    changes = [] if prices is None else [prices.next_change(names)]
    if (coming := next_change_ns(catalog, now_ns)) is not None:
        changes.append(datetime.fromtimestamp(coming // 10**9, UTC).date().isoformat())
    return Stock(
        catalog=catalog,
        keys=keys,
        accounts=accounts,
        passthrough=_passthrough(catalog, prices, {provider.slug: vendor for provider, vendor in listed}),
        prices=prices.source if prices else None,
        reload_on=min((day for day in changes if day is not None), default=None),
        price_days=() if prices is None else tuple(prices.days(names)),
        notes=tuple(notes),
    )


def _passthrough(
    catalog: Catalog, prices: PriceList | None, listed: Mapping[str, Vendor]
) -> Callable[[str], Model | None]:
    def known(provider: Provider, upstream: str) -> Offer | None:
        vendor = listed.get(provider.slug)
        if prices is None or vendor is None:
            return None
        return prices.match(provider.slug, vendor.slug, vendor.pricing_provider or "", upstream)

    return lambda slug: passthrough(catalog, slug, known)


def _present(rows: Mapping[str, Vendor], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Vendors the environment gives: slug -> base URL from there, None for the row's own."""
    present: dict[str, str | None] = {}
    for row in rows.values():
        variable = next((name for name in row.url_env if environ.get(name)), None)
        url = _base_url(environ[variable], row.url_suffix, variable) if variable else None
        known = credential(row, environ) or environ.get(row.account_env or "")
        if url is not None and (row.base_url is None or known or not row.key_env):
            present[row.slug] = url
        elif row.base_url is not None and known:
            present[row.slug] = None
    return present


def _base_url(text: str, suffix: str, variable: str) -> str:
    """`localhost:11434` -> `http://localhost:11434/v1`, with the vendor's suffix where the URL has no path."""
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        check_base_url(url, ())
    except ConfigError as error:
        raise ConfigError(error.message, source=variable) from None
    url = url.rstrip("/")
    return url if urlsplit(url).path else url + suffix


def _accounts(
    loaded: Loaded, environ: Mapping[str, str], providers: Mapping[str, Provider], rows: Mapping[str, Vendor]
) -> tuple[dict[str, Account], list[str]]:
    """Google accounts by provider, and a note on every file that the environment names and that is none.

    Raises ConfigError for one that the configuration file names.
    """
    tables = {table.slug: (place, table) for place, table in enumerate(loaded.settings.providers)}
    accounts: dict[str, Account] = {}
    notes = []
    for slug, provider in providers.items():
        place, table = tables.get(slug, (0, None))
        row = rows.get(provider.vendor or "")
        if table is not None and table.google_credentials is not None:
            path = ("providers", place, "google_credentials")
            accounts[slug] = account(table.google_credentials, environ, path)
        elif row is None or slug in loaded.provider_keys or (table is not None and table.api_key_env):
            continue
        elif row.account_env and environ.get(row.account_env) and credential(row, environ) is None:
            try:
                accounts[slug] = account(environ[row.account_env], environ)
            except ConfigError as error:
                notes.append(f"provider {slug} has no credential: {row.account_env}: {error.message}")
    return accounts, notes


def _credentials(
    loaded: Loaded,
    environ: Mapping[str, str],
    providers: Mapping[str, Provider],
    rows: Mapping[str, Vendor],
    accounts: Mapping[str, Account],
) -> tuple[dict[str, Secret], list[str]]:
    """Keys by provider, and a note on every provider that should have one and has none."""
    tables = {table.slug: table for table in loaded.settings.providers}
    keys = dict(loaded.provider_keys)
    notes = []
    for slug, provider in providers.items():
        if slug in keys or slug in accounts:
            continue
        table = tables.get(slug)
        row = rows.get(provider.vendor or "")
        own = table.api_key_env if table else None
        names = (own,) if own else row.key_env if row else ()
        found = environ.get(own, "").strip() if own else credential(row, environ) if row else None
        if found:
            keys[slug] = Secret(found)
        elif names and (row is None or row.base_url is not None):
            notes.append(f"provider {slug} has no credential: {' or '.join(names)} is not set")
    return keys, notes


def _listed(
    loaded: Loaded, providers: Mapping[str, Provider], keys: Collection[str], rows: Mapping[str, Vendor]
) -> list[tuple[Provider, Vendor]]:
    """Providers whose models the price list is asked for: known to it, and with a credential."""
    if not loaded.settings.catalog.price_list:
        return []
    pairs = [(provider, rows.get(provider.vendor or "")) for provider in providers.values()]
    return [(provider, row) for provider, row in pairs if row and row.pricing_provider and provider.slug in keys]

"""A parsed TOML file as settings: unknown keys, wrong types, impossible values are errors that say what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from routebook.config.problems import ConfigError, KeyPath, misspelt
from routebook.config.settings import (
    IdempotencyTable,
    PricingTable,
    ProviderTable,
    RoutingTable,
    Server,
    Settings,
    StoreTable,
)

S = TypeVar("S", bound=msgspec.Struct)

QUOTE = 'write the number in quotes, e.g. "0.0000025": a bare number would be rounded, and money is exact'

WORKERS_MAX = 64
UNIX_PATH_MAX = 107
KEEP_DAYS_MAX = 36_500
KEEP_BYTES_MIN = 64 * 2**20
IDEMPOTENCY_HOURS_MAX = 24 * 365

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a day such as 2027-01-31",
}
_FIELD = re.compile(r"`(\w+)`")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def parse_settings(table: Mapping[str, Any]) -> Settings:
    """Settings from what a TOML parser returned. Raises ConfigError with the key path; it never holds a secret."""
    settings = parse_table(table, Settings)
    check_settings(settings)
    return settings


def parse_table(table: Mapping[str, Any], kind: type[S]) -> S:
    """A table as the struct it should be. Raises ConfigError with the key path."""
    _walk(table, kind, ())
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None


def check_settings(settings: Settings) -> None:
    """The limits that types cannot say. Raises ConfigError with the key path."""
    server, accounting = settings.server, settings.accounting
    _check_server(server)
    check_store_url(settings.store.url)
    _check_retention(settings.store)
    for name in ("markup", "byok_fee", "credits", "unpriced_ceiling"):
        value = getattr(accounting, name)
        if value is not None and not (value.is_finite() and value >= 0):
            raise ConfigError("must be 0 or more", ("accounting", name))
    for name in ("connect", "first_token", "answer", "idle"):
        if not 0 < getattr(settings.timeouts, name) < float("inf"):
            raise ConfigError("seconds above 0", ("timeouts", name))
    _at_least_zero(settings.timeouts.drain_cancelled, ("timeouts", "drain_cancelled"))
    if settings.limits.body_bytes < 1:
        raise ConfigError("bytes, 1 or more", ("limits", "body_bytes"))
    _check_routing(settings.routing)
    _check_idempotency(settings.idempotency)
    for index, provider in enumerate(settings.providers):
        _check_provider(provider, ("providers", index))
    for index, model in enumerate(settings.models):
        if not re.fullmatch(r"[^/\s]+/\S+", model.slug):
            raise ConfigError(f'a model slug is "author/name", got "{model.slug}"', ("models", index, "slug"))
        if not model.endpoints:
            raise ConfigError("a model needs at least one [[models.endpoints]]", ("models", index))
        if model.context_length is not None and model.context_length < 1:
            raise ConfigError("tokens, 1 or more", ("models", index, "context_length"))
        score = model.coding_score
        if score is not None and not (score.is_finite() and 0 <= score <= 1):
            raise ConfigError('a score is from "0" to "1"', ("models", index, "coding_score"))


def _check_routing(routing: RoutingTable) -> None:
    for name, low, high in (("attempts", 1, 10), ("retry_percent", 0, 100), ("retry_floor", 0, 1_000_000)):
        if not low <= getattr(routing, name) <= high:
            raise ConfigError(f"a whole number from {low} to {high}", ("routing", name))


def _check_idempotency(table: IdempotencyTable) -> None:
    if not 1 <= table.hours <= IDEMPOTENCY_HOURS_MAX:
        raise ConfigError(f"1 to {IDEMPOTENCY_HOURS_MAX} hours", ("idempotency", "hours"))
    if table.answer_bytes < 0:
        raise ConfigError("bytes, 0 or more", ("idempotency", "answer_bytes"))
    if table.total_bytes < 2**20:
        raise ConfigError(f"bytes, {2**20} or more", ("idempotency", "total_bytes"))


def _check_server(server: Server) -> None:
    if not 1 <= server.workers <= WORKERS_MAX:
        raise ConfigError(
            f"1 to {WORKERS_MAX} workers; one for each core is the most that helps", ("server", "workers")
        )
    if server.edge == "asgi":
        for name, value in (("workers", server.workers > 1), ("unix_socket", server.unix_socket is not None)):
            if value:
                raise ConfigError('only edge = "native" has that; leave one of the two out', ("server", name))
    if not 0 <= server.port <= 65535:
        raise ConfigError("a port is 0 (any free one) to 65535", ("server", "port"))
    if server.tls_key is not None and server.tls_cert is None:
        raise ConfigError("a key needs its certificate; name the file in tls_cert", ("server", "tls_key"))
    if server.unix_socket is not None and not 0 < len(server.unix_socket.encode()) <= UNIX_PATH_MAX:
        raise ConfigError(
            f"a path of 1 to {UNIX_PATH_MAX} bytes; the system takes no longer one", ("server", "unix_socket")
        )
    if not re.fullmatch("0?[0-7]{3}", server.unix_socket_mode):
        raise ConfigError('a file mode such as "0660"', ("server", "unix_socket_mode"))
    _at_least_zero(server.drain, ("server", "drain"))


def _check_retention(store: StoreTable) -> None:
    if store.keep_days is not None and not 1 <= store.keep_days <= KEEP_DAYS_MAX:
        raise ConfigError(f"days, 1 to {KEEP_DAYS_MAX}; leave it out to keep all calls", ("store", "keep_days"))
    if store.keep_bytes is not None and store.keep_bytes < KEEP_BYTES_MIN:
        raise ConfigError(
            f"bytes, {KEEP_BYTES_MIN} (64 MiB) or more; leave it out to keep all calls", ("store", "keep_bytes")
        )
    if not 0 <= store.daybook_hours < float("inf"):
        raise ConfigError("hours, 0 or more", ("store", "daybook_hours"))
    if store.daybook_bytes < 0:
        raise ConfigError("bytes, 0 or more", ("store", "daybook_bytes"))


def check_store_url(url: str) -> None:
    """Raises ConfigError unless the store is an SQLite file."""
    path = ("store", "url")
    scheme = url.partition(":")[0].lower()
    if scheme.startswith("postgres"):
        raise ConfigError(
            'this version stores in SQLite only; use "sqlite:///routebook.db" until Postgres is supported', path
        )
    if not url.startswith("sqlite:///") or len(url) == len("sqlite:///"):
        raise ConfigError('must be "sqlite:///FILE" (relative to the data folder) or "sqlite:////absolute/FILE"', path)


def check_base_url(url: str, path: KeyPath) -> None:
    """Raises ConfigError unless it is an http(s) URL with a host and without credential, query or fragment."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
    if not whole:
        raise ConfigError('must be a URL such as "https://api.example.com/v1"', path)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("must have no user, password, query or fragment; a credential goes into api_key_env", path)


def _check_provider(provider: ProviderTable, path: KeyPath) -> None:
    if not re.fullmatch(r"[^\s/:]+", provider.slug):
        raise ConfigError("a provider slug has no blank, slash or colon", (*path, "slug"))
    if provider.base_url is not None:
        check_base_url(provider.base_url, (*path, "base_url"))
    if provider.api_key is not None and provider.api_key_env is not None:
        raise ConfigError("give api_key or api_key_env, not both", (*path, "api_key"))
    if provider.google_credentials is not None and (provider.api_key or provider.api_key_env):
        raise ConfigError("give google_credentials or an api_key, not both", (*path, "google_credentials"))


def _at_least_zero(value: float, path: KeyPath) -> None:
    if not 0 <= value < float("inf"):
        raise ConfigError("seconds, 0 or more", path)


def _walk(table: Mapping[str, Any], kind: type[msgspec.Struct], path: KeyPath) -> None:
    """Unknown keys, unquoted money and words outside a fixed choice, in the order of the file."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        here = (*path, key)
        if key not in fields:
            raise ConfigError(f"unknown key{misspelt(key, fields)}", here)
        forms = _forms(fields[key])
        if _is_money(kind, key, forms) and isinstance(value, int | float) and not isinstance(value, bool):
            raise ConfigError(QUOTE, here)
        if kind is PricingTable and key == "overrides":
            _walk_overrides(value, here)
        for form in forms:
            if get_origin(form) is Literal and isinstance(value, str) and value not in get_args(form):
                raise ConfigError(f'"{value}" is none of the choices{misspelt(value, get_args(form))}', here)
            _descend(value, form, here)


def _descend(value: Any, form: Any, path: KeyPath) -> None:
    if isinstance(form, type) and issubclass(form, msgspec.Struct):
        if isinstance(value, dict):
            _walk(value, form, path)
    elif get_origin(form) is list and isinstance(value, list):
        for index, item in enumerate(value):
            _descend(item, get_args(form)[0], (*path, index))


def _walk_overrides(entries: Any, path: KeyPath) -> None:
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, float):
                raise ConfigError(QUOTE, (*path, index, key))


def _forms(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_money(kind: type[msgspec.Struct], key: str, forms: tuple[Any, ...]) -> bool:
    return Decimal in forms or (kind is PricingTable and key not in ("overrides", "effective"))


def _explained(text: str) -> ConfigError:
    """msgspec's sentence as ours. Its sentences name places and types, never values of free text."""
    what, _, place = text.partition(" - at `$")
    path: KeyPath = tuple(name or int(index) for name, index in _STEP.findall(place))
    if what.startswith("Object missing required field"):
        return ConfigError(f"`{_FIELD.findall(what)[0]}` is missing", path)
    if what.startswith("Invalid decimal"):
        return ConfigError('not a decimal number; write e.g. "0.05"', path)
    if what.startswith("Expected"):
        expected, _, got = what.removeprefix("Expected ").partition(", got ")
        return ConfigError(f"must be {_in_words(expected)}, not {_in_words(got)}", path)
    return ConfigError(what, path)


def _in_words(types: str) -> str:
    names = [name for name in types.strip("`").split(" | ") if name != "null"]
    return " or ".join(_WORDS.get(name, name) for name in names)

"""Vendors as data: who serves what where, and what their APIs need done differently.

`parse` turns the text of vendors.toml into typed rows; reading the file is the load room's work
(`importlib.resources.files("routebook.dialects") / "vendors.toml"`). Quirks govern only what is *sent*: readers accept
every known form from anybody.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from routebook.wire import codec


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a chat request before this vendor gets it. The defaults change nothing."""

    stream_usage: bool = True
    """understands `stream_options: {include_usage: true}`; False = reports usage unasked and refuses the option"""
    max_tokens: str | None = None
    """the field the vendor wants the limit in: max_tokens or max_completion_tokens; None = as the caller sent it"""
    reasoning: str = "effort"
    """how a wish for reasoning is said: effort (`reasoning_effort`), openrouter (its `reasoning` object), thinking
    (`thinking: {type}`), thinking_effort (both), enable_thinking (that member and `thinking_budget`), template
    (`chat_template_kwargs`, and `reasoning_effort`), none"""
    efforts: tuple[str, ...] = ()
    """efforts the vendor knows, weakest first; others go to the nearest; empty = all"""
    history: str = "keep"
    """reasoning of earlier turns: keep, strip, or the one member that carries its text (`reasoning_content`, say)"""
    cache: str = "keep"
    """cache markers: keep, breakpoints (knows `prompt_cache_breakpoint` alone), strip"""
    developer: bool = True
    """knows the role `developer`; False = sent as `system`"""
    user: bool = True
    """takes `user` (hashed)"""
    router: bool = False
    """is a router that speaks OpenRouter's own parameters"""
    drop: tuple[str, ...] = ()
    """parameters the vendor refuses"""
    accepts: tuple[str, ...] = ()
    """all parameters the vendor takes, where it refuses every unknown one; empty = takes any"""
    rename: dict[str, str] = {}
    """our name -> the vendor's"""
    headers: dict[str, str] = {}
    path: str = "/chat/completions"
    """behind the base URL, `{model}` being the provider's name of the model; a base URL that ends in `/v1` always gets
    `/chat/completions`"""
    key_header: str = "authorization"
    """the header of the credential; any other than `authorization` gets it without `Bearer`"""


PLAIN = Quirks()


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of vendors.toml."""

    slug: str
    name: str
    """display name, shown as provider_name"""
    docs: str
    """where the vendor documents its API"""
    base_url: str | None = None
    """None = only where `url_env` gives one. May hold places such as `{AWS_REGION|=us-east-1}`, see `placed`"""
    dialect: str = "openai_chat"
    also: dict[str, str] = {}
    """other dialects that the same base URL serves for every model -> the page that says so"""
    key_env: tuple[str, ...] = ()
    """environment variables that hold the credential, the first that is set counts; optional for a local server"""
    key_parts: tuple[str, ...] = ()
    """variables that make a credential together where none of `key_env` is set, joined by colons: the first two have
    to be there, the others may"""
    account_env: str | None = None
    """the variable that names a Google account's key file, from which tokens are made where none of `key_env` is set"""
    url_env: tuple[str, ...] = ()
    """environment variables that give or replace the base URL; a row without `base_url` appears only with one"""
    url_suffix: str = ""
    """put behind a URL from `url_env` that has no path of its own (`/v1`)"""
    abortable: bool = False
    """closing the connection stops the bill"""
    fetches_urls: bool = True
    """reads URLs of images, videos and files by itself; False = takes data URLs alone"""
    pricing_provider: str | None = None
    """the vendor's id in the price library"""
    headquarters: str | None = None
    checked: str | None = None
    """day the row's quirks were compared with the vendor's pages, ISO; None = they were not"""
    quirks: Quirks = PLAIN


_PLACE = re.compile(r"\{([A-Z_|]+(?:=[^{}]*)?)\}")


def placed(row: Vendor, environ: Mapping[str, str]) -> Vendor:
    """The row with its places filled: of the variables named in one, the first that is set, else what stands behind
    `=`. Without either, a base URL is None (the vendor is not there) and a path stays as it is."""
    base = row.base_url and _filled(row.base_url, environ)
    path = _filled(row.quirks.path, environ) or row.quirks.path
    if base == row.base_url and path == row.quirks.path:
        return row
    return replace(row, base_url=base, quirks=replace(row.quirks, path=path))


def _filled(text: str, environ: Mapping[str, str]) -> str | None:
    out, end = [], 0
    for place in _PLACE.finditer(text):
        names, _, otherwise = place[1].partition("=")
        value = next((environ[name].strip() for name in names.split("|") if environ.get(name)), otherwise)
        if not value:
            return None
        out += [text[end : place.start()], value]
        end = place.end()
    return "".join(out) + text[end:]


def credential(row: Vendor, environ: Mapping[str, str]) -> str | None:
    """What authenticates with this vendor, by the environment; None if it says nothing."""
    name = next((name for name in row.key_env if environ.get(name)), None)
    if name is not None:
        return environ[name].strip()
    parts = [environ.get(name, "").strip() for name in row.key_parts]
    return ":".join(part for part in parts if part) if len(parts) > 1 and parts[0] and parts[1] else None


def parse(text: str) -> dict[str, Vendor]:
    """Rows by slug, in file order. Raises ValueError naming the row and what is wrong with it."""
    rows: dict[str, Vendor] = {}
    for slug, table in tomllib.loads(text).items():
        try:
            rows[slug] = codec.convert({"slug": slug, **table}, Vendor)
        except (codec.DecodeError, TypeError) as error:
            raise ValueError(f"vendor {slug}: {error}") from None
    return rows

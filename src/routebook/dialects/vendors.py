"""Vendors as data: who serves what where, and what their APIs need done differently.

`parse` turns the text of vendors.toml into typed rows; reading the file is the load room's work
(`importlib.resources.files("routebook.dialects") / "vendors.toml"`). Quirks govern only what is *sent*: readers accept
every known form from anybody.
"""

from __future__ import annotations

import tomllib

import msgspec

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


PLAIN = Quirks()


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of vendors.toml."""

    slug: str
    name: str
    """display name, shown as provider_name"""
    docs: str
    """where the vendor documents its API"""
    base_url: str | None = None
    """None = only where `url_env` gives one"""
    dialect: str = "openai_chat"
    key_env: tuple[str, ...] = ()
    """environment variables that hold the credential, the first that is set counts; optional for a local server"""
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


def parse(text: str) -> dict[str, Vendor]:
    """Rows by slug, in file order. Raises ValueError naming the row and what is wrong with it."""
    rows: dict[str, Vendor] = {}
    for slug, table in tomllib.loads(text).items():
        try:
            rows[slug] = codec.convert({"slug": slug, **table}, Vendor)
        except (codec.DecodeError, TypeError) as error:
            raise ValueError(f"vendor {slug}: {error}") from None
    return rows

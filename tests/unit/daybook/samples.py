"""Intents and outcomes that tests of the book put in: small, real, with known money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.generation import AttemptRow, Intent, Outcome
from routebook.core.ids import base62, generation_id
from routebook.core.money import Charge, Line, Prices, PriceSheet
from routebook.core.usage import Usage

ACCEPTED_NS = 1_721_086_399_433_273_000
"""2024-07-15T23:33:19.433273Z"""

MS = 1_000_000

SHEET = PriceSheet(Prices(prompt=Decimal("0.000003"), completion=Decimal("0.000015")), revision="2024-07")


def intent(n: int, book: str = "ABC", **changes: Any) -> Intent:
    """The intent of call `n` in the daybook of that name."""
    plain = Intent(
        id=generation_id(ACCEPTED_NS // 10**9, base62(987654321 + n, 11), book, n),
        n=n,
        request_id=f"req-1721086399-{n:020d}",
        accepted_ns=ACCEPTED_NS,
        account="default",
        key_hash="ab" * 32,
        requested_model="acme/large",
        model="acme/large",
        streamed=True,
        endpoint_id="acme:large",
        provider_name="Acme",
        hold=Decimal("0.01"),
        pricing=SHEET,
    )
    return msgspec.structs.replace(plain, **changes)


def charge() -> Charge:
    """100 prompt and 20 completion tokens at SHEET: 0.0006."""
    return Charge(
        total=Decimal("0.0006"),
        upstream=Decimal("0.0006"),
        upstream_prompt=Decimal("0.0003"),
        upstream_completion=Decimal("0.0003"),
        lines=(
            Line("prompt", Decimal("0.0003"), 100, Decimal("0.000003")),
            Line("completion", Decimal("0.0003"), 20, Decimal("0.000015")),
        ),
        price_source="configuration",
        price_revision="2024-07",
    )


def attempt(**changes: Any) -> AttemptRow:
    """A try that answered: sent after 2 ms, head after 40, first content after 60, last byte after 250."""
    plain = AttemptRow(
        provider_name="Acme",
        provider_slug="acme",
        model="acme/large",
        endpoint_id="acme:large",
        status=200,
        upstream_id="chatcmpl-1",
        started_ns=ACCEPTED_NS + 1 * MS,
        sent_ns=ACCEPTED_NS + 2 * MS,
        head_ns=ACCEPTED_NS + 40 * MS,
        first_ns=ACCEPTED_NS + 60 * MS,
        ended_ns=ACCEPTED_NS + 250 * MS,
    )
    return msgspec.structs.replace(plain, **changes)


def outcome(**changes: Any) -> Outcome:
    """A good end, 251 ms after accept, charged 0.0006."""
    plain = Outcome(
        ended_ns=ACCEPTED_NS + 251 * MS,
        model="acme/large",
        provider_name="Acme",
        provider_slug="acme",
        endpoint_id="acme:large",
        upstream_id="chatcmpl-1",
        finish_reason="stop",
        native_finish_reason="stop",
        usage=Usage(prompt=100, completion=20),
        usage_source="provider",
        charge=charge(),
        attempts=(attempt(),),
    )
    return msgspec.structs.replace(plain, **changes)

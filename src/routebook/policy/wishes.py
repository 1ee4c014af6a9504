"""What a request's `provider` object asks for, checked and made ready: one immutable value a request.

Unknown keys are refused where the body is read (`core.call.ProviderWish`), those inside its objects here.
Source: routing, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.call import ProviderWish
from routebook.core.errors import BadRequest

SORTS = ("price", "throughput", "latency", "exacto")
PARTITIONS = ("model", "none")
QUANTIZATIONS = frozenset("int4 int8 fp4 mxfp4 nvfp4 fp6 fp8 mxfp8 fp16 bf16 fp32 unknown".split())
PERCENTILES = ("p50", "p75", "p90", "p99")

_COVERS = {"fp4": ("fp4", "mxfp4", "nvfp4"), "fp8": ("fp8", "mxfp8")}

Bars = tuple[tuple[str, float], ...]
"""(percentile, bar) of a preference; all of them have to hold"""


class Wish(msgspec.Struct, frozen=True):
    """Names are in lower case; None and empty mean that nothing was asked."""

    order: tuple[str, ...] = ()
    only: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    fallbacks: bool = True
    require_parameters: bool = False
    deny_training: bool = False
    zdr: bool = False
    distillable: bool = False
    quantizations: frozenset[str] | None = None
    sort: str | None = None
    across: bool = False
    """sort the endpoints of all models together"""
    min_throughput: Bars = ()
    """tokens a second"""
    max_latency: Bars = ()
    """seconds"""
    max_price: tuple[tuple[str, Decimal], ...] = ()
    """(price, USD a unit at most)"""

    @property
    def pinned(self) -> bool:
        """True if the caller named providers: outages and breakers then do not reorder them."""
        return bool(self.order) or self.only is not None


NO_WISH = Wish()


_KNOWN_MAX, _KNOWN_BYTES_MAX = 1024, 2048
_known: dict[bytes, tuple[ProviderWish, Wish]] = {}


def read_wish(asked: ProviderWish | None, raw: msgspec.Raw | None = None) -> Wish:
    """The wish of a request. Raises BadRequest naming the member and what it may be.

    Most callers say the same in every request: what was read from `raw`, the member's bytes, is kept and taken again
    for the same bytes that were decoded to the same.
    """
    if asked is None:
        return NO_WISH
    if raw is None:
        return _read(asked)
    key = bytes(raw)
    known = _known.get(key)
    if known is not None and known[0] == asked:
        return known[1]
    wish = _read(asked)
    if len(key) <= _KNOWN_BYTES_MAX:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        _known[key] = asked, wish
    return wish


def _read(asked: ProviderWish) -> Wish:
    if asked.data_collection not in (None, "allow", "deny"):
        raise BadRequest("provider.data_collection must be allow or deny.")
    sort, across = _sort(asked.sort)
    order = tuple(name.lower() for name in asked.order or ())
    return Wish(
        order,
        None if asked.only is None else frozenset([name.lower() for name in asked.only]),
        frozenset([name.lower() for name in asked.ignore]) if asked.ignore else NO_WISH.ignore,
        asked.allow_fallbacks is not False,
        bool(asked.require_parameters),
        asked.data_collection == "deny",
        bool(asked.zdr),
        bool(asked.enforce_distillable_text),
        _quantizations(asked.quantizations),
        None if order else sort,
        across and not order,
        _bars(asked.preferred_min_throughput, "preferred_min_throughput"),
        _bars(asked.preferred_max_latency, "preferred_max_latency"),
        _prices(asked),
    )


def _sort(asked: str | dict[str, Any] | None) -> tuple[str | None, bool]:
    if asked is None:
        return None, False
    partition = "model"
    by: Any = asked
    if isinstance(asked, Mapping):
        if strange := sorted(asked.keys() - {"by", "partition"}):
            raise BadRequest(f"provider.sort.{strange[0][:40]} is unknown; send by and partition.")
        by, partition = asked.get("by"), asked.get("partition") or "model"
        if partition not in PARTITIONS:
            raise BadRequest("provider.sort.partition must be model or none.")
    if by is not None and by not in SORTS:
        raise BadRequest(f"provider.sort must be one of {', '.join(SORTS)}.")
    return by, partition == "none"


def _quantizations(asked: list[str] | None) -> frozenset[str] | None:
    if not asked:
        return None
    if strange := sorted(set(asked) - QUANTIZATIONS):
        raise BadRequest(
            f"provider.quantizations must be of {', '.join(sorted(QUANTIZATIONS))}; got {strange[0][:40]!r}."
        )
    return frozenset(q for name in asked for q in _COVERS.get(name, (name,)))


def _bars(asked: Any, name: str) -> Bars:
    if asked is None:
        return ()
    bars = asked if isinstance(asked, Mapping) else {"p50": asked}
    for key, bar in bars.items():
        if key not in PERCENTILES:
            raise BadRequest(f"provider.{name} must be a number or an object of {', '.join(PERCENTILES)}.")
        if bar is None:
            continue
        if isinstance(bar, bool) or not isinstance(bar, int | float) or not 0 <= bar < float("inf"):
            raise BadRequest(f"provider.{name}: a bar is a number of 0 or more.")
    return tuple((key, float(bar)) for key, bar in bars.items() if bar is not None)


def _prices(asked: ProviderWish) -> tuple[tuple[str, Decimal], ...]:
    """Ceilings in USD a unit: prompt and completion are given per million tokens."""
    ceiling = asked.max_price
    if ceiling is None:
        return ()
    found = []
    for name, zeros in (("prompt", 6), ("completion", 6), ("image", 0), ("audio", 0), ("request", 0)):
        limit: Decimal | None = getattr(ceiling, name)
        if limit is None:
            continue
        if not limit.is_finite() or limit < 0:
            raise BadRequest("provider.max_price: a price is a number of 0 or more.")
        found.append((name, limit.scaleb(-zeros)))
    return tuple(found)

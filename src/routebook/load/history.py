"""Which price sheet an endpoint had at any moment, as the configuration and the price list know it today."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from routebook.core.catalog import Endpoint
from routebook.core.money import PriceSheet
from routebook.load.catalog import Stock, load_stock
from routebook.load.settings import Loaded
from routebook.metering.revision import Sheets


class PriceHistory:
    """Stocks by the stretch of time in which no price of the price list changes; each is loaded when first asked for.

    Raises ConfigError with file and line, in the constructor or later.
    """

    def __init__(self, loaded: Loaded, environ: Mapping[str, str], now: datetime) -> None:
        self._loaded = loaded
        self._environ = environ
        self._now = now
        stock = load_stock(loaded, environ, now)
        self._days = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in stock.price_days]
        self._stocks: dict[int, Stock] = {bisect_right(self._days, now): stock}
        self._endpoints: dict[tuple[int, str, str], Endpoint | None] = {}

    def sheets_at(self, moment_ns: int) -> Sheets:
        """(endpoint id, model slug) -> the sheet that held then, None if this configuration has none."""
        place = bisect_right(self._days, datetime.fromtimestamp(moment_ns // 10**9, UTC))

        def sheet(endpoint_id: str, model: str) -> PriceSheet | None:
            key = (place, endpoint_id, model)
            if key not in self._endpoints:
                self._endpoints[key] = self._find(place, endpoint_id, model)
            endpoint = self._endpoints[key]
            return None if endpoint is None else endpoint.at(moment_ns).pricing

        return sheet

    def _find(self, place: int, endpoint_id: str, slug: str) -> Endpoint | None:
        stock = self._stock(place)
        model = stock.catalog.find(slug) or stock.passthrough(slug)
        found = () if model is None else model.endpoints
        return next((endpoint for endpoint in found if endpoint.id == endpoint_id), None)

    def _stock(self, place: int) -> Stock:
        known = self._stocks.get(place)
        if known is None:
            # The first day of the stretch; before the first change the day before it stands for all.
            day = self._days[place - 1] if place else self._days[0] - timedelta(days=1)
            known = self._stocks[place] = load_stock(self._loaded, self._environ, day)
        return known

"""What Prometheus may ask. Plain numbers move once a call, at settling, and become samples only when somebody asks:
the client library's own counters cost several times as much per call. Names are documented in docs/operating.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from routebook.core.generation import Intent, Outcome, State
from routebook.observe.clock import NS

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_LABELS = ("model", "provider")

UNLISTED_MOST = 100
"""Models outside the catalogue that get a label of their own: their names are what callers wrote."""
OTHERS = "(others)"
"""The label of all further ones."""


class _Spread:
    """A histogram: counts per bucket, and the sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        below, out = 0, []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            below += count
            out.append((bound, float(below)))
        return out


class _Cell:
    """The numbers of one (model, provider)."""

    __slots__ = ("charged", "completion", "estimated", "first", "latency", "prompt", "states")

    def __init__(self) -> None:
        self.states: dict[int, int] = {}
        self.prompt = 0
        self.completion = 0
        self.charged = 0.0
        self.estimated = 0
        self.latency = _Spread()
        self.first = _Spread()


class Metrics(Collector):
    """One registry a process. However many names callers think up, the number of labels has an end."""

    def __init__(self, listed: Callable[[str], bool] = lambda model: True) -> None:
        """`listed`: whether a model's slug is in the catalogue."""
        self._listed = listed
        self._unlisted: set[str] = set()
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.open = 0
        """generations under way"""
        self._cells: dict[tuple[str | None, str | None], _Cell] = {}
        self._attempts: dict[tuple[str, int | None], int] = {}

    def settled(self, intent: Intent, outcome: Outcome, state: int) -> None:
        """Count one settled call."""
        key = (outcome.model, outcome.provider_name)
        cell = self._cells.get(key) or self._cell(outcome.model, outcome.provider_name)
        cell.states[state] = cell.states.get(state, 0) + 1
        for attempt in outcome.attempts:
            tried = (attempt.provider_name, attempt.status)
            self._attempts[tried] = self._attempts.get(tried, 0) + 1
        cell.prompt += outcome.usage.prompt or 0
        cell.completion += outcome.usage.completion or 0
        cell.charged += float(outcome.charge.total)
        if outcome.usage_source == "estimated":
            cell.estimated += 1
        cell.latency.add((outcome.ended_ns - intent.accepted_ns) / NS)
        first_ns = outcome.attempts[-1].first_ns if outcome.attempts else None
        if first_ns is not None:
            cell.first.add((first_ns - intent.accepted_ns) / NS)

    def _cell(self, model: str | None, provider: str | None) -> _Cell:
        if model is not None and model not in self._unlisted and not self._listed(model):
            if len(self._unlisted) < UNLISTED_MOST:
                self._unlisted.add(model)
            else:
                model = OTHERS
        return self._cells.setdefault((model, provider), _Cell())

    def text(self) -> bytes:
        """The exposition format of GET /metrics."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The samples, for the registry."""
        generations = CounterMetricFamily("routebook_generations", "Settled generations", labels=("state", *_LABELS))
        tokens = CounterMetricFamily(
            "routebook_tokens", "Native tokens of settled generations", labels=("kind", *_LABELS)
        )
        charged = CounterMetricFamily(
            "routebook_charged_usd",
            "USD charged, as a float for charts; the book has the exact amounts",
            labels=_LABELS,
        )
        estimated = CounterMetricFamily(
            "routebook_estimated_generations", "Generations whose usage had to be estimated", labels=_LABELS
        )
        latency = HistogramMetricFamily("routebook_latency_seconds", "Accepted to last byte", labels=_LABELS)
        first = HistogramMetricFamily("routebook_first_token_seconds", "Accepted to first content", labels=_LABELS)
        for (model, provider), cell in self._cells.items():
            label = (model or "", provider or "")
            for state, count in cell.states.items():
                generations.add_metric((State.NAMES[state], *label), count)
            tokens.add_metric(("prompt", *label), cell.prompt)
            tokens.add_metric(("completion", *label), cell.completion)
            charged.add_metric(label, cell.charged)
            estimated.add_metric(label, cell.estimated)
            for family, spread in ((latency, cell.latency), (first, cell.first)):
                family.add_metric(label, spread.buckets(), spread.total)
        attempts = CounterMetricFamily("routebook_attempts", "Tries at a provider", labels=("provider", "status"))
        for (name, status), count in self._attempts.items():
            attempts.add_metric((name, str(status or "none")), count)
        gauge = GaugeMetricFamily("routebook_open_generations", "Generations under way", value=self.open)
        yield from (generations, attempts, tokens, charged, estimated, latency, first, gauge)

"""What Prometheus may ask. Counters move once a call, at settling; names are documented in docs/operating.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from routebook.core.generation import Intent, Outcome, State
from routebook.observe.clock import NS

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        label = ("model", "provider")
        self._generations = Counter(
            "routebook_generations", "Settled generations", ("state", *label), registry=self.registry
        )
        self._attempts = Counter(
            "routebook_attempts", "Tries at a provider", ("provider", "status"), registry=self.registry
        )
        self._tokens = Counter(
            "routebook_tokens", "Native tokens of settled generations", ("kind", *label), registry=self.registry
        )
        self._charged = Counter(
            "routebook_charged_usd",
            "USD charged, as a float for charts; the book has the exact amounts",
            label,
            registry=self.registry,
        )
        self._estimated = Counter(
            "routebook_estimated_generations", "Generations whose usage had to be estimated", registry=self.registry
        )
        self._latency = Histogram(
            "routebook_latency_seconds", "Accepted to last byte", label, buckets=SECONDS, registry=self.registry
        )
        self._first = Histogram(
            "routebook_first_token_seconds", "Accepted to first content", label, buckets=SECONDS, registry=self.registry
        )
        self.open = Gauge("routebook_open_generations", "Generations under way", registry=self.registry)

    def settled(self, intent: Intent, outcome: Outcome, state: int) -> None:
        """Count one settled call. Labels come from the catalogue, never from what a caller wrote."""
        label = (outcome.model or "", outcome.provider_name or "")
        self._generations.labels(State.NAMES[state], *label).inc()
        for attempt in outcome.attempts:
            self._attempts.labels(attempt.provider_name, str(attempt.status or "none")).inc()
        self._tokens.labels("prompt", *label).inc(outcome.usage.prompt or 0)
        self._tokens.labels("completion", *label).inc(outcome.usage.completion or 0)
        self._charged.labels(*label).inc(float(outcome.charge.total))
        if outcome.usage_source == "estimated":
            self._estimated.inc()
        self._latency.labels(*label).observe((outcome.ended_ns - intent.accepted_ns) / NS)
        first_ns = outcome.attempts[-1].first_ns if outcome.attempts else None
        if first_ns is not None:
            self._first.labels(*label).observe((first_ns - intent.accepted_ns) / NS)

    def text(self) -> bytes:
        """The exposition format of GET /metrics."""
        return generate_latest(self.registry)

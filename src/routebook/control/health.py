"""Whether the gateway lives, whether it takes work, and what it counts: for load balancers and Prometheus.

`/healthz` answers as long as the process does. `/readyz` is 200 while requests are taken, with `degraded` and reasons
where something is wrong that does not stop them, and 503 where they are refused.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook import __version__
from routebook.control.desk import answer
from routebook.observe.metrics import Metrics


class Readiness(msgspec.Struct, frozen=True):
    """What `/readyz` says; `stopped` are reasons to take no work, `degraded` those that only need an eye."""

    stopped: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


def routes(metrics: Metrics, ready: Callable[[], Readiness]) -> list[Route]:
    """Paths at the root; they need no key and show no data of any account."""

    async def healthz(_: Request) -> Response:
        return answer({"status": "ok", "version": __version__})

    async def readyz(_: Request) -> Response:
        state = ready()
        status = "stopped" if state.stopped else "degraded" if state.degraded else "ready"
        return answer({"status": status, "reasons": [*state.stopped, *state.degraded]}, 503 if state.stopped else 200)

    async def metrics_text(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics_text)]

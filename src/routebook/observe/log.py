"""The one logger. Request paths log only what an operator must act on; secrets never reach it."""

from __future__ import annotations

import logging

log = logging.getLogger("routebook")


def configure(level: str = "INFO") -> None:
    """Plain lines on stderr: time, level, message."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False

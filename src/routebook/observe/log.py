"""The one logger. Request paths log only what an operator must act on; secrets never reach it."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

log = logging.getLogger("routebook")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time of the line, not at the time of the configuration."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure(level: str = "INFO") -> None:
    """Plain lines on stderr: time, level, message."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False

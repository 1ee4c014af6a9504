"""aimock from npm as a process on loopback: somebody else's idea of what the vendors' APIs look like."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.foreign import node_sdk

SCRIPT = Path(__file__).parent / "aimock.json"
"""what it says to whom"""
PIECE = 5
"""characters of each piece of a stream"""


@contextmanager
def aimock() -> Iterator[str]:
    """Its address, as host and port, while it runs."""
    program = node_sdk() / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = ["node", str(program), "--port", "0", "--fixtures", str(SCRIPT), "--strict", "--chunk-size", str(PIECE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _address(process: subprocess.Popen[str]) -> str:
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if (found := re.search(r"listening on http://(\S+)", line)) is not None:
            return found[1]
    raise AssertionError(f"aimock has not started: {said}")

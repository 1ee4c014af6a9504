"""Two coding agents as their vendors publish them on npm, run without a screen against a gateway of ours.

Each run has a home and a working folder of its own. It may reach loopback only: for every other host its environment
names a proxy that is not there, so that whatever it tries elsewhere fails at once.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.daybook.reading import read_daybooks
from tests.acceptance.foreign import node_sdk
from tests.acceptance.gateway import RunningGateway, bearer
from tests.acceptance.turns import BEARER, Turns

PATIENCE = 60
"""seconds for one run"""
NOTE = "forty-two"
PRICES = {"prompt": Decimal("0.000003"), "completion": Decimal("0.000015"), "input_cache_read": Decimal("0.0000003")}
DIALECTS = {
    "anthropic": ("", "claude-sonnet-4-6"),
    "openai_responses": ("/v1", "gpt-5.5"),
    "openai_chat": ("/v1", "deepseek-v4"),
    "gemini": ("/v1beta", "gemini-3-pro"),
}
"""dialect -> (path of its base URL, what the provider calls the model)"""
_NOWHERE = "http://127.0.0.1:9"
_LEGS = {("Linux", "x86_64"): "x64", ("Linux", "aarch64"): "arm64"}


def configuration(provider: Turns, *models: dict[str, str]) -> str:
    """A gateway with a model for each dialect of that provider, or several; `models`: dialect -> slug."""
    parts = ["[catalog]\nprice_list = false"]
    for dialect, (path, upstream) in DIALECTS.items():
        vendor = 'vendor = "deepseek"\n' if dialect == "openai_chat" else ""
        parts.append(
            f'[[providers]]\nslug = "{dialect}"\ndialect = "{dialect}"\n{vendor}'
            f'base_url = "{provider.origin}{path}"\napi_key = "{BEARER}"\n'
        )
        prices = "".join(f'{name} = "{price}"\n' for name, price in PRICES.items())
        for slug in [named[dialect] for named in models] or [f"turns/{dialect}"]:
            parts.append(
                f'[[models]]\nslug = "{slug}"\ncontext_length = 200000\n[[models.endpoints]]\n'
                f'provider = "{dialect}"\nupstream_model = "{upstream}"\n[models.endpoints.pricing]\n{prices}'
            )
    return "\n\n".join(parts)


def dot() -> bytes:
    """A picture of one red dot, as PNG."""

    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", head) + piece(b"IDAT", pixels) + piece(b"IEND", b"")


@dataclass
class Desk:
    """Where an agent works: its home and the folder with the files that it is to read and write."""

    home: Path
    work: Path

    def __init__(self, place: Path) -> None:
        self.home = place / "home"
        self.work = place / "work"
        self.home.mkdir(parents=True)
        self.work.mkdir()
        (self.work / "note.txt").write_text(f"{NOTE}\n")
        (self.work / "dot.png").write_bytes(dot())

    @property
    def written(self) -> str | None:
        """What the agent wrote into the file that it was to make."""
        made = self.work / "out.txt"
        return made.read_text() if made.exists() else None

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program here, without input, with no environment but this one."""
        closed = {"HTTPS_PROXY": _NOWHERE, "HTTP_PROXY": _NOWHERE, "NO_PROXY": "127.0.0.1,localhost"}
        closed |= {name.lower(): value for name, value in closed.items()}
        return subprocess.run(
            command,
            cwd=self.work,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **closed, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def binary(package: str, inside: str) -> str:
    """The program for this machine of an agent that comes with one for each kind. Skips where there is none."""
    legs = _LEGS.get((platform.system(), platform.machine()))
    found = node_sdk("agents") / "node_modules" / f"{package}-linux-{legs}" / inside
    if not found.exists():
        pytest.skip(f"{package} has no program for this machine")
    return str(found)


def claude_code(desk: Desk, gateway: RunningGateway, key: str, model: str, *arguments: str) -> dict[str, Any]:
    """Run Claude Code in print mode; what it says at its end, as JSON. An AssertionError where it ends badly."""
    done = try_claude_code(desk, gateway, key, model, *arguments)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def try_claude_code(
    desk: Desk, gateway: RunningGateway, key: str, model: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The same, however it ends."""
    return desk.run(
        binary("@anthropic-ai/claude-code", "claude"),
        *("-p", *arguments, "--model", model, "--output-format", "json", "--permission-mode", "acceptEdits"),
        ANTHROPIC_BASE_URL=gateway.origin,
        ANTHROPIC_API_KEY=key,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_AUTOUPDATER="1",
        DISABLE_TELEMETRY="1",
    )


def codex(desk: Desk, gateway: RunningGateway, key: str, model: str, *arguments: str, more: str = "") -> list[Any]:
    """Run Codex without a screen; the events that it printed. `more`: further settings of its provider."""
    (desk.home / "config.toml").write_text(
        f'model = "{model}"\nmodel_provider = "routebook"\ncheck_for_update_on_startup = false\n'
        f'[model_providers.routebook]\nname = "Routebook"\nbase_url = "{gateway.base}"\nenv_key = "ROUTEBOOK_API_KEY"\n'
        f'wire_api = "responses"\nrequest_max_retries = 0\nstream_max_retries = 0\n{more}\n'
        "[analytics]\nenabled = false\n"
    )
    inside = f"vendor/{platform.machine()}-unknown-linux-musl/bin/codex"
    done = desk.run(
        binary("@openai/codex", inside),
        # Its folder is made for it and its model is a script; its sandbox needs what test machines may not have.
        *("exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", *arguments),
        CODEX_HOME=str(desk.home),
        ROUTEBOOK_API_KEY=key,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert events, (done.stdout[-2000:], done.stderr[-2000:])
    return events


def records(gateway: RunningGateway, key: str, since: int = 0) -> list[dict[str, Any]]:
    """The records of all calls after the first `since`, as the gateway tells them; money exact."""
    ids = [call.intent.id for book in read_daybooks(gateway.home) for call in book.scan()]
    out = []
    for id in ids[since:]:
        found = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key))
        assert found.status_code == 200, found.text
        out.append(json.loads(found.text, parse_float=Decimal)["data"])
    return out


def pictures_in(value: Any) -> Iterator[str]:
    """The data of all pictures in a request of any dialect, wherever they stand."""
    if isinstance(value, dict):
        if value.get("type") == "image" and isinstance(value.get("source"), dict):
            yield value["source"]["data"]
        if isinstance(value.get("inlineData"), dict):
            yield value["inlineData"]["data"]
        url = value.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if isinstance(url, str):
            yield url.partition("base64,")[2]
        for inner in value.values():
            yield from pictures_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pictures_in(inner)


def cost(turns: int, fresh: int, cached: int, completion: int) -> Decimal:
    """What so many turns cost at the provider's prices, worked out here."""
    each = fresh * PRICES["prompt"] + cached * PRICES["input_cache_read"] + completion * PRICES["completion"]
    return turns * each

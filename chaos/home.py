"""One gateway's folder, its configuration and the price sheets that it shares with the scripted provider."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from chaos.provider import ChaosProvider
from routebook.testing.provider import Rates

ADMIN_KEY = "an-admin-key-for-the-chaos-harness-only"

RATES: dict[str, Rates] = {
    "plain-1": Rates(prompt="0.00000015", completion="0.0000006"),
    "dear-1": Rates(prompt="0.0000025", completion="0.00001", request="0.0007"),
    "down-1": Rates(prompt="1", completion="1"),
}
FAILING = {"down-1": 503}

DAYBOOK_FILES = ("next", "reserve", *(f"{number:010d}.daybook" for number in range(1, 9)))
STORE_FILES = tuple(f"routebook.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal"))


class Home:
    """A data folder and the configuration beside it. `drain`: seconds that SIGTERM gives running calls."""

    def __init__(
        self, folder: Path, provider: ChaosProvider, *, workers: int = 1, drain: float = 10, durability: str = "process"
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.workers = workers
        self.drain = drain
        self.config = folder.with_name(f"{folder.name}.toml")
        self.log = folder.with_name(f"{folder.name}.log")
        """what the gateway's lives wrote on stderr"""
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(_configuration(provider, workers, drain, durability), "utf-8")

    def environ(self) -> Mapping[str, str]:
        """The gateway's environment: this process's without what would configure it in another way."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROUTEBOOK_")}
        return {**kept, "ROUTEBOOK_HOME": str(self.folder), "ROUTEBOOK_ADMIN_KEY": ADMIN_KEY}

    def arguments(self) -> list[str]:
        return ["serve", "--port", "0", "--workers", str(self.workers), "--config", str(self.config)]

    def daybook_paths(self) -> list[Path]:
        """Files of the daybook, of which the first ones exist; none before the first start."""
        root = self.folder / "daybooks"
        return [place / name for place in sorted(root.glob("???")) for name in DAYBOOK_FILES]

    def store_paths(self) -> list[Path]:
        return [self.folder / name for name in STORE_FILES]


def _configuration(provider: ChaosProvider, workers: int, drain: float, durability: str) -> str:
    parts = [
        f"[server]\nworkers = {workers}\ndrain = {drain:g}",
        f'[store]\ndurability = "{durability}"',
        "[catalog]\nprice_list = false",
        "[accounting]\nreference_tokens = false",
        _provider("quick", provider, "true"),
        _provider("slow", provider, "false"),
        _model("chaos/plain", ("quick", "plain-1")),
        _model("chaos/dear", ("quick", "dear-1")),
        _model("chaos/drained", ("slow", "plain-1")),
        _model("chaos/fallback", ("quick", "down-1"), ("slow", "plain-1")),
    ]
    return "\n\n".join(parts) + "\n"


def _provider(slug: str, provider: ChaosProvider, abortable: str) -> str:
    return (
        f'[[providers]]\nslug = "{slug}"\ndialect = "openai_chat"\nbase_url = "{provider.base_url}"\n'
        f'api_key = "{provider.api_key}"\nabortable = {abortable}'
    )


def _model(slug: str, *endpoints: tuple[str, str]) -> str:
    lines = [f'[[models]]\nslug = "{slug}"\ncontext_length = 131072']
    for provider, upstream in endpoints:
        rates = RATES[upstream]
        lines.append(f'[[models.endpoints]]\nprovider = "{provider}"\nupstream_model = "{upstream}"')
        lines.append("max_completion_tokens = 8192\n[models.endpoints.pricing]")
        prices = {name: getattr(rates, name) for name in Rates.__struct_fields__}
        lines += [f'{name} = "{price}"' for name, price in prices.items() if price is not None]
    return "\n".join(lines)

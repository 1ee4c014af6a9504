"""A gateway behind a gateway: the first serves the scripted provider in every dialect, the second has the first as its
provider and speaks to it in one of them. So a client meets an upstream of its own dialect, with real parts throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.gateway import RunningGateway

PRICES = 'prompt = "0.00000015"\ncompletion = "0.0000006"\n'

_NAMES = {"anthropic": "Anthropic", "gemini": "Google AI Studio", "openai_chat": "OpenAI", "openai_responses": "Azure"}
_BASES = {"anthropic": "", "gemini": "/v1beta", "openai_chat": "/v1", "openai_responses": "/v1"}


def configuration(inner: RunningGateway, key: str, extra: str = "") -> str:
    """`behind/<dialect>` is the model `scripted/plain` of the inner gateway, asked for in that dialect. `extra` is more
    TOML at its end; the providers' slugs are the dialects' names."""
    parts = ["[catalog]\nprice_list = false\n"]
    for dialect, name in _NAMES.items():
        upstream = "models/scripted/plain" if dialect == "gemini" else "scripted/plain"
        parts.append(
            f'[[providers]]\nslug = "{dialect}"\nname = "{name}"\ndialect = "{dialect}"\n'
            f'base_url = "{inner.origin}{_BASES[dialect]}"\napi_key = "{key}"\n'
            f'[[models]]\nslug = "behind/{dialect}"\n[[models.endpoints]]\nprovider = "{dialect}"\n'
            f'upstream_model = "{upstream}"\n[models.endpoints.pricing]\n{PRICES}'
        )
    return "\n".join([*parts, extra])


@contextmanager
def gateway_behind(inner: RunningGateway, key: str, home: Path, extra: str = "") -> Iterator[RunningGateway]:
    """The outer gateway."""
    with RunningGateway(home, configuration(inner, key, extra)) as running:
        yield running

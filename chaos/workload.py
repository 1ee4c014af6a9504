"""What callers ask for: a mix of whole answers, streams, fallbacks, errors, callers who leave and budgets."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from chaos.home import ADMIN_KEY
from chaos.lines import Ask

KINDS = ("whole", "stream", "stream", "hang", "drained", "fallback", "cut", "refused", "leave", "leave_drained", "dear")
"""one of each in turn; what they do is in `mixed`"""


def ask(
    call: str,
    said: str = "",
    *,
    model: str = "chaos/plain",
    stream: bool = False,
    key: str = ADMIN_KEY,
    leave: int | None = None,
    pause: float = 0.0,
    max_tokens: int | None = 200,
    filler: int = 0,
) -> Ask:
    """A chat request; `said` is a directive of the scripted provider. Its prompt is never more tokens than it has
    bytes, as with real tokenizers, so that a hold is a bound. `filler`: so many more bytes of prompt."""
    content = f"Call {call}: what does the book say of this one? [[{said}]]{' and' * (filler // 4)}"
    body: dict[str, object] = {
        "model": model,
        "user": call,
        "stream": stream,
        "messages": [{"role": "user", "content": content}],
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return Ask(call, json.dumps(body).encode(), key, leave=leave, pause=pause)


def mixed(prefix: str, seed: int, count: int, keys: tuple[str, ...] = (ADMIN_KEY,)) -> Iterator[Ask]:
    """`count` requests, the same ones for the same seed; `keys` take turns."""
    dice = random.Random(seed)
    for place in range(count):
        yield _one(f"{prefix}.{place}", KINDS[place % len(KINDS)], dice, keys[place % len(keys)])


def _one(call: str, kind: str, dice: random.Random, key: str) -> Ask:
    pieces = dice.randint(2, 8)
    said = f"completion={dice.randint(pieces, 120)} pieces={pieces}"
    within = dice.randint(1, pieces - 1)
    match kind:
        case "whole":
            return ask(call, said, key=key)
        case "stream":
            return ask(call, said, stream=True, key=key)
        case "hang":
            return ask(call, f"{said} hang={within}", stream=True, key=key)
        case "drained":
            return ask(call, f"{said} hang={within}", model="chaos/drained", stream=True, key=key)
        case "fallback":
            return ask(call, said, model="chaos/fallback", stream=dice.random() < 0.5, key=key)
        case "cut":
            return ask(call, f"{said} cut={within}", stream=True, key=key)
        case "refused":
            return ask(call, f"status={dice.choice((400, 429, 500))}", key=key)
        case "leave":
            return ask(call, f"{said} hang={within}", stream=True, key=key, leave=within, pause=dice.random() * 0.01)
        case "leave_drained":
            return ask(
                call, f"{said} hang={within}", model="chaos/drained", stream=True, key=key, leave=within, pause=0
            )
    return ask(call, said, model="chaos/dear", stream=True, key=key)

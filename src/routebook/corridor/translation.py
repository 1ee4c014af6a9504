"""What a provider could not be told, or was told in other words, in one header of the answer, for callers who ask.

`X-Routebook-Translation: enabled` asks. The answer's header of the same name is the record's `losses` in short:
`lost=logit_bias,seed; mapped=reasoning.effort`, or `none`. Nobody else pays for it: whoever does not ask costs one
look-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from routebook.core.call import Loss
from routebook.wire.heads import TRANSLATION

NONE = "none"
UNKNOWN = "unknown"
"""The head had to leave before a provider answered; the record tells."""
LENGTH_MAX = 1000
"""Characters of the header's value; names that do not fit are counted (`+3`)."""
_NAME_MAX = 64
_STRANGE = re.compile(r"[^A-Za-z0-9_.\[\]:*$@/-]")
"""Names may be a caller's own; whatever could end a name or a line is not let through."""


def is_asked(headers: Mapping[str, str]) -> bool:
    """True if the caller wants to be told; names in lower case. Any other value than `enabled` is no."""
    return TRANSLATION in headers and headers[TRANSLATION].strip().lower() == "enabled"


def told(losses: Iterable[Loss], refused: str | None = None) -> str:
    """The header's value, ASCII, at most LENGTH_MAX characters. `refused`: the parameter for which nobody was asked."""
    names: dict[str, list[str]] = {"refused": [], "lost": [], "mapped": []}
    if refused is not None:
        names["refused"].append(_named(refused))
    for loss in losses:
        known = names["mapped" if loss.mapped else "lost"]
        if (name := _named(loss.parameter)) not in known:
            known.append(name)
    room = LENGTH_MAX - sum(len(f"; {kind}=,+99999") for kind, found in names.items() if found)
    parts = []
    for kind, found in names.items():
        shown: list[str] = []
        for name in found:
            if len(name) + 1 > room:
                shown.append(f"+{len(found) - len(shown)}")
                break
            room -= len(name) + 1
            shown.append(name)
        if shown:
            parts.append(f"{kind}={','.join(shown)}")
    return "; ".join(parts) or NONE


def _named(parameter: str) -> str:
    return _STRANGE.sub("_", parameter[:_NAME_MAX]) or "_"

"""The commonest whole answer as a type: one candidate of one text. All others take the full way.

Part of the dialect in `gemini.py`. A member of a candidate that is not named here would travel to the caller, so it
refuses the decode; of the whole answer the full way reads only the members that are named.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from routebook.core.events import Counted, Event, Finish, Start
from routebook.dialects import gemini_parts as parts
from routebook.wire import codec
from routebook.wire.text import plain


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: msgspec.Raw


class _Content(msgspec.Struct, gc=False):
    parts: tuple[_Part]


class _Candidate(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: _Content
    finishReason: str
    index: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Answer(msgspec.Struct, gc=False):
    candidates: tuple[_Candidate]
    usageMetadata: msgspec.Raw
    modelVersion: str = ""
    responseId: str = ""
    promptFeedback: None = None
    error: None = None
    response: None = None


_answer = codec.decoder(_Answer)


def common_answer(body: bytes, told_tier: str | None) -> list[Event] | None:
    """The events of an answer that is one text, None for every other. `told_tier` is the tier that its head names."""
    try:
        found = _answer(body)
        report: Any = codec.decode_exact(bytes(found.usageMetadata))
    except codec.BAD:
        return None
    candidate = found.candidates[0]
    text = bytes(candidate.content.parts[0].text)
    if len(text) < 3 or text[0] != 34 or not candidate.finishReason or not isinstance(report, dict):
        return None
    said = plain(candidate.index, [text[1:-1]], "assistant")
    usage = parts.usage(report, None, None)
    tier = parts.tier(report.get("serviceTier"), report.get("trafficType")) or parts.tier(told_tier)
    if said is None or usage.empty or not (found.responseId or found.modelVersion or tier):
        return None
    reason = parts.finish(candidate.finishReason, content=True, tools=False)
    return [
        Start(found.responseId or None, found.modelVersion or None, tier),
        said,
        Finish(reason, candidate.finishReason, candidate.index),
        Counted(usage),
    ]

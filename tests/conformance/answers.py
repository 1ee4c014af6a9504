"""Canonical answers, one for each thing a provider can say, as callers of each API get them, streamed and whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from routebook.core.call import Call, Chat, Message, ReasoningWish
from routebook.core.events import Counted, Delta, Event, Finish, Start, ToolDelta
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt, Stamp, Surface
from routebook.dialects.gemini_surface import GeminiSurface
from tests.conformance.lanes import SURFACES

STAMP = Stamp("gen-1790000000-k3AbCdEfGhIjKlMnOpQr", 1_790_000_000, "acme/large", "Infermatic")
USAGE = Usage(prompt=9177, completion=8277, reasoning=1377, cached=1477, cache_write=1577)
CHARGE = Charge(total=Decimal("0.0123477"), lines=())
FACES: dict[str, Surface] = {
    "chat": SURFACES["openai_chat"],
    "responses": SURFACES["openai_responses"],
    "messages": SURFACES["anthropic"],
    "gemini": SURFACES["gemini"],
    "text": SURFACES["openai_text"],
}


@dataclass(frozen=True)
class Said:
    name: str
    deltas: tuple[Delta, ...]
    evidence: tuple[str, ...]
    finish: tuple[Finish, ...] = (Finish("stop", "stop"),)
    wish: dict[str, Any] = field(default_factory=dict)


def said(name: str, *evidence: str, **delta: Any) -> Said:
    finish = delta.pop("finish", Finish("tool_calls" if delta.get("tool_calls") else "stop"))
    wish = delta.pop("wish", {})
    return Said(name, (Delta(**delta),), evidence, (finish,), wish)


def detail(**members: Any) -> list[dict[str, Any]]:
    return [{"index": 0, **members}]


CITED = [{"type": "url_citation", "url_citation": {
    "url": "https://zebra.test/cited", "title": "Z", "start_index": 0, "end_index": 5,
}}]  # fmt: skip
LOGPROBS: dict[str, Any] = {
    "content": [{"token": "Zebra", "logprob": -0.77, "bytes": None, "top_logprobs": []}],
    "refusal": None,
}
PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoZEBRA"}}]

ANSWERS: tuple[Said, ...] = (
    said("text", "Zebra — é", text="Zebra — é"),
    said("reasoning", "Hmm77", reasoning="Hmm77", reasoning_details=detail(type="reasoning.text", text="Hmm77")),
    said("a signed thought", "Hmm77", "c2lnbmVkZEBRA", reasoning="Hmm77", reasoning_details=detail(
        type="reasoning.text", text="Hmm77", signature="c2lnbmVkZEBRA", format="anthropic-claude-v1")),
    said("a redacted thought", "redactedZEBRA", text="Zebra", reasoning_details=detail(
        type="reasoning.encrypted", data="redactedZEBRA", format="anthropic-claude-v1")),
    said("a tool call", "call_77", "zebra_weather", "Oslo", tool_calls=[
        ToolDelta(0, "call_77", "zebra_weather", '{"zebra":"Oslo"}')]),
    said("two tool calls", "call_77", "call_78", "zebra_time", "Rome", tool_calls=[
        ToolDelta(0, "call_77", "zebra_weather", '{"zebra":"Oslo"}'),
        ToolDelta(1, "call_78", "zebra_time", '{"zebra":"Rome"}')]),
    said("refusal", "I will not77", refusal="I will not77"),
    said("citation", "https://zebra.test/cited", text="Zebra", annotations=CITED),
    said("logprobs", "-0.77", text="Zebra", logprobs=LOGPROBS, wish={"logprobs": True}),
    said("picture", "iVBORw0KGgoZEBRA", images=PICTURE),
    said("sound", "UklGRgZEBRAA", audio={"id": "a", "data": "UklGRgZEBRAA", "transcript": "Zebra"}),
    said("end at the limit", text="Zebra", finish=Finish("length", "length")),
    said("end by a filter", text="Zebra", finish=Finish("content_filter", "content_filter")),
    said("stop sequence", "STOP77", text="Zebra", finish=Finish("stop", "stop", stop_sequence="STOP77")),
    Said("two choices", (Delta(0, text="One77"), Delta(1, text="Two77")), ("One77", "Two77"),
         (Finish("stop", index=0), Finish("stop", index=1)), {"n": 2}),
    said("counts", "1377", "1477", text="Zebra"),
    said("cache write", "1577", text="Zebra"),
    said("cost", "0.0123477", text="Zebra"),
)  # fmt: skip

ENDS = {
    ("end at the limit", "chat"): '"length"', ("end at the limit", "text"): '"length"',
    ("end at the limit", "responses"): "max_output_tokens", ("end at the limit", "messages"): '"max_tokens"',
    ("end at the limit", "gemini"): '"MAX_TOKENS"',
    ("end by a filter", "chat"): '"content_filter"', ("end by a filter", "text"): '"content_filter"',
    ("end by a filter", "responses"): "content_filter", ("end by a filter", "messages"): '"refusal"',
    ("end by a filter", "gemini"): '"SAFETY"',
}  # fmt: skip
"""(answer, API) -> what tells the end there"""


def written(answer: Said, face: str, stream: bool) -> bytes:
    """The answer as that API's callers get it."""
    surface = FACES[face]
    if face == "gemini":
        surface = GeminiSurface("m", stream, True)
    chat = Chat([Message("user", "Say")], reasoning=ReasoningWish(enabled=True), **answer.wish)
    writer = surface.writer(Call(surface=surface.name, model="m", chat=chat, raw={}, stream=stream))
    writer.start(STAMP)
    events: list[Event] = [Start("up-1", "m"), *answer.deltas, *answer.finish, Counted(USAGE)]
    body = b"".join([writer.feed(event) for event in events])
    return body + writer.end(Receipt(USAGE, CHARGE))

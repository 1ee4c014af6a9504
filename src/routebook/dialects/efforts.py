"""Changes of the reasoning effort within a conversation, which callers of three APIs can say and most providers cannot
be told: an empty system message with `configuration_update` (chat), an item `configuration_update` (responses), an
empty system message with `output_config` (messages).

A change holds from its place on, so the answer that is asked for is made with the last one's effort: the hub has that
as the effort of the whole request. What a provider then lacks is the beginning of the prompt that it knew, no more. A
provider of the caller's own API is told the change in its place, where its API knows it. Sources: OpenRouter's guide to
GPT-6 Astra; OpenAI's reference of response items; Anthropic's page "Per-message effort"; all read 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from routebook.core.call import Loss, Message, ReasoningWish
from routebook.core.errors import BadRequest
from routebook.dialects.asking import Effort
from routebook.wire import codec

MEMBER = "configuration_update"
_SYSTEMS = ("system", "developer")


class _Reasoning(msgspec.Struct):
    effort: Effort


class _Update(msgspec.Struct):
    reasoning: _Reasoning


class Change(msgspec.Struct, frozen=True):
    """To an effort, at a place of the request."""

    at: str
    effort: str

    def loss(self) -> Loss:
        """For the record: to all but providers that are told it in its place."""
        return Loss(self.at, f"told as the effort of the whole request: {self.effort}", mapped=True)


def change(update: Any, at: str) -> Change:
    """What `{"reasoning": {"effort": …}}` says. Raises BadRequest with the place."""
    try:
        return Change(at, codec.convert(update, _Update).reasoning.effort)
    except codec.DecodeError as error:
        raise BadRequest(f"{at}: a change has reasoning.effort, one of the efforts of a request: {error}") from None


def wished(wish: ReasoningWish | None, changed: Change | None) -> ReasoningWish | None:
    """The wish for the answer after that change; a budget or switch of the request gives way to it."""
    if changed is None:
        return wish
    return replace(wish or ReasoningWish(), effort=changed.effort, max_tokens=None, enabled=None)


def taken_out(messages: list[Message], raw: codec.Raw) -> tuple[list[Message], codec.Raw, Change | None]:
    """(messages without changes, the same as bytes, the last change) of a chat request; `raw` is its `messages`.

    Whoever changes nothing gets back what came in. Raises BadRequest.
    """
    found: Change | None = None
    for place, message in enumerate(messages):
        if message.configuration_update is not None:
            at = f"messages[{place}].{MEMBER}"
            if message.role not in _SYSTEMS:
                raise BadRequest(f"{at}: stands in a message of role system or developer.")
            found = change(message.configuration_update, at)
    if found is None:
        return messages, raw, None
    kept = [each for each in messages if each.configuration_update is None or each.content]
    if not kept:
        raise BadRequest("messages: nothing but changes of the effort; send a message.")
    rows: list[dict[str, Any]] = codec.decode_exact(bytes(raw))
    rows = [row for row in rows if row.get(MEMBER) is None or row.get("content")]
    for row in rows:
        row.pop(MEMBER, None)
    return [replace(each, configuration_update=None) for each in kept], codec.Raw(codec.encode(rows)), found

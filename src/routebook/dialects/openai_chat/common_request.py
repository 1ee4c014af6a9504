"""The commonest requests of the chat family as one type, so that one decode reads them; all others take the full way.

The type names every member that may stand in such a request, without null, and nothing may stand in its messages but a
role and a text. So whatever is read this way is valid, flat, valid UTF-8, and means the same to every provider of the
family. Source: inference API, sections 2.1 and 2.2; the limits are those of the full way.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from routebook.core.call import Call, Chat, Message
from routebook.dialects.asking import Penalty, Positive, Temperature, Unit
from routebook.wire import codec

BYTES_MAX = 32 * 1024
"""A larger body is not tried: decoding it twice would cost more than most of them save."""

_ABSENT: Any = None
"""Default of a member that may be left out but not be null."""


class _Said(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["system", "user", "assistant"]
    """not `developer`, which some providers have to be told differently"""
    content: str


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    include_usage: bool = _ABSENT


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[_Said], msgspec.Meta(min_length=1)]
    stream: bool = False
    temperature: Temperature = _ABSENT
    top_p: Unit = _ABSENT
    top_k: int = _ABSENT
    min_p: float = _ABSENT
    frequency_penalty: Penalty = _ABSENT
    presence_penalty: Penalty = _ABSENT
    repetition_penalty: Temperature = _ABSENT
    seed: int = _ABSENT
    max_tokens: Positive = _ABSENT
    max_completion_tokens: Positive = _ABSENT
    stop: list[str] = _ABSENT
    n: Positive = _ABSENT
    stream_options: _StreamOptions = _ABSENT


COMMON_MEMBERS = frozenset(_Request.__struct_fields__)

_request = codec.decoder(_Request)
_members = codec.decoder(dict[str, codec.Raw])


def common_call(body: bytes, session_id: str | None) -> Call | None:
    """The call that a common body asks for, None for every other body, valid or not."""
    try:
        found = _request(body)
    except codec.BAD:
        return None
    limit = found.max_tokens
    if found.max_completion_tokens is not None:
        if limit is not None:
            return None
        limit = found.max_completion_tokens
    chat = Chat(
        [Message(said.role, said.content) for said in found.messages],
        None,
        None,
        None,
        None,
        None,
        found.temperature,
        found.top_p,
        found.top_k,
        found.min_p,
        None,
        found.frequency_penalty,
        found.presence_penalty,
        found.repetition_penalty,
        found.seed,
        None,
        None,
        None,
        limit,
        found.stop,
        found.n,
    )
    return Call(
        surface="openai_chat",
        model=found.model,
        stream=found.stream,
        chat=chat,
        raw=_members(body),
        session_id=session_id,
        body_bytes=len(body),
        common=True,
    )

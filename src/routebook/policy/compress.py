"""Prompts that do not fit, shortened from the middle (`middle-out`): the beginning and the end of a conversation say
most of what it is about.

Whole turns go first, the middle ones; an assistant's tool calls and their results go or stay together. System messages,
the first turn and the last one stay; where these alone are too long, the middle of their longest texts is cut. What is
counted in tokens is the caller's count, by default a quarter of the bytes. Source: routing, section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routebook.core.call import Call, Message, Part
from routebook.core.catalog import Endpoint
from routebook.policy.filters import SMALL_CONTEXT
from routebook.wire import codec

ENGINE = "middle-out"
PLUGIN = "context-compression"
MESSAGES_MAX = {"anthropic": 1000}
"""Most messages that a dialect's providers take; of more, the first and the last half stay."""
CUT = " […] "
"""Stands where a text was cut."""
OVERHEAD = 8
"""Tokens around a message."""
TEXT_LEAST = 64
"""Characters that a cut text keeps."""

Count = Callable[[str], int]


class Compressed(msgspec.Struct, frozen=True):
    """What was done, as the pipeline of the router's metadata tells it."""

    engine: str
    input_type: str
    """`tokens` or `messages`: which limit was met"""
    original: int
    compressed: int
    dropped: int
    """messages left out"""
    cut: int
    """texts shortened"""

    @property
    def summary(self) -> str:
        """For people."""
        return f"{self.dropped} left out, {self.cut} texts shortened"


def quarter(text: str) -> int:
    """About the tokens of a text: a quarter of its bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def asked(call: Call) -> bool | None:
    """What the request says: the plugin `context-compression`, else the older `transforms`; None if nothing."""
    raw = call.raw
    if "plugins" in raw:
        plugins = codec.decode(bytes(raw["plugins"]))
        for plugin in plugins if isinstance(plugins, list) else ():
            if isinstance(plugin, dict) and plugin.get("id") == PLUGIN:
                return plugin.get("enabled") is not False
    if "transforms" in raw:
        transforms = codec.decode(bytes(raw["transforms"]))
        if isinstance(transforms, list):
            return ENGINE in transforms
    return None


def fitted(
    call: Call, endpoint: Endpoint, house: bool | None = None, count: Count = quarter
) -> tuple[Call, Compressed | None]:
    """The call as it fits this endpoint, and what was done; the very same call where nothing has to or may be done.

    `house`: the account's own default. Off by default, on for endpoints with a small context; the request wins.
    """
    context = endpoint.context_length
    on = asked(call)
    if on is None:
        on = house
    if on is None:
        on = context is not None and context <= SMALL_CONTEXT
    outputs = call.chat.modalities
    if not on or call.bulk or (outputs is not None and "text" not in outputs):
        return call, None
    messages = call.chat.messages
    most = MESSAGES_MAX.get(endpoint.provider.dialect)
    if most is not None and len(messages) > most:
        shorter = _halves(messages, most)
        after = _with(call, [(at, None) for at in shorter])
        return after, Compressed(ENGINE, "messages", len(messages), len(shorter), len(messages) - len(shorter), 0)
    if context is None:
        return call, None
    room = context - (call.chat.max_tokens or 0) - _tools(call, count)
    before = sum(_tokens(message, count) for message in messages)
    if before <= room:
        return call, None
    kept = _middle_out(messages, room, count)
    sizes = {at: _tokens(messages[at], count) for at in kept}
    cuts = _cuts(messages, kept, sum(sizes.values()) - room, count)
    after = _with(call, [(at, cuts.get(at)) for at in kept])
    left = sum(_tokens(message, count) for message in after.chat.messages)
    return after, Compressed(ENGINE, "tokens", before, left, len(messages) - len(kept), len(cuts))


# --- which messages ---------------------------------------------------------------------------------------------------


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """Places of messages that belong together: an assistant's tool calls with their results, else each by itself."""
    turns: list[list[int]] = []
    for at, message in enumerate(messages):
        if message.role == "tool" and turns and messages[turns[-1][0]].tool_calls:
            turns[-1].append(at)
        else:
            turns.append([at])
    return turns


def _fixed(messages: Sequence[Message], turns: list[list[int]]) -> set[int]:
    """Numbers of the turns that stay: system messages, the first other turn, the last one."""
    fixed = {n for n, turn in enumerate(turns) if messages[turn[0]].role in ("system", "developer")}
    others = [n for n in range(len(turns)) if n not in fixed]
    return fixed | set(others[:1]) | set(others[-1:])


def _middle_out(messages: Sequence[Message], room: int, count: Count) -> list[int]:
    """Places of the messages that stay: turns go from the middle outwards until the rest fits."""
    turns = _turns(messages)
    sizes = [sum(_tokens(messages[at], count) for at in turn) for turn in turns]
    fixed = _fixed(messages, turns)
    loose = [n for n in range(len(turns)) if n not in fixed]
    total = sum(sizes)
    while loose and total > room:
        total -= sizes[loose.pop(len(loose) // 2)]
    stay = fixed | set(loose)
    return [at for n, turn in enumerate(turns) if n in stay for at in turn]


def _halves(messages: Sequence[Message], most: int) -> list[int]:
    """Places of the first and the last turns with at most that many messages."""
    turns = _turns(messages)
    head: list[int] = []
    tail: list[int] = []
    low, high = 0, len(turns) - 1
    while low <= high:
        front = len(head) <= len(tail)
        turn = turns[low] if front else turns[high]
        if len(head) + len(tail) + len(turn) > most:
            break
        if front:
            head, low = head + turn, low + 1
        else:
            tail, high = turn + tail, high - 1
    return head + tail


# --- cutting texts ----------------------------------------------------------------------------------------------------


def _cuts(messages: Sequence[Message], kept: list[int], excess: int, count: Count) -> dict[int, int]:
    """Characters to keep of the plain text of some messages, by place; the longest are cut first."""
    cuts: dict[int, int] = {}
    texts = {at: content for at in kept if isinstance(content := messages[at].content, str)}
    for at in sorted(texts, key=lambda each: (-len(texts[each]), each)):
        if excess <= 0:
            break
        text = texts[at]
        tokens = count(text)
        wanted = max(tokens - excess - count(CUT), 0)
        keep = max(len(text) * wanted // max(tokens, 1), TEXT_LEAST)
        if keep >= len(text):
            continue
        cuts[at] = keep
        excess -= tokens - count(_cut(text, keep))
    return cuts


def _cut(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return text[:head] + CUT + text[len(text) - (keep - head) :]


def _tokens(message: Message, count: Count) -> int:
    content = message.content
    parts: Sequence[Part] = content if isinstance(content, list) else ()
    texts = [content] if isinstance(content, str) else [part.text for part in parts if part.text]
    texts += [call.function.name + call.function.arguments for call in message.tool_calls or ()]
    texts += [text for text in (message.reasoning, message.reasoning_content, message.refusal) if text]
    return OVERHEAD + sum(count(text) for text in texts)


def _tools(call: Call, count: Count) -> int:
    return count(codec.encode(call.chat.tools).decode()) if call.chat.tools else 0


def _with(call: Call, stay: list[tuple[int, int | None]]) -> Call:
    """The call with these messages alone, decoded and verbatim; a number is how many characters of its text stay."""
    messages = call.chat.messages
    kept = [messages[at] if keep is None else _shortened(messages[at], keep) for at, keep in stay]
    raw = dict(call.raw)
    raw.pop("input", None)  # items of the responses API are no messages: they are written anew from those that stay
    size = call.body_bytes
    if "messages" in raw:
        rows = codec.decode_as(bytes(raw["messages"]), list[codec.Raw])
        written = codec.Raw(codec.encode([_row(rows[at], keep) for at, keep in stay]))
        size += len(bytes(written)) - len(bytes(raw["messages"]))
        raw["messages"] = written
    chat = msgspec.structs.replace(call.chat, messages=kept)
    return msgspec.structs.replace(call, chat=chat, raw=raw, body_bytes=max(size, 0))


def _shortened(message: Message, keep: int) -> Message:
    content = message.content
    return msgspec.structs.replace(message, content=_cut(content, keep)) if isinstance(content, str) else message


def _row(row: codec.Raw, keep: int | None) -> codec.Raw:
    if keep is None:
        return row
    members: dict[str, Any] = codec.decode_exact(bytes(row))
    members["content"] = _cut(members["content"], keep)
    return codec.Raw(codec.encode(members))

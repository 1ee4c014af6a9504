"""What every surface checks of a caller's body, whatever its dialect: its bytes, and the members that all callers of
this gateway may send (`model`, `models`, `provider`, `session_id`, `metadata`).

Source: inference API, sections 1 and 2.1; provider preferences: routing, section 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from routebook.core.call import Call, Message, ProviderWish
from routebook.core.errors import BadRequest
from routebook.wire import codec
from routebook.wire.bulk import LARGE, MARK, LargeBody, Stowed

DEPTH_MAX = 64
"""levels of nesting of a request body"""

Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


# --- bytes ------------------------------------------------------------------------------------------------------------

_TOO_DEEP = f"The request body is nested more than {DEPTH_MAX} levels deep; send a flatter one."
_BRACKETS = b"{}[]"
_OTHERS = bytes(sorted(set(range(256)) - set(_BRACKETS)))


def read_large(body: LargeBody, read: Callable[[bytes, Stowed | None], Call]) -> Call:
    """The call of a large body, read from its text with stand-ins where all of them are media. Raises BadRequest."""
    stowed = body.stow()
    if stowed is not None:
        try:
            call = read(stowed.text, stowed)
        except BadRequest as error:
            error.message = _BYTE.sub(lambda found: f"(byte {stowed.place(int(found[1]))})", error.message)
            raise
        if _stand_ins(call.chat.messages) == len(stowed.bulk):
            return call
    return read(body.whole(), None)


def check_bytes(body: bytes, needed: str) -> None:
    """Raises BadRequest for a body that is empty, not UTF-8 or nested too deeply; `needed` names what has to be in
    it."""
    if not body or body.isspace():
        raise BadRequest(f"The request body is empty; send a JSON object with {needed}.")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The request body is not UTF-8 (byte {error.start}); send JSON in UTF-8.") from None
    if _brackets(body) > DEPTH_MAX and _depth(body) > DEPTH_MAX:
        raise BadRequest(_TOO_DEEP)


def _brackets(body: bytes) -> int:
    """Opening brackets; of a large body that has many, not all of them."""
    if len(body) <= LARGE:
        return body.count(b"{") + body.count(b"[")
    found = 0
    for bracket in (b"{", b"["):  # finding each is quicker than counting where there are few
        at = body.find(bracket)
        while at >= 0 and found <= DEPTH_MAX:
            found += 1
            at = body.find(bracket, at + 1)
    return found


def _depth(body: bytes) -> int:
    """Levels of nesting; strings are left out, so that brackets in text do not count."""
    depth = deepest = 0
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    for char in b"".join(body.split(b'"')[::2]).translate(None, _OTHERS):
        if char in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def what_is_wrong(body: bytes, kind: type[Any], needed: str) -> str:
    """Why a body cannot be decoded as that type, with the place."""
    try:
        codec.decode_as(body, kind)
        codec.decode_as(body, dict[str, codec.Raw])
    except codec.DecodeError as error:
        return placed(str(error), needed)
    except RecursionError:
        return _TOO_DEEP
    return placed("JSON is malformed", needed)


_PLACE = re.compile(r"^(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?$", re.DOTALL)


def placed(error: str, needed: str) -> str:
    """The decoder's sentence with the place in front: `messages[0].role: Expected `str`, got `int`.`"""
    match = _PLACE.match(error)
    said, place = (match[1], match[2]) if match else (error, None)
    if place:
        return f"{place}: {said}. Correct it and send the request again."
    if said.startswith(("JSON is malformed", "Input data was truncated")):
        return f"The request body is not JSON: {said}. Correct it and send the request again."
    return f"The request body is not valid: {said}. Send a JSON object with {needed}."


# --- members ----------------------------------------------------------------------------------------------------------


def models(model: str | None, others: list[str] | None) -> tuple[str, tuple[str, ...]]:
    """(the model asked for, fallbacks after it in order). Raises BadRequest where none is named."""
    if model and not others:
        return model, ()
    names = [name for name in (model, *(others or ())) if name]
    if not names:
        raise BadRequest("model: missing; name a model, GET /api/v1/models lists those this gateway serves.")
    names = list(dict.fromkeys(names))
    return names[0], tuple(names[1:])


def provider(wish: ProviderWish | None) -> ProviderWish | None:
    """The same preferences. Raises BadRequest for values that mean nothing."""
    if wish is None:
        return None
    if wish.data_collection not in (None, "allow", "deny"):
        raise BadRequest("provider.data_collection: expected allow or deny.")
    if isinstance(wish.sort, str) and wish.sort not in ("price", "throughput", "latency", "exacto"):
        raise BadRequest("provider.sort: expected price, throughput or latency.")
    prices = () if wish.max_price is None else msgspec.structs.astuple(wish.max_price)
    if any(isinstance(price, Decimal) and (not price.is_finite() or price < 0) for price in prices):
        raise BadRequest("provider.max_price: a price is a number of 0 or more.")
    return wish


def session(own: str | None, headers: Mapping[str, str]) -> str | None:
    """The session of the body, else of the header. Raises BadRequest for one that is too long."""
    found = own if own is not None else headers.get("x-session-id")
    if found is not None and len(found) > 256:
        raise BadRequest("session_id: at most 256 characters.")
    return found or None


def check_metadata(metadata: dict[str, str]) -> None:
    """Raises BadRequest for more than the API takes."""
    if len(metadata) > 16:
        raise BadRequest("metadata: at most 16 pairs.")
    for key, value in metadata.items():
        if len(key) > 64 or "[" in key or "]" in key:
            raise BadRequest("metadata: a key has at most 64 characters and no brackets.")
        if len(value) > 512:
            raise BadRequest("metadata: a value has at most 512 characters.")


EMPTY = frozenset((b"null", b"[]", b"{}", b"false"))
"""Values of a member that ask for nothing."""


def says(value: codec.Raw) -> bool:
    """A member of that value asks for something."""
    return bytes(value) not in EMPTY


def ignored(
    raw: Mapping[str, codec.Raw], known: Mapping[str, str], tools: Iterable[object] = ()
) -> tuple[tuple[str, str], ...]:
    """(member, why) of what a body asks for and the gateway does not do. `known`: members of that kind, and why;
    `tools`: the types of the tools of the body, as they came, in order."""
    found = [] if known.keys().isdisjoint(raw) else [(n, known[n]) for n in raw if n in known and says(raw[n])]
    for place, kind in enumerate(tools):
        if isinstance(kind, str) and kind.startswith("openrouter:"):
            found.append((f"tools[{place}]", f"the gateway does not run {kind[:60]}"))
    return tuple(found)


def media(messages: list[Message]) -> tuple[int, int]:
    """(image, video and file parts, audio parts) over all messages."""
    seen = heard = 0
    for message in messages:
        if not isinstance(message.content, list):
            continue
        for part in message.content:
            seen += part.type in ("image_url", "video_url", "input_video", "file")
            heard += part.type == "input_audio"
    return seen, heard


_BYTE = re.compile(r"\(byte ([0-9]+)\)")


def _stand_ins(messages: list[Message]) -> int:
    """How many stand-ins are where media is: all others have to be what they stand for, to be checked or counted."""
    found = 0
    for message in messages:
        for part in message.content if isinstance(message.content, list) else ():
            for url in (part.image_url, part.video_url, part.input_video):
                found += url.url.count(MARK) if url is not None else 0
            if part.file is not None and part.file.file_data is not None:
                found += part.file.file_data.count(MARK)
            if part.input_audio is not None:
                found += part.input_audio.data.count(MARK)
    return found // 2

"""URLs of a caller for a provider that does not fetch any: fetched here, once a call, and sent on as data URLs.

Providers that fetch by themselves get the caller's URLs as they are, and nothing is fetched. The one way out is the
`fetch` port, which is guarded: no address that is not public, 20 MB and 10 s a URL. In front of it stand the limits of
a whole call below. What is in the URLs counts as part of the prompt already, with the endpoint's context as its bound.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from routebook.core.call import Call, Message, Part
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.corridor.entry import Entry
from routebook.corridor.ports import MediaFetch
from routebook.upstream.fetch import MAX_BYTES
from routebook.wire import codec

URLS_MAX = 16
"""different URLs of one call"""
AT_ONCE = 4
"""of them under way together"""
TOTAL_BYTES = MAX_BYTES
"""over all URLs of one call"""

_PLACES = {"image_url": "url", "video_url": "url", "input_video": "url", "file": "file_data"}
"""type of a part, which is also the name of its member -> where in that member the URL stands"""
_MEDIA_TYPE = re.compile(r"(?:image|audio|video)/[a-z0-9][a-z0-9.+-]*|application/pdf|text/plain")


class Media:
    """The media of one call, as each endpoint of its plan takes them."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._inlined: Call | None = None

    async def call_for(self, endpoint: Endpoint) -> Call:
        """The call as this endpoint's provider can read it; the very same call where nothing has to be fetched.

        Raises BadRequest where a URL does not give what it should, ClientGone or the gateway's Fault where the call
        ended meanwhile.
        """
        call = self._entry.call
        if endpoint.provider.fetches_urls or not call.media_prompt:
            return call
        if self._inlined is None:
            urls = list(dict.fromkeys(_urls(call)))
            self._inlined = _with(call, await self._fetched(urls, endpoint)) if urls else call
        return self._inlined

    async def _fetched(self, urls: list[str], endpoint: Endpoint) -> dict[str, str]:
        """Data URLs by URL."""
        if len(urls) > URLS_MAX:
            raise BadRequest(
                f"{endpoint.provider.name} takes no URLs and the gateway fetches at most {URLS_MAX} of them for one "
                f"call, not {len(urls)}; send the content inline as data URLs."
            )
        return await self._entry.wait(_fetch_all(urls, self._entry.app.fetch))


async def _fetch_all(urls: list[str], fetch: MediaFetch) -> dict[str, str]:
    """Everything or the first BadRequest; when this is over, nothing is under way any more."""
    found: dict[str, str] = {}
    left = TOTAL_BYTES
    queue = iter(urls)

    async def lane() -> None:
        nonlocal left
        for url in queue:
            got = await fetch(url)
            left -= len(got.data)
            if left < 0:
                raise _refused(url, f"with it the URLs of this call hold more than {TOTAL_BYTES} bytes")
            if not _MEDIA_TYPE.fullmatch(got.content_type):
                what = got.content_type[:60] or "no content type"
                raise _refused(url, f"it is {what}, not an image, audio, video, PDF or plain text")
            found[url] = f"data:{got.content_type};base64,{b64encode(got.data).decode()}"

    lanes = [asyncio.ensure_future(lane()) for _ in range(min(AT_ONCE, len(urls)))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for each in lanes:
            each.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
    return found


def _refused(url: str, reason: str) -> BadRequest:
    host = urlsplit(url).hostname or ""
    return BadRequest(
        f"The URL at {host} cannot be sent on: {reason}. Send the content inline as a data URL, or name another URL.",
        error_type="image_download_failed",
        metadata={"host": host},
    )


# --- where URLs stand -------------------------------------------------------------------------------------------------


def _urls(call: Call) -> Iterator[str]:
    """The http and https URLs in the parts of all messages, in order."""
    for message in call.chat.messages:
        for part in message.content if isinstance(message.content, list) else ():
            url = _url(part)
            if url is not None and url[:8].lower().startswith(("http://", "https://")):
                yield url


def _url(part: Part) -> str | None:
    place = _PLACES.get(part.type)
    member = getattr(part, part.type) if place is not None else None
    url: str | None = None if member is None or place is None else getattr(member, place)
    return url


def _with(call: Call, data: Mapping[str, str]) -> Call:
    """A copy of the call with these URLs replaced, decoded and verbatim."""
    chat = replace(call.chat, messages=[_message(message, data) for message in call.chat.messages])
    raw = dict(call.raw)
    if call.surface == "anthropic":
        raw["messages"] = codec.Raw(codec.encode(_sources(codec.decode_exact(bytes(raw["messages"])), data)))
    elif "messages" in raw:
        raw["messages"] = _rewritten(raw["messages"], data)
    if "input" in raw:
        raw["input"] = _items(raw["input"], data)
    if "contents" in raw:
        raw["contents"] = codec.Raw(codec.encode(_files(codec.decode_exact(bytes(raw["contents"])), data)))
    return replace(call, chat=chat, raw=raw)


def _message(message: Message, data: Mapping[str, str]) -> Message:
    if not isinstance(message.content, list):
        return message
    return replace(message, content=[_part(part, data) for part in message.content])


def _part(part: Part, data: Mapping[str, str]) -> Part:
    url = _url(part)
    if url is None or url not in data:
        return part
    return replace(part, **{part.type: replace(getattr(part, part.type), **{_PLACES[part.type]: data[url]})})


def _rewritten(raw: codec.Raw, data: Mapping[str, str]) -> codec.Raw:
    """The caller's own messages, in the chat API's shape; members that nobody here knows stay as they are."""
    rows: list[dict[str, Any]] = codec.decode_exact(bytes(raw))
    for row in rows:
        parts = row.get("content")
        for part in parts if isinstance(parts, list) else ():
            kind = part["type"]
            if kind in _PLACES and (url := part[kind].get(_PLACES[kind])) in data:
                part[kind][_PLACES[kind]] = data[url]
    return codec.Raw(codec.encode(rows))


_ITEM_PLACES = {"input_image": "image_url", "input_video": "video_url", "input_file": "file_url"}
"""type of a part of the responses API -> its member that holds the URL"""


def _items(raw: codec.Raw, data: Mapping[str, str]) -> codec.Raw:
    """The caller's own items, in the responses API's shape; a file's content has a member of its own there."""
    rows: Any = codec.decode_exact(bytes(raw))
    for row in rows if isinstance(rows, list) else ():
        for member in ("content", "output"):
            parts = row.get(member)
            for part in parts if isinstance(parts, list) else ():
                place = _ITEM_PLACES.get(part["type"])
                if place is None or (url := part.get(place)) not in data:
                    continue
                if place == "file_url":
                    del part[place]
                    part["file_data"] = data[url]
                    part.setdefault("filename", "file")
                else:
                    part[place] = data[url]
    return codec.Raw(codec.encode(rows))


def _sources(value: Any, data: Mapping[str, str]) -> Any:
    """The caller's own messages, in the shape of Anthropic's API: a source is a URL, base64, or plain text."""
    if isinstance(value, list):
        return [_sources(item, data) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "url" and (found := data.get(str(value.get("url")))) is not None:
        kind, content = _parted(found)
        if kind == "text/plain":
            return {"type": "text", "media_type": kind, "data": b64decode(content).decode("utf-8", "replace")}
        return {"type": "base64", "media_type": kind, "data": content}
    return {name: member if name == "input" else _sources(member, data) for name, member in value.items()}


def _files(value: Any, data: Mapping[str, str]) -> Any:
    """The caller's own contents, in the shape of Gemini's API, in either spelling of its names."""
    if isinstance(value, list):
        return [_files(item, data) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, member in value.items():
        url = member.get("fileUri") or member.get("file_uri") if isinstance(member, dict) else None
        if name in ("fileData", "file_data") and isinstance(url, str) and url in data:
            kind, content = _parted(data[url])
            out["inlineData"] = {"mimeType": kind, "data": content}
        else:
            out[name] = member if name in ("args", "response") else _files(member, data)
    return out


def _parted(url: str) -> tuple[str, str]:
    """(media type, base64) of a data URL that was made here."""
    head, _, content = url.removeprefix("data:").partition(",")
    return head.partition(";")[0], content

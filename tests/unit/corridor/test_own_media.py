"""URLs that the gateway fetched, put into the caller's own bytes in the shapes of Anthropic's and Gemini's APIs; and
the base64 of large bodies, which stays out of everything that reads and writes."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.corridor.media import _with
from routebook.dialects import anthropic, gemini
from routebook.dialects.base import Surface, Upstream
from routebook.wire.bulk import LARGE, LargeBody

CAT, NOTE = "https://example.com/cat.png", "https://example.com/note.txt"
FETCHED = {CAT: "data:image/png;base64,AAAA", NOTE: "data:text/plain;base64," + b64encode(b"words").decode()}
GEMINI = gemini.SURFACE.at("m:generateContent", "")
assert GEMINI is not None


def messages(*blocks: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}]}).encode()


def contents(*parts: dict[str, Any]) -> bytes:
    return json.dumps({"contents": [{"role": "user", "parts": list(parts)}]}).encode()


def test_sources_of_a_message_are_base64_or_plain_text_afterwards() -> None:
    body = messages(
        {"type": "image", "source": {"type": "url", "url": CAT}},
        {"type": "document", "source": {"type": "url", "url": NOTE}, "title": "n"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"type": "url", "url": CAT}},
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "image", "source": {"type": "url", "url": CAT}}],
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.com/other.png"}},
    )
    call = _with(anthropic.SURFACE.read(body, {}), FETCHED)
    blocks = json.loads(bytes(call.raw["messages"]))[0]["content"]
    picture = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert blocks[0]["source"] == picture
    assert blocks[1]["source"] == {"type": "text", "media_type": "text/plain", "data": "words"}
    assert blocks[2]["input"] == {"type": "url", "url": CAT}
    assert blocks[3]["content"][0]["source"] == picture
    assert blocks[4]["source"]["url"] == "https://example.com/other.png"
    parts = call.chat.messages[0].content
    assert isinstance(parts, list)
    assert parts[0].image_url is not None
    assert parts[0].image_url.url == FETCHED[CAT]


@pytest.mark.parametrize(("member", "place"), [("fileData", "fileUri"), ("file_data", "file_uri")])
def test_files_of_a_content_are_inline_afterwards(member: str, place: str) -> None:
    assert GEMINI is not None
    body = contents({member: {place: CAT, "mimeType": "image/png"}}, {"text": CAT})
    call = _with(GEMINI.read(body, {}), FETCHED)
    parts = json.loads(bytes(call.raw["contents"]))[0]["parts"]
    assert parts == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, {"text": CAT}]


BIG = b64encode(bytes(range(256)) * 4096).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BIG}}


def own(call: Call, upstream: Upstream, dialect: str) -> bytes:
    provider = Provider(slug="p", name="P", dialect=dialect, base_url="https://p.example")
    endpoint = Endpoint(id="e", model="m", provider=provider, upstream_model="u", tag="p", pricing=None)
    request = upstream.build(call, endpoint, None, Losses()).with_bulk(call.bulk)
    return b"".join(bytes(piece) for piece in request.pieces())


@pytest.mark.parametrize(
    ("surface", "body"),
    [(anthropic.SURFACE, messages(IMAGE)), (GEMINI, contents({"inlineData": {"mimeType": "image/png", "data": BIG}}))],
    ids=["messages", "gemini"],
)
def test_the_base64_of_a_large_body_reaches_either_dialect_whole_and_is_read_by_nobody(
    surface: Surface, body: bytes
) -> None:
    assert len(body) > LARGE
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    call = surface.read(LargeBody(pieces), {})
    assert len(call.bulk) == 1
    assert (call.body_bytes, call.media_prompt) == (len(body), 1)
    assert all(len(bytes(value)) < 2000 for value in call.raw.values())
    for upstream, dialect in ((anthropic.UPSTREAM, "anthropic"), (gemini.UPSTREAM, "gemini")):
        assert BIG.encode() in own(call, upstream, dialect)

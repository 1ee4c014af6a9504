"""Recorded answers of Gemini and Claude as their other hosts would give them: equal to what their own dialects read."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace

import pytest

from routebook.dialects import registry
from routebook.wire.aws_events import event
from tests.exchanges.harness import Exchange, canonical, exchanges, read, tally

UPSTREAMS = registry.upstreams({})
FILES = {
    "google-vertex.generate_content": "gemini",
    "google.generate_content": "gemini",
    "google-ai-studio.generate_content": "gemini",
    "anthropic.messages": "anthropic",
}


def good(file: str) -> list[Exchange]:
    return [row for row in exchanges(file) if row.status == 200]


@pytest.mark.parametrize("file", FILES)
def test_vertex_tells_from_the_bytes_whose_answer_it_is(file: str) -> None:
    for row in good(file):
        for pieces in ([row.body], [row.body[at : at + 7] for at in range(0, len(row.body), 7)]):
            mine, own = (read(UPSTREAMS[name], row.head, pieces) for name in ("vertex", FILES[file]))
            assert canonical(mine) == canonical(own), row.name
        tally(f"{file} at vertex", [])


def test_claudes_streams_read_the_same_inside_bedrocks_binary_one() -> None:
    file = "anthropic.messages"
    for row in good(file):
        binary = row
        if row.content_type == "text/event-stream":
            inner = [b64encode(json.dumps(value, default=float).encode()).decode() for value in row.objects()]
            body = b"".join(event("chunk", json.dumps({"bytes": text}).encode()) for text in inner)
            binary = replace(row, body=body, content_type="application/vnd.amazon.eventstream")
        mine = read(UPSTREAMS["bedrock_anthropic"], binary.head, [binary.body])
        assert canonical(mine) == canonical(read(UPSTREAMS["anthropic"], row.head, [row.body])), row.name
        tally(f"{file} at bedrock", [])

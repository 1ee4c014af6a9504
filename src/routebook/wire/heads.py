"""The header fields of an inference answer, as every edge and test caller is told them: once as pairs, once as text.

Every value is the gateway's own (a content type, a generation id, numbers), so nothing here can hold a line break.
"""

from __future__ import annotations

STREAMED = "cache-control: no-cache\r\nx-accel-buffering: no\r\n"
"""Proxies in front must neither keep nor gather the events of a stream."""
REPLAYED = ("idempotent-replayed", "true")
"""Of an answer that was given before, to an earlier request with the same Idempotency-Key."""

TRANSLATION = "x-routebook-translation"
"""Of a request: `enabled` asks for it. Of its answer: what the provider could not be told, and what in other words."""

FINAL = ("x-should-retry", "false")
"""Of a refusal that asking again does not change. SDKs of OpenAI and Anthropic obey it (their READMEs, read 2026-11);
without it Claude Code asks ten times with a wrong key, for minutes."""
_AGAIN = frozenset((408, 409, 425, 429))


def final(status: int) -> bool:
    """Whether an answer with that status says so."""
    return 400 <= status < 500 and status not in _AGAIN


def fields(content_type: str, id: str | None, length: int | None, retry_after: int | None) -> list[tuple[str, str]]:
    """In order, names in lower case. `length`: bytes of the body, None for a stream; `retry_after`: seconds."""
    lines = text(content_type, id, length, retry_after).split("\r\n")
    pairs = [line.partition(": ") for line in lines if line]
    return [(name, value) for name, _, value in pairs]


def text(content_type: str, id: str | None, length: int | None, retry_after: int | None) -> str:
    """The same as lines, each with its end."""
    if id is None or retry_after is not None:
        named = "" if id is None else f"x-generation-id: {id}\r\n"
        sized = STREAMED if length is None else f"content-length: {length}\r\n"
        again = "" if retry_after is None else f"retry-after: {retry_after}\r\n"
        return f"content-type: {content_type}\r\n{named}{sized}{again}"
    if length is None:
        return f"content-type: {content_type}\r\nx-generation-id: {id}\r\n{STREAMED}"
    return f"content-type: {content_type}\r\nx-generation-id: {id}\r\ncontent-length: {length}\r\n"

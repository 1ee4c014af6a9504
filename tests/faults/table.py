"""Every fault of a provider that is tried, in one place: the bytes, and what has to come of them.

    kind        what the provider does
    streamed    what comes of it where the caller wants a stream
    whole       the same for an answer in one piece

`Fails`: it shows before the first content, so another endpoint is asked, and the caller gets either a good answer or a
true status. `Breaks`: it shows after it, so nobody else is asked, and the caller gets 200 with an error at the end.
`Works`: it is odd and no fault. Source: the error table (inference API, section 14), failover (routing, section 6), the
failure modes and the retry-safety table (reliability, sections 3.2 and 3.3).
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

from tests.faults.server import HANG, RESET, Script, Step


@dataclass(frozen=True)
class Fails:
    """Before the first content."""

    status: int
    """told after one attempt"""
    type: str
    every: int = 0
    """told where two or three attempts fail so; 0 = the same"""
    repeats: bool = False
    """a lone or last endpoint is asked again, up to three attempts in all"""
    retry_after: str | None = None
    """header that the caller gets"""
    seen: int | None = None
    """the provider's status, as the record has it; None = it gave none"""


@dataclass(frozen=True)
class Breaks:
    """After the first content: told as an error at the end of the stream."""

    status: int
    type: str


@dataclass(frozen=True)
class Works:
    """It is an answer."""

    text: str = "Good answer"
    finish: str = "stop"


Outcome = Fails | Breaks | Works


@dataclass(frozen=True)
class Kind:
    """One row."""

    name: str
    streamed: tuple[Script, Outcome]
    whole: tuple[Script, Outcome]
    at: str = "tcp"
    """where it happens: `tcp` on the fault server; `refused`, `nowhere`, `tls`, `deaf`: before a request can be sent"""


# --- bytes ------------------------------------------------------------------------------------------------------------


def head(status: int = 200, kind: str | None = "application/json", length: int | None = None, **more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", "connection: close"]
    if kind is not None:
        lines.append(f"content-type: {kind}")
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def body(status: int, data: bytes, kind: str = "application/json", **more: str) -> Script:
    """A whole answer."""
    return [head(status, kind, len(data), **more) + data]


def part(data: bytes) -> bytes:
    """One chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: Any) -> bytes:
    return part(b"data: " + json.dumps(value).encode() + b"\n\n")


def chunk(**choice: Any) -> bytes:
    return event({"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": None, **choice}]})


SSE = head(kind="text/event-stream")
ROLE = chunk(delta={"role": "assistant", "content": ""})
WORD = chunk(delta={"content": "Good "})
REST = chunk(delta={"content": "answer"})
STOP = chunk(finish_reason="stop")
USAGE = event({"id": "c-1", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}})
DONE = part(b"data: [DONE]\n\n")
LAST = b"0\r\n\r\n"
ANSWER = [ROLE, WORD, REST, STOP, USAGE, DONE, LAST]


def answer(text: str = "Good answer", finish: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "c-1",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        }
    ).encode()


WHOLE = answer()
GOOD = Kind("good", ([SSE, *ANSWER], Works()), (body(200, WHOLE), Works()))


def error(message: str = "it broke", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


# --- rows -------------------------------------------------------------------------------------------------------------

LOST = Fails(502, "provider_unavailable")
GARBAGE = Fails(502, "provider_unavailable", seen=200)
CUT = Fails(502, "provider_unavailable", seen=200)
LATE = Fails(504, "timeout", every=503)
LATE_ANSWER = Fails(504, "timeout", every=503, seen=200)
BROKEN = Breaks(502, "provider_unavailable")
UNREACHED = Fails(502, "provider_unavailable", repeats=True)
NEVER: Script = ()


def same(name: str, script: Script, outcome: Outcome) -> Kind:
    """Whatever the caller wants."""
    return Kind(name, (script, outcome), (script, outcome))


def status(code: int, told: int, type: str, *, data: bytes | None = None, name: str = "", **more: Any) -> Kind:
    """An answer with an error status. `headers` are the provider's; the rest is of `Fails`."""
    headers = more.pop("headers", {})
    script = body(code, error() if data is None else data, **headers)
    return same(f"status_{code}{name}", script, Fails(told, type, seen=code, **more))


def overloaded(code: int, **more: Any) -> Kind:
    return status(code, 503, "provider_overloaded", **{"repeats": True, **more})


def limited(name: str = "", **more: Any) -> Kind:
    return status(429, 429, "rate_limit_exceeded", name=name, **{"repeats": True, **more})


def streams(name: str, steps: list[Step], told: Outcome, whole: Script, told_whole: Outcome) -> Kind:
    return Kind(name, ([SSE, *steps], told), (whole, told_whole))


STATUSES = (
    status(400, 400, "invalid_request"),
    status(400, 400, "context_length_exceeded", data=error(code="context_length_exceeded"), name="_context"),
    status(400, 502, "provider_unavailable", data=error("Incorrect API key provided"), name="_key"),
    status(401, 502, "provider_unavailable"),
    status(402, 502, "provider_unavailable"),
    status(403, 502, "provider_unavailable"),
    status(403, 403, "content_policy_violation", data=error(code="content_filter"), name="_flagged"),
    status(404, 404, "not_found"),
    status(408, 504, "timeout", every=503),
    status(409, 409, "invalid_request"),
    status(413, 413, "payload_too_large"),
    status(422, 422, "unprocessable"),
    limited(),
    limited("_soon", headers={"retry_after": "1"}, retry_after="1"),
    limited("_soon_in_ms", headers={"retry_after_ms": "300"}, retry_after="1"),
    limited("_later", headers={"retry_after": "30"}, retry_after="30", repeats=False),
    limited("_quota", data=error(code="insufficient_quota", type="insufficient_quota"), repeats=False),
    overloaded(500),
    overloaded(502, data=b"<html><body>Bad Gateway</body></html>"),
    overloaded(503),
    overloaded(503, name="_later", headers={"retry_after": "30"}, retry_after="30", repeats=False),
    status(504, 504, "timeout", every=503),
    overloaded(529, data=error(type="overloaded_error")),
    status(307, 502, "provider_unavailable", data=b"", headers={"location": "http://127.0.0.1:1/"}),
)

CONNECTIONS = (
    Kind("refused", (NEVER, UNREACHED), (NEVER, UNREACHED), "refused"),
    Kind("no_tls", (NEVER, UNREACHED), (NEVER, UNREACHED), "tls"),
    Kind(
        "not_taken",
        (NEVER, Fails(504, "timeout", every=503, repeats=True)),
        (NEVER, Fails(504, "timeout", every=503, repeats=True)),
        "deaf",
    ),
    same("closed_before_the_head", [], LOST),
    same("reset_before_the_head", [RESET], LOST),
    same("closed_in_the_head", [b"HTTP/1.1 200 OK\r\ncontent-ty"], LOST),
    same("not_http", [b"SSH-2.0-OpenSSH_9.6\r\n"], LOST),
    same("an_endless_head", [b"HTTP/1.1 200 OK\r\n" + b"x-a: %s\r\n" % (b"a" * 70_000)], LOST),
    same("silent_before_the_head", [HANG], LATE),
)

BEFORE_CONTENT = (
    streams(
        "silent_after_the_head",
        [HANG],
        LATE_ANSWER,
        [head(length=len(WHOLE)), HANG],
        LATE_ANSWER,
    ),
    streams("silent_after_the_role", [ROLE, HANG], LATE_ANSWER, [head(length=9) + b'{"id"', HANG], LATE_ANSWER),
    streams(
        "comments_and_no_word", [part(b": wait\n\n"), HANG], LATE_ANSWER, [head(length=9) + b"    ", HANG], LATE_ANSWER
    ),
    streams("closed_after_the_role", [ROLE], CUT, [head(length=len(WHOLE)) + WHOLE[:20]], CUT),
    streams("reset_after_the_role", [ROLE, RESET], CUT, [head(length=len(WHOLE)) + WHOLE[:20], RESET], CUT),
    streams("ended_after_the_role", [ROLE, LAST], CUT, body(200, b""), GARBAGE),
    streams(
        "an_error_first",
        [event({"error": {"message": "it broke", "code": 500}}), LAST],
        Fails(503, "provider_overloaded", repeats=True, seen=200),
        body(200, error(code=500)),
        Fails(503, "provider_overloaded", repeats=True, seen=200),
    ),
    streams(
        "an_error_after_the_role",
        [ROLE, event({"error": {"message": "slow down", "code": 429}}), LAST],
        Fails(429, "rate_limit_exceeded", repeats=True, seen=200),
        body(200, error("slow down", code=429)),
        Fails(429, "rate_limit_exceeded", repeats=True, seen=200),
    ),
    streams(
        "a_named_error_event",
        [part(b'event: error\ndata: {"error":{"type":"overloaded_error","message":"busy"}}\n\n'), LAST],
        Fails(503, "provider_overloaded", repeats=True, seen=200),
        body(200, b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'),
        Fails(503, "provider_overloaded", repeats=True, seen=200),
    ),
    same("a_web_page", body(200, b"<html><body>Sign in</body></html>", "text/html"), GARBAGE),
    same("json_that_is_none", body(200, b'{"id": "c-1", "choices": [{'), GARBAGE),
    same("json_of_something_else", body(200, b'{"hello": "world"}'), GARBAGE),
    streams("a_frame_that_is_no_json", [part(b"data: {not json}\n\n"), LAST], GARBAGE, body(200, b"not json"), GARBAGE),
    same("compressed_by_name_alone", body(200, WHOLE, content_encoding="gzip"), CUT),
    same("a_coding_nobody_knows", body(200, WHOLE, content_encoding="zork"), LOST),
    same("a_length_that_is_none", [b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n" + WHOLE], LOST),
)

AFTER_CONTENT = (
    streams("closed_after_a_word", [ROLE, WORD], BROKEN, [head(length=len(WHOLE) + 5) + WHOLE], CUT),
    streams("reset_after_a_word", [ROLE, WORD, RESET], BROKEN, [head(length=900) + WHOLE, RESET], CUT),
    streams("ended_without_a_finish", [ROLE, WORD, LAST], BROKEN, [head() + part(WHOLE[:30]) + LAST], GARBAGE),
    streams("done_without_a_finish", [ROLE, WORD, DONE, LAST], BROKEN, [head() + part(WHOLE[:30])], CUT),
    streams(
        "an_error_after_a_word",
        [ROLE, WORD, event({"error": {"message": "it broke", "code": 500}}), LAST],
        Breaks(503, "provider_overloaded"),
        body(200, error(code="server_error")),
        Fails(503, "provider_overloaded", repeats=True, seen=200),
    ),
    streams(
        "silent_after_a_word",
        [ROLE, WORD, HANG],
        Breaks(504, "timeout"),
        [head() + part(WHOLE[:30]), HANG],
        LATE_ANSWER,
    ),
    streams(
        "no_json_after_a_word",
        [ROLE, WORD, part(b"data: {not json}\n\n"), LAST],
        BROKEN,
        body(200, WHOLE[:-1]),
        GARBAGE,
    ),
    streams("no_chunk_after_a_word", [ROLE, WORD, b"zzz\r\n"], BROKEN, [head(), b"zzz\r\n"], CUT),
    streams(
        "half_a_frame_after_a_word",
        [ROLE, WORD, part(REST[8:40]), LAST],
        BROKEN,
        [head() + part(WHOLE[:-9]) + LAST],
        GARBAGE,
    ),
)

ODD = (
    streams("no_done", [ROLE, WORD, REST, STOP, USAGE, LAST], Works(), [head(), part(WHOLE), LAST], Works()),
    streams("closed_after_the_finish", [ROLE, WORD, REST, STOP], Works(), [head(length=len(WHOLE)), WHOLE], Works()),
    streams("reset_after_the_finish", [ROLE, WORD, REST, STOP, USAGE, RESET], Works(), body(200, WHOLE), Works()),
    streams("open_after_the_finish", [ROLE, WORD, REST, STOP, USAGE, HANG], Works(), body(200, WHOLE), Works()),
    streams(
        "byte_by_byte",
        [bytes([each]) for each in b"".join(ANSWER)],
        Works(),
        [head(length=len(WHOLE)), *[bytes([each]) for each in WHOLE]],
        Works(),
    ),
    streams(
        "nothing_to_say",
        [ROLE, STOP, USAGE, DONE, LAST],
        Works(""),
        body(200, answer("")),
        Works(""),
    ),
    streams(
        "a_finish_with_error",
        [ROLE, WORD, REST, chunk(finish_reason="error"), DONE, LAST],
        Works(finish="error"),
        body(200, answer(finish="error")),
        Works(finish="error"),
    ),
    Kind(
        "an_early_hint",
        ([b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", SSE, *ANSWER], Works()),
        ([b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", *body(200, WHOLE)], Works()),
    ),
    Kind(
        "compressed",
        (
            [
                head(kind="text/event-stream", content_encoding="gzip"),
                part(gzip.compress(b"".join(each.split(b"\r\n", 1)[1][:-2] for each in ANSWER[:-1]))),
                LAST,
            ],
            Works(),
        ),
        (body(200, gzip.compress(WHOLE), content_encoding="gzip"), Works()),
    ),
)

KINDS = (*STATUSES, *CONNECTIONS, *BEFORE_CONTENT, *AFTER_CONTENT, *ODD)

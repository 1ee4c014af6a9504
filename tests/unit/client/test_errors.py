"""How an answer of the server becomes a typed error, in every form that servers give errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook import client
from routebook.client import RoutebookError
from routebook.client.errors import from_answer, redact
from tests.unit.client.loopback import KEY

JSON = {"content-type": "application/json"}


def fault(status: int, body: Any, **headers: str) -> RoutebookError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return from_answer(status, {**JSON, **named}, raw, KEY)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (402, "PaymentRequired"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (408, "RequestTimeout"),
        (409, "Conflict"),
        (410, "Gone"),
        (412, "PreconditionFailed"),
        (413, "PayloadTooLarge"),
        (418, "BadRequest"),
        (422, "Unprocessable"),
        (429, "RateLimited"),
        (500, "ServerError"),
        (502, "ProviderUnavailable"),
        (503, "ProviderOverloaded"),
        (504, "ProviderTimeout"),
        (524, "ProviderTimeout"),
        (529, "ProviderOverloaded"),
        (599, "ServerError"),
        (302, "UnreadableAnswer"),
    ],
)
def test_every_status_has_its_class_with_or_without_a_readable_body(status: int, name: str) -> None:
    for body in (
        {"error": {"code": status, "message": "Said why"}},
        b"<html>",
        b"",
        b"\xff\xfe",
        [1],
    ):
        found = fault(status, body)
        assert type(found) is getattr(client, name)
        assert found.status == status
        assert str(found).startswith(f"{status}: ")
    readable = fault(status, {"error": {"code": status, "message": "Said why"}})
    assert status == 302 or readable.message == "Said why"


def test_every_error_says_what_to_do_next() -> None:
    for status in (*range(400, 430), *range(500, 530)):
        found = fault(status, {"error": {"message": "Why"}})
        if status not in (412, 422):
            assert len(str(found)) > len(f"{status}: Why. ") + 10


def test_the_whole_envelope_is_kept() -> None:
    body = {
        "error": {
            "code": 429,
            "message": "Slow down",
            "metadata": {
                "error_type": "rate_limit_exceeded",
                "previous_errors": [{"status": 429}],
            },
            "availability": {"code": "capacity_exhausted", "retry_after": 12},
        },
        "user_id": "user_1",
    }
    found = fault(429, body, x_generation_id="gen-1-a")
    assert (found.message, found.error_type) == ("Slow down", "rate_limit_exceeded")
    assert found.metadata["previous_errors"] == [{"status": 429}]
    assert (found.retry_after, found.generation_id, found.body) == (
        12.0,
        "gen-1-a",
        body,
    )
    assert str(found).endswith("Wait 12 s first. (generation gen-1-a)")


@pytest.mark.parametrize(
    ("body", "message", "error_type", "generation_id"),
    [
        ({"error": "plain words"}, "plain words", None, None),
        ({"message": "top level"}, "top level", None, None),
        ({"detail": "another habit"}, "another habit", None, None),
        (
            {"error": {"message": "responses"}, "error_type": "timeout"},
            "responses",
            "timeout",
            None,
        ),
        (
            {
                "type": "error",
                "error": {
                    "type": "overloaded_error",
                    "message": "m",
                    "error_type": "x",
                },
                "request_id": "gen-1",
            },
            "m",
            "x",
            "gen-1",
        ),
        (
            {"error": {"message": "m", "metadata": None}, "request_id": "req-1"},
            "m",
            None,
            None,
        ),
        (
            {"error": {}},
            "The server reports an error (500) without saying why",
            None,
            None,
        ),
        (
            {"error": ["odd"]},
            "The server reports an error (500) without saying why",
            None,
            None,
        ),
    ],
)
def test_other_forms_of_the_envelope_are_understood(
    body: Any, message: str, error_type: str | None, generation_id: str | None
) -> None:
    found = fault(500, body)
    assert (found.message, found.error_type, found.generation_id) == (
        message,
        error_type,
        generation_id,
    )
    assert found.metadata == {}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "-3"}, 0.0),
        (
            {
                "retry_after": "Mon, 01 Jan 2024 00:00:30 GMT",
                "date": "Mon, 01 Jan 2024 00:00:00 GMT",
            },
            30.0,
        ),
        ({"retry_after": "Mon, 01 Jan 2024 00:00:30 GMT"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert fault(503, {"error": {"message": "m"}}, **headers).retry_after == seconds


def test_a_key_that_the_server_repeats_is_cut_out_everywhere() -> None:
    found = fault(
        401,
        {
            "error": {"message": f"Bad key {KEY}", "metadata": {KEY: [f"x{KEY}y"]}},
            "echo": KEY,
        },
    )
    assert KEY not in repr((str(found), found, found.args, found.metadata, found.body))
    assert found.message == "Bad key (api key)"


def test_without_a_key_nothing_is_cut_out() -> None:
    assert redact({"a": ["b", 1, None]}, None) == {"a": ["b", 1, None]}
    assert redact("a short key cuts no words", "a") == "a short key cuts no words"

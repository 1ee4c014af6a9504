"""A request as a value: what it shows of itself, and what it is with a large body in pieces."""

from __future__ import annotations

from rich.pretty import pretty_repr

from routebook.wire.bulk import stand_in
from routebook.wire.http import HttpHead, HttpRequest

REQUEST = HttpRequest("POST", "https://api.test/x", (("authorization", "Bearer sk-1"),), b'{"prompt":"private"}')


def test_neither_credentials_nor_the_body_are_shown() -> None:
    for shown in (repr(REQUEST), str(REQUEST), f"{[REQUEST]}", pretty_repr(REQUEST)):
        assert "POST" in shown
        assert "https://api.test/x" in shown
        assert "sk-1" not in shown
        assert "private" not in shown


def test_bulk_is_added_to_an_otherwise_equal_request_and_counts() -> None:
    request = HttpRequest("POST", "https://api.test/x", REQUEST.headers, b'{"data":"' + stand_in(0) + b'"}')
    stretch = memoryview(b"x" * 500)
    whole = request.with_bulk(((stretch,),))
    assert (whole.method, whole.url, whole.headers, whole.body) == (
        request.method,
        request.url,
        request.headers,
        request.body,
    )
    assert b"".join(whole.pieces()) == b'{"data":"' + b"x" * 500 + b'"}'
    assert whole.size == len(b'{"data":""}') + 500
    assert (request.size, request.pieces()) == (len(request.body), (request.body,))


def test_the_media_type_is_without_parameters_and_in_lower_case() -> None:
    assert HttpHead(200, {"content-type": "Text/Event-Stream ; charset=utf-8"}).content_type == "text/event-stream"
    assert HttpHead(200, {}).content_type == ""

"""What a client hears whose path is none: mostly its base URL is a little wrong, and the answer says so."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from routebook.control.app import _told


def heard(method: str, path: str) -> tuple[int, str]:
    request = Request({"type": "http", "method": method, "path": path, "query_string": b"", "headers": []})
    fault = _told(request, HTTPException(404))
    return fault.status, fault.message


@pytest.mark.parametrize(
    "path", ["/chat/completions", "/v1/v1/messages", "/api/v1/v1/messages", "/v1/api/v1/models", "/", "/api/chat"]
)
def test_outside_of_the_bases_it_is_told_where_the_api_is(path: str) -> None:
    status, message = heard("POST", path)
    assert status == 404
    assert message.startswith(f"No such path: POST {path}. The API is under /api/v1")
    assert "base URL" in message


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_path_that_takes_post_says_so(path: str) -> None:
    assert heard("GET", path) == (404, f"No such path: GET {path}. It takes POST.")


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/chat/completion"), ("GET", "/v1/embeddings")])
def test_any_other_names_the_method_and_a_path_that_is_there(method: str, path: str) -> None:
    assert heard(method, path) == (404, f"No such path: {method} {path}. GET /api/v1/models is a good start.")

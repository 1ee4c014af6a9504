"""Bodies of management requests: read as far as they may go, and not a piece further."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from routebook.control.desk import BODY_MOST, body_of, read_body
from routebook.control.keys import NewKey
from routebook.core.errors import TooLarge

pytestmark = pytest.mark.anyio

PIECE = 65_536


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Endless:
    """A caller who never stops sending."""

    def __init__(self) -> None:
        self.pieces = 0

    async def __call__(self) -> dict[str, Any]:
        self.pieces += 1
        assert self.pieces < 1000, "nobody stops reading"
        return {"type": "http.request", "body": b" " * PIECE, "more_body": True}

    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self)


async def test_a_body_without_end_is_refused_at_its_limit() -> None:
    caller = Endless()
    with pytest.raises(TooLarge, match="larger than 200000 bytes"):
        await body_of(caller.request(), 200_000)
    assert caller.pieces == 4


async def test_so_is_one_that_should_be_a_key() -> None:
    caller = Endless()
    with pytest.raises(TooLarge):
        await read_body(caller.request(), NewKey)
    assert caller.pieces == BODY_MOST // PIECE + 1

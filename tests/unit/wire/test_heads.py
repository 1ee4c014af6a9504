"""The header fields of an inference answer: as pairs for some, as text for others, the same for all."""

from __future__ import annotations

import pytest

from routebook.wire import heads


@pytest.mark.parametrize("id", [None, "gen-1"])
@pytest.mark.parametrize("length", [None, 0, 950])
@pytest.mark.parametrize("retry_after", [None, 0, 7])
def test_pairs_and_text_say_the_same(id: str | None, length: int | None, retry_after: int | None) -> None:
    pairs = heads.fields("application/json", id, length, retry_after)
    text = heads.text("application/json", id, length, retry_after)
    assert text == "".join(f"{name}: {value}\r\n" for name, value in pairs)
    said = dict(pairs)
    assert len(said) == len(pairs)
    assert said.get("x-generation-id") == id
    assert said.get("content-length") == (None if length is None else str(length))
    assert said.get("retry-after") == (None if retry_after is None else str(retry_after))
    assert ("cache-control" in said) == (length is None), "only a stream is told to be neither kept nor gathered"


@pytest.mark.parametrize("status", [200, 408, 409, 425, 429, 500, 502, 503])
def test_who_may_ask_again_is_told_nothing(status: int) -> None:
    assert heads.final(status) is False


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 415, 422])
def test_what_is_refused_for_good_says_so(status: int) -> None:
    assert heads.final(status) is True

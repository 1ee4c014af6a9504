"""The headers of an answer as a mapping."""

from __future__ import annotations

import pytest

from routebook.upstream import fields
from routebook.upstream.fields import NO_FIELDS, fields_of


def test_names_are_lower_case_and_values_are_trimmed_text() -> None:
    found = fields_of({b"Content-Type": b"text/plain \t", b"X-A": b"caf\xe9"})
    assert dict(found) == {"content-type": "text/plain", "x-a": "caf\xe9"}
    assert found["x-a"] == found.get("x-a") == "caf\xe9"
    assert (found.get("x-b"), found.get("x-b", "none"), len(found)) == (None, "none", 2)
    assert repr(found) == repr(dict(found))


def test_what_is_absent_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        fields_of({b"a": b"1"})["b"]


def test_the_last_of_names_that_differ_in_case_wins() -> None:
    assert dict(fields_of({b"X-A": b"1", b"x-a": b"2"})) == {"x-a": "2"}


def test_the_same_names_again_have_values_of_their_own() -> None:
    first, second = fields_of({b"a": b"1", b"b": b"2"}), fields_of({b"a": b"3", b"b": b"4"})
    assert (dict(first), dict(second)) == ({"a": "1", "b": "2"}, {"a": "3", "b": "4"})
    assert first.layout is second.layout


def test_names_in_another_order_are_another_layout() -> None:
    assert dict(fields_of({b"a": b"1", b"b": b"2"})) == dict(fields_of({b"b": b"2", b"a": b"1"}))
    assert dict(fields_of({b"ab": b"1", b"c": b"2"})) == {"ab": "1", "c": "2"}
    assert dict(fields_of({b"a": b"1", b"bc": b"2"})) == {"a": "1", "bc": "2"}


@pytest.mark.parametrize(
    ("names", "coded", "framed", "lasting"),
    [
        ([], False, False, False),
        ([b"Content-Length"], False, True, False),
        ([b"TRANSFER-ENCODING"], True, True, False),
        ([b"content-Encoding", b"Keep-Alive"], True, False, True),
    ],
)
def test_what_the_names_say_about_the_body(names: list[bytes], coded: bool, framed: bool, lasting: bool) -> None:
    layout = fields_of(dict.fromkeys(names, b"x")).layout
    assert (layout.coded, layout.framed, layout.lasting) == (coded, framed, lasting)


def test_no_headers_are_an_empty_mapping() -> None:
    assert dict(NO_FIELDS) == dict(fields_of({})) == {}


def test_what_is_remembered_of_hostile_servers_is_bounded() -> None:
    for number in range(1000):
        assert dict(fields_of({b"x-%d" % number: b"1"})) == {f"x-{number}": "1"}
    long = fields_of({b"x" * 5000: b"1"})
    assert list(long) == ["x" * 5000]
    assert len(fields._layouts) <= 256
    assert max(map(len, fields._layouts)) <= 2048

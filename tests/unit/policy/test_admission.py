"""Who may come in."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import Forbidden, Unauthenticated
from routebook.core.people import Key
from routebook.policy.admission import Purpose, admit, credential, utc_ns

NOW = utc_ns("2026-03-04T12:00:00Z")


def key(**more: Any) -> Key:
    return Key(hash="a" * 64, name="n", label="l", **more)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer   sk-1  "}, "sk-1"),
        ({"x-api-key": " sk-2 "}, "sk-2"),
        ({"authorization": "Bearer sk-1", "x-api-key": "sk-2"}, "sk-1"),
        ({"authorization": "Basic dXNlcg==", "x-api-key": "sk-2"}, "sk-2"),
        ({"authorization": "Bearer ", "x-api-key": "sk-2"}, "sk-2"),
    ],
)
def test_a_credential_is_the_bearer_token_else_the_api_key_header(headers: dict[str, str], found: str) -> None:
    assert credential(headers) == found


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "sk-1"}, {"x-api-key": " "}]
)
def test_without_a_credential_the_answer_is_the_one_that_clients_know(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated) as fault:
        credential(headers)
    assert fault.value.message == "Missing Authentication header"


ORDINARY, MANAGEMENT, ADMIN = key(), key(management=True), key(admin=True)


@pytest.mark.parametrize(
    ("who", "purpose"),
    [
        (ORDINARY, "inference"),
        (ORDINARY, "read"),
        (MANAGEMENT, "manage"),
        (MANAGEMENT, "read"),
        (ADMIN, "inference"),
        (ADMIN, "manage"),
        (ADMIN, "read"),
    ],
)
def test_a_key_may_do_what_its_kind_is_for(who: Key, purpose: Purpose) -> None:
    assert admit(who, NOW, purpose) is who


@pytest.mark.parametrize(
    ("who", "purpose", "message"),
    [
        (ORDINARY, "manage", "Only management keys can perform this operation"),
        (MANAGEMENT, "inference", "Management keys cannot call models; use an ordinary API key."),
    ],
)
def test_a_key_of_the_wrong_kind_is_forbidden(who: Key, purpose: Purpose, message: str) -> None:
    with pytest.raises(Forbidden) as fault:
        admit(who, NOW, purpose)
    assert fault.value.message == message


@pytest.mark.parametrize("purpose", ["inference", "manage", "read"])
@pytest.mark.parametrize(
    ("who", "why"),
    [
        (None, "Unknown"),
        (key(disabled=True), "disabled"),
        (key(management=True, disabled=True), "disabled"),
        (key(expires_at="2026-03-04T12:00:00Z"), "expired"),
        (key(expires_at="2026-03-04T11:59:59.999999Z"), "expired"),
        (key(expires_at="no time at all"), "expired"),
        (key(expires_at="2027-01-01T00:00:00+02:00"), "expired"),
    ],
)
def test_an_unknown_disabled_or_expired_key_gets_in_nowhere(who: Key | None, why: str, purpose: Purpose) -> None:
    with pytest.raises(Unauthenticated, match=why):
        admit(who, NOW, purpose)


def test_a_key_works_to_its_last_microsecond() -> None:
    until = key(expires_at="2026-03-04T12:00:00.000001Z")
    assert admit(until, NOW + 999, "inference") is until
    with pytest.raises(Unauthenticated):
        admit(until, NOW + 1_000, "inference")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.000001+00:00", 1_000_001_000),
        ("2027-12-31T23:59:59Z", 1_830_297_599_000_000_000),
    ],
)
def test_a_utc_time_is_nanoseconds_of_unix_time(text: str, ns: int) -> None:
    assert utc_ns(text) == ns


@pytest.mark.parametrize("text", ["2027-12-31T23:59:59", "2027-12-31T23:59:59+01:00", "2027-12-31", "tomorrow", ""])
def test_any_other_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - fromisoformat has its own words
        utc_ns(text)

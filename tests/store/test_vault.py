"""What is sealed opens for the same secret, purpose and subject, and for nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.config.secret import Secret
from routebook.observe.clock import SystemDice
from routebook.store.vault import Vault

ROLL = SystemDice().roll
MINE = Vault(Secret("one secret"), "answers", ROLL)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_sealed_opens_again(text: bytes, about: bytes) -> None:
    sealed = MINE.seal(text, about)
    assert MINE.open(sealed, about) == text
    assert len(sealed) == len(text) + 29
    assert len(text) < 4 or text not in sealed


@pytest.mark.parametrize(
    "other",
    [Vault(Secret("another secret"), "answers", ROLL), Vault(Secret("one secret"), "credentials", ROLL)],
    ids=["secret", "purpose"],
)
def test_another_secret_or_purpose_opens_nothing(other: Vault) -> None:
    assert other.open(MINE.seal(b"text", b"about"), b"about") is None


def test_what_is_sealed_about_one_thing_opens_for_no_other() -> None:
    assert MINE.open(MINE.seal(b"text", b"about"), b"else") is None


def test_not_one_byte_may_be_changed_or_missing() -> None:
    sealed = MINE.seal(b"text", b"about")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert MINE.open(bytes(changed), b"about") is None
        assert MINE.open(sealed[:place], b"about") is None


def test_the_same_text_is_never_sealed_twice_the_same_way() -> None:
    assert MINE.seal(b"text", b"about") != MINE.seal(b"text", b"about")

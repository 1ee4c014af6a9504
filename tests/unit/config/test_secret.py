"""A secret shows itself nowhere."""

from __future__ import annotations

import copy
import pickle

import pytest

from routebook.config.secret import Secret
from routebook.upstream.credentials import Credentials

TEXT = "sk-very-secret"


def test_no_form_of_printing_shows_it() -> None:
    secret = Secret(TEXT)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, repr([secret]), repr({"a": secret})]  # noqa: UP031
    assert not [text for text in shown if TEXT in text]
    assert secret.reveal() == TEXT


def test_it_is_not_pickled_or_copied() -> None:
    for form in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            form(Secret(TEXT))


def test_credentials_show_slugs_alone() -> None:
    credentials = Credentials({"acme": Secret(TEXT)})
    assert repr(credentials) == "Credentials(acme)"
    found = credentials.get("acme")
    assert found is not None
    assert found.reveal() == TEXT
    assert credentials.get("other") is None

"""Every fault says something, and nothing that is secret."""

from __future__ import annotations

import pytest

from routebook.core import errors
from routebook.core.errors import Fault, UpstreamFault, UpstreamLost


def every(kind: type[Fault]) -> list[type[Fault]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


@pytest.mark.parametrize("kind", every(Fault))
def test_a_fault_has_a_sentence_a_status_and_a_type_of_its_own(kind: type[Fault]) -> None:
    fault = kind()
    assert len(fault.message) > 10
    assert "\n" not in fault.message
    assert 400 <= fault.status <= 599
    assert fault.error_type


@pytest.mark.parametrize("kind", [each for each in every(Fault) if each is not Fault])
def test_the_tree_in_the_documentation_names_every_fault_with_its_status(kind: type[Fault]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
    assert len(lines) == 1
    assert kind is errors.UpstreamRefused or str(kind.status) in lines[0]


def test_what_one_place_knows_better_replaces_the_kinds_own() -> None:
    fault = errors.BadRequest("Too hot.", status=415, error_type="invalid_prompt", retry_after=3, metadata={"a": 1})
    assert (fault.message, fault.status, fault.error_type, fault.retry_after) == ("Too hot.", 415, "invalid_prompt", 3)
    assert fault.metadata == {"a": 1}
    assert errors.BadRequest().status == 400


def test_a_providers_own_body_is_kept_and_never_in_the_text() -> None:
    fault = UpstreamFault("It failed.", raw="sk-secret", provider_code="boom", provider_status=500)
    assert fault.raw == "sk-secret"
    assert "secret" not in str(fault) + repr(fault)


def test_a_lost_connection_knows_whether_anything_was_sent() -> None:
    assert UpstreamLost().sent
    assert not UpstreamLost(sent=False).sent

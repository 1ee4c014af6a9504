"""The published description of the API as a validator: is this value what that operation may answer?

Read from ../shared/spec beside the project; tests that need it skip where it is absent.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

FILE = Path(__file__).resolve().parents[2] / "shared" / "spec" / "openrouter-openapi.yaml"
NAME = "urn:openapi"


@cache
def document() -> dict[str, Any] | None:
    """The whole description, None where it is absent."""
    if not FILE.exists():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parsed: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    return parsed


def needed() -> dict[str, Any]:
    """The whole description; skips the test where it is absent."""
    found = document()
    if found is None:
        pytest.skip("the published API description is not here: ../shared/spec/openrouter-openapi.yaml")
    return found


@cache
def component(name: str) -> jsonschema_rs.Validator:
    """The validator of one of the description's schemas."""
    return _validator(f"{NAME}#/components/schemas/{name}")


@cache
def _validator(reference: str) -> jsonschema_rs.Validator:
    registry = jsonschema_rs.Registry([(NAME, {"components": needed()["components"]})])
    return jsonschema_rs.Draft202012Validator({"$ref": reference}, registry=registry)


@cache
def _operation(method: str, path: str, status: int, content_type: str) -> jsonschema_rs.Validator:
    operation = needed()["paths"][path][method.lower()]
    answers = operation["responses"]
    if str(status) not in answers:
        raise AssertionError(f"{method} {path} does not describe the status {status}; it has {', '.join(answers)}")
    schema = answers[str(status)]["content"][content_type]["schema"]
    registry = jsonschema_rs.Registry([(NAME, {"components": needed()["components"]})])
    return jsonschema_rs.Draft202012Validator(_rebased(schema), registry=registry)


def _rebased(schema: Any) -> Any:
    """The inline schema of an operation with its references into the document made absolute."""
    if isinstance(schema, dict):
        return {
            name: re.sub("^#/", f"{NAME}#/", value) if name == "$ref" else _rebased(value)
            for name, value in schema.items()
        }
    return [_rebased(value) for value in schema] if isinstance(schema, list) else schema


def check(method: str, path: str, status: int, value: Any, content_type: str = "application/json") -> None:
    """`value` is what `method path` (a template of the description) may answer with that status.

    For a stream `value` is one event: `{"data": …}`. Raises AssertionError that names every place which differs.
    """
    _check(_operation(method, path, status, content_type), value, f"{method} {path} {status}")


def check_component(name: str, value: Any) -> None:
    """`value` is what that schema of the description says. Raises AssertionError as `check`."""
    _check(component(name), value, name)


def _check(validator: jsonschema_rs.Validator, value: Any, what: str) -> None:
    wrong = [
        f"at {'/'.join(map(str, error.instance_path)) or '(root)'}: {error.message[:300]}"
        for error in validator.iter_errors(value)
    ]
    assert not wrong, f"{what} does not follow the published schema:\n" + "\n".join(wrong)

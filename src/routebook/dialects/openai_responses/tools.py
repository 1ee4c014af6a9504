"""A caller's tools, choice of tools and form of the answer, as the hub has them; and what the answer's calls were.

A custom tool (free text in, no schema) becomes a function with one text, so that every model can call it; the answer's
call becomes a custom one again. Tools inside a namespace become functions under their own names. What the provider
would run by itself (searches, code, shells, …) only this dialect can say.
Source: inference API, sections 4 and 5; OpenAI's reference of function and custom tools, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from routebook.core.call import FunctionTool, Loss, Tool
from routebook.core.errors import BadRequest
from routebook.wire import codec

INPUT = "input"
"""The one parameter of a function that stands for a custom tool."""
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
_CHOICES = frozenset({"none", "auto", "required"})


class Made(msgspec.Struct, frozen=True):
    """What a function of the hub was in the caller's words."""

    custom: bool = False
    namespace: str | None = None


def read_tools(rows: list[dict[str, Any]], at: str, untold: list[Loss]) -> list[Tool]:
    """The tools that every dialect can say; the others go to `untold`. Raises BadRequest."""
    out: dict[str, Tool] = {}
    for place, row, space in _each(rows, at):
        kind = row.get("type")
        if not isinstance(kind, str) or not kind:
            raise BadRequest(f"{place}.type: missing; name the kind of tool, `function` say.")
        if kind not in ("function", "custom"):
            untold.append(Loss(place, f"{kind[:60]} is a tool of the responses API alone"))
            continue
        name = row.get("name")
        if not isinstance(name, str) or not name:
            raise BadRequest(f"{place}.name: missing; a {kind} tool has a name.")
        if name in out:
            untold.append(Loss(place, f"{name[:60]} is there already; names of tools are unique elsewhere"))
            continue
        out[name] = _custom(row, name) if kind == "custom" else _function(row, name, place)
        if kind == "custom" and _format(row).get("type") == "grammar":
            untold.append(Loss(f"{place}.format", "the grammar is told, not enforced"))
        if row.get("defer_loading"):
            untold.append(
                Loss(f"{place}.defer_loading", "told from the beginning: there is no search for tools", mapped=True)
            )
        if space is not None and space.get("description"):
            untold.append(Loss(f"{place}.namespace", "functions stand under their own names", mapped=True))
    return list(out.values())


def made_of(raw: Mapping[str, codec.Raw]) -> dict[str, Made]:
    """By name: the functions that were something else in the request's own members."""
    value = raw.get("tools")
    rows = codec.decode(bytes(value)) if value is not None else None
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if (given := raw.get("input")) is not None and b'"additional_tools"' in bytes(given):
        items = codec.decode(bytes(given))
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("type") == "additional_tools":
                found += [row for row in item.get("tools") or () if isinstance(row, dict)]
    out: dict[str, Made] = {}
    for _, row, space in _each(found, ""):
        name = row.get("name")
        if isinstance(name, str) and name not in out and (row.get("type") == "custom" or space is not None):
            out[name] = Made(row.get("type") == "custom", space.get("name") if space is not None else None)
    return out


def read_choice(choice: Any, tools: list[Tool], untold: list[Loss]) -> tuple[Any, list[Tool]]:
    """(the choice as the hub has it, the tools that are left of those). Raises BadRequest."""
    if choice is None or isinstance(choice, str):
        if choice is not None and choice not in _CHOICES:
            raise BadRequest("tool_choice: expected none, auto, required or an object that names a tool.")
        return choice, tools
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(kind, str):
        raise BadRequest("tool_choice: expected a text, or an object with a `type`.")
    if kind in ("function", "custom"):
        name = choice.get("name")
        if not isinstance(name, str) or not name:
            raise BadRequest("tool_choice.name: missing; name the tool.")
        return {"type": "function", "function": {"name": name}}, tools
    if kind == "allowed_tools":
        rows, mode = choice.get("tools"), choice.get("mode", "auto")
        if not isinstance(rows, list) or mode not in ("auto", "required"):
            raise BadRequest("tool_choice: allowed_tools has a list of `tools` and a `mode`, auto or required.")
        names = {row.get("name") for row in rows if isinstance(row, dict)}
        return mode, [tool for tool in tools if tool.function is not None and tool.function.name in names]
    untold.append(Loss("tool_choice", f"{kind[:60]} is a tool of the responses API alone"))
    return None, tools


def read_form(text: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str | None]:
    """(the answer's form as the hub has it, verbosity) of the member `text`. Raises BadRequest."""
    if text is None:
        return None, None
    verbosity = text.get("verbosity")
    if verbosity is not None and not isinstance(verbosity, str):
        raise BadRequest("text.verbosity: expected low, medium or high.")
    form = text.get("format")
    if form is None:
        return None, verbosity
    kind = form.get("type") if isinstance(form, dict) else None
    if kind in ("text", "json_object"):
        return {"type": kind}, verbosity
    if kind != "json_schema":
        raise BadRequest("text.format.type: expected text, json_object or json_schema.")
    if not isinstance(form.get("name"), str) or not form["name"]:
        raise BadRequest("text.format.name: missing; a JSON schema has a name.")
    if not isinstance(form.get("schema"), dict):
        raise BadRequest("text.format.schema: missing; send the JSON schema of the answer.")
    schema = {name: value for name, value in form.items() if name != "type" and value is not None}
    return {"type": "json_schema", "json_schema": schema}, verbosity


def _each(rows: list[dict[str, Any]], at: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """(place, tool, its namespace) one by one, those of namespaces among them."""
    for number, row in enumerate(rows):
        if row.get("type") == "namespace" and isinstance(row.get("tools"), list):
            for inner, one in enumerate(row["tools"]):
                if isinstance(one, dict):
                    yield f"{at}[{number}].tools[{inner}]", one, row
        else:
            yield f"{at}[{number}]", row, None


def _function(row: dict[str, Any], name: str, place: str) -> Tool:
    parameters, description = row.get("parameters"), row.get("description")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadRequest(f"{place}.parameters: expected a JSON schema.")
    if description is not None and not isinstance(description, str):
        raise BadRequest(f"{place}.description: expected a text.")
    strict = row.get("strict")
    return Tool(function=FunctionTool(name, description, parameters, strict if isinstance(strict, bool) else None))


def _custom(row: dict[str, Any], name: str) -> Tool:
    said = row.get("description")
    text = said if isinstance(said, str) else ""
    form = _format(row)
    if isinstance(form.get("definition"), str):
        grammar = f"The input must match this {form.get('syntax') or 'grammar'}:\n{form['definition']}"
        text = f"{text}\n\n{grammar}" if text else grammar
    return Tool(function=FunctionTool(name, text or None, _SCHEMA))


def _format(row: dict[str, Any]) -> dict[str, Any]:
    form = row.get("format")
    return form if isinstance(form, dict) else {}

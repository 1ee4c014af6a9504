"""Whether an answer called tools as it should: a signal by which endpoints are told apart for requests with tools.

A call is good if it names a tool that was offered, with arguments that are a JSON object; an answer, if all its calls
are. Arguments are not held against the tool's schema. Source: inference API, section 5 (InvalidJson, UnknownName);
routing, 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable

from routebook.core.call import Call
from routebook.metering.meter import Called
from routebook.wire import codec


def tools_ok(call: Call, called: Iterable[Called]) -> bool | None:
    """True if every function that was called is good, None if none was called."""
    functions = [each for each in called if each.type == "function"]
    if not functions:
        return None
    offered = {tool.function.name for tool in call.chat.tools or () if tool.function is not None}
    # What a caller said in words that only their own dialect has may have been a tool, too.
    known = not call.untold and all(tool.function is not None for tool in call.chat.tools or ())
    return all((each.name in offered or not known) and _is_object("".join(each.pieces)) for each in functions)


def _is_object(arguments: str) -> bool:
    """No arguments at all are as good as an empty object: that is how some say it."""
    if not arguments.strip():
        return True
    try:
        return isinstance(codec.decode(arguments), dict)
    except (codec.DecodeError, RecursionError):
        return False

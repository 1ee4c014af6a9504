"""The dialect as callers speak it: POST /responses, answered at once and forgotten."""

from __future__ import annotations

from collections.abc import Mapping

from routebook.core.call import Call
from routebook.core.errors import Fault
from routebook.dialects import asking
from routebook.dialects.base import Writer
from routebook.dialects.openai_responses.asked import read_call
from routebook.dialects.openai_responses.envelope import error_body
from routebook.dialects.openai_responses.parts import NAME
from routebook.dialects.openai_responses.writer import ResponsesWriter
from routebook.wire.bulk import LargeBody


class ResponsesSurface:
    """See dialects.base.Surface."""

    name = NAME

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        if isinstance(body, bytes):
            return read_call(body, headers)
        return asking.read_large(body, lambda text, stowed: read_call(text, headers, stowed))

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer, streamed as the caller asked."""
        return ResponsesWriter(call)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{"error": {code, message, metadata}, "error_type", "metadata": null}`; the id travels in its header."""
        return error_body(fault)

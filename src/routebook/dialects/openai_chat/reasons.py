"""Why a choice ended: the words of the chat family's providers in the one vocabulary of the record."""

from __future__ import annotations

REASONS = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "complete": "stop",
    "completed": "stop",
    "pause_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "recitation": "content_filter",
    "guardrail_intervened": "content_filter",
    "error": "error",
    "abort": "error",
    "network_error": "error",
    "malformed_function_call": "error",
    "insufficient_system_resource": "error",
}
"""native, in lower case -> normalised; a word that is not here means that the model stopped. Generation record, 9.2."""

"""Which dialects there are: the one place that names their files, for upstreams and for surfaces."""

from __future__ import annotations

from collections.abc import Mapping

from routebook.dialects import anthropic, bedrock, cohere, gemini, ollama, openai_chat, openai_responses, vertex
from routebook.dialects.base import Surface, Upstream
from routebook.dialects.vendors import Vendor


def upstreams(vendors: Mapping[str, Vendor]) -> dict[str, Upstream]:
    """Dialects as clients, by name; `vendors` are the rows whose quirks apply to what is sent."""
    known: tuple[Upstream, ...] = (
        openai_chat.ChatUpstream(vendors),
        openai_chat.ChatUpstream(vendors, "azure", home="azure"),
        openai_responses.ResponsesUpstream(vendors),
        anthropic.UPSTREAM,
        gemini.UPSTREAM,
        bedrock.Bedrock("bedrock", anthropic.UPSTREAM, native=False),
        bedrock.Bedrock("bedrock_anthropic", anthropic.UPSTREAM, native=True),
        vertex.Vertex(gemini.UPSTREAM, anthropic.UPSTREAM),
        cohere.UPSTREAM,
        ollama.UPSTREAM,
    )
    return {upstream.name: upstream for upstream in known}


def surfaces() -> dict[str, Surface]:
    """Dialects as callers speak them, by name."""
    known: tuple[Surface, ...] = (
        openai_chat.SURFACE,
        openai_chat.TEXT,
        openai_responses.SURFACE,
        anthropic.SURFACE,
        gemini.SURFACE,
    )
    return {surface.name: surface for surface in known}

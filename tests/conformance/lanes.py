"""The lanes of the table: every dialect as a provider, with a model of its own."""

from __future__ import annotations

from dataclasses import dataclass

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.core.errors import BadRequest
from routebook.dialects import registry
from routebook.dialects.base import Upstream
from routebook.wire import codec
from routebook.wire.http import HttpRequest

UPSTREAMS = registry.upstreams({})
SURFACES = registry.surfaces()
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p/locations/global"


@dataclass(frozen=True)
class Lane:
    name: str
    dialect: str
    model: str
    base: str = "https://vendor.test/v1"

    @property
    def upstream(self) -> Upstream:
        return UPSTREAMS[self.dialect]

    @property
    def endpoint(self) -> Endpoint:
        provider = Provider("acme", "Acme", self.dialect, self.base)
        return Endpoint("acme:x", "acme/x", provider, self.model, "acme")

    def build(self, call: Call) -> tuple[HttpRequest | None, Losses, str]:
        """(the request, what it loses, why it is refused)"""
        losses = Losses()
        try:
            return self.upstream.build(call, self.endpoint, "secret", losses), losses, ""
        except BadRequest as refused:
            return None, losses, refused.message


LANES = (
    Lane("openai_chat", "openai_chat", "gpt-5"),
    Lane("azure", "azure", "deployment", "https://vendor.test"),
    Lane("openai_responses", "openai_responses", "gpt-5"),
    Lane("anthropic", "anthropic", "claude-sonnet-4-5", "https://vendor.test"),
    Lane("bedrock_anthropic", "bedrock_anthropic", "anthropic.claude-sonnet-4-5-v1:0", "https://vendor.test"),
    Lane("vertex (Claude)", "vertex", "claude-sonnet-4-5@20250929", VERTEX),
    Lane("bedrock (Claude)", "bedrock", "anthropic.claude-sonnet-4-5-v1:0", "https://vendor.test"),
    Lane("bedrock (Nova)", "bedrock", "amazon.nova-pro-v1:0", "https://vendor.test"),
    Lane("gemini", "gemini", "gemini-2.5-pro", "https://vendor.test/v1beta"),
    Lane("vertex (Gemini)", "vertex", "gemini-2.5-pro", VERTEX),
    Lane("cohere", "cohere", "command-a-reasoning", "https://vendor.test"),
    Lane("ollama", "ollama", "qwen3", "https://vendor.test"),
)


def asked(body: dict[str, object]) -> Call:
    """The call that a caller of the chat API makes with it."""
    return SURFACES["openai_chat"].read(codec.encode({"model": "acme/x", **body}), {})

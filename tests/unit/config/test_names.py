"""Slugs from providers' own ids."""

from __future__ import annotations

import pytest

from routebook.config.names import inputs_of, outputs_of, slug_of, tokenizer_of


@pytest.mark.parametrize(
    ("vendor", "upstream", "slug"),
    [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("openai", "o3", "openai/o3"),
        ("anthropic", "claude-opus-4-5", "anthropic/claude-opus-4.5"),
        ("anthropic", "claude-3-5-haiku-latest", "anthropic/claude-3.5-haiku"),
        ("anthropic", "claude-sonnet-4-0", "anthropic/claude-sonnet-4"),
        ("anthropic", "claude-opus-4-5-20251101", "anthropic/claude-opus-4.5-20251101"),
        ("anthropic", "claude-3-haiku-20240307", "anthropic/claude-3-haiku-20240307"),
        ("google-ai-studio", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("mistral", "codestral-latest", "mistralai/codestral-latest"),
        ("deepseek", "deepseek-chat", "deepseek/deepseek-chat"),
        ("xai", "grok-4.5", "x-ai/grok-4.5"),
        ("groq", "llama-3.3-70b-versatile", "meta-llama/llama-3.3-70b-versatile"),
        ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("cerebras", "gpt-oss-120b", "openai/gpt-oss-120b"),
        ("cerebras", "zai-glm-4.7", "z-ai/glm-4.7"),
        ("fireworks", "accounts/fireworks/models/glm-4p7", "z-ai/glm-4.7"),
        ("fireworks", "accounts/fireworks/models/ember-1", "fireworks/ember-1"),
        ("together", "deepseek-ai/DeepSeek-V3", "deepseek/deepseek-v3"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "meta-llama/llama-3.3-70b-instruct-turbo"),
        ("amazon-bedrock", "eu.anthropic.claude-opus-4-5-20251101-v1:0", "anthropic/claude-opus-4.5"),
        ("amazon-bedrock", "anthropic.claude-opus-4-8", "anthropic/claude-opus-4.8"),
        ("amazon-bedrock", "amazon.nova-lite-v1:0", "amazon/nova-lite-v1"),
        ("amazon-bedrock", "us.meta.llama3-1-8b-instruct-v1:0", "meta-llama/llama3-1-8b-instruct"),
        ("amazon-bedrock", "openai.gpt-oss-20b-1:0", "openai/gpt-oss-20b"),
        ("google-vertex", "claude-opus-4-5", "anthropic/claude-opus-4.5"),
        ("openrouter", "anthropic/claude-opus-4.5", "anthropic/claude-opus-4.5"),
        ("openrouter", "deepseek/deepseek-r1:free", "deepseek/deepseek-r1:free"),
    ],
)
def test_the_slug_follows_the_rule(vendor: str, upstream: str, slug: str) -> None:
    assert slug_of(vendor, upstream) == slug


@pytest.mark.parametrize(
    ("upstream", "outputs"),
    [
        ("gpt-4o", ("text",)),
        ("text-embedding-3-small", ("embeddings",)),
        ("whisper-large-v3", ("transcription",)),
        ("gpt-image-1", ("image",)),
        ("gemini-2.5-flash-image", ("image", "text")),
        ("gpt-4o-realtime-preview", None),
        ("gemini-3.1-flash-live-preview", None),
        ("mistral-ocr-latest", None),
        ("olive-2", ("text",)),
    ],
)
def test_the_id_tells_what_comes_out(upstream: str, outputs: tuple[str, ...] | None) -> None:
    assert outputs_of(upstream) == outputs


def test_families_that_see_are_listed_with_images() -> None:
    assert inputs_of("gpt-4o") == ("text", "image")
    assert "audio" in inputs_of("gemini-2.5-pro")
    assert inputs_of("accounts/fireworks/models/glm-4p7") == ("text",)
    assert inputs_of("claude-2") == ("text",)


def test_tokenizers_are_words_of_the_api() -> None:
    assert tokenizer_of("openai/gpt-4o") == "GPT"
    assert tokenizer_of("meta-llama/llama-3.3-70b") == "Llama3"
    assert tokenizer_of("google/gemma-3") == "Gemma"
    assert tokenizer_of("acme/large") == "Other"

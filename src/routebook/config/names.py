"""How a provider's own model id becomes a slug `author/name`, and what the name alone tells about the model.

The rule, in order:

1. An id that has an author (`meta-llama/Llama-3.3-70B`) keeps it, in lower case and in OpenRouter's spelling
   (`deepseek-ai` -> `deepseek`, `zai-org` -> `z-ai`, …). Of a longer path (`accounts/x/models/name`) only the last
   part counts, under rule 2.
2. A bare id whose first word names a family has the family's author (`llama-…` -> `meta-llama`, `gpt-oss-…` ->
   `openai`, …): the same model at two providers is then one slug with two endpoints where they call it the same.
3. Any other bare id of a provider that makes models has that provider as author (`openai/o3`).
4. Any other bare id has the provider's own slug as author (`groq/…`).

Spelling: lower case; Claude's version numbers with a point and without `-latest` and `.0`, as OpenRouter writes them
(`claude-opus-4-5` -> `anthropic/claude-opus-4.5`, `claude-3-5-haiku-latest` -> `anthropic/claude-3.5-haiku`); `p`
between digits is Fireworks' point (`glm-5p2` -> `z-ai/glm-5.2`). A Bedrock id loses its profile's region, date and
version (`eu.anthropic.claude-opus-4-5-20251101-v1:0` -> `anthropic/claude-opus-4.5`), Amazon's own keep the version
(`amazon.nova-lite-v1:0` -> `amazon/nova-lite-v1`). OpenRouter's own ids are slugs already.
"""

from __future__ import annotations

import re

AUTHORS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google-ai-studio": "google",
    "google-vertex": "google",
    "mistral": "mistralai",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "cohere": "cohere",
    "perplexity": "perplexity",
    "moonshotai": "moonshotai",
    "z-ai": "z-ai",
    "minimax": "minimax",
}
"""Providers that make the models they serve: vendor slug -> author."""

OPEN = frozenset({"ollama", "vllm", "llamacpp", "lmstudio", "openrouter", "azure"})
"""Vendors whose catalogue is not known beforehand: any `slug/model` is passed on to them."""

_SPELLINGS = {
    "deepseek-ai": "deepseek",
    "zai-org": "z-ai",
    "minimaxai": "minimax",
    "xiaomimimo": "xiaomi",
    "mistral": "mistralai",
    "xai": "x-ai",
    "meta": "meta-llama",
}

_PROFILE = re.compile(r"^(?:us-gov|us|eu|apac|ap|jp|au|ca|sa|me|il|global)\.")
"""Where an inference profile of Bedrock runs; the model is the same."""
_REVISION = re.compile(r"(?:-20\d{6})?(?:-v\d+|-\d+(?=:))?(?::\d+)*$")

_FAMILIES = (
    ("gpt-", "openai"),
    ("whisper", "openai"),
    ("claude", "anthropic"),
    ("gemini", "google"),
    ("gemma", "google"),
    ("llama", "meta-llama"),
    ("qwen", "qwen"),
    ("qwq", "qwen"),
    ("deepseek", "deepseek"),
    ("kimi", "moonshotai"),
    ("glm", "z-ai"),
    ("zai-glm", "z-ai"),
    ("minimax", "minimax"),
    ("grok", "x-ai"),
    ("nemotron", "nvidia"),
    ("mistral", "mistralai"),
    ("mixtral", "mistralai"),
    ("ministral", "mistralai"),
    ("codestral", "mistralai"),
    ("devstral", "mistralai"),
    ("magistral", "mistralai"),
    ("pixtral", "mistralai"),
    ("voxtral", "mistralai"),
    ("command", "cohere"),
    ("phi-", "microsoft"),
)

_TOKENIZERS = (
    (r"^openai/", "GPT"),
    (r"^anthropic/", "Claude"),
    (r"^google/gemma", "Gemma"),
    (r"^google/", "Gemini"),
    (r"^x-ai/", "Grok"),
    (r"^mistralai/", "Mistral"),
    (r"^deepseek/", "DeepSeek"),
    (r"^cohere/", "Cohere"),
    (r"^qwen/qwen-?3", "Qwen3"),
    (r"^qwen/", "Qwen"),
    (r"^meta-llama/.*llama-?4", "Llama4"),
    (r"^meta-llama/.*llama-?(v?3)", "Llama3"),
    (r"^meta-llama/.*llama-?2", "Llama2"),
)

_KINDS: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    (r"realtime|moderation|\bocr\b|\blive\b|computer-use|prompt-guard|-decider", None),
    (r"^(text-)?(ada|babbage|curie|davinci)\b", None),
    (r"embed", ("embeddings",)),
    (r"rerank", ("rerank",)),
    (r"transcribe|whisper", ("transcription",)),
    (r"\btts\b|orpheus", ("speech",)),
    (r"^gpt-image|^chatgpt-image", ("image",)),
    (r"-image\b|nano-banana", ("image", "text")),
)

_SEES = re.compile(r"^(claude-(?!2|v1|instant)|gpt-(4o|4\.|5|6)|o[134](-pro)?$|o4-mini|gemini-|chatgpt-4o|pixtral)")


def slug_of(vendor: str, upstream: str) -> str:
    """The slug of the model that `vendor` calls `upstream`, by the rule above."""
    if vendor == "openrouter":
        return upstream
    name = upstream.lower()
    if vendor == "amazon-bedrock":
        name = _PROFILE.sub("", name).replace(".", "/", 1)
        name = name.partition(":")[0] if name.startswith("amazon/") else _REVISION.sub("", name)
    author, _, rest = name.partition("/")
    if rest and "/" not in rest:
        return f"{_SPELLINGS.get(author, author)}/{_spelt(rest)}"
    name = _spelt(name.rpartition("/")[2])
    family = next((author for prefix, author in _FAMILIES if name.startswith(prefix)), None)
    return f"{family or AUTHORS.get(vendor, vendor)}/{name.removeprefix('zai-')}"


def _spelt(name: str) -> str:
    name = re.sub(r"(?<=\d)p(?=\d)", ".", name)
    if name.startswith("claude"):
        name = re.sub(r"(?<![\d.])(\d)-(\d)(?!\d)", r"\1.\2", name.removesuffix("-latest")).replace(".0", "")
    return name


def tokenizer_of(slug: str) -> str:
    """The tokenizer's family as the API names it, `Other` where the slug does not tell."""
    return next((name for pattern, name in _TOKENIZERS if re.search(pattern, slug)), "Other")


def outputs_of(upstream: str) -> tuple[str, ...] | None:
    """Output modalities that the id tells, text where it tells nothing; None for what no path of this API can call."""
    name = upstream.lower().rpartition("/")[2]
    for pattern, outputs in _KINDS:
        if re.search(pattern, name):
            return outputs
    return ("text",)


def inputs_of(upstream: str) -> tuple[str, ...]:
    """Input modalities as far as the family's name tells; a hint for listings, nothing is refused for it."""
    name = upstream.lower().rpartition("/")[2]
    if name.startswith("gemini-") and outputs_of(name) == ("text",):
        return ("text", "image", "file", "audio", "video")
    if _SEES.match(name) and outputs_of(name) == ("text",):
        return ("text", "image") if "audio" not in name else ("text", "audio")
    return ("text",)

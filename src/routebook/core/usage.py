"""Token counts as a provider reported them, normalised to one meaning.

`prompt` includes cached reads, cache writes, audio and image tokens; `completion` includes reasoning, audio and image
tokens. None means: the provider did not say. Source of the normalisation: generation record, section 9.1.
"""

from __future__ import annotations

import msgspec

COUNT_MAX = 10**9
"""No model takes or makes more tokens in one answer: a count beyond it is a provider's mistake, and unknown."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Counts of one answer, all in tokens unless named otherwise. Later reports of a stream replace earlier ones."""

    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    cached: int | None = None
    """Cache reads, a part of prompt."""
    cache_write: int | None = None
    """Cache writes at the short (5 minute) rate, a part of prompt."""
    cache_write_1h: int | None = None
    """Cache writes at the one-hour rate, a part of prompt, not contained in cache_write."""
    audio_prompt: int | None = None
    audio_cached: int | None = None
    """Cached reads that are audio: a part of both audio_prompt and cached."""
    audio_completion: int | None = None
    image_prompt: int | None = None
    video_prompt: int | None = None
    image_completion: int | None = None
    """Image output tokens, a part of completion."""
    accepted_prediction: int | None = None
    rejected_prediction: int | None = None
    web_searches: int | None = None
    """Searches the provider ran (a number of requests)."""
    web_fetches: int | None = None
    raw: bytes | None = None
    """The provider's own usage object, as JSON."""

    @property
    def empty(self) -> bool:
        """True where not one count is known."""
        return self.prompt is None and self.completion is None

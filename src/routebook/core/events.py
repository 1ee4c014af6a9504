"""What a provider's answer is made of, in any dialect: the canonical events.

A reader turns bytes into these, a meter counts them, a writer turns them into the caller's dialect. Order in a good
answer: Start, (Delta | Plain)*, Finish (one a choice), Counted (any number, the last counts), and nothing after that.
The commonest whole answer is one `Whole` instead, which is a Delta to whoever does not look closer.
`Failed` may come at any place and ends the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from routebook.core.errors import Fault
from routebook.core.usage import Usage


class Start(msgspec.Struct, frozen=True, gc=False):
    """The answer began: what is known of it as a whole. May be repeated when a later frame knows more."""

    upstream_id: str | None = None
    model: str | None = None
    """The provider's own name of the model that answers."""
    service_tier: str | None = None
    """The tier the provider says it ran on; never the one asked for."""
    system_fingerprint: str | None = None
    provider: str | None = None
    """Set where the upstream is itself a router and names who served it."""


class Native(msgspec.Struct, frozen=True, gc=False):
    """What the provider itself wrote, for a caller who speaks its dialect: written to them instead of what the event
    says canonically. Writers of other dialects look past it."""

    dialect: str
    kind: str
    """the name of the event, empty for a whole answer"""
    data: bytes
    """its JSON"""
    number: int | None = None
    """its place in the provider's stream, where the dialect numbers its events"""
    content: bool = False
    """the caller sees something of the answer in it that no canonical event says (a search that began, say)"""


class ToolDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of one tool call. The first piece of a call has id and name; `arguments` is a fragment of JSON text."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    type: str = "function"
    extra: dict[str, Any] | None = None
    """Members of a call that only some providers send (a thought signature, say), verbatim."""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A piece of one choice's message; a unary answer is one Delta that holds the whole.

    Content is: text, reasoning, reasoning_details, tool_calls, refusal, images, audio, native content. A Delta with
    none of them (role only, annotations only) is not content, so it does not commit the answer to this provider.
    """

    index: int = 0
    role: str | None = None
    text: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[ToolDelta] | None = None
    refusal: str | None = None
    images: list[dict[str, Any]] | None = None
    """[{type: image_url, image_url: {url: data or http URL}}]"""
    audio: dict[str, Any] | None = None
    """{id?, data? (base64), transcript?, expires_at?}"""
    annotations: list[dict[str, Any]] | None = None
    logprobs: Any = None
    extra: dict[str, Any] | None = None
    """Members of the delta or message that only this provider sends, verbatim, for callers of the same dialect."""
    native: Native | None = None

    @property
    def content(self) -> bool:
        """True if a caller would see something of the answer: the point of no return."""
        return bool(
            self.text
            or self.reasoning
            or self.reasoning_details
            or self.tool_calls
            or self.refusal
            or self.images
            or self.audio
            or (self.native is not None and self.native.content)
        )


class Plain(msgspec.Struct, frozen=True, gc=False):
    """A run of pieces of text of one choice that say nothing else, in the JSON escapes that the provider wrote.

    Each piece is the inside of a valid JSON string and not empty, so a writer of JSON may put it between quotes as it
    is; `wire.text` decodes it for everyone else. Says the same as one Delta of text a piece, and is content.
    """

    index: int
    texts: list[bytes]
    size: int
    """UTF-8 bytes of all the text, unescaped"""
    chars: int
    """characters of all the text"""
    role: str | None = None
    """of the message, where it came with the first piece"""
    report: Callable[[], Counted] | None = None
    """gives the usage that came with the last piece, where it is worth working out"""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """One choice ended."""

    reason: str
    """One of tool_calls, stop, length, content_filter, error."""
    native: str | None = None
    """The provider's own word, unmodified."""
    index: int = 0
    stop_sequence: str | None = None
    message: str | None = None
    """What the provider says of it (a refusal's explanation, a block reason)."""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """The provider reported usage."""

    usage: Usage


class Failed(msgspec.Struct, frozen=True):
    """The answer ended badly: an error in the body, a cut-off stream, bytes that are not the dialect."""

    fault: Fault


class Whole(Delta, frozen=True, gc=False):
    """A whole answer that is one message of text alone, in one event: says what `parts` say one by one.

    A reader that gives it gives nothing else. `text` is not empty, and every count is known to be believable.
    """

    start: Start = Start()
    finish: Finish = Finish("stop")
    usage: Usage = Usage()

    def parts(self) -> list[Event]:
        """The same answer for whoever needs it in pieces."""
        said = Delta(index=self.index, role=self.role, text=self.text)
        return [self.start, said, self.finish, Counted(self.usage)]


Event = Start | Delta | Plain | Finish | Counted | Failed

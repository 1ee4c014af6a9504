"""The legacy text completions of the same family: a prompt in, text out, on models that are chatted with.

The prompt becomes one user message, and the answer's text the completion. There is no other text in it: a prompt that
a base model would go on with word for word is answered by a chat model as it answers. What a chat cannot be told
(`suffix`, more candidates than are given back) is named in `Call.untold`. Sources: inference API, section 3; OpenAI's
reference "Completions", read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from routebook.core.call import Call, Chat, Loss, Message, ProviderWish
from routebook.core.errors import BadRequest, Fault
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Plain, Start, Whole
from routebook.dialects import asking
from routebook.dialects.asking import Penalty, Positive, Temperature, Unit
from routebook.dialects.base import Receipt, Stamp, Writer
from routebook.dialects.openai_chat.receipt import usage_object
from routebook.dialects.openai_chat.writer import KEEPALIVE, error_body, error_object
from routebook.wire import codec, sse
from routebook.wire.bulk import LargeBody
from routebook.wire.text import texts

NAME = "openai_text"
_NEEDED = "`model` and `prompt`"


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    prompt: str | list[Any] | None = None
    model: str | None = None
    models: list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    suffix: str | None = None
    echo: bool | None = None
    best_of: Positive | None = None
    n: Positive | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop: str | list[str] | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Temperature | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    session_id: str | None = None
    provider: ProviderWish | None = None


_body = codec.decoder(_Body)
_members = codec.decoder(dict[str, codec.Raw])

_READ = frozenset(_Body.__struct_fields__)
_SAME = tuple(
    """temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty seed logit_bias
    service_tier user metadata n""".split()
)
"""members that mean the same in a chat"""
_IGNORED = {
    "route": "deprecated; use provider.sort",
    "plugins": "the gateway runs no plugins",
    "transforms": "the gateway does not shorten prompts",
    "preset": "the gateway has no presets",
    "trace": "the gateway broadcasts no traces",
    "usage": "usage is always given",
}


class TextSurface:
    """The legacy API as callers speak it; see dialects.base.Surface."""

    name = NAME

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        data = body if isinstance(body, bytes) else body.whole()
        asking.check_bytes(data, _NEEDED)
        try:
            wish = _body(data)
            raw = _members(data)
        except codec.BAD:
            raise BadRequest(asking.what_is_wrong(data, _Body, _NEEDED)) from None
        model, models = asking.models(wish.model, wish.models)
        if wish.metadata is not None:
            asking.check_metadata(wish.metadata)
        return Call(
            surface=self.name,
            model=model,
            models=models,
            stream=bool(wish.stream),
            chat=_chat(wish),
            raw=raw,
            provider=asking.provider(wish.provider),
            user=wish.user,
            session_id=asking.session(wish.session_id, headers),
            body_bytes=len(data),
            ignored=asking.ignored(raw, _IGNORED),
            untold=tuple(_untold(wish, raw)),
        )

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer, streamed as the caller asked."""
        echo = bytes(call.raw.get("echo", b"")) == b"true"
        prompt = str(call.chat.messages[0].content) if echo else ""
        return StreamWriter(prompt) if call.stream else UnaryWriter(prompt)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{"error": {code, message, metadata}}`, as the chat API's."""
        return error_body(fault)


def _chat(wish: _Body) -> Chat:
    if wish.max_tokens == 0:
        raise BadRequest("max_tokens: expected 1 or more; a chat model cannot answer with nothing.")
    if wish.best_of is not None and wish.best_of < (wish.n or 1):
        raise BadRequest("best_of: must not be less than n.")
    if wish.best_of is not None and wish.best_of > (wish.n or 1) and wish.stream:
        raise BadRequest("best_of: a stream has no best of several; leave it out.")
    logprobs = wish.logprobs is not None
    return Chat(
        messages=[Message("user", _prompt(wish.prompt))],
        stop=[wish.stop] if isinstance(wish.stop, str) else wish.stop,
        max_tokens=wish.max_tokens,
        logprobs=True if logprobs else None,
        top_logprobs=wish.logprobs or None,
        **{name: getattr(wish, name) for name in _SAME},
    )


def _prompt(prompt: str | list[Any] | None) -> str:
    if isinstance(prompt, str):
        return prompt
    if prompt is None:
        raise BadRequest("prompt: missing; send a text.")
    if len(prompt) != 1 or isinstance(prompt[0], int):
        kind = "tokens" if prompt and not isinstance(prompt[0], str) else f"{len(prompt)} texts"
        raise BadRequest(f"prompt: one text is taken, not a list of {kind}; send one request for each text.")
    if not isinstance(prompt[0], str):
        raise BadRequest("prompt: one text is taken, not a list of tokens; send the text itself.")
    return prompt[0]


def _untold(wish: _Body, raw: Mapping[str, msgspec.Raw]) -> list[Loss]:
    out = []
    if wish.suffix:
        out.append(Loss("suffix", "a chat model cannot be told what comes after its text"))
    if (wish.best_of or 1) > (wish.n or 1):
        out.append(Loss("best_of", "only as many candidates are made as are given back"))
    for name, value in raw.items():
        if name not in _READ and name not in _IGNORED and asking.says(value):
            out.append(Loss(name, "a member that text completions on chat models do not have"))
    return out


# --- answers ----------------------------------------------------------------------------------------------------------


class _Choice:
    """One choice as it grows."""

    def __init__(self, prompt: str) -> None:
        self.begun = not prompt
        self.offset = len(prompt)
        """characters before the next token"""
        self.text: list[str] = [prompt] if prompt else []
        self.reasoning: list[str] = []
        self.logprobs: dict[str, list[Any]] | None = None
        self.finish: Finish | None = None

    def tokens(self, found: Any) -> dict[str, list[Any]] | None:
        """The chat API's log probabilities in the legacy shape."""
        rows = found.get("content") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not rows:
            return None
        out: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for row in rows:
            if not isinstance(row, dict):
                continue
            token = str(row.get("token") or "")
            tops = row.get("top_logprobs")
            tops = [each for each in tops if isinstance(each, dict)] if isinstance(tops, list) else []
            out["tokens"].append(token)
            out["token_logprobs"].append(row.get("logprob"))
            out["top_logprobs"].append({str(each.get("token")): each.get("logprob") for each in tops})
            out["text_offset"].append(self.offset)
            self.offset += len(token)
        return out


def _head(stamp: Stamp) -> dict[str, Any]:
    head = {"id": stamp.id, "object": "text_completion", "created": stamp.created, "model": stamp.model}
    return head if stamp.provider is None else {**head, "provider": stamp.provider}


class StreamWriter:
    """Chunks; see dialects.base.Writer."""

    content_type = "text/event-stream"

    def __init__(self, prompt: str = "") -> None:
        self._prompt = prompt
        self._choices: dict[int, _Choice] = {}
        self._head = b""

    def start(self, stamp: Stamp) -> None:
        self._head = b"data: " + codec.encode(_head(stamp))[:-1]

    def feed(self, event: Event) -> bytes:
        """One chunk for a piece of text or the end of a choice."""
        match event:
            case Plain():
                return b"".join([self._delta(Delta(index=event.index, text=piece)) for piece in texts(event)])
            case Whole():
                return b"".join([self.feed(part) for part in event.parts()])
            case Delta():
                return self._delta(event)
            case Finish():
                return self._chunk(event.index, "", event.reason, event.native)
            case Start() | Counted() | Failed():
                return b""

    def _delta(self, event: Delta) -> bytes:
        said = (event.text or "") + (event.refusal or "")
        choice = self._choices.setdefault(event.index, _Choice(self._prompt))
        logprobs = choice.tokens(event.logprobs)
        if not said and not event.reasoning and logprobs is None:
            return b""
        more: dict[str, Any] = {"reasoning": event.reasoning} if event.reasoning else {}
        return self._chunk(event.index, said, None, None, logprobs, more)

    def _chunk(
        self,
        index: int,
        text: str,
        reason: str | None,
        native: str | None,
        logprobs: Any = None,
        more: dict[str, Any] | None = None,
        beside: dict[str, Any] | None = None,
    ) -> bytes:
        choice = self._choices.setdefault(index, _Choice(self._prompt))
        if not choice.begun:
            choice.begun = True
            text = self._prompt + text
        said = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}
        choices = [{**said, "native_finish_reason": native, **(more or {})}]
        return self._head + b"," + codec.encode({"choices": choices, **(beside or {})})[1:] + b"\n\n"

    def fault(self, fault: Fault) -> bytes:
        """The in-band error, beside a choice that ends with it."""
        return self._chunk(0, "", "error", None, beside={"error": error_object(fault)})

    def end(self, receipt: Receipt) -> bytes:
        """The usage chunk and the end mark."""
        usage = codec.encode(usage_object(receipt))
        if receipt.routing is not None:
            usage += b',"openrouter_metadata":' + codec.encode(receipt.routing)
        return self._head + b',"choices":[],"usage":' + usage + b"}\n\n" + sse.DONE

    def keepalive(self) -> bytes:
        """A comment."""
        return KEEPALIVE


class UnaryWriter:
    """One body; see dialects.base.Writer."""

    content_type = "application/json"

    def __init__(self, prompt: str = "") -> None:
        self._prompt = prompt
        self._choices: dict[int, _Choice] = {}
        self._stamp = Stamp("", 0, "", None)
        self._fault: Fault | None = None

    def start(self, stamp: Stamp) -> None:
        self._stamp = stamp

    def feed(self, event: Event) -> bytes:
        """Folds; nothing is given before the end."""
        match event:
            case Plain():
                self._choice(event.index).text += texts(event)
            case Whole():
                for part in event.parts():
                    self.feed(part)
            case Delta():
                choice = self._choice(event.index)
                choice.text += [part for part in (event.text, event.refusal) if part]
                choice.reasoning += [event.reasoning] if event.reasoning else []
                found = choice.tokens(event.logprobs)
                known = choice.logprobs
                if found is not None:
                    choice.logprobs = found if known is None else {n: known[n] + found[n] for n in known}
            case Finish():
                self._choice(event.index).finish = event
            case Start() | Counted() | Failed():
                pass
        return b""

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice(self._prompt))

    def fault(self, fault: Fault) -> bytes:
        """Remembered: the choice that was under way ends with it."""
        self._fault = fault
        self._choice(0)
        return b""

    def end(self, receipt: Receipt) -> bytes:
        """The whole body."""
        rows = [self._row(index, choice) for index, choice in sorted(self._choices.items())]
        body = {**_head(self._stamp), "choices": rows, "usage": usage_object(receipt)}
        if receipt.routing is not None:
            body["openrouter_metadata"] = receipt.routing
        return codec.encode(body)

    def _row(self, index: int, choice: _Choice) -> dict[str, Any]:
        ended = choice.finish
        row: dict[str, Any] = {"text": "".join(choice.text), "index": index, "logprobs": choice.logprobs}
        if choice.reasoning:
            row["reasoning"] = "".join(choice.reasoning)
        if index == 0 and self._fault is not None:
            return {**row, "finish_reason": "error", "native_finish_reason": None, "error": error_object(self._fault)}
        row["finish_reason"] = ended.reason if ended is not None else None
        return {**row, "native_finish_reason": ended.native if ended is not None else None}

    def keepalive(self) -> bytes:
        """Nothing: the body is one JSON value."""
        return b""

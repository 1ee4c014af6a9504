"""Owns the synchronous client: the IO of `calls` with blocking sockets."""

from __future__ import annotations

import time  # noqa: TID251  only to sleep: the client stands alone and reads no clock
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx2

from . import calls
from .accounts import (
    CreateKeyResponseBody,
    DeleteKeyResponseBody,
    GetCreditsResponseBody,
    GetCurrentKeyResponseBody,
    KeyChanges,
    KeyFields,
    KeyResponseBody,
    ListKeysResponseBody,
)
from .book import GetCompletenessResponseBody
from .catalogue import ListEndpointsResponseBody, ListModelsResponseBody
from .chats import ChatChunk, ChatCompletion, ChatMessage, ChatUsage
from .errors import RoutebookError
from .records import CancelGenerationResponseBody, GetGenerationResponseBody

T = TypeVar("T")


class ChatStream:
    """The chunks of a streamed answer, as they come. Iterate it once, inside `with`.

    Comments are skipped; the iteration ends at the end marker. An error in the stream is raised as its typed error
    (`ServerError` and others), a stream that stops before its end as `StreamCut`. Leaving `with`, or `close()`, hangs
    up: the server then stops the generation where that stops the bill.
    """

    def __init__(self, settings: calls.Settings, response: httpx2.Response) -> None:
        self._settings = settings
        self._response = response
        self._reader = calls.chat_reader(settings, response)
        self._chunks = self._read()
        self._closed = False

    @property
    def generation_id(self) -> str | None:
        """`gen-...`, known before the first chunk if the server sends `X-Generation-Id`."""
        return self._reader.generation_id

    @property
    def usage(self) -> ChatUsage | None:
        """Tokens and cost; None until they came, which is at the end."""
        return self._reader.usage

    def __iter__(self) -> Iterator[ChatChunk]:
        return self

    def __next__(self) -> ChatChunk:
        if self._closed:
            raise StopIteration
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; harmless when the stream has ended."""
        self._closed = True
        self._response.close()

    def _read(self) -> Iterator[ChatChunk]:
        try:
            for data in self._response.iter_bytes():
                yield from self._reader.feed(data)
                if self._reader.done:
                    return
            yield from self._reader.end()
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure, self._reader.generation_id) from None
        finally:
            self.close()


class Chat:
    """Chat completions: `client.chat`."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    @overload
    def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: Literal[False] = False,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion: ...

    @overload
    def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: Literal[True],
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatStream: ...

    @overload
    def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: bool,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion | ChatStream: ...

    def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: bool = False,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion | ChatStream:
        """Send a conversation; get the whole answer, or with `stream=True` its chunks as they come.

        Every other parameter of the API is taken by its name and sent as it is (`temperature=0`, `tools=[...]`,
        `provider={...}`, ...). `extra_headers` go with this call only (`HTTP-Referer`, `x-session-id`, ...).
        Never sent twice: it costs money. An answer that broke off has `finish_reason` "error" on its choice and says
        why in `error`.

        Raises the typed error of the status, `ConnectionFailed`, `UnreadableAnswer`.
        """
        call = calls.send_chat(messages, model, stream, parameters, extra_headers)
        return self._client._stream(call) if stream else self._client._run(call)


class Generations:
    """Generation records: `client.generations`."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    def get(self, id: str, *, wait: float = 0.0) -> GetGenerationResponseBody:
        """The record of a generation, by the `generation_id` of its answer, under `data`.

        `wait`: seconds to go on asking while there is no such record (`NotFound`). Routebook has it at once; some
        servers write it a little after the answer.
        """
        return self._client._run(calls.get_generation(id, wait))

    def cancel(self, id: str) -> CancelGenerationResponseBody:
        """Stop a running generation, on whichever worker it runs; with its own key or a management key.

        Its stream ends at once, with usage; a call that is not streamed gets status 499. Raises `Conflict` if it has
        ended, `NotFound` if there is no such generation. Routebook's own; other servers answer 404.
        """
        return self._client._run(calls.cancel_generation(id))


class Models:
    """The catalogue: `client.models`."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    def list(self, **query: Unpack[calls.ModelQuery]) -> ListModelsResponseBody:
        """The models, with prices and limits; without `offset` and `limit` all of them."""
        return self._client._run(calls.list_models(query))

    def endpoints(self, author: str, slug: str) -> ListEndpointsResponseBody:
        """Who serves the model `author/slug`, at which price and with which limits."""
        return self._client._run(calls.list_endpoints(author, slug))


class Credits:
    """Credits: `client.credits`. Needs a management key."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    def get(self) -> GetCreditsResponseBody:
        """Credits bought and used, USD."""
        return self._client._run(calls.get_credits())


class Ledger:
    """The proof of completeness: `client.ledger`. Needs a management key; Routebook alone has it."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    def completeness(
        self, since: str | datetime | None = None, until: str | datetime | None = None
    ) -> GetCompletenessResponseBody:
        """Whether the book is complete, with counts of the calls accepted from `since` to before `until`.

        Both: ISO 8601 or an aware datetime; None: without a bound.
        """
        return self._client._run(calls.get_completeness(since, until))


class Keys:
    """API keys: `client.keys`. All but `current` need a management key."""

    def __init__(self, client: Routebook) -> None:
        self._client = client

    def list(
        self,
        *,
        include_disabled: bool | None = None,
        offset: int | None = None,
        workspace_id: str | None = None,
    ) -> ListKeysResponseBody:
        """The keys, from `offset` on; the server may send them in pages of 100."""
        return self._client._run(calls.list_keys(include_disabled, offset, workspace_id))

    def create(self, **fields: Unpack[KeyFields]) -> CreateKeyResponseBody:
        """Make a key; the plain key is in `key` of the answer, this once."""
        return self._client._run(calls.create_key(fields))

    def get(self, hash: str) -> KeyResponseBody:
        """One key by its hash."""
        return self._client._run(calls.get_key(hash))

    def update(self, hash: str, **changes: Unpack[KeyChanges]) -> KeyResponseBody:
        """Change what is given, leave the rest."""
        return self._client._run(calls.update_key(hash, changes))

    def delete(self, hash: str) -> DeleteKeyResponseBody:
        """Delete a key for good."""
        return self._client._run(calls.delete_key(hash))

    def current(self) -> GetCurrentKeyResponseBody:
        """The key that this client uses: its limit and use."""
        return self._client._run(calls.get_current_key())


class Routebook:
    """A client of a Routebook, or of any server that speaks the OpenRouter API. Close it, or use it in `with`.

    Args:
        api_key: the key; default: the environment variable `ROUTEBOOK_API_KEY`, else no key is sent.
        base_url: where the API is; default: `ROUTEBOOK_BASE_URL`, else `http://127.0.0.1:8080/api/v1`.
        timeout: seconds of silence after which a call fails with `TimedOut` (connecting: at most 5); None waits
            without end.
        headers: sent with every call, e.g. `{"HTTP-Referer": "https://app.example", "X-Title": "App"}`.
        get_retries: how often a GET is made again after a failed connection or a 5xx, with short pauses. Nothing else
            is ever made again.
        transport: an `httpx2` transport to use in place of sockets.

    Raises `BadArgument` for a key or URL that cannot be used. May be shared between threads.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float | httpx2.Timeout | None = 600.0,
        headers: Mapping[str, str] | None = None,
        get_retries: int = 2,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._settings = calls.Settings(api_key, base_url, timeout, headers, get_retries)
        self._http = httpx2.Client(
            headers=self._settings.headers,
            timeout=self._settings.timeout,
            transport=transport,
            mounts=self._settings.mounts,
        )
        self.chat = Chat(self)
        self.generations = Generations(self)
        self.models = Models(self)
        self.credits = Credits(self)
        self.keys = Keys(self)
        self.ledger = Ledger(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _run(self, call: calls.Call[T]) -> T:
        tries, waited = 0, 0.0
        while True:
            try:
                return self._once(call)
            except RoutebookError as fault:
                pause = self._settings.pause(call, tries, waited, fault)
                if pause is None:
                    raise
            time.sleep(pause)
            tries, waited = tries + 1, waited + pause

    def _once(self, call: calls.Call[T]) -> T:
        try:
            response = self._http.send(self._settings.request(self._http, call))
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure) from None
        return self._settings.understand(call, response)

    def _stream(self, call: calls.Call[Any]) -> ChatStream:
        response: httpx2.Response | None = None
        try:
            response = self._http.send(self._settings.request(self._http, call), stream=True)
            if calls.is_event_stream(response):
                return ChatStream(self._settings, response)
            response.read()
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure, calls.generation_id(response)) from None
        raise self._settings.not_a_stream(call, response)

"""Owns the asynchronous client: the IO of `calls` with awaited sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import anyio
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


class AsyncChatStream:
    """As `ChatStream`, with `async with` and `async for`."""

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

    def __aiter__(self) -> AsyncIterator[ChatChunk]:
        return self

    async def __anext__(self) -> ChatChunk:
        if self._closed:
            raise StopAsyncIteration
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up; harmless when the stream has ended."""
        self._closed = True
        await self._response.aclose()

    async def _read(self) -> AsyncIterator[ChatChunk]:
        try:
            async for data in self._response.aiter_bytes():
                for chunk in self._reader.feed(data):
                    yield chunk
                if self._reader.done:
                    return
            for chunk in self._reader.end():
                yield chunk
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure, self._reader.generation_id) from None
        finally:
            await self.aclose()


class AsyncChat:
    """As `Chat`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    @overload
    async def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: Literal[False] = False,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion: ...

    @overload
    async def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: Literal[True],
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> AsyncChatStream: ...

    @overload
    async def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: bool,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion | AsyncChatStream: ...

    async def send(
        self,
        *,
        messages: Sequence[Mapping[str, Any] | ChatMessage],
        model: str | None = None,
        stream: bool = False,
        extra_headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> ChatCompletion | AsyncChatStream:
        """As `Chat.send`; with `stream=True` await it first, then `async with` and `async for` over the result."""
        call = calls.send_chat(messages, model, stream, parameters, extra_headers)
        if stream:
            return await self._client._stream(call)
        return await self._client._run(call)


class AsyncGenerations:
    """As `Generations`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    async def get(self, id: str, *, wait: float = 0.0) -> GetGenerationResponseBody:
        """As `Generations.get`."""
        return await self._client._run(calls.get_generation(id, wait))

    async def cancel(self, id: str) -> CancelGenerationResponseBody:
        """Stop a running generation, on whichever worker it runs; with its own key or a management key.

        Its stream ends at once, with usage; a call that is not streamed gets status 499. Raises `Conflict` if it has
        ended, `NotFound` if there is no such generation. Routebook's own; other servers answer 404.
        """
        return await self._client._run(calls.cancel_generation(id))


class AsyncModels:
    """As `Models`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    async def list(self, **query: Unpack[calls.ModelQuery]) -> ListModelsResponseBody:
        """As `Models.list`."""
        return await self._client._run(calls.list_models(query))

    async def endpoints(self, author: str, slug: str) -> ListEndpointsResponseBody:
        """As `Models.endpoints`."""
        return await self._client._run(calls.list_endpoints(author, slug))


class AsyncCredits:
    """As `Credits`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    async def get(self) -> GetCreditsResponseBody:
        """As `Credits.get`."""
        return await self._client._run(calls.get_credits())


class AsyncLedger:
    """As `Ledger`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    async def completeness(
        self, since: str | datetime | None = None, until: str | datetime | None = None
    ) -> GetCompletenessResponseBody:
        """As `Ledger.completeness`."""
        return await self._client._run(calls.get_completeness(since, until))


class AsyncKeys:
    """As `Keys`."""

    def __init__(self, client: AsyncRoutebook) -> None:
        self._client = client

    async def list(
        self,
        *,
        include_disabled: bool | None = None,
        offset: int | None = None,
        workspace_id: str | None = None,
    ) -> ListKeysResponseBody:
        """As `Keys.list`."""
        return await self._client._run(calls.list_keys(include_disabled, offset, workspace_id))

    async def create(self, **fields: Unpack[KeyFields]) -> CreateKeyResponseBody:
        """As `Keys.create`."""
        return await self._client._run(calls.create_key(fields))

    async def get(self, hash: str) -> KeyResponseBody:
        """As `Keys.get`."""
        return await self._client._run(calls.get_key(hash))

    async def update(self, hash: str, **changes: Unpack[KeyChanges]) -> KeyResponseBody:
        """As `Keys.update`."""
        return await self._client._run(calls.update_key(hash, changes))

    async def delete(self, hash: str) -> DeleteKeyResponseBody:
        """As `Keys.delete`."""
        return await self._client._run(calls.delete_key(hash))

    async def current(self) -> GetCurrentKeyResponseBody:
        """As `Keys.current`."""
        return await self._client._run(calls.get_current_key())


class AsyncRoutebook:
    """As `Routebook`, with the same arguments and names; its methods are awaited. Use it in `async with`."""

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float | httpx2.Timeout | None = 600.0,
        headers: Mapping[str, str] | None = None,
        get_retries: int = 2,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = calls.Settings(api_key, base_url, timeout, headers, get_retries)
        self._http = httpx2.AsyncClient(
            headers=self._settings.headers,
            timeout=self._settings.timeout,
            transport=transport,
            mounts=self._settings.mounts,
        )
        self.chat = AsyncChat(self)
        self.generations = AsyncGenerations(self)
        self.models = AsyncModels(self)
        self.credits = AsyncCredits(self)
        self.keys = AsyncKeys(self)
        self.ledger = AsyncLedger(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _run(self, call: calls.Call[T]) -> T:
        tries, waited = 0, 0.0
        while True:
            try:
                return await self._once(call)
            except RoutebookError as fault:
                pause = self._settings.pause(call, tries, waited, fault)
                if pause is None:
                    raise
            await anyio.sleep(pause)
            tries, waited = tries + 1, waited + pause

    async def _once(self, call: calls.Call[T]) -> T:
        try:
            response = await self._http.send(self._settings.request(self._http, call))
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure) from None
        return self._settings.understand(call, response)

    async def _stream(self, call: calls.Call[Any]) -> AsyncChatStream:
        response: httpx2.Response | None = None
        try:
            response = await self._http.send(self._settings.request(self._http, call), stream=True)
            if calls.is_event_stream(response):
                return AsyncChatStream(self._settings, response)
            await response.aread()
        except httpx2.HTTPError as failure:
            raise self._settings.lost(failure, calls.generation_id(response)) from None
        raise self._settings.not_a_stream(call, response)

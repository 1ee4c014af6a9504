"""Owns every call as a value: method, path, body, and how its answer is read. What both clients share but IO.

`Settings` says where to and with which key, the functions below it build calls, `Settings.understand` reads answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from . import accounts, book, catalogue, chats, errors, records
from .codec import Shape, decode, encode
from .stream import ChatReader

T = TypeVar("T")
S = TypeVar("S", bound=Shape)

DEFAULT_BASE_URL = "http://127.0.0.1:8080/api/v1"
LONGEST_PAUSE = 2.0
"""Seconds; a server that asks for a longer wait is not asked again, its error goes to the caller."""

_CONNECT_TIMEOUT = 5.0
_FIRST_PAUSE = 0.1
_TRANSIENT = frozenset({500, 502, 503, 504, 524, 529})
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer off the wire: status, headers (any case), the whole body; and the key, to be cut out of errors."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call to make. `wait`: seconds to go on asking while the server says 404."""

    method: str
    path: str
    read: Callable[[Answered], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait: float = 0.0


class ModelQuery(TypedDict, total=False):
    """What `models.list` may be narrowed by: comma-separated names, a category, a page."""

    category: str
    supported_parameters: str
    output_modalities: str
    offset: int
    limit: int


# Settings ------------------------------------------------------------------------------------------------------------


class Settings:
    """Where a client sends its calls, with which key and with how much patience. `repr` never shows the key."""

    def __init__(
        self,
        api_key: str | None,
        base_url: str | None,
        timeout: float | httpx2.Timeout | None,
        headers: Mapping[str, str] | None,
        get_retries: int,
    ) -> None:
        """Raises `BadArgument` for a key or URL that cannot be used."""
        self.secret = _checked_key(api_key if api_key is not None else os.environ.get("ROUTEBOOK_API_KEY"))
        self.base_url = _checked_url(base_url or os.environ.get("ROUTEBOOK_BASE_URL") or DEFAULT_BASE_URL)
        self.get_retries = get_retries
        self.headers = {
            "User-Agent": "routebook-python",
            "Accept": "application/json",
            **(headers or {}),
        }
        if self.secret:
            self.headers["Authorization"] = f"Bearer {self.secret}"
        if isinstance(timeout, (int, float)):
            timeout = httpx2.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout))
        self.timeout = timeout
        # A proxy named in the environment is for the world outside: it cannot reach a server on this machine.
        host = httpx2.URL(self.base_url).host
        bracketed = f"[{host}]" if ":" in host else host
        self.mounts = {f"all://{bracketed}": None} if host in _LOOPBACK else {}

    def __repr__(self) -> str:
        return f"base_url={self.base_url!r}, api_key={'(hidden)' if self.secret else None}"

    def request(self, http: httpx2.Client | httpx2.AsyncClient, call: Call[Any]) -> httpx2.Request:
        """The call as a request of `http`."""
        headers = dict(call.headers)
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return http.build_request(
            call.method,
            self.base_url + call.path,
            params=call.query or None,
            content=call.body,
            headers=headers,
        )

    def understand(self, call: Call[T], response: httpx2.Response) -> T:
        """The typed answer of a response that was read to its end; raises the typed error that it means."""
        answered = Answered(response.status_code, response.headers, response.content, self.secret)
        if not 200 <= answered.status < 300:
            raise errors.from_answer(answered.status, answered.headers, answered.body, self.secret)
        try:
            return call.read(answered)
        except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
            what = answered.headers.get("content-type", "").split(";")[0] or "no content type"
            raise errors.UnreadableAnswer(
                f"The answer of {call.method} {call.path} ({what}) cannot be read: {unreadable}",
                status=answered.status,
                generation_id=answered.headers.get("x-generation-id"),
            ) from None

    def not_a_stream(self, call: Call[Any], response: httpx2.Response) -> errors.RoutebookError:
        """The typed error for an answer, read to its end, that should have been an event stream and is not."""
        try:
            self.understand(call, response)
        except errors.RoutebookError as fault:
            return fault
        return errors.UnreadableAnswer(
            "The server sent a whole answer where a stream was asked for",
            status=response.status_code,
            generation_id=generation_id(response),
        )

    def lost(self, failure: httpx2.HTTPError, generation_id: str | None = None) -> errors.ConnectionFailed:
        """The typed error for a failure of the network. Raise it `from None`: the failure itself may quote the key."""
        kind = errors.TimedOut if isinstance(failure, httpx2.TimeoutException) else errors.ConnectionFailed
        said = errors.redact(str(failure), self.secret) or type(failure).__name__
        fault = kind(f"No answer from {self.base_url}: {said}", generation_id=generation_id)
        fault.maybe_sent = not isinstance(failure, _NEVER_SENT)
        return fault

    def pause(self, call: Call[Any], tries: int, waited: float, fault: errors.RoutebookError) -> float | None:
        """Seconds to wait before making `call` again after `tries` failures; None to give up.

        Only GETs are made again: a POST may cost money each time.
        """
        if call.method != "GET":
            return None
        if isinstance(fault, errors.ConnectionFailed):
            # After a silence of `timeout` seconds another try would only double the silence.
            transient = not (isinstance(fault, errors.TimedOut) and fault.maybe_sent)
        else:
            transient = fault.status in _TRANSIENT
        left = call.wait - waited
        if left > 0 and (transient or isinstance(fault, errors.NotFound)):
            return min(_FIRST_PAUSE * 2.0 ** min(tries, 3), left)
        if not transient or tries >= self.get_retries:
            return None
        pause: float = max(_FIRST_PAUSE * 2.0**tries, fault.retry_after or 0.0)
        return pause if pause <= LONGEST_PAUSE else None


def generation_id(response: httpx2.Response | None) -> str | None:
    """The header `X-Generation-Id`, if there was an answer and it has one."""
    return response.headers.get("x-generation-id") or None if response else None


def is_event_stream(response: httpx2.Response) -> bool:
    """Whether a response, of which only the headers were read, is a stream of events and no error."""
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    return 200 <= response.status_code < 300 and kind == "text/event-stream"


def chat_reader(settings: Settings, response: httpx2.Response) -> ChatReader:
    """A reader for the body of a streamed chat completion."""
    return ChatReader(generation_id(response), settings.secret)


def _checked_key(key: str | None) -> str | None:
    key = key.strip() if key else None
    # Caught here, because the HTTP library would print the header, and the key with it.
    if key and not all("!" <= letter <= "~" for letter in key):
        raise errors.BadArgument("The api key holds a character that no key has. Copy the key again.")
    return key or None


def _checked_url(text: str) -> str:
    try:
        url = httpx2.URL(text.strip())
    except (httpx2.InvalidURL, UnicodeError):
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise errors.BadArgument(f"The base URL must look like {DEFAULT_BASE_URL}.")
    if url.userinfo or url.query or url.fragment:
        raise errors.BadArgument(
            "The base URL must not hold a user, a query or a fragment. Give the key as api_key=..."
        )
    return str(url).rstrip("/")


# The calls -----------------------------------------------------------------------------------------------------------


def get_generation(id: str, wait: float) -> Call[records.GetGenerationResponseBody]:
    """`GET /generation`."""
    if not id:
        raise errors.BadArgument("The generation id is empty. Take it from the answer's generation_id.")
    return Call(
        "GET",
        "/generation",
        _reader(records.GetGenerationResponseBody),
        query={"id": id},
        wait=wait,
    )


def cancel_generation(id: str) -> Call[records.CancelGenerationResponseBody]:
    """`POST /generation/{id}/cancel`."""
    return Call(
        "POST",
        f"/generation/{_segment('id', id)}/cancel",
        _reader(records.CancelGenerationResponseBody),
    )


def send_chat(
    messages: Any,
    model: str | None,
    stream: bool,
    parameters: Mapping[str, Any],
    headers: Mapping[str, str] | None,
) -> Call[chats.ChatCompletion]:
    """`POST /chat/completions`. A parameter is sent as it is, None as null."""
    body = {"messages": messages, "stream": stream, **parameters}
    if model is not None:
        body["model"] = model
    extra = dict(headers or {})
    if stream:
        # Compression in between would hold events back.
        extra = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **extra}
    return Call("POST", "/chat/completions", _read_completion, body=encode(body), headers=extra)


def list_models(query: ModelQuery) -> Call[catalogue.ListModelsResponseBody]:
    """`GET /models`."""
    return Call(
        "GET",
        "/models",
        _reader(catalogue.ListModelsResponseBody),
        query=_query(**query),
    )


def list_endpoints(author: str, slug: str) -> Call[catalogue.ListEndpointsResponseBody]:
    """`GET /models/{author}/{slug}/endpoints`."""
    path = f"/models/{_segment('author', author)}/{_segment('slug', slug)}/endpoints"
    return Call("GET", path, _reader(catalogue.ListEndpointsResponseBody))


def get_credits() -> Call[accounts.GetCreditsResponseBody]:
    """`GET /credits`."""
    return Call("GET", "/credits", _reader(accounts.GetCreditsResponseBody))


def get_completeness(
    since: str | datetime | None, until: str | datetime | None
) -> Call[book.GetCompletenessResponseBody]:
    """`GET /ledger/completeness`."""
    query = {name: _moment(value) for name, value in (("from", since), ("to", until)) if value is not None}
    return Call("GET", "/ledger/completeness", _reader(book.GetCompletenessResponseBody), query=query)


def list_keys(
    include_disabled: bool | None, offset: int | None, workspace_id: str | None
) -> Call[accounts.ListKeysResponseBody]:
    """`GET /keys`."""
    query = _query(include_disabled=include_disabled, offset=offset, workspace_id=workspace_id)
    return Call("GET", "/keys", _reader(accounts.ListKeysResponseBody), query=query)


def create_key(fields: accounts.KeyFields) -> Call[accounts.CreateKeyResponseBody]:
    """`POST /keys`."""
    return Call(
        "POST",
        "/keys",
        _reader(accounts.CreateKeyResponseBody),
        body=_key_body(**fields),
    )


def get_key(hash: str) -> Call[accounts.KeyResponseBody]:
    """`GET /keys/{hash}`."""
    return Call("GET", f"/keys/{_segment('hash', hash)}", _reader(accounts.KeyResponseBody))


def update_key(hash: str, changes: accounts.KeyChanges) -> Call[accounts.KeyResponseBody]:
    """`PATCH /keys/{hash}`."""
    path = f"/keys/{_segment('hash', hash)}"
    return Call("PATCH", path, _reader(accounts.KeyResponseBody), body=_key_body(**changes))


def delete_key(hash: str) -> Call[accounts.DeleteKeyResponseBody]:
    """`DELETE /keys/{hash}`."""
    return Call(
        "DELETE",
        f"/keys/{_segment('hash', hash)}",
        _reader(accounts.DeleteKeyResponseBody),
    )


def get_current_key() -> Call[accounts.GetCurrentKeyResponseBody]:
    """`GET /key`."""
    return Call("GET", "/key", _reader(accounts.GetCurrentKeyResponseBody))


def _reader(kind: type[S]) -> Callable[[Answered], S]:
    return lambda answered: decode(kind, answered.body)


def _read_completion(answered: Answered) -> chats.ChatCompletion:
    completion = decode(chats.ChatCompletion, answered.body)
    header = answered.headers.get("x-generation-id")
    completion.__dict__["header_id"] = header
    if not completion.choices:
        body = errors.redact(decode(dict[str, Any], answered.body), answered.secret)
        if body.get("error"):
            fault = errors.from_error(body["error"], body=body)
            fault.generation_id = header or fault.generation_id
            raise fault
    return completion


def _segment(name: str, value: str) -> str:
    # "." and ".." would be resolved away before the request leaves, and another path would be asked.
    if value in ("", ".", ".."):
        raise errors.BadArgument(f"The {name} is {value!r}. Give the whole {name}.")
    return quote(value, safe=":@~")


def _query(**values: Any) -> dict[str, str]:
    return {name: _query_text(value) for name, value in values.items() if value is not None}


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_body(**fields: Any) -> bytes:
    limit = fields.get("limit")
    if limit is not None:
        fields["limit"] = _money(limit)
    expires = fields.get("expires_at")
    if isinstance(expires, datetime):
        fields["expires_at"] = _moment(expires, "expires_at")
    return encode(fields)


def _moment(value: str | datetime, name: str = "The time") -> str:
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise errors.BadArgument(f"{name} has no time zone. Give an aware datetime.")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(value: Any) -> Decimal:
    try:
        # Through the shortest text of a float, so that 0.1 is sent as 0.1.
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise errors.BadArgument(f"The limit {value!r} is not an amount of USD. Give a number such as 12.50.")
    return amount

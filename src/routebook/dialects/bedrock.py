"""Amazon Bedrock as an upstream: Converse for every model, and Anthropic's native body for Claude.

Two dialects share this family of files: `bedrock` speaks Converse (`bedrock_request.py`, `bedrock_messages.py`,
`bedrock_answer.py`), `bedrock_anthropic` sends what Anthropic's own API would get to `invoke`. Either reads what the
other would be answered. What Claude is told, and how its answers are read, the registry hands in as `claude`: dialects
do not import each other. This file makes URLs and credentials, and cuts answers into what the folds understand.

A credential `ACCESS:SECRET[:SESSION]` signs (Signature Version 4); any other goes as bearer, as Bedrock's API keys do.
Sources, read 2026-11: Amazon Bedrock API reference "Converse", "ConverseStream", "InvokeModel",
"InvokeModelWithResponseStream", "Common errors"; user guide "Anthropic Claude Messages API", "Amazon Bedrock API keys".
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamCredential, UpstreamFault, UpstreamLost
from routebook.core.events import Event, Failed, Finish
from routebook.core.ids import Mint
from routebook.dialects import bedrock_answer, bedrock_request, faults
from routebook.dialects.base import Reader, Upstream
from routebook.dialects.lenient import decode, decode_leading
from routebook.dialects.parts import BAD, broken_off, text_of
from routebook.wire import codec, sigv4
from routebook.wire.aws_events import AwsDecoder, AwsEvent
from routebook.wire.http import HttpHead, HttpRequest

STREAM = "application/vnd.amazon.eventstream"
UNARY_BYTES_MAX = 64 * 2**20
"""A unary body larger than this is not an answer; pictures in base64 may be large."""
VERSION = "bedrock-2023-05-31"
REGION = "us-east-1"
"""Signed for where neither the host nor the endpoint names a region."""

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
_OPERATORS = re.compile(
    r"model identifier is invalid|on-demand throughput|inference profile|access to the model|model is not supported in",
    re.IGNORECASE,
)
"""What a 400 says where the model's name or the account's rights are wrong: nothing that a caller can correct."""

_STATUSES = {
    "accessdeniedexception": 403,
    "unrecognizedclientexception": 403,
    "expiredtokenexception": 403,
    "invalidsignatureexception": 403,
    "incompletesignatureexception": 403,
    "missingauthenticationtokenexception": 403,
    "resourcenotfoundexception": 404,
    "validationexception": 400,
    "throttlingexception": 429,
    "toomanyrequestsexception": 429,
    "servicequotaexceededexception": 429,
    "modelnotreadyexception": 503,
    "serviceunavailableexception": 503,
    "internalserverexception": 500,
    "internalfailure": 500,
    "modelerrorexception": 502,
    "modelstreamerrorexception": 502,
    "modeltimeoutexception": 504,
}
"""What an exception means, whatever the status it came with: in a stream it has none."""


class Bedrock:
    """`dialects.base.Upstream`. `native`: Claude's own body on invoke instead of Converse."""

    def __init__(self, name: str, claude: Upstream, *, native: bool) -> None:
        self.name = name
        self._claude = claude
        self._native = native

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {host}/model/{id}/converse, …/converse-stream, …/invoke or …/invoke-with-response-stream. Raises
        BadRequest, CannotExpress."""
        headers = [("content-type", "application/json"), ("accept", STREAM if call.stream else "application/json")]
        if self._native:
            action = "invoke-with-response-stream" if call.stream else "invoke"
            body, more = _invoked(self._claude.build(call, endpoint, None, losses), losses)
            headers += more
        else:
            action = "converse-stream" if call.stream else "converse"
            body = codec.encode(bedrock_request.body(call, endpoint, self._told, losses))
        base = endpoint.provider.base_url.rstrip("/")
        url = f"{base}/model/{quote(endpoint.upstream_model, safe='')}/{action}"
        signer = None
        pair = sigv4.credential(secret) if secret is not None else None
        if pair is not None:
            signer = sigv4.Signer(pair, _region(endpoint), "bedrock")
        elif secret is not None:
            headers.append(("authorization", f"Bearer {secret}"))
        return HttpRequest("POST", url, tuple(headers), body, (), signer)

    def relays(self, surface: str, endpoint: Endpoint) -> bool:
        """Claude's own body is Anthropic's."""
        return self._native and surface == "anthropic"

    def _told(self, call: Call, endpoint: Endpoint, losses: Losses) -> dict[str, Any]:
        """The body that Anthropic's own API would get for this call."""
        translated = replace(call, surface="")  # Converse is not Anthropic's API, so its callers' own bytes do not fit
        body: dict[str, Any] = codec.decode_exact(self._claude.build(translated, endpoint, None, losses).body)
        return body

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        return BedrockReader(head, mint, self._claude)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """As `faults.from_answer`, by the exception's name, which stands in a header."""
        return _fault(head, head.headers.get("x-amzn-errortype", "").partition(":")[0], body)


def _region(endpoint: Endpoint) -> str:
    told = endpoint.region if endpoint.region and _REGION.fullmatch(endpoint.region) else None
    return sigv4.region_of(urlsplit(endpoint.provider.base_url).hostname or "") or told or REGION


def _invoked(request: HttpRequest, losses: Losses) -> tuple[bytes, list[tuple[str, str]]]:
    """(body, headers) of Anthropic's request as invoke takes it: the model and the stream are in the URL, version and
    betas in the body, the tier in a header."""
    members: dict[str, Any] = codec.decode_as(request.body, dict[str, codec.Raw])
    for name in ("model", "stream"):
        members.pop(name, None)
    if members.pop("cache_control", None) is not None:
        losses.unsupported("cache_control", "Bedrock has no automatic caching; mark a part of the content")
    tier = members.pop("service_tier", None)
    headers = []
    if tier is not None and bytes(tier) == b'"auto"':
        headers.append(("x-amzn-bedrock-service-tier", "priority"))
    betas = [part for name, value in request.headers if name == "anthropic-beta" for part in value.split(",")]
    first: dict[str, Any] = {"anthropic_version": VERSION}
    if betas:
        first["anthropic_beta"] = [beta.strip() for beta in betas]
    return codec.encode({**first, **members}), headers


# --- faults -----------------------------------------------------------------------------------------------------------


def _fault(head: HttpHead, name: str, body: bytes) -> UpstreamFault:
    try:
        value = codec.decode(body)
    except BAD:
        value = None
    if not isinstance(value, dict):
        value = {"message": body.decode("utf-8", "replace")} if body else {}
    if not name:
        name = (text_of(value.get("__type")) or "").rpartition("#")[2]
    status = _STATUSES.get(name.lower(), head.status)
    told = codec.encode({**value, "__type": name}) if name else body
    found = faults.from_answer(HttpHead(status if status != 200 else 500, head.headers), told)
    if status == 400 and _OPERATORS.search(found.message):
        found = UpstreamCredential(
            "The provider refused the gateway's model name or account; the operator has to correct it.",
            provider_code=found.provider_code,
            raw=found.raw,
        )
    found.provider_status = head.status
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


class BedrockReader:
    """Reads one answer of status 200 (`dialects.base.Reader`): a binary stream or JSON, of Converse or of Claude."""

    __slots__ = (
        "_body",
        "_claude",
        "_decoder",
        "_done",
        "_fold",
        "_head",
        "_inner",
        "_mint",
        "_shape",
        "_size",
        "_told",
    )

    def __init__(self, head: HttpHead, mint: Mint, claude: Upstream) -> None:
        self._head = head
        self._mint = mint
        self._claude = claude
        self._shape = "stream" if head.content_type == STREAM else ""
        self._decoder = AwsDecoder()
        self._fold: bedrock_answer.Fold | None = None
        self._inner: Reader | None = None
        """reads a stream of Claude's own events"""
        self._told = False
        """Claude's own stream has said its finish"""
        self._body: list[bytes] = []
        self._size = 0
        self._done = False
        """nothing is read any more"""

    def feed(self, data: bytes) -> list[Event]:
        if self._done or not data:
            return []
        if not self._shape:
            self._body.append(data)
            self._shape = _shape(b"".join(self._body[:8]))
            if not self._shape:
                return []
            data, self._body = b"".join(self._body), []
        if self._shape == "stream":
            return self._stream(data)
        self._size += len(data)
        self._body.append(data)
        if self._size > UNARY_BYTES_MAX:
            return self._failed(faults.garbage("its body is larger than an answer can be"))
        return []

    def end(self) -> list[Event]:
        if self._done:
            return []
        self._done = True
        if self._shape == "stream":
            if self._inner is not None:
                return self._inner.end()
            return [] if self._finished else self._lost()
        body = b"".join(self._body).strip()
        if not body:
            return self._lost()
        return self._whole(body)

    @property
    def _finished(self) -> bool:
        return self._told or (self._fold is not None and self._fold.finished)

    # --- streams ------------------------------------------------------------------------------------------------------

    def _stream(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        for event in self._decoder.feed(data):
            out += self._message(event)
            if self._done:
                return out
        if self._decoder.broken is not None:
            if self._finished:  # what follows a good answer does not spoil it
                self._done = True
                return out
            return out + self._failed(faults.garbage(self._decoder.broken, data))
        return out

    def _message(self, event: AwsEvent) -> list[Event]:
        if event.kind != "event":
            if self._finished:
                self._done = True
                return []
            body = event.payload or codec.encode({"message": event.message})
            return self._failed(_fault(self._head, event.name, body))
        try:
            value = decode(event.payload)
        except codec.DecodeError:
            return self._failed(faults.garbage("an event of its stream is not JSON", event.payload))
        if not isinstance(value, dict):
            return self._failed(faults.garbage("an event of its stream is no object", event.payload))
        return self._chunk(value) if event.name == "chunk" else self._converse(event.name, value)

    def _chunk(self, value: dict[str, Any]) -> list[Event]:
        """An event of Claude's own stream, in base64: read as the server-sent event that it is elsewhere."""
        try:
            data = b64decode(value.get("bytes") or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            return self._failed(faults.garbage("an event of its stream is not base64"))
        if self._inner is None:
            head = HttpHead(self._head.status, {**self._head.headers, "content-type": "text/event-stream"})
            self._inner = self._claude.reader(head, self._mint)
        events = self._inner.feed(b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n")
        self._told = self._told or any(isinstance(event, Finish) for event in events)
        self._done = any(isinstance(event, Failed) for event in events)
        return events

    def _converse(self, name: str, value: dict[str, Any]) -> list[Event]:
        out: list[Event] = []
        fold = self._fold
        if fold is None:
            fold = self._fold = bedrock_answer.Fold(self._head.headers.get("x-amzn-requestid"))
            out += fold.start()
        if name == "metadata":
            return out + fold.metadata(value)
        if fold.finished:
            return out
        index = value.get("contentBlockIndex")
        index = index if isinstance(index, int) else 0
        if name == "contentBlockDelta":
            inner = value.get("delta")
            return out + fold.block_delta(index, inner) if isinstance(inner, dict) else out
        if name == "contentBlockStart":
            inner = value.get("start")
            return out + fold.block_start(index, inner if isinstance(inner, dict) else {})
        if name == "contentBlockStop":
            return out + fold.block_stop(index)
        if name == "messageStop":
            return out + fold.finish(text_of(value.get("stopReason")), bedrock_answer.sequence_of(value))
        return out  # messageStart, and what may be added

    # --- whole answers ------------------------------------------------------------------------------------------------

    def _whole(self, body: bytes) -> list[Event]:
        try:
            value = decode_leading(body)
        except codec.DecodeError:
            return self._lost() if broken_off(body) else self._failed(faults.garbage("its body is not JSON", body))
        if isinstance(value, dict):
            if isinstance(value.get("output"), dict) and "stopReason" in value:
                return bedrock_answer.read_whole(value, self._head.headers.get("x-amzn-requestid"))
            if "content" in value or value.get("type") in ("message", "error"):
                inner = self._claude.reader(self._head, self._mint)
                return [*inner.feed(body), *inner.end()]
            if isinstance(value.get("message"), str) or "__type" in value:
                return self._failed(_fault(self._head, "", codec.encode(value)))
        return self._failed(faults.garbage("it is an answer of neither Converse nor Claude", body))

    def _lost(self) -> list[Event]:
        return self._failed(
            UpstreamLost(
                "The provider's answer broke off before its end; try again.", provider_status=self._head.status
            )
        )

    def _failed(self, fault: UpstreamFault) -> list[Event]:
        self._done = True
        self._body = []
        return [Failed(fault)]


def _shape(held: bytes) -> str:
    """`stream`, `whole`, or empty while too few bytes are known. A binary message begins with a length, so with 0 or 1;
    JSON never does."""
    start = held.lstrip(b" \t\r\n")
    if not start:
        return ""
    return "stream" if start[0] < 2 else "whole"

"""Access tokens of Google accounts, made before they are needed: no call waits for one.

A service account signs a JWT (RS256) for its token endpoint, a user's refresh token goes to the same, and the metadata
server is just asked. A token lasts an hour; five minutes before its end the next one is there. What Google refuses is
logged with what to do about it; the log and the faults hold neither keys nor tokens.
Sources, read 2026-11: developers.google.com "Using OAuth 2.0 for Server to Server Applications" (the addendum on HTTP)
and "Refreshing an access token"; cloud.google.com "Access and query VM metadata"; RFC 7523.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from routebook.core.errors import UpstreamCredential, UpstreamFault, UpstreamGarbage, UpstreamTimeout
from routebook.load.google import Account
from routebook.observe.clock import NS, Clock
from routebook.observe.log import log
from routebook.upstream.credentials import Credentials, Secret
from routebook.upstream.port import Transport
from routebook.upstream.whole import ask
from routebook.wire import codec
from routebook.wire.http import HttpHead, HttpRequest

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EARLY_SECONDS = 300
"""before its end a token is replaced"""
RETRY_SECONDS_MAX = 60
ANEW_SECONDS = 30
"""A token that a provider refuses is replaced at once if it is older."""
START_SECONDS = 5
"""What the first tokens of all providers get at start; they are waited for no longer, and tried for on."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
_LIFE_SECONDS = 3600


class Token(msgspec.Struct, frozen=True):
    """An access token, and for how many seconds from now it is good."""

    secret: Secret
    seconds: int


class Tokens:
    """Keeps one provider's token fresh in `credentials`, while it runs."""

    def __init__(
        self, slug: str, account: Account, transport: Transport, clock: Clock, credentials: Credentials
    ) -> None:
        self.slug = slug
        self._account = account
        self._transport = transport
        self._clock = clock
        self._credentials = credentials
        self._good_until_ns = 0
        self._made_ns = 0
        self._failures = 0
        self._refused = asyncio.Event()
        self.tried = asyncio.Event()
        """there was a first answer, a good one or not"""
        credentials.watch(slug, self.refused)
        credentials.lack(slug, UpstreamCredential(f"{slug} has no access token yet; try again in a moment."))

    def refused(self) -> None:
        """The provider did not take the token."""
        now_ns = self._clock.now_ns()
        if now_ns < self._good_until_ns and now_ns - self._made_ns > ANEW_SECONDS * NS:
            self._refused.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                wait_ns = await self.once()
            except Exception:
                log.exception("an access token for %s could not be asked for", self.slug)
                wait_ns = RETRY_SECONDS_MAX * NS
            self.tried.set()
            await self._rest(wait_ns)

    async def once(self) -> int:
        """Get a token; nanoseconds until the next one should be had. Raises nothing that a network can do."""
        self._refused.clear()
        try:
            token = await ask_google(self._account, self._transport, self._clock.now_ns() // NS)
        except UpstreamFault as fault:
            return self._failed(fault)
        now_ns = self._clock.now_ns()
        self._credentials.put(self.slug, token.secret)
        self._failures, self._made_ns = 0, now_ns
        self._good_until_ns = now_ns + token.seconds * NS
        return max(token.seconds - EARLY_SECONDS, token.seconds // 2, 1) * NS

    def _failed(self, fault: UpstreamFault) -> int:
        now_ns = self._clock.now_ns()
        wait_ns = min(1 << self._failures, RETRY_SECONDS_MAX) * NS
        self._failures = min(self._failures + 1, 6)
        left_ns = self._good_until_ns - now_ns
        if left_ns <= 0:
            self._credentials.lack(
                self.slug, UpstreamCredential(f"{self.slug} has no access token; the gateway's log says why.")
            )
        log.warning(
            "no new access token for %s (%s): %s%s",
            self.slug,
            self._account.source,
            fault.message,
            f"; the present one is good for {left_ns // NS} s" if left_ns > 0 else "",
        )
        return min(wait_ns, left_ns) if left_ns > 0 else wait_ns

    async def _rest(self, wait_ns: int) -> None:
        """Until then, or until the provider refuses the token."""
        sleep = asyncio.ensure_future(self._clock.sleep(wait_ns))
        woken = asyncio.ensure_future(self._refused.wait())
        try:
            await asyncio.wait((sleep, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()


async def keep_fresh(
    accounts: Mapping[str, Account], transport: Transport, clock: Clock, credentials: Credentials
) -> list[asyncio.Task[None]]:
    """One task for each provider slug, at work until it is cancelled. Returns when the first token of each is there, or
    was waited for long enough."""
    kept = [Tokens(slug, account, transport, clock, credentials) for slug, account in accounts.items()]
    tasks = [asyncio.create_task(each.run(), name=f"tokens of {each.slug}") for each in kept]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            for each in kept:
                await each.tried.wait()
    return tasks


async def ask_google(account: Account, transport: Transport, unix: int) -> Token:
    """One token. `unix`: seconds, now. Raises UpstreamFault with a message for the operator."""
    request = await _request(account, unix)
    try:
        head, body = await ask(transport, request, connect=CONNECT_SECONDS, seconds=ANSWER_SECONDS)
    except (UpstreamTimeout, UpstreamGarbage) as fault:
        raise UpstreamCredential(f"{request.url}: {fault.message}") from None
    said = _object(body)
    if head.status != 200:
        raise UpstreamCredential(f"{request.url} answered {head.status}{_why(said)}. {_advice(account, head, said)}")
    token, seconds = said.get("access_token"), said.get("expires_in")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
        raise UpstreamCredential(f"{request.url} answered without an access token.")
    # Google says an integer; who says nothing means what is usual.
    good = seconds if isinstance(seconds, int) and seconds > 0 else _LIFE_SECONDS
    return Token(Secret(token), good)


async def _request(account: Account, unix: int) -> HttpRequest:
    if account.kind == "metadata":
        return HttpRequest("GET", account.url, (("metadata-flavor", "Google"), ("accept", "application/json")))
    if account.kind == "service_account":
        # The key is parsed for each, once an hour: it need not stand in memory in a second form.
        signed = await asyncio.to_thread(assertion, account, unix)
        form = {"grant_type": GRANT, "assertion": signed}
    else:
        form = {
            "grant_type": "refresh_token",
            "client_id": account.name,
            "client_secret": account.client_secret.reveal(),
            "refresh_token": account.secret.reveal(),
        }
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return HttpRequest("POST", account.url, headers, urlencode(form).encode())


def assertion(account: Account, unix: int) -> str:
    """The JWT of a service account, good for an hour from `unix` (seconds)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(account.secret.reveal().encode(), None)
    assert isinstance(key, RSAPrivateKey), "checked when the file was read"
    head = {"alg": "RS256", "typ": "JWT"} | ({} if account.key_id is None else {"kid": account.key_id})
    claims = {
        "iss": account.name,
        "scope": SCOPE,
        "aud": account.url,
        "iat": unix,
        "exp": unix + _LIFE_SECONDS,
    }
    text = f"{_base64(codec.encode(head))}.{_base64(codec.encode(claims))}"
    return f"{text}.{_base64(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        return codec.decode_as(body, dict[str, Any])
    except codec.DecodeError:
        return {}


def _why(said: dict[str, Any]) -> str:
    """`: invalid_grant (Invalid JWT Signature.)`, as far as it is said; nothing else of the answer is shown."""
    error, more = said.get("error"), said.get("error_description")
    if not isinstance(error, str):
        return ""
    return f": {error[:80]}" + (f" ({more[:200]})" if isinstance(more, str) else "")


def _advice(account: Account, head: HttpHead, said: dict[str, Any]) -> str:
    described = str(said.get("error_description") or "")
    if account.kind == "metadata":
        return "Give this machine a service account with the scope cloud-platform, or name a key file."
    if head.status == 429 or head.status >= 500:
        return "It is tried again."
    if "timeframe" in described or "iat" in described:
        return "Check this machine's clock."
    if account.kind == "authorized_user":
        return "Log in again: gcloud auth application-default login."
    return f"Check that the key of {account.name} still exists, or make a new one."

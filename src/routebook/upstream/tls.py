"""TLS to providers: whom to trust, and sessions that make the next handshake cheap.

The trust store is the operating system's. On Linux it is read once: `truststore` (2026-10) reads the CA file again for
every handshake, which stops the event loop for 20 ms each time (144 certificates), so it serves macOS and Windows,
where trust is not a file, and on Linux we read the places it reads.
"""

from __future__ import annotations

import functools
import os
import ssl
import sys
from typing import cast

import truststore

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)
_KEEP = 1024


@functools.cache
def system_context() -> ssl.SSLContext:
    """A client context for HTTP/1.1 that trusts what this machine trusts (or SSL_CERT_FILE, SSL_CERT_DIR)."""
    if sys.platform in ("darwin", "win32"):
        context = cast("ssl.SSLContext", truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_default_verify_paths()
        # A Python that was built elsewhere looks where this machine keeps nothing.
        if ssl.get_default_verify_paths().cafile is None and not os.environ.get("SSL_CERT_DIR"):
            bundle = next((path for path in _BUNDLES if os.path.isfile(path)), None)
            if bundle is not None:
                context.load_verify_locations(cafile=bundle)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Sessions:
    """TLS sessions by origin. They belong to one context and are dropped with it; none is ever written anywhere."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        # A resumed session brings no certificate chain to the platform verifiers of macOS and Windows.
        self._resume = type(context) is ssl.SSLContext
        self._known: dict[tuple[str, int], ssl.SSLSession] = {}

    def for_connection(self, host: str, port: int) -> ssl.SSLContext:
        """What to give to `create_connection(ssl=…)`: the context, with a session to resume if one is known."""
        session = self._known.get((host, port))
        return self.context if session is None else cast("ssl.SSLContext", _Resuming(self.context, session))

    def remember(self, host: str, port: int, connection: ssl.SSLObject | None) -> None:
        """Keep the session of a connection on which an answer has begun: TLS 1.3 delivers its ticket before that."""
        if connection is None or not self._resume:
            return
        session = connection.session
        if session is not None:
            if len(self._known) >= _KEEP:
                self._known.clear()
            self._known[host, port] = session


class _Resuming:
    """A context whose connections resume one session: the event loops offer no argument for it."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession) -> None:
        self._context = context
        self._session = session

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        return self._context.wrap_bio(
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname, session=self._session
        )

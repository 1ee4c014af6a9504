"""What the transport says when a request gets no answer, or not the whole of it.

Every message names the host (never a path, a query or a credential) and says what to do next.
"""

from __future__ import annotations

import os
import ssl

from routebook.core.errors import UpstreamLost


class Refused(ValueError):
    """A request that must not be sent as it is; the text says why."""


def not_sent(reason: str) -> UpstreamLost:
    """The fault for a request that never left this process."""
    return UpstreamLost(reason, sent=False)


def describe(error: BaseException) -> str:
    """The cause of a failed connection, in a few words and without anything secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "TLS error"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    if isinstance(error, UnicodeError):
        return "the host name is not valid"
    if isinstance(error, ConnectionError):
        return "the connection was reset"
    return type(error).__name__

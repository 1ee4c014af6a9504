"""Where a server listens: TCP or UNIX sockets made ready, TLS, and how many connections the system leaves us."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import stat
from pathlib import Path

BACKLOG = 2048
KEEPALIVE_IDLE_SECONDS = 60
UNANSWERED_MS = 60_000
"""Data that the client's machine has not acknowledged for so long means that it is gone."""
UNSENT_BYTES = 128 * 1024
"""What the system takes of an answer before it is on its way. Without it, it takes megabytes from a provider for a
client that may never read them."""
SHARE_PERCENT = 45
"""Of the file descriptors that the process may have; a call needs one for its provider as well, and files some."""


def tcp_listener(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A bound socket, not listening yet; `port` 0 takes a free one. Raises OSError, or OverflowError for no port.

    With `reuse_port` several processes may each bind one to the same address, and the system deals connections out.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted connections inherit these: a client whose machine went away without a word is noticed.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
            ("TCP_USER_TIMEOUT", UNANSWERED_MS),
            ("TCP_NOTSENT_LOWAT", UNSENT_BYTES),
        ):
            if hasattr(socket, option):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def unix_listener(path: Path, mode: int = 0o600) -> socket.socket:
    """A bound socket at the path, not listening yet, with that mode from its first moment.

    What a process that is gone left there is replaced. Raises OSError (EADDRINUSE) if somebody listens there, or if
    the path is anything but a socket.
    """
    _clear_away(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def _clear_away(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return  # binding will say that the address is in use
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


def tls_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 and above with a PEM certificate (with its chain) and key; without `key` it is in the same file.

    Raises OSError (ssl.SSLError is one) if a file cannot be read or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A password could only be asked for at a terminal, and a server has none.
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    return ""


def connections_max() -> int:
    """How many client connections to serve; the soft limit for files is raised to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, soft * SHARE_PERCENT // 100)

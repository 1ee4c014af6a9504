"""One request as it is read, and the time it may take."""

from __future__ import annotations

import msgspec

from routebook.core.errors import Fault
from routebook.observe.clock import NS
from routebook.wire.bulk import LargeBody

HEADER_NS = 10 * NS
"""A head must be complete this long after its first byte."""
BODY_GRACE_NS = 5 * NS
"""And a body must, this long after that, have come at BODY_BYTES_A_SECOND or more."""
BODY_BYTES_A_SECOND = 1024


class Request(msgspec.Struct):
    """One request; complete when it is in `Reader.arrived`. `fault` set: answer with that, and nothing after it."""

    begun_ns: int
    """of its first byte; as coarse as the server's tick"""
    accepted_ns: int = 0
    """of the end of its head, or of its turn if it had to wait for that"""
    method: bytes = b""
    """empty until the head is complete"""
    target: bytes = b""
    headers: dict[str, str] = {}
    """names in lower case; of a repeated one the first counts, so that an appended one overrides nothing"""
    body: list[bytes] = []
    """as it came; empty once there is a `large`"""
    lines: list[tuple[bytes, bytes]] = []
    """the header lines as they came"""
    large: LargeBody | None = None
    size: int = 0
    """bytes of body so far"""
    missing: int = 0
    """bytes of body that are still to come, where that is known and the parser has no part in it"""
    framing: int = 0
    """bytes read for it, but for the read that its head ended in; body bytes are among them"""
    old: bool = False
    """HTTP/1.0: no chunks, no second request"""
    close: bool = False
    """the connection ends after its answer"""
    expects: bool = False
    """it waits for `100 Continue`"""
    fault: Fault | None = None

    def content(self) -> bytes | LargeBody:
        """The whole body, handed out once."""
        if self.large is not None:
            large, self.large = self.large, None
            return large
        parts, self.body = self.body, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def enlarge(self, data: bytes) -> None:
        """The next piece of a body above LARGE."""
        if self.large is None:
            self.large = LargeBody(self.body)
            self.body = []
        self.large.add(data)

    def late(self, now_ns: int) -> bool:
        """It should have come by now; for requests that are still being read."""
        age_ns = now_ns - self.begun_ns
        if not self.method:
            return age_ns > HEADER_NS
        return age_ns > BODY_GRACE_NS and self.size < BODY_BYTES_A_SECOND * (age_ns - BODY_GRACE_NS) // NS

"""One small answer, whole: for what is asked of a provider beside the calls of callers, and is never billed."""

from __future__ import annotations

import asyncio

from routebook.core.errors import UpstreamFault, UpstreamGarbage, UpstreamTimeout
from routebook.upstream.port import Transport
from routebook.wire.http import HttpHead, HttpRequest

ANSWER_BYTES_MAX = 64 * 1024


async def ask(transport: Transport, request: HttpRequest, *, connect: float, seconds: float) -> tuple[HttpHead, bytes]:
    """Head and body, whatever the status. `connect` and `seconds` are limits, the latter for the whole answer.

    Raises UpstreamFault: UpstreamTimeout, UpstreamGarbage above ANSWER_BYTES_MAX, or what the transport lost it to.
    """
    answer = _Answer()
    line = transport.send(request, answer, connect_timeout=connect)
    try:
        async with asyncio.timeout(seconds):
            return await answer.whole
    except TimeoutError:
        raise UpstreamTimeout(f"There was no answer within {seconds:g} s; try again later.") from None
    finally:
        line.close()


class _Answer:
    """A transport's Sink."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[tuple[HttpHead, bytes]] = asyncio.get_running_loop().create_future()
        self._head = HttpHead(502, {})
        self._body = b""

    def sent(self) -> None:
        """Nothing is billed for this."""

    def head(self, head: HttpHead) -> None:
        self._head = head

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > ANSWER_BYTES_MAX:
            self.lost(
                UpstreamGarbage("The answer is larger than 64 KiB, which nothing is that was asked for; check the URL.")
            )

    def end(self) -> None:
        if not self.whole.done():
            self.whole.set_result((self._head, self._body))

    def lost(self, fault: UpstreamFault) -> None:
        if not self.whole.done():
            self.whole.set_exception(fault)

"""How many tokens a prompt has, without making the call: nothing is generated, held, booked or charged.

The endpoint that would be asked first decides: where its vendor counts prompts itself, it is asked; else the reference
tokenizer counts the text, where it is installed; else the text's bytes are divided by four. The answer says which.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from routebook.core.call import CannotExpress, Loss, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import Fault, UpstreamFault, UpstreamGarbage, UpstreamRefused, UpstreamTimeout
from routebook.corridor.admit import Admitted, admit
from routebook.corridor.plan import draw_plan
from routebook.corridor.ports import App, Arrival
from routebook.dialects.base import Counting, Upstream
from routebook.metering.estimate import prompt_tokens_of
from routebook.metering.reference import prompt_text
from routebook.observe.log import log
from routebook.wire.http import HttpHead

ANSWER_BYTES_MAX = 64 * 1024


class Count(msgspec.Struct, frozen=True):
    """Tokens of a prompt, and who says so."""

    tokens: int
    source: Literal["provider", "reference", "estimate"]
    losses: tuple[Loss, ...] = ()
    """what the vendor could not be told of the prompt"""


async def count(arrival: Arrival, app: App) -> Count:
    """Raises what `admit` and `draw_plan` raise, and what the vendor has against the prompt itself."""
    admitted = admit(arrival, app)
    call = admitted.call
    losses = Losses()
    found = await _of_vendor(admitted, draw_plan(admitted, app).endpoints[0], app, losses)
    if found is not None:
        return Count(found, "provider", tuple(losses.items))
    if app.counter is not None and (found := await app.counter.count(call)) is not None:
        return Count(found, "reference")
    return Count(prompt_tokens_of(len(prompt_text(call.chat).encode())), "estimate")


async def _of_vendor(admitted: Admitted, endpoint: Endpoint, app: App, losses: Losses) -> int | None:
    """What the vendor counts; None where it does not, or cannot now."""
    upstream = app.upstreams[endpoint.provider.dialect]
    if not isinstance(upstream, Counting):
        return None
    secret = app.credentials.get(endpoint.provider.slug)
    try:
        call = admitted.call
        request = upstream.count_request(call, endpoint, secret.reveal() if secret else None, losses)
        if call.bulk:
            request = request.with_bulk(call.bulk)
        answer = _Answer(upstream)
        line = app.transport.send(request, answer, connect_timeout=app.settings.timeouts.connect)
        try:
            async with asyncio.timeout(app.settings.timeouts.first_token):
                body = await answer.whole
        except TimeoutError:
            raise UpstreamTimeout from None
        finally:
            line.close()
    except UpstreamRefused:
        raise
    except (UpstreamFault, CannotExpress) as trouble:
        told = trouble.message if isinstance(trouble, Fault) else str(trouble)
        log.warning("%s did not count the tokens of a prompt: %s", endpoint.provider.slug, told)
        return None
    return upstream.count_answer(body)


class _Answer:
    """A transport's Sink for one small answer."""

    def __init__(self, upstream: Upstream) -> None:
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._upstream = upstream
        self._head: HttpHead | None = None
        self._body = b""

    def sent(self) -> None:
        """Nothing is billed for this."""

    def head(self, head: HttpHead) -> None:
        self._head = head

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > ANSWER_BYTES_MAX:
            self.lost(UpstreamGarbage("The provider's count of tokens is larger than a count can be."))

    def end(self) -> None:
        if self.whole.done():
            return
        if self._head is None or self._head.status != 200:
            self.lost(self._upstream.fault(self._head or HttpHead(502, {}), self._body))
        else:
            self.whole.set_result(self._body)

    def lost(self, fault: UpstreamFault) -> None:
        if not self.whole.done():
            self.whole.set_exception(fault)

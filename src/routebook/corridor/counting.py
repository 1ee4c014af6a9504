"""How many tokens a prompt has, without making the call: nothing is generated, held, booked or charged.

The endpoint that would be asked first decides: where its vendor counts prompts itself, it is asked; else the reference
tokenizer counts the text, where it is installed; else the text's bytes are divided by four. The answer says which.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from routebook.core.call import CannotExpress, Loss, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import Fault, UpstreamFault, UpstreamRefused
from routebook.corridor.admit import Admitted, admit
from routebook.corridor.plan import draw_plan
from routebook.corridor.ports import App, Arrival
from routebook.dialects.base import Counting
from routebook.metering.estimate import prompt_tokens_of
from routebook.metering.reference import prompt_text
from routebook.observe.log import log
from routebook.upstream.whole import ask


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
        limits = app.settings.timeouts
        head, body = await ask(app.transport, request, connect=limits.connect, seconds=limits.first_token)
        if head.status != 200:
            raise upstream.fault(head, body)
    except UpstreamRefused:
        raise
    except (UpstreamFault, CannotExpress) as trouble:
        told = trouble.message if isinstance(trouble, Fault) else str(trouble)
        log.warning("%s did not count the tokens of a prompt: %s", endpoint.provider.slug, told)
        return None
    return upstream.count_answer(body)

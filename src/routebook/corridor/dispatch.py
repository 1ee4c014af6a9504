"""Step 6: walk the plan until one endpoint answers. The first content event is the point of no return."""

from __future__ import annotations

from routebook.core.call import Call, CannotExpress, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import Fault, Forbidden, NotFound, UpstreamCredential, UpstreamFault
from routebook.core.ids import Mint
from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry
from routebook.corridor.media import Media
from routebook.observe.clock import NS
from routebook.observe.log import log
from routebook.policy.retry import moves_on, verdict


async def dispatch(entry: Entry) -> Attempt:
    """The attempt that answers; its first content is in, nothing of it is out yet. Raises Fault or ClientGone.

    Takes an Entry: without an intent on disk and money on hold there is nothing to dispatch with.
    """
    faults: list[UpstreamFault] = []
    providers: list[str] = []
    cannot: CannotExpress | None = None
    call, media = entry.call, Media(entry) if entry.call.media_prompt else None
    moderated = entry.app.moderator is not None
    for endpoint in entry.held.plan.endpoints:
        entry.check()
        if moderated:
            await _moderate(entry, endpoint)
            entry.check()
        if media is not None:
            call = await media.call_for(endpoint)
            entry.check()
        try:
            attempt = _start(entry, endpoint, call)
        except CannotExpress as error:
            cannot = error
            continue
        try:
            await attempt.begun()
        except UpstreamFault as fault:
            faults.append(fault)
            providers.append(endpoint.provider.name)
            if isinstance(fault, UpstreamCredential):
                log.warning("%s refused our credential: status %s", endpoint.provider.slug, fault.provider_status)
            if not moves_on(fault, tried=len(faults), committed=False):
                break
        else:
            return attempt
    if faults:
        raise verdict(faults, providers)
    raise _cannot(entry, cannot)


def _start(entry: Entry, endpoint: Endpoint, call: Call) -> Attempt:
    """Build the provider's request and send it. `call` is the entry's, as this provider can read it.

    Raises CannotExpress under `require_parameters`.
    """
    app, wish = entry.app, call.provider
    losses = Losses(strict=bool(wish and wish.require_parameters))
    upstream = app.upstreams[endpoint.provider.dialect]
    if call.untold and upstream.name != call.surface:
        for loss in call.untold:
            losses.unsupported(loss.parameter, loss.detail)
    secret = app.credentials.get(endpoint.provider.slug)
    request = upstream.build(call, endpoint, secret.reveal() if secret else None, losses)
    if call.bulk:
        request = request.with_bulk(call.bulk)
    mint = Mint(entry.intent.accepted_ns // NS, entry.intent.id.rpartition("-")[2])
    attempt = Attempt(endpoint, upstream, mint, app.settings.timeouts, app.clock, call.stream)
    entry.try_with(attempt, losses)
    attempt.start(app.transport, request)
    return attempt


async def _moderate(entry: Entry, endpoint: Endpoint) -> None:
    """Moderated providers want the prompt looked at first, once a call; a flagged one never reaches them."""
    app = entry.app
    if app.moderator is None or not endpoint.provider.moderated or entry.moderation_ns is not None:
        return
    started_ns = app.now_ns()
    found = await app.moderator.check(entry.call)
    entry.moderation_ns = app.now_ns() - started_ns
    if found.flagged:
        raise Forbidden(
            f"{endpoint.model} requires moderation, and your input was flagged; change it or choose another model.",
            metadata={
                "reasons": list(found.reasons),
                "flagged_input": found.flagged_input[:100],
                "provider_name": endpoint.provider.name,
                "model_slug": endpoint.model,
            },
        )


def _cannot(entry: Entry, cannot: CannotExpress | None) -> Fault:
    assert cannot is not None
    return NotFound(
        f"No endpoint of {entry.call.model} supports every parameter that was sent ({cannot}); "
        "leave it out or drop provider.require_parameters.",
        metadata={"availability": {"code": "constraint_filtered", "excluded_by": "require_parameters"}},
    )

"""Step 6: walk the plan until one endpoint answers. The first content event is the point of no return."""

from __future__ import annotations

from collections import deque

from routebook.core.call import Call, CannotExpress, Loss, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import Fault, Forbidden, UpstreamCredential, UpstreamFault
from routebook.core.ids import Mint
from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry
from routebook.corridor.media import Media
from routebook.corridor.translation import is_asked, told
from routebook.dialects.base import speaks
from routebook.dialects.searching import with_search
from routebook.observe.clock import NS
from routebook.observe.log import log
from routebook.policy.compress import Compressed, fitted
from routebook.policy.refusals import required
from routebook.policy.retry import next_step, verdict
from routebook.policy.search import spoken
from routebook.policy.variants import thinking


async def dispatch(entry: Entry) -> Attempt:
    """The attempt that answers; its first content is in, nothing of it is out yet. Raises Fault or ClientGone.

    Takes an Entry: without an intent on disk and money on hold there is nothing to dispatch with.
    """
    walk = _Walk(entry)
    walk.fleet.budget.call(entry.intent.accepted_ns)
    while walk.left:
        endpoint = walk.left.popleft()
        entry.check()
        breakers = walk.fleet.breakers
        if breakers.of and not breakers.enter(endpoint.id, entry.app.now_ns()) and walk.left:
            continue  # another call is trying it out just now: skipped, which is no attempt
        try:
            attempt = _start(entry, endpoint, *await walk.call_for(endpoint))
        except CannotExpress as error:
            walk.cannot = error
            continue
        try:
            await attempt.begun()
        except UpstreamFault as fault:
            await walk.after(attempt, fault)
        except BaseException:
            walk.fleet.left(attempt, entry.app.now_ns())
            raise
        else:
            return attempt
    raise walk.verdict()


class _Walk:
    """Where a call is in its plan: who is left, and who failed how."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.fleet = entry.app.fleet
        self.route = entry.held.plan.route
        self.left = deque(entry.held.plan.endpoints)
        self.cannot: CannotExpress | None = None
        self._faults: list[UpstreamFault] = []
        self._providers: list[str] = []
        self._media = Media(entry) if entry.call.media_prompt else None
        self._compress = entry.app.fleet.outlook.house.compress

    async def call_for(self, endpoint: Endpoint) -> tuple[Call, Compressed | None]:
        """The call as that endpoint gets it, looked at, its media fetched, made to fit; and what was shortened.

        Raises Fault, ClientGone.
        """
        entry = self.entry
        if entry.app.moderator is not None:
            await _moderate(entry, endpoint)
            entry.check()
        call = entry.call
        if self._media is not None:
            call = await self._media.call_for(endpoint)
            entry.check()
        if endpoint.id in self.route.thinking:
            call = thinking(call)
        if call.common and endpoint.context_length is None:
            return call, None  # nothing to fit it into
        return fitted(call, endpoint, self._compress)

    async def after(self, attempt: Attempt, fault: UpstreamFault) -> None:
        """That attempt failed: go on with the next endpoint, or once more with this one after a pause, or give up."""
        entry, endpoint, now_ns = self.entry, attempt.endpoint, self.entry.app.now_ns()
        seed = entry.intent.accepted_ns
        self._faults.append(fault)
        self._providers.append(endpoint.provider.name)
        if isinstance(fault, UpstreamCredential) and endpoint.provider.slug not in entry.app.credentials.missing:
            log.warning("%s", _unusable(endpoint, fault))
            entry.app.credentials.refused(endpoint.provider.slug)
        self.fleet.failed(attempt, fault, now_ns, seed)
        step = next_step(
            fault,
            tried=len(self._faults),
            committed=False,
            more=bool(self.left),
            seed=seed,
            fallbacks=self.route.fallbacks,
            attempts_max=self.fleet.attempts,
        )
        if step.action == "stop" or not self.fleet.budget.retry(now_ns):
            self.left.clear()
        elif step.action == "again":
            self.left.appendleft(endpoint)
            await entry.wait(entry.app.clock.sleep(step.wait_ns))

    def verdict(self) -> Fault:
        """What the caller is told when nobody answered."""
        if self._faults:
            call = self.entry.call
            return verdict(self._faults, self._providers, (call.model, *call.models))
        return _cannot(self.entry, self.cannot)


def _start(entry: Entry, endpoint: Endpoint, call: Call, shortened: Compressed | None) -> Attempt:
    """Build the provider's request and send it. `call` is the entry's, as this provider can read it.

    Raises CannotExpress under `require_parameters`.
    """
    app, wish = entry.app, call.provider
    losses = Losses(strict=bool(wish and wish.require_parameters))
    if shortened is not None:
        losses.items.append(Loss("messages", f"{shortened.engine}: {shortened.summary}", mapped=True))
    dialect, searches = endpoint.provider.spoken_with(call.surface), entry.held.plan.route.searches
    search = None if searches is None else searches.get(endpoint.id)
    searching = None if search is None else spoken(endpoint, call.surface)
    upstream = app.upstreams[searching or dialect]
    if call.untold and not speaks(upstream, call.surface, endpoint):
        for loss in call.untold:
            (losses.mapped if loss.mapped else losses.unsupported)(loss.parameter, loss.detail)
    secret = app.credentials.get(endpoint.provider.slug)
    request = upstream.build(call, endpoint, secret.reveal() if secret else None, losses)
    if search is not None:
        request = with_search(request, searching, search, losses)
    if call.bulk:
        request = request.with_bulk(call.bulk)
    mint = Mint(entry.intent.accepted_ns // NS, entry.intent.id.rpartition("-")[2])
    attempt = Attempt(endpoint, upstream, mint, app.settings.timeouts, app.clock, call.stream)
    entry.try_with(attempt, losses, shortened)
    if secret is None and (lacking := app.credentials.missing.get(endpoint.provider.slug)) is not None:
        attempt.abandon(lacking)  # fails as if the provider had refused it, and the next one is asked
    else:
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


def _unusable(endpoint: Endpoint, fault: UpstreamFault) -> str:
    """What the log says of a provider that the operator has to put right."""
    slug, status = endpoint.provider.slug, fault.provider_status
    if status == 404:
        url, model = endpoint.provider.base_url, endpoint.upstream_model
        return f"{slug} has no model {model!r}, or no such path under {url}: status 404; correct the one or the other"
    return f"{slug} refused our credential, account or model name: status {status}; correct it"


def _cannot(entry: Entry, cannot: CannotExpress | None) -> Fault:
    assert cannot is not None
    plan = entry.held.plan
    if is_asked(plan.admitted.arrival.headers):
        entry.answer.translation = told(plan.losses, refused=cannot.parameter)
    return required(entry.call, f"No endpoint of {entry.call.model} supports every parameter that was sent ({cannot})")

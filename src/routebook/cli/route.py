"""`routebook route`: why a request would go where it goes (`explain`), and what another policy or other prices would
have made of past calls (`replay`)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import cyclopts

from routebook.cli.route_replay import replay

if TYPE_CHECKING:
    from routebook.config.settings import RoutingTable, Server
    from routebook.core.call import Call
    from routebook.core.catalog import Catalog, Model
    from routebook.load.catalog import Stock
    from routebook.load.settings import Loaded
    from routebook.policy.explain import Explanation, Fate, First
    from routebook.policy.vitals import Listing, Stills

app = cyclopts.App(name="route", help="Explain where calls go, and replay past ones with another policy.")
app.command(replay)

ANSWER_SECONDS = 2.0
"""A gateway that does not answer within this counts as none."""


@app.command
def explain(
    request: Annotated[
        Path | None,
        cyclopts.Parameter(
            help="A JSON file with the body of a chat request; `-` is stdin.", allow_leading_hyphen=True
        ),
    ] = None,
    /,
    *,
    model: Annotated[
        list[str] | None, cyclopts.Parameter(negative=(), help="The model; given again, the fallbacks after it.")
    ] = None,
    sort: Annotated[
        Literal["price", "throughput", "latency", "exacto"] | None, cyclopts.Parameter(help="`provider.sort`.")
    ] = None,
    order: Annotated[
        list[str] | None, cyclopts.Parameter(negative=(), help="`provider.order`; may be given again.")
    ] = None,
    only: Annotated[
        list[str] | None, cyclopts.Parameter(negative=(), help="`provider.only`; may be given again.")
    ] = None,
    ignore: Annotated[
        list[str] | None, cyclopts.Parameter(negative=(), help="`provider.ignore`; may be given again.")
    ] = None,
    seed: Annotated[
        int | None, cyclopts.Parameter(help="Draw with this seed: of a past call, when it was accepted, in ns.")
    ] = None,
    url: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Ask this gateway how endpoints fare; else ROUTEBOOK_BASE_URL, else where the configuration serves."
        ),
    ] = None,
    key: Annotated[str | None, cyclopts.Parameter(help="API key for that; else ROUTEBOOK_API_KEY.")] = None,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Say of every endpoint why it is kept, dropped or put where it is. Sends nothing to any provider.

    Exits with 1 where nobody could serve the request.

    Example: `routebook route explain --model openai/gpt-4o-mini --sort latency`
    """
    from routebook.cli.models import stock_now
    from routebook.core.errors import Fault
    from routebook.observe.clock import SystemClock
    from routebook.policy.explain import explain as why
    from routebook.policy.explain import firsts
    from routebook.policy.house import house_of
    from routebook.policy.routing import Outlook
    from routebook.policy.vitals import Stills

    wishes = {"sort": sort, "order": order, "only": only, "ignore": ignore}
    call = _call(_body(request, model, {name: wish for name, wish in wishes.items() if wish is not None}))
    loaded, stock = stock_now("routebook route", config)
    asked = url or os.environ.get("ROUTEBOOK_BASE_URL") or _own(loaded.settings.server)
    health, told = _health(call, stock, asked, key)
    if health is None and url is not None:
        stop(f"no gateway answers at {url}; without --url the plan is explained without it", 1)
    now_ns = SystemClock().now_ns()
    ranking = _ranking(call, loaded, now_ns)
    outlook = Outlook(house_of(loaded.settings.routing), health or Stills(), ranking=ranking or ())
    drawn: dict[str, First] = {}
    with contextlib.suppress(Fault):  # a request that cannot be routed is explained all the same
        drawn = firsts(call, stock.catalog, stock.passthrough, outlook, now_ns)
    if seed is None:
        # Of all plans that may be drawn, one of the likeliest.
        seed = max(drawn.values(), key=lambda each: each.times).seed if drawn else 0
    found = why(call, stock.catalog, stock.passthrough, outlook, now_ns, seed)
    if json:
        _print_json(found, drawn, told, ranking)
    else:
        _print_table(found, drawn, told, loaded.settings.routing, ranking)
    if found.fault is not None:
        raise SystemExit(1)


def _body(request: Path | None, models: list[str] | None, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The request's body, from a file and from options; an option wins."""
    from routebook.wire.codec import DecodeError, decode

    body: Any = {}
    if request is not None:
        try:
            text = sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
        except OSError as error:
            stop(f"{request} cannot be read: {error.strerror}", 1)
        try:
            body = decode(text)
        except (DecodeError, RecursionError) as error:
            stop(f"{request} is not JSON: {error}", 1)
        if not isinstance(body, dict):
            stop(f"{request} is no JSON object; a chat request is one", 1)
    if models:
        body |= {"model": models[0], "models": models[1:]} if len(models) > 1 else {"model": models[0]}
        if len(models) == 1:
            body.pop("models", None)
    if not body.get("model") and not body.get("models"):
        stop("name a model: --model MODEL, or a file with the body of a request", 2)
    if "messages" not in body:
        body["messages"] = [{"role": "user", "content": ""}]
    if wishes:
        provider = body.get("provider")
        body["provider"] = {**(provider if isinstance(provider, dict) else {}), **wishes}
    made: dict[str, Any] = body
    return made


def _call(body: dict[str, Any]) -> Call:
    from routebook.core.errors import BadRequest
    from routebook.dialects import registry
    from routebook.wire.codec import encode

    try:
        return registry.surfaces()["openai_chat"].read(encode(body), {})
    except BadRequest as fault:
        stop(f"the request would be refused: {fault.message}", 1)


# --- how the providers fare -------------------------------------------------------------------------------------------


def _own(server: Server) -> str | None:
    """Where the configured gateway would answer; None on a UNIX socket."""
    if server.unix_socket is not None:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if server.tls_cert is None else 'https'}://{shown}:{server.port}/api/v1"


def _health(call: Call, stock: Stock, url: str | None, key: str | None) -> tuple[Stills | None, str]:
    """What a running gateway tells, None if none answers; and a sentence on how much that is."""
    from routebook.policy.heard import heard

    if url is None:
        return None, "nothing is known: the gateway is on a UNIX socket (as if it had just been started)"
    listings, trouble = _listings(_models(call, stock), url, key)
    if trouble is not None:
        return None, f"nothing is known: no gateway answers at {url} (as if it had just been started)"
    if not listings:
        return heard({}), f"{url} has seen too little of these endpoints to tell anything"
    speed = any(each.latency_last_30m or each.throughput_last_30m for each in listings.values())
    told = f"as {url} lists it: uptime{' and speed' if speed else ''}"
    return heard(listings), f"{told}; of the last 30 s, of breakers and conversations it says nothing"


def _models(call: Call, stock: Stock) -> list[Model]:
    """The models that may have to do with the request; of a router all."""
    catalog: Catalog = stock.catalog
    names = [catalog.find(name) for name in (call.model, *call.models)]
    found = [model for model in names if model is not None]
    return found if len(found) == len(names) else list(catalog.models.values())[:MODELS_MAX]


MODELS_MAX = 20
"""Models asked about where the request leaves open which: a router's choice among many is explained without health."""


def _listings(models: list[Model], url: str, key: str | None) -> tuple[dict[str, Listing], str | None]:
    """(figures by endpoint id, why there are none)."""
    from routebook.client import NotFound, Routebook, RoutebookError

    found: dict[str, Listing] = {}
    try:
        with Routebook(api_key=key, base_url=url, timeout=ANSWER_SECONDS, get_retries=0) as client:
            for model in models:
                author, _, slug = model.slug.partition("/")
                try:
                    told = client.models.endpoints(author, slug).data.endpoints or []
                except NotFound:
                    continue  # that gateway has another configuration
                left = {(each.provider_name, each.tag): each for each in reversed(told)}
                for endpoint in model.endpoints:
                    each = left.pop((endpoint.provider.name, endpoint.tag), None)
                    if each is not None and (listing := _listing(each)) is not None:
                        found[endpoint.id] = listing
    except RoutebookError as error:
        return {}, str(error)
    return found, None


def _listing(told: Any) -> Listing | None:
    """The figures of one endpoint, None where there is not one."""
    from routebook.policy.histogram import Percentiles
    from routebook.policy.vitals import Listing

    def percentiles(stats: Any) -> Percentiles | None:
        values = () if stats is None else (stats.p50, stats.p75, stats.p90, stats.p99)
        return Percentiles(*map(float, values)) if values and None not in values else None

    listing = Listing(
        told.uptime_last_5m,
        told.uptime_last_30m,
        told.uptime_last_1d,
        percentiles(told.latency_last_30m),
        percentiles(told.throughput_last_30m),
    )
    return None if listing == Listing() else listing


# --- how traffic ranks the models -------------------------------------------------------------------------------------


def _ranking(call: Call, loaded: Loaded, now_ns: int) -> tuple[str, ...] | None:
    """What the store teaches `openrouter/auto`; None where that was not asked for. Ends the program if it is away."""
    import asyncio

    from routebook.core.errors import Unavailable
    from routebook.ledger.ranking import ranking_of
    from routebook.policy.routers import AUTO
    from routebook.store.open import database_path, open_store

    if not any(name.startswith(AUTO) for name in (call.model, *call.models)):
        return None

    async def ask() -> tuple[str, ...]:
        if not database_path(loaded.settings, loaded.home).exists():
            return ()
        store = open_store(loaded.settings, loaded.home)
        try:
            return await ranking_of(store, now_ns)
        finally:
            await store.close()

    try:
        return asyncio.run(ask())
    except (Unavailable, ValueError) as error:
        stop(f"the store cannot be asked how traffic ranks the models: {error}", 1)


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_json(found: Explanation, drawn: Mapping[str, First], health: str, ranking: tuple[str, ...] | None) -> None:
    from routebook.policy.explain import DRAWS
    from routebook.wire.codec import encode

    fault = found.fault
    told: dict[str, Any] = {
        "requested": list(found.requested),
        "strategy": None if found.route is None else found.route.strategy,
        "health": health,
        "ranking": None if ranking is None else list(ranking),
        "endpoints": [
            {
                "place": fate.place,
                "model": fate.model,
                "provider": fate.provider,
                "tag": fate.tag,
                "endpoint_id": fate.endpoint_id,
                "dropped_by": fate.dropped_by,
                "wanted": fate.wanted,
                "notes": list(fate.notes),
                "first_of": {"draws": DRAWS, "first": _times(fate, drawn)},
                "prompt_price": fate.prompt_price,
                "completion_price": fate.completion_price,
            }
            for fate in found.fates
        ],
        "not_honoured": [{"parameter": loss.parameter, "detail": loss.detail} for loss in found.losses],
        "error": None
        if fault is None
        else {"status": fault.status, "type": fault.error_type, "message": fault.message, "metadata": fault.metadata},
    }
    print(encode(told).decode())


def _print_table(
    found: Explanation,
    drawn: Mapping[str, First],
    health: str,
    routing: RoutingTable,
    ranking: tuple[str, ...] | None,
) -> None:
    from rich.text import Text

    from routebook.cli.fitting import Sheet
    from routebook.cli.receipt_parts import clean, plain
    from routebook.cli.terminal import Terminal

    width = None if sys.stdout.isatty() else 160
    console = Terminal(width=width)
    route = found.route
    how = "nobody can serve it" if route is None else route.strategy
    rules = f"balance = {routing.balance}, at most {routing.attempts} are tried"
    title = Text.assemble((clean(", then ".join(found.requested)), "bold"), f"  {how}; {rules}")
    console.print(title)
    console.print(Text(clean(f"health: {health}"), style="dim"))
    if ranking is not None:
        learnt = ", ".join(ranking) or "nothing yet, the cheapest first"
        ranked = f"[routing] auto ({', '.join(routing.auto)}); else " if routing.auto else ""
        console.print(Text(clean(f"ranking: {ranked}learnt from traffic: {learnt}"), style="dim"))
    if found.fates:
        console.print()
        table = Sheet(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("", "endpoint", "model", "prompt $/M", "completion $/M", "first", "why"):
            numeric = name not in ("endpoint", "model", "why")
            table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
        for fate in found.fates:
            table.add_row(
                "-" if fate.place is None else str(fate.place),
                plain(fate.tag),
                plain(fate.model),
                _per_million(fate.prompt_price),
                _per_million(fate.completion_price),
                _chance(fate, drawn),
                plain(_why(fate)),
                style="dim" if fate.place is None else "bold" if fate.place == 1 else "",
            )
        console.print(table)
    if found.fault is not None or found.losses:
        console.print()
    for loss in found.losses:
        console.print(Text(clean(f"not honoured: {loss.parameter}: {loss.detail}"), style="yellow"))
    if found.fault is not None:
        console.print(Text(clean(f"{found.fault.status}: {found.fault.message}"), style="red"))


def _why(fate: Fate) -> str:
    if fate.place is None:
        wanted = f" (kept: who {fate.wanted})" if fate.wanted else ""
        return f"dropped by {fate.dropped_by or 'the plan'}{wanted}"
    return "; ".join(fate.notes)


def _chance(fate: Fate, drawn: Mapping[str, First]) -> str:
    """How often it is the one tried first, in percent of the draws."""
    from routebook.policy.explain import DRAWS

    return "" if fate.place is None else f"{100 * _times(fate, drawn) / DRAWS:.1f} %"


def _times(fate: Fate, drawn: Mapping[str, First]) -> int:
    first = drawn.get(fate.endpoint_id)
    return 0 if first is None else first.times


def _per_million(price: str | None) -> str:
    from decimal import Decimal

    from routebook.core.money import plain

    if price is None:
        return "unpriced"
    amount = Decimal(price)
    return "free" if not amount else plain(amount.scaleb(6))


def stop(message: str, code: int) -> NoReturn:
    """End the program with a sentence on stderr."""
    print(f"routebook route: {message}", file=sys.stderr)
    raise SystemExit(code)

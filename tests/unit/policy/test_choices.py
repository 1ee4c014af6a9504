"""What a router chooses by beside its ranking: the request's own filters, the conversation, the speed.

Source: routing, sections 8 and 10.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from routebook.core.errors import NotFound
from routebook.policy.house import House
from routebook.policy.routers import learnt
from routebook.policy.routing import Outlook
from routebook.policy.sticky import Sticky, conversation
from routebook.policy.vitals import Stills
from tests.unit.policy.stock import NOW, call, catalog, endpoint, model, plan, provider, speed

PRIVATE = replace(provider("private"), zdr=True)
HERE = catalog(
    *[model(f"lab/m{n}", endpoint(f"p{n}", price=str(n))) for n in range(1, 10)],
    model("lab/kept", endpoint(PRIVATE, price="20")),
    model("lab/gift", endpoint(PRIVATE, price="0")),
)
RANKED = learnt([(slug, Decimal(100 - at)) for at, slug in enumerate(HERE.models) if slug != "lab/gift"])


def chosen(name: str, known: Outlook = Outlook(), **body: Any) -> list[str]:
    return [each.model for each in plan(call(name, **body), HERE, known).endpoints]


def test_a_router_passes_over_models_that_no_endpoint_may_serve() -> None:
    configured = Outlook(house=House(auto=("lab/m1", "lab/m2", "lab/m3", "lab/kept")))
    assert chosen("openrouter/auto", configured) == ["lab/m1", "lab/m2", "lab/m3"]
    assert chosen("openrouter/auto", configured, wish={"zdr": True}) == ["lab/kept"]
    assert chosen("openrouter/auto", configured, wish={"only": ["p3", "p2"]}) == ["lab/m2", "lab/m3"]
    assert chosen("openrouter/free", wish={"zdr": True}) == ["lab/gift"]


def test_what_was_learnt_is_cheap_as_long_as_something_cheap_serves() -> None:
    known = Outlook(ranking=RANKED)
    assert chosen("openrouter/auto", known) == ["lab/m1", "lab/m2"]
    assert chosen("openrouter/auto", known, wish={"zdr": True}) == ["lab/kept"]
    cheap = [{"id": "auto-router", "cost_tier": "low"}]
    with pytest.raises(NotFound):
        chosen("openrouter/auto", known, wish={"zdr": True}, plugins=cheap)


def test_where_no_model_serves_the_error_names_the_filter() -> None:
    with pytest.raises(NotFound) as seen:
        chosen("openrouter/auto", Outlook(ranking=RANKED), wish={"quantizations": ["int4"]})
    assert seen.value.metadata["availability"]["excluded_by"] == "quantization"


def home(slug: str, name: str = "openrouter/auto", **more: Any) -> Outlook:
    """A conversation `s` that was answered by that model."""
    sticky = Sticky()
    sticky.keep(conversation(call(name, session_id="s"), "", name), HERE.models[slug].endpoints[0], NOW)
    return Outlook(sticky=sticky, **more)


def test_a_conversation_stays_with_its_model_wherever_the_ranking_has_it_by_now() -> None:
    known = home("lab/m7", ranking=RANKED)
    assert chosen("openrouter/auto", known, session_id="s") == ["lab/m7", "lab/m1", "lab/m2"]
    assert chosen("openrouter/auto", known, session_id="t") == ["lab/m1", "lab/m2"]
    excluded = [{"id": "auto-router", "excluded_models": ["lab/m7"]}]
    assert chosen("openrouter/auto", known, session_id="s", plugins=excluded) == ["lab/m1", "lab/m2"]
    assert chosen("openrouter/auto", known, session_id="s", wish={"ignore": ["p7"]}) == ["lab/m1", "lab/m2"]


def test_a_pinned_model_goes_before_that_of_the_conversation() -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes.", "model": "lab/m5"}]
    pinned = {"plugins": [{"id": "auto-router", "pin_model": True}], "messages": said, "session_id": "s"}
    assert chosen("openrouter/auto", home("lab/m1", ranking=RANKED), **pinned) == ["lab/m5", "lab/m1", "lab/m2"]


CODING = catalog(
    *[model(f"lab/c{n}", endpoint(f"p{n}", price=str(n)), coding_score=Decimal("0.9")) for n in range(1, 5)]
)


def test_pareto_code_by_speed_takes_the_fastest_of_the_tier_and_the_unmeasured_last() -> None:
    measured = {"p1:lab/c1": speed(20.0), "p3:lab/c3": speed(90.0), "p4:lab/c4": speed(50.0)}
    known = Outlook(health=Stills({}, measured))
    asked = "openrouter/pareto-code"
    assert [e.model for e in plan(call(asked), CODING, known).endpoints] == ["lab/c1", "lab/c2", "lab/c3"]
    found = plan(call(f"{asked}:nitro"), CODING, known)
    assert [e.model for e in found.endpoints] == ["lab/c3", "lab/c4", "lab/c1"]
    assert [e.model for e in plan(call(f"{asked}:nitro"), CODING).endpoints] == ["lab/c1", "lab/c2", "lab/c3"]

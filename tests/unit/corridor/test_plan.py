"""How much is put aside, and for which endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from routebook.core.catalog import Accounting, Dated
from routebook.core.errors import NotFound
from routebook.core.money import Prices, PriceSheet
from routebook.corridor.admit import admit
from routebook.corridor.plan import Plan, draw_plan
from routebook.corridor.ports import Arrival
from routebook.dialects import registry
from tests.support import Stage, ask, catalog, model, offer, raise_stage

pytestmark = pytest.mark.anyio

DEAR = PriceSheet(Prices(request=Decimal(5)))
CHEAP = PriceSheet(Prices(request=Decimal(1)))
FREE = PriceSheet(Prices(prompt=Decimal(0), completion=Decimal(0)))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    models = catalog(
        model("lab/mix", offer("lab/mix", "acme", CHEAP), offer("lab/mix", "beta", DEAR)),
        model("lab/half", offer("lab/half", "acme", CHEAP), offer("lab/half", "beta", None)),
        model("lab/free", offer("lab/free", "acme", FREE)),
        model(
            "lab/many",
            *(offer("lab/many", name, CHEAP) for name in ("acme", "beta", "gamma")),
            offer("lab/many", "claude", DEAR),
        ),
    )
    rising = models.models["lab/free"].endpoints[0]
    dated = replace(rising, model="lab/dated", schedule=(Dated(0, CHEAP), Dated(1000, DEAR)))
    models = replace(models, models={**models.models, "lab/dated": model("lab/dated", dated)})
    stage = await raise_stage(tmp_path, models=models)
    yield stage
    await stage.close()


def plan(stage: Stage, slug: str, accepted_ns: int = 0, **members: Any) -> Plan:
    request = ask(slug, **members)
    surface = registry.surfaces()["openai_chat"]
    return draw_plan(admit(Arrival(surface, request.headers, request.body, accepted_ns), stage.app), stage.app)


async def test_the_dearest_endpoint_that_may_answer_is_what_is_held(stage: Stage) -> None:
    assert plan(stage, "lab/mix").bound == 5


async def test_an_endpoint_that_will_not_be_tried_is_not_held_for(stage: Stage) -> None:
    found = plan(stage, "lab/many")
    assert [each.provider.slug for each in found.endpoints] == ["acme", "beta", "gamma"]
    assert found.bound == 1


async def test_one_endpoint_without_a_price_makes_the_bound_unknown(stage: Stage) -> None:
    assert plan(stage, "lab/half").bound is None


@pytest.mark.parametrize(("ceiling", "bound"), [("0.5", 1), ("3", 3)])
async def test_a_ceiling_stands_for_an_unknown_price_and_never_lowers_a_known_one(
    stage: Stage, ceiling: str, bound: int
) -> None:
    stage.app.accounting = Accounting(unpriced_ceiling=Decimal(ceiling))
    assert plan(stage, "lab/half").bound == bound


async def test_a_free_model_holds_nothing(stage: Stage) -> None:
    assert plan(stage, "lab/free").bound == 0


async def test_what_the_gateway_ignores_comes_before_what_the_route_loses(stage: Stage) -> None:
    found = plan(stage, "lab/mix", plugins=[{"id": "web-fetch"}], provider={"options": {"acme": {"x": 1}}})
    assert [loss.parameter for loss in found.losses] == ["plugins", "provider.options"]


async def test_a_required_parameter_that_the_gateway_ignores_is_a_404_that_names_it(stage: Stage) -> None:
    with pytest.raises(NotFound, match="plugins"):
        plan(stage, "lab/mix", plugins=[{"id": "web-fetch"}], provider={"require_parameters": True})


@pytest.mark.parametrize(("accepted_ns", "sheet", "bound"), [(999, CHEAP, 1), (1000, DEAR, 5)])
async def test_the_prices_of_the_moment_a_call_was_accepted_count(
    stage: Stage, accepted_ns: int, sheet: PriceSheet, bound: int
) -> None:
    found = plan(stage, "lab/dated", accepted_ns)
    assert found.endpoints[0].pricing == sheet
    assert found.bound == bound

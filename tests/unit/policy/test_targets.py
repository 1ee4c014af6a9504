"""Model strings: variants, aliases, presets, `~latest` and routers. Source: routing, sections 7 and 8."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routebook.core.call import Message
from routebook.core.catalog import Model
from routebook.core.errors import BadRequest, ModelUnknown, NotFound
from routebook.policy.house import House
from routebook.policy.routers import learnt, task_of
from routebook.policy.routing import Outlook
from routebook.policy.search import Search
from routebook.policy.sticky import Sticky, conversation
from routebook.policy.variants import parse, thinking
from routebook.wire import codec
from tests.unit.policy.stock import NOW, call, catalog, endpoint, model, picture, plan, provider, tags

HERE = catalog(
    model("lab/one", endpoint("acme", price="2"), endpoint("beta", price="1")),
    model("lab/one:free", endpoint("acme", price="0", tag="acme/free")),
    model("lab/two", endpoint("gamma", price="5"), hidden=True),
    model("anthropic/claude-3.5-sonnet", endpoint("claude"), created=10),
    model("anthropic/claude-sonnet-4.5", endpoint("claude"), created=30),
    model("anthropic/claude-sonnet-4.5:thinking", endpoint("claude"), created=40),
    model("anthropic/claude-sonnet-5", endpoint("claude"), created=50, hidden=True),
    model("anthropic/claude-haiku-4.5", endpoint("claude"), created=60),
    model("openai/gpt-4.1", endpoint("openai")),
    model("openai/gpt-5", endpoint("openai"), created=5),
    model("openai/gpt-5-mini", endpoint("openai")),
    aliases={"one-old": "lab/one"},
)


def models(found: Any) -> list[str]:
    return list(dict.fromkeys(each.model for each in found.endpoints))


def first(name: str, **more: Any) -> str:
    return str(plan(call(name, **more), HERE).endpoints[0].model)


@pytest.mark.parametrize(
    ("text", "slug", "dynamic", "preset", "latest"),
    [
        ("lab/one", "lab/one", (), None, False),
        ("lab/one:nitro", "lab/one", ("nitro",), None, False),
        ("lab/one:free:online", "lab/one:free", ("online",), None, False),
        ("lab/one:online:floor", "lab/one", ("online", "floor"), None, False),
        ("~lab/family-latest:nitro", "lab/family-latest", ("nitro",), None, True),
        ("lab/one@preset/mine", "lab/one", (), "mine", False),
        ("lab/one:nitro@preset/mine", "lab/one", ("nitro",), "mine", False),
        ("@preset/mine", "", (), "mine", False),
        ("ollama/llama3.2:1b", "ollama/llama3.2:1b", (), None, False),
    ],
)
def test_a_model_string_has_its_parts(
    text: str, slug: str, dynamic: tuple[str, ...], preset: str | None, latest: bool
) -> None:
    name = parse(text)
    assert (name.slug, name.dynamic, name.preset, name.latest) == (slug, dynamic, preset, latest)


@pytest.mark.parametrize("text", ["@preset/", "lab/one@preset/", ":nitro", "lab/one:nitro:floor", "a@b@preset/c"])
def test_a_string_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


def test_an_alias_is_the_model_and_the_plan_says_so() -> None:
    found = plan(call("one-old"), HERE)
    assert (models(found), found.strategy) == (["lab/one"], "alias")
    assert plan(call(), HERE).strategy == "direct"


def test_the_models_of_a_list_follow_each_other_and_absent_ones_are_a_loss() -> None:
    found = plan(call("lab/none", "lab/two", "lab/one"), HERE)
    assert models(found) == ["lab/two", "lab/one"]
    assert [loss.detail for loss in found.losses] == ["no model lab/none here; skipped"]
    assert found.strategy == "fallback"


def test_no_endpoint_is_tried_twice() -> None:
    assert tags(plan(call("lab/one", "lab/one:floor"), HERE)) == ["acme", "beta"]


def test_free_is_a_model_of_its_own_and_where_it_ended_the_error_says_so() -> None:
    assert tags(plan(call("lab/one:free"), HERE)) == ["acme/free"]
    with pytest.raises(NotFound) as seen:
        plan(call("lab/two:free"), HERE)
    assert seen.value.metadata["availability"]["code"] == "free_variant_ended"


@pytest.mark.parametrize("variant", ["extended", "batch"])
def test_extended_and_batch_are_models_of_their_own_or_nothing(variant: str) -> None:
    longer = catalog(model("lab/one", endpoint("acme")), model(f"lab/one:{variant}", endpoint("beta")))
    assert tags(plan(call(f"lab/one:{variant}"), longer)) == ["beta"]
    with pytest.raises(NotFound, match=f":{variant}"):
        plan(call(f"lab/one:{variant}"), HERE)


def test_thinking_is_its_own_model_else_the_model_with_reasoning_on_but_at_anthropic() -> None:
    assert first("anthropic/claude-sonnet-4.5:thinking") == "anthropic/claude-sonnet-4.5:thinking"
    found = plan(call("lab/one:thinking"), HERE)
    assert models(found) == ["lab/one"]
    assert found.thinking == {each.id for each in found.endpoints}
    assert plan(call("anthropic/claude-haiku-4.5:thinking"), HERE).thinking == frozenset()


def test_a_call_is_made_to_think_unless_it_says_something_of_it_itself() -> None:
    on = thinking(call())
    assert on.chat.reasoning is not None
    assert on.chat.reasoning.asked
    assert codec.decode(bytes(on.raw["reasoning"])) == {"enabled": True}
    assert not on.common
    own = codec.convert({"effort": "none"}, type(on.chat.reasoning))
    said = call(reasoning=own)
    assert thinking(said) is said


def test_nitro_sorts_by_throughput_floor_by_price_and_exacto_by_quality() -> None:
    assert [parse(f"lab/one:{v}").sort for v in ("nitro", "floor", "exacto", "online")] == [
        "throughput",
        "price",
        "exacto",
        None,
    ]
    assert [parse(f"lab/one:{v}").tier for v in ("nitro", "floor", "exacto")] == ["priority", "flex", None]
    assert tags(plan(call("lab/one:floor"), HERE, seed=3)) == ["beta", "acme"]


def test_online_is_the_same_model_told_to_search() -> None:
    found = plan(call("lab/one:online"), HERE)
    assert models(found) == ["lab/one"]
    assert found.searches == {each.id: Search() for each in found.endpoints}
    assert plan(call("lab/one"), HERE).searches is None


def test_a_variant_of_an_open_catalogues_model_reaches_it() -> None:
    def offered(slug: str) -> Model | None:
        return model(slug, endpoint("ollama", slug)) if slug.startswith("ollama/") else None

    assert models(plan(call("ollama/llama3.2:1b"), HERE, passthrough=offered)) == ["ollama/llama3.2:1b"]
    assert models(plan(call("ollama/new"), HERE, passthrough=offered)) == ["ollama/new"]


# --- ~latest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("~anthropic/claude-sonnet-latest", "anthropic/claude-sonnet-4.5"),
        ("~anthropic/claude-haiku-latest", "anthropic/claude-haiku-4.5"),
        ("~openai/gpt-latest", "openai/gpt-5"),
        ("~openai/gpt-mini-latest", "openai/gpt-5-mini"),
    ],
)
def test_latest_is_the_newest_visible_model_of_a_family(name: str, slug: str) -> None:
    found = plan(call(name), HERE)
    assert (models(found), found.strategy) == ([slug], "latest")


@pytest.mark.parametrize("name", ["~openai/o-latest", "~lab/two-latest", "~anthropic/claude-sonnet", "~x/y-latest"])
def test_a_family_without_a_visible_model_is_an_error(name: str) -> None:
    with pytest.raises(NotFound, match="no model"):
        plan(call(name), HERE)


# --- presets ----------------------------------------------------------------------------------------------------------

PRESETS = {"mine": ("lab/two", "lab/one"), "loop": ("@preset/mine",)}
KNOWN = Outlook(presets=lambda slug: PRESETS.get(slug, ()))


def test_a_preset_gives_its_models_and_a_model_of_the_request_goes_before_them() -> None:
    assert models(plan(call("@preset/mine"), HERE, KNOWN)) == ["lab/two", "lab/one"]
    assert models(plan(call("openai/gpt-5@preset/mine"), HERE, KNOWN)) == ["openai/gpt-5", "lab/two", "lab/one"]


@pytest.mark.parametrize(("name", "known"), [("@preset/mine", Outlook()), ("@preset/none", KNOWN)])
def test_a_preset_that_is_not_here_is_an_error(name: str, known: Outlook) -> None:
    with pytest.raises(NotFound, match="preset"):
        plan(call(name), HERE, known)


# --- openrouter/auto --------------------------------------------------------------------------------------------------

RANKED = catalog(
    *[model(f"lab/m{n}", endpoint(f"p{n}", price=str(n))) for n in range(1, 11)],
    model("lab/blind", endpoint("pb", price="0.1")),
    model("lab/eyes", endpoint("pe", price="50"), input_modalities=("text", "image")),
    model("lab/secret", endpoint("ps", price="0.01"), hidden=True),
)
ORDER = House(auto=("lab/m7", "lab/m2", "lab/gone", "lab/eyes", "lab/m9"))


def auto(known: Outlook, name: str = "openrouter/auto", **body: Any) -> list[str]:
    return models(plan(call(name, **body), RANKED, known))


def said(**plugin: Any) -> dict[str, Any]:
    return {"plugins": [{"id": "auto-router", **plugin}]}


def test_auto_takes_the_configured_ranking_the_best_and_two_fallbacks() -> None:
    found = plan(call("openrouter/auto"), RANKED, Outlook(house=ORDER))
    assert models(found) == ["lab/m7", "lab/m2", "lab/eyes"]
    assert (found.strategy, found.router) == ("auto", "openrouter/auto")
    assert auto(Outlook(house=ORDER), "openrouter/auto-beta") == ["lab/m7", "lab/m2", "lab/eyes"]


def test_auto_looks_at_what_the_request_needs() -> None:
    assert auto(Outlook(house=ORDER), messages=[picture()], media_prompt=1) == ["lab/eyes"]


def test_auto_keeps_allowed_patterns_and_exclusion_wins() -> None:
    known = Outlook(house=ORDER)
    assert auto(known, **said(allowed_models=["lab/m*"])) == ["lab/m7", "lab/m2", "lab/m9"]
    assert auto(known, **said(allowed_models=["lab/m*"], excluded_models=["*7"])) == ["lab/m2", "lab/m9"]
    with pytest.raises(NotFound, match="No models match"):
        auto(known, **said(allowed_models=["other/*"]))
    with pytest.raises(BadRequest, match="patterns"):
        auto(known, **said(allowed_models=["x"] * 1025))


def test_a_plugin_of_another_router_is_ignored() -> None:
    plugins = [{"id": "auto-beta-router", "excluded_models": ["*7"]}]
    assert auto(Outlook(house=ORDER), plugins=plugins)[0] == "lab/m7"
    assert auto(Outlook(house=ORDER), "openrouter/auto-beta", plugins=plugins)[0] == "lab/m2"


def test_the_account_rules_out_models_before_they_are_ranked() -> None:
    assert auto(Outlook(house=House(auto=ORDER.auto, not_models=("lab/m7",)))) == ["lab/m2", "lab/eyes", "lab/m9"]


TRAFFIC = learnt([(f"lab/m{n}", Decimal(100 - n)) for n in range(1, 11)])


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        (None, ["lab/m1", "lab/m2"]),
        ("low", ["lab/m1", "lab/m2"]),
        ("medium", ["lab/m3", "lab/m4"]),
        ("high", ["lab/m5", "lab/m6"]),
        ("xhigh", ["lab/m7", "lab/m8"]),
        ("max", ["lab/m9", "lab/m10"]),
    ],
)
def test_a_learnt_ranking_is_cut_to_the_cost_band_and_low_without_one(tier: str | None, expected: list[str]) -> None:
    assert auto(Outlook(ranking=TRAFFIC), **(said(cost_tier=tier) if tier else {})) == expected
    with pytest.raises(BadRequest, match="cost_tier"):
        auto(Outlook(ranking=TRAFFIC), **said(cost_tier="huge"))


@pytest.mark.parametrize(("tradeoff", "dearest"), [(10, 1), (9, 2), (5, 5), (0, 9)])
def test_the_older_tradeoff_is_a_ceiling_of_prices_and_the_tier_goes_before_it(tradeoff: int, dearest: int) -> None:
    dearest_first = learnt([(f"lab/m{n}", Decimal(n)) for n in range(1, 11)])
    known = Outlook(ranking=dearest_first)
    assert auto(known, **said(cost_quality_tradeoff=tradeoff))[0] == f"lab/m{dearest}"
    assert auto(known, **said(cost_quality_tradeoff=tradeoff, cost_tier="max"))[0] == "lab/m10"


@pytest.mark.parametrize("tradeoff", [-1, 11, "much"])
def test_a_tradeoff_that_is_none_is_refused(tradeoff: Any) -> None:
    with pytest.raises(BadRequest, match="plugins"):
        auto(Outlook(ranking=TRAFFIC), **said(cost_quality_tradeoff=tradeoff))


def test_a_pinned_model_is_the_one_that_the_last_assistant_message_names() -> None:
    def turns(*models: Any) -> list[dict[str, Any]]:
        said = [{"role": "assistant", "content": "Yes.", **({"model": name} if name else {})} for name in models]
        return [{"role": "user", "content": "Hi"}, *said, {"role": "user", "content": "More", "model": "lab/m3"}]

    known = Outlook(ranking=TRAFFIC)
    assert auto(known, messages=turns("lab/m5", "lab/m9"), **said(pin_model=True)) == ["lab/m9", "lab/m1", "lab/m2"]
    unpinned = ["lab/m1", "lab/m2"]
    assert auto(known, messages=turns("lab/m9"), **said(pin_model=False)) == unpinned
    for names in ((), (None,), ("lab/nowhere",), (7,), ("lab/m9", None)):
        assert auto(known, messages=turns(*names), **said(pin_model=True)) == unpinned, names
    excluded = said(pin_model=True, excluded_models=["lab/m9"])
    assert auto(known, messages=turns("lab/m9"), **excluded) == unpinned, "only while it is a candidate"


def test_a_plugin_that_is_off_says_nothing() -> None:
    assert auto(Outlook(ranking=TRAFFIC), **said(enabled=False, cost_tier="max")) == ["lab/m1", "lab/m2"]


def test_a_ranking_is_learnt_from_what_was_spent_on_each_model() -> None:
    sums = [
        ("lab/m1", Decimal("1.5")),
        ("lab/m2", Decimal("2")),
        ("lab/m1", Decimal("1")),
        ("lab/m3", Decimal("2.5")),
        ("lab/m4", Decimal("0")),
    ]
    assert learnt(sums) == ("lab/m1", "lab/m3", "lab/m2"), "equal sums by slug, and nothing spent is no rank"
    assert learnt(reversed(sums)) == learnt(sums)


def test_a_learnt_ranking_stands_in_where_no_configured_model_can_serve() -> None:
    house = House(auto=("lab/gone", "lab/eyes"))
    assert auto(Outlook(house=house, ranking=TRAFFIC)) == ["lab/eyes"]
    assert auto(Outlook(house=house, ranking=TRAFFIC), **said(excluded_models=["lab/eyes"])) == ["lab/m1", "lab/m2"]


@pytest.mark.parametrize(
    ("asked", "task"),
    [
        (call(), "general"),
        (call(tools=[{}]), "tools"),
        (call(messages=[picture()], media_prompt=1), "vision"),
        (call(response_format={"type": "json_schema"}), "structured"),
        (call(messages=[Message("user", "Fix this:\n```py\nx\n```")]), "code"),
        (call(messages=[Message("user", "def f(x):\n    return x")]), "code"),
        (call(messages=[Message("user", None)]), "general"),
    ],
)
def test_the_task_is_told_by_what_the_request_is_made_of_and_never_fails(asked: Any, task: str) -> None:
    assert task_of(asked) == task


def test_without_any_ranking_the_cheap_ones_are_taken() -> None:
    assert auto(Outlook()) == ["lab/blind", "lab/m1", "lab/m2"]
    assert auto(Outlook(ranking=("lab/gone",))) == ["lab/blind", "lab/m1", "lab/m2"]


def test_a_provider_that_has_auto_itself_is_asked_unless_a_ranking_is_configured() -> None:
    def offered(slug: str) -> Model | None:
        return model(slug, endpoint("openrouter", slug)) if slug == "openrouter/auto" else None

    asked = call("openrouter/auto")
    assert models(plan(asked, RANKED, passthrough=offered)) == ["openrouter/auto"]
    assert models(plan(asked, RANKED, Outlook(house=ORDER), passthrough=offered))[0] == "lab/m7"


def test_a_session_stays_with_the_model_that_answered_while_it_is_a_candidate() -> None:
    sticky, asked = Sticky(), call("openrouter/auto", session_id="s")
    place = next(e for e in RANKED.models["lab/m2"].endpoints)
    sticky.keep(conversation(asked, "", "openrouter/auto"), place, NOW)
    known = Outlook(house=ORDER, sticky=sticky)
    assert models(plan(asked, RANKED, known)) == ["lab/m2", "lab/m7", "lab/eyes"]
    without = call("openrouter/auto", session_id="s", **said(excluded_models=["lab/m2"]))
    assert models(plan(without, RANKED, known))[0] == "lab/m7"


# --- openrouter/free, pareto-code and those that are not here ---------------------------------------------------------

FREE = catalog(
    model("lab/paid", endpoint("a", price="1")),
    model("lab/f1", endpoint("b", price="0")),
    model("lab/f2", endpoint("c", price="0", supported_parameters=frozenset({"tools"}))),
    model("lab/f3", endpoint("d", price="0", supported_parameters=frozenset({"seed"}))),
    model("lab/eyes", endpoint("e", price="0"), input_modalities=("text", "image")),
)


def test_free_draws_among_the_free_models_that_can_serve_the_request() -> None:
    drawn = {models(plan(call("openrouter/free"), FREE, seed=seed))[0] for seed in range(60)}
    assert drawn == {"lab/f1", "lab/f2", "lab/f3", "lab/eyes"}
    with_tools = {models(plan(call("openrouter/free", tools=[{}]), FREE, seed=seed))[0] for seed in range(60)}
    assert with_tools == {"lab/f1", "lab/f2", "lab/eyes"}
    seeing = plan(call("openrouter/free", messages=[picture()], media_prompt=1), FREE, seed=1)
    assert (models(seeing), seeing.strategy) == (["lab/eyes"], "free")
    with pytest.raises(NotFound, match="No models match"):
        plan(call("openrouter/free"), catalog(model("lab/paid", endpoint("a", price="1"))))


CODING = catalog(
    *[
        model(f"lab/c{n}", endpoint(f"p{n}", price=price), coding_score=Decimal(score))
        for n, (price, score) in enumerate([("9", "0.9"), ("3", "0.7"), ("5", "0.66"), ("1", "0.4"), ("2", "0.35")])
    ],
    model("lab/unscored", endpoint("x", price="0.1")),
)


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ({}, ["lab/c1", "lab/c2", "lab/c0"]),
        ({"min_coding_score": 0.66}, ["lab/c1", "lab/c2", "lab/c0"]),
        ({"min_coding_score": 0.5}, ["lab/c3", "lab/c4"]),
        ({"min_coding_score": 0.1}, ["lab/c3", "lab/c4"]),
        ({"max_price": 5}, ["lab/c1", "lab/c3", "lab/c2"]),
        ({"max_price": 2.5, "price_source": "weighted_avg"}, ["lab/c3", "lab/c4"]),
    ],
)
def test_pareto_code_takes_the_cheapest_of_a_coding_tier(plugin: dict[str, Any], expected: list[str]) -> None:
    plugins = [{"id": "pareto-router", **plugin}]
    found = plan(call("openrouter/pareto-code", plugins=plugins), CODING)
    assert (models(found), found.strategy) == (expected, "pareto")


def test_pareto_code_without_a_candidate_is_404_and_a_wrong_score_400() -> None:
    for plugin, kind in (
        ({"max_price": 0.5}, NotFound),
        ({"min_coding_score": 2}, BadRequest),
        ({"price_source": "gut"}, BadRequest),
    ):
        with pytest.raises(kind):
            plan(call("openrouter/pareto-code", plugins=[{"id": "pareto-router", **plugin}]), CODING)
    with pytest.raises(NotFound):
        plan(call("openrouter/pareto-code"), HERE)


@pytest.mark.parametrize("name", ["openrouter/fusion", "openrouter/fusion-flash", "openrouter/bodybuilder"])
def test_routers_that_are_not_here_are_refused_by_name(name: str) -> None:
    with pytest.raises(ModelUnknown, match="does not have"):
        plan(call(name), HERE)
    offered = model(name, endpoint(provider("openrouter"), name))
    assert models(plan(call(name), HERE, passthrough=lambda slug: offered if slug == name else None)) == [name]

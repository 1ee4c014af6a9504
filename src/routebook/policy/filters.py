"""The hard filters: which endpoints of a model may serve a call at all, and which filter took the last one.

A filter with nothing to do is not made. What is unknown of an endpoint (parameters, modalities, context) filters
nothing; what is unknown of its data policy counts as the worst. Source: routing, sections 2, 3, 8.3 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from routebook.core.call import Call
from routebook.core.catalog import Endpoint, Model
from routebook.policy.house import House, wild
from routebook.policy.shelf import Shelf, shelf_of
from routebook.policy.wishes import NO_WISH, Wish

BYTES_A_TOKEN = 4
"""Of a request body, about: what does not fit by this goes behind what does."""
BYTES_A_TOKEN_MOST = 16
"""What does not fit even so cannot fit: tokens of common vocabularies are shorter over any text worth sending."""

CHECKED_PARAMETERS = frozenset(
    "temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty seed logit_bias logprobs"
    " top_logprobs max_tokens max_completion_tokens stop tools tool_choice parallel_tool_calls response_format"
    " structured_outputs reasoning reasoning_effort include_reasoning verbosity prediction web_search_options".split()
)
PREFERRED_PARAMETERS = ("tools", "response_format", "verbosity")
"""Where some endpoints of a model take one of these and others do not, only the former are used. Routing, section 4."""

_PREFERRED = frozenset(PREFERRED_PARAMETERS)

_SAME = {
    name: group
    for group in (
        frozenset({"max_tokens", "max_completion_tokens"}),
        frozenset({"reasoning", "reasoning_effort", "include_reasoning"}),
        frozenset({"tools", "tool_choice"}),
        frozenset({"response_format", "structured_outputs"}),
    )
    for name in group
}

_PART_KINDS = {
    "image_url": "image",
    "input_audio": "audio",
    "video_url": "video",
    "input_video": "video",
    "file": "file",
}


class Filter(msgspec.Struct, frozen=True):
    """One reason to leave an endpoint out."""

    name: str
    """as an error names it"""
    keep: Callable[[Endpoint], bool]
    detail: str
    """what was asked, for an explanation"""


class Wants(msgspec.Struct, frozen=True):
    """What a request asks of every model in it. Made once a request."""

    call: Call
    wish: Wish
    house: House
    tier: str | None = None
    """`priority` or `flex`: endpoints of that tier may be tried as well"""
    flex_only: bool = False
    """the request wants the flex tier alone, where there is one"""
    compress: bool | None = None
    """shorten what does not fit; None = where the context is small"""


def filters_of(wants: Wants, model: Model) -> list[Filter]:
    """The filters of a request for the endpoints of one model, in the order in which they are applied."""
    found: list[Filter] = []
    wish, call, shelf = wants.wish, wants.call, shelf_of(model.endpoints)
    if not shelf.all_enabled:
        found.append(Filter("endpoints", lambda e: e.enabled, "is enabled"))
    if shelf.tiered:
        _of_tiers(found, wants, model)
    if not wants.house.lenient:
        _of_house(found, wants.house, shelf, model)
    if wish is not NO_WISH:
        _of_wish(found, wants, shelf)
    _of_policies(found, wants, model)
    if wish is not NO_WISH:
        _of_prices(found, wish, shelf)
    _of_size(found, wants, shelf)
    if call.media_prompt or call.audio_prompt or call.chat.modalities is not None:
        _of_modality(found, call)
    if wish.require_parameters:
        sent = frozenset(name for name in CHECKED_PARAMETERS if is_sent(call, name))
        found.append(
            Filter(
                "require_parameters",
                lambda e: e.supported_parameters is None or _supported(sent, e.supported_parameters),
                f"takes {', '.join(sorted(sent)) or 'nothing special'}",
            )
        )
    return found


def _of_tiers(found: list[Filter], wants: Wants, model: Model) -> None:
    wish, tier = wants.wish, wants.tier
    asked = frozenset(wish.order) | (wish.only or frozenset())
    flex_alone = wants.flex_only and any(e.service_tier == "flex" and e.enabled for e in model.endpoints)
    tiers = ("flex",) if flex_alone else (None, tier)
    found.append(
        Filter(
            "service_tier",
            lambda e: e.service_tier in tiers or (e.service_tier is not None and e.tag.lower() in asked),
            f"is of the tier {'flex' if flex_alone else tier or 'default'}",
        )
    )


def _of_house(found: list[Filter], house: House, shelf: Shelf, model: Model) -> None:
    if house.region is not None:
        found.append(Filter("region", lambda e: e.region == house.region, f"runs in {house.region}"))
    if house.models is not None:
        allowed = is_named(model, house.models)
        found.append(Filter("guardrail.models", lambda e: allowed, "the model is allowed here"))
    if is_named(model, house.not_models):
        found.append(Filter("guardrail.models", lambda e: False, "the model is not allowed here"))
    if house.only is not None:
        only = shelf.named([name.lower() for name in house.only], any_tier=True)
        found.append(Filter("account.only", lambda e: e.id in only, "the provider is allowed here"))
    if house.ignore:
        ignored = shelf.named([name.lower() for name in house.ignore], any_tier=True)
        found.append(Filter("account.ignore", lambda e: e.id not in ignored, "the provider is allowed here"))


def is_named(model: Model, patterns: Sequence[str]) -> bool:
    """True if a pattern says its slug or its canonical slug."""
    slugs = (model.slug, model.canonical_slug or model.slug)
    return any(wild(pattern, slug) for pattern in patterns for slug in slugs)


def _of_wish(found: list[Filter], wants: Wants, shelf: Shelf) -> None:
    wish = wants.wish
    if wish.only is not None:
        only = shelf.named(wish.only, wants.tier)
        found.append(Filter("provider.only", lambda e: e.id in only, f"is one of {', '.join(sorted(wish.only))}"))
    if wish.ignore:
        ignored = shelf.named(wish.ignore, any_tier=True)
        if ignored:
            detail = f"is none of {', '.join(sorted(wish.ignore))}"
            found.append(Filter("provider.ignore", lambda e: e.id not in ignored, detail))


def _of_policies(found: list[Filter], wants: Wants, model: Model) -> None:
    wish, house = wants.wish, wants.house
    if wish is NO_WISH and house.lenient:
        return
    if wish.deny_training:
        found.append(Filter("data_policy:training", _keeps_nothing, "neither stores nor trains"))
    if not (house.training_paid and house.training_free):
        found.append(
            Filter(
                "data_policy:training",
                lambda e: _keeps_nothing(e) or (house.training_free if is_free(e) else house.training_paid),
                "may not train on prompts here",
            )
        )
    if not house.publication_free:
        found.append(
            Filter("data_policy:publication", lambda e: not (is_free(e) and e.provider.publishes), "publishes nothing")
        )
    if wish.zdr:
        found.append(Filter("data_policy:zdr", lambda e: e.provider.zdr, "retains nothing"))
    elif house.zdr or house.zdr_groups:
        found.append(
            Filter(
                "data_policy:zdr",
                lambda e: e.provider.zdr or not house.wants_zdr(e.provider),
                "retains nothing, as this account wants it",
            )
        )
    if wish.distillable:
        distillable = model.distillable is True
        found.append(Filter("distillable", lambda e: distillable, "its author allows training on its text"))


def _keeps_nothing(endpoint: Endpoint) -> bool:
    return endpoint.provider.data_collection == "deny" or endpoint.provider.zdr


def is_free(endpoint: Endpoint) -> bool:
    """True if its prices are known and all of prompt, completion and request are nothing."""
    if endpoint.pricing is None:
        return False
    base = endpoint.pricing.base
    prices = [price for price in (base.prompt, base.completion, base.request) if price is not None]
    return bool(prices) and not any(prices)


def _of_prices(found: list[Filter], wish: Wish, shelf: Shelf) -> None:
    if wish.quantizations is not None:
        wanted = wish.quantizations
        found.append(
            Filter("quantization", lambda e: (e.quantization or "unknown") in wanted, f"is {', '.join(sorted(wanted))}")
        )
    if wish.max_price:
        dear = shelf.dearer(wish.max_price)
        found.append(Filter("max_price", lambda e: e.id not in dear, "has a price, and at most that one"))


def _of_size(found: list[Filter], wants: Wants, shelf: Shelf) -> None:
    call = wants.call
    asked = call.chat.max_tokens
    if asked is not None and asked > shelf.completion_least:
        found.append(
            Filter(
                "max_tokens",
                lambda e: e.max_completion_tokens is None or asked <= e.max_completion_tokens,
                f"can make {asked} tokens",
            )
        )
    least = least_tokens(call)
    if least is None:
        return
    need = least + (asked or 0)
    if need <= shelf.context_least:
        return
    compress = wants.compress
    largest = max(e.context_length or 0 for e in shelf.endpoints)

    def fits(endpoint: Endpoint) -> bool:
        context = endpoint.context_length
        if context is None or need <= context:
            return True
        on = compress if compress is not None else context <= SMALL_CONTEXT
        # Shortened prompts lose at most half; where nobody has room for that, the roomiest takes it.
        return on and (2 * context >= need or context == largest)

    found.append(Filter("context", fits, f"has room for {need} tokens or more"))


SMALL_CONTEXT = 8192
"""Prompts are shortened by default for endpoints with this many tokens of context or less. Source: routing, 11."""


def least_tokens(call: Call) -> int | None:
    """Fewer prompt tokens than this it cannot be; None with media, whose bytes are no text."""
    return None if call.media_prompt or call.audio_prompt else call.body_bytes // BYTES_A_TOKEN_MOST


def likely_tokens(call: Call) -> int | None:
    """About so many prompt tokens; None with media."""
    return None if call.media_prompt or call.audio_prompt else call.body_bytes // BYTES_A_TOKEN


def _of_modality(found: list[Filter], call: Call) -> None:
    if needs := inputs_of(call):
        found.append(
            Filter(
                "modality:input",
                lambda e: e.input_modalities is None or needs <= e.input_modalities,
                f"reads {', '.join(sorted(needs))}",
            )
        )
    outputs = frozenset(call.chat.modalities or ()) - {"text"}
    if outputs:
        found.append(
            Filter(
                "modality:output",
                lambda e: e.output_modalities is None or outputs <= e.output_modalities,
                f"makes {', '.join(sorted(outputs))}",
            )
        )


def inputs_of(call: Call) -> frozenset[str]:
    """Kinds of input beside text: image, audio, video, file."""
    if not call.media_prompt and not call.audio_prompt:
        return frozenset()
    lists = [message.content for message in call.chat.messages if isinstance(message.content, list)]
    return frozenset(_PART_KINDS[part.type] for parts in lists for part in parts if part.type in _PART_KINDS)


def is_sent(call: Call, name: str) -> bool:
    """True if the caller sent that parameter, in whatever dialect; null is as good as nothing."""
    if call.surface != "openai_chat":
        return getattr(call.chat, name, None) is not None
    return name in call.raw and bytes(call.raw[name]) != b"null"


def may_prefer(call: Call) -> bool:
    """False if the call has nothing in it that some endpoints are preferred for."""
    if call.surface != "openai_chat":
        return any(is_sent(call, name) for name in PREFERRED_PARAMETERS)
    return not _PREFERRED.isdisjoint(call.raw)


def _supported(sent: frozenset[str], supported: frozenset[str]) -> bool:
    return all(name in supported or not supported.isdisjoint(_SAME.get(name, ())) for name in sent)


def takers(endpoints: Sequence[Endpoint], call: Call) -> Sequence[Endpoint]:
    """The endpoints that take what matters most, if any does; whose parameters are unknown may take them."""
    if not may_prefer(call):
        return endpoints
    for name in PREFERRED_PARAMETERS:
        if is_sent(call, name):
            found = [e for e in endpoints if e.supported_parameters is None or name in e.supported_parameters]
            endpoints = found or endpoints
    return endpoints

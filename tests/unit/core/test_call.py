"""What cannot be expressed is recorded, or refuses the endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.call import Call, CannotExpress, Chat, Losses, Message, Part, ReasoningWish


def test_what_is_not_supported_is_recorded() -> None:
    losses = Losses()
    losses.unsupported("seed", "the provider knows no seeds")
    assert [(loss.parameter, loss.detail) for loss in losses.items] == [("seed", "the provider knows no seeds")]


def test_where_parameters_are_required_the_first_loss_refuses() -> None:
    with pytest.raises(CannotExpress, match="seed") as seen:
        Losses(strict=True).unsupported("seed", "the provider knows no seeds")
    assert seen.value.parameter == "seed"


@pytest.mark.parametrize(
    ("wish", "asked", "off"),
    [
        ({}, False, False),
        ({"effort": "low"}, True, False),
        ({"max_tokens": 1000}, True, False),
        ({"enabled": True}, True, False),
        ({"enabled": False}, False, True),
        ({"effort": "none"}, False, True),
        ({"exclude": True}, False, False),
    ],
)
def test_a_wish_for_reasoning_is_asked_off_or_neither(wish: dict[str, Any], asked: bool, off: bool) -> None:
    found = ReasoningWish(**wish)
    assert (found.asked, found.off) == (asked, off)


def test_only_pictures_count_as_pictures() -> None:
    parts = [Part("text", text="x"), Part("image_url"), Part("file"), Part("video_url"), Part("image_url")]
    call = Call(surface="s", model="m", chat=Chat([Message("user", parts)]), raw={}, media_prompt=4)
    assert call.images == 2
    assert Call(surface="s", model="m", chat=Chat([Message("user", "x")]), raw={}).images == 0

"""The value of `X-Routebook-Translation`: short, ASCII, and nothing of a caller's own that could end a line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.call import CannotExpress, Loss, Losses
from routebook.corridor.translation import LENGTH_MAX, is_asked, told


def test_nothing_lost_is_said_too() -> None:
    assert told(()) == "none"


def test_names_are_told_once_and_by_kind() -> None:
    losses = Losses()
    losses.unsupported("logit_bias", "no such thing")
    losses.mapped("reasoning.effort", "high")
    losses.unsupported("seed", "no such thing")
    losses.unsupported("seed", "twice")
    assert told(losses.items) == "lost=logit_bias,seed; mapped=reasoning.effort"
    assert told([Loss("plugins", "")], refused="seed") == "refused=seed; lost=plugins"


def test_what_is_mapped_refuses_unless_the_api_says_that_it_maps_it() -> None:
    losses = Losses(strict=True)
    losses.mapped("reasoning.effort", "high", agreed=True)
    with pytest.raises(CannotExpress, match="temperature: sent as 1"):
        losses.mapped("temperature", "sent as 1")
    assert [loss.parameter for loss in losses.items] == ["reasoning.effort"]


def test_what_has_no_room_is_counted() -> None:
    value = told([Loss(f"messages[{n}].content[{n}].cache_control", "") for n in range(200)])
    names, rest = value.removeprefix("lost=").rsplit(",+", 1)
    assert int(rest) == 200 - len(names.split(","))
    assert len(value) <= LENGTH_MAX


@given(st.lists(st.builds(Loss, st.text(), st.text(), st.booleans()), max_size=80), st.none() | st.text())
def test_whatever_a_name_holds_the_value_is_one_short_line(losses: list[Loss], refused: str | None) -> None:
    value = told(losses, refused)
    assert len(value) <= LENGTH_MAX
    assert re.fullmatch(r"none|(refused|lost|mapped)=[!-:<-~]+(; (lost|mapped)=[!-:<-~]+)*", value)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, False),
        ({"x-routebook-translation": "enabled"}, True),
        ({"x-routebook-translation": " Enabled "}, True),
        ({"x-routebook-translation": "1"}, False),
        ({"x-openrouter-metadata": "enabled"}, False),
    ],
)
def test_one_word_asks(headers: dict[str, str], wanted: bool) -> None:
    assert is_asked(headers) is wanted

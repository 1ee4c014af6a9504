"""The file that is read first stays readable."""

from __future__ import annotations

import inspect

from routebook.corridor import exchange


def test_the_steps_of_a_request_stand_on_one_screen() -> None:
    assert len(inspect.getsource(exchange.exchange).splitlines()) <= 50

"""The meter knows at any moment what an answer has said and cost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from routebook.core.errors import UpstreamLost
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta, Whole
from routebook.core.usage import COUNT_MAX, Usage
from routebook.metering.meter import Called, Meter


def fed(*events: Event) -> Meter:
    meter = Meter()
    for event in events:
        meter.feed(event)
    return meter


def test_text_reasoning_refusals_and_tool_arguments_are_counted_in_bytes_of_utf8() -> None:
    meter = fed(
        Delta(text="Grüße"),
        Delta(reasoning="hm"),
        Delta(refusal="no"),
        Delta(tool_calls=[ToolDelta(0, name="look", arguments='{"x":"ü"}')]),
    )
    assert (meter.frames, meter.delivered_bytes) == (4, 7 + 2 + 2 + 4 + 10)


def test_tool_calls_are_put_together_by_choice_and_place() -> None:
    pieces = (
        ToolDelta(0, "a", "look", '{"x"'),
        ToolDelta(1, "b", "find"),
        ToolDelta(0, arguments=": 1}"),
        ToolDelta(1, arguments="{}"),
    )
    meter = fed(
        *[Delta(tool_calls=[piece]) for piece in pieces],
        Delta(index=1, tool_calls=[ToolDelta(0, "c", "run", "x", "custom")]),
    )
    assert meter.tool_calls == {
        (0, 0): Called("function", "look", ['{"x"', ": 1}"]),
        (0, 1): Called("function", "find", ["", "{}"]),
        (1, 0): Called("custom", "run", ["x"]),
    }
    assert fed(Delta(text="Hi")).tool_calls is None


def test_a_role_alone_is_no_content() -> None:
    assert fed(Delta(role="assistant"), Delta(role="assistant", text="")).frames == 0


def test_the_last_report_of_usage_counts() -> None:
    reports = (Usage(prompt=10), Usage(prompt=10, completion=1), Usage(prompt=10, completion=7))
    meter = fed(*(Counted(report) for report in reports))
    assert meter.usage == Usage(prompt=10, completion=7)
    assert meter.reported


def test_a_report_without_a_completion_is_not_the_last_word() -> None:
    assert not fed(Counted(Usage(prompt=10))).reported


@pytest.mark.parametrize("count", [-1, COUNT_MAX + 1, 10**30])
def test_a_count_that_cannot_be_is_unknown(count: int) -> None:
    meter = fed(Counted(Usage(prompt=10, completion=count, cached=count, raw=b"{}")))
    assert meter.usage == Usage(prompt=10, raw=b"{}")
    assert not meter.reported


def test_the_first_choice_to_end_names_the_reason() -> None:
    meter = fed(Delta(text="a"), Delta(index=1, text="b"), Finish("length", "max", 1), Finish("stop", "end", 0))
    assert (meter.finish_reason, meter.native_finish_reason) == ("length", "max")


def test_a_choice_that_failed_names_the_reason_whenever_it_ends() -> None:
    assert fed(Finish("stop", index=0), Finish("error", "abort", 1)).finish_reason == "error"


def test_an_answer_has_finished_when_every_choice_that_began_has() -> None:
    meter = fed(Delta(text="a"), Delta(index=1, role="assistant"), Finish("stop", index=0))
    assert not meter.finished
    meter.feed(Finish("stop", index=1))
    assert meter.finished
    meter.feed(Delta(text="a late word of a choice that has ended"))
    assert meter.finished
    meter.feed(Delta(index=2, text="one more choice"))
    assert not meter.finished


def test_what_the_provider_calls_itself_is_kept_when_a_later_frame_leaves_it_out() -> None:
    meter = fed(Start(upstream_id="a", model="m", provider="P"), Start(service_tier="flex"))
    assert (meter.upstream_id, meter.upstream_model, meter.upstream_provider) == ("a", "m", "P")
    assert meter.service_tier == "flex"


def test_media_of_the_answer_are_images_or_one_for_audio() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    assert fed(Delta(images=[image, image]), Delta(images=[image])).media == 3
    assert fed(Delta(audio={"data": "a"}), Delta(audio={"data": "b"})).media == 1


def test_a_failure_is_an_error_finish() -> None:
    assert fed(Delta(text="a"), Failed(UpstreamLost())).finish_reason == "error"


WHOLE = Whole(
    text="Grüße",
    start=Start("a", "m", "flex", "fp", "P"),
    finish=Finish("length", "max", 0),
    usage=Usage(prompt=10, completion=7),
)


def known(meter: Meter) -> list[object]:
    return [getattr(meter, name) for name in Meter.__struct_fields__]


@pytest.mark.parametrize(
    "whole",
    [WHOLE, replace(WHOLE, index=3, finish=Finish("stop", index=3)), replace(WHOLE, start=Start(), usage=Usage())],
)
def test_a_whole_answer_counts_as_its_parts_do(whole: Whole) -> None:
    assert known(fed(whole)) == known(fed(*whole.parts()))
    before = (Start("first"), Delta(index=1, text="b"))
    assert known(fed(*before, whole)) == known(fed(*before, *whole.parts()))

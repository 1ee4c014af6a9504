"""Reference token counts: a real child, a real tokenizer, an amendment in the daybook."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from routebook.core.call import Call, Chat, Message
from routebook.core.generation import Amendment, Progress
from routebook.daybook import reference
from routebook.daybook.reference import TokenCounter

pytestmark = pytest.mark.skipif(not reference.available(), reason="the extra `tokens` is not installed")


class Notes:
    """The one verb of a daybook that a counter uses."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, Progress | Amendment]] = []

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        self.rows.append((id, n, row))


def call(text: str) -> Call:
    return Call(surface="openai_chat", model="m", chat=Chat(messages=[Message("user", text)]), raw={})


def test_a_finished_call_gets_its_reference_counts_as_an_amendment(tmp_path: Path) -> None:
    notes = Notes()

    async def scenario() -> TokenCounter:
        counter = TokenCounter(notes, tmp_path, lambda: 7)  # type: ignore[arg-type]
        counter.submit("gen-1", 1, call("The quick brown fox jumps over the lazy dog."), "Indeed it does.")
        counter.submit("gen-2", 2, call(""), "")
        await counter.aclose(patience=30)
        return counter

    counter = asyncio.run(scenario())
    assert counter.dropped == 0
    assert notes.rows == [
        ("gen-1", 1, Amendment(at_ns=7, tokens_prompt=10, tokens_completion=4, reference_tokenizer="o200k_base")),
        ("gen-2", 2, Amendment(at_ns=7, tokens_prompt=0, tokens_completion=0, reference_tokenizer="o200k_base")),
    ]


def test_what_does_not_fit_the_queue_is_dropped_and_counted(tmp_path: Path) -> None:
    async def scenario() -> TokenCounter:
        counter = TokenCounter(Notes(), tmp_path, lambda: 7)  # type: ignore[arg-type]
        counter.submit("gen-1", 1, call("x" * (reference.TEXT_BYTES_MAX + 1)), "")
        await counter.aclose()
        return counter

    assert asyncio.run(scenario()).dropped == 1


def test_who_waits_for_a_count_gets_it_before_what_is_queued_and_nothing_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "PATIENCE", 60.0)
    notes = Notes()

    async def scenario() -> list[int | None]:
        counter = TokenCounter(notes, tmp_path, lambda: 7)  # type: ignore[arg-type]
        said = [counter.count(call("The quick brown fox jumps over the lazy dog.")), counter.count(call(""))]
        found = await asyncio.gather(*said)
        await counter.aclose(patience=30)
        return found

    assert asyncio.run(scenario()) == [10, 0]
    assert notes.rows == []


def test_a_count_that_does_not_come_in_time_or_not_at_all_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "PATIENCE", 0.0)

    async def scenario() -> list[int | None]:
        counter = TokenCounter(Notes(), tmp_path, lambda: 7)  # type: ignore[arg-type]
        late = await counter.count(call("x"))
        long = await counter.count(call("x" * (reference.TEXT_BYTES_MAX + 1)))
        await counter.aclose(patience=30)
        counter.broken = "the child does not start"
        return [late, long, await counter.count(call("x"))]

    assert asyncio.run(scenario()) == [None, None, None]


def test_a_text_that_the_tokenizer_gives_up_on_keeps_its_native_counts_and_others_are_counted(tmp_path: Path) -> None:
    notes = Notes()
    blanks = " " * 1_000_000

    async def scenario() -> tuple[TokenCounter, int | None]:
        counter = TokenCounter(notes, tmp_path, lambda: 7)  # type: ignore[arg-type]
        counter.submit("gen-1", 1, call(blanks), "Indeed it does.")
        asked = await counter.count(call(blanks))
        counter.submit("gen-2", 2, call("The quick brown fox"), "Indeed it does.")
        await counter.aclose(patience=60)
        return counter, asked

    counter, asked = asyncio.run(scenario())
    assert (counter.broken, counter.dropped, asked) == (None, 1, None)
    assert [id for id, _, _ in notes.rows] == ["gen-2"]


def test_a_child_that_cannot_be_started_is_said_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("routebook.daybook.reference.asyncio.create_subprocess_exec", refused)

    async def scenario() -> tuple[int | None, str | None]:
        counter = TokenCounter(Notes(), tmp_path, lambda: 7)  # type: ignore[arg-type]
        counter.submit("gen-1", 1, call("x"), "")
        asked = await counter.count(call("x"))
        await counter.aclose()
        return asked, counter.broken

    told = "the counting process cannot be started: Resource temporarily unavailable"
    assert asyncio.run(scenario()) == (None, told)


def test_questions_that_nobody_waits_for_any_more_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "PATIENCE", 0.0)
    monkeypatch.setattr(reference, "QUEUE_CALLS_MAX", 3)
    monkeypatch.setattr(TokenCounter, "_begin", lambda counter: None)  # the child is slow to begin

    async def scenario() -> int:
        counter = TokenCounter(Notes(), tmp_path, lambda: 7)  # type: ignore[arg-type]
        for _ in range(10):
            assert await counter.count(call("x")) is None
        assert counter._next() is None, "nobody waits, so the child is given none of them"
        return counter._questions_bytes

    assert asyncio.run(scenario()) == 0

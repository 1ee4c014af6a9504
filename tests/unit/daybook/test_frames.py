"""The format: what is written is read back, and nothing else is taken for a frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routebook.core.generation import Row
from routebook.daybook import frames
from routebook.daybook.frames import HEADER_SIZE, NO_DIGEST, Header, frame_at, next_frame, pack_header, unpack_header

ROWS = st.lists(
    st.builds(
        Row,
        seq=st.just(0),
        n=st.integers(0, 2**40),
        id=st.text("abcXYZ-0", max_size=40),
        state=st.integers(1, 20),
        blob=st.binary(max_size=80),
    ),
    min_size=1,
    max_size=4,
)
HEADERS = st.builds(
    Header,
    name=st.just("aB3"),
    number=st.integers(1, 2**23),
    seq=st.integers(0, 2**60),
    top=st.integers(0, 2**60),
    since=st.integers(1, 2**23),
    made_ns=st.integers(0, 2**62),
    digest=st.binary(min_size=32, max_size=32),
)


def framed(rows: list[Row], first: int = 1, before: bytes = NO_DIGEST, top: int = 9) -> tuple[bytes, bytes]:
    parts = [b""]
    for back, row in enumerate(rows):
        parts += (frames.pack_row(row.n, back, len(row.blob), row.state, len(row.id)), row.id.encode(), row.blob)
    return frames.seal(before, first, top, len(rows), parts)


@given(ROWS, st.integers(1, 2**50), st.binary(max_size=30))
def test_rows_are_read_back_as_they_were_written(rows: list[Row], first: int, around: bytes) -> None:
    data, digest = framed(rows, first)
    frame = frame_at(around + data + around, len(around), base=1000)
    assert frame is not None
    assert (frame.start, frame.end) == (1000 + len(around), 1000 + len(around) + len(data))
    assert (frame.seq, frame.length, frame.top, frame.before, frame.digest) == (first, len(rows), 9, NO_DIGEST, digest)
    found = frames.rows(frame)
    assert [row.seq for row in found] == list(range(first, first + len(rows)))
    assert [(row.n, row.id, row.state, row.blob) for row in found] == [(r.n, r.id, r.state, r.blob) for r in rows]
    assert frames.marks(frame) == [(row.n, row.state) for row in rows]
    for row in rows:
        mine, back = frames.of_call(frame, row.n)
        assert [each.blob for each in mine] == [each.blob for each in rows if each.n == row.n]
        assert back == max(at for at, each in enumerate(rows) if each.n == row.n)


@given(ROWS)
def test_a_frame_that_is_cut_off_anywhere_is_none(rows: list[Row]) -> None:
    data, _ = framed(rows)
    for cut in range(len(data)):
        assert frame_at(data[:cut], 0) is None


@given(ROWS, st.integers(1, 255))
def test_a_change_of_any_byte_is_noticed(rows: list[Row], change: int) -> None:
    data, _ = framed(rows)
    for at in range(len(data)):
        assert frame_at(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :], 0) is None


@given(HEADERS, st.integers(1, 255))
def test_a_header_is_read_back_and_a_change_of_any_byte_is_noticed(header: Header, change: int) -> None:
    data = pack_header(header)
    assert len(data) == HEADER_SIZE
    assert unpack_header(data + b"more") == header
    for at in range(len(data)):
        assert unpack_header(data[:at]) is None
        assert unpack_header(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]) is None


@given(ROWS, ROWS, st.binary(max_size=60))
def test_the_next_frame_is_found_behind_whatever_lies_before_it(
    rows: list[Row], others: list[Row], rubbish: bytes
) -> None:
    first, digest = framed(rows)
    second, _ = framed(others, 1 + len(rows), digest)
    data = rubbish + first[:-1] + second
    assert next_frame(data, 0) == len(data) - len(second)
    assert next_frame(data, len(data) - len(second) + 1) is None


def test_frames_vouch_for_the_one_before() -> None:
    row = Row(0, 1, "gen-1", 1, b"x")
    _, digest = framed([row])
    second, later = framed([row], 2, digest)
    third, other = framed([row], 2, bytes(31) + b"\1")
    assert frame_at(second, 0) != frame_at(third, 0)
    assert later != other


def test_what_must_be_known_of_a_frame_is_its_lead_then_all_of_it() -> None:
    data, _ = framed([Row(0, 1, "gen-1", 1, b"x" * 100)])
    assert frames.needed(data[:5], 0) == frames.LEAD_SIZE
    assert frames.needed(data[: frames.LEAD_SIZE], 0) == len(data)
    assert frames.needed(b"no frame begins like this", 0) == frames.LEAD_SIZE

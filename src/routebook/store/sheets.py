"""How ended calls lie in the store: in sheets of up to 64, and how one of them is read out again. Pure.

A sheet has the packed intents of its calls as one msgpack array, their outcomes as another, and where there was any, a
map from slot to progress. A few large values instead of a row with blobs for each call save a third of what shipping
costs, and nothing in them is read when they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from routebook.core.generation import Amendment, Revision
from routebook.core.ids import from_base62
from routebook.store.port import Posting
from routebook.wire.codec import Raw, array_of, pack, unpack, unpacker


class Leaf(msgspec.Struct, frozen=True):
    """One call of a sheet, its blobs unread."""

    intent: Raw
    outcome: Raw
    progress: Raw | None


class FoldedRaw(msgspec.Struct, frozen=True):
    """Packs to the bytes that `core.generation.Folded` unpacks from, without reading what is inside."""

    seq: int
    intent: Raw
    progress: Raw | None
    outcome: Raw
    state: int
    amendments: tuple[Raw, ...] = ()


class _Id(msgspec.Struct, frozen=True, array_like=True):
    """The first field of an intent; the rest is passed by."""

    id: str


_blobs = unpacker(list[Raw])
_blobs_by_slot = unpacker(dict[int, Raw])
_id = unpacker(_Id)


def row_of(blobs: Sequence[bytes]) -> bytes:
    """Packed values side by side, as an array of them."""
    return array_of(blobs, len(blobs))


def notes_of(progress: dict[int, bytes]) -> bytes | None:
    """Progress by slot; None where there is none."""
    return pack({slot: Raw(blob) for slot, blob in progress.items()}) if progress else None


class Leaves:
    """The calls of a sheet by slot."""

    __slots__ = ("_intents", "_notes", "_outcomes")

    def __init__(self, intents: bytes, outcomes: bytes, progress: bytes | None) -> None:
        self._intents = _blobs(intents)
        self._outcomes = _blobs(outcomes)
        self._notes = _blobs_by_slot(progress) if progress else {}

    def __getitem__(self, slot: int) -> Leaf:
        return Leaf(self._intents[slot], self._outcomes[slot], self._notes.get(slot))


def id_of(intent: Raw) -> str:
    """The generation id in a packed intent."""
    return _id(bytes(intent)).id


def fold(leaf: Leaf, seq: int, state: int, amendments: Sequence[tuple[int, bytes]]) -> bytes:
    """The packed Folded of a call: `seq` is its terminal row's, amendments are (their own sequence, blob) in order;
    those of other daybooks have sequence 0, since the call's is that of its own."""
    return pack(
        FoldedRaw(
            max([seq, *(each for each, _ in amendments)]),
            leaf.intent,
            leaf.progress,
            leaf.outcome,
            state,
            tuple(Raw(blob) for _, blob in amendments),
        )
    )


def posting_of_revision(revision: Revision) -> Posting:
    """The difference that a charge made anew makes, on the day that the call was posted to; it is no call more."""
    return Posting(
        key_hash=revision.key_hash,
        account=revision.account,
        day=day_of(revision.accepted_ns),
        usage=revision.difference,
        byok=revision.byok_difference,
        requests=0,
    )


def difference_in(amendment: bytes) -> Posting | None:
    """What a packed Amendment posted; None for one that is about something else."""
    revision = revision_in(amendment)
    return None if revision is None else posting_of_revision(revision)


def revision_in(amendment: bytes) -> Revision | None:
    """The charge made anew in a packed Amendment; None for one that is about something else."""
    return unpack(amendment, Amendment).revision


def place_of(id: str) -> tuple[str, int] | None:
    """(daybook, n) that the last nine characters of an id name, whatever stands before them; None for other ends.

    Only a place to look: whether the call there has this id, its intent says.
    """
    n = from_base62(id[-6:])
    return None if n is None or len(id) < 9 else (id[-9:-6], n)


def day_of(accepted_ns: int) -> str:
    """The UTC day of a call, YYYY-MM-DD."""
    return datetime.fromtimestamp(accepted_ns // 10**9, UTC).date().isoformat()

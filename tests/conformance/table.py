"""The page docs/conformance.md, made from what the dialects do. `python -m tests.conformance` writes it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from tests.conformance.answers import ANSWERS, ENDS, FACES, Said, written
from tests.conformance.cases import CASES, Case
from tests.conformance.lanes import LANES, Lane, asked

SENT, MAPPED, LOST, REFUSED = "+", "≈", "–", "×"


@dataclass(frozen=True)
class Cell:
    mark: str
    notes: tuple[tuple[str, str], ...] = ()
    """(parameter, why) of what is lost or mapped; what a refusal says"""
    missing: tuple[str, ...] = ()
    """evidence that is not there"""
    sent: str = ""
    """all that the provider gets"""


def request_cell(case: Case, lane: Lane) -> Cell:
    request, losses, why = lane.build(asked(case.body))
    if request is None:
        return Cell(REFUSED, (("", why),))
    told = [f"{name}: {value}" for name, value in request.headers if name not in ("content-type", "accept")]
    text = " ".join((request.url, request.body.decode(), *told))
    notes = tuple(dict.fromkeys((loss.parameter, loss.detail) for loss in losses.items))
    lost = any(not loss.mapped for loss in losses.items)
    missing = tuple(mark for mark in case.evidence if not is_in(mark, text))
    return Cell(LOST if lost else MAPPED if notes else SENT, notes, missing, text)


def answer_cell(answer: Said, face: str) -> Cell:
    evidence = (*answer.evidence, *([ENDS[answer.name, face]] if (answer.name, face) in ENDS else []))
    bodies = [written(answer, face, stream).decode() for stream in (False, True)]
    missing = tuple(dict.fromkeys(mark for body in bodies for mark in evidence if not is_in(mark, body)))
    return Cell(LOST if missing else SENT, missing=missing)


def is_in(mark: str, text: str) -> bool:
    """The mark as it is, in JSON's escapes, or somewhere in base64: some dialects have bytes so, and what this gateway
    seals is so."""
    escaped = mark.encode("ascii", "backslashreplace").decode()
    if mark in text or escaped in text:
        return True
    # Of base64, the characters that depend on the mark alone, for each place in a group of three bytes.
    for before in range(3):
        data = b64encode(b"\0" * before + mark.encode()).decode().rstrip("=")
        start, whole = -(-before * 8 // 6), (before + len(mark.encode())) * 8 // 6
        if data[start:whole] in text:
            return True
    return False


def page() -> str:
    cells = {(case.name, lane.name): request_cell(case, lane) for case in CASES for lane in LANES}
    lines = [
        "# What each dialect can say",
        "",
        "Made from the dialects themselves (`python -m tests.conformance` writes this page, a test compares it):",
        "one request for each thing that a caller of the chat API can say, built for every dialect, and one answer for",
        "each thing that a provider can say, written for callers of every API. A mark in each has to be found in what",
        "leaves.",
        "",
        "| | |",
        "|---|---|",
        f"| `{SENT}` | said |",
        f"| `{MAPPED}` | said as the nearest thing there is, and named on the record |",
        f"| `{LOST}` | not said, and named on the record; of answers: the API has no place for it |",
        f"| `{REFUSED}` | refused (400): the request means nothing without it |",
        "",
        "With `provider.require_parameters` an endpoint that cannot say something is passed over, see",
        "[routing](routing.md); callers who ask are told in [the head of the answer](surfaces.md#what-was-lost).",
        "",
        "## Requests",
        "",
        row("", *(lane.name for lane in LANES)),
        row(*["---"] * (len(LANES) + 1)),
        *(row(case.name, *(cells[case.name, lane.name].mark for lane in LANES)) for case in CASES),
        "",
        "The models behind them: " + ", ".join(f"{lane.name} `{lane.model}`" for lane in LANES) + ".",
        "",
        "## Why",
        "",
    ]
    for lanes, notes in families(cells):
        lines += [f"### {', '.join(lanes)}", "", *(notes or ["Nothing is lost."]), ""]
    lines += [
        "## Answers",
        "",
        row("", *FACES),
        row(*["---"] * (len(FACES) + 1)),
        *(row(answer.name, *(answer_cell(answer, face).mark for face in FACES)) for answer in ANSWERS),
        "",
    ]
    return "\n".join(lines)


def families(cells: dict[tuple[str, str], Cell]) -> list[tuple[list[str], list[str]]]:
    """(lanes, what is told of them): those that lose the same for the same reasons together."""
    out: dict[tuple[str, ...], list[str]] = {}
    for lane in LANES:
        notes = []
        for case in CASES:
            cell = cells[case.name, lane.name]
            why = "; ".join(f"`{parameter}` {detail}" if parameter else detail for parameter, detail in cell.notes)
            if why:
                notes.append(f"- `{cell.mark}` {case.name}: {why}")
        out.setdefault(tuple(notes), []).append(lane.name)
    return [(lanes, list(notes)) for notes, lanes in out.items()]


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"

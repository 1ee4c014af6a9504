"""What one request pays for, step by step: samples of py-spy (`--profile`) x a measured total. The steps sum to it.

`python -m bench.steps bench/out/profile/json.folded 150.0` prints a table in Markdown. A sample belongs to the
innermost frame that a step knows; what no frame of ours covers is the event loop with the kernel under it. Idle threads
are left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

STEPS = (
    ("reading the request, writing the answer to the socket", ("routebook/edge/",)),
    ("the provider's socket: pool, head, parser", ("routebook/upstream/",)),
    ("dialects: request decoded and built, answer read and written", ("routebook/dialects/", "routebook/wire/sse")),
    ("the book: intent and outcome packed, inserted, committed", ("routebook/daybook/",)),
    ("carrying rows to the store", ("routebook/ledger/ship", "routebook/ledger/posting", "routebook/store/")),
    ("key, hold, balances", ("routebook/ledger/", "routebook/policy/admission")),
    ("usage, price, bounds", ("routebook/metering/", "routebook/core/money")),
    ("plan", ("routebook/policy/", "routebook/corridor/plan", "routebook/corridor/admit")),
    ("the corridor itself: entry, attempt, settling", ("routebook/corridor/",)),
    ("metrics, clock, ids", ("routebook/observe/", "routebook/core/")),
)
LOOP = "the event loop and the kernel under it"
IDLE = ("wait (threading.py", "_worker (concurrent", "select (select", "Keeper._to_disk")


def step_of(stack: list[str]) -> str | None:
    """The step a sample belongs to; None for an idle thread."""
    if any(mark in stack[-1] for mark in IDLE):
        return None
    for frame in reversed(stack):
        for step, marks in STEPS:
            if any(mark in frame for mark in marks):
                return step
    return LOOP


def shares(folded: Path) -> Counter[str]:
    """Samples by step."""
    found: Counter[str] = Counter()
    for line in folded.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        step = step_of(stack.split(";"))
        if step is not None:
            found[step] += int(count)
    return found


def main() -> None:
    folded, total = Path(sys.argv[1]), float(sys.argv[2])
    found = shares(folded)
    samples = sum(found.values())
    print("| step | share | µs |\n|---|---|---|")
    for step, count in found.most_common():
        print(f"| {step} | {100 * count / samples:.1f} % | {total * count / samples:.1f} |")
    print(f"| **sum** | 100 % | {total:.1f} |")


if __name__ == "__main__":
    main()

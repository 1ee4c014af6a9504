"""The chaos harness: what the book promises, shown against real gateway processes that are killed, starved and stopped.

`python -m chaos` runs every suite (see `chaos.suites`), prints a table of promises and figures and exits 1 if one is
broken. A short run of each stands in `tests/chaos`. What the provider wants to be paid is worked out by the scripted
provider alone; the judge compares that bill with the book.
"""

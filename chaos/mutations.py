"""A guard that is switched off makes a test fail that is named: what looks after the book is looked after itself."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from chaos.finding import Finding, Say
from chaos.lives import ROOT
from chaos.mutate import NOTICED

_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
_LAST = re.compile(r"(\d+) (?:failed|passed)")


async def each_guard(folder: Path, say: Say, *, also_plain: bool = True) -> Finding:
    """The named tests, each with its guard off. `also_plain`: with all guards on, too, where they have to pass."""
    finding = Finding("mutations", "each guard that is switched off makes a named test fail")
    tests = list(NOTICED.values())
    if also_plain:
        say("with all guards on")
        finding.broken += [f"{test} fails as it is" for test in await _failing(tests)]
    say("with each guard off")
    failing = await _failing(["--mutants", *tests])
    for guard, test in NOTICED.items():
        if test not in failing:
            finding.broken.append(f"{guard.__name__} is off, and {test} does not notice")
    finding.figures = {"guards": len(tests), "noticed": len(failing & set(tests))}
    return finding


async def _failing(arguments: list[str]) -> set[str]:
    """Tests that failed, without their parameters. Raises RuntimeError where they could not be run."""
    options = ["-n", "0", "--tb", "no", "-rf", "-p", "no:cacheprovider", "-p", "chaos.mutate"]
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *options, *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await run.communicate()
    said = out.decode()
    wanted = sum(not argument.startswith("-") for argument in arguments)
    # Every named test has run: one that cannot be imported or found is no test that noticed.
    if run.returncode not in (0, 1) or sum(int(count) for count in _LAST.findall(said.splitlines()[-1])) < wanted:
        raise RuntimeError(f"the named tests could not be run: {said[-800:]}")
    return {name.partition("[")[0] for name in _FAILED.findall(said)}

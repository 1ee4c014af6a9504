"""The gateway under cProfile: `python -m bench.profiled OUT serve --config FILE …`; OUT is written at its end."""

from __future__ import annotations

import cProfile
import sys

if __name__ == "__main__":
    from routebook.cli.main import main

    profile = cProfile.Profile()
    try:
        profile.runcall(main, sys.argv[2:])
    finally:
        profile.dump_stats(sys.argv[1])

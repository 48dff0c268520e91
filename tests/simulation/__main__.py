"""`python -m tests.simulation HISTORIES SEED`: run so many histories; exit code 1 and an explanation if any diverges."""

from __future__ import annotations

import sys
import time
from itertools import islice

from tests.simulation import runner

# Of each block of histories, so many are named; more explanations than so many do not help.
_NAMED = 5
_LINE_CHARACTERS = 300
_EXPLAINED = 3


def main() -> int:
    histories, first = int(sys.argv[1]), int(sys.argv[2])
    began = time.monotonic()
    done, diverged = [], dict[int, str]()
    for block in runner.run(first, histories):
        done.append(block)
        diverged |= block.diverged
        for seed, wrong in islice(block.diverged.items(), _NAMED):
            print(f"seed {seed}: {wrong[:_LINE_CHARACTERS]}")
        if sys.stdout.isatty():
            print(f"{sum(one.histories for one in done)} of {histories}", end="\r", flush=True)
    for seed in list(diverged)[:_EXPLAINED]:
        print(f"\n{runner.explained(seed)}")
    print(runner.report(done, time.monotonic() - began))
    return 1 if diverged else 0


if __name__ == "__main__":
    sys.exit(main())

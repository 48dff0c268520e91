"""`python -m tests.chaos --cycles 20 --seed 1`: the chaos suite on servers of its own; exit code 0 if nothing was wrong.

An interrupt (Ctrl-C) ends it after the fault at hand, with the verdict on those there were.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.run import LONG_OUTAGE_SECONDS, OUTAGE_SECONDS, run
from tests.chaos.servers import servers


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    arguments.add_argument("--cycles", type=int, default=len(FAULTS))
    arguments.add_argument("--seed", default="", help="the same seed, the same schedule; without it a new one, printed")
    arguments.add_argument("--faults", default="", help=f"only these kinds, comma separated: {', '.join(FAULTS)}")
    arguments.add_argument("--long", action="store_true", help="Redis is away for a minute each time")
    arguments.add_argument("--keep", type=Path, help="leave the logs of all processes in this directory")
    told = arguments.parse_args()
    seed = int(told.seed) if told.seed else secrets.randbelow(1_000_000)
    kinds = [kind for kind in told.faults.split(",") if kind] or list(FAULTS)
    if unknown := set(kinds) - FAULTS.keys():
        arguments.error(f"no such fault: {', '.join(sorted(unknown))}")
    print(f"seed {seed}", flush=True)
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    with servers(told.keep) as (kafka, redis, directory):
        report = asyncio.run(
            run(
                kafka,
                redis,
                directory / "run",
                app="chaos",
                cycles=told.cycles,
                seed=seed,
                kinds=kinds,
                outage_seconds=LONG_OUTAGE_SECONDS if told.long else OUTAGE_SECONDS,
                options=f"{' LONG=1' if told.long else ''}{f' FAULTS={told.faults}' if told.faults else ''}",
                say=lambda line: print(line, flush=True),
                interrupted=lambda: bool(interrupts),
            )
        )
    for line in report.lines():
        print(line)
    print(report.json())
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

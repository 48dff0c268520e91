"""`python -m tests.chaos --cycles 20 --seed 1`: the chaos suite on servers of its own; exit code 0 if nothing was wrong."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy.local.kafka import Kafka
from deploy.local.process import Guard
from deploy.local.redis import Redis
from deploy.local.stack import STATE
from tests.chaos.faults import FAULTS
from tests.chaos.run import LONG_OUTAGE_SECONDS, OUTAGE_SECONDS, run


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    arguments.add_argument("--cycles", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=None, help="the same seed, the same schedule; without it a new one, printed")
    arguments.add_argument("--faults", default="", help=f"only these kinds, comma separated: {', '.join(FAULTS)}")
    arguments.add_argument("--long", action="store_true", help="Redis is away for a minute each time")
    arguments.add_argument("--keep", type=Path, help="leave the logs of all processes in this directory")
    told = arguments.parse_args()
    seed = secrets.randbelow(1_000_000) if told.seed is None else told.seed
    kinds = [kind for kind in told.faults.split(",") if kind] or list(FAULTS)
    if unknown := set(kinds) - FAULTS.keys():
        arguments.error(f"no such fault: {', '.join(sorted(unknown))}")
    print(f"seed {seed}", flush=True)
    with ExitStack() as exits:
        directory = told.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
        directory.mkdir(parents=True, exist_ok=True)
        if told.keep is None:
            exits.callback(shutil.rmtree, directory, ignore_errors=True)
        guard = Guard(directory)
        exits.callback(guard.close)
        kafka, redis = Kafka(directory / "kafka", cache=STATE), Redis(directory / "redis", cache=STATE)
        for server in (kafka, redis):
            exits.callback(server.kill)
            server.start()
        report = asyncio.run(
            run(
                kafka, redis, directory / "run", app="chaos", cycles=told.cycles, seed=seed, kinds=kinds,
                outage_seconds=LONG_OUTAGE_SECONDS if told.long else OUTAGE_SECONDS, say=lambda line: print(line, flush=True),
            )
        )  # fmt: skip
    for line in report.lines():
        print(line)
    print(report.json())
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

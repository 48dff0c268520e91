"""`python -m tests.chaos.planted [BUG ...]`: every planted bug must be caught, and nothing be found without one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

from tests.chaos.bugs import BUGS
from tests.chaos.scenarios import CONTROLS, PLANS, Plan, findings
from tests.chaos.servers import servers

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis


async def _all(kafka: Kafka, redis: Redis, directory: Path, bugs: list[str], at_once: int) -> dict[str, bool]:
    """Run the scenarios, some side by side; whether each came out as it must."""
    free = asyncio.Semaphore(at_once)
    chosen = [PLANS[bug] for bug in bugs]
    runs: list[tuple[str, Plan, str | None]] = [(name, plan, None) for name, plan in CONTROLS.items() if plan in chosen]
    runs += [(bug, PLANS[bug], bug) for bug in bugs]
    right: dict[str, bool] = {}

    async def one(number: int, name: str, plan: Plan, bug: str | None) -> None:
        async with free:
            began = time.monotonic()
            found = await findings(plan, bug, kafka, redis, directory / str(number), f"planted{number}")
            right[name] = bool(found) == (bug is not None)
            said = ("caught" if found else "NOT CAUGHT") if bug is not None else ("FOUND WRONG" if found else "clean")
            print(f"{name:<45} {said:<12} {time.monotonic() - began:>4.0f} s  {', '.join(found)[:150]}", flush=True)

    await asyncio.gather(*(one(number, *told) for number, told in enumerate(runs)))
    return right


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make chaos-bugs", description=__doc__)
    arguments.add_argument("bugs", nargs="*", choices=[[], *BUGS])
    arguments.add_argument("--at-once", type=int, default=2, help="scenarios side by side")
    told = arguments.parse_args()
    with servers() as (kafka, redis, directory):
        right = asyncio.run(_all(kafka, redis, directory, list(told.bugs) or list(BUGS), told.at_once))
    caught = sum(right.get(bug, False) for bug in BUGS)
    print(json.dumps({"clean": all(right.values()), "caught": caught, "as_expected": right}))
    return 0 if all(right.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

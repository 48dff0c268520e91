"""One short, directed scenario for each planted bug: without the bug it must end clean, with it something must be found wrong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from tests.chaos.cluster import SESSION_SECONDS, TooLongError, until
from tests.chaos.faults import fill_redis
from tests.chaos.moves import MOVES
from tests.chaos.run import OUTAGE_SECONDS, finish, look_at_metrics
from tests.chaos.stage import Stage, staged

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

SEED: Final = "planted"
EVENTS_PER_SECOND: Final = 80.0
# Longer than the deadlines of what is open.
QUIET_SECONDS: Final = 5.0
HIT_SECONDS: Final = 60.0
RECOVERY_SECONDS: Final = 90.0


async def undisturbed(_stage: Stage) -> None:
    """Nothing happens."""
    await asyncio.sleep(4)


async def killed_twice(stage: Stage) -> None:
    """kill -9 at no particular moment, twice."""
    (worker,) = stage.cluster.of("journeys")
    for _ in range(2):
        await asyncio.sleep(2)
        worker.signal(signal.SIGKILL)
        await stage.caught_up(RECOVERY_SECONDS)


async def killed_between_transactions(stage: Stage) -> None:
    """kill -9 where a second transaction would begin, if there were one; in the only one otherwise."""
    (worker,) = stage.cluster.of("journeys")
    await asyncio.sleep(2)
    worker.arm("between-transactions" if stage.cluster.bugs else "in-transaction", "kill")
    await until(lambda: worker.hit is not None, "the worker is killed", HIT_SECONDS)


async def killed_with_alerts(stage: Stage) -> None:
    """kill -9 with alerts in a transaction that is not committed."""
    (worker,) = stage.cluster.of("journeys")
    await asyncio.sleep(2)
    worker.arm("in-transaction", "kill", alerts=True)
    await until(lambda: worker.hit is not None, "the worker is killed", HIT_SECONDS)


async def fenced(stage: Stage) -> None:
    """Somebody else starts a producer with the partition's transactional id, while the worker is well; opening again takes a while."""
    (worker,) = stage.cluster.of("journeys")
    await asyncio.sleep(2)
    worker.arm("before-seek", "wait", seconds=1.5)
    intruder = AIOKafkaProducer(
        bootstrap_servers=stage.settings.kafka_bootstrap, transactional_id=f"{stage.settings.app}-journeys-0"
    )  # fmt: skip
    await intruder.start()
    await intruder.stop()
    await asyncio.sleep(4)


async def frozen(stage: Stage) -> None:
    """A worker freezes with work that is not committed, another takes over, and the first one wakes up."""
    (worker,) = stage.cluster.of("journeys")
    await asyncio.sleep(2)
    worker.arm("after-apply", "stop")
    await until(lambda: worker.hit is not None, "the worker freezes", HIT_SECONDS)
    stage.cluster.add("journeys")
    await asyncio.sleep(SESSION_SECONDS + 4)
    worker.signal(signal.SIGCONT)
    await asyncio.sleep(2)


async def redis_full(stage: Stage) -> None:
    """Redis is out of memory for a while, and the publisher's metrics must show it."""
    await stage.all_ready()
    await stage.scraper.begin()
    await fill_redis(stage, Random(SEED), OUTAGE_SECONDS)
    await stage.caught_up(RECOVERY_SECONDS)
    await look_at_metrics(stage, "redis-full", MOVES["redis-full"], len(stage.cluster.ended), OUTAGE_SECONDS)


Scenario = Callable[[Stage], Awaitable[None]]


class Plan(NamedTuple):
    """What shows a bug."""

    scenario: Scenario
    roles: Sequence[str] = ("journeys",)


PLANS: Final[dict[str, Plan]] = {
    "commit-before-effect": Plan(killed_between_transactions),
    "torn-checkpoint": Plan(killed_between_transactions),
    "missing-dedupe": Plan(undisturbed),
    "off-by-one-restore": Plan(killed_twice),
    "dropped-journal": Plan(undisturbed),
    "read-uncommitted-publisher": Plan(killed_with_alerts, ("journeys", "rollup", "publisher")),
    "stale-batch": Plan(fenced),
    "lost-timer": Plan(killed_twice),
    "double-delta": Plan(undisturbed),
    "wrong-fence-id": Plan(frozen),
    "swallowed-send-error": Plan(fenced),
    "uncounted-error": Plan(redis_full, ("journeys", "rollup", "publisher")),
}
CONTROLS: Final[dict[str, Plan]] = {f"without a bug, {plan.scenario.__name__}": plan for plan in PLANS.values()}


async def findings(plan: Plan, bug: str | None, kafka: Kafka, redis_server: Redis, directory: Path, app: str) -> list[str]:
    """Run a scenario, with a bug or without; everything that was found wrong."""
    bugs = [] if bug is None else [bug]
    async with staged(
        kafka, redis_server, directory, app, SEED, roles=plan.roles, bugs=bugs, partitions=2, events_per_second=EVENTS_PER_SECOND
    ) as stage:
        try:
            await stage.traffic.start()
            await stage.caught_up(RECOVERY_SECONDS)
            await plan.scenario(stage)
            verdict = await finish(stage, quiet_seconds=QUIET_SECONDS, recovery_seconds=RECOVERY_SECONDS)
        except TooLongError as exc:
            return [*stage.broken, *stage.cluster.broken, str(exc)]
        return [*(f"{kind} {n}" for kind, n in verdict.wrong.items()), *verdict.samples, *stage.broken, *stage.cluster.broken]

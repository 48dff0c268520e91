"""A run: traffic, faults one after the other, quiet, the comparison."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.chaos import aggregates, refold
from tests.chaos.cluster import TooLongError
from tests.chaos.faults import FAULTS
from tests.chaos.moves import ALL_ALONG, MOVES, Moved, Moves, chosen, moved
from tests.chaos.oracle import Verdict, compare_accounted, judge
from tests.chaos.reading import read_world
from tests.chaos.report import Report
from tests.chaos.schedule import Cycle, schedule
from tests.chaos.stage import RECOVERY_SECONDS_MAX, Stage, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

# After the last event everything with a short deadline falls due within this.
QUIET_SECONDS: Final = 14.0
# Two workers for four partitions: with a third, Faust's assignor would leave one without any.
ROLES: Final = ("journeys", "journeys", "rollup", "rollup", "publisher", "publisher")
# Of Redis; the long form is a minute.
OUTAGE_SECONDS: Final = 4.0
LONG_OUTAGE_SECONDS: Final = 60.0


async def run(
    kafka: Kafka,
    redis_server: Redis,
    directory: Path,
    *,
    app: str,
    cycles: int,
    seed: int,
    kinds: Sequence[str] = tuple(FAULTS),
    outage_seconds: float = OUTAGE_SECONDS,
    options: str = "",
    moves: Mapping[str, Moves] = MOVES,
    bugs: Sequence[str] = (),
    say: Callable[[str], None] = print,
    interrupted: Callable[[], bool] = lambda: False,
) -> Report:
    """Faults by the seed's schedule; the report says whether anything was lost, doubled or wrong, and whether each fault showed.

    interrupted: asked after each cycle whether it was the last one. options: to repeat it with. moves: by kind of fault, the metrics
    that it must move.
    """
    report = Report(seed, cycles, f"make chaos CYCLES={cycles} SEED={seed}{options}")
    began = time.monotonic()
    async with staged(kafka, redis_server, directory, app, f"{seed}/traffic", roles=ROLES, bugs=bugs) as stage:
        await stage.traffic.start()
        try:
            await stage.caught_up()
            await stage.all_ready()
            for cycle in schedule(kinds, cycles, seed):
                await _one(stage, cycle, outage_seconds, report, say, moves[cycle.kind])
                report.cycles = cycle.number
                if stage.cluster.broken or interrupted():
                    break
            report.verdict = await finish(stage)
            for kind, outcome in ALL_ALONG.items():
                n = stage.accounted.get(outcome, 0)
                report.moved[kind] = {f'streamer_accounted_events{{outcome="{outcome}"}}': [n]}
                stage.expect(n > 0, f"{kind} did not move its metric: streamer_accounted_events of {outcome} is {n:g}")
        except TooLongError as exc:
            stage.broken.append(str(exc))
        report.broken = [*stage.broken, *stage.cluster.broken]
        report.crashed = stage.cluster.crashed
        report.exits = dict(sorted(Counter(str(ended.code) for ended in stage.cluster.ended).items()))
    report.seconds = round(time.monotonic() - began, 1)
    return report


async def _one(stage: Stage, cycle: Cycle, outage_seconds: float, report: Report, say: Callable[[str], None], moves: Moves) -> None:
    """One fault, and how long it takes until everything appended by its end is folded, rolled up and delivered."""
    known, ended = len(stage.broken), len(stage.cluster.ended)
    stage.stalls.reset()
    await stage.scraper.begin()
    began = time.monotonic()
    try:
        await FAULTS[cycle.kind](stage, cycle.random, outage_seconds)
    except TooLongError as exc:
        stage.broken.append(f"{cycle.kind}: {exc}")
    harmed = time.monotonic() - began
    recovery = await stage.caught_up()
    await stage.all_ready()
    for one in await look_at_metrics(stage, cycle.kind, moves, ended, harmed):
        report.moved.setdefault(cycle.kind, {}).setdefault(one.title, []).append(one.value)
    report.recovery_seconds.setdefault(cycle.kind, []).append(round(recovery, 2))
    if "broker" not in cycle.kind:
        report.stall_seconds.setdefault(cycle.kind, []).append(round(stage.stalls.longest, 2))
    worse = "".join(f"  {what}" for what in stage.broken[known:])
    say(f"{cycle.number:>4} {cycle.kind:<28} {harmed:>5.1f} s, recovered in {recovery:>4.1f} s{worse}")


async def look_at_metrics(stage: Stage, kind: str, moves: Moves, known_ended: int, lasted_seconds: float) -> list[Moved]:
    """How far the fault's metrics moved, since the scraper last began; it is noted if one did not move enough."""
    await stage.scraper.look()
    ended = [one.role for one in stage.cluster.ended[known_ended:]]
    due = [*chosen(moves, ended[0] if ended else None), *stage.due]
    stage.due.clear()
    stage.expect(bool(due), f"{kind}: no process ended, so no metric could show it")
    found = moved(due, stage.scraper.samples, lasted_seconds)
    for one in found:
        stage.expect(one.is_enough, f"{kind} did not move its metric: {one.title} is {one.value:g}, less than {one.enough:g}")
    return found


async def finish(stage: Stage, *, quiet_seconds: float = QUIET_SECONDS, recovery_seconds: float = RECOVERY_SECONDS_MAX) -> Verdict:
    """No more events; let everything fall due, stop the processes in order, and compare what they leave with the recount."""
    await stage.traffic.end()
    await stage.caught_up(recovery_seconds)
    await asyncio.sleep(quiet_seconds)
    await stage.caught_up(recovery_seconds)
    roles = stage.cluster.roles
    gauges = await stage.gauges() if "rollup" in roles else None
    stage.expect(gauges != {}, "no process shows the lifetime gauges")
    await stage.account()
    # The rollup and the publisher last: what the others commit as they end is decided and delivered, too.
    for slot in sorted(stage.cluster.slots, key=lambda slot: slot.role != "journeys"):
        if slot.role != "journeys":
            await stage.caught_up(recovery_seconds)
        if slot.runs:
            code = await stage.cluster.stop(slot)
            stage.expect(code == 0, f"{slot.name} ended with {code} at the end: {slot.last_words()[-500:]}")
    await stage.tail.read()
    world = await read_world(stage.settings)
    verdict = await asyncio.to_thread(judge, world, stage.tail.alerts if "publisher" in roles else None, gauges)
    compare_accounted(verdict, world, stage.accounted)
    await asyncio.to_thread(refold.compare, verdict, world, stage.settings, with_rollup="rollup" in roles)
    if "rollup" in roles:
        aggregates.compare(verdict, world, await asyncio.to_thread(aggregates.expect, world))
    appended = {event_id for records in world.logs["touchpoints"].values() for event_id in refold.event_ids(records)}
    stage.expect(stage.traffic.acknowledged <= appended, "the broker lost events that it had acknowledged")
    return verdict

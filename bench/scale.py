"""`make bench-scale`: what a customer costs. The same number of events over the same time, spread over more and more customers.

For each number of customers, with a worker of all roles on a filled topic: CPU per event, memory and changelog bytes, how long folding
pauses when a second worker joins, and how fast another one restores what the first has left. At these points all the customers are in a
session at a time. The second half of the events is also told apart: of a million customers one in twenty is new in it, in the first all
are. At one more point they come and go: a million are known at the end, of whom 50,000 are in a session at a time. Another one writes
every changed row with each checkpoint, for a changelog that is many times the state. Prints a table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from bench import compare, product
from bench.events import BASE_HOURS, HOUR_MS, Shape, begin_of
from bench.machine import machine
from bench.worker import Worker, metrics_port
from deploy.local.process import await_condition
from deploy.local.stack import STATE, Stack
from streamer.engine import topic_admin
from streamer.topics import changelog_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.settings import Settings

CUSTOMERS: Final = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
EVENTS: Final = 6_000_000
QUICK_CUSTOMERS: Final = (1_000, 20_000)
QUICK_EVENTS: Final = 100_000
SPARE_SHARE: Final = 0.1  # customers beyond those active at a time, so that sessions can change hands
BARS: Final = {
    "bytes_per_customer": 1024, "restored_rows_per_second": 200_000, "rebalance_pause_milliseconds": 300, "cost_ratio": 1.5,
    "cost_ratio_all_at_once": 1.5, "cost_ratio_all_at_once_warm": 1.5, "restored_rows_per_second_uncompacted": 200_000,
}  # fmt: skip
# The point with the long changelog: each row is written about a dozen times.
LONG_CUSTOMERS_SHARE: Final = 1 / 15
REBALANCE_SECONDS_MAX: Final = 120.0
# The cost at the second, all at once or known, is compared with that at the first.
REFERENCE_CUSTOMERS: Final = 10_000
MANY_CUSTOMERS: Final = 1_000_000
# Longer than a run: the changelog keeps every row of it.
COMPACTION_LAG_MS: Final = 86_400_000


class Crowd(NamedTuple):
    """Who comes. active: customers in a session at a time; pool: all those of whom the next one is drawn."""

    active: int
    pool: int
    events: int

    @classmethod
    def all_at_once(cls, customers: int, events: int) -> Crowd:
        """Nearly all are in a session at any time."""
        return cls(customers, customers + max(1, round(customers * SPARE_SHARE)), events)

    @classmethod
    def coming_and_going(cls, events: int) -> Crowd:
        """Sessions of 13 events, most of a customer's only one: of 6 M, a million customers, 50,000 at a time, in 15.6 M events."""
        return cls(events // 120, events * 2 // 3, events * 13 // 5)


def changelog_bytes(data: Path, app: str) -> int:
    """Size of the journeys changelog's segments at the broker, as they are now."""
    return sum(path.stat().st_size for path in data.glob(f"{app}-journeys-changelog-*/*.log"))


def restored(worker: Worker) -> dict[str, Any]:
    """What the journeys role read back before it was ready: rows, and rows per second of the time it took."""
    rows = worker.value("journeys", "streamer_state_restored_rows_total")
    busy = worker.value("journeys", "streamer_state_restore_duration_seconds_sum")
    ends = [_seconds(entry) for entry in worker.entries() if entry.get("role") == "journeys" and entry.get("action") == "restored"]
    # From the first partition's begin to the last one's end, whether they came one after the other or side by side.
    spent = ends[-1] - ends[0] + busy / len(ends) if ends else 0.0
    return {"rows": round(rows), "busy_seconds": round(busy, 3), "rows_per_second": round(rows / spent) if spent else None}


def _seconds(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["time"]).timestamp()


def rebalance_pause_ms(worker: Worker, environment: dict[str, str], directory: Path) -> float:
    """How long the first worker folds nothing because a second one joins, both keeping half of the partitions; then it leaves again."""
    count, total = (f"streamer_rebalance_duration_seconds_{part}" for part in ("count", "sum"))
    before = worker.value("journeys", count), worker.value("journeys", total)
    with Worker({**environment, "STREAMER_METRICS_PORT": str(metrics_port())}, directory / "joining.log", wanted=("journeys",)):
        if not await_condition(lambda: worker.value("journeys", count) > before[0], REBALANCE_SECONDS_MAX):
            raise RuntimeError("a second worker joined, and the first has not seen a rebalance end")
        passed = worker.value("journeys", count) - before[0], worker.value("journeys", total) - before[1]
    return round(passed[1] / passed[0] * 1000, 1)


def measure(stack: Stack, directory: Path, crowd: Crowd, *, every_row: bool = False) -> dict[str, Any]:
    """One point of the curve. every_row: write all changed rows with each checkpoint."""
    row, events = product.ROWS[0], crowd.events
    prefix = f"scale{crowd.active}of{crowd.pool}{'long' if every_row else ''}."
    made = product.environment(stack, row, prefix)
    if every_row:
        made["STREAMER_STATE_ROWS_PER_CHECKPOINT"] = str(events)
        asyncio.run(_create_uncompacted(product.config_of(made)))
    product.create_topics(made)
    times = max(1, -(-events // EVENTS))
    span_ms = BASE_HOURS * HOUR_MS * max(events, EVENTS) // EVENTS
    shape = Shape(events, crowd.pool, crowd.active, span_ms, begin_of(times, round(time.time() * 1000)))
    asyncio.run(compare.fill(made, shape))
    with Worker(made, directory / f"{prefix}log") as worker:
        worker.until_consumed(events // 2)
        half, cpu_half = worker.events_consumed(), sum(worker.cpu_seconds().values())
        seconds = worker.until_done()
        cpu = worker.cpu_seconds()
        memory = worker.rss_megabytes()
        known = worker.value("journeys", "streamer_state_entries")
        written = worker.value("journeys", "streamer_checkpoint_size_bytes_sum")
        pause_ms = rebalance_pause_ms(worker, made, directory)
    on_disk = changelog_bytes(stack.kafka.directory / "data", made["STREAMER_APP"])
    with Worker(made, directory / f"{prefix}again.log", wanted=("journeys",)) as again:
        back = restored(again)
        restored_memory = again.rss_megabytes()
    return {
        "customers": crowd.active, "pool": crowd.pool, "events": events, "every_row": every_row,
        "known_customers": round(known), "wall_seconds": round(seconds, 1),
        "cpu_microseconds_per_event": round(sum(cpu.values()) / events * 1e6, 2),
        "warm_cpu_microseconds_per_event": round((sum(cpu.values()) - cpu_half) / (events - half) * 1e6, 2) if half < events else None,
        "journeys_cpu_microseconds_per_event": round(cpu["journeys"] / events * 1e6, 2),
        "journeys_megabytes": memory["journeys"], "journeys_megabytes_restored": restored_memory["journeys"],
        "changelog_bytes_per_event": round(on_disk / events, 1), "checkpoint_bytes_per_event": round(written / events, 1),
        "rebalance_pause_milliseconds": pause_ms, "restore": back,
    }  # fmt: skip


async def _create_uncompacted(config: Settings) -> None:
    """The journeys changelog as the product makes it, but that nothing of it is compacted away during a run."""
    spec = next(spec for spec in topic_admin.specs(config) if spec.name == changelog_name(config.app, "journeys"))
    configs = {**spec.config, "min.compaction.lag.ms": str(COMPACTION_LAG_MS)}
    admin = AIOKafkaAdminClient(bootstrap_servers=config.kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(spec.name, spec.partitions, config.replication_factor, topic_configs=configs)])
    finally:
        await admin.close()


def verdicts(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The bars of the curve, from its points."""
    long = next((point for point in points if point["every_row"]), None)
    passing = next((point for point in points if point["pool"] > 2 * point["customers"]), None)
    points = [point for point in points if point is not long and point is not passing]
    least, most = points[0], points[-1]
    reference = next((point for point in points if point["customers"] >= REFERENCE_CUSTOMERS), least)
    many = next((point for point in points if point["customers"] >= MANY_CUSTOMERS), most)
    more = many["known_customers"] - least["known_customers"]
    cost = reference["cpu_microseconds_per_event"]
    warm, warm_many = (point["warm_cpu_microseconds_per_event"] for point in (reference, many))
    return {
        "bytes_per_customer": round(((many["journeys_megabytes"] - least["journeys_megabytes"]) << 20) / more) if more > 0 else None,
        "restored_rows_per_second": most["restore"]["rows_per_second"],
        "rebalance_pause_milliseconds": most["rebalance_pause_milliseconds"],
        "restored_rows_per_second_uncompacted": long["restore"]["rows_per_second"] if long else None,
        "cost_ratio": round(passing["cpu_microseconds_per_event"] / cost, 2) if passing else None,
        "cost_ratio_all_at_once": round(many["cpu_microseconds_per_event"] / cost, 2),
        "cost_ratio_all_at_once_warm": round(warm_many / warm, 2) if warm and warm_many else None,
    }


def show(console: Console, points: Sequence[dict[str, Any]], found: dict[str, Any]) -> None:
    """As tables."""
    names = (
        "cpu_microseconds_per_event", "warm_cpu_microseconds_per_event", "journeys_cpu_microseconds_per_event", "journeys_megabytes",
        "changelog_bytes_per_event",
    )  # fmt: skip
    table = Table("customers", "known", *(name.replace("_", " ") for name in names), "restored rows", "rows per second")
    for point in points:
        back = point["restore"]
        restore = (f"{back['rows']:,}", f"{back['rows_per_second'] or 0:,}")
        table.add_row(f"{point['customers']:,}", f"{point['known_customers']:,}", *(f"{point[name]:,}" for name in names), *restore)
    console.print(table)
    bars = Table("what", "measured", "bar")
    for name, bar in BARS.items():
        bars.add_row(name.replace("_", " "), str(found[name]), str(bar))
    console.print(bars)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", help=f"the points of the curve (default {CUSTOMERS})")
    parser.add_argument("--events", type=int, help=f"events of each point (default {EVENTS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_EVENTS:,} events at {QUICK_CUSTOMERS} customers, for builds")
    options = parser.parse_args(arguments)
    events = options.events or (QUICK_EVENTS if options.quick else EVENTS)
    console = Console(stderr=True)
    points = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with Stack(directory, kafka_port=0, redis_port=0, prometheus_port=0, cache=STATE, fresh=True) as stack:
            for customers in options.customers or (QUICK_CUSTOMERS if options.quick else CUSTOMERS):
                points.append(measure(stack, directory, Crowd.all_at_once(customers, events)))
                console.print(points[-1])
            points.append(measure(stack, directory, Crowd.coming_and_going(events)))
            console.print(points[-1])
            points.append(measure(stack, directory, Crowd.all_at_once(round(events * LONG_CUSTOMERS_SHARE), events), every_row=True))
            console.print(points[-1])
    found = verdicts(points)
    show(Console(), points, found)
    print(json.dumps({"bench": "scale", "machine": machine(), "points": points, "verdicts": found, "bars": BARS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

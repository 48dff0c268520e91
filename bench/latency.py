"""How long a live event takes to the alert it causes: appended by the broker -> returned to a read_committed consumer, and -> in Redis.

Every alert caused by an event is measured, with the broker's timestamp (LogAppendTime) of the event it names; all processes share one
machine's clock. The rivals' alerts are A's third switches, so are the product's if its definitions make them, else each customer's
first switch.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis.asyncio
from aiokafka import AIOKafkaConsumer

from bench import engines, environments, outputs, processes, product
from bench.job import SWITCHED
from bench.oracle import decode
from bench.worker import Worker
from streamer import definitions
from streamer.alerts import alert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploy.local.stack import Stack

WARM_SECONDS: Final = 15.0
DRAIN_SECONDS: Final = 15.0
EDGES_MS: Final = (5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 500, 1_000, 3_000, 10_000)
FIRST_SWITCH: Final = '\n[[rule]]\nid = "first-switch"\non = "issue"\nwhen = "channel_switches == 1"\n'

# What an alert names as its cause: a place in the source, or an event's id.
Cause = tuple[int, int] | str


class Seen(NamedTuple):
    """An alert that was read."""

    at_ms: float
    cause: Cause


def summary(latencies_ms: list[float]) -> dict[str, Any]:
    """Quantiles, and the histogram as [upper edge in ms, or null for beyond all, count]."""
    if not latencies_ms:
        return {"n": 0}
    ordered = sorted(latencies_ms)
    counts = [0] * (len(EDGES_MS) + 1)
    for latency in ordered:
        counts[bisect_left(EDGES_MS, latency)] += 1

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    quantiles = {"min": at(0), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1)}
    return {"n": len(ordered), **quantiles, "histogram": [[*pair] for pair in zip((*EDGES_MS, None), counts, strict=True)]}


def product_cause(value: bytes) -> Cause | None:
    """The last evidence of an alert that an event has just caused."""
    record = alert.decode(value)
    if record.state != "firing" or record.rule.id not in (SWITCHED, "first-switch"):
        return None
    return record.evidence[-1].partition, record.evidence[-1].offset


def rival_cause(value: bytes) -> Cause | None:
    """The event's id."""
    return outputs.rival_alert(value).cause or None


async def _consume(bootstrap: str, topic: str, cause_of: Callable[[bytes], Cause | None], seen: list[Seen]) -> None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while True:
            batch = await consumer.getmany(timeout_ms=1_000)
            at_ms = time.time() * 1000
            for records in batch.values():
                seen.extend(Seen(at_ms, cause) for record in records if (cause := cause_of(record.value)))
    finally:
        await consumer.stop()


async def _follow_redis(url: str, stream: str, seen: list[Seen]) -> None:
    client = redis.asyncio.from_url(url)
    last: bytes | str = "0"
    try:
        while True:
            answer: Any = await client.xread({stream: last}, block=1_000)
            for _, entries in answer:
                at_ms = time.time() * 1000
                last = entries[-1][0]
                seen.extend(Seen(at_ms, cause) for _, fields in entries if (cause := product_cause(fields[b"alert"])))
    finally:
        await client.aclose()


async def _appended(bootstrap: str, topic: str, causes: set[Cause]) -> dict[Cause, int]:
    """When the broker appended the events."""
    by_id = any(isinstance(cause, str) for cause in causes)
    found: dict[Cause, int] = {}
    async for batch in outputs.read(bootstrap, topic):
        for kept in batch:
            cause: Cause = decode(kept.value).id if by_id else (kept.partition, kept.offset)
            if cause in causes:
                found[cause] = kept.appended_ms
    return found


class _Load(NamedTuple):
    """What is asked of the generator."""

    environment: dict[str, str]
    topic: str
    rate: float
    seconds: float


async def _measure(
    bootstrap: str, load: _Load, readers: dict[str, Any], seen: dict[str, list[Seen]], pids: tuple[int, int]
) -> dict[str, Any]:
    """Quantiles of what the readers see while the load is on. pids: of the engine and of the broker."""
    tasks = [asyncio.create_task(reader) for reader in readers.values()]
    command = [sys.executable, "-m", "bench.live", str(load.rate), str(load.seconds + WARM_SECONDS)]
    generator = await asyncio.create_subprocess_exec(*command, env=load.environment, stdout=subprocess.PIPE)
    assert generator.stdout is not None  # noqa: S101  it is a pipe
    await generator.stdout.readline()  # it begins
    await asyncio.sleep(WARM_SECONDS)
    from_ms, begun, before = time.time() * 1000, time.monotonic(), [processes.tree_cpu(pid) for pid in pids]
    said, _ = await generator.communicate()
    passed, after = time.monotonic() - begun, [processes.tree_cpu(pid) for pid in pids]
    await asyncio.sleep(DRAIN_SECONDS)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    appended = await _appended(bootstrap, load.topic, {one.cause for several in seen.values() for one in several})
    report: dict[str, Any] = {"rate": round(load.rate), "generator": json.loads(said)}
    for name, several in seen.items():
        report[name] = summary([one.at_ms - appended[one.cause] for one in several if appended.get(one.cause, 0) >= from_ms])
    percents = [round(100 * (now - then) / passed) for now, then in zip(after, before, strict=True)]
    return {**report, "engine_cpu_percent": percents[0], "broker_cpu_percent": percents[1]}


def latency_definitions(directory: Path, row: product.Row) -> product.Row:
    """The row with definitions that make an alert of an event, not only of a deadline."""
    assert row.definitions is not None  # noqa: S101  rows without a file have such rules
    text = row.definitions.read_text()
    if any(rule.id == SWITCHED for rule in definitions.parse(text).rule):
        return row
    path = directory / "definitions-latency.toml"
    path.write_text(text + FIRST_SWITCH)
    return row._replace(definitions=path)


def of_product(stack: Stack, row: product.Row, rate: float, seconds: float, directory: Path) -> dict[str, Any]:
    """The product at a steady rate."""
    prefix = f"live-{row.id}-{rate:.0f}."
    row = latency_definitions(directory, row)
    made = product.environment(stack, row, prefix)
    product.create_topics(made)
    log = directory / f"{prefix}log"
    with Worker(made, log) as worker:
        seen: dict[str, list[Seen]] = {"kafka_ms": [], "redis_ms": []}
        bootstrap = stack.kafka.bootstrap
        readers = {
            "kafka_ms": _consume(bootstrap, f"{prefix}alerts.v1", product_cause, seen["kafka_ms"]),
            "redis_ms": _follow_redis(stack.redis.url, f"{made['STREAMER_REDIS_PREFIX']}alerts", seen["redis_ms"]),
        }
        load = _Load(made, f"{prefix}touchpoints.v1", rate, seconds)
        found = asyncio.run(_measure(bootstrap, load, readers, seen, (worker.pid, stack.kafka.pid)))
    return {"id": row.id, "title": row.title, **found}


def of_rival(stack: Stack, engine: engines.Engine, rate: float, seconds: float, directory: Path) -> dict[str, Any]:
    """A rival that runs until it is ended, at a steady rate."""
    name = f"live-{engine.id}-{rate:.0f}"
    made = product.environment(stack, product.ROWS[0], f"{name}.")
    product.create_topics(made)
    written = [f"{name}-alerts", f"{name}-panes"]
    asyncio.run(outputs.create(stack.kafka.bootstrap, written))
    folder = directory / name
    folder.mkdir()
    command = engine.command(engines.Run(stack.kafka.bootstrap, f"{name}.touchpoints.v1", name, 0, folder))
    environment = {**os.environ, "PYTHONPATH": str(environments.ROOT)}
    seen: dict[str, list[Seen]] = {"kafka_ms": []}
    bootstrap, broker = stack.kafka.bootstrap, stack.kafka.pid
    with processes.measured(
        command, broker_pid=broker, log=directory / f"{name}.log", environment=environment, directory=folder
    ) as running:
        readers = {"kafka_ms": _consume(bootstrap, written[0], rival_cause, seen["kafka_ms"])}
        load = _Load(made, f"{name}.touchpoints.v1", rate, seconds)
        found = asyncio.run(_measure(bootstrap, load, readers, seen, (running.process.pid, broker)))
    return {"id": engine.id, "title": engine.title, **found}

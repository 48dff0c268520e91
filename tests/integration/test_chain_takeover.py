"""kill -9 of a whole worker in the middle of a history: another takes over everything, and every event still counts once.

Expected are `streamer replay` of the same file and, for touchpoints, a recount of its lines. The sums over the deltas are made
from the records' bytes, not by the product's code.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from streamer.engine import topic_admin
from streamer.metrics.counters import Counter as Counted
from streamer.settings import Settings
from tests import chain_support
from tests.integration.test_worker_shell import Worker, working

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PARTITIONS: Final = 4
OUTCOMES: Final = ("applied", "duplicate", "late", "dead_lettered", "ignored")
# Few customers, so that they come back: repeated contacts, handoffs, switches and every counter are in it.
SIMULATION: Final = ("--hours", "24", "--rate", "0.25", "--customers", "800", "--seed", "7", "--incident", "payment-outage@+10h,60m")
# Of the worker that begins: small fetches and checkpoints, so that the middle of the history lasts. Mostly it is the one that is killed.
PACE: Final = {"FETCH_MAX_RECORDS": "15", "CHECKPOINT_EVENTS": "15", "CHECKPOINT_INTERVAL_SECONDS": "0.2"}


class Expected(NamedTuple):
    """What `replay` and the recount say. alerts: transitions by (rule, state); gauges: lifetime values over everything."""

    touchpoints: int
    counters: dict[str, int]
    accounting: dict[str, int]
    alerts: Counter[tuple[str, str]]
    gauges: dict[str, float]


def settings_of(kafka: Kafka, redis_server: Redis, unique: str) -> Settings:
    """Of a worker with ports of its own."""
    return Settings(
        app=unique, topic_prefix=f"{unique}.", redis_prefix=f"{unique}:", partitions=PARTITIONS, metrics_port=chain_support.port_block(),
        kafka_bootstrap=kafka.bootstrap, redis_url=redis_server.url,
    )  # fmt: skip


def run(settings: Settings, *arguments: str) -> str:
    """A command's output."""
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap")
    environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in fields}}
    done = subprocess.run([sys.executable, "-m", "streamer", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expectation(settings: Settings, file: Path) -> Expected:
    told = json.loads(run(settings, "replay", str(file), "--json"))
    with file.open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    return Expected(
        touchpoints=len({(event["source"], event["id"]) for event in events}),
        counters=told["counters"],
        accounting={name: told["accounting"][name] for name in ("consumed", *OUTCOMES)},
        alerts=Counter({(rule, state): n for rule, states in told["alerts"]["by_rule"].items() for state, n in states.items()}),
        gauges={entry["gauge"]: entry["value"] for entry in told["metrics"] if entry["window"] == "lifetime" and not entry["slice"]},
    )


def lifetime_gauges(worker: Worker) -> dict[str, float]:
    """Gauge -> its value over everything."""
    families = text_string_to_metric_families(worker.get(2, "/metrics")[1])
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("cx_")]
    return {
        sample.name: sample.value
        for sample in samples
        if sample.labels.get("slice") == "all" and sample.labels.get("window") == "lifetime"
    }  # fmt: skip


def accounting(worker: Worker) -> dict[str, int]:
    """What the worker's partitions have accounted for since their beginning, summed."""
    return {name: int(worker.value(1, "streamer_accounted_events", outcome=name)) for name in ("consumed", *OUTCOMES)}


def folds_the_rollup(worker: Worker) -> bool:
    return "\ncx_rollup_clock_timestamp_seconds{" in worker.get(2, "/metrics")[1]


async def committed(settings: Settings) -> list[int]:
    """Records of each source partition that are in the committed state."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"{settings.app}-journeys")
    finally:
        await admin.close()
    places = [TopicPartition(settings.topic("touchpoints"), partition) for partition in range(PARTITIONS)]
    return [offsets[place].offset if place in offsets else 0 for place in places]


def transitions(settings: Settings) -> list[dict[str, Any]]:
    """Every alert transition in the Redis stream."""
    return chain_support.transitions(settings.redis_url, settings.redis_prefix)


def until_same(worker: Worker, found: Callable[[], Any], expected: Any, seconds: float = 60) -> None:
    """Wait while the two differ and the worker lives; then they are compared, so that a failure shows the difference."""
    deadline = time.monotonic() + seconds
    while (last := found()) != expected and worker.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert last == expected


def kill_tree(worker: Worker) -> None:
    """SIGKILL to the supervisor, which could restart a role, and at once to its roles."""
    tree = [psutil.Process(worker.process.pid), *worker.children().values()]
    for process in tree:
        process.send_signal(signal.SIGKILL)
    worker.process.wait()
    _, alive = psutil.wait_procs(tree[1:], timeout=10)
    assert len(tree) == 4
    assert alive == []


def kill_the_rollup_owner_midway(workers: tuple[Worker, Worker], events: int) -> Worker:
    """End the worker that folds the rollup, once a tenth of the source is in the state; returns the other one."""
    settings = workers[0].settings
    workers[0].until(lambda: all(worker.get(2, "/readyz")[0] == 200 for worker in workers))
    workers[0].until(lambda: sum(asyncio.run(committed(settings))) > events / 10 and any(map(folds_the_rollup, workers)))
    folding = [folds_the_rollup(worker) for worker in workers]
    assert folding.count(True) == 1, "one rollup partition has one owner"
    victim, survivor = workers if folding[0] else workers[::-1]
    kill_tree(victim)
    assert not folds_the_rollup(survivor), "the survivor still has to take the rollup over"
    done = sum(asyncio.run(committed(settings)))
    assert events / 10 < done < events * 0.9, "it was killed in the middle of the history"
    return survivor


def check_nothing_lost_or_doubled(worker: Worker, expected: Expected) -> None:
    settings = worker.settings
    until_same(worker, lambda: sum(asyncio.run(committed(settings))), expected.accounting["consumed"], seconds=120)
    until_same(worker, lambda: accounting(worker), expected.accounting)
    assert expected.accounting["consumed"] == sum(expected.accounting[name] for name in OUTCOMES)
    until_same(worker, lambda: pick(lifetime_gauges(worker), expected.gauges), pytest.approx(expected.gauges, abs=1e-12))
    assert lifetime_gauges(worker)["cx_touchpoints"] == expected.touchpoints
    until_same(worker, lambda: Counter((entry["rule"]["id"], entry["state"]) for entry in transitions(settings)), expected.alerts)


def pick(values: Mapping[str, float], names: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in names}


def test_a_worker_killed_in_the_middle_of_a_history_is_taken_over_and_every_event_counts_once(
    kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMER_SESSION_TIMEOUT_SECONDS", "6")
    first, second = (settings_of(kafka, redis_server, unique) for _ in range(2))
    file = tmp_path / "history.jsonl"
    run(first, "simulate", *SIMULATION, "--out", str(file))
    expected = expectation(first, file)
    assert 15_000 < expected.touchpoints == expected.counters["TOUCHPOINTS"] == expected.accounting["applied"]
    assert expected.accounting["duplicate"] > 0
    assert {state for _, state in expected.alerts} >= {"firing", "amended", "resolved"}
    asyncio.run(topic_admin.create(first))
    run(first, "ingest", str(file))  # before any worker: an idle one would take the topic to the present, and the history were late
    with ExitStack() as workers:
        with monkeypatch.context() as slowly:
            for name, value in PACE.items():
                slowly.setenv(f"STREAMER_{name}", value)
            owner = workers.enter_context(working(first, tmp_path))
        events = expected.accounting["consumed"]
        owner.until(lambda: owner.get(2, "/readyz")[0] == 200)  # before, there may be no coordinator to ask for offsets
        owner.until(lambda: sum(asyncio.run(committed(first))) > events / 10 and folds_the_rollup(owner))
        standby = workers.enter_context(working(second, tmp_path))
        survivor = kill_the_rollup_owner_midway((owner, standby), events)
        check_nothing_lost_or_doubled(survivor, expected)
        survivor.process.terminate()
        assert survivor.process.wait(60) == 0
    counted = asyncio.run(chain_support.delta_sums(first.kafka_bootstrap, first.topic("deltas")))
    assert {Counted(number).name: n for number, n in counted.items() if n} == expected.counters
    assert counted[Counted.TOUCHPOINTS] == expected.touchpoints
    alerts = transitions(first)
    assert len({entry["alert_id"] for entry in alerts}) == len(alerts) == expected.alerts.total()

"""`streamer verify --topic`: what a running worker has committed, against the recount of what it had read by then."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from streamer import deltas
from streamer.engine import committed, topic_admin
from streamer.errors import InputError
from streamer.metrics.counters import Counter
from streamer.settings import Settings
from tests import chain_support
from tests.integration.test_worker_shell import Worker, working

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PARTITIONS: Final = 4
# Sent out of order, some of it twice, some late, some broken; a worker that is caught up then goes on by the idle clock.
SIMULATION: Final = ("--hours", "4", "--rate", "1", "--customers", "600", "--seed", "7", "--poison")


@pytest.fixture
def config(kafka: Kafka, unique: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STREAMER_ROLLUP_PARTITIONS", "2")
    port = chain_support.port_block()
    found = Settings(app=unique, topic_prefix=f"{unique}.", partitions=PARTITIONS, metrics_port=port, kafka_bootstrap=kafka.bootstrap)
    assert found.rollup_partitions == 2
    return found


def run(config: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap")
    environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(config, name)) for name in fields}}
    return subprocess.run([sys.executable, "-m", "streamer", *arguments], env=environment, capture_output=True, text=True)


def verified(config: Settings) -> dict[str, Any]:
    done = run(config, "verify", "--topic", "--json")
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["equal"] == (done.returncode == 0)
    return answer


async def folded(config: Settings) -> int:
    """Records of the source in what is committed; 0 before there is anything."""
    try:
        return sum(map(len, (await committed.read(config)).source.values()))
    except InputError:
        return 0


async def wait_for(config: Settings, records: int, worker: Worker) -> None:
    deadline = time.monotonic() + 120
    while (done := await folded(config)) < records:
        assert worker.process.poll() is None, worker.log[-3:]
        assert time.monotonic() < deadline, f"{done} of {records}: {worker.log[-3:]}"
        await asyncio.sleep(0.5)  # reading it all again sooner would only slow the worker down


async def add_a_touchpoint(config: Settings) -> None:
    """One change too many in the deltas, as of a bug."""
    read = await committed.read(config)
    batches = [(partition, deltas.decode(record.value)) for partition, records in read.deltas.items() for record in records]
    partition, batch = next((partition, batch) for partition, batch in batches if batch.ticks)
    [tick, flat] = batch.ticks[0]
    forged = msgspec.structs.replace(batch, ticks=[(tick, [flat[0], flat[1], int(Counter.TOUCHPOINTS), 1])])
    async with AIOKafkaProducer(bootstrap_servers=config.kafka_bootstrap) as producer:
        await producer.send_and_wait(config.topic("deltas"), deltas.encode(forged), partition=partition)


def test_what_a_running_worker_has_committed_is_recounted_equal_and_a_forged_change_is_found(config: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(config))
    assert run(config, "verify", "--topic").returncode == 2
    sent = json.loads(run(config, "simulate", *SIMULATION, "--json").stdout)["events"]
    with working(config, tmp_path, "--role", "journeys") as worker:
        asyncio.run(wait_for(config, sent, worker))
        answer = verified(config)
    assert (answer["equal"], answer["mismatches"]) == (True, 0)
    assert answer["log"]["records"] >= sent
    compared = {row["counter"]: row["compared"] for row in answer["counters"]}
    assert all(compared[name] for name in ("TOUCHPOINTS", "ABANDONED", "OPEN", "REPEAT_CONTACTS", "EFFORT_TENTHS", "HANDOFFS"))
    assert answer["records"]["compared"] > 5, "dead letters by reason, and late events"
    assert {row["status"] for row in answer["metrics"]} == {"not verified"}
    asyncio.run(add_a_touchpoint(config))
    answer = verified(config)
    assert {row["counter"]: row["different"] for row in answer["counters"] if row["different"]} == {"TOUCHPOINTS": 1}


def test_options_of_files_are_refused(config: Settings) -> None:
    done = run(config, "verify", "--topic", "--shuffle", "1")
    assert (done.returncode, done.stderr.strip()) == (2, "streamer: --shuffle is for files: with --topic the log is what is in Kafka")

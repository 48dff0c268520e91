"""History and simulated life into a real Kafka: every record once, in order, in its key's partition, between its control records."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from streamer.engine import ingest, source_clock, topic_admin
from streamer.errors import InputError, TopicsError, UnreachableError
from streamer.processor import MARKER_KEY
from streamer.replay.history import History
from streamer.replay.mapping import Event
from streamer.settings import Settings
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control, Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aiokafka.structs import ConsumerRecord

    from deploy.local.kafka import Kafka

pytestmark = pytest.mark.integration

T0 = 1_700_000_000_000
PARTITIONS = 4


@pytest.fixture
async def config(kafka: Kafka, unique: str) -> Settings:
    settings = Settings(app=unique, topic_prefix=f"{unique}.", kafka_bootstrap=kafka.bootstrap, partitions=PARTITIONS)
    await topic_admin.create(settings)
    return settings


async def read(settings: Settings, topic: str) -> list[list[ConsumerRecord]]:
    """All records of each partition, up to the ends as of now."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    found: dict[TopicPartition, list[ConsumerRecord]] = {place: [] for place in places}
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for read, records in (await consumer.getmany(timeout_ms=100)).items():
                    found[read] += records
    return [found[place] for place in places]


async def append(settings: Settings, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        for key, value in records:
            await producer.send_and_wait(topic, value, key, partition=partition)


def history(number: int, customers: int = 50) -> History:
    events = [
        Event(T0 + i * 10, (i, 0), b"c%d" % (i % customers), json.dumps({"i": i, "customer_id": f"c{i % customers}"}).encode())
        for i in range(number)
    ]
    return History(events, number, 0)


def environment(settings: Settings) -> dict[str, str]:
    names = ("app", "topic_prefix", "kafka_bootstrap", "partitions")
    return {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in names}}


def simulate(settings: Settings, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamer", "simulate", "--json", *options]
    return subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def finish(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, errors.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


async def test_a_history_arrives_once_in_order_in_its_keys_partitions_between_the_control_records(config: Settings) -> None:
    told = history(20_000)
    seen: list[int] = []
    delivered = await ingest.ingest(config, told, end_ms=T0 + 10**9, progress=seen.append)
    partitions = await read(config, config.topic("touchpoints"))
    chosen = {key: DefaultPartitioner()(key, list(range(PARTITIONS)), []) for key in {e.key for e in told.events}}
    for partition, records in enumerate(partitions):
        first, *events, last = records
        assert (first.headers, json.loads(first.value)) == ((("cx-control", b"begin"),), {"time_ms": T0})
        assert (last.headers, json.loads(last.value)) == ((("cx-control", b"end"),), {"time_ms": T0 + 10**9})
        assert [(r.key, r.value) for r in events] == [(e.key, e.value) for e in told.events if chosen[e.key] == partition]
    assert delivered.by_partition == [len(records) - 2 for records in partitions]
    assert seen[-1] == 20_000
    assert seen == sorted(seen)


async def test_the_control_records_are_what_the_processors_understand(config: Settings) -> None:
    await ingest.ingest(config, history(1), end_ms=None)
    for records in await read(config, config.topic("touchpoints")):
        control = decode(0, T0, None, records[0].value, records[0].headers)
        assert (control.kind, control.time_ms) == ("begin", T0)  # type: ignore[union-attr]


async def test_a_topic_whose_records_are_past_the_files_start_is_refused_and_left_alone(config: Settings) -> None:
    event = {"type": "page.viewed", "time": "2023-11-14T22:13:20.001Z", "id": "1", "source": "s", "channel": "web", "customer_id": "c"}
    await append(config, config.topic("touchpoints"), 2, [(b"c", json.dumps(event).encode())])
    with pytest.raises(InputError, match=r"2023-11-14T22:13:20.001Z \(partition 2\)"):
        await ingest.ingest(config, history(10), end_ms=None)
    assert [len(records) for records in await read(config, config.topic("touchpoints"))] == [0, 0, 1, 0]


async def test_a_history_may_follow_one_that_ended_at_its_start(config: Settings) -> None:
    await ingest.ingest(config, history(10), end_ms=None)
    later = History(history(20).events[10:], 10, 0)
    await ingest.ingest(config, later, end_ms=None)
    assert sum(len(records) for records in await read(config, config.topic("touchpoints"))) == 20 + 2 * PARTITIONS


async def test_an_event_ahead_of_its_arrival_does_not_count_as_the_topics_time(config: Settings) -> None:
    event = {"type": "page.viewed", "time": "2999-01-01T00:00:00Z", "id": "1", "source": "s", "channel": "web", "customer_id": "c"}
    await append(config, config.topic("touchpoints"), 0, [(b"c", json.dumps(event).encode())])
    assert await source_clock.clocks(config) == [None] * PARTITIONS


async def test_the_marker_of_a_partitions_state_says_its_clock_wherever_it_is_in_the_changelog(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_clock, "MARKER_WITHIN", 3)
    changelog = f"{config.app}-journeys-changelog"
    old, new = json.dumps({"schema": 1, "clock": T0}).encode(), json.dumps({"schema": 1, "clock": T0 + 1}).encode()
    rows = [(b"c%d" % n, b"row") for n in range(20)]
    await append(config, changelog, 0, [(MARKER_KEY, old), *rows])
    await append(config, changelog, 1, [(MARKER_KEY, old), *rows, (MARKER_KEY, new), *rows[:2]])
    await append(config, changelog, 3, rows)
    assert await source_clock.clocks(config) == [T0, T0 + 1, None, None]
    with pytest.raises(InputError, match="partition 1"):
        await ingest.ingest(config, history(1), end_ms=None)


async def test_missing_topics_and_a_missing_broker_are_told_apart(kafka: Kafka, unique: str) -> None:
    settings = Settings(app=unique, topic_prefix=f"{unique}.", kafka_bootstrap=kafka.bootstrap)
    with pytest.raises(TopicsError, match="topics create"):
        await ingest.ingest(settings, history(1), end_ms=None)
    with pytest.raises(UnreachableError):
        await ingest.ingest(settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"}), history(1), end_ms=None)


async def test_a_broker_that_restarts_during_the_ingest_costs_no_record_and_doubles_none(kafka: Kafka, config: Settings) -> None:
    told = history(30_000)
    restarted: list[asyncio.Task[None]] = []

    def restart_once(done: int) -> None:
        if done and not restarted:
            restarted.append(asyncio.create_task(asyncio.to_thread(kafka.restart)))

    await ingest.ingest(config, told, end_ms=T0 + 10**9, progress=restart_once)
    await restarted[0]
    values = Counter(record.value for records in await read(config, config.topic("touchpoints")) for record in records[1:-1])
    assert values == Counter(event.value for event in told.events)


async def test_a_simulated_past_is_the_file_of_the_same_seed(config: Settings, tmp_path: Path) -> None:
    options = ["--seed", "7", "--hours", "0.2", "--rate", "20", "--start", "2026-01-01T00:00:00Z", "--customers", "300"]
    answer = await finish(simulate(config, *options))
    await finish(simulate(config, *options, "--out", str(tmp_path / "life.jsonl")))
    partitions = await read(config, config.topic("touchpoints"))
    values = [record.value for records in partitions for record in records[1:]]
    assert answer["events"] == len(values) == sum(answer["by_partition"])
    assert sorted(values) == sorted((tmp_path / "life.jsonl").read_bytes().splitlines())
    assert {record.headers for records in partitions for record in records[1:]} == {(("content-type", b"application/cloudevents+json"),)}


async def test_poison_arrives_as_every_reason_for_a_dead_letter(config: Settings) -> None:
    await finish(simulate(config, "--poison", "--hours", "3", "--rate", "6", "--seed", "3"))
    decoded = [decode(r.offset, r.timestamp, r.key, r.value, r.headers) for p in await read(config, config.topic("touchpoints")) for r in p]
    assert {event.reason for event in decoded if isinstance(event, Rejected)} == set(Reason)


async def test_live_events_happen_now_and_a_signal_ends_them_with_everything_acknowledged(config: Settings) -> None:
    process = simulate(config, "--live", "--hours", "0.05", "--rate", "200", "--history-rate", "20")
    topic = config.topic("touchpoints")
    try:
        deadline = time.monotonic() + 40
        while (median := median_age_ms(await read(config, topic))) > 1_500:
            assert time.monotonic() < deadline, f"the newest records are {median} ms old"
            await asyncio.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
    answer = await finish(process)
    partitions = await read(config, topic)
    assert [len(records) - 1 for records in partitions] == answer["by_partition"]
    assert min(record.timestamp - time_ms(record) for records in partitions for record in records) >= 0  # nothing from the future


def median_age_ms(partitions: list[list[ConsumerRecord]]) -> int:
    ages_ms = sorted(record.timestamp - time_ms(record) for records in partitions for record in records[1:][-20:])
    return ages_ms[len(ages_ms) // 2] if ages_ms else 1 << 40


def time_ms(record: ConsumerRecord) -> int:
    decoded = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
    assert not isinstance(decoded, Rejected)
    return decoded.time_ms if isinstance(decoded, Control) else decoded.time

"""A new installation with another number of partitions goes on with the history of the old one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streamer.engine import ingest, refill, topic_admin
from streamer.errors import InputError, TopicsError
from streamer.replay.history import History
from streamer.replay.mapping import Event
from streamer.replay.partitions import partition_of
from streamer.settings import Settings
from streamer.touchpoints.control import encode_control
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control

if TYPE_CHECKING:
    from deploy.local.kafka import Kafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

T0 = 1_700_000_000_000
EVENTS, CUSTOMERS = 3_000, 40


class Seen(NamedTuple):
    """A record, or the control record it is."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    control: Control | None


def installation(kafka: Kafka, name: str, partitions: int) -> Settings:
    return Settings(app=name, topic_prefix=f"{name}.", kafka_bootstrap=kafka.bootstrap, partitions=partitions)


async def read(settings: Settings) -> list[list[Seen]]:
    """The source's records by partition."""
    found: list[list[Seen]] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, isolation_level="read_committed"
    ) as consumer:
        for partition in range(settings.partitions):
            place = TopicPartition(settings.topic("touchpoints"), partition)
            end = (await consumer.end_offsets([place]))[place]
            consumer.assign([place])
            consumer.seek(place, 0)
            records: list[Seen] = []
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=100)).get(place, []):
                    event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
                    control = event if isinstance(event, Control) else None
                    records.append(Seen(record.key, record.value, tuple(record.headers), control))
            found.append(records)
    return found


async def fill(settings: Settings) -> None:
    """An ingested file, a transaction that was aborted, and live records with a header behind it."""
    events = [
        Event(T0 + i * 10, (i, 0), b"c%d" % (i % CUSTOMERS), json.dumps({"i": i, "customer_id": f"c{i % CUSTOMERS}"}).encode())
        for i in range(EVENTS)
    ]
    await ingest.ingest(settings, History(events, EVENTS, 0), end_ms=T0 + EVENTS * 10 + 60_000)
    topic = settings.topic("touchpoints")
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, transactional_id=f"{settings.app}-upstream") as upstream:
        await upstream.begin_transaction()
        await upstream.send_and_wait(topic, b"aborted", b"c1", partition=1)
        await upstream.abort_transaction()
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        for i in range(100):
            await producer.send_and_wait(topic, b"live-%d" % i, b"c%d" % (i % CUSTOMERS), headers=[("n", b"%d" % i)])


async def test_every_record_is_in_its_keys_partition_in_its_keys_order(kafka: Kafka, unique: str) -> None:
    old, new = installation(kafka, f"{unique}a", 3), installation(kafka, f"{unique}b", 5)
    await asyncio.gather(topic_admin.create(old), topic_admin.create(new))
    await fill(old)
    delivered = await refill.refill(new, old.topic_prefix)
    assert sum(delivered.by_partition) == EVENTS + 100

    def by_key(partitions: list[list[Seen]]) -> dict[bytes | None, list[Seen]]:
        found: dict[bytes | None, list[Seen]] = {}
        for seen in (seen for records in partitions for seen in records if seen.control is None):
            found.setdefault(seen.key, []).append(seen)
        return found

    before, after = await read(old), await read(new)
    assert by_key(after) == by_key(before)
    assert all(seen.value != b"aborted" for records in after for seen in records)
    for partition, records in enumerate(after):
        assert {partition_of(seen.key or b"", 5) for seen in records if seen.control is None} == {partition}
        assert [seen.control for seen in records if seen.control] == [seen.control for seen in before[0] if seen.control]
        values = [int(json.loads(seen.value)["i"]) for seen in records if seen.control is None and seen.value.startswith(b"{")]
        assert records[0].control is not None, "the file's beginning goes before all of it"
        ends = [n for n, seen in enumerate(records) if seen.control is not None and seen.control.kind == "end"]
        assert ends == [1 + len(values)], "its end behind all of it, and before what came later"


async def test_the_end_of_a_file_is_told_when_the_last_old_partition_has_told_it(kafka: Kafka, unique: str) -> None:
    old, new = installation(kafka, f"{unique}a", 2), installation(kafka, f"{unique}b", 1)
    await asyncio.gather(topic_admin.create(old), topic_admin.create(new))
    begin, end = encode_control("begin", T0), encode_control("end", T0 + 1_000)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for partition, (value, headers) in ((0, begin), (1, begin), (0, end), (1, (b"behind the first end", [])), (1, end)):
            await producer.send_and_wait(old.topic("touchpoints"), value, partition=partition, headers=headers)
    await refill.refill(new, old.topic_prefix)
    (records,) = await read(new)
    assert [seen.control.kind if seen.control else seen.value for seen in records] == ["begin", b"behind the first end", "end"]


async def test_a_topic_with_records_or_the_same_or_a_missing_one_is_refused(kafka: Kafka, unique: str) -> None:
    settings = installation(kafka, unique, 2)
    await topic_admin.create(settings)
    with pytest.raises(InputError, match=r"cannot be filled from itself: set the topic_prefix and app that are to be new"):
        await refill.refill(settings, settings.topic_prefix)
    with pytest.raises(TopicsError, match=r"topic nothing\.touchpoints\.v1 does not exist: --from-prefix is the topic_prefix of the old"):
        await refill.refill(settings, "nothing.")
    other = installation(kafka, f"{unique}b", 3)
    await topic_admin.create(other)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(other.topic("touchpoints"), b"x", b"c1")
    with pytest.raises(InputError, match=r"already has records: delete and create the topics, then start again"):
        await refill.refill(other, settings.topic_prefix)


def test_the_command_prints_what_it_copied(kafka: Kafka, unique: str) -> None:
    old, new = installation(kafka, f"{unique}a", 1), installation(kafka, f"{unique}b", 2)
    asyncio.run(topic_admin.create(old))
    asyncio.run(topic_admin.create(new))
    asyncio.run(append_one(old))
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap")
    environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(new, name)) for name in fields}}
    result = subprocess.run(
        [sys.executable, "-m", "streamer", "topics", "refill", "--from-prefix", old.topic_prefix, "--json"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["records"] == 1


async def append_one(settings: Settings) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        await producer.send_and_wait(settings.topic("touchpoints"), b"x", b"c1")

"""Driving workers of the toy machine as processes, and checking what they wrote against a recount of what they read."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streamer import topics
from streamer.engine.checkpoint import SOURCE_KEY
from streamer.processor import MARKER_KEY, ROW_PREFIX
from streamer.settings import Settings
from tests.engine_toy import MACHINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from deploy.local.kafka import Kafka

# Short, so that takeovers are quick; long enough for a busy machine to send its heartbeats.
SESSION_SECONDS = 4
PATIENCE_SECONDS = 60.0


class Read(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if await holds if inspect.isawaitable(holds) else holds:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


class Worker:
    """A worker process; `program` is the module it runs, with its arguments."""

    def __init__(self, directory: Path, environment: dict[str, str], program: Sequence[str] = ("tests.engine_toy",)) -> None:
        directory.mkdir(parents=True)
        self.log_path = directory / "log"
        self._report = directory / "report"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=Path(__file__).parents[1],
                env={**os.environ, **environment, "TOY_REPORT": str(self._report)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def said(self) -> dict[str, Any]:
        """What the worker reports of itself, empty while it is not ready."""
        if not self._report.exists() or self.process.poll() is not None:
            return {}
        said: dict[str, Any] = orjson.loads(self._report.read_bytes())
        return said

    @property
    def owned(self) -> list[int] | None:
        """The partitions it owns, None while it is not ready."""
        return self.said.get("owned")

    async def tells(self, name: str) -> Any:
        """Something of its report, as soon as it is ready."""
        seen: list[Any] = []

        def is_told() -> bool:
            seen.extend(value for key, value in self.said.items() if key == name)
            return bool(seen)

        await until(is_told, f"the worker tells {name}")
        return seen[-1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; the exit code."""
        await until(lambda: self.process.poll() is not None, f"the worker ends; its log: {self.log[-3000:]}", seconds)
        return int(self.process.returncode)


class Stage:
    """The topics of one test, their producer, and the workers on them."""

    def __init__(self, bootstrap: str, unique: str, directory: Path, partitions: int) -> None:
        self.settings = Settings(kafka_bootstrap=bootstrap, app=unique, topic_prefix=f"{unique}.", partitions=partitions)
        self.partitions = partitions
        self.source = self.settings.topic(topics.TOUCHPOINTS)
        self.output = self.settings.topic(topics.DELTAS)
        self.changelog = topics.changelog_name(unique, MACHINE)
        self.journal = topics.journal_name(unique, MACHINE)
        self.group = f"{unique}-{MACHINE}"
        self.workers: list[Worker] = []
        self.producer: AIOKafkaProducer
        self.admin: AIOKafkaAdminClient
        self._directory = directory
        self._traffic: asyncio.Task[None] | None = None
        self._silence = asyncio.Event()

    async def create(self) -> None:
        bootstrap = self.settings.kafka_bootstrap
        self.admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await self.admin.start()
        await until(self._has_controller, "the broker knows its controller, also after a test that stopped it")
        arrival = {"message.timestamp.type": "LogAppendTime"}
        await self.admin.create_topics(
            [
                NewTopic(self.source, self.partitions, 1, topic_configs=arrival),
                NewTopic(self.output, self.partitions, 1, topic_configs=arrival),
                NewTopic(self.changelog, self.partitions, 1, topic_configs={"cleanup.policy": "compact", **arrival}),
                NewTopic(self.journal, self.partitions, 1, topic_configs=arrival),
            ]
        )
        await until(self._have_leaders, "the topics have leaders")
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
        await self.producer.start()

    async def _has_controller(self) -> bool:
        await self.admin._client.force_metadata_update()
        return self.admin._client.cluster.controller is not None

    async def _have_leaders(self) -> bool:
        described = await self.admin.describe_topics([self.source, self.output, self.changelog, self.journal])
        return not any(partition["error_code"] for topic in described for partition in (topic, *topic["partitions"]))

    async def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
        await self.producer.stop()
        await self.admin.close()

    def start(
        self, restore_seconds: float = 0.0, program: Sequence[str] = ("tests.engine_toy",), *, stop_hangs: bool = False, **overrides: object
    ) -> Worker:
        """Start a worker; `overrides` are settings, `restore_seconds` is how long reading a partition's rows takes."""
        settings: dict[str, object] = {
            "kafka_bootstrap": self.settings.kafka_bootstrap,
            "app": self.settings.app,
            "topic_prefix": self.settings.topic_prefix,
            "partitions": self.partitions,
            "session_timeout_seconds": SESSION_SECONDS,
            "transaction_timeout_seconds": 15,
            "checkpoint_interval_seconds": 0.2,
            **overrides,
        }
        environment = {f"STREAMER_{name.upper()}": str(value) for name, value in settings.items()}
        environment["TOY_RESTORE_SECONDS"] = str(restore_seconds)
        if stop_hangs:
            environment["TOY_STOP_HANGS"] = "1"
        worker = Worker(self._directory / f"worker-{len(self.workers)}", environment, program)
        self.workers.append(worker)
        return worker

    async def finish(self, worker: Worker) -> None:
        """End the traffic, let a worker fold what is left, and stop it."""
        await self.end_traffic()
        await self.output_reaches(len(await self.read(self.source)))
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Append events all the time, until the end or `finish`."""
        self._traffic = asyncio.create_task(self._send_forever())
        try:
            yield
        finally:
            await self.end_traffic()

    async def end_traffic(self) -> None:
        """No more events; those sent are appended."""
        if self._traffic is not None:
            self._silence.set()
            await self._traffic
            self._traffic = None

    async def _send_forever(self) -> None:
        while not self._silence.is_set():
            await self.send(100)
            await asyncio.sleep(0.1)

    async def recreate(self, topic: str, **config: str) -> None:
        """Another topic of the same name, as if everything had been deleted with the old one."""
        await self.admin.delete_topics([topic])

        async def made() -> bool:
            created = await self.admin.create_topics(
                [NewTopic(topic, self.partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime", **config})]
            )
            return not any(code for _, code, *_ in created.topic_errors)

        await until(made, "the old topic is gone and the new one is there")
        await until(self._have_leaders, "the topics have leaders")

    async def configure(self, topic: str, **config: str) -> None:
        """What a topic's configuration is from now on."""
        told = {name.replace("_", "."): value for name, value in config.items()}
        await self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=told)])

    async def send(self, count: int, *, partition: int | None = None, keys: int = 50, key: str = "k") -> None:
        """Append events, evenly over the partitions unless one is given."""
        spread = range(self.partitions) if partition is None else [partition]
        sent = [
            await self.producer.send(self.source, b"x", b"%s%d" % (key.encode(), i % keys), partition=spread[i % len(spread)])
            for i in range(count)
        ]
        if sent:
            await asyncio.gather(*sent)

    async def read(self, topic: str) -> list[Read]:
        """Everything committed in a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            tps = [TopicPartition(topic, partition) for partition in range(self.partitions)]
            consumer.assign(tps)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(tps)
            records: list[Read] = []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    records += [Read(record.partition, record.offset, record.key, record.value) for record in batch]
            return records
        finally:
            await consumer.stop()

    async def read_timestamps(self, topic: str) -> list[int]:
        """The arrivals of partition 0's records, milliseconds since the epoch."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.seek_to_beginning()
            return [record.timestamp for record in (await consumer.getmany(timeout_ms=5000))[TopicPartition(topic, 0)]]
        finally:
            await consumer.stop()

    async def committed(self, partition: int) -> int | None:
        """The group's offset."""
        offsets = await self.admin.list_consumer_group_offsets(self.group)
        found = offsets.get(TopicPartition(self.source, partition))
        return None if found is None or found.offset < 0 else int(found.offset)

    async def output_reaches(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many outputs are committed."""
        async with self.output_reader() as read:
            deadline = time.monotonic() + seconds
            seen = 0
            while seen < count:
                seen += await read()
                assert time.monotonic() < deadline, f"{seen} of {count} outputs within {seconds} s"

    @asynccontextmanager
    async def output_reader(self) -> AsyncIterator[Any]:
        """Yields a coroutine that returns how many outputs were newly committed, waiting up to 50 ms."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, isolation_level="read_committed", fetch_max_wait_ms=50)
        await consumer.start()
        consumer.assign([TopicPartition(self.output, partition) for partition in range(self.partitions)])
        await consumer.seek_to_beginning()

        async def read() -> int:
            return sum(map(len, (await consumer.getmany(timeout_ms=50)).values()))

        try:
            yield read
        finally:
            await consumer.stop()

    async def nothing_lost_or_doubled(self) -> int:
        """Compare outputs and state with a recount of the source, exactly; returns the number of events."""
        events = await self.read(self.source)
        expected = _recount(events)
        outputs: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for record in await self.read(self.output):
            said = orjson.loads(record.value or b"")
            assert said["partition"] == record.partition
            outputs[record.partition].append((said["key"], said["count"], said["offset"]))
        assert outputs == expected, (dict(outputs), dict(expected))
        rows: dict[tuple[int, bytes], bytes] = {}
        for record in await self.read(self.changelog):
            assert record.key is not None
            if record.key == SOURCE_KEY:  # the engine's own
                continue
            assert record.value is not None
            rows[record.partition, record.key] = record.value
        counts = {(partition, ROW_PREFIX + key.encode()): b"%d" % count for partition, said in expected.items() for key, count, _ in said}
        assert {key: row for key, row in rows.items() if key[1] != MARKER_KEY} == counts
        for partition in range(self.partitions):
            last = max((event.offset for event in events if event.partition == partition), default=-1)
            marker = orjson.loads(rows[partition, MARKER_KEY])
            assert marker["next"] > last
            assert marker["consumed"] == len(expected.get(partition, ()))
        return len(events)


@asynccontextmanager
async def stage_of(kafka: Kafka, unique: str, directory: Path, *, partitions: int = 1) -> AsyncIterator[Stage]:
    """A stage with its topics created; its workers are killed at the end."""
    stage = Stage(kafka.bootstrap, unique, directory, partitions)
    await stage.create()
    try:
        yield stage
    finally:
        await stage.close()


def _recount(events: Iterable[Read]) -> dict[int, list[tuple[str, int, int]]]:
    counts: dict[tuple[int, bytes | None], int] = defaultdict(int)
    expected: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for event in events:
        counts[event.partition, event.key] += 1
        expected[event.partition].append(((event.key or b"").decode(), counts[event.partition, event.key], event.offset))
    return expected

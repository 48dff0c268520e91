"""The Kafka side of `ingest` and `simulate`: whole batches into the source topic, control records, and whose time it may be.

Keys go to the partition of Kafka's default partitioner. Records are appended in the order given, partition by partition, by an
idempotent producer that waits for all replicas: a broker that is away for a moment costs time, not records.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from streamer import topics
from streamer.engine import topic_admin
from streamer.engine.kafka import client_options, kafka_errors
from streamer.engine.source_clock import require_clock_before
from streamer.errors import InputError
from streamer.replay.partitions import partition_of
from streamer.touchpoints.control import encode_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiokafka.producer.message_accumulator import BatchBuilder

    from streamer.replay.history import History
    from streamer.settings import Settings
    from streamer.simulate.wire import Sent

# Of one produce request: large enough that requests are few, small enough to stay far below the topic's 4 MiB limit.
BATCH_BYTES: Final = 256 << 10
# What a record costs beside its key and value: the batch's header of 61 bytes, and lengths of a few each.
RECORD_OVERHEAD_BYTES: Final = 128
# Batches under way per sender; the producer itself sends one per partition at a time.
BATCHES_MAX: Final = 32
REQUEST_SECONDS: Final = 30.0
_NO_HEADERS: Final[list[tuple[str, bytes]]] = []  # a list, and shared: the C code takes nothing else, and never writes to it
# Live events wait at most this long for company: half of what a person could notice on a screen refreshed every second.
LIVE_LINGER_SECONDS: Final = 0.02


class Delivered(NamedTuple):
    """What was appended: events (control records apart) by partition, and how long it took."""

    by_partition: list[int]
    seconds: float


class Sender:
    """Fills batches per partition and sends them in order. Use `put`, and `flush` when it says the batch is full."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._builders: list[BatchBuilder] = [producer.create_batch() for _ in range(partitions)]
        self._under_way: deque[asyncio.Future[Any]] = deque()
        self.by_partition = [0] * partitions

    def partition(self, key: bytes | None, number: int) -> int:
        """The key's partition; records without a key go round."""
        return partition_of(key, len(self._builders)) if key else number % len(self._builders)

    def put(self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]] = _NO_HEADERS) -> bool:
        """Add a record to the partition's batch; False if it has no room: then `flush` and put it again."""
        if self._builders[partition].append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self.by_partition[partition] += 1
        return True

    async def send(self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Add a record, sending the batch first if it is full."""
        if not self.put(partition, key, value, headers):
            await self.flush(partition)
            self.put(partition, key, value, headers)

    async def control(self, kind: str, time_ms: int) -> None:
        """A control record into every partition, behind what was put before."""
        value, headers = encode_control("begin" if kind == "begin" else "end", time_ms)
        for partition in range(len(self._builders)):
            await self.send(partition, None, value, headers)
            self.by_partition[partition] -= 1
            await self.flush(partition)

    async def flush(self, partition: int) -> None:
        """Hand the partition's batch to the producer; waits while too many are under way."""
        builder = self._builders[partition]
        if builder.record_count():
            self._builders[partition] = self._producer.create_batch()
            builder.close()
            self._under_way.append(await self._producer.send_batch(builder, self._topic, partition=partition))
        while self._under_way and (len(self._under_way) > BATCHES_MAX or self._under_way[0].done()):
            await self._under_way.popleft()

    async def flush_all(self) -> None:
        """Hand over every batch."""
        for partition in range(len(self._builders)):
            await self.flush(partition)

    async def acknowledged(self) -> None:
        """Hand over every batch and wait until the broker has them all."""
        await self.flush_all()
        while self._under_way:
            await self._under_way.popleft()


@asynccontextmanager
async def sender(settings: Settings) -> AsyncIterator[Sender]:
    """A connected sender to the source topic. Everything is acknowledged when the block ends without an error."""
    producer = AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=topic_admin.SOURCE_BYTES_MAX,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
        linger_ms=0,
    )
    async with kafka_errors(settings):
        try:
            await producer.start()
            opened = Sender(producer, settings.topic(topics.TOUCHPOINTS), settings.partitions)
            yield opened
            await opened.acknowledged()
        finally:
            await producer.stop()


def require_sizes(history: History) -> None:
    """Raises InputError for an event that the source topic does not take: the broker would refuse it in the middle of the rest."""
    for event in history.events:
        size_bytes = len(event.value) + len(event.key or b"") + RECORD_OVERHEAD_BYTES
        if size_bytes > topic_admin.SOURCE_BYTES_MAX:
            raise InputError(
                f"row {event.order[0]} of the file makes an event of {len(event.value):,} bytes, and the source topic takes records of"
                f" {topic_admin.SOURCE_BYTES_MAX >> 20} MiB: leave it out, or send a reference to what is large"
            )


async def ingest(
    settings: Settings, history: History, *, end_ms: int | None, progress: Callable[[int], None] = lambda n: None
) -> Delivered:
    """Append a history between its control records. end_ms: time of the last ones, None for none.

    Raises:
        InputError: the topic's clock is beyond the history's start.
        TopicsError, UnreachableError, StreamerError: Kafka is not as it should be.
    """
    await topic_admin.require(settings)
    await require_clock_before(settings, history.begin_ms)
    started = time.monotonic()
    async with sender(settings) as out:
        await out.control("begin", history.begin_ms)
        for number, event in enumerate(history.events, start=1):
            partition = out.partition(event.key, number)
            if not out.put(partition, event.key, event.value):
                await out.flush(partition)
                out.put(partition, event.key, event.value)
                progress(number)
        await out.flush_all()
        if end_ms is not None:
            await out.control("end", end_ms)
        await out.acknowledged()
        progress(len(history.events))
    return Delivered(out.by_partition, time.monotonic() - started)


async def simulate(
    settings: Settings,
    records: Iterable[Sent],
    *,
    begin_ms: int | None,
    headers: list[tuple[str, bytes]],
    stop: asyncio.Event,
    live_from_ms: int | None,
    progress: Callable[[int], None] = lambda n: None,
) -> Delivered:
    """Append a simulation: what is past as fast as the broker takes it, then each record at its time, until `stop` or its end.

    begin_ms: time of the control records that go first, None for none. live_from_ms: from then on each record waits for its time by
    the wall clock; None: none waits.
    """
    await topic_admin.require(settings)
    if begin_ms is not None:
        await require_clock_before(settings, begin_ms)
    started = time.monotonic()
    async with sender(settings) as out:
        if begin_ms is not None:
            await out.control("begin", begin_ms)
        due_ms = live_from_ms
        for number, record in enumerate(records, start=1):
            if due_ms is not None and record.sent_ms > due_ms:
                due_ms = await _wait_until(record.sent_ms, out, stop)
                progress(number)
            partition = out.partition(record.key, number)
            if not out.put(partition, record.key, record.value, headers):
                await out.flush(partition)
                out.put(partition, record.key, record.value, headers)
                progress(number)
            if stop.is_set():
                break
    return Delivered(out.by_partition, time.monotonic() - started)


async def _wait_until(sent_ms: int, out: Sender, stop: asyncio.Event) -> int:
    """Wait until a record is due, at least the linger; returns until when (wall clock) records may now be sent at once."""
    await out.flush_all()
    while True:
        now_ms = time.time_ns() // 1_000_000
        if now_ms >= sent_ms or stop.is_set():
            return now_ms
        pause = max(LIVE_LINGER_SECONDS, min((sent_ms - now_ms) / 1000, 1.0))
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue

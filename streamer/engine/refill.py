"""Growing: the records of an old source topic into the new one, whose partition count is another.

A key's records keep their order, whatever partition they were in, and all keys together keep the order of arrival, so that the new
partitions pass through the same times as the old ones did. The new application then folds the history from the start.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamer import topics
from streamer.engine import topic_admin
from streamer.engine.ingest import Delivered, sender
from streamer.engine.kafka import client_options, kafka_errors
from streamer.errors import InputError, TopicsError, UnreachableError
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiokafka.structs import ConsumerRecord

    from streamer.settings import Settings

# Kafka answers a read in milliseconds; this long without progress means the broker is gone.
STALLED_SECONDS: Final = 30.0
RECORDS: Final = 2_000


async def refill(settings: Settings, from_prefix: str, *, progress: Callable[[int], None] = lambda n: None) -> Delivered:
    """Append what the source topic under `from_prefix` holds now to the settings' own, which must be empty.

    A file's beginning is told to all new partitions when its first old partition tells it, its end when the last one has.

    Raises:
        InputError: it is the same topic, or the new one has records.
        TopicsError, UnreachableError, AccessError: Kafka is not as it should be.
    """
    old, new = topics.kafka_name(topics.TOUCHPOINTS, from_prefix), settings.topic(topics.TOUCHPOINTS)
    if old == new:
        raise InputError(f"{old} cannot be filled from itself: set the topic_prefix and app that are to be new")
    await topic_admin.require(settings)
    count = await _partitions(settings, old)
    await _require_empty(settings, new)
    began, number, controls = time.monotonic(), 0, Counter[tuple[str, int]]()
    async with kafka_errors(settings), _reader(settings) as reader, sender(settings) as out:
        async for record in _by_arrival(reader, [TopicPartition(old, partition) for partition in range(count)]):
            number += 1
            event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
            if isinstance(event, Control):
                controls[event.kind, event.time_ms] += 1
                if controls[event.kind, event.time_ms] == (1 if event.kind == "begin" else count):
                    await out.flush_all()
                    await out.control(event.kind, event.time_ms)
                continue
            await out.send(out.partition(record.key, number), record.key, record.value or b"", list(record.headers))
            if number % RECORDS == 0:
                progress(number)
    return Delivered(out.by_partition, time.monotonic() - began)


def _reader(settings: Settings) -> AIOKafkaConsumer:
    options = client_options(settings)
    return AIOKafkaConsumer(**options, enable_auto_commit=False, isolation_level="read_committed", auto_offset_reset="none")


async def _partitions(settings: Settings, name: str) -> int:
    async with topic_admin.connected(settings) as admin:
        found = await topic_admin.observe(admin, [name])
    if name not in found:
        raise TopicsError(f"topic {name} does not exist: --from-prefix is the topic_prefix of the old installation")
    return found[name].partitions


async def _require_empty(settings: Settings, name: str) -> None:
    async with kafka_errors(settings), _reader(settings) as reader:
        places = [TopicPartition(name, partition) for partition in range(settings.partitions)]
        if any((await reader.end_offsets(places)).values()):
            raise InputError(f"topic {name} already has records: delete and create the topics, then start again")


async def _by_arrival(reader: AIOKafkaConsumer, places: list[TopicPartition]) -> AsyncIterator[ConsumerRecord]:
    """What these partitions hold now, in the order of their arrival; at most a fetch of each is in memory."""
    starts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    reader.assign(places)
    for place in places:  # at once: nobody else looks for a position meanwhile
        reader.seek(place, starts[place])
    waiting: dict[TopicPartition, deque[ConsumerRecord]] = {place: deque() for place in places if starts[place] < ends[place]}
    moved = time.monotonic()
    while waiting:
        empty = [place for place, records in waiting.items() if not records]
        for place in empty:
            if await reader.position(place) >= ends[place]:  # also behind records that were aborted
                del waiting[place]
        if hungry := [place for place in empty if place in waiting]:
            fetched = await reader.getmany(*hungry, timeout_ms=200, max_records=RECORDS)
            for place, records in fetched.items():
                waiting[place].extend(record for record in records if record.offset < ends[place])
            if fetched:
                moved = time.monotonic()
            elif time.monotonic() - moved > STALLED_SECONDS:
                raise UnreachableError(f"reading {hungry[0].topic} partition {hungry[0].partition} stalls: is Kafka well?")
            continue
        if waiting:
            yield min(waiting.values(), key=_arrival).popleft()


def _arrival(records: deque[ConsumerRecord]) -> tuple[int, int, int]:
    return records[0].timestamp, records[0].partition, records[0].offset

"""Reading a partition's state back from its changelog, and where its source log begins and ends.

Everything is read up to the last stable offset as of after fencing: nothing can be added behind it by an older owner.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamer.engine.checkpoint import BEGINNING_KEY, SOURCE_KEY
from streamer.engine.kafka import client_options
from streamer.engine.records import AS_READ
from streamer.engine.stalls import StallWatch
from streamer.engine.topic_ids import topic_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from streamer.processor import WriteBehindProcessor
    from streamer.settings import Settings

# Of one answer; larger ones make fewer round trips, and the loop must turn between them.
FETCH_BYTES: Final = 8 << 20
# Folded again in one go: 10 ms.
REFOLD_RECORDS: Final = 1_000


class Bounds(NamedTuple):
    """What a log holds: offsets from `start` up to, without it, `stable_end`."""

    start: int
    stable_end: int


class Restored(NamedTuple):
    """A partition's state: each key's latest row, without tombstones, and how many rows were read for it.

    source_id: Kafka's id of the source topic that it is of; empty if an earlier build wrote it. begins_at: the changelog's first offset;
    accepted_beginning: where it has been found, and accepted, that it begins.
    """

    rows: dict[bytes, bytes]
    rows_read: int
    source_id: str
    begins_at: int
    accepted_beginning: int


class ChangelogReader:
    """Reads one partition's changelog, and the offsets a partition is compared with.

    stalled_seconds: without progress for this long, a read raises UnreachableError. A worker has its watchdog instead.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, changelog: TopicPartition, source: TopicPartition, *, stalled_seconds: float = math.inf
    ) -> None:
        self._consumer = consumer
        self._stalled_seconds = stalled_seconds
        self._changelog = changelog
        self._source = source

    async def changelog_end(self) -> int:
        """The changelog's last stable offset."""
        ends = await self._consumer.end_offsets([self._changelog])
        return int(ends[self._changelog])

    async def source_id(self) -> str:
        """Kafka's id of the source topic, which another one of its name has not; empty if this Kafka gives none."""
        found = await topic_ids(self._consumer._client, [self._source.topic])
        topic_id = found[self._source.topic]
        return topic_id if int(topic_id, 16) else ""

    async def source_bounds(self) -> Bounds:
        """What the source partition still holds, and holds already."""
        starts = await self._consumer.beginning_offsets([self._source])
        ends = await self._consumer.end_offsets([self._source])
        return Bounds(starts[self._source], ends[self._source])

    async def group_offset(self) -> int | None:
        """The group's committed offset of the source partition."""
        offset = await self._consumer.committed(self._source)
        return None if offset is None else int(offset)

    async def read(self, end: int, progress: Callable[[], None] = lambda: None) -> Restored:
        """The latest rows below `end`. `progress` is called after each answer of the broker."""
        await self._consumer.seek_to_beginning(self._changelog)
        rows: dict[bytes, bytes | None] = {}
        rows_read = 0
        before, watch = -1, StallWatch(self._changelog.topic, self._stalled_seconds)
        while (position := await self._consumer.position(self._changelog)) < end:
            watch.look(moved=position > before)
            before = position
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                rows_read += len(records)
                rows.update([(record.key, record.value) for record in records])
                progress()
        source_id = (rows.pop(SOURCE_KEY, None) or b"").decode()
        accepted = int(rows.pop(BEGINNING_KEY, None) or 0)
        begins_at = int((await self._consumer.beginning_offsets([self._changelog]))[self._changelog])
        return Restored({key: row for key, row in rows.items() if row is not None}, rows_read, source_id, begins_at, accepted)

    async def refold(self, processor: WriteBehindProcessor, start: int, end: int, *, complete: bool, progress: Callable[[], None]) -> None:
        """Let the processor fold the source from `start` up to `end` again. complete: False if records before `start` are lost."""
        self._consumer.assign([self._source])
        self._consumer.seek(self._source, start)
        position, watch = start, StallWatch(self._source.topic, self._stalled_seconds)
        while position < end:
            found = await self._consumer.getmany(timeout_ms=200, max_records=REFOLD_RECORDS)
            before, position = position, min(end, await self._consumer.position(self._source))
            records = [record for record in found.get(self._source, ()) if record.offset < end]
            processor.refold(records, position, complete=complete)
            watch.look(moved=position > before)
            if position > before:  # an answer without anything is none: the watchdog has to see that it is stuck
                progress()
        if start >= end:
            processor.refold((), end, complete=complete)


@asynccontextmanager
async def changelog_reader(
    settings: Settings, *, group: str, changelog: TopicPartition, source: TopicPartition, stalled_seconds: float = math.inf
) -> AsyncIterator[ChangelogReader]:
    """A connected reader. It names the group to look its offset up, and never joins it."""
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
        key_deserializer=AS_READ,
        retry_backoff_ms=20,
    )
    try:
        await consumer.start()
        consumer.assign([changelog])
        yield ChangelogReader(consumer, changelog, source, stalled_seconds=stalled_seconds)
    finally:
        await consumer.stop()

"""Everything that is committed of the journeys machine, as of one moment: its source, its journal, what it wrote. For `verify`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streamer import topics
from streamer.engine.kafka import client_options, kafka_errors
from streamer.engine.opening import topic_names
from streamer.engine.stalls import STALLED_SECONDS, StallWatch
from streamer.engine.topic_admin import connected
from streamer.errors import DataLossError, InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.structs import ConsumerRecord

    from streamer.settings import Settings

# Workers that are caught up commit once a second and partition; what is read between two commits is of one moment.
QUIET_SECONDS: Final = 0.02
QUIET_ATTEMPTS: Final = 500

Logs = dict[int, list["ConsumerRecord"]]  # by partition


class Committed(NamedTuple):
    """Records by partition: the source up to the group's offsets, the journal, the deltas, late events and dead letters."""

    source: Logs
    journal: Logs
    deltas: Logs
    late: Logs
    dead_letters: Logs


async def read(settings: Settings) -> Committed:
    """Read it all, read_committed.

    Raises:
        DataLossError: the begin of a topic is not there any more.
        InputError: the machine has committed nothing, or does not stop committing.
        UnreachableError: Kafka does not answer.
    """
    names = topic_names(settings, "journeys", topics.TOUCHPOINTS)
    source = _places(names.source, settings.partitions)
    written = {
        "journal": _places(names.journal, settings.partitions),
        "deltas": _places(settings.topic(topics.DELTAS), settings.rollup_partitions),
        "late": _places(settings.topic(topics.LATE), settings.partitions),
        "dead_letters": _places(settings.topic(topics.DEAD_LETTERS), settings.partitions),
    }
    async with _reading(settings) as consumer:
        ends = await _one_moment(settings, consumer, names.group, source, [place for places in written.values() for place in places])
        await _require_all(consumer, ends)
        read = {name: await _read(consumer, {place: ends[place] for place in places}) for name, places in written.items()}
        return Committed(source=await _read(consumer, {place: ends[place] for place in source}), **read)


def _places(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(partitions)]


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    async with kafka_errors(settings):
        consumer = AIOKafkaConsumer(
            **client_options(settings), isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none"
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


async def _one_moment(
    settings: Settings, consumer: AIOKafkaConsumer, group: str, source: list[TopicPartition], written: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Ends between which no checkpoint lies: the group's offsets of the source, and the last stable offsets of what is written."""
    async with connected(settings) as admin:
        before: dict[TopicPartition, int] = {}
        for _ in range(QUIET_ATTEMPTS):
            now = await _group_offsets(admin, group, source)
            now |= await consumer.end_offsets(written)
            if now == before:
                if not any(now[place] for place in source):
                    raise InputError(f"the group {group} has committed nothing: there is nothing to verify")
                return now
            before = now
            await asyncio.sleep(QUIET_SECONDS)
    raise InputError("the workers never pause between two checkpoints: stop them or their producers for a moment, and verify again")


async def _group_offsets(admin: AIOKafkaAdminClient, group: str, source: list[TopicPartition]) -> dict[TopicPartition, int]:
    try:
        offsets = await admin.list_consumer_group_offsets(group, partitions=source)
    except GroupCoordinatorNotAvailableError:  # a broker that never had a group
        offsets = {}
    return {place: max(offsets[place].offset, 0) if place in offsets else 0 for place in source}


async def _require_all(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
    for place, start in (await consumer.beginning_offsets(list(ends))).items():
        if start > 0 and ends[place] > 0:
            raise DataLossError(
                f"{place.topic} partition {place.partition} begins at offset {start}: what retention has deleted cannot be recounted"
            )


async def _read(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> Logs:
    found: Logs = {place.partition: [] for place in ends}
    wanted = [place for place, end in ends.items() if end > 0]
    consumer.assign(wanted)
    for place in wanted:
        consumer.seek(place, 0)
    watch = StallWatch(wanted[0].topic if wanted else "", STALLED_SECONDS)
    while await _behind(consumer, wanted, ends):
        batches = await consumer.getmany(timeout_ms=200)
        for place, records in batches.items():
            found[place.partition] += [record for record in records if record.offset < ends[place]]
        watch.look(moved=bool(batches))
    return found


async def _behind(consumer: AIOKafkaConsumer, places: Iterable[TopicPartition], ends: Mapping[TopicPartition, int]) -> bool:
    for place in places:
        if await consumer.position(place) < ends[place]:
            return True
    return False

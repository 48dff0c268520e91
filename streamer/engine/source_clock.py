"""What time the source topic has reached: history may only be added behind it, or it would be late when it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamer import topics
from streamer.alerts.times import rfc3339
from streamer.engine.kafka import client_options, kafka_errors
from streamer.engine.stalls import STALLED_SECONDS, StallWatch
from streamer.errors import InputError
from streamer.journeys import marker
from streamer.processor import MARKER_KEY
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control, Rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiokafka.structs import ConsumerRecord

    from streamer.settings import Settings

# How far back from the end of a changelog the marker row is looked for first; every checkpoint writes one, last of its rows.
MARKER_WITHIN: Final = 2_000


async def require_clock_before(settings: Settings, begin_ms: int) -> None:
    """Return if every partition's clock is at or before `begin_ms`: events before it would be late, deadlines would be skipped.

    Raises InputError with the partition and both times.
    """
    for partition, clock_ms in enumerate(await clocks(settings)):
        if clock_ms is not None and clock_ms > begin_ms:
            raise InputError(
                f"{settings.topic(topics.TOUCHPOINTS)} is already at {rfc3339(clock_ms)} (partition {partition}),"
                f" the history begins at {rfc3339(begin_ms)}: use topics of its own (another topic_prefix and app), or"
                " `streamer replay`"
            )


async def clocks(settings: Settings) -> list[int | None]:
    """Each source partition's clock, milliseconds since the epoch; None for one never written nor opened by a worker.

    Of a partition with state: the marker row's. Else the greatest min(event time, arrival) of its records.
    """
    source, changelog = settings.topic(topics.TOUCHPOINTS), topics.changelog_name(settings.app, "journeys")
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False, isolation_level="read_committed")
    async with kafka_errors(settings):
        try:
            await consumer.start()
            log = await _Log.of(consumer, [source, changelog], settings.partitions)
            found = []
            for partition in range(settings.partitions):
                clock_ms = await _marker_clock(log, TopicPartition(changelog, partition))
                found.append(await _log_clock(log, TopicPartition(source, partition)) if clock_ms is None else clock_ms)
            return found
        finally:
            await consumer.stop()


class _Log:
    """Partitions read one after the other. bounds: (first offset, end) of each.

    All are assigned once and paused but for the one being read: aiokafka's consumer can hang for a request timeout when it is
    stopped soon after an assignment has changed.
    """

    def __init__(self, consumer: AIOKafkaConsumer, bounds: dict[TopicPartition, tuple[int, int]]) -> None:
        self._consumer = consumer
        self.bounds = bounds

    @classmethod
    async def of(cls, consumer: AIOKafkaConsumer, names: Sequence[str], partitions: int) -> _Log:
        """Assign the partitions of these topics and look up their bounds."""
        places = [TopicPartition(name, partition) for name in names for partition in range(partitions)]
        consumer.assign(places)
        consumer.pause(*places)
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return cls(consumer, {place: (starts[place], ends[place]) for place in places})

    async def records(self, place: TopicPartition, start: int) -> AsyncIterator[ConsumerRecord]:
        """The records from `start` up to the partition's end as of the look-up."""
        _, end = self.bounds[place]
        if start >= end:
            return
        self._consumer.seek(place, start)
        self._consumer.resume(place)
        before, watch = -1, StallWatch(place.topic, STALLED_SECONDS)
        while (position := await self._consumer.position(place)) < end:
            watch.look(moved=position > before)
            before = position
            for record in (await self._consumer.getmany(timeout_ms=200)).get(place, []):
                if record.offset < end:
                    yield record
        self._consumer.pause(place)


async def _marker_clock(log: _Log, changelog: TopicPartition) -> int | None:
    """Clock of the latest marker row. It is the last row of every checkpoint, so it is looked for from the end backwards."""
    start, end = log.bounds[changelog]
    within = MARKER_WITHIN
    while start < end:
        first = max(start, end - within)
        clock_ms = None
        async for record in log.records(changelog, first):
            if record.key == MARKER_KEY and record.value is not None:
                clock_ms = marker.decode(record.value).clock
        if clock_ms is not None or first == start:
            return clock_ms
        within *= 16
    return None


async def _log_clock(log: _Log, source: TopicPartition) -> int | None:
    clock_ms: int | None = None
    async for record in log.records(source, log.bounds[source][0]):
        event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
        if not isinstance(event, Rejected):
            time_ms = event.time_ms if isinstance(event, Control) else event.time
            seen = min(time_ms, record.timestamp)
            clock_ms = seen if clock_ms is None else max(clock_ms, seen)
    return clock_ms

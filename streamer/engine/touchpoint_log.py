"""The source topic as the journeys machine has folded it: records up to what is committed, and where the journal moved idle clocks.

Read piece by piece, in about the order of arrival over all partitions, so that memory is needed for one piece and not for the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, OffsetOutOfRangeError

from streamer import topics
from streamer.engine.alert_log import AlertLog
from streamer.engine.kafka import client_options, kafka_errors
from streamer.engine.opening import topic_names
from streamer.engine.stalls import STALLED_SECONDS, StallWatch
from streamer.engine.topic_admin import connected
from streamer.errors import DataLossError, TopicsError
from streamer.journeys import marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from aiokafka.structs import ConsumerRecord

    from streamer.alerts.alert import Alert
    from streamer.settings import Settings

# Records of a partition that may wait for another one's; a poll brings at most as many on top.
BUFFERED_MAX: Final = 20_000
_POLL_MS: Final = 200

Idle = list[tuple[int, int]]  # (offset, the clock after it), ascending


class Extent(NamedTuple):
    """What there is to read: by partition [start, end) of the source, and the idle clocks. notes: what a reader should know of it."""

    bounds: Mapping[int, tuple[int, int]]
    idle: Mapping[int, Idle]
    notes: Sequence[str]

    @property
    def records(self) -> int:
        """How many records that is at most: offsets have gaps."""
        return sum(end - start for start, end in self.bounds.values())

    def only(self, partition: int) -> Extent:
        """The part of one partition."""
        return self._replace(bounds={partition: self.bounds[partition]}, idle={partition: self.idle[partition]})


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[TouchpointLog]:
    """The committed part of the source.

    Raises:
        TopicsError: the source topic does not exist.
        DataLossError: retention deletes it while it is read.
        UnreachableError, AccessError: Kafka does not answer, or refuses.
    """
    async with kafka_errors(settings):
        consumer = AIOKafkaConsumer(
            **client_options(settings), isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none"
        )
        try:
            await consumer.start()
            yield TouchpointLog(settings, consumer)
        finally:
            await consumer.stop()


@contextmanager
def opened(settings: Settings) -> Iterator[OpenedLog]:
    """The same for who is not asynchronous; raises as `reading` does."""
    with asyncio.Runner() as runner:
        context = reading(settings)
        log = runner.run(context.__aenter__())
        try:
            yield OpenedLog(runner, log, runner.run(log.extent()), settings)
        except BaseException as exc:
            if not runner.run(context.__aexit__(type(exc), exc, exc.__traceback__)):
                raise
        else:
            runner.run(context.__aexit__(None, None, None))


class OpenedLog:
    """A `TouchpointLog` to be read step by step. extent: what there was when it was opened."""

    def __init__(self, runner: asyncio.Runner, log: TouchpointLog, extent: Extent, settings: Settings) -> None:
        self.extent = extent
        self._runner = runner
        self._log = log
        self._settings = settings

    def pieces(self, extent: Extent) -> Iterator[dict[int, tuple[list[ConsumerRecord], Idle]]]:
        """See `TouchpointLog.pieces`."""
        pieces = self._log.pieces(extent)
        while True:
            try:
                yield self._runner.run(anext(pieces))  # type: ignore[arg-type]
            except StopAsyncIteration:
                return

    def alerts(self, id_: str) -> list[Alert]:
        """The transitions in the alert topics that have this alert_id, episode_id or fingerprint."""

        async def look() -> list[Alert]:
            async with AlertLog(self._settings) as log:
                return await log.find(id_)

        return self._runner.run(look())


class TouchpointLog:
    """The source and the journal of the journeys machine; `reading` makes one."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._settings = settings
        self._names = topic_names(settings, "journeys", topics.TOUCHPOINTS)
        self._source = [TopicPartition(self._names.source, p) for p in range(settings.partitions)]
        self._consumer = consumer

    async def extent(self) -> Extent:
        """What the workers have folded by now; of a topic that no worker has read, all of it."""
        missing = {place.topic for place in self._source} - await self._consumer.topics()
        if missing:
            raise TopicsError(f"the topic {missing.pop()} does not exist: run `streamer topics create`, or check topic_prefix")
        starts, ends = await self._consumer.beginning_offsets(self._source), await self._consumer.end_offsets(self._source)
        folded = await self._folded()
        bounds: dict[int, tuple[int, int]] = {}
        for place in self._source:
            end = min(folded[place], ends[place]) if folded else ends[place]
            bounds[place.partition] = (min(starts[place], end), end)
        notes = [] if folded else ["no worker has committed anything: all of the topic is read, and no idle clock is known"]
        gone = sum(start > 0 for start, _ in bounds.values())
        if gone:
            notes.append(f"retention has deleted the beginning of {gone} partitions: what customers did before is not known")
        idle = await self._idle(notes) if folded else {}
        return Extent(bounds, {p: [entry for entry in idle.get(p, []) if entry[0] < end] for p, (_, end) in bounds.items()}, notes)

    async def pieces(self, extent: Extent) -> AsyncIterator[dict[int, tuple[list[ConsumerRecord], Idle]]]:
        """By partition the next records and the idle clocks between and behind them, until all is read."""
        waiting: dict[int, deque[ConsumerRecord]] = {p: deque() for p in extent.bounds}
        idle = {p: deque(entries) for p, entries in extent.idle.items()}
        wanted = [place for place in self._source if place.partition in extent.bounds]
        open_places = {place for place in wanted if extent.bounds[place.partition][0] < extent.bounds[place.partition][1]}
        await self._assign({place: extent.bounds[place.partition][0] for place in open_places})
        watch = StallWatch(self._names.source, STALLED_SECONDS)
        while True:
            moved = False
            hungry = [place for place in open_places if len(waiting[place.partition]) < BUFFERED_MAX]
            for place, records in (await self._poll(hungry)).items():
                end = extent.bounds[place.partition][1]
                waiting[place.partition].extend(record for record in records if record.offset < end)
                moved = True
            for place in list(open_places):
                if await self._consumer.position(place) >= extent.bounds[place.partition][1]:
                    open_places.discard(place)
                    moved = True
            piece = _take(waiting, idle, {place.partition for place in open_places})
            if piece:
                yield piece
            if not open_places:
                return
            watch.look(moved=moved)

    async def _poll(self, hungry: list[TopicPartition]) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        if not hungry:
            return {}
        try:
            found: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(*hungry, timeout_ms=_POLL_MS)
        except OffsetOutOfRangeError as exc:
            raise DataLossError(f"retention has deleted records of {hungry[0].topic} while they were read: try again") from exc
        return found

    async def _assign(self, starts: Mapping[TopicPartition, int]) -> None:
        self._consumer.assign(list(starts))
        for place, start in starts.items():
            self._consumer.seek(place, start)

    async def _folded(self) -> dict[TopicPartition, int]:
        """The workers' offsets; empty before there are any."""
        async with connected(self._settings) as admin:
            try:
                offsets = await admin.list_consumer_group_offsets(self._names.group, partitions=self._source)
            except GroupCoordinatorNotAvailableError:  # a broker that never had a group
                return {}
        found = {place: max(offsets[place].offset, 0) if place in offsets else 0 for place in self._source}
        return found if any(found.values()) else {}

    async def _idle(self, notes: list[str]) -> dict[int, Idle]:
        """The idle clocks of the journal. Of several after the same offset the last one has the effect of all."""
        places = [TopicPartition(self._names.journal, p) for p in range(self._settings.partitions)]
        if self._names.journal not in await self._consumer.topics():
            notes.append("there is no journal: idle clocks are not known")
            return {}
        starts, ends = await self._consumer.beginning_offsets(places), await self._consumer.end_offsets(places)
        found: dict[int, dict[int, int]] = {place.partition: {} for place in places}
        told: set[str] = set()
        wanted = {place: starts[place] for place in places if starts[place] < ends[place]}
        await self._assign(wanted)
        watch = StallWatch(self._names.journal, STALLED_SECONDS)
        while any([await self._consumer.position(place) < ends[place] for place in wanted]):
            batches = await self._poll(list(wanted))
            for place, records in batches.items():
                for record in records:
                    _note(record.value or b"", found[place.partition], told)
            watch.look(moved=bool(batches))
        notes += sorted(told)
        return {partition: sorted(clocks.items()) for partition, clocks in found.items()}


def _note(value: bytes, clocks: dict[int, int], told: set[str]) -> None:
    """Take a journal entry in."""
    if b'"lost_until"' in value:
        told.add("the journal tells of records that were lost before they were folded: live alerts may differ")
    elif b'"after"' not in value:
        clocks.clear()  # the state was reset, and all of it folded again
        told.add("the journal tells of a reset: what is compared is the run since")
    else:
        entry = marker.decode_journal(value)
        if entry.revision is not None:
            told.add("the definitions changed while this was folded live: here one version holds from the beginning")
        if entry.clock is not None:
            clocks[entry.after] = max(entry.clock, clocks.get(entry.after, 0))


def _take(
    waiting: Mapping[int, deque[ConsumerRecord]], idle: Mapping[int, deque[tuple[int, int]]], unfinished: set[int]
) -> dict[int, tuple[list[ConsumerRecord], Idle]]:
    """What has arrived up to the moment that every unfinished partition has been read to."""
    if any(not waiting[partition] for partition in unfinished):
        return {}
    horizon = min((waiting[partition][-1].timestamp for partition in unfinished), default=None)
    piece = {}
    for partition, records in waiting.items():
        taken = []
        while records and (horizon is None or records[0].timestamp <= horizon):
            taken.append(records.popleft())
        # A clock belongs before the next record; as long as that is not known, only what is not behind the last one is certain.
        behind = taken[-1].offset if taken else -2
        limit = records[0].offset - 1 if records else behind if partition in unfinished else 1 << 62
        clocks: Idle = []
        while idle[partition] and idle[partition][0][0] <= limit:
            clocks.append(idle[partition].popleft())
        if taken or clocks:
            piece[partition] = (taken, clocks)
    return piece

"""Opening a partition: fence the older owner, restore, compare with the log, and hand over an owner at the right offset."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple, cast

import orjson
from aiokafka import TopicPartition

from streamer.engine.checkpoint import TopicNames, Transactions
from streamer.engine.machine import group_name
from streamer.engine.owner import Owner
from streamer.engine.restore import changelog_reader
from streamer.errors import DataLossError, OperatorError
from streamer.processor import WriteBehindProcessor
from streamer.topics import changelog_name, journal_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.engine.clocks import IdleClock, Linger
    from streamer.engine.machine import Machine
    from streamer.engine.restore import Bounds, ChangelogReader, Restored
    from streamer.metrics.pipeline import Pipeline
    from streamer.processor import Processor
    from streamer.settings import Settings

logger = logging.getLogger(__name__)


def topic_names(settings: Settings, machine: str, source: str) -> TopicNames:
    """The names in Kafka of a machine; `source` is a logical topic."""
    return TopicNames(
        group=group_name(settings, machine),
        source=settings.topic(source),
        changelog=changelog_name(settings.app, machine),
        journal=journal_name(settings.app, machine),
    )


def transactional_id(settings: Settings, machine: str, partition: int) -> str:
    """What fences: there is one producer of this id at a time, and it is the owner's."""
    return f"{settings.app}-{machine}-{partition}"


class Kept(NamedTuple):
    """The state of a partition closed in this process, with everything in it committed. Good as long as nobody wrote since."""

    processor: Processor
    changelog_end: int
    idle: IdleClock
    source_id: str


class Opener:
    """Opens partitions of one machine."""

    def __init__(self, machine: Machine, settings: Settings, *, linger: Linger, pipeline: Pipeline) -> None:
        self._machine = machine
        self._settings = settings
        self._linger = linger
        self._pipeline = pipeline
        self.names = topic_names(settings, machine.name, machine.source)

    async def open(self, partition: int, kept: Kept | None, progress: Callable[[], None]) -> Owner:
        """Become the owner. The group's member calls this; cancelling it leaves nothing behind.

        Raises:
            OperatorError: the group's offset was moved, or the topics do not fit the state.
            DataLossError: the source no longer holds the offset to go on from.
            KafkaError: the broker.
        """
        owner_id = transactional_id(self._settings, self._machine.name, partition)
        transactions = Transactions(self._settings, transactional_id=owner_id, partition=partition, names=self.names)
        await transactions.start()
        try:
            return await self._open(partition, kept, transactions, progress)
        except BaseException:
            await transactions.stop()
            raise

    async def _open(self, partition: int, kept: Kept | None, transactions: Transactions, progress: Callable[[], None]) -> Owner:
        changelog = TopicPartition(self.names.changelog, partition)
        source = TopicPartition(self.names.source, partition)
        idle: IdleClock | None
        async with changelog_reader(self._settings, group=self.names.group, changelog=changelog, source=source) as reader:
            changelog_end = await reader.changelog_end()
            begins_at = None
            if kept is not None and kept.changelog_end == changelog_end:
                processor, idle, state_of = kept.processor, kept.idle, kept.source_id
            else:
                idle = None
                processor, restored = await self._restore(partition, reader, changelog_end, progress)
                state_of = restored.source_id
                begins_at = self._accept_beginning(partition, restored)
            progress()
            source_id = await reader.source_id()
            if processor.next_offset is not None:
                self._compare_topics(partition, state_of, source_id)
            bounds = await reader.source_bounds()
            self._compare_offsets(partition, state=processor.next_offset, group=await reader.group_offset())
            next_offset = processor.next_offset
            replay_from = processor.replay_from if isinstance(processor, WriteBehindProcessor) else None
            needed = next_offset if replay_from is None else replay_from
            lost_until = self._find_loss(partition, needed, next_offset, bounds)
            if replay_from is not None:
                await self._refold(cast("WriteBehindProcessor", processor), reader, replay_from, lost_until, progress)
                if lost_until is None and (await reader.source_bounds()).start > replay_from:
                    return await self._open(partition, None, transactions, progress)  # retention was faster: see what is lost now
        begin = bounds.start if next_offset is None else next_offset
        owner_at = begin if lost_until is None else max(begin, lost_until)
        owner = Owner(
            partition,
            processor,
            transactions,
            next_offset=owner_at,
            changelog_end=changelog_end,
            settings=self._settings,
            linger=self._linger,
            pipeline=self._pipeline,
            idle=idle,
        )
        owner.source_id = source_id
        if source_id and state_of != source_id:
            transactions.tell_source(source_id)
        if begins_at is not None:
            transactions.tell_beginning(begins_at)
        if lost_until is not None:
            processor.process((), owner_at)
            owner.journal(orjson.dumps({"after": needed, "lost_until": lost_until}))
        elif next_offset is None:
            processor.process((), bounds.start)
        if idle is None:
            owner.commit_soon()
        return owner

    def _accept_beginning(self, partition: int, restored: Restored) -> int | None:
        """Where the changelog begins, if that is to be written down; None if it is where it was.

        Compaction leaves a log's first offset where it is; that it has moved says that rows were deleted which nothing replaces. Without
        state, as after `state reset --from-start`, nothing of it is lost.
        """
        if restored.begins_at <= restored.accepted_beginning:
            return None
        if restored.rows:
            self._accept_lost_rows(partition, restored.begins_at)
        return restored.begins_at

    def _accept_lost_rows(self, partition: int, begins_at: int) -> None:
        place = f"{self.names.changelog}[{partition}]"
        lost = f"{place} begins at offset {begins_at}: rows of the state were deleted (cleanup.policy, or delete-records)"
        if self._settings.on_data_loss == "refuse":
            raise DataLossError(
                f"{lost}; `streamer state reset {self._machine.name} --from-start` begins again with what the source still holds;"
                " on_data_loss=skip goes on with what is left of the state"
            )
        details = {"action": "data_loss_skipped", "partition": partition}
        logger.error("%s; gone on without them as on_data_loss=skip says", lost, extra=details)

    async def _restore(self, partition: int, reader: ChangelogReader, end: int, progress: Callable[[], None]) -> tuple[Processor, Restored]:
        """The state, and what it was restored from."""
        began = time.monotonic()
        processor = self._machine.make(partition)
        restored = await reader.read(end, progress)
        if restored.rows:
            processor.restore(restored.rows.items())
        seconds = time.monotonic() - began
        self._pipeline.restored(duration_seconds=seconds, rows=restored.rows_read)
        logger.info(
            "partition %d restored: %d rows read, %d kept, %.2f s",
            partition,
            restored.rows_read,
            len(restored.rows),
            seconds,
            extra={"action": "restored", "partition": partition},
        )
        return processor, restored

    async def _refold(
        self,
        processor: WriteBehindProcessor,
        reader: ChangelogReader,
        replay_from: int,
        lost_until: int | None,
        progress: Callable[[], None],
    ) -> None:
        """Bring the rows up to the marker: fold what came after them again."""
        began = time.monotonic()
        end = processor.next_offset or 0
        start = replay_from if lost_until is None else min(end, lost_until)
        await reader.refold(processor, start, end, complete=lost_until is None, progress=progress)
        seconds = time.monotonic() - began
        logger.info("offsets %d to %d folded again, %.2f s", start, end, seconds, extra={"action": "refolded"})

    def _compare_topics(self, partition: int, state_of: str, source_id: str) -> None:
        """Offsets alone do not tell: a topic made anew may already be longer than the old one was."""
        if state_of in ("", source_id) or not source_id:
            return
        raise DataLossError(
            f"{self.names.source}[{partition}] is another topic than the one that the state is of: it was deleted and created anew;"
            f" `streamer state reset {self._machine.name} --from-start` begins again with what is there, without --from-start the state"
            " goes on at its offset, if this is a copy of the old one"
        )

    def _compare_offsets(self, partition: int, *, state: int | None, group: int | None) -> None:
        """They are committed together, so a differing one was moved by hand."""
        if group is None or group == state:
            return
        place = f"group {self.names.group} is at offset {group} of {self.names.source}[{partition}], but {self.names.changelog} has"
        if state is None:
            raise OperatorError(
                f"{place} no state: it was deleted or created anew; `streamer state reset {self._machine.name} --from-start` begins again"
                " with what the source still holds, and what this has written before it writes a second time"
            )
        raise OperatorError(
            f"{place} the state of offset {state}: somebody moved one without the other; `streamer state reset {self._machine.name}`"
            " makes them agree again"
        )

    def _find_loss(self, partition: int, needed: int | None, next_offset: int | None, bounds: Bounds) -> int | None:
        """The offset to skip to, or None if nothing is lost. needed: to go on, or to fold again; next_offset: of the state."""
        if needed is None or next_offset is None or bounds.start <= needed <= next_offset <= bounds.stable_end:
            return None
        place = f"{self.names.source}[{partition}]"
        if next_offset > bounds.stable_end:
            raise DataLossError(
                f"{place} ends at offset {bounds.stable_end}, before {next_offset} that the state has already folded: the topic was"
                f" truncated or created anew; `streamer state reset {self._machine.name} --from-start` begins again with what is there"
            )
        if self._settings.on_data_loss == "refuse":
            raise DataLossError(
                f"{place} begins at offset {bounds.start}, but the state needs {needed}: retention has deleted {bounds.start - needed}"
                " records that were not read; set on_data_loss=skip to go on without them, journalled and counted"
            )
        logger.error(
            "%s: %d records from offset %d were deleted before they were read; skipped as on_data_loss=skip says",
            place,
            bounds.start - needed,
            needed,
            extra={"action": "data_loss_skipped", "partition": partition},
        )
        self._pipeline.data_lost(bounds.start - needed)
        return bounds.start

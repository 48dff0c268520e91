"""The owner of one partition: folds its batches, decides when a checkpoint is due, and commits it.

The processor's methods are synchronous, so rows, outputs and marker of a checkpoint are of one moment. One commit is in
flight at a time; folding goes on meanwhile, and waits when the next checkpoint is due before the last one is committed.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from streamer.engine.accounting import balanced
from streamer.engine.clocks import CAUGHT_UP_SECONDS, IdleClock
from streamer.processor import PiecewiseProcessor, WriteBehindProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.engine.batches import Batch
    from streamer.engine.checkpoint import Committed, Transactions
    from streamer.engine.clocks import Linger
    from streamer.engine.driver import Fetched
    from streamer.metrics.pipeline import PartitionMetrics, Pipeline
    from streamer.processor import Processor
    from streamer.settings import Settings


# So long folding goes on beside a commit, which then has most of its transaction's time left. Each of its steps waits for the piece that is
# folded at the moment: where these take long, it would time out, and so would the one after it.
COMMIT_SECONDS_ALONGSIDE: Final = 1.0
# So far the idle clock moves at a time. Where neither events came nor a worker ran for a month, it has a month to go, and the deadlines of
# a million customers take longer than a process may be deaf.
CLOCK_STEP_MS: Final = 600_000


class RangeError(Exception):
    """Records went missing between the consumer and the owner; nothing but a fresh start can say where they are."""


class Owner:
    """One open partition of this process.

    epoch: of the seek its batches must belong to; None until it may fold. changelog_end: the changelog's stable end after our
    last commit, None if unknown. commit_began: on the monotonic clock, None while none is in flight. edition: of what the machine made
    the processor of, see `Partitions.renew`. idle: of the owner before, in this process, whose state this one goes on with.
    source_id: Kafka's of the source topic.
    """

    def __init__(
        self,
        partition: int,
        processor: Processor,
        transactions: Transactions,
        *,
        next_offset: int,
        changelog_end: int | None,
        settings: Settings,
        linger: Linger,
        pipeline: Pipeline,
        idle: IdleClock | None = None,
    ) -> None:
        self.partition = partition
        self.processor = processor
        self.next_offset = next_offset
        self.changelog_end = changelog_end
        self.epoch: int | None = None
        self.source_id = ""
        self.commit_began: float | None = None
        self.edition = 0
        self.moved = time.monotonic()
        self._transactions = transactions
        self._settings = settings
        self._linger = linger
        self._pipeline = pipeline
        self._metrics: PartitionMetrics = pipeline.open_partition(partition, processor.accounting)
        self.idle = idle or IdleClock(processor.reference, monotonic=self.moved)
        self._journal: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._changed_at = self._alert_at = math.inf  # the oldest that is not in a checkpoint yet
        self._due = math.inf
        self._rescheduled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._committing = asyncio.Lock()
        self._failure: BaseException | None = None
        self._committed_offset = next_offset
        self._task: asyncio.Task[None] | None = None

    # -- folding

    def fold(self, batch: Batch, fetched: Fetched | None) -> None:
        """Fold a batch; one of an earlier epoch is not ours to fold.

        Raises:
            RangeError: the batch begins above the offset to go on from.
        """
        if batch.epoch != self.epoch or batch.end <= self.next_offset:
            return
        if batch.start > self.next_offset:
            raise RangeError(
                f"partition {self.partition} was at offset {self.next_offset} and got records from {batch.start}: a batch was lost"
            )
        records = batch.since(self.next_offset)
        began = time.monotonic()
        self.processor.process(records, batch.end)
        self.next_offset = batch.end
        self.moved = now = time.monotonic()
        self._pipeline.folded(now - began)
        self.idle.observe(self.processor.reference, monotonic=now)
        self._is_caught_up(fetched, now)
        if records:
            behind = fetched is not None and fetched.stable_end - self.next_offset > self._settings.fetch_max_records
            self._changed(alerts_may_wait=behind)

    def go_on(self) -> bool:
        """Do a piece of what a batch has left to do; False if nothing was left, or it is not ours to do any more."""
        if self.epoch is None or not isinstance(self.processor, PiecewiseProcessor) or not self.processor.go_on():
            return False
        self.moved = time.monotonic()
        self._changed()
        return True

    async def room(self) -> None:
        """Wait while a whole checkpoint's worth is pending, until it is drained. A commit gets a turn, an overdue one all of them."""
        await self._drained.wait()
        if self.commit_began is not None:
            await asyncio.sleep(0)
        if self.commit_began is not None and time.monotonic() - self.commit_began > COMMIT_SECONDS_ALONGSIDE:
            async with self._committing:
                pass

    def tick(self, fetched: Fetched | None) -> bool:
        """About once a second: move the idle clock, if nothing is left to fetch; True if it has further to go, after everything else."""
        now = time.monotonic()
        if self.epoch is None:  # its gauges are another's, or nobody's, while it disconnects
            return False
        if fetched is not None:
            self._metrics.lag(max(0, fetched.end - self.next_offset))
        if not self._is_caught_up(fetched, now):
            return False
        clock_ms = self.idle.now_ms(now)
        if clock_ms is None:
            return False
        before = self.processor.clock_ms
        self.processor.advance(min(clock_ms, before + CLOCK_STEP_MS) if before > 0 else clock_ms)
        if self.processor.clock_ms == before:
            return False
        self._changed()
        return self.processor.clock_ms < clock_ms

    def _is_caught_up(self, fetched: Fetched | None, now: float) -> bool:
        if fetched is None or abs(fetched.age_seconds) > CAUGHT_UP_SECONDS or self.next_offset < fetched.stable_end:
            return False
        self.idle.caught_up(now)
        self.moved = now
        return True

    # -- checkpoints

    def start(self, epoch: int, failed: Callable[[Owner, BaseException], None]) -> None:
        """Fold batches of this epoch from now on, and commit. `failed` is called once if a checkpoint fails."""
        self.epoch = epoch
        self.moved = time.monotonic()
        self._task = asyncio.create_task(self._run(failed), name=f"checkpoints of partition {self.partition}")

    def journal(self, entry: bytes) -> None:
        """Journal something the processor does not know of, with the next checkpoint."""
        self._journal.append(entry)
        self._changed()

    def commit_soon(self) -> None:
        """Write a checkpoint at once, though no batch brought anything: the broker's answer says what time it is there."""
        self._changed()
        self._due = self._loop.time()
        self._rescheduled.set()

    def _changed(self, *, alerts_may_wait: bool = False) -> None:
        """Note that something waits for a checkpoint, and when one is due for it."""
        now = self._loop.time()
        self._changed_at = min(self._changed_at, now)
        pending = self.processor.pending
        due = self._changed_at + self._settings.checkpoint_interval_seconds
        # With a backlog an alert is late already; what helps it is to get through the backlog.
        if pending.alerts and not alerts_may_wait:
            self._alert_at = min(self._alert_at, now)
            due = min(due, self._alert_at + self._linger.seconds)
        if pending.events >= self._settings.checkpoint_events or pending.size_bytes >= self._settings.checkpoint_size_bytes:
            due = now
            self._drained.clear()
        if due < self._due:
            self._due = due
            self._rescheduled.set()

    async def _run(self, failed: Callable[[Owner, BaseException], None]) -> None:
        try:
            while True:
                await self._until_due()
                await self.checkpoint()
        except (asyncio.CancelledError, GeneratorExit):  # told to end, or of an owner that nobody has any more
            raise
        except BaseException as exc:
            self._failure = exc
            if self.epoch is not None:  # otherwise who closes it is told
                failed(self, exc)

    async def _until_due(self) -> None:
        while (wait := self._due - self._loop.time()) > 0:
            self._rescheduled.clear()
            try:
                async with asyncio.timeout(None if math.isinf(wait) else wait):
                    await self._rescheduled.wait()
            except TimeoutError:
                return

    async def checkpoint(self) -> None:
        """Commit what is pending; nothing pending, nothing written.

        Raises:
            KafkaError: it is not known whether it was committed.
            AccountingError: records are not accounted for; nothing is written.
        """
        async with self._committing:
            if math.isinf(self._changed_at):
                return
            self.commit_began = began = time.monotonic()
            journal, self._journal = self._journal, []
            drained = self.processor.drain()
            self._metrics.drained(drained.outputs)
            encoded = self._transactions.encode(drained, journal)
            accounting = balanced(self.partition, self.processor.accounting)
            self._changed_at = self._alert_at = self._due = math.inf
            self._drained.set()
            self.changelog_end = None  # until it is known that this was written, the state may be ahead of the changelog
            try:
                committed = await self._transactions.commit(encoded)
            finally:
                self.commit_began = None
            self.changelog_end = committed.changelog_end
            self._committed_offset = committed.next_offset
            self._tell_time(committed)
            self._metrics.checkpointed(duration_seconds=time.monotonic() - began, size_bytes=committed.size_bytes)
            self._metrics.account(accounting)

    def _tell_time(self, committed: Committed) -> None:
        """A broker that stamps no records does not say what time it is: then it is that of the wall clock."""
        if committed.broker_ms is None:
            self.idle.tell(time.time_ns() // 1_000_000, time.monotonic())
        else:
            self.idle.tell(committed.broker_ms, committed.acknowledged)

    async def close(self, *, for_good: bool = False) -> None:
        """Commit what is pending and disconnect. Batches that are still under way are dropped.

        for_good: this process does not go on with the partition, so leave the next owner nothing to fold again.

        Raises:
            KafkaError: it is not known whether this or an earlier checkpoint was committed. `abandon` it.
        """
        await self.stop()
        if self._failure is not None:
            raise self._failure
        if for_good and isinstance(self.processor, WriteBehindProcessor):
            self.processor.write_all()
            self._changed()
        # Offsets without records cost no checkpoint, but state kept through a rebalance must be where the group's offset is.
        if self.next_offset != self._committed_offset:
            self._changed()
        await self.checkpoint()
        await self.abandon()

    async def stop(self) -> None:
        """Fold nothing more, and let a commit in flight end."""
        self.epoch = None
        self._drained.set()
        if self._task is not None:
            async with self._committing:
                self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def abandon(self) -> None:
        """Give up what is not committed, and disconnect."""
        self.epoch = None
        self._drained.set()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._metrics.close()
        await self._transactions.stop()

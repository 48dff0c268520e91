"""The partitions this process owns, through rebalances: opened after one, closed before the next, opened again if fenced.

Everything here runs on the main loop. Any error that is not handled here ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from aiokafka.errors import IllegalStateError, KafkaError, ProducerFenced
from faust.types import TP

from streamer.engine.exits import Exit, end, end_for
from streamer.engine.kafka import denial
from streamer.engine.opening import Kept, Opener
from streamer.engine.preflight import wrong_count

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping

    from streamer.engine.batches import Batch
    from streamer.engine.clocks import Linger
    from streamer.engine.driver import BatchConsumer
    from streamer.engine.machine import Machine
    from streamer.engine.owner import Owner
    from streamer.metrics.pipeline import Pipeline
    from streamer.processor import Processor
    from streamer.settings import Settings

logger = logging.getLogger(__name__)

REOPEN_SECONDS: Final = 30.0  # fenced twice within this: two processes quarrel, and one of them must go
TICK_SECONDS: Final = 1.0


class Partitions:
    """The open partitions of one machine in this process."""

    def __init__(
        self,
        machine: Machine,
        settings: Settings,
        *,
        consumer: Callable[[], BatchConsumer],
        linger: Linger,
        pipeline: Pipeline,
    ) -> None:
        self.settings = settings
        self._machine = machine
        self._consumer = consumer
        self._linger = linger
        self._pipeline = pipeline
        self._opener = Opener(machine, settings, linger=linger, pipeline=pipeline)
        self._source = self._opener.names.source
        self._owners: dict[int, Owner] = {}
        self._kept: dict[int, Kept] = {}
        self._opening: dict[int, asyncio.Task[Owner]] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._reopening: set[asyncio.Task[None]] = set()
        self._reopened: dict[int, float] = {}
        self._starting: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()  # the end may come during a rebalance: an owner is closed once
        self._is_over = False
        self._assignments_closed = 0
        self._rebalance = 0
        self._edition = 0
        self._renewing: asyncio.Task[None] | None = None
        self.rebalance_began = time.monotonic()
        self.assigned = False
        self.progressed = time.monotonic()  # of opening, for the watchdog

    # -- what others look at

    def processors(self) -> Mapping[int, Processor]:
        """Open partitions; between rebalances that is what this process owns."""
        return {partition: owner.processor for partition, owner in self._owners.items()}

    @property
    def owners(self) -> Iterable[Owner]:
        """The owners of the open partitions."""
        return self._owners.values()

    @property
    def is_opening(self) -> bool:
        """Whether partitions are being opened."""
        return bool(self._opening) or bool(self._reopening)

    @property
    def is_closing(self) -> bool:
        """Whether partitions are being closed, which has a limit of its own."""
        return self._closing.locked()

    def names(self) -> Iterator[str]:
        """The topics this machine reads and keeps its state in."""
        yield from (self._opener.names.source, self._opener.names.changelog, self._opener.names.journal)

    # -- batches

    async def deliver(self, batch: Batch) -> None:
        """Fold a batch, piece by piece; waits while the partition has a whole checkpoint's worth pending, or a commit is overdue."""
        owner = self._owners.get(batch.partition)
        if owner is None:
            return
        for piece in batch.pieces():
            await owner.room()
            owner.fold(piece, self._consumer().fetched(TP(batch.topic, batch.partition)))
            while owner.go_on():
                await asyncio.sleep(0)  # everything else has its turn
                await owner.room()

    async def tick_forever(self) -> None:
        """About once a second: move the idle clocks, look whether the source has grown, and learn how busy the process is."""
        cpu, wall = time.process_time(), time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._refuse_growth()
            for owner in list(self._owners.values()):
                while owner.tick(self._consumer().fetched(self._tp(owner.partition))):  # noqa: ASYNC110  each does some
                    await asyncio.sleep(0)
            cpu_before, wall_before = cpu, wall
            cpu, wall = time.process_time(), time.monotonic()
            self._linger.observe((cpu - cpu_before) / (wall - wall_before))

    def _refuse_growth(self) -> None:
        """Producers already write by the new count: what comes from now on belongs to state in other partitions."""
        count = self._consumer().partition_count(self._source)
        if count > self._machine.partitions:
            end_for(wrong_count(self._source, count, self._machine.partitions), "looking at the source")

    # -- rebalances

    async def open_assigned(self) -> None:
        """After a rebalance, with the streams still paused: open everything assigned, all at once. Nothing once the end has come."""
        if self._is_over or self._consumer().assignments == self._assignments_closed:  # Faust ends a rebalance though the next has begun
            return
        self._refuse_growth()
        mine = {tp.partition for tp in self._consumer().assignment() if tp.topic == self._source}
        for partition in self._kept.keys() - mine:
            del self._kept[partition]
        self.progressed = time.monotonic()
        rebalance = self._rebalance
        for partition in mine - self._owners.keys():
            self._opening[partition] = asyncio.create_task(self._open(partition), name=f"open partition {partition}")
        if self._opening:
            await asyncio.wait(self._opening.values())
        failed = {partition: task.exception() for partition, task in self._opening.items() if not task.cancelled()}
        if rebalance != self._rebalance:
            return  # closed meanwhile, and whatever was being opened with it
        for partition, error in failed.items():
            if error is not None:
                end_for(error, f"opening partition {partition}")
        self._opening.clear()
        self.assigned = True

    async def _open(self, partition: int) -> Owner:
        async with self._locks.setdefault(partition, asyncio.Lock()):
            return await self._open_owner(partition, self._kept.get(partition))

    async def _open_owner(self, partition: int, kept: Kept | None) -> Owner:
        edition = self._edition
        owner = await self._opener.open(partition, kept, self._progress)
        owner.edition = edition
        self._kept.pop(partition, None)
        self._owners[partition] = owner
        return owner

    def _progress(self) -> None:
        self.progressed = time.monotonic()

    def start_opened(self) -> None:
        """The streams run again: position the open partitions, and fold from there."""
        if self._is_over:
            return
        self._starting = asyncio.create_task(self._start_opened(), name="start partitions")

    async def _start_opened(self) -> None:
        try:
            waiting = [owner for owner in self._owners.values() if owner.epoch is None]
            await self._position(waiting)
            self._pipeline.rebalanced(time.monotonic() - self.rebalance_began)
            self._renew_outdated()
            logger.info("partitions %s", sorted(self._owners) or "none", extra={"action": "assigned"})
        except IllegalStateError:
            pass  # revoked meanwhile; the next rebalance opens and starts again
        except Exception as exc:
            end_for(exc, "starting the partitions")

    async def _position(self, owners: list[Owner]) -> None:
        epochs = await self._consumer().seek_epoch({self._tp(owner.partition): owner.next_offset for owner in owners})
        for owner in owners:
            if self._owners.get(owner.partition) is owner:
                owner.start(epochs[self._tp(owner.partition)], self._on_failed)

    async def close_all(self, *, for_good: bool = False) -> None:
        """Before a rebalance or the end (`for_good`): commit everything and let go of it, within a third of the rebalance timeout."""
        self.assigned = False
        self._assignments_closed = self._consumer().assignments
        self._is_over = self._is_over or for_good
        self._rebalance += 1
        self.rebalance_began = time.monotonic()
        limit = self.settings.rebalance_timeout_seconds / 3
        try:
            async with asyncio.timeout(limit), self._closing:
                await self._cancel_opening()
                await asyncio.gather(*(self._close(owner, for_good=for_good) for owner in list(self._owners.values())))
        except TimeoutError:
            end(Exit.SLOW_CLOSE, f"partitions {sorted(self._owners)} could not be committed and closed within {limit:.1f} s")
        except ProducerFenced as exc:
            end(Exit.FENCED, f"partitions {sorted(self._owners)} were taken over by another process: {exc}")
        except Exception as exc:
            end_for(exc, "closing the partitions")

    async def _cancel_opening(self) -> None:
        tasks = [*self._opening.values(), *self._reopening]
        if self._starting is not None:
            tasks.append(self._starting)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # whoever opens it next meets it again
        self._opening.clear()

    async def _close(self, owner: Owner, *, for_good: bool) -> None:
        if for_good:
            await owner.close(for_good=True)
            self._owners.pop(owner.partition, None)
        # Whoever fenced us may have lost the partition itself: as long as we are a member, whom the rebalance gives it to opens it.
        elif await self._let_go(owner, for_good=False) and owner.changelog_end is not None and owner.edition == self._edition:
            self._kept[owner.partition] = Kept(owner.processor, owner.changelog_end, owner.idle, owner.source_id)

    async def _let_go(self, owner: Owner, *, for_good: bool) -> bool:
        """Close an owner and go on without it; False if what it had was not committed."""
        try:
            await owner.close(for_good=for_good)
        except KafkaError as exc:
            if denial(exc) is not None:  # opening again grants nothing
                raise
            self._note_failed(owner, exc)
            await self._give_up(owner, exc)
            return False
        self._owners.pop(owner.partition, None)
        return True

    # -- fencing

    def _on_failed(self, owner: Owner, error: BaseException) -> None:
        """A checkpoint failed, and whether it was committed is unknown: only opening again tells."""
        if not isinstance(error, KafkaError) or denial(error) is not None:  # opening again grants nothing
            end_for(error, f"the checkpoint of partition {owner.partition}")
        self._note_failed(owner, error)
        self._until_rebalance(asyncio.create_task(self._reopen(owner, error), name=f"reopen partition {owner.partition}"))

    def _until_rebalance(self, task: asyncio.Task[None]) -> None:
        """The next rebalance cancels the task, and waits for it."""
        self._reopening.add(task)
        task.add_done_callback(self._reopening.discard)

    def _note_failed(self, owner: Owner, error: BaseException) -> None:
        fenced = isinstance(error, ProducerFenced)
        self._pipeline.checkpoint_failed("fenced" if fenced else "failed")
        logger.warning(
            "checkpoint of partition %d failed: %s: %s",
            owner.partition,
            type(error).__name__,
            error,
            extra={"action": "checkpoint_failed", "partition": owner.partition},
        )

    async def _give_up(self, owner: Owner, error: BaseException) -> None:
        """Let go of what is not committed. Ends the process if the partition is another's by now, or if this happens again and again."""
        partition = owner.partition
        last = self._reopened.get(partition)
        self._reopened[partition] = time.monotonic()
        if last is not None and time.monotonic() - last < REOPEN_SECONDS:
            end(Exit.FENCED, f"partition {partition} failed to commit twice within {REOPEN_SECONDS:.0f} s: {error}")
        self._owners.pop(partition, None)
        await owner.abandon()
        if not await self._consumer().is_member():
            end(Exit.FENCED, f"partition {partition} belongs to another process by now: {error}")

    async def _reopen(self, owner: Owner, error: BaseException) -> None:
        partition = owner.partition
        try:
            self.progressed = time.monotonic()
            async with self._locks[partition]:
                if self._owners.get(partition) is not owner:
                    return
                await self._give_up(owner, error)
                await self._position([await self._open_owner(partition, None)])
                self._pipeline.reopened_after_fencing()
            self._renew_outdated()
        except IllegalStateError:
            pass  # revoked meanwhile
        except Exception as exc:
            end_for(exc, f"opening partition {partition} again")

    # -- other definitions

    def renew(self) -> None:
        """What the machine makes of a partition's rows is another from now on: close each one and open it from its state.

        This is the way of a restart, and right under crashes as that is; it takes as long as reading the state, and the other
        partitions go on meanwhile.
        """
        self._edition += 1
        self._kept.clear()
        self._renew_outdated()

    def _renew_outdated(self) -> None:
        """While partitions are assigned; those that are being opened are looked at when they are."""
        if self.assigned and self._outdated() is not None and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew_one_by_one(), name="renew partitions")
            self._until_rebalance(self._renewing)

    def _outdated(self) -> Owner | None:
        return next((owner for owner in self._owners.values() if owner.edition != self._edition), None)

    async def _renew_one_by_one(self) -> None:
        while (owner := self._outdated()) is not None:
            try:
                async with self._locks[owner.partition]:
                    if self._owners.get(owner.partition) is owner:
                        await self._renew(owner)
            except IllegalStateError:
                return  # revoked meanwhile
            except Exception as exc:
                end_for(exc, f"opening partition {owner.partition} with other definitions")

    async def _renew(self, owner: Owner) -> None:
        self.progressed = time.monotonic()
        await _to_its_end(self._let_go(owner, for_good=True))  # what is not in the rows would be folded again
        again = await self._open_owner(owner.partition, None)
        await self._position([again])

    def _tp(self, partition: int) -> TP:
        return TP(self._source, partition)


async def _to_its_end(work: Coroutine[None, None, object]) -> None:
    """Do it all, and be cancelled only then: a commit that is broken off cannot be taken up again, nor its owner closed."""
    doing = asyncio.create_task(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        if not doing.cancelled():
            doing.result()
        raise

"""Faust's Kafka driver, with what it lacks: committed reads, batches, errors of the group that are not swallowed.

The consumer runs in a thread with an event loop of its own. Methods of `BatchConsumer` are for the main loop, methods of
`BatchConsumerThread` for the consumer's; plain attributes are read across, never written across.

A partition's *epoch* counts the seeks of that partition. A batch's epoch and range are taken in the same uninterrupted step
that drains the fetched records, and seeks run on the same loop, so a batch can never carry the epoch of another position.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import aiokafka
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP
from mode import Service

from streamer.engine.batches import Batch
from streamer.engine.records import AS_READ

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.consumer.subscription_state import TopicPartitionState
    from faust.types import AppT
    from yarl import URL

# While no partition may be fetched from, Faust looks again every second; that second would be part of every takeover.
IDLE_POLL_SECONDS: Final = 0.02
VIGIL_SECONDS: Final = 0.5


class Fetched(NamedTuple):
    """Where the consumer stands in a partition. `age_seconds`: since the broker last answered a fetch; offsets of then. end: of all
    records, also of those that nobody may read yet, behind a transaction that is open.
    """

    position: int
    stable_end: int
    end: int
    age_seconds: float


class BatchConsumerThread(faust_driver.AIOKafkaConsumerThread):
    """The consumer's own thread: fetches, seeks, heartbeats."""

    logger = logging.getLogger("faust.consumer")

    def __post_init__(self) -> None:
        """Set what the main loop may read before the first fetch."""
        super().__post_init__()
        self._epochs: dict[TP, int] = {}
        self._starts: dict[TP, int] = {}
        self._positioned: dict[TP, TopicPartitionState] = {}
        self.ticked = self.beat = time.monotonic()
        self.assignments = 0
        self.error: BaseException | None = None

    def _create_worker_consumer(self, transport: faust_driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for these two: uncommitted reads, and up to 1.5 s of waiting at the broker.
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = cast("BatchTransport", transport).fetch_max_wait_ms
        consumer._key_deserializer = AS_READ
        # A position out of range means lost data: an error, never a silent jump.
        consumer._auto_offset_reset = "none"
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and watch its heartbeats."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        heartbeat = coordinator._do_heartbeat

        async def watched() -> bool:
            accepted: bool = await heartbeat()
            if accepted:
                self.beat = time.monotonic()
            return accepted

        coordinator._do_heartbeat = watched

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The coordinator has answered; heartbeats go on some seconds from now."""
        self.assignments += 1
        self.beat = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    @Service.task
    async def _vigil(self) -> None:
        # A coordinator with an unconsumed error is parked for ever. Fetches look for one, but a standby never fetches.
        while not self.should_stop:
            self.ticked = time.monotonic()
            if self._consumer is not None and self._consumer._coordinator is not None and self.error is None:
                try:
                    self._consumer._coordinator.check_errors()
                except Exception as exc:
                    self.error = exc
            await asyncio.sleep(VIGIL_SECONDS)

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109  Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[Batch]]:
        """Fetch, and return one batch for each partition whose position moved, even if all its records were aborted."""
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        consumer._coordinator.check_errors()
        for tp, positioned in self._positioned.items():
            if positioned.has_valid_position:
                self._starts[tp] = positioned.position
        try:
            with fetcher._subscriptions.fetch_context():
                fetched = await fetcher.fetched_records(active_partitions, timeout=timeout, max_records=max_records)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as exc:
            partitions = exc.args[0]  # {partition: offset}, or one partition
            if any(self._is_positioned(tp) for tp in (partitions if isinstance(partitions, dict) else [partitions])):
                raise
            return {}  # a partition that is still to be opened: opening it finds out and decides
        # No await between the drain in there and the end of this method.
        batches = {}
        for tp, positioned in self._positioned.items():
            start = self._starts[tp]
            if not positioned.has_valid_position or positioned.position <= start or not self._is_positioned(tp):
                continue
            end = self._starts[tp] = positioned.position
            batches[tp] = [Batch(tp.topic, tp.partition, fetched.get(tp, ()), start=start, end=end, epoch=self._epochs[tp])]
        return batches

    def _is_positioned(self, tp: tuple[str, int]) -> bool:
        """Whether the partition was sought since it was assigned; a new assignment is a new state."""
        state = self.partition_state(TP(*tp))
        return state is not None and state is self._positioned.get(TP(*tp))

    async def seek_epoch(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Seek, and return the epochs that begin with it. Raises IllegalStateError if a partition is not assigned."""
        return cast("dict[TP, int]", await self.call_thread(self._seek_epoch, offsets))

    async def _seek_epoch(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
            self._epochs[tp] = self._epochs.get(tp, 0) + 1
            self._starts[tp] = offset
            self._positioned[tp] = cast("TopicPartitionState", self.partition_state(tp))
        return {tp: self._epochs[tp] for tp in offsets}

    async def is_member(self) -> bool:
        """Whether the group's coordinator takes a heartbeat from us now."""
        return bool(await self.call_thread(self._is_member))

    async def _is_member(self) -> bool:
        coordinator = self._ensure_consumer()._coordinator
        if coordinator.generation <= 0:
            return False
        try:
            return bool(await coordinator._do_heartbeat())
        except KafkaError:
            return False

    async def leave(self) -> None:
        """Leave the group, so that others need not wait for the session to time out."""
        await self.call_thread(self._leave)

    async def _leave(self) -> None:
        await self._ensure_consumer()._coordinator.close()

    def partition_state(self, tp: TP) -> TopicPartitionState | None:
        """aiokafka's record of an assigned partition."""
        if self._consumer is None:
            return None
        subscription = self._consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return None
        return cast("TopicPartitionState | None", assignment.state_value(tp))


class NothingRead(dict[TP, int | None]):
    """Faust drops what lies below the offset it saw last, in silence. Epoch and range decide that here: a batch of an old position that is
    still under way when a partition is sought back would otherwise let it drop the first one of the new position.
    """

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        return


class BatchConsumer(faust_driver.Consumer):
    """Faust's consumer, seen from the main loop."""

    logger = logging.getLogger("faust.consumer")
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = NothingRead()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Nothing: Faust would seek to the group's offset here. Partitions are positioned by `seek_epoch`."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: the watchdog judges progress; this one only logs, and takes batches for records."""

    async def _wait_next_records(self, timeout_seconds: float) -> tuple[Any, Any]:
        if self.flow_active and not self._get_active_partitions():
            await asyncio.sleep(IDLE_POLL_SECONDS)
            return {}, set()
        return await super()._wait_next_records(timeout_seconds)

    async def seek_epoch(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Position partitions; returns their new epochs. Raises IllegalStateError if one is not assigned any more."""
        return await self._thread.seek_epoch(offsets)

    async def is_member(self) -> bool:
        """Whether this process is a member of the group, confirmed by a heartbeat."""
        return await self._thread.is_member()

    async def leave(self) -> None:
        """Leave the group."""
        await self._thread.leave()

    def fetched(self, tp: TP) -> Fetched | None:
        """Where the last answered fetch left a partition; None before the first."""
        state = self._thread.partition_state(tp)
        if state is None or state.lso is None or state.timestamp is None or not state.has_valid_position:
            return None
        return Fetched(state.position, state.lso, max(state.lso, state.highwater or 0), time.time() - state.timestamp / 1000)

    def partition_count(self, topic: str) -> int:
        """How many partitions a topic has, as of the last metadata; 0 if they do not tell."""
        consumer = self._thread._consumer
        return 0 if consumer is None else len(consumer._client.cluster.partitions_for_topic(topic) or ())

    @property
    def thread_ticked(self) -> float:
        """When the consumer's loop last turned, on the monotonic clock."""
        return self._thread.ticked

    @property
    def assignments(self) -> int:
        """How often the group has assigned partitions so far; known before anything is done about an assignment."""
        return self._thread.assignments

    @property
    def heartbeat(self) -> float:
        """When the coordinator last took a heartbeat, or let us in, on the monotonic clock."""
        return self._thread.beat

    @property
    def group_error(self) -> BaseException | None:
        """The error the group's coordinator gave up with."""
        return self._thread.error


class BatchTransport(faust_driver.Transport):
    """What an app must be given: `app.transport = BatchTransport(app.conf.broker_consumer, app, fetch_max_wait_ms=20)`."""

    Consumer = BatchConsumer

    def __init__(self, url: list[URL], app: AppT, *, fetch_max_wait_ms: int) -> None:
        super().__init__(url, app)
        self.fetch_max_wait_ms = fetch_max_wait_ms

"""The publisher: copies committed alerts from Kafka to Redis, in a consumer group of its own, each transition once.

Redis says where to go on: `redis.lua` stores the last applied offset per topic id and partition and ignores what is at or below it.
So a crash at any point, a reset group, a rebalance or a second owner delivers nothing twice. The group's committed offset follows,
for lag tools and for a Redis that lost its data: then the active set is rebuilt up to that offset and delivery goes on from there.
A partition that fails in any way is closed and opened again; an alert leaves Kafka's side only by being acknowledged by Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError, OffsetOutOfRangeError

from streamer import topics
from streamer.alerts.connection import RedisUnavailableError
from streamer.alerts.publisher import OutOfStepError
from streamer.engine.alert_log import LOGICAL, boundary, group_of
from streamer.engine.kafka import client_options
from streamer.engine.publisher_lag import LagWatch
from streamer.engine.stream_watch import StreamWatch
from streamer.errors import DataLossError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiokafka.structs import ConsumerRecord

    from streamer.alerts.publisher import AlertStore
    from streamer.engine.alert_log import AlertLog
    from streamer.metrics.pipeline import Pipeline
    from streamer.settings import Settings

log = logging.getLogger(__name__)

# Alerts per call to Redis: about 1 MB and 5 ms of the server's time, during which nobody else is served.
BATCH_RECORDS: Final = 500
POLL_SECONDS: Final = 0.2
# After a call that gave up; towards Redis the call itself has tried for more than a second by then.
RETRY_SECONDS: Final = 0.5
# How often lag, topic ids and expired entries are looked at: each is one small request.
HOUSEKEEPING_SECONDS: Final = 5.0
# A topic that was created again is noticed after this; the default is five minutes.
METADATA_AGE_MS: Final = 10_000
# A group offset is a convenience; waiting longer for it would hold up alerts.
COMMIT_TIMEOUT_SECONDS: Final = 5.0


class Publisher(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped here
    """One member of the publishers' group. `run` returns when `stop` is set; errors end it."""

    def __init__(self, settings: Settings, store: AlertStore, alert_log: AlertLog, metrics: Pipeline) -> None:
        self._settings = settings
        self._store = store
        self._log = alert_log
        self._metrics = metrics
        self._logical = {settings.topic(logical): logical for logical in LOGICAL}
        # Rebalances take seconds, standbys wait for days: aiokafka's poll check would make an idle member leave the group for good.
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=group_of(settings),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=int(settings.fetch_max_wait_seconds * 1000),
            session_timeout_ms=int(settings.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 4),
            rebalance_timeout_ms=int(settings.rebalance_timeout_seconds * 1000),
            max_poll_interval_ms=2**31 - 1,
            metadata_max_age_ms=METADATA_AGE_MS,
        )
        self._assigned: set[TopicPartition] | None = None
        self._rebalance_began = time.monotonic()
        self._ids: dict[str, str] = {}
        self._after: dict[TopicPartition, int] = {}  # open partitions -> offset up to which Redis has everything
        self._delivered: dict[tuple[str, int], int] = {}  # (topic id, partition) -> next offset, known to have been delivered
        self._uncommitted: dict[TopicPartition, tuple[int, str]] = {}
        self._lag = LagWatch(metrics, self._logical, settings.watchdog_seconds)
        self._watch = StreamWatch(store, metrics)
        self._problem: str | None = None
        self._housekeeping_due = 0.0
        for outcome in ("delivered", "held", "skipped", "failed"):
            metrics.delivered(outcome, 0)

    def ready(self) -> str | None:
        """None if all assigned partitions are open and Redis takes alerts, else why not."""
        if self._problem is not None:
            return self._problem
        if self._assigned is None:
            return "no partitions assigned yet"
        waiting = len(self._assigned - self._after.keys())
        return f"{waiting} partitions are not open yet" if waiting else None

    # -- membership

    def on_partitions_revoked(self, _revoked: Iterable[TopicPartition]) -> None:
        """Another member may own them from now on; what is in flight meets the offset guard."""
        self._rebalance_began = time.monotonic()
        for partition in list(self._after):
            self._close(partition)
        self._uncommitted.clear()  # by the time they come back, another member may have committed a later offset
        for partition in self._assigned or ():
            self._lag.close(partition)
        self._metrics.owned(-len(self._assigned or ()))
        self._assigned = None

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is read before Redis was asked; and nothing slow is done here, where no heartbeats are sent."""
        self._assigned = set(assigned)
        self._after.clear()  # what was opened while the group was joined is where an earlier assignment was
        for partition in self._assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)  # any valid position: keeps aiokafka from looking for one itself
        self._metrics.owned(len(self._assigned))
        self._metrics.rebalanced(time.monotonic() - self._rebalance_began)

    def _close(self, partition: TopicPartition) -> None:
        """Stop reading; the next turn opens it again from where Redis stands, if it is still ours."""
        self._after.pop(partition, None)
        with contextlib.suppress(IllegalStateError):
            self._consumer.pause(partition)

    # -- one turn after the other

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set.

        Raises:
            DeliveryError: Redis refuses for good, or nothing moves any more.
            TopicsError: an alert topic does not exist.
            DataLossError: the alert topics no longer hold what Redis has not got.
            KafkaError: the group or the topics cannot be used.
        """
        try:
            self._ids = await self._log.topic_ids()
            self._consumer.subscribe(list(self._logical), listener=self)
            await self._consumer.start()
            while not stop.is_set():
                try:
                    await self._turn()
                except RedisUnavailableError as exc:
                    await self._wait(exc, stop)
                except KafkaError as exc:
                    if not (exc.retriable or isinstance(exc, KafkaTimeoutError)):
                        raise
                    await self._wait(exc, stop)
        finally:
            await self._consumer.stop()
            self.on_partitions_revoked(())
            self._watch.leave()

    async def _turn(self) -> None:
        if self._problem is not None:
            await self._store.ping()
        for partition in sorted((self._assigned or set()) - self._after.keys()):
            await self._open(partition)
        try:
            batches = await self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=BATCH_RECORDS)
        except OffsetOutOfRangeError as exc:  # retention passed us, or the topic is another one: opening finds out
            await self._look_for_new_topics()
            for partition in exc.args[0]:
                self._close(partition)
            return
        try:
            for partition, records in batches.items():
                await self._deliver(partition, records)
        except RedisUnavailableError:
            for partition in batches:
                self._close(partition)
            raise
        finally:
            await self._commit()
        if self._problem is not None:
            log.info("alerts are delivered again", extra={"action": "delivering"})
            self._problem = None
        if time.monotonic() >= self._housekeeping_due:
            await self._keep_house()

    async def _wait(self, exc: RedisUnavailableError | KafkaError, stop: asyncio.Event) -> None:
        """A server is away: alerts wait in Kafka."""
        if self._problem is None:
            log.warning("alerts wait in Kafka: %r", exc, extra={"action": "waiting"})
        self._problem = str(exc) or type(exc).__name__
        with contextlib.suppress(KafkaError):
            await self._measure_lag()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)

    async def _open(self, partition: TopicPartition) -> None:
        """Go on from Redis' applied offset; if it has none, rebuild the active set and go on from the group's offset."""
        topic_id = self._ids[partition.topic]
        # Redis before Kafka: what an owner before us still delivers meanwhile would be beyond an end that we know already.
        applied = (await self._store.applied_offsets()).get((topic_id, partition.partition))
        start, end = (await self._log.ranges([partition]))[partition]
        await self._look_for_new_topics()
        if self._ids[partition.topic] != topic_id:
            return  # what the topic holds may be the new one's, and what Redis has of the old one: the next turn opens the new one
        if applied is None:
            applied = await self._rebuild(partition, start, end)
        elif applied + 1 < start:
            applied = await self._accept_loss(partition, applied, start)
        elif applied + 1 > end:
            raise DataLossError(
                f"Redis has {partition.topic} partition {partition.partition} up to offset {applied}, but the topic ends at {end}:"
                " the broker lost records; `streamer alerts rebuild` brings both in step"
            )
        if applied is None:
            return  # another owner was faster, or Redis lost its data meanwhile: the next turn asks again
        if partition not in (self._assigned or ()):
            return
        with contextlib.suppress(IllegalStateError):  # revoked meanwhile
            self._consumer.seek(partition, max(applied + 1, start))
            self._consumer.resume(partition)
            self._after[partition] = applied
            self._lag.opened(partition)

    async def _rebuild(self, partition: TopicPartition, start: int, end: int) -> int | None:
        topic_id = self._ids[partition.topic]
        committed = (await self._log.committed([partition])).get(partition)
        known = self._delivered.get((topic_id, partition.partition), start)
        delivered_to = max(boundary(committed, topic_id, start, end), min(known, end))
        states = await self._log.states(partition, start, delivered_to)
        applied = delivered_to - 1
        moved = await self._store.restore(topic_id, partition.partition, states.items(), expected=None, applied=applied)
        if moved is not None:
            return None
        self._metrics.active_set_rebuilt()
        firing = sum(state.record is not None for state in states.values())
        log.info(
            "rebuilt the active set of %s partition %d up to offset %d: %d firing",
            partition.topic, partition.partition, applied, firing, extra={"action": "rebuilt"},
        )  # fmt: skip
        return applied

    async def _accept_loss(self, partition: TopicPartition, applied: int, start: int) -> int | None:
        """Go on behind what retention has deleted; in Redis first, so that the same is counted once. Like `_rebuild`."""
        numbers = f"{partition.topic} partition {partition.partition} begins at offset {start}, Redis needs {applied + 1}"
        if self._settings.on_data_loss == "refuse":
            raise DataLossError(f"{numbers}: retention has deleted undelivered alerts; on_data_loss=skip goes on without them")
        try:
            moved = await self._store.restore(self._ids[partition.topic], partition.partition, (), expected=applied, applied=start - 1)
        except OutOfStepError:
            return None
        if moved is not None:
            return None
        self._metrics.delivered("failed", start - applied - 1)
        log.error("%s: skipped what retention has deleted", numbers, extra={"action": "data_loss"})
        return start - 1

    async def _deliver(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        after = self._after.get(partition)
        if after is None:
            return
        topic_id = self._ids[partition.topic]
        began = time.monotonic()
        try:
            published = await self._store.publish(
                topic_id, partition.partition, [(record.offset, record.value) for record in records], after=after
            )
        except OutOfStepError as exc:
            log.warning("%s: %s partition %d", exc, partition.topic, partition.partition, extra={"action": "redis_lost_data"})
            self._close(partition)
            return
        now = time.time()
        self._metrics.published(time.monotonic() - began)
        self._metrics.delivered("delivered", published.delivered - published.held)
        self._metrics.delivered("held", published.held)
        self._metrics.delivered("skipped", published.present)
        self._metrics.alerts_readable(max(0.0, now - detected_ms / 1000) for detected_ms in published.detected_ms)
        if published.undecodable:
            self._metrics.delivered("failed", len(published.undecodable))
            log.error(
                "%s partition %d: %d records from offset %d on are no alerts and were skipped",
                partition.topic, partition.partition, len(published.undecodable), published.undecodable[0], extra={"action": "undecodable"},
            )  # fmt: skip
        last = records[-1].offset
        if partition in self._after:
            self._after[partition] = last
            self._uncommitted[partition] = (last + 1, topic_id)
        self._delivered[topic_id, partition.partition] = last + 1

    async def _commit(self) -> None:
        """The group's offset, after Redis. May fail in a rebalance: Redis knows better, so nothing depends on it."""
        offsets = {partition: offset for partition, offset in self._uncommitted.items() if partition in self._after}
        if not offsets:
            return
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), COMMIT_TIMEOUT_SECONDS)
        except (TimeoutError, KafkaError) as exc:
            log.warning("the group's offset was not committed: %r", exc, extra={"action": "commit_failed"})
        else:
            self._uncommitted.clear()

    # -- housekeeping

    async def _keep_house(self) -> None:
        self._housekeeping_due = time.monotonic() + HOUSEKEEPING_SECONDS
        await self._store.sweep()
        await self._look_for_losses()
        await self._measure_lag()
        await self._watch.look(mine=TopicPartition(self._settings.topic(topics.ALERTS), 0) in (self._assigned or ()))
        await self._look_for_new_topics()

    async def _look_for_new_topics(self) -> None:
        ids = await self._log.topic_ids()
        for topic in [topic for topic in ids if ids[topic] != self._ids[topic]]:
            log.warning("topic %s was created again: its partitions start anew", topic, extra={"action": "topic_recreated"})
            for partition in [partition for partition in self._after if partition.topic == topic]:
                self._close(partition)
        self._ids = ids

    async def _look_for_losses(self) -> None:
        """A Redis that lost data is told by the next delivery; a partition without alerts for hours would be missing as long."""
        applied = await self._store.applied_offsets()
        for partition, after in list(self._after.items()):
            found = applied.get((self._ids[partition.topic], partition.partition))
            if found is None or found < after:
                problem = OutOfStepError(found)
                log.warning("%s: %s partition %d", problem, partition.topic, partition.partition, extra={"action": "redis_lost_data"})
                self._close(partition)

    async def _measure_lag(self) -> None:
        partitions = list(self._assigned or ())
        if not partitions:
            return
        for partition, (start, end) in (await self._log.ranges(partitions)).items():
            position = await self._position(partition, start, end)
            self._lag.measure(partition, position=position, end=end, expected_to_move=self._problem is None)

    async def _position(self, partition: TopicPartition, start: int, end: int) -> int:
        """Where delivery stands: what was read, or, while the partition is closed, what was delivered; of a partition that this process
        has not opened yet, because Redis is away, what the group has committed.
        """
        if partition in self._after:
            with contextlib.suppress(IllegalStateError):
                return int(await self._consumer.position(partition))
        topic_id = self._ids[partition.topic]
        delivered = self._delivered.get((topic_id, partition.partition))
        if delivered is not None:
            return delivered
        return boundary((await self._log.committed([partition])).get(partition), topic_id, start, end)

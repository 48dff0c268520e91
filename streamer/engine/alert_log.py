"""The alert topics as the durable source of what is in Redis: where each partition stands, and what was firing at an offset."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streamer import topics
from streamer.alerts import alert as alerts
from streamer.alerts.publisher import ActiveRecord
from streamer.alerts.times import milliseconds
from streamer.engine.kafka import client_options, explain, quiet
from streamer.engine.topic_ids import topic_ids
from streamer.errors import DataLossError, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from streamer.settings import Settings

LOGICAL: Final = (topics.ALERTS, topics.AGGREGATE_ALERTS)
# Kafka answers a read in milliseconds; this long without progress means the records are gone or the broker is.
STALLED_SECONDS: Final = 30.0
REQUEST_TIMEOUT_MS: Final = 10_000


def group_of(settings: Settings) -> str:
    """The consumer group of the publishers."""
    return f"{settings.app}-publisher"


class Committed(NamedTuple):
    """The group's committed offset (the next to read) and the topic id it was committed for, "" if it is not known."""

    offset: int
    topic_id: str


class AlertLog:
    """Reads the alert topics outside the consumer group. `async with` connects and closes, and raises UnreachableError or AccessError.

    Methods raise KafkaError if Kafka goes away meanwhile.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = [settings.topic(logical) for logical in LOGICAL]
        # The default of 40 s would hold up delivery for as long when a broker goes away with a request in hand.
        options = {**client_options(settings), "request_timeout_ms": REQUEST_TIMEOUT_MS}
        self._client = AIOKafkaClient(**options)
        self._admin = AIOKafkaAdminClient(**options)
        self._reader = AIOKafkaConsumer(
            **options, enable_auto_commit=False, isolation_level="read_committed", auto_offset_reset="none", fetch_max_wait_ms=50
        )

    async def __aenter__(self) -> AlertLog:
        try:
            with quiet():
                await self._client.bootstrap()
                await self._admin.start()
                await self._reader.start()
        except KafkaError as exc:
            await self.close()
            raise await explain(exc, self._settings) from exc
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.stop()
        await self._admin.close()
        await self._client.close()

    async def topic_ids(self) -> dict[str, str]:
        """Name -> id of the alert topics. Raises TopicsError if one does not exist."""
        return await topic_ids(self._client, self._names)

    async def partitions(self) -> list[TopicPartition]:
        """All partitions of the alert topics."""
        described = await self._admin.describe_topics(self._names)
        return sorted(TopicPartition(topic["topic"], row["partition"]) for topic in described for row in topic["partitions"])

    async def ranges(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset of each partition."""
        starts = await self._reader.beginning_offsets(partitions)
        ends = await self._reader.end_offsets(partitions)
        return {partition: (starts[partition], ends[partition]) for partition in partitions}

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What the publishers' group has committed; partitions without are absent."""
        found = await self._admin.list_consumer_group_offsets(group_of(self._settings), partitions=list(partitions))
        return {partition: Committed(row.offset, row.metadata or "") for partition, row in found.items() if row.offset >= 0}

    async def states(self, partition: TopicPartition, start: int, end: int) -> dict[str, ActiveRecord]:
        """The last state of each fingerprint in the records from `start` up to, not including, `end`.

        What has ended or expired is there without a record. Undecodable records are passed over.

        Raises:
            DataLossError: the records are not all there any more.
            DeliveryError: no progress for 30 s.
        """
        found: dict[str, ActiveRecord] = {}
        if start >= end:
            return found
        self._reader.assign([partition])
        self._reader.seek(partition, start)
        try:
            await self._read(partition, end, partial(_fold, found))
        finally:
            self._reader.unsubscribe()
        return found

    async def find(self, id_: str) -> list[alerts.Alert]:
        """The transitions with this alert_id, episode_id or fingerprint, of one partition in the order in which they were told.

        Raises:
            DataLossError: records were deleted while they were read.
            DeliveryError: no progress for 30 s.
        """
        found: list[alerts.Alert] = []

        def take(data: bytes | None) -> None:
            if id_.encode() in (data or b""):
                with suppress(msgspec.DecodeError):
                    decoded = alerts.decode(data or b"")
                    if id_ in (decoded.alert_id, decoded.episode_id, decoded.fingerprint):
                        found.append(decoded)

        for partition, (start, end) in (await self.ranges(await self.partitions())).items():
            self._reader.assign([partition])
            self._reader.seek(partition, start)
            await self._read(partition, end, take)
        return found

    async def _read(self, partition: TopicPartition, end: int, take: Callable[[bytes | None], None]) -> None:
        progress = time.monotonic()
        while (position := await self._reader.position(partition)) < end:
            if time.monotonic() - progress > STALLED_SECONDS:
                raise DeliveryError(
                    f"reading {partition.topic} partition {partition.partition} stalls at offset {position} of {end}: is Kafka well?"
                )
            try:
                batches = await self._reader.getmany(partition, timeout_ms=200)
            except OffsetOutOfRangeError as exc:
                raise DataLossError(
                    f"{partition.topic} partition {partition.partition} lost records from offset {position} on while they were read"
                ) from exc
            for record in batches.get(partition, ()):
                if record.offset < end:
                    take(record.value)
            if batches:
                progress = time.monotonic()


def _fold(states: dict[str, ActiveRecord], data: bytes | None) -> None:
    try:
        decoded = alerts.decode(data or b"")
        expires_ms = milliseconds(decoded.expires_at)
    except (msgspec.DecodeError, ValueError):
        return
    fires = decoded.state in ("firing", "amended") and expires_ms > time.time() * 1000
    states[decoded.fingerprint] = ActiveRecord(data if fires else None, expires_ms)


def boundary(committed: Committed | None, topic_id: str, start: int, end: int) -> int:
    """Up to which offset (exclusive) a partition was delivered, by the group's word, for a Redis that does not know.

    Nothing was, if nothing is committed or the commit is of an earlier topic of that name. An operator's reset carries no topic id
    and is believed unless it is beyond the end.
    """
    if committed is None or committed.topic_id not in ("", topic_id):
        return start
    if committed.offset > end:
        return end if committed.topic_id == topic_id else start
    return max(committed.offset, start)

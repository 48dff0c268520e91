"""One checkpoint is one Kafka transaction of a producer that only this partition uses.

The order:
1. `encode`, without an await: the drained rows, outputs and journal become producer batches. From here on the processor may go on.
2. begin; send the rows to the changelog, the outputs, the journal; await every acknowledgement.
3. send the source offset to the group, in the same transaction.
4. commit. Only now has any of it happened.

The transactional id is bound to the partition: starting the next owner's producer fences this one and aborts what it left open.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from streamer import topics
from streamer.engine.kafka import client_options
from streamer.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.processor import Drained, Headers
    from streamer.settings import Settings

BATCH_BYTES: Final = 1 << 20
# A customer's row has up to 16 MiB.
REQUEST_BYTES_MAX: Final = 20 << 20
# The broker may answer the first request after a commit with a retriable error; the default of 100 ms would show as the p95.
RETRY_BACKOFF_MS: Final = 20
STOP_SECONDS_MAX: Final = 2.0
# Rows of the changelog, beside those of the processor: Kafka's id of the source topic that the state is of, and the first offset of the
# changelog itself that is accepted.
SOURCE_KEY: Final = b"t"
BEGINNING_KEY: Final = b"b"
# Of the timestamps in Kafka's protocol: the broker's own.
LOG_APPEND_TIME: Final = 1
# A committed transaction ends with a marker record in each partition it wrote to.
MARKER_RECORDS: Final = 1

Sealed = tuple[TopicPartition, Any]  # a destination and a full producer batch (aiokafka's BatchBuilder)


class Encoded(NamedTuple):
    """A drained processor as producer batches, in the order to send them. The changelog's come first."""

    batches: list[Sealed]
    changelog_batches: int
    next_offset: int
    size_bytes: int


class Committed(NamedTuple):
    """A committed checkpoint. changelog_end: the changelog's stable end right after it, None if the broker did not say. broker_ms: the
    broker's time when it acknowledged that, milliseconds since the epoch; None if it stamps no records (CreateTime). acknowledged: when
    that was, on the monotonic clock.
    """

    next_offset: int
    changelog_end: int | None
    size_bytes: int
    broker_ms: int | None
    acknowledged: float


class TopicNames(NamedTuple):
    """The names in Kafka that a partition's checkpoint writes to."""

    group: str
    source: str
    changelog: str
    journal: str


class Transactions:
    """The checkpoints of one partition. Start it to become the owner; every older owner is fenced then."""

    def __init__(self, settings: Settings, *, transactional_id: str, partition: int, names: TopicNames) -> None:
        self._settings = settings
        self._partition = partition
        self._names = names
        self._has_failed = False
        self._engine_rows: dict[bytes, bytes] = {}
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            transactional_id=transactional_id,
            transaction_timeout_ms=int(settings.transaction_timeout_seconds * 1000),
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )

    async def start(self) -> None:
        """Fence every older owner and abort what it left open."""
        try:
            await self._producer.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect; what was not committed is aborted by the next owner's start."""
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._producer.stop()), STOP_SECONDS_MAX)

    def tell_source(self, topic_id: str) -> None:
        """With the next checkpoint write which source topic the state is of."""
        self._engine_rows[SOURCE_KEY] = topic_id.encode()

    def tell_beginning(self, offset: int) -> None:
        """With the next checkpoint write where the changelog begins, rows before which are known to be lost."""
        self._engine_rows[BEGINNING_KEY] = b"%d" % offset

    def encode(self, drained: Drained, journal: Iterable[bytes] = ()) -> Encoded:
        """Everything as producer batches, split by size; `journal` precedes the processor's own. No await from drain to here."""
        sealer = _Sealer(self._producer)
        changelog = TopicPartition(self._names.changelog, self._partition)
        for key, told in self._engine_rows.items():
            sealer.append(changelog, key, told or None)
        self._engine_rows = {}
        for key, row in drained.rows:
            sealer.append(changelog, key, row)
        sealer.seal()
        changelog_batches = len(sealer.sealed)
        for output in drained.outputs:
            partition = self._partition if output.partition is None else output.partition
            if output.topic == topics.DEAD_LETTERS:  # it has the partitions of touchpoints, of which there may be fewer than of deltas
                partition %= self._settings.partitions
            sealer.append(TopicPartition(self._settings.topic(output.topic), partition), output.key, output.value, output.headers)
        journal_partition = TopicPartition(self._names.journal, self._partition)
        for entry in (*journal, *drained.journal):
            sealer.append(journal_partition, None, entry)
        sealer.seal()
        return Encoded(sealer.sealed, changelog_batches, drained.next_offset, sealer.size_bytes)

    async def commit(self, encoded: Encoded) -> Committed:
        """Write it all, or nothing.

        Raises:
            ProducerFenced: another owner has started, or the transaction took longer than its timeout.
            KafkaError: it is not known whether it was written; only starting anew and reading the changelog tells.
        """
        if self._has_failed:
            raise ProducerFenced("an earlier checkpoint of this owner failed, and only opening again tells what became of it")
        acknowledgements: list[asyncio.Future[Any]] = []
        try:
            await self._producer.begin_transaction()
            for destination, batch in encoded.batches:
                acknowledgements.append(await self._producer.send_batch(batch, destination.topic, partition=destination.partition))
            written = await asyncio.gather(*acknowledgements)
            acknowledged = time.monotonic()
            source = TopicPartition(self._names.source, self._partition)
            await self._producer.send_offsets_to_transaction({source: OffsetAndMetadata(encoded.next_offset, "")}, self._names.group)
            await self._producer.commit_transaction()
        except Exception as exc:
            self._has_failed = True
            self._look_at_all(acknowledgements)
            self._refuse_too_large(encoded.batches, acknowledgements)
            if (cause := self._sender_error()) is None or cause is exc:
                raise
            raise cause from exc
        last = encoded.changelog_batches - 1
        changelog_end: int | None = None
        if last >= 0 and written[last] is not None and written[last].offset >= 0:
            changelog_end = written[last].offset + encoded.batches[last][1].record_count() + MARKER_RECORDS
        stamps = [one.timestamp for one in written if one is not None and one.timestamp_type == LOG_APPEND_TIME]
        return Committed(encoded.next_offset, changelog_end, encoded.size_bytes, max(stamps, default=None), acknowledged)

    @staticmethod
    def _refuse_too_large(batches: Iterable[Sealed], acknowledgements: Iterable[asyncio.Future[Any]]) -> None:
        """Raises OperatorError if a topic does not take a record: it would not the next time, either."""
        for (destination, batch), acknowledged in zip(batches, acknowledgements, strict=False):
            if acknowledged.done() and not acknowledged.cancelled() and isinstance(acknowledged.exception(), MessageSizeTooLargeError):
                raise OperatorError(
                    f"{destination.topic}[{destination.partition}] does not take a batch of {batch.size():,} bytes: raise the topic's"
                    " max.message.bytes; `streamer doctor` says what it should be at least"
                )

    def _sender_error(self) -> BaseException | None:
        """What stopped the sender, or the transaction. Who sends after that is told only that there is none (`IllegalOperation`)."""
        for ended in (self._producer._sender.sender_task, self._producer._txn_manager._transaction_waiter):
            if ended is not None and ended.done() and not ended.cancelled() and (cause := ended.exception()) is not None:
                return cast("BaseException", cause)
        return None

    def _look_at_all(self, acknowledgements: Iterable[asyncio.Future[Any]]) -> None:
        """Retrieve the exceptions of everything that failed along, or asyncio would log each as never retrieved."""
        waiting = [batch._drain_waiter for batches in self._producer._message_accumulator._batches.values() for batch in batches]
        transaction = self._producer._txn_manager._transaction_waiter
        for future in (*acknowledgements, *waiting, *([] if transaction is None else [transaction])):
            future.add_done_callback(lambda done: None if done.cancelled() else done.exception())


class _Sealer:
    """Packs records into producer batches by destination, a new one whenever one is full."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[TopicPartition, Any] = {}
        self.sealed: list[Sealed] = []
        self.size_bytes = 0

    def append(self, destination: TopicPartition, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        builder = self._open.get(destination)
        if builder is None:
            builder = self._open[destination] = self._producer.create_batch()
        if builder.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            self._close(destination, builder)
            builder = self._open[destination] = self._producer.create_batch()
            if builder.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
                raise ValueError(f"a record of {len(value or b'')} bytes for {destination} fits no batch")

    def seal(self) -> None:
        """Close what is open."""
        for destination, builder in self._open.items():
            self._close(destination, builder)
        self._open.clear()

    def _close(self, destination: TopicPartition, builder: Any) -> None:
        self.size_bytes += builder.size()
        builder.close()
        self.sealed.append((destination, builder))

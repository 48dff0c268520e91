"""The dead letters: reading them, and writing them back to the source once what was wrong has been put right.

A dead letter has the original key and value; headers `reason`, `detail`, `origin-topic`, `origin-partition`, `origin-offset`,
`origin-timestamp`, and the original headers with the prefix `o-`.

Redriving is exactly-once: records and progress go in one transaction. Progress is the offset that the group `{app}-redrive` has
committed per partition of the dead letters, with one position per reason in the commit's metadata, so that redriving one reason
leaves the others for later.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, ProducerFenced
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata

from streamer import topics
from streamer.engine import topic_admin
from streamer.engine.kafka import client_options
from streamer.errors import OperatorError, TopicsError, UnreachableError
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from aiokafka import ConsumerRecord
    from aiokafka.admin import AIOKafkaAdminClient

    from streamer.settings import Settings

REDRIVEN_FROM: Final = "cx-redriven-from"
ORIGINAL_PREFIX: Final = "o-"
UNKNOWN: Final = "unknown"
REASONS: Final = (*(reason.value for reason in Reason), UNKNOWN)

BATCH_RECORDS: Final = 500
STALLED_SECONDS: Final = 30.0
# The first group of a new cluster waits for its coordinator's topic to be made.
COORDINATOR_SECONDS: Final = 15.0


class Letter(NamedTuple):
    """One dead letter. Times in milliseconds since the epoch; -1 for a number that its headers do not tell. cut: value is its begin."""

    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    detail: str
    origin_topic: str
    origin_partition: int
    origin_offset: int
    origin_timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    cut: bool = False

    def fits(self, headers: Sequence[tuple[str, bytes | None]]) -> bool:
        """Whether it is the whole record, and the source takes it with these headers."""
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(self.key, self.value, list(headers))
        return not self.cut and size <= topic_admin.SOURCE_BYTES_MAX


class Listing(NamedTuple):
    """The newest letters, oldest first, and how many there are in all by reason."""

    letters: list[Letter]
    counts: dict[str, int]


class Redriven(NamedTuple):
    """What a redrive did: letters written to the source by reason, and those that stay where they are.

    foreign: of other topics. kept: cut, or larger than the source takes.
    """

    counts: dict[str, int]
    foreign: int
    kept: int = 0


class Progress(msgspec.Struct):
    """How far the letters of one partition are redriven, by reason: the next offset to look at."""

    next_offsets: dict[str, int] = {}

    def next_offset(self, reason: str) -> int:
        """From which offset on letters of this reason are not redriven."""
        return self.next_offsets.get(_known(reason), 0)

    def lowest(self, reasons: Collection[str] = REASONS) -> int:
        """The first offset that a redrive of `reasons` has to look at."""
        return min(self.next_offsets.get(reason, 0) for reason in reasons)


def letter(record: ConsumerRecord[bytes | None, bytes | None]) -> Letter:
    """The dead letter in a Kafka record."""
    told = {name: content for name, content in record.headers if content is not None and not name.startswith(ORIGINAL_PREFIX)}
    return Letter(
        record.partition,
        record.offset,
        record.timestamp,
        _text(told.get("reason")) or UNKNOWN,
        _text(told.get("detail")),
        _text(told.get("origin-topic")),
        _number(told.get("origin-partition")),
        _number(told.get("origin-offset")),
        _number(told.get("origin-timestamp")),
        record.key,
        record.value,
        tuple((name.removeprefix(ORIGINAL_PREFIX), content) for name, content in record.headers if name.startswith(ORIGINAL_PREFIX)),
        "original-size" in told,
    )


async def read(settings: Settings, *, reason: str | None, limit: int) -> Listing:
    """The newest `limit` dead letters, of one reason or of all.

    Raises:
        TopicsError: the topic does not exist.
        UnreachableError: no broker answers.
    """
    counts: Counter[str] = Counter()
    newest: list[tuple[int, int, int, Letter]] = []
    async with topic_admin.connected(settings) as admin, _reader(settings) as reader:
        for partition in await _partitions(admin, settings.topic(topics.DEAD_LETTERS)):
            async for letters, _ in _letters(reader, partition, 0):
                for found in letters:
                    if reason is not None and found.reason != reason:
                        continue
                    counts[found.reason] += 1
                    heapq.heappush(newest, (found.timestamp_ms, found.partition, found.offset, found))
                    if len(newest) > limit:
                        heapq.heappop(newest)
    return Listing([entry[-1] for entry in sorted(newest)], dict(sorted(counts.items())))


async def redrive(settings: Settings, *, reasons: Collection[str] = REASONS, dry_run: bool = False) -> Redriven:
    """Write the dead letters there are now back to the source, each to its partition, none twice whatever runs before or beside.

    Raises:
        TopicsError: a topic does not exist.
        UnreachableError: no broker answers.
        OperatorError: another redrive started meanwhile.
    """
    counts: Counter[str] = Counter()
    foreign = kept = 0
    name = settings.topic(topics.DEAD_LETTERS)
    async with topic_admin.connected(settings) as admin, _reader(settings) as reader:
        partitions = await _partitions(admin, name)
        source_partitions = len(await _partitions(admin, settings.topic(topics.TOUCHPOINTS)))
        # The producer comes before the look at the progress: opening it ends whatever an earlier redrive left undecided.
        async with _Writer(settings, source_partitions, dry_run=dry_run) as writer:
            committed = await _committed(admin, writer.group, partitions)
            for partition in partitions:
                progress = _progress(committed.get(partition))
                async for letters, position in _letters(reader, partition, progress.lowest(reasons)):
                    due = [
                        found for found in letters if _known(found.reason) in reasons and found.offset >= progress.next_offset(found.reason)
                    ]
                    own = [found for found in due if found.origin_topic == settings.topic(topics.TOUCHPOINTS)]
                    foreign += len(due) - len(own)
                    whole = [found for found in own if found.fits(_headers(found, partition.topic))]
                    kept += len(own) - len(whole)
                    progress.next_offsets |= {reason: max(position, progress.next_offset(reason)) for reason in reasons}
                    await writer.write(whole, partition, progress)
                    counts.update(found.reason for found in whole)
    return Redriven(dict(sorted(counts.items())), foreign, kept)


class _Writer:
    """Writes letters and progress together, in one transaction a batch; writes nothing in a dry run."""

    def __init__(self, settings: Settings, source_partitions: int, *, dry_run: bool) -> None:
        self.group = f"{settings.app}-redrive"
        self._source = settings.topic(topics.TOUCHPOINTS)
        self._source_partitions = source_partitions
        self._producer: AIOKafkaProducer | None = None
        if not dry_run:
            self._producer = AIOKafkaProducer(
                **client_options(settings), transactional_id=self.group, max_request_size=topic_admin.DEAD_LETTER_BYTES_MAX
            )

    async def __aenter__(self) -> _Writer:
        if self._producer is not None:
            await self._producer.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def write(self, letters: Collection[Letter], read_from: TopicPartition, progress: Progress) -> None:
        """Write the original records, and that everything up to `progress` is done."""
        if self._producer is None:
            return
        offsets = {read_from: OffsetAndMetadata(progress.lowest(), msgspec.json.encode(progress).decode())}
        try:
            async with self._producer.transaction():
                sent = [await self._send(self._producer, read_from.topic, found) for found in letters]
                await asyncio.gather(*sent)
                await self._producer.send_offsets_to_transaction(offsets, self.group)
        except ProducerFenced as exc:
            _retrieve(self._producer)
            raise OperatorError("another redrive has started and goes on where this one stopped: nothing is written twice") from exc

    async def _send(self, producer: AIOKafkaProducer, topic: str, found: Letter) -> asyncio.Future[Any]:
        # The partition it came from is where the customer's state is, whichever way the producer hashes its keys.
        known = 0 <= found.origin_partition < self._source_partitions
        partition = found.origin_partition if known else None
        sent: asyncio.Future[Any] = await producer.send(
            self._source, value=found.value, key=found.key, partition=partition, headers=_headers(found, topic)
        )
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())  # what fails is raised once, by the transaction
        return sent


def _headers(found: Letter, topic: str) -> list[tuple[str, bytes | None]]:
    """Of the record that a letter in `topic` becomes."""
    headers = [header for header in found.headers if header[0] != REDRIVEN_FROM]
    return [*headers, (REDRIVEN_FROM, f"{topic}/{found.partition}/{found.offset}".encode())]


def _retrieve(producer: AIOKafkaProducer) -> None:
    """Ask for the exceptions that a fenced producer of aiokafka 0.14 leaves in futures nobody awaits: asyncio would log each."""
    accumulator = producer._message_accumulator
    batches = [*accumulator._pending_batches, *(batch for queue in accumulator._batches.values() for batch in queue)]
    for future in (producer._txn_manager.wait_for_transaction_end(), *(batch._drain_waiter for batch in batches)):
        if future.done() and not future.cancelled():
            future.exception()


def _reader(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )


async def _partitions(admin: AIOKafkaAdminClient, name: str) -> list[TopicPartition]:
    observed = await topic_admin.observe(admin, [name])
    if name not in observed:
        raise TopicsError(f"topic {name} does not exist: `streamer topics create` makes it")
    return [TopicPartition(name, number) for number in range(observed[name].partitions)]


async def _letters(reader: AIOKafkaConsumer, partition: TopicPartition, start: int) -> AsyncIterator[tuple[list[Letter], int]]:
    """The letters from `start`, or the first kept, to the present end, in batches; with each the offset to go on from."""
    reader.assign([partition])
    first = (await reader.beginning_offsets([partition]))[partition]
    end = (await reader.end_offsets([partition]))[partition]
    position = max(first, start)
    reader.seek(partition, position)
    progress = time.monotonic()
    while position < end:
        batches = await reader.getmany(partition, timeout_ms=200, max_records=BATCH_RECORDS)
        letters = [letter(record) for record in batches.get(partition, ())]
        reached = await reader.position(partition)  # beyond the last letter when records of a transaction's end follow
        if reached > position:
            position, progress = reached, time.monotonic()
            yield letters, position
        elif time.monotonic() - progress > STALLED_SECONDS:
            raise UnreachableError(f"reading {partition.topic} partition {partition.partition} stalls at offset {position} of {end}")


async def _committed(admin: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group, partitions=partitions)
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return found


def _progress(committed: OffsetAndMetadata | None) -> Progress:
    """What an earlier redrive committed (Kafka forgets it with the topic). An operator's reset has no metadata and is for all reasons."""
    if committed is None or committed.offset < 0:
        return Progress()
    try:
        return msgspec.json.decode(committed.metadata or "", type=Progress)
    except msgspec.MsgspecError:
        return Progress(dict.fromkeys(REASONS, committed.offset))


def _known(reason: str) -> str:
    return reason if reason in REASONS else UNKNOWN


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    return int(content) if content is not None and content.isdigit() and len(content) < 20 else -1

"""State at rest: reading a partition's rows from its changelog, and making group offset and state agree again.

Both move together or not at all, so a worker refuses to start when they differ (`opening.py`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupIdNotFound, NoError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from streamer.definitions import parse
from streamer.engine.checkpoint import TopicNames, Transactions
from streamer.engine.kafka import kafka_errors
from streamer.engine.opening import topic_names, transactional_id
from streamer.engine.restore import changelog_reader
from streamer.engine.stalls import STALLED_SECONDS
from streamer.engine.topic_admin import MACHINES, connected
from streamer.errors import DataLossError, InputError, OperatorError
from streamer.journeys import marker
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import MARKER_KEY, ROW_PREFIX, Drained

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from aiokafka.admin import AIOKafkaAdminClient

    from streamer.engine.restore import ChangelogReader
    from streamer.settings import Settings


Rows = dict[bytes, bytes]


async def rows(settings: Settings, machine: str, partition: int, *, source: str | None = None) -> Rows:
    """The rows of a partition, marker row included, as of the last committed checkpoint.

    Raises UnreachableError if Kafka does not answer.
    """
    names = topic_names(settings, machine, source or _source(machine))
    async with kafka_errors(settings), _reader(settings, names, partition) as reader:
        found = (await reader.read(await reader.changelog_end())).rows
        if machine == "journeys" and MARKER_KEY in found and marker.decode(found[MARKER_KEY]).replay is not None:
            return await _up_to_date(settings, names, partition, found, reader)
        return found


async def _up_to_date(settings: Settings, names: TopicNames, partition: int, found: dict[bytes, bytes], reader: ChangelogReader) -> Rows:
    """The rows of the marker's moment: what is not in them yet is folded again."""
    revision = marker.decode(found[MARKER_KEY]).revision
    definitions = parse(found[marker.DEFINITIONS_PREFIX + b"%d" % revision].decode(), f"kept revision {revision}")
    processor = JourneysProcessor(definitions, partition=partition, partitions=settings.partitions, topic=names.source)
    processor.restore(found.items())
    start, end = processor.replay_from or 0, processor.next_offset or 0
    lost = (await reader.source_bounds()).start > start
    await reader.refold(processor, start, end, complete=not lost, progress=lambda: None)
    if not lost and (await reader.source_bounds()).start > start:
        raise DataLossError(f"retention has deleted records of {names.source}[{partition}] while they were read: run it again")
    kept = {key: row for key, row in found.items() if key[:1] != ROW_PREFIX}
    return kept | {ROW_PREFIX + key: row for key, row in processor.rows().items()}


def _reader(settings: Settings, names: TopicNames, partition: int) -> AbstractAsyncContextManager[ChangelogReader]:
    changelog, source = TopicPartition(names.changelog, partition), TopicPartition(names.source, partition)
    return changelog_reader(settings, group=names.group, changelog=changelog, source=source, stalled_seconds=STALLED_SECONDS)


async def reset(settings: Settings, machine: str, *, from_start: bool, source: str | None = None) -> dict[int, int]:
    """Make the group's offsets and the state of a stopped machine agree; returns the rows dropped per partition.

    Without `from_start` the state decides: the group's offsets are forgotten, and which topic the state is of; the next worker commits the
    state's, of the topic that is there. With it the state is dropped first, so that the machine begins again with what the source still
    holds. What it has written before stays written: it will write it a second time.

    Raises:
        InputError: there is no such machine.
        OperatorError: workers of the machine are running, or a partition has no state that could decide.
        UnreachableError: Kafka does not answer.
    """
    names = topic_names(settings, machine, source or _source(machine))
    dropped: dict[int, int] = {}
    async with connected(settings) as admin, kafka_errors(settings):
        await _require_stopped(admin, names.group)
        found = await admin.describe_topics([names.changelog])
        partitions = range(len(found[0]["partitions"]))
        if not from_start:
            await _require_states(settings, machine, names, partitions)
        for partition in partitions:
            rows_dropped = await _drop(settings, machine, names, partition, everything=from_start)
            if from_start:
                dropped[partition] = rows_dropped
        await _delete_group(admin, names.group)
    return dropped


def _source(machine: str) -> str:
    if machine not in MACHINES:
        raise InputError(f"there is no machine {machine!r}: choose one of {', '.join(MACHINES)}")
    return MACHINES[machine]


async def _require_stopped(admin: AIOKafkaAdminClient, group: str) -> None:
    try:
        responses = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:  # a broker that never had a group
        return
    members = sum(len(described["members"]) for response in responses for described in response.to_object()["groups"])
    if members:
        raise OperatorError(f"group {group} has {members} running worker{'s' if members > 1 else ''}: stop them first")


async def _require_states(settings: Settings, machine: str, names: TopicNames, partitions: Iterable[int]) -> None:
    """Without the group's offset a partition that has no state would begin with the first record."""
    for partition in partitions:
        async with _reader(settings, names, partition) as reader:
            offset = await reader.group_offset()
            if offset is not None and MARKER_KEY not in (await reader.read(await reader.changelog_end())).rows:
                raise OperatorError(
                    f"{names.changelog}[{partition}] has no state, though the group is at offset {offset}: it was deleted or created anew;"
                    f" `streamer state reset {machine} --from-start` begins again with what the source still holds, and what {machine} has"
                    " written before it writes a second time"
                )


async def _drop(settings: Settings, machine: str, names: TopicNames, partition: int, *, everything: bool) -> int:
    """Write a tombstone for each row, or for that of the source topic alone, in one transaction that fences whatever still runs."""
    transactions = Transactions(settings, transactional_id=transactional_id(settings, machine, partition), partition=partition, names=names)
    await transactions.start()
    try:
        async with _reader(settings, names, partition) as reader:
            held = await reader.read(await reader.changelog_end())
        dropped: list[tuple[bytes, bytes | None]] = [(key, None) for key in held.rows] if everything else []
        if dropped or held.source_id:
            journal = [orjson.dumps({"command": "reset", "at": int(time.time() * 1000)})] if dropped else []
            transactions.tell_source("")
            await transactions.commit(transactions.encode(Drained(rows=dropped, outputs=[], journal=journal, next_offset=0)))
        return len(dropped)
    finally:
        await transactions.stop()


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    coordinator = await admin.find_coordinator(group)
    response = await admin._send_request(DeleteGroupsRequest([group]), coordinator)
    for _, code in response.results:
        error = for_code(code)
        if error not in (NoError, GroupIdNotFound):
            raise error

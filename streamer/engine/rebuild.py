"""Rebuild Redis' active set from the alert topics while publishers may be running; the stream is left as it is.

For each partition: read the topic up to what Redis has applied, then put the last states in place, part by part, each part on the
condition that the applied offset has not moved. When it has, the newly applied records are read and what they touch is left
out: the publisher has written that itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamer.engine.alert_log import AlertLog, boundary

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from streamer.alerts.publisher import ActiveRecord, AlertStore
    from streamer.settings import Settings


class Rebuilt(NamedTuple):
    """What a rebuild did: partitions read, firing records put in place, stale entries removed."""

    partitions: int
    restored: int
    removed: int


async def rebuild(settings: Settings, store: AlertStore) -> Rebuilt:
    """Make the active set what the alert topics say.

    Raises:
        DeliveryError: Redis cannot be used.
        TopicsError: an alert topic does not exist.
        UnreachableError: no broker answers.
    """
    before = await store.active()
    known: set[str] = set()
    restored = 0
    async with AlertLog(settings) as log:
        ids = await log.topic_ids()
        partitions = await log.partitions()
        for partition in partitions:
            states = await _rebuild_partition(log, store, partition, ids[partition.topic])
            known |= states.keys()
            restored += sum(state.record is not None for state in states.values())
    # What no topic knows any more: its firing was deleted by retention, or its topic was. That of storms none has ever known.
    known |= await store.storm_summaries()
    removed = await store.forget((fingerprint, record) for fingerprint, record in before.items() if fingerprint not in known)
    return Rebuilt(len(partitions), restored, removed)


async def _rebuild_partition(log: AlertLog, store: AlertStore, partition: TopicPartition, topic_id: str) -> dict[str, ActiveRecord]:
    """The states up to Redis' applied offset, written to Redis."""
    start, end = (await log.ranges([partition]))[partition]
    expected = (await store.applied_offsets()).get((topic_id, partition.partition))
    if expected is None:
        committed = (await log.committed([partition])).get(partition)
        read_to = boundary(committed, topic_id, start, end)
    else:
        read_to = min(expected + 1, end)
    states = await log.states(partition, start, read_to)
    waiting = dict(states)
    while True:
        applied = read_to - 1 if expected is None or expected >= end else None
        moved = await store.restore(topic_id, partition.partition, waiting.items(), expected=expected, applied=applied)
        if moved is None:
            return states
        newer = await log.states(partition, max(read_to, start), moved + 1)
        states.update(newer)
        for fingerprint in newer:
            waiting.pop(fingerprint, None)
        expected, read_to, end = moved, max(read_to, moved + 1), max(end, moved + 1)

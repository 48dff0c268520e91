"""What the topics and Redis hold in the end, read back with plain clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from aiokafka import TopicPartition

from tests.chaos.clients import consuming

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.structs import ConsumerRecord

    from streamer.settings import Settings

Logs = dict[int, list["ConsumerRecord"]]


class World(NamedTuple):
    """Committed records by topic (logical name, or `<machine>-journal`, `<machine>-changelog`) and partition.

    active: Redis' active set by fingerprint; empty without Redis.
    """

    logs: dict[str, Logs]
    active: dict[str, dict[str, Any]]


def names_of(settings: Settings) -> dict[str, tuple[str, int]]:
    """Logical name -> (name in Kafka, partitions)."""
    names = {name: (settings.topic(name), settings.partitions) for name in ("touchpoints", "alerts", "dead-letters", "late")}
    names |= {name: (settings.topic(name), settings.rollup_partitions) for name in ("deltas", "aggregate-alerts")}
    names |= {f"journeys-{kind}": (f"{settings.app}-journeys-{kind}", settings.partitions) for kind in ("journal", "changelog")}
    return names | {"rollup-journal": (f"{settings.app}-rollup-journal", settings.rollup_partitions)}


async def read_world(settings: Settings) -> World:
    """Everything that is committed."""
    async with consuming(settings) as consumer:
        logs = {name: await _read(consumer, topic, partitions) for name, (topic, partitions) in names_of(settings).items()}
    with redis.Redis.from_url(settings.redis_url) as client:
        active: Any = client.hgetall(f"{settings.redis_prefix}alerts:active")
    return World(logs, {fingerprint.decode(): json.loads(record) for fingerprint, record in active.items()})


async def _read(consumer: AIOKafkaConsumer, topic: str, partitions: int) -> Logs:
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    found: Logs = {place.partition: [] for place in places}
    while any([await consumer.position(place) < ends[place] for place in places]):
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            found[place.partition] += records
    return found

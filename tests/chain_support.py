"""What the whole chain left behind, read from the bytes of its topics and from Redis without the product's code; and ports for it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import msgspec
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local import ports

PROCESSES: Final = 5  # supervisor, three roles and a forwarder, on ports in a row


def port_block() -> int:
    """The first of as many ports in a row as there are processes; all are picked, so that no server of this process gets one of them."""
    block = [ports.pick()]
    while len(block) < PROCESSES:
        port = ports.pick()
        block = [*block, port] if port == block[-1] + 1 else [port]
    return block[0]


async def delta_sums(bootstrap: str, topic: str) -> Counter[int]:
    """Number of a counter -> its net sum over all committed deltas of partition 0."""
    place = TopicPartition(topic, 0)
    total: Counter[int] = Counter()
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False) as consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            for record in (await consumer.getmany(timeout_ms=200)).get(place, []):
                ticks = msgspec.msgpack.decode(record.value)[8]
                for _, changes in ticks:
                    for at in range(0, len(changes), 4):
                        total[changes[at + 2]] += changes[at + 3]
    return total


def transitions(redis_url: str, prefix: str) -> list[dict[str, Any]]:
    """Every alert transition in the Redis stream."""
    with redis.Redis.from_url(redis_url) as client:
        entries = client.xrange(f"{prefix}alerts")
    return [json.loads(fields[b"alert"]) for _, fields in entries]

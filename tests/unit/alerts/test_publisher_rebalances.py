"""What the publisher opens while its group is joined again. Kafka and Redis are replaced by what they would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import TopicPartition

from streamer.alerts.connection import connect
from streamer.alerts.publisher import AlertStore
from streamer.engine.delivery import Publisher
from streamer.metrics.pipeline import Pipeline
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.engine.alert_log import AlertLog

PLACE = TopicPartition("cx.alerts.v1", 0)
APPLIED = 4


class Log:
    """Stands for the alert topics, and lets something happen while they are asked."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.topic_id = "id"

    async def ranges(self, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        self.meanwhile()
        return dict.fromkeys(partitions, (0, 10))

    async def topic_ids(self) -> dict[str, str]:
        return {PLACE.topic: self.topic_id}


class Store(AlertStore):
    """Stands for Redis, which is not asked."""

    async def applied_offsets(self) -> dict[tuple[str, int], int]:
        return {("id", 0): APPLIED}


class Consumer:
    """Stands for a consumer: as aiokafka's, it keeps its assignment until the group is joined again."""

    def __init__(self) -> None:
        self.position: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position[partition] = offset


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def publisher(log: Log) -> Publisher:
    made = Publisher(Settings(), Store(connect("redis://127.0.0.1:1/0")), cast("AlertLog", log), Pipeline("publisher"))
    await made._consumer.stop()
    made._consumer = cast("Any", Consumer())
    made._ids = {PLACE.topic: "id"}
    made.on_partitions_assigned([PLACE])
    return made


async def test_a_partition_is_read_from_where_redis_stands(publisher: Publisher) -> None:
    await publisher._open(PLACE)
    assert (publisher._consumer.position, publisher._consumer.paused) == ({PLACE: APPLIED + 1}, set())
    assert publisher.ready() is None


async def test_a_partition_that_is_revoked_while_it_is_opened_is_not_taken_for_open_when_it_comes_back(
    publisher: Publisher, log: Log
) -> None:
    log.meanwhile = lambda: publisher.on_partitions_revoked([PLACE])
    await publisher._open(PLACE)
    publisher.on_partitions_assigned([PLACE])
    assert publisher.ready() == "1 partitions are not open yet", "it stands paused at offset 0"
    log.meanwhile = lambda: None
    await publisher._open(PLACE)
    assert (publisher._consumer.position, publisher._consumer.paused) == ({PLACE: APPLIED + 1}, set())


async def test_a_topic_that_is_another_one_by_the_time_is_opened_with_the_next_turn(publisher: Publisher, log: Log) -> None:
    log.topic_id = "another"
    await publisher._open(PLACE)
    assert (publisher._consumer.position, publisher._consumer.paused) == ({PLACE: 0}, {PLACE})
    assert publisher.ready() == "1 partitions are not open yet"
    assert publisher._ids == {PLACE.topic: "another"}

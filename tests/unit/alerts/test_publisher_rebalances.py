"""What the publisher opens while its group is joined again. Kafka and Redis are replaced by what they would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

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
        self.end = 10

    async def ranges(self, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        self.meanwhile()
        return dict.fromkeys(partitions, (0, self.end))

    async def topic_ids(self) -> dict[str, str]:
        return {PLACE.topic: self.topic_id}


class Store(AlertStore):
    """Stands for Redis, which is not asked."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def applied_offsets(self) -> dict[tuple[str, int], int]:
        self.meanwhile()
        return {("id", 0): APPLIED}


class Consumer:
    """Stands for a consumer: as aiokafka's, it keeps its assignment until the group is joined again."""

    def __init__(self) -> None:
        self.position: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.committed: dict[TopicPartition, int] = {}
        self.joining = False

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(partition)

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        if self.joining:
            raise CommitFailedError("rebalance")
        self.committed |= {partition: offset for partition, (offset, _) in offsets.items()}

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


async def test_an_alert_that_the_owner_before_delivers_while_a_partition_is_opened_is_no_loss(publisher: Publisher, log: Log) -> None:
    log.end = APPLIED  # as of now: one alert less than Redis is about to have

    def committed_and_delivered() -> None:
        log.end = APPLIED + 1

    cast("Store", publisher._store).meanwhile = committed_and_delivered
    await publisher._open(PLACE)
    assert publisher._consumer.position == {PLACE: APPLIED + 1}


async def test_a_group_offset_that_met_a_rebalance_is_not_committed_when_the_partition_comes_back(publisher: Publisher) -> None:
    consumer = cast("Consumer", publisher._consumer)
    await publisher._open(PLACE)
    publisher._uncommitted[PLACE] = (APPLIED + 1, "id")
    consumer.joining = True
    await publisher._commit()
    consumer.joining = False
    publisher.on_partitions_revoked([PLACE])
    consumer.committed = {PLACE: 500}  # by another member
    publisher.on_partitions_assigned([PLACE])
    await publisher._open(PLACE)
    await publisher._commit()
    assert consumer.committed == {PLACE: 500}

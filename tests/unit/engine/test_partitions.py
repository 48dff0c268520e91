"""Partitions that are opened anew while a rebalance closes them. Kafka is replaced by a list of what was committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from aiokafka.errors import KafkaTimeoutError, ProducerFenced
from faust.types import TP

from streamer import topics
from streamer.engine.clocks import Linger
from streamer.engine.machine import Machine
from streamer.engine.partitions import Partitions
from streamer.metrics.pipeline import Pipeline
from streamer.settings import Settings
from tests.engine_support import until
from tests.engine_toy import Counter
from tests.unit.engine.test_owner import batch, bench

if TYPE_CHECKING:
    from streamer.engine.driver import BatchConsumer
    from tests.unit.engine.test_owner import Bench


class Consumer:
    """Stands for the consumer of a member of the group."""

    def __init__(self) -> None:
        self.assignments = 1

    async def is_member(self) -> bool:
        return True

    def partition_count(self, _topic: str) -> int:
        return 1

    def assignment(self) -> set[TP]:
        return set()

    def fetched(self, _partition: TP) -> None:
        return None


class Pieces(Counter):
    """What it does with a batch takes several turns of the event loop."""

    left = 0
    turns = 0

    def go_on(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.fixture
async def owned() -> Bench:
    return bench(checkpoint_interval_seconds=0.05)


@pytest.fixture
async def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
async def partitions(owned: Bench, consumer: Consumer) -> Partitions:
    machine = Machine("toy", topics.TOUCHPOINTS, 1, Counter)
    made = Partitions(
        machine, Settings(), consumer=lambda: cast("BatchConsumer", consumer), linger=Linger(0.02, 1.0), pipeline=Pipeline("toy")
    )
    made._owners[0] = owned.owner
    made._locks[0] = asyncio.Lock()
    made.assigned = True
    return made


async def test_what_a_batch_leaves_to_do_is_done_while_everything_else_has_its_turn(owned: Bench, partitions: Partitions) -> None:
    owner, broker, _ = owned
    owner.processor = pieces = Pieces(0)
    pieces.process((), 10)
    pieces.left = 1_000

    async def others() -> None:
        while True:
            pieces.turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await partitions.deliver(batch(10, 12))
    assert pieces.left == -1
    assert pieces.turns >= 1_000
    beside.cancel()
    await until(lambda: {entry.drained.next_offset for entry in broker.committed} == {12}, "checkpoints have it all")


async def test_nothing_is_left_to_do_of_a_partition_that_was_given_up(owned: Bench, partitions: Partitions) -> None:
    owner, _, _ = owned
    owner.processor = pieces = Pieces(0)
    pieces.process((), 10)
    pieces.left = 1_000_000_000
    delivering = asyncio.create_task(partitions.deliver(batch(10, 12)))
    await asyncio.sleep(0)
    await partitions.close_all()
    await asyncio.wait_for(delivering, 5)


async def rebalanced_while_a_renewal_commits(owned: Bench, partitions: Partitions) -> None:
    owner, broker, _ = owned
    broker.gate.clear()
    owner.fold(batch(10, 12), None)
    partitions.renew()
    await until(lambda: broker.begun == 1, "the renewal commits")
    closing = asyncio.create_task(partitions.close_all())
    await asyncio.sleep(0)
    broker.gate.set()
    await closing


async def test_a_rebalance_in_the_middle_of_a_renewals_commit_waits_for_it_and_commits_nothing_twice(
    owned: Bench, partitions: Partitions
) -> None:
    _, broker, failures = owned
    await rebalanced_while_a_renewal_commits(owned, partitions)
    assert broker.begun == 1, "nobody begins a transaction in a transaction"
    assert [entry.drained.next_offset for entry in broker.committed] == [12]
    assert not dict(partitions.processors())
    assert not failures


async def test_a_renewal_that_fails_in_a_rebalance_lets_go_of_the_partition(owned: Bench, partitions: Partitions) -> None:
    _, broker, _ = owned
    broker.refusal = ProducerFenced("another")
    await rebalanced_while_a_renewal_commits(owned, partitions)
    assert broker.committed == []
    assert not dict(partitions.processors())
    assert partitions._kept == {}, "what is not known to be committed is read again"


@pytest.mark.parametrize("ends_first", [False, True], ids=["rebalance first", "end first"])
async def test_the_end_of_the_process_in_the_middle_of_a_rebalance_closes_each_partition_once(
    owned: Bench, partitions: Partitions, ends_first: bool
) -> None:
    owner, broker, failures = owned
    broker.gate.clear()
    owner.fold(batch(10, 12), None)
    first = asyncio.create_task(partitions.close_all(for_good=ends_first))
    await until(lambda: broker.begun == 1, "the first commits")
    second = asyncio.create_task(partitions.close_all(for_good=not ends_first))
    await asyncio.sleep(0)
    broker.gate.set()
    await asyncio.gather(first, second)
    assert [entry.drained.next_offset for entry in broker.committed] == [12]
    assert (broker.begun, broker.stopped) == (1, 1)
    assert not dict(partitions.processors())
    assert not failures


async def test_a_rebalance_that_ends_after_the_process_has_let_go_opens_nothing(partitions: Partitions, consumer: Consumer) -> None:
    await partitions.close_all(for_good=True)
    consumer.assignments += 1
    await partitions.open_assigned()
    partitions.start_opened()
    assert not partitions.assigned
    assert not partitions.is_opening
    assert partitions._starting is None
    assert not dict(partitions.processors())


@pytest.mark.parametrize("moves_on", [True, False], ids=["records", "a deadline alone"])
@pytest.mark.parametrize("error", [ProducerFenced("another"), KafkaTimeoutError("slow")], ids=["fenced", "unknown"])
async def test_a_commit_that_fails_while_a_rebalance_closes_the_partition_is_given_up_once(
    owned: Bench, partitions: Partitions, error: Exception, moves_on: bool
) -> None:
    owner, broker, failures = owned
    broker.gate.clear()
    owner.fold(batch(10, 12), None) if moves_on else owner.commit_soon()
    await until(lambda: broker.begun == 1, "a checkpoint commits")
    broker.refusal = error
    closing = asyncio.create_task(partitions.close_all())
    await asyncio.sleep(0)
    broker.gate.set()
    await closing
    assert failures == [], "nobody else is to open the partition again"
    assert not dict(partitions.processors())
    assert partitions._kept == {}, "the state may be ahead of the changelog"
    assert (broker.begun, broker.stopped) == (1, 1)


async def test_whoever_was_to_open_a_partition_again_finds_that_it_has_another_owner_by_now(owned: Bench, partitions: Partitions) -> None:
    other = bench().owner
    partitions._owners[0] = other
    await partitions._reopen(owned.owner, ProducerFenced("another"))
    assert list(partitions.owners) == [other]


async def test_a_rebalance_that_ends_although_the_next_one_has_begun_opens_nothing(partitions: Partitions, consumer: Consumer) -> None:
    await partitions.close_all()
    await partitions.open_assigned()
    assert not partitions.assigned, "what is assigned is from before"
    consumer.assignments += 1
    await partitions.open_assigned()
    assert partitions.assigned

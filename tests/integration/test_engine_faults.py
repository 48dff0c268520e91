"""Faults inside a worker and around it: it recovers or ends with its code, and never hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final

import orjson
import psutil
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from streamer import topics
from streamer.engine.checkpoint import TopicNames, Transactions
from streamer.engine.exits import Exit
from streamer.errors import DataLossError, TopicsError
from streamer.processor import Drained, Output
from tests import header_names_support
from tests.engine_support import SESSION_SECONDS, stage_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from tests.engine_support import Stage

# The transaction timeout of 5 s, up to a second until the broker looks, and what its answers take on a busy machine.
READERS_HELD_BACK_SECONDS_MAX: Final = 8.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


async def fence(bootstrap: str, transactional_id: str) -> None:
    """Do what another owner's start does."""
    intruder = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
    await intruder.start()
    await intruder.stop()


async def test_fenced_while_still_a_member_opens_again_once_and_exits_the_second_time(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start()
        await stage.send(10)
        await stage.output_reaches(10)
        await fence(kafka.bootstrap, f"{unique}-toy-0")
        await stage.send(10)
        await stage.output_reaches(20)
        assert worker.log.count("checkpoint of partition 0 failed") == 1
        await fence(kafka.bootstrap, f"{unique}-toy-0")
        await stage.send(10)
        assert await worker.ended() == Exit.FENCED
        after = stage.start()
        await stage.finish(after)
        assert await stage.nothing_lost_or_doubled() == 30


async def test_fenced_and_then_asked_to_hand_over_a_member_lets_go_and_opens_again(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """A slow opener that was ejected fences the owner and joins again: the rebalance may come before any checkpoint has failed."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        # It always holds what is not committed, and learns of the fencing only when it closes.
        owner = stage.start(checkpoint_interval_seconds=60)
        await until(lambda: owner.owned == [0], "one owns the partition")
        await stage.send(10)
        await until(lambda: owner.said.get("consumed", 0) == 10, "the owner folds")
        await fence(kafka.bootstrap, f"{unique}-toy-0")
        opened = owner.log.count("restored")
        other = stage.start()
        await until(lambda: other.owned is not None or owner.process.poll() is not None, "the other joins")
        failed = "checkpoint of partition 0 failed"
        await until(lambda: failed in owner.log or owner.process.poll() is not None, "the owner learns that it was fenced")
        again = opened + 1  # from the log, not from what it had kept
        await until(
            lambda: owner.log.count("restored") + other.log.count("restored") == again or owner.process.poll() is not None, "one opens"
        )
        assert owner.process.poll() is None, owner.log
        assert owner.log.count(failed) == 1
        await stage.send(1)
        await until(lambda: 11 in (owner.said.get("consumed"), other.said.get("consumed")), "what was not committed is folded again")
        for worker in (other, owner):
            worker.signal(signal.SIGTERM)
            assert await worker.ended() == Exit.OK
        assert await stage.nothing_lost_or_doubled() == 11


async def test_a_poison_event_ends_the_process_and_loses_nothing_before_it(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start()
        await stage.send(10)
        await stage.output_reaches(10)
        await stage.send(1, key="stop", keys=1)
        await stage.producer.send_and_wait(stage.source, b"x", b"poison", partition=0)
        assert await worker.ended() == Exit.CRASHED
        assert "ValueError: poison" in worker.log
        assert len(await stage.read(stage.output)) in (10, 11)


async def test_a_header_name_that_is_not_utf_8_holds_up_nobody(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """Kafka takes any bytes; aiokafka would ask for the same records for ever."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(5, keys=1)
        odd = header_names_support.batch(stage.producer, [(b"k1", b"good"), (b"k2", b"caf\xe9"), (b"k1", b"good")])
        await (await stage.producer.send_batch(odd, stage.source, partition=0))
        await stage.send(5, keys=1)
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 13


async def test_records_that_are_not_accounted_for_end_the_process_and_are_not_committed(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start()
        await stage.send(10)
        await stage.output_reaches(10)
        await stage.producer.send_and_wait(stage.source, b"x", b"miscount", partition=0)
        assert await worker.ended() == Exit.CRASHED
        assert "AccountingError: partition 0 has consumed 11 records and accounts for applied 10 + duplicate 0" in worker.log
        assert len(await stage.read(stage.output)) == 10


async def test_a_stop_that_hangs_when_everything_is_committed_ends_all_the_same(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start(stop_hangs=True)
        await stage.send(10)
        await stage.output_reaches(10)
        worker.signal(signal.SIGTERM)
        assert await worker.ended(30) == Exit.OK
        assert "stopped: everything is committed" in worker.log
        assert await stage.nothing_lost_or_doubled() == 10


async def test_partitions_added_to_the_source_end_a_running_worker_with_the_way_to_grow(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path, partitions=2) as stage:
        worker = stage.start()
        await stage.send(10)
        await stage.output_reaches(10)
        await stage.admin.create_partitions({stage.source: NewPartitions(3)})
        assert await worker.ended() == TopicsError.exit_code
        assert f"topic {stage.source} has 3 partitions and the machine 2: state is bound to the count" in worker.log
        assert "to grow, create topics under another app and prefix and fill them with `streamer topics refill`" in worker.log
        assert "Traceback" not in worker.log
        assert await stage.nothing_lost_or_doubled() == 10


async def test_a_frozen_broker_is_waited_for_and_then_given_up(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        patient = stage.start(watchdog_seconds=30)
        await stage.send(10)
        await stage.output_reaches(10)
        try:
            kafka.pause()
            time.sleep(3)  # noqa: ASYNC251  the outage itself
        finally:
            kafka.resume()
        await stage.send(10)
        await stage.output_reaches(20)
        await stage.finish(patient)
        assert await stage.nothing_lost_or_doubled() == 20

        impatient = stage.start(watchdog_seconds=5)
        await until(lambda: impatient.owned == [0], "the worker is ready")
        try:
            kafka.pause()
            assert await impatient.ended(30) == Exit.STUCK
        finally:
            kafka.resume()


async def test_records_that_retention_takes_from_under_a_running_worker_end_it(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start(session_timeout_seconds=2 * SESSION_SECONDS)
        await stage.send(10)
        await stage.output_reaches(10)
        worker.signal(signal.SIGSTOP)
        # A fetch waits at the broker for so long; one answered after the send would bring the records before they are deleted.
        await asyncio.sleep(10 * stage.settings.fetch_max_wait_seconds)
        await stage.send(20)
        await stage.admin.delete_records({TopicPartition(stage.source, 0): RecordsToDelete(25)})
        worker.signal(signal.SIGCONT)
        assert await worker.ended() == Exit.CRASHED
        after = stage.start()
        assert await after.ended() == DataLossError.exit_code
        offsets = [orjson.loads(output.value or b"")["offset"] for output in await stage.read(stage.output)]
        assert offsets == list(range(len(offsets))), "nothing beyond the hole was taken for what follows"


async def test_an_owner_that_dies_before_its_commit_holds_readers_back_no_longer_than_promised(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    """At most the transaction timeout and the broker's clean-up interval of a second; not at all once there is a new owner."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        outage_seconds = await held_back(stage, transaction_timeout_seconds=1, takeover=False)
        assert 0.5 < outage_seconds < 10
        outage_seconds = await held_back(stage, transaction_timeout_seconds=60, takeover=True)
        assert outage_seconds < 10


async def test_a_frozen_worker_inside_a_transaction_holds_readers_back_for_its_timeout_only_and_counts_nothing_twice(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    """It stays a member, so nobody takes over: the broker alone ends the transaction. Awake again, it opens the partition anew."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        file = tmp_path / "happened"
        worker = stage.start(
            program=("tests.engine_stuck", "stopped before a commit", str(file)),
            transaction_timeout_seconds=stage.settings.transaction_timeout_seconds,
            session_timeout_seconds=30,
        )
        await stage.send(10)
        await stage.output_reaches(10)
        process = psutil.Process(worker.process.pid)
        file.touch()
        await stage.send(10)
        await until(lambda: process.status() == psutil.STATUS_STOPPED, "the worker is frozen, with everything sent but the commit")
        frozen = time.monotonic()
        # What others write after that is behind the open transaction, too.
        after = await stage.producer.send_and_wait(stage.output, b"after", partition=0)
        async with stage.output_reader() as read:
            seen = 0
            while seen < 11:
                seen += await read()
                assert time.monotonic() - frozen < READERS_HELD_BACK_SECONDS_MAX
        held_back_seconds = time.monotonic() - frozen
        print(f"readers were held back for {held_back_seconds:.1f} s")
        assert held_back_seconds > 1, "they were held back at all"
        file.unlink()
        worker.signal(signal.SIGCONT)
        await stage.output_reaches(21)
        assert worker.log.count("checkpoint of partition 0 failed") == 1
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK
        told = [orjson.loads(output.value or b"")["offset"] for output in await stage.read(stage.output) if output.offset != after.offset]
        assert told == list(range(20))


async def held_back(stage: Stage, *, transaction_timeout_seconds: float, takeover: bool) -> float:
    """Seconds from an owner's death until a read_committed reader gets what somebody else wrote after the death."""
    settings = stage.settings.model_copy(update={"transaction_timeout_seconds": transaction_timeout_seconds})
    names = TopicNames(stage.group, stage.source, stage.changelog, stage.journal)

    def owner() -> Transactions:
        return Transactions(settings, transactional_id=f"{stage.group}-0", partition=0, names=names)

    def row(value: bytes) -> Drained:
        return Drained([(b"m", value)], [Output(topics.DELTAS, None, value)], [], 0)

    dying, seen = owner(), len(await stage.read(stage.output))
    await dying.start()
    sent = asyncio.Event()

    async def die() -> None:
        sent.set()
        await asyncio.Event().wait()

    dying._producer.commit_transaction = die
    commit = asyncio.create_task(dying.commit(dying.encode(row(b"never committed"))))
    await sent.wait()
    commit.cancel()
    died = time.monotonic()
    await stage.producer.send_and_wait(stage.output, b"after", partition=0)
    if takeover:
        heir = owner()
        await heir.start()
        await heir.stop()

    async def readable() -> bool:
        return len(await stage.read(stage.output)) == seen + 1

    await until(readable, "the reader is no longer held back")
    held_seconds = time.monotonic() - died
    await dying.stop()
    return held_seconds


async def test_topics_that_do_not_fit_are_refused(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path, partitions=2) as stage:
        other_count, other_name = stage.start(partitions=4), stage.start(app=f"{unique}-x")
        assert await other_count.ended() == TopicsError.exit_code
        assert f"topic {stage.source} has 2 partitions and the machine 4" in other_count.log
        assert await other_name.ended() == TopicsError.exit_code
        assert f"topic {unique}-x-toy-changelog does not exist" in other_name.log


async def test_sigterm_before_the_group_is_joined_ends_it_too(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start()
        await until(lambda: "starting" in worker.log, "the worker starts")
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK

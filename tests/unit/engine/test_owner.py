"""When an owner folds, what it refuses, and when a checkpoint is due. Kafka is replaced by a list of what was committed."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson
import pytest
from aiokafka.errors import ProducerClosed

from streamer.engine.batches import Batch
from streamer.engine.checkpoint import Committed, Transactions
from streamer.engine.clocks import Linger
from streamer.engine.driver import Fetched
from streamer.engine.owner import CLOCK_STEP_MS, Owner, RangeError
from streamer.metrics.pipeline import Pipeline
from streamer.processor import MARKER_KEY, LogRecord
from streamer.settings import Settings
from tests.engine_support import until
from tests.engine_toy import Counter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.processor import Drained

EPOCH = 7


class Entry(NamedTuple):
    """What a checkpoint would write."""

    drained: Drained
    journal: list[bytes]


class Recorder:
    """Stands for the broker: remembers what is committed, when `gate` lets it."""

    def __init__(self) -> None:
        self.committed: list[Entry] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = 0
        self.refusal: Exception | None = None
        self.stopped = 0
        self.time_ms: int | None = None

    def encode(self, drained: Drained, journal: Iterable[bytes] = ()) -> Entry:
        return Entry(drained, list(journal))

    async def commit(self, entry: Entry) -> Committed:
        if self.stopped:
            raise ProducerClosed
        self.begun += 1
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.committed.append(entry)
        return Committed(entry.drained.next_offset, 100, 10, self.time_ms, time.monotonic())

    async def stop(self) -> None:
        self.stopped += 1
        await asyncio.sleep(0)


class Bench(NamedTuple):
    owner: Owner
    broker: Recorder
    failures: list[BaseException]


def bench(linger_seconds: float = 0.02, record: LogRecord | None = None, **settings: Any) -> Bench:
    processor = Counter(0)
    processor.process((), 10)
    if record is not None:
        processor.process([record], record.offset + 1)
    broker = Recorder()
    owner = Owner(
        0,
        processor,
        cast("Transactions", broker),
        next_offset=processor.next_offset or 0,
        changelog_end=0,
        settings=Settings(**{"checkpoint_interval_seconds": 30, **settings}),
        linger=Linger(linger_seconds, 1.0),
        pipeline=Pipeline("toy"),
    )
    failures: list[BaseException] = []
    owner.start(EPOCH, lambda _, error: failures.append(error))
    return Bench(owner, broker, failures)


def batch(start: int, end: int, *, key: bytes = b"k", epoch: int = EPOCH) -> Batch:
    return Batch("t", 0, [LogRecord(offset, 1_000 + offset, key, b"v") for offset in range(start, end)], start=start, end=end, epoch=epoch)


def caught_up(offset: int) -> Fetched:
    return Fetched(offset, offset, offset, 0.1)


async def test_a_batch_of_another_epoch_is_dropped() -> None:
    owner, _, _ = bench()
    owner.fold(batch(10, 15, epoch=EPOCH - 1), None)
    assert owner.next_offset == 10
    owner.fold(batch(500, 505, epoch=EPOCH + 1), None)
    assert owner.processor.accounting["consumed"] == 0


@pytest.mark.parametrize("stamps", [True, False])
async def test_a_wall_clock_that_is_ahead_when_a_partition_is_opened_moves_no_clock(stamps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless Kafka stamps no records: then nobody can say what time it is there."""
    now_ms = round(time.time() * 1000)
    ahead = SimpleNamespace(time_ns=lambda: (now_ms + 3_600_000) * 1_000_000, monotonic=time.monotonic)
    monkeypatch.setattr("streamer.engine.owner.time", ahead)
    owner, broker, _ = bench(record=LogRecord(10, now_ms - 5_000, b"k", b"v"))
    assert not owner.tick(caught_up(11))
    clock_ms = owner.processor.clock_ms
    broker.time_ms = now_ms if stamps else None
    owner.commit_soon()
    await until(lambda: bool(broker.committed), "a checkpoint")
    while owner.tick(caught_up(11)):
        pass
    passed_seconds = (owner.processor.clock_ms - clock_ms) / 1000
    assert 5 <= passed_seconds < 60 if stamps else passed_seconds >= 3600
    await owner.stop()


async def test_a_clock_that_has_hours_to_go_lets_everything_else_have_its_turn() -> None:
    owner, _, _ = bench()
    now_ms = round(time.time() * 1000)
    owner.processor.process([LogRecord(10, now_ms - 7_190_000, b"k", b"v")], 11)  # 12 steps, whether or not a few seconds pass meanwhile
    owner.next_offset = 11
    owner.idle.tell(now_ms, time.monotonic())
    owner.idle.observe(owner.processor.reference, monotonic=time.monotonic())
    begun_ms = owner.processor.clock_ms
    steps = [owner.processor.clock_ms]
    while owner.tick(caught_up(11)):
        steps.append(owner.processor.clock_ms)
    assert owner.processor.clock_ms - begun_ms >= 7_190_000
    assert len(steps) == 12
    assert max(later - earlier for earlier, later in pairwise(steps)) <= CLOCK_STEP_MS
    await owner.stop()
    assert not owner.tick(caught_up(11)), "it has been given up"


async def test_a_range_above_the_next_offset_is_fatal_also_if_it_has_no_records() -> None:
    owner, _, _ = bench()
    with pytest.raises(RangeError, match="at offset 10 and got records from 11"):
        owner.fold(Batch("t", 0, [], start=11, end=12, epoch=EPOCH), None)


async def test_an_overlapping_batch_is_trimmed_and_an_old_one_ignored() -> None:
    owner, _, _ = bench()
    owner.fold(batch(10, 15), None)
    owner.fold(batch(10, 15), None)
    owner.fold(batch(12, 17), None)
    assert owner.next_offset == 17
    assert owner.processor.accounting["consumed"] == 7


async def test_offsets_without_records_move_the_next_offset_and_cost_no_checkpoint() -> None:
    owner, broker, _ = bench(checkpoint_interval_seconds=0.01)
    owner.fold(Batch("t", 0, [], start=10, end=25, epoch=EPOCH), caught_up(25))
    assert owner.next_offset == owner.processor.next_offset == 25
    await asyncio.sleep(0.05)
    assert broker.begun == 0


async def test_a_close_commits_a_position_that_only_offsets_without_records_moved() -> None:
    """State that is kept would be ahead of the group's offset otherwise, and opening it again would take that for somebody's doing."""
    owner, broker, _ = bench()
    owner.fold(Batch("t", 0, [], start=10, end=25, epoch=EPOCH), caught_up(25))
    await owner.close()
    assert [entry.drained.next_offset for entry in broker.committed] == [25]


async def test_nothing_pending_nothing_written() -> None:
    owner, broker, _ = bench(checkpoint_interval_seconds=0.01)
    await owner.checkpoint()
    owner.fold(batch(10, 12), None)
    await until(lambda: bool(len(broker.committed) == 1), "the broker has it")
    await owner.close()
    assert len(broker.committed) == 1


async def test_events_wait_for_the_interval_and_close_commits_them() -> None:
    owner, broker, _ = bench()
    owner.fold(batch(10, 12), caught_up(12))
    await asyncio.sleep(0.1)
    assert broker.begun == 0
    await owner.close()
    assert broker.committed[0].drained.next_offset == 12
    assert owner.changelog_end == 100


async def test_an_alert_waits_for_the_linger_only() -> None:
    owner, broker, _ = bench()
    owner.fold(batch(10, 11, key=b"alert"), caught_up(11))
    await until(lambda: bool(broker.committed), "the broker has it", 10)  # long before the interval is over


async def test_with_a_backlog_an_alert_waits_like_everything_else() -> None:
    owner, broker, _ = bench()
    owner.fold(batch(10, 11, key=b"alert"), Fetched(11, 1_000_000, 1_000_000, 0.1))
    await asyncio.sleep(0.1)
    assert broker.begun == 0


async def test_enough_events_are_due_at_once_and_folding_waits_while_the_last_commit_is_in_flight() -> None:
    owner, broker, _ = bench(checkpoint_events=5)
    broker.gate.clear()
    owner.fold(batch(10, 15), None)
    await owner.room()
    assert owner.processor.pending.events == 0, "drained: folding may go on while it is committed"
    owner.fold(batch(15, 20), None)
    waiting = asyncio.create_task(owner.room())
    await asyncio.sleep(0.02)
    assert not waiting.done(), "the next one is due and the last is not committed"
    assert broker.begun == 1
    broker.gate.set()
    await waiting
    await until(lambda: bool([entry.drained.next_offset for entry in broker.committed] == [15, 20]), "the broker has it")


async def test_folding_waits_for_a_commit_that_is_overdue_though_little_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else pieces that take seconds would keep it from its transaction's end for ever: fold, one step of the commit, fold, ..."""
    owner, broker, _ = bench(checkpoint_events=5)
    broker.gate.clear()
    owner.fold(batch(10, 15), None)
    await until(lambda: owner.commit_began is not None, "the commit is in flight")
    async with asyncio.timeout(1):
        await owner.room()
    monkeypatch.setattr("streamer.engine.owner.COMMIT_SECONDS_ALONGSIDE", 0.0)
    waiting = asyncio.create_task(owner.room())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    broker.gate.set()
    await waiting
    assert len(broker.committed) == 1


async def test_rows_and_offset_of_a_checkpoint_are_of_one_moment() -> None:
    owner, broker, _ = bench(checkpoint_events=5)
    broker.gate.clear()
    owner.fold(batch(10, 15), None)
    await owner.room()
    owner.fold(batch(15, 18), None)
    broker.gate.set()
    await until(lambda: bool(broker.committed), "the broker has it")
    rows = dict(broker.committed[0].drained.rows)
    assert rows[b"ck"] == b"5"
    assert orjson.loads(rows[MARKER_KEY] or b"")["next"] == 15


async def test_silence_moves_the_clock_only_while_caught_up() -> None:
    owner, broker, _ = bench()
    owner.tick(Fetched(10, 11, 11, 0.1))
    owner.tick(Fetched(10, 10, 10, 5.0))
    owner.tick(None)
    owner.tick(caught_up(10))
    assert owner.processor.clock_ms == 0, "nobody has told the time"
    owner.idle.tell(round(time.time() * 1000), time.monotonic())
    owner.tick(Fetched(10, 11, 11, 0.1))
    owner.tick(Fetched(10, 10, 10, 5.0))
    assert owner.processor.clock_ms == 0
    owner.tick(caught_up(10))
    assert owner.processor.clock_ms > 0
    await owner.close()
    assert len(broker.committed[0].drained.journal) == 1


async def test_what_the_engine_journals_precedes_what_the_processor_does() -> None:
    owner, broker, _ = bench()
    owner.journal(b"lost")
    await owner.close()
    assert broker.committed[0].journal == [b"lost"]


async def test_a_failed_commit_is_reported_once_and_never_retried() -> None:
    owner, broker, failures = bench(checkpoint_interval_seconds=0.01)

    broker.refusal = OSError("gone")
    owner.fold(batch(10, 12), None)
    await until(lambda: bool(failures), "the broker has it")
    await asyncio.sleep(0.05)
    assert [str(error) for error in failures] == ["gone"]
    assert broker.begun == 1


async def test_a_checkpoint_whose_records_are_not_all_accounted_for_is_a_fault_and_writes_nothing() -> None:
    owner, broker, failures = bench(checkpoint_interval_seconds=0.01)
    owner.fold(batch(10, 15, key=b"miscount"), None)
    await until(lambda: bool(failures), "the checkpoint is refused")
    assert str(failures[0]) == (
        "partition 0 has consumed 5 records and accounts for applied 0 + duplicate 0 + late 0 + dead_lettered 0 + ignored 0"
    )
    assert broker.begun == 0


async def test_a_partition_that_is_given_up_has_no_lag_any_more_also_while_its_owner_disconnects() -> None:
    owner, broker, _ = bench()

    def lag() -> float | None:
        return owner._pipeline.registry.get_sample_value("streamer_source_lag_records", {"partition": "0", "role": "toy"})

    owner.tick(Fetched(10, 5_010, 5_020, 0.1))
    assert lag() == 5_010, "what nobody may read yet waits, too"
    disconnected = asyncio.Event()

    async def stop() -> None:
        await disconnected.wait()

    broker.stop = stop  # type: ignore[method-assign]
    closing = asyncio.create_task(owner.close())
    await until(lambda: lag() is None, "the partition is given up")
    owner.tick(Fetched(10, 5_010, 5_020, 0.1))
    disconnected.set()
    await closing
    assert lag() is None


async def test_a_closed_owner_folds_nothing_and_holds_nobody_up() -> None:
    owner, _, _ = bench(checkpoint_events=5)
    await owner.close()
    owner.fold(batch(10, 15), None)
    await owner.room()
    assert owner.next_offset == 10

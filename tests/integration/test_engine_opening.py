"""When the state that a process kept may be used again, seen in one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from streamer import topics
from streamer.engine.clocks import Linger
from streamer.engine.machine import Machine
from streamer.engine.opening import Kept, Opener
from streamer.engine.restore import changelog_reader
from streamer.metrics.pipeline import Pipeline
from tests.engine_support import stage_of, until
from tests.engine_toy import MACHINE, Counter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from streamer.engine.owner import Owner
    from streamer.processor import Record, WriteBehindProcessor

pytestmark = pytest.mark.integration


async def test_kept_state_is_used_again_unless_somebody_wrote_since(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        machine = Machine(MACHINE, topics.TOUCHPOINTS, 1, Counter)
        opener = Opener(machine, stage.settings, linger=Linger(0.05, 1.0), pipeline=Pipeline(MACHINE))

        async def reopened(kept: Kept | None) -> Owner:
            return await opener.open(0, kept, lambda: None)

        first = await reopened(None)
        clock_ms = first.processor.clock_ms
        assert clock_ms == 0, "never written, nothing in the source: the broker will tell what time it is"
        first.processor.advance(clock_ms := 1_700_000_000_000)
        await first.close()
        assert first.changelog_end is not None
        kept = Kept(first.processor, first.changelog_end, first.idle, first.source_id)

        same = await reopened(kept)
        assert same.processor is first.processor
        assert same.idle is first.idle, "a rebalance asks no clock"
        await same.close()

        other = await reopened(None)
        assert other.processor is not first.processor
        assert other.idle is not first.idle
        assert other.processor.clock_ms == clock_ms, "restored from the changelog"
        other.processor.advance(clock_ms + 5)
        other.commit_soon()
        await other.close()

        stale = await reopened(kept)
        assert stale.processor is not first.processor
        assert stale.processor.clock_ms == clock_ms + 5
        await stale.close()


async def test_opening_fences_the_older_owner(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        machine = Machine(MACHINE, topics.TOUCHPOINTS, 1, Counter)
        opener = Opener(machine, stage.settings, linger=Linger(0.05, 1.0), pipeline=Pipeline(MACHINE))
        older = await opener.open(0, None, lambda: None)
        newer = await opener.open(0, None, lambda: None)
        for owner in (older, newer):
            owner.journal(b"{}")
        with pytest.raises(ProducerFenced):
            await older.checkpoint()
        await newer.close()
        await older.abandon()
        assert len(await stage.read(stage.journal)) == 1


async def test_folding_again_tells_of_progress_only_when_it_moves(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """The watchdog ends a worker whose opening does not move; a source that gives nothing must not look like one that moves."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(5, partition=0)
        source, changelog = TopicPartition(stage.source, 0), TopicPartition(stage.changelog, 0)
        turns: list[int] = []
        progressed: list[int] = []

        class Refolding:
            def refold(self, records: Sequence[Record], end: int, *, complete: bool = True) -> None:
                turns.append(end)

        async with changelog_reader(stage.settings, group=stage.group, changelog=changelog, source=source) as reader:
            await reader.group_offset()  # as an opening does before it folds
            refolding = cast("WriteBehindProcessor", Refolding())
            # More than there is: as if the rest could not be fetched.
            work = asyncio.create_task(reader.refold(refolding, 0, 6, complete=True, progress=lambda: progressed.append(turns[-1])))
            await until(lambda: turns.count(5) >= 3, "it has come to the end, and turns")
            work.cancel()
            await asyncio.wait([work])
        assert progressed[-1] == 5
        assert progressed == sorted(set(progressed)), "once for each place it came to"

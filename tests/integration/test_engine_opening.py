"""When the state that a process kept may be used again, seen in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import ProducerFenced

from streamer import topics
from streamer.engine.clocks import Linger
from streamer.engine.machine import Machine
from streamer.engine.opening import Kept, Opener
from streamer.metrics.pipeline import Pipeline
from tests.engine_support import stage_of
from tests.engine_toy import MACHINE, Counter

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from streamer.engine.owner import Owner

pytestmark = pytest.mark.integration


async def test_kept_state_is_used_again_unless_somebody_wrote_since(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        machine = Machine(MACHINE, topics.TOUCHPOINTS, 1, Counter)
        opener = Opener(machine, stage.settings, linger=Linger(0.05, 1.0), pipeline=Pipeline(MACHINE))

        async def reopened(kept: Kept | None) -> Owner:
            return await opener.open(0, kept, lambda: None)

        first = await reopened(None)
        clock_ms = first.processor.clock_ms
        assert clock_ms > 0, "never written, nothing in the source: it begins with a start clock"
        await first.close()
        assert first.changelog_end is not None
        kept = Kept(first.processor, first.changelog_end)

        same = await reopened(kept)
        assert same.processor is first.processor
        await same.close()

        other = await reopened(None)
        assert other.processor is not first.processor
        assert other.processor.clock_ms == clock_ms, "restored from the changelog"
        other.processor.advance(clock_ms + 5)
        other.mark_changed()
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
        with pytest.raises(ProducerFenced):
            await older.checkpoint()
        await newer.close()
        await older.abandon()
        assert len(await stage.read(stage.journal)) == 1

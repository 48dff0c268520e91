"""Workers come, go, die and freeze; each event still counts once."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from streamer.engine.exits import Exit
from tests.engine_support import PATIENCE_SECONDS, SESSION_SECONDS, stage_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from tests.engine_support import Worker

pytestmark = pytest.mark.integration


async def test_joins_leaves_and_kill_9_lose_and_double_nothing(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path, partitions=4) as stage, stage.traffic():
        first = stage.start()
        await until(lambda: first.owned == [0, 1, 2, 3], "the first worker owns everything")
        restored = first.log.count("restored")
        second = stage.start()
        await until(lambda: len(first.owned or ()) == 2 and len(second.owned or ()) == 2, "both own half")
        assert first.log.count("restored") == restored, "what the first worker kept in the rebalance was not read again"
        assert await first.tells("table") > 0
        await until(lambda: first.said.get("table") == first.said.get("rows", 0), "Faust's table shows every row")

        first.signal(signal.SIGTERM)
        assert await first.ended() == Exit.OK
        left = time.monotonic()
        await until(lambda: second.owned == [0, 1, 2, 3], "the second takes over")
        assert time.monotonic() - left < SESSION_SECONDS, "the first left the group: nobody waits for its session to time out"

        third = stage.start()
        await until(lambda: len(third.owned or ()) == 2, "the third joins")
        second.signal(signal.SIGKILL)
        await until(lambda: third.owned == [0, 1, 2, 3], "the third takes over")
        await stage.finish(third)
        assert await stage.nothing_lost_or_doubled() > 1000


def renewed(worker: Worker, times: int) -> bool:
    return worker.log.count("restored") >= times


async def test_partitions_renewed_under_load_in_rebalances_and_before_a_kill_9_lose_and_double_nothing(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    async with stage_of(kafka, unique, tmp_path, partitions=4) as stage, stage.traffic():
        first = stage.start()
        await until(lambda: first.owned == [0, 1, 2, 3], "the first worker owns everything")
        opened = first.log.count("restored")
        for _ in range(2):
            first.signal(signal.SIGUSR1)
            await until(partial(renewed, first, opened + 4), "each partition is opened once more")
            opened = first.log.count("restored")
        consumed = await first.tells("consumed")
        await until(lambda: first.said.get("consumed", 0) > consumed, "it goes on folding")
        second = stage.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(second.owned or ()) != 2:  # whenever it joins, the first is renewing
                assert first.process.poll() is None, f"the first ended: {first.log[-3000:]}"
                first.signal(signal.SIGUSR1)
                await asyncio.sleep(0.3)
        first.signal(signal.SIGUSR1)
        second.signal(signal.SIGUSR1)
        first.signal(signal.SIGKILL)
        await until(lambda: second.owned == [0, 1, 2, 3], "the second takes over")
        second.signal(signal.SIGUSR1)
        await stage.finish(second)
        assert await stage.nothing_lost_or_doubled() > 1000


async def test_a_standby_without_partitions_takes_over_from_a_frozen_owner_and_the_zombie_exits(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage, stage.traffic():
        # With so long an interval it always holds what is not committed: it must not commit that after the takeover.
        owner = stage.start(checkpoint_interval_seconds=60)
        await until(lambda: owner.owned == [0], "one owns the partition")
        standby = stage.start()
        await until(lambda: owner.owned == [0] and standby.owned == [], "the other stands by, and says it is ready")
        consumed = await owner.tells("consumed")
        await until(lambda: owner.said.get("consumed", 0) > consumed, "the owner folds")
        owner.signal(signal.SIGSTOP)
        await until(lambda: standby.owned == [0], "the standby takes over")
        owner.signal(signal.SIGCONT)
        assert await owner.ended() == Exit.FENCED
        await stage.finish(standby)
        assert await stage.nothing_lost_or_doubled() > 0


async def test_a_restore_longer_than_the_session_does_not_eject_the_member_and_a_join_meanwhile_waits(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    async with stage_of(kafka, unique, tmp_path, partitions=2) as stage:
        await stage.send(100)
        first = stage.start()
        await stage.output_reaches(100)
        await stage.finish(first)
        # Two partitions, one after the other: the event loop is blocked for longer than a session.
        slow = stage.start(restore_seconds=SESSION_SECONDS * 0.75)
        await until(lambda: "starting" in slow.log, "it starts")
        other = stage.start()
        await until(lambda: len(slow.owned or ()) == 1 and len(other.owned or ()) == 1, "they share")
        assert "session expired" not in slow.log
        await stage.send(100)
        await stage.output_reaches(200)
        other.signal(signal.SIGTERM)
        assert await other.ended() == Exit.OK
        await until(lambda: slow.owned == [0, 1], "it takes over")
        await stage.finish(slow)
        assert await stage.nothing_lost_or_doubled() == 200

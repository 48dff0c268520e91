"""Whatever hangs in a worker ends it within half a minute, with its code and one line that says what hung; nothing is lost or doubled.

The limit is shorter here than by default; that the default keeps the promise too is in tests/unit/engine/test_watchdog.py.
"""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING, Final

import pytest

from streamer.engine.exits import Exit
from tests.engine_support import stage_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from tests.engine_support import Stage, Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LIMIT_SECONDS: Final = 5
PROMISED_SECONDS: Final = 30


class Fault:
    """A worker in which something hangs once `happen` was called."""

    def __init__(self, stage: Stage, name: str, directory: Path) -> None:
        self._file = directory / "happened"
        self._began = 0.0
        self.worker: Worker = stage.start(program=("tests.engine_stuck", name, str(self._file)), watchdog_seconds=LIMIT_SECONDS)

    def happen(self) -> None:
        self._file.touch()
        self.begins()

    def begins(self) -> None:
        """The fault, from here on."""
        self._began = time.monotonic()

    async def ends_the_worker(self, because: str) -> None:
        """Within what is promised, with the watchdog's code, and its one line as the last of the log."""
        assert await self.worker.ended() == Exit.STUCK
        took_seconds = time.monotonic() - self._began
        print(f"{because}: {took_seconds:.1f} s")
        assert took_seconds <= PROMISED_SECONDS
        (line,) = [line for line in self.worker.log.splitlines() if " CRITICAL " in line]
        assert self.worker.log.splitlines()[-1] == line
        assert re.search(rf" CRITICAL streamer\.engine\.exits {because}.* \(exit code {Exit.STUCK}\)$", line), line


async def test_a_parked_coordinator_of_a_standby_ends_it(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """aiokafka waits for somebody to take the error; a standby fetches nothing, so nobody would."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        owner = stage.start()
        await until(lambda: owner.owned == [0], "the owner is ready")
        fault = Fault(stage, "coordinator parked", tmp_path)
        await until(lambda: fault.worker.owned == [], "the standby is ready")
        fault.happen()
        owner.signal(signal.SIGTERM)  # the standby is to take over
        await fault.ends_the_worker("the group's coordinator gave up: ")
        await stage.send(10)
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 10


async def test_a_coordinator_that_takes_no_heartbeat_ends_the_owner(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        fault = Fault(stage, "heartbeats stuck", tmp_path)
        await until(lambda: fault.worker.owned == [0], "the worker is ready")
        fault.happen()
        await fault.ends_the_worker("the group's coordinator has taken no heartbeat for ")


async def test_a_stuck_restore_ends_the_opener(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """The broker answers and brings nothing of the changelog: heartbeats go on, and the group takes the worker for well."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        await stage.finish(stage.start())
        fault = Fault(stage, "restore stuck", tmp_path)
        fault.happen()
        await fault.ends_the_worker("opening partitions has not moved for ")
        await stage.send(10)
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 20


async def test_a_blocked_event_loop_of_the_consumer_ends_the_worker(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """The main loop turns, and so do the metrics; that of the other thread, in which the consumer lives, does not."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        fault = Fault(stage, "consumer blocked", tmp_path)
        await until(lambda: fault.worker.owned == [0], "the worker is ready")
        fault.happen()
        await fault.ends_the_worker("the consumer's event loop has not turned for ")


async def test_a_blocked_event_loop_ends_the_worker(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        fault = Fault(stage, "commit stuck", tmp_path)  # which does not happen here
        await until(lambda: fault.worker.owned == [0], "the worker is ready")
        fault.begins()
        await stage.producer.send_and_wait(stage.source, b"x", b"stall", partition=0)
        await fault.ends_the_worker("the event loop has not turned for ")


async def test_lag_without_progress_ends_the_owner(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """Loops turn, heartbeats are taken, and records lie there."""
    async with stage_of(kafka, unique, tmp_path) as stage, stage.traffic():
        fault = Fault(stage, "lag without progress", tmp_path)
        await stage.output_reaches(10)
        fault.happen()
        await fault.ends_the_worker("partition 0 has records and has folded none for ")
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() > 10


async def test_a_commit_without_an_answer_ends_the_owner(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        fault = Fault(stage, "commit stuck", tmp_path)
        await stage.send(10)
        await stage.output_reaches(10)
        fault.happen()
        await stage.send(10)
        await fault.ends_the_worker("a commit of partition 0 has not ended for ")
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 20

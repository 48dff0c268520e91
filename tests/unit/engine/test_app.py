"""How Faust is told to behave: each of these settings keeps a known fault away."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from aiokafka.errors import InvalidSessionTimeoutError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from streamer import topics
from streamer.engine import app as app_module
from streamer.engine.app import Machine, MachineApp, _tick, create_app
from streamer.engine.driver import BatchConsumer, BatchConsumerThread
from streamer.engine.kafka import denial
from streamer.engine.partitions import Partitions
from streamer.engine.tables import StateTable
from streamer.errors import SettingsError
from streamer.metrics.pipeline import Pipeline
from streamer.processor import LogRecord
from streamer.settings import Settings
from tests.engine_toy import MACHINE, Counter
from tests.unit.engine.test_owner import bench


@pytest.fixture
async def app() -> MachineApp:
    settings = Settings(watchdog_seconds=20, rebalance_timeout_seconds=30)
    created = create_app(Machine("toy", topics.TOUCHPOINTS, 4, Counter), settings, Pipeline("toy"))
    created.finalize()
    return created


def folded(partition: int, *keys: bytes) -> Counter:
    counter = Counter(partition)
    counter.process((), 0)
    counter.process([LogRecord(offset, 1, key, b"v") for offset, key in enumerate(keys)], len(keys))
    return counter


async def test_faust_commits_nothing_serves_nothing_and_makes_no_topics(app: MachineApp) -> None:
    assert app.conf.id == "cx-toy"
    assert not app.topics.acks_enabled_for("cx.touchpoints.v1")
    assert app.boot_strategy.enable_web is False
    assert app.boot_strategy.enable_kafka_producer is False
    assert not app.conf.topic_allow_declare
    assert app.conf.topic_disable_leader
    assert not app.conf.stream_wait_empty


async def test_the_assignor_stays_fausts_though_no_changelog_is_registered(app: MachineApp) -> None:
    assert not app.tables.changelog_topics
    assert app.conf.table_standby_replicas > 0


async def test_a_standby_that_never_fetches_stays_in_the_group(app: MachineApp) -> None:
    assert app.conf.broker_max_poll_interval > 365 * 86_400


async def test_faust_never_seeks_to_the_groups_offset(app: MachineApp) -> None:
    consumer = cast("BatchConsumer", app.consumer)
    assert type(consumer).perform_seek is not Consumer.perform_seek
    await consumer.perform_seek()  # asks no thread that has not started


async def test_the_table_is_a_view_of_the_open_partitions_under_fausts_changelog_name(
    app: MachineApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = app.tables["toy"]
    assert isinstance(table, StateTable)
    assert table.changelog_topic_name == "cx-toy-changelog"
    open_partitions = {0: folded(0, b"a", b"a"), 3: folded(3, b"b")}
    monkeypatch.setattr(Partitions, "processors", lambda _: open_partitions)
    assert (table[b"ca"], table[b"cb"], b"cx" in table, len(table), sorted(table)) == (b"2", b"1", False, 2, [b"ca", b"cb"])
    with pytest.raises(KeyError):
        table[b"cx"]
    with pytest.raises(TypeError, match="checkpoints only"):
        table[b"ca"] = b"7"
    with pytest.raises(TypeError, match="checkpoints only"):
        del table[b"ca"]


async def test_what_hangs_first_is_named_with_its_age(app: MachineApp) -> None:
    consumer = cast("BatchConsumer", app.consumer)
    now = time.monotonic()
    app.ticked = now
    assert app.diagnose(now + 19) is None
    assert app.diagnose(now + 25) == "the event loop has not turned for 25.0 s"
    app.ticked = consumer._thread.ticked = now + 25
    assert "heartbeat for 25" in (app.diagnose(now + 25) or "")
    app.rebalancing = True
    assert app.diagnose(now + 25) is None, "joining takes as long as the slowest member needs to hand over"
    app.ticked = consumer._thread.ticked = consumer._thread.beat = now + 60
    assert "the rebalance has not ended for 30" in (app.diagnose(now + 60) or "")


async def test_an_error_the_group_gave_up_with_is_a_hang_at_once(app: MachineApp) -> None:
    consumer = cast("BatchConsumer", app.consumer)
    app.ticked = time.monotonic()
    consumer._thread.error = PermissionError("no access to the group")
    assert app.alive() == "the group's coordinator gave up: no access to the group"


async def test_a_session_that_the_broker_does_not_take_ends_the_process_with_the_setting(
    app: MachineApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException] = []

    def end_for(error: BaseException, doing: str) -> None:
        ended.append(error)
        raise asyncio.CancelledError

    monkeypatch.setattr("streamer.engine.app.end_for", end_for)
    cast("BatchConsumer", app.consumer)._thread.error = InvalidSessionTimeoutError()
    with pytest.raises(asyncio.CancelledError):
        await _tick(app)
    assert isinstance(denial(ended[0]), SettingsError)
    assert "session_timeout_seconds is not within" in str(denial(ended[0]))


@pytest.mark.parametrize(("session_seconds", "watchdog_seconds"), [(10, 25), (300, 25), (10, 2)])
async def test_the_watchdog_sees_several_heartbeats_however_long_the_session(session_seconds: float, watchdog_seconds: float) -> None:
    settings = Settings(session_timeout_seconds=session_seconds, watchdog_seconds=watchdog_seconds)
    conf = create_app(Machine(MACHINE, topics.TOUCHPOINTS, 1, Counter), settings, Pipeline(MACHINE)).conf
    assert conf.broker_heartbeat_interval <= min(session_seconds, watchdog_seconds) / 5


async def test_nothing_is_ready_before_the_first_assignment(app: MachineApp) -> None:
    assert app.ready() == "partitions are being assigned"


async def test_what_was_read_before_a_seek_does_not_hide_what_comes_after_it(app: MachineApp) -> None:
    """A batch of the old position may be handled while a partition is being sought back."""
    offsets = cast("BatchConsumer", app.consumer)._read_offset
    offsets[TP("cx.touchpoints.v1", 0)] = 910
    assert offsets[TP("cx.touchpoints.v1", 0)] is None


async def test_a_member_that_was_let_in_after_a_long_join_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[set[TP]] = []

    async def assigned(_self: Any, partitions: set[TP], _generation: int) -> None:
        told.append(partitions)

    monkeypatch.setattr(BatchConsumerThread.__mro__[1], "on_partitions_assigned", assigned)
    thread = object.__new__(BatchConsumerThread)
    thread.beat, thread.assignments = time.monotonic() - 60, 0  # no heartbeats while it waited for the others
    await thread.on_partitions_assigned({TP("t", 0)}, 7)
    assert time.monotonic() - thread.beat < 10
    assert thread.assignments == 1
    assert told == [{TP("t", 0)}]


async def test_a_partition_that_is_open_and_never_begins_is_told(app: MachineApp, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = bench().owner
    owner.epoch = None
    app.partitions._owners[0] = owner
    app.rebalancing = False
    now = time.monotonic()
    app.ticked = now + 60
    consumer = cast("BatchConsumer", app.consumer)
    consumer._thread.ticked = consumer._thread.beat = now + 60
    assert app.diagnose(now + 15) is None
    assert app.diagnose(now + 25) == f"partition 0 is open and has not begun for {now + 25 - owner.moved:.1f} s"


async def test_a_worker_in_the_middle_of_joining_its_group_ends_in_order(app: MachineApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka leaves a group only once it has joined it, and that takes as long as the slowest member."""
    done: list[str] = []

    async def never() -> None:
        await asyncio.Event().wait()

    async def stop() -> None:
        done.append("stopped")

    consumer = cast("BatchConsumer", app.consumer)
    monkeypatch.setattr(consumer, "leave", never)
    monkeypatch.setattr(app, "stop", stop)
    monkeypatch.setattr(app_module, "STOP_SECONDS_MAX", 0.05)
    monkeypatch.setattr(app_module, "_exit_soon", lambda code: done.append(f"code {int(code)}"))
    started = asyncio.create_task(asyncio.sleep(0))
    await started
    await app_module._stop(app, cast("Any", started))
    assert done == ["code 0", "stopped"]

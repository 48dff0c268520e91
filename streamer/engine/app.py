"""The Faust application of a machine, and the process around it.

Faust does group membership, assignment and delivery; it commits nothing and keeps no state:
- a fetched batch reaches the agent as one event (`driver.py`);
- partitions are opened in the awaited signal `on_rebalance_complete`, when heartbeats run and the streams are still paused
  (inside the rebalance callback there are no heartbeats, and a long restore would eject the member), and closed in the
  awaited signal `on_partitions_revoked`;
- the checkpoint's transaction commits the source offset together with the state (`checkpoint.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, cast

import faust
import uvloop
from aiokafka.errors import KafkaError

from streamer.engine.clocks import Linger
from streamer.engine.driver import BatchConsumer, BatchTransport
from streamer.engine.exits import Exit, end_for
from streamer.engine.kafka import client_options, denial
from streamer.engine.machine import Machine
from streamer.engine.partitions import Partitions
from streamer.engine.preflight import check_topics
from streamer.engine.tables import OwnTableManager, StateTable
from streamer.engine.watchdog import Watchdog
from streamer.errors import SettingsError, StreamerError
from streamer.metrics.pipeline import Pipeline
from streamer.topics import changelog_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from faust.types.auth import CredentialsT

    from streamer.processor import Processor
    from streamer.settings import Settings

__all__ = ["Machine", "MachineApp", "create_app", "run"]

logger = logging.getLogger(__name__)

# Batches waiting for the agent. Few: a batch has thousands of records, and what waits at a rebalance is fetched again.
BATCHES_BUFFERED: Final = 8
# Below the broker's limit on a message, so that one fetch can always bring at least one.
FETCH_BYTES: Final = 4 << 20
TICK_SECONDS: Final = 0.5
# So soon is it seen that somebody gave the source more partitions.
METADATA_SECONDS: Final = 20.0
STOP_SECONDS_MAX: Final = 5.0
NEVER_SECONDS: Final = 10 * 365 * 86_400.0


class MachineApp(faust.App):
    """A Faust app that runs one machine."""

    logger = logging.getLogger("faust.app")  # quiet: what users need to know is logged elsewhere
    partitions: Partitions
    ticked: float = 0.0

    def _create_directories(self) -> None:
        """Nothing: there are no files."""

    def on_rebalance_end(self) -> None:
        """The streams run again."""
        super().on_rebalance_end()
        self.partitions.start_opened()

    def owners(self) -> Mapping[int, Processor]:
        """The processors of the partitions this process owns, by partition."""
        return self.partitions.processors()

    def ready(self) -> str | None:
        """None if everything assigned is restored, a standby with nothing assigned included; else the reason."""
        if self.rebalancing or not self.partitions.assigned:
            return "partitions are being assigned"
        if any(owner.epoch is None for owner in self.partitions.owners):
            return "partitions are being opened"
        return None

    def alive(self) -> str | None:
        """None if the event loops turn and nothing hangs; else what does."""
        return self.diagnose(time.monotonic())

    def diagnose(self, now: float) -> str | None:
        """What hangs, judged at `now` on the monotonic clock. Safe to call from another thread."""
        limit = self.partitions.settings.watchdog_seconds
        consumer = cast("BatchConsumer", self.consumer)
        if consumer.group_error is not None and not _is_of_a_setting(consumer.group_error):
            return f"the group's coordinator gave up: {consumer.group_error}"
        # Joining takes as long as the slowest member takes to hand over; there are no heartbeats meanwhile.
        joining = self.partitions.settings.rebalance_timeout_seconds if self.rebalancing else 0.0
        ages = {
            "the event loop has not turned": now - self.ticked,
            "the consumer's event loop has not turned": now - consumer.thread_ticked,
            "the group's coordinator has taken no heartbeat": now - consumer.heartbeat - joining,
        }
        if self.rebalancing:
            ages["the rebalance has not ended"] = now - max(self.partitions.rebalance_began, self.partitions.progressed) - joining
        if self.partitions.is_opening:
            ages["opening partitions has not moved"] = now - self.partitions.progressed
        for owner in list(self.partitions.owners):
            if owner.commit_began is not None:
                ages[f"a commit of partition {owner.partition} has not ended"] = now - owner.commit_began
            if owner.epoch is not None:
                ages[f"partition {owner.partition} has records and has folded none"] = now - owner.moved
            elif not (self.rebalancing or self.partitions.is_opening or self.partitions.is_closing):
                ages[f"partition {owner.partition} is open and has not begun"] = now - owner.moved
        if max(ages.values()) <= limit:
            return None
        # One hang shows in several ages, the causes first; they began about when their effect did.
        what, age = next((what, age) for what, age in ages.items() if age > limit - 4 * TICK_SECONDS)
        return f"{what} for {age:.1f} s"


def create_app(machine: Machine, settings: Settings, pipeline: Pipeline) -> MachineApp:
    """The app of a machine, not started yet."""
    app = MachineApp(
        machine.group(settings),
        broker=[f"kafka://{address.strip()}" for address in settings.kafka_bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=machine.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=BATCHES_BUFFERED,
        # At least one: without tables of its own kind Faust would fall back to another assignor otherwise.
        table_standby_replicas=1,
        TableManager=OwnTableManager,
        broker_max_poll_records=settings.fetch_max_records,
        # A standby fetches nothing, and would leave the group for ever after this long. The watchdog judges progress instead.
        broker_max_poll_interval=NEVER_SECONDS,
        broker_session_timeout=settings.session_timeout_seconds,
        # The watchdog takes a coordinator for hung that has not answered one for its time, however long the session may be.
        broker_heartbeat_interval=min(settings.session_timeout_seconds, settings.watchdog_seconds) / 5,
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        broker_request_timeout=max(settings.session_timeout_seconds, settings.watchdog_seconds),
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_metadata_max_age_ms=int(METADATA_SECONDS * 1000),
    )
    app.boot_strategy.enable_web = False
    app.boot_strategy.enable_kafka_producer = False
    app.transport = BatchTransport(app.conf.broker_consumer, app, fetch_max_wait_ms=int(settings.fetch_max_wait_seconds * 1000))
    linger = Linger(settings.alert_linger_seconds, settings.checkpoint_interval_seconds)
    app.partitions = Partitions(machine, settings, consumer=lambda: cast("BatchConsumer", app.consumer), linger=linger, pipeline=pipeline)
    table = StateTable(app, name=machine.name, owners=app.owners, changelog=changelog_name(settings.app, machine.name))
    app.tables.add(table)
    _connect(app, app.topic(settings.topic(machine.source), key_serializer="raw", value_serializer="raw", acks=False))
    return app


def _credentials(settings: Settings) -> CredentialsT | None:
    """What `client_options` says, in Faust's words."""
    options = client_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            mechanism=options["sasl_mechanism"],
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _connect(app: MachineApp, source: Any) -> None:
    """The agent, and the two moments of a rebalance."""

    # With acknowledgements Faust would keep a tree of the offsets between the batches, ever growing.
    @app.agent(source, name=f"{app.conf.id}.fold")
    async def fold(stream: Any) -> AsyncIterator[None]:
        try:
            async for event in stream.noack().events():
                await app.partitions.deliver(event.value)
                if False:
                    yield
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            end_for(exc, "folding a batch")  # Faust would acknowledge the batch and go on

    @app.on_rebalance_complete.connect
    async def open_partitions(*_args: Any, **_kwargs: Any) -> None:
        try:
            await app.partitions.open_assigned()
        except Exception as exc:
            end_for(exc, "opening the partitions")

    @app.on_partitions_revoked.connect
    async def close_partitions(*_args: Any, **_kwargs: Any) -> None:
        await app.partitions.close_all()


def run(
    machine: Machine,
    settings: Settings,
    pipeline: Pipeline | None = None,
    beside: Callable[[MachineApp], AbstractAsyncContextManager[Any]] | None = None,
) -> int:
    """Run a machine in this process until SIGTERM or SIGINT; returns the exit code.

    `beside`: something to run as long as the app does, e.g. the endpoint, given the app for `ready`, `alive` and `owners`.
    Faults end the process at once, with the codes of `exits.py` and `streamer.errors`.
    """
    uvloop.install()  # for the consumer's thread as well
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    code = asyncio.run(_serve(machine, settings, pipeline or Pipeline(machine.name), beside))
    _exit_soon(code)
    return code


def _exit_soon(code: int) -> None:
    """End the process in a few seconds if it does not by itself: a finished one must not be kept alive by a connection or a thread."""
    guard = threading.Timer(STOP_SECONDS_MAX, os._exit, (code,))
    guard.daemon = True
    guard.start()


async def _serve(
    machine: Machine,
    settings: Settings,
    pipeline: Pipeline,
    beside: Callable[[MachineApp], AbstractAsyncContextManager[Any]] | None,
) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await check_topics(machine, settings)
        app = create_app(machine, settings, pipeline)
        logger.info("starting %s", machine.group(settings), extra={"action": "start"})
        async with AsyncExitStack() as stack:
            if beside is not None:
                await stack.enter_async_context(beside(app))
            await _run_app(app, settings, stopping)
    except StreamerError as exc:
        logger.error("%s", exc, extra={"action": "refuse", "exit_code": exc.exit_code})
        return exc.exit_code
    return Exit.OK


async def _run_app(app: MachineApp, settings: Settings, stopping: asyncio.Event) -> None:
    app.finalize()
    app.consumer  # noqa: B018  created on the loop it belongs to
    background = [asyncio.create_task(_tick(app)), asyncio.create_task(app.partitions.tick_forever())]
    await asyncio.sleep(0)
    watchdog = Watchdog(settings.watchdog_seconds, app.diagnose)
    watchdog.start()
    starting = asyncio.create_task(app.start())
    crashed = asyncio.create_task(app._crashed.wait())
    stopped = asyncio.create_task(stopping.wait())
    watched = {starting, crashed, stopped, *background}
    while not stopped.done():
        done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            error = task.exception()
            if task is crashed:
                error = app._crash_reason
            if error is not None or task is not starting:
                end_for(error or RuntimeError("it ended by itself"), "the worker")
    await _stop(app, starting)
    watchdog.stop()
    for task in background:
        task.cancel()


async def _stop(app: MachineApp, starting: asyncio.Task[None]) -> None:
    """Commit what is pending, leave the group so that others need not wait for the session to end, end the threads."""
    consumer = cast("BatchConsumer", app.consumer)
    try:
        consumer.stop_flow()
        await app.partitions.close_all(for_good=True)
        if starting.done():
            # In the middle of joining it would wait for the others. They lose nothing but the time until the session is over.
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await consumer.leave()
        logger.info("stopped: everything is committed", extra={"action": "stopped"})
        # Only connections and threads are left. Faust swallows a cancellation while it stops, so no timeout on this loop would do.
        _exit_soon(Exit.OK)
        await app.stop()
    except Exception as exc:
        end_for(exc, "stopping")


def _is_of_a_setting(error: BaseException) -> bool:
    """Rights may come back, and a process that starts anew finds them; a setting does not change by waiting."""
    return isinstance(denial(error), SettingsError)


async def _tick(app: MachineApp) -> None:
    consumer = cast("BatchConsumer", app.consumer)
    while True:
        app.ticked = time.monotonic()
        if (error := consumer.group_error) is not None and _is_of_a_setting(error):
            end_for(error, "joining the group")
        await asyncio.sleep(TICK_SECONDS)

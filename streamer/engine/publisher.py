"""The publisher as a role: its parts put together, its endpoint, its process. What it does is in `delivery.py`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import uvloop
from aiokafka.errors import KafkaError

from streamer.alerts.connection import connect_as
from streamer.alerts.publisher import AlertStore
from streamer.engine.alert_log import AlertLog
from streamer.engine.delivery import Publisher
from streamer.engine.endpoint import Endpoint
from streamer.engine.kafka import denial
from streamer.engine.watchdog import Watchdog
from streamer.errors import DeliveryError, UnreachableError
from streamer.metrics.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamer.settings import Settings

# What a turn may take to end in order: a call to Redis that is being retried, and the group's offset.
STOP_TIMEOUT_SECONDS: Final = 10.0
TICK_SECONDS: Final = 0.5


async def serve(settings: Settings, stop: asyncio.Event, metrics: Pipeline | None = None) -> None:
    """Run a publisher with its endpoint until `stop` is set; raises what `Publisher.run` raises."""
    metrics = metrics or Pipeline("publisher")
    store = AlertStore(
        connect_as(settings),
        prefix=settings.redis_prefix,
        stream_length=settings.alert_stream_length,
        stream_age_seconds=settings.alert_stream_age_seconds,
        storm_limit=settings.alert_storm_limit,
        storm_seconds=settings.alert_storm_seconds,
        installs=True,
        on_command=metrics.redis_command,
        on_refused=metrics.redis_refused,
    )
    try:
        async with AlertLog(settings) as alert_log:
            publisher = Publisher(settings, store, alert_log, metrics)
            endpoint = Endpoint(settings, metrics, ready=publisher.ready)
            await endpoint.start()
            try:
                await _until_stopped(publisher, stop)
            finally:
                await endpoint.stop()
    finally:
        await store.close()


async def _until_stopped(publisher: Publisher, stop: asyncio.Event) -> None:
    """A turn that hangs on a broker must not outlive the request to stop: what it does may be cut off anywhere."""
    running = asyncio.create_task(publisher.run(stop), name="publisher")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await asyncio.wait({running}, timeout=STOP_TIMEOUT_SECONDS)
    finally:
        stopping.cancel()
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@asynccontextmanager
async def _watching(limit_seconds: float) -> AsyncIterator[None]:
    """End the process when its event loop is blocked: nothing in it could say so itself. What stands still otherwise, `LagWatch` sees."""
    ticked = time.monotonic()

    def diagnose(now: float) -> str | None:
        return f"the publisher's event loop has not turned for {now - ticked:.1f} s" if now - ticked > limit_seconds else None

    async def tick() -> None:
        nonlocal ticked
        while True:
            ticked = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)

    ticking = asyncio.create_task(tick(), name="watchdog's tick")
    watchdog = Watchdog(limit_seconds, diagnose)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()
        ticking.cancel()


def run(settings: Settings) -> int:
    """The publisher role as a process: until SIGTERM or SIGINT, then exit code 0. Raises StreamerError with the sentence to print."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _watching(settings.watchdog_seconds):
            await serve(settings, stop)

    try:
        uvloop.run(main())
    except KafkaError as exc:
        if (denied := denial(exc)) is not None:
            raise denied from exc
        kind = UnreachableError if exc.retriable else DeliveryError
        raise kind(f"the publisher cannot work with Kafka at {settings.kafka_bootstrap}: {exc!r}") from exc
    return 0

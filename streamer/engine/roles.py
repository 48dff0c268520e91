"""What a process of each role runs, and what it shows: the machine or the publisher, beside the endpoint."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from streamer import __version__, topics
from streamer.engine import heap, topic_admin
from streamer.engine.definitions_file import DefinitionsFile
from streamer.engine.endpoint import Endpoint
from streamer.engine.exits import end_for
from streamer.metrics.families import CONSUMED
from streamer.metrics.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from prometheus_client.registry import Collector

    from streamer.definitions import Definitions
    from streamer.engine.app import MachineApp
    from streamer.processor import InForce, Processor
    from streamer.settings import Settings

logger = logging.getLogger(__name__)

# Looks at a rule's series between two turns of the event loop: one takes about 10 us on a slow machine.
LOOKS_PER_PIECE: Final = 10_000


def run(role: str, settings: Settings, definitions: Definitions, last_good: Path | None = None) -> int:
    """Run one role in this process until SIGTERM or SIGINT; returns the exit code.

    last_good: see `DefinitionsFile`.

    Raises:
        StreamerError: the topics do not fit, a server does not answer, a setting is wrong.
    """
    asyncio.run(topic_admin.require(settings))
    gc.freeze()  # what is there by now stays
    return {"journeys": _journeys, "rollup": _rollup, "publisher": _publisher}[role](settings, definitions, last_good)


# Each role imports its own parts: the others' would cost a process start-up time and memory for nothing.
def _journeys(settings: Settings, definitions: Definitions, last_good: Path | None) -> int:
    from streamer.engine import app, machine
    from streamer.journeys.processor import JourneysProcessor
    from streamer.journeys.write_behind import Behind

    def made_of(definitions: Definitions, partition: int) -> JourneysProcessor:
        return JourneysProcessor(
            definitions,
            partition=partition,
            partitions=settings.partitions,
            rollup_partitions=settings.rollup_partitions,
            build=__version__,
            topic=settings.topic(topics.TOUCHPOINTS),
            behind=Behind(settings.state_rows_per_checkpoint, settings.state_replay_events, settings.state_customers_in_use),
        )

    pipeline = Pipeline("journeys")
    file = DefinitionsFile(definitions, settings.definitions, pipeline, lambda tried: made_of(tried, 0), last_good)

    def beside(running: MachineApp) -> AbstractAsyncContextManager[None]:
        def before_scrape() -> None:
            refresh(pipeline, running.owners(), lateness_ms=int(file.current.allowed_lateness), with_entries=True)

        return _beside(settings, pipeline, running, file, before_scrape)

    folding = machine.Machine("journeys", topics.TOUCHPOINTS, settings.partitions, lambda partition: made_of(file.current, partition))
    return app.run(folding, settings, pipeline, beside)


def _rollup(settings: Settings, definitions: Definitions, last_good: Path | None) -> int:
    from streamer.engine import app, machine
    from streamer.metrics.exporter import BusinessCollector
    from streamer.rollup.processor import RollupProcessor

    def made_of(definitions: Definitions, partition: int) -> RollupProcessor:
        return RollupProcessor(
            definitions,
            partition=partition,
            partitions=settings.rollup_partitions,
            build=__version__,
            topic=settings.topic(topics.TOUCHPOINTS),
            looks=LOOKS_PER_PIECE,
        )

    pipeline = Pipeline("rollup")
    file = DefinitionsFile(definitions, settings.definitions, pipeline, lambda tried: made_of(tried, 0), last_good)

    def beside(running: MachineApp) -> AbstractAsyncContextManager[None]:
        def readers() -> Iterable[RollupProcessor]:
            return [processor for processor in running.owners().values() if isinstance(processor, RollupProcessor)]

        return _beside(settings, pipeline, running, file, lambda: refresh(pipeline, running.owners()), [BusinessCollector(readers)])

    folding = machine.Machine("rollup", topics.DELTAS, settings.rollup_partitions, lambda partition: made_of(file.current, partition))
    return app.run(folding, settings, pipeline, beside)


def _publisher(settings: Settings, _definitions: Definitions, _last_good: Path | None) -> int:
    from streamer.engine import publisher

    return publisher.run(settings)


@asynccontextmanager
async def _beside(
    settings: Settings,
    pipeline: Pipeline,
    app: MachineApp,
    file: DefinitionsFile,
    before_scrape: Callable[[], None],
    collectors: Iterable[Collector] = (),
) -> AsyncIterator[None]:
    """The endpoint, the eye on the definitions file, and who looks after the heap."""
    endpoint = Endpoint(
        settings, pipeline, ready=app.ready, alive=app.alive, collectors=collectors, before_scrape=before_scrape,
        definitions=lambda: described(file, in_force(app.owners())),
    )  # fmt: skip
    port = await endpoint.start()
    logger.info("listening on %s:%d", settings.metrics_host, port, extra={"action": "endpoint.listening", "port": port})
    following = asyncio.create_task(
        file.follow(lambda: in_force(app.owners()).values(), app.partitions.renew), name="follow the definitions file"
    )
    collecting = asyncio.create_task(heap.collect_forever(), name="look for cycles")
    asking = asyncio.create_task(heap.ask_for_large_pages_forever(), name="ask for large pages")
    tasks = (following, collecting, asking)
    for task in tasks:
        task.add_done_callback(_end_if_failed)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await endpoint.stop()


def _end_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        end_for(error, task.get_name())


def in_force(processors: Mapping[int, Processor]) -> dict[int, InForce]:
    """The definitions that each partition is folded with."""
    return {partition: found for partition, one in processors.items() if (found := getattr(one, "in_force", None)) is not None}


def described(file: DefinitionsFile, partitions: Mapping[int, InForce]) -> dict[str, Any]:
    """For `streamer rules status`: what new partitions are opened with, why the file is not it, and what each partition has."""
    return {
        "file": None if file.path is None else str(file.path),
        "revision": file.current.revision,
        "digest": file.current.digest,
        "problem": file.problem,
        "partitions": {str(partition): one._asdict() for partition, one in sorted(partitions.items())},
    }


def refresh(pipeline: Pipeline, processors: Mapping[int, Processor], *, lateness_ms: int = 0, with_entries: bool = False) -> None:
    """Set the gauges that are read from the processors rather than told by the engine.

    `with_entries`: count rows, where that is a length and not a copy of the state.
    """
    now = time.time()
    for partition, processor in processors.items():
        part = pipeline.partitions.get(partition)
        if part is None:
            continue
        began_ms, arrival_ms = processor.reference
        high_ms = processor.high_ms if processor.high_ms >= 0 else began_ms  # nothing has arrived: its time began with the first open
        if high_ms > 0:
            part.times(high_ms=high_ms, watermark_ms=high_ms - lateness_ms, clock_ms=processor.clock_ms)
        if processor.accounting.get(CONSUMED):  # else nothing has arrived, and `arrival_ms` is the first open's
            part.silence(max(0.0, now - arrival_ms / 1000))
        if with_entries:
            part.entries(len(processor.rows()))

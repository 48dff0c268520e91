"""The forwarder as a process: every sink at work, beside an endpoint that says how they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from streamer.alerts import groups
from streamer.alerts.connection import RedisUnavailableError, connect_as
from streamer.alerts.consumer import AlertConsumer
from streamer.alerts.publisher import AlertStore
from streamer.engine.endpoint import Endpoint
from streamer.metrics.families import FORWARDER, SINK_OUTCOMES
from streamer.metrics.pipeline import Pipeline
from streamer.sinks.forwarding import BACKOFF_SECONDS, STALE_SECONDS, Forwarding, group_of
from streamer.sinks.make import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.settings import Settings
    from streamer.sinks.config import Configured

logger = logging.getLogger(__name__)

# Deliveries of a process that was killed count as failed ones: more than a few restarts must not lose an alert.
MAX_DELIVERIES: Final = 10
# One at a time is handed over; what is fetched with it waits here instead of in Redis.
BATCH: Final = 20
LAG_SECONDS: Final = 5.0
# An attempt that is under way when it is time to stop may take so long; what was not taken is pending and comes first next time.
STOP_SECONDS: Final = 5.0


class Forwarder:
    """All sinks of one process.

    Args:
        settings: Redis, and the endpoint.
        configured: the sinks.
        name: of this process in the consumer groups, the same after a restart.
        backoff_seconds: the first pause between attempts, and the longest.
    """

    def __init__(
        self,
        settings: Settings,
        configured: Sequence[Configured],
        *,
        name: str,
        backoff_seconds: tuple[float, float] = BACKOFF_SECONDS,
        metrics: Pipeline | None = None,
    ) -> None:
        self._settings = settings
        self._configured = configured
        self._name = name
        self._backoff_seconds = backoff_seconds
        self.metrics = metrics or Pipeline(FORWARDER)
        self._forwardings: list[Forwarding] = []
        for sink in configured:
            for outcome in SINK_OUTCOMES:
                self.metrics.sink_outcome(sink.config.name, outcome, 0)

    def ready(self) -> str | None:
        """None if every sink takes alerts, else which do not, and why."""
        return "; ".join(f"{one.config.name}: {one.problem}" for one in self._forwardings if one.problem is not None) or None

    def counts(self) -> dict[str, dict[str, int]]:
        """Sink -> outcome -> alerts, of this process."""
        found: dict[str, Counter[str]] = {sink.config.name: Counter() for sink in self._configured}
        for family in self.metrics.registry.collect():
            for sample in family.samples:
                if sample.name == "streamer_sink_deliveries_total":
                    found[sample.labels["sink"]][sample.labels["outcome"]] = int(sample.value)
        return {name: dict(outcomes) for name, outcomes in found.items()}

    async def serve(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set.

        Raises:
            DeliveryError: Redis refuses for good.
            SettingsError: a sink or the endpoint cannot be used as configured.
        """
        endpoint = Endpoint(self._settings, self.metrics, ready=self.ready)
        self._forwardings = [self._forwarding(sink, stop) for sink in self._configured]
        port = await endpoint.start()
        logger.info("listening on %s:%d", self._settings.metrics_host, port, extra={"action": "endpoint.listening", "port": port})
        work = [asyncio.create_task(one.run(), name=f"sink {one.config.name}") for one in self._forwardings]
        beside = [asyncio.create_task(self._measure(), name="lag"), asyncio.create_task(stop.wait(), name="stop")]
        try:
            await asyncio.wait([*work, *beside], return_when=asyncio.FIRST_COMPLETED)
            ended = [task for task in (*work, beside[0]) if task.done()]
            if not ended:
                await asyncio.wait(work, timeout=STOP_SECONDS)
            for task in ended:
                task.result()
        finally:
            for task in (*work, *beside):
                task.cancel()
            results = await asyncio.gather(*work, *beside, return_exceptions=True)
            await endpoint.stop()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _forwarding(self, sink: Configured, stop: asyncio.Event) -> Forwarding:
        settings, config = self._settings, sink.config
        consumer = AlertConsumer(
            settings.redis_url,
            group_of(config.name),
            self._name,
            password=settings.redis_password.get_secret_value() if settings.redis_password else None,
            ca_file=settings.redis_ca_file,
            prefix=settings.redis_prefix,
            start=config.start,
            batch=BATCH,
            max_deliveries=MAX_DELIVERIES,
            stale_after_seconds=STALE_SECONDS,
            on_trimmed=lambda count: self.metrics.sink_outcome(config.name, "trimmed", count),
            on_dead=lambda count: self.metrics.sink_outcome(config.name, "dead", count),
        )
        return Forwarding(config, make(sink), consumer, self.metrics, stop, backoff_seconds=self._backoff_seconds)

    async def _measure(self) -> None:
        """What each sink has yet to take: unread, and read but not acknowledged."""
        store = AlertStore(connect_as(self._settings), prefix=self._settings.redis_prefix)
        watch = groups.GroupWatch()
        names = {group_of(sink.config.name): sink.config.name for sink in self._configured}
        try:
            while True:
                with contextlib.suppress(RedisUnavailableError):  # the sinks' consumers say so
                    for group, look in watch.look(*await groups.read(store)).items():
                        if group in names:
                            self.metrics.sink_lag(names[group], look.unread + look.pending)
                await asyncio.sleep(LAG_SECONDS)
        finally:
            await store.close()

"""One sink at work: reads the stream as the group `sink-<name>`, hands over in order, tries again, gives up.

An alert that the receiver refuses, or has not taken for `give_up_after`, goes to the dead stream and the next one gets its turn.
Until then those behind it wait, so that transitions of one customer arrive in order; other sinks have groups and tasks of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from streamer.alerts.times import milliseconds
from streamer.sinks.config import Webhook
from streamer.sinks.sink import RefusedError, TryAgainError, attempt, is_at_least

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from streamer.alerts.alert import Alert
    from streamer.alerts.consumer import AlertConsumer, Delivery
    from streamer.metrics.pipeline import Pipeline
    from streamer.sinks.config import SinkConfig
    from streamer.sinks.sink import Sink, SinkError

log = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = (0.5, 60.0)
# Firing alerts handed over at once when the receiver is reminded of them, about 200 kB.
REFRESHED: Final = 200
# A delivery is renewed before each attempt; an attempt and the pause after it take at most two minutes.
STALE_SECONDS: Final = 300.0


def group_of(name: str) -> str:
    """The consumer group of a sink."""
    return f"sink-{name}"


def pause_seconds(attempt: int, after_seconds: float, chance: float, backoff_seconds: tuple[float, float] = BACKOFF_SECONDS) -> float:
    """How long to wait after the n-th failed attempt (from 1): doubling, between half of it and all by `chance` (0 to 1), and never less
    than the receiver asked for."""
    first, most = backoff_seconds
    return max(after_seconds, min(most, first * 2.0 ** min(attempt - 1, 32)) * (0.5 + chance / 2))


def is_wanted(alert: Alert, config: SinkConfig, now_ms: int, *, firing: bool = False) -> bool:
    """Whether the sink is to have this transition. Programs get also what has expired, and may look at `expires_at`; people do not.

    firing: it is the latest of what fires, of which a sink is reminded that once wanted its beginning. What a storm holds back is told by
    the storm alone.
    """
    if alert.held:
        return False
    state = "firing" if firing else alert.state
    if state not in config.states or (config.rules and alert.rule.id not in config.rules):
        return False
    if not is_at_least(alert.severity, config.severity):
        return False
    return not has_expired(alert, config, now_ms)


def has_expired(alert: Alert, config: SinkConfig, now_ms: int) -> bool:
    """Whether it is too late for what fires, and the sink is not a program's."""
    return not isinstance(config, Webhook) and alert.state in ("firing", "amended") and milliseconds(alert.expires_at) <= now_ms


class Forwarding:
    """One sink and its consumer.

    Args:
        config: which alerts, how long to try.
        sink: the receiver.
        consumer: of the sink's group.
        metrics: where it is counted.
        stop: set when it is to end.
        backoff_seconds: the first pause between attempts, and the longest.
    """

    def __init__(
        self,
        config: SinkConfig,
        sink: Sink,
        consumer: AlertConsumer,
        metrics: Pipeline,
        stop: asyncio.Event,
        *,
        backoff_seconds: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self.config = config
        self.problem: str | None = None
        self._sink = sink
        self._consumer = consumer
        self._metrics = metrics
        self._stop = stop
        self._backoff_seconds = backoff_seconds
        # What is firing is read and handed over in one go: an end that is handed over meanwhile must not be followed by its beginning.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Forward until `stop` is set; raises DeliveryError for what only another configuration of Redis ends."""
        try:
            async with self._consumer as consumer:
                work = [asyncio.create_task(self._forward())]
                if self._sink.refresh_seconds is not None:
                    work.append(asyncio.create_task(self._refresh(self._sink.refresh_seconds)))
                stopping = asyncio.create_task(self._end_with(consumer))
                try:
                    ended, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        task.result()
                finally:
                    for task in (*work, stopping):
                        task.cancel()
                    await asyncio.gather(*work, stopping, return_exceptions=True)
        finally:
            await self._sink.close()

    async def _forward(self) -> None:
        async for delivery in self._consumer:
            await self._handle(delivery)

    async def _end_with(self, consumer: AlertConsumer) -> None:
        await self._stop.wait()
        consumer.stop()

    async def _handle(self, delivery: Delivery) -> None:
        """Hand one delivery over, however often that takes; give it up; or leave it for the next start when stopped."""
        alert, config = delivery.alert, self.config
        give_up_at = time.monotonic() + config.give_up_after / 1000
        attempt = 0
        while True:
            if not is_wanted(alert, config, int(time.time() * 1000)):  # it may expire while the receiver is away
                self._count("filtered")
                return
            attempt += 1
            problem = await self._attempt(delivery)
            if problem is None:
                return
            if isinstance(problem, RefusedError) or time.monotonic() >= give_up_at:
                await self._give_up(delivery, problem)
                return
            after_seconds = problem.after_seconds if isinstance(problem, TryAgainError) else 0.0
            pause = pause_seconds(attempt, after_seconds, random.random(), self._backoff_seconds)
            if await self._wait(min(pause, max(0.0, give_up_at - time.monotonic()))):
                delivery.retry_later()
                return

    async def _attempt(self, delivery: Delivery) -> SinkError | None:
        """None if it was taken, else why not."""
        began = time.monotonic()
        async with self._turn:
            problem = await self._call(self._sink.deliver(delivery.alert, delivery.data))
        if problem is None:
            self._metrics.sink_took(self.config.name, time.monotonic() - began)
            self._count("delivered")
            self._well()
        else:
            self._count("failed")
            if not isinstance(problem, RefusedError):  # one alert that it does not want is no trouble of the sink's
                self._ill(problem)
        return problem

    async def _call(self, call: Awaitable[None]) -> SinkError | None:
        return await attempt(call, self.config.name, self.config.timeout / 1000)

    async def _give_up(self, delivery: Delivery, problem: SinkError) -> None:
        if not await self._consumer.give_up(problem.reason):
            return  # stopped meanwhile: it comes first at the next start
        self._count("dead")
        log.error(
            "sink %s did not take alert %s of rule %s: %s; it is among the dead letters",
            self.config.name, delivery.alert.alert_id, delivery.alert.rule.id, problem.reason, extra={"action": "sink.gave_up"},
        )  # fmt: skip

    async def _wait(self, seconds: float) -> bool:
        """Wait, holding on to what is in hand; whether it is time to stop."""
        until = time.monotonic() + seconds
        while True:
            await self._consumer.renew()
            rest = until - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(0.0, min(rest, STALE_SECONDS / 5)))
            if self._stop.is_set() or time.monotonic() >= until:
                return self._stop.is_set()

    async def _refresh(self, every_seconds: float) -> None:
        """Remind the receiver of all that is firing, at the start and ever after."""
        while True:
            async with self._turn:
                now_ms = int(time.time() * 1000)
                firing = [alert for alert in await self._consumer.active() if is_wanted(alert, self.config, now_ms, firing=True)]
                for start in range(0, len(firing), REFRESHED):
                    problem = await self._call(self._sink.refresh(firing[start : start + REFRESHED]))
                    if problem is not None:
                        self._count("failed")
                        self._ill(problem)
                        break
                    self._well()
            await asyncio.sleep(every_seconds)

    def _count(self, outcome: str) -> None:
        self._metrics.sink_outcome(self.config.name, outcome)

    def _ill(self, problem: SinkError) -> None:
        """Logged once per trouble, not once per attempt."""
        if self.problem is None:
            log.warning("sink %s takes no alerts: %s; trying again", self.config.name, problem.reason, extra={"action": "sink.waiting"})
        self.problem = problem.reason

    def _well(self) -> None:
        if self.problem is not None:
            log.info("sink %s takes alerts again", self.config.name, extra={"action": "sink.forwarding"})
            self.problem = None

"""What is looked at all the time: how far committed reads lag behind open transactions, and every alert that reaches Redis."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from tests.chaos.clients import consuming

if TYPE_CHECKING:
    from streamer.settings import Settings

LOOK_SECONDS: Final = 0.1


def ends() -> bool:
    """Whether the current task was cancelled: both client libraries may turn a cancellation under way into an error of theirs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class StallWatch:
    """How long read_committed readers of deltas and alerts were held back: there was something behind an offset that did not move.

    longest: seconds, since it was last reset.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        names = [(settings.topic(name), settings.rollup_partitions) for name in ("deltas", "aggregate-alerts")]
        names.append((settings.topic("alerts"), settings.partitions))
        self._places = [TopicPartition(name, partition) for name, count in names for partition in range(count)]
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self.longest = 0.0

    def forget(self) -> None:
        """The broker is away: nobody could read."""
        self._since.clear()

    def reset(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while not ends():
            try:
                await self._look_on()
            except KafkaError:
                self.forget()
                await asyncio.sleep(LOOK_SECONDS)

    async def _look_on(self) -> None:
        async with consuming(self._settings) as committed, consuming(self._settings, committed=False) as any_record:
            while True:
                stable = await committed.end_offsets(self._places)
                ends = await any_record.end_offsets(self._places)
                now = time.monotonic()
                for place in self._places:
                    if stable[place] >= ends[place]:
                        self._since.pop(place, None)
                        continue
                    offset, since = self._since.get(place, (-1, now))
                    if offset != stable[place]:
                        self._since[place] = (stable[place], now)
                    self.longest = max(self.longest, now - since)
                await asyncio.sleep(LOOK_SECONDS)


class StreamTail:
    """Every entry of the Redis stream, kept although Redis may lose them."""

    def __init__(self, settings: Settings) -> None:
        self._key = f"{settings.redis_prefix}alerts"
        self._client = redis.asyncio.Redis.from_url(settings.redis_url, socket_timeout=2)
        self._last = "0"
        self._reading = asyncio.Lock()
        self.alerts: list[dict[str, Any]] = []

    async def run(self) -> None:
        while not ends():
            with suppress(RedisError, OSError):  # it is away; what it had is still there when it comes back
                await self.read()
            await asyncio.sleep(LOOK_SECONDS)

    async def read(self) -> None:
        """Take what is new."""
        async with self._reading:
            while True:
                after = "-" if self._last == "0" else f"({self._last}"
                entries: Any = await self._client.xrange(self._key, after, "+", count=1000)
                if not entries:
                    return
                for entry_id, fields in entries:
                    self._last = entry_id.decode()
                    self.alerts.append(json.loads(fields[b"alert"]))

    def begin_again(self) -> None:
        """Redis is empty."""
        self._last = "0"

    async def close(self) -> None:
        await self._client.aclose()

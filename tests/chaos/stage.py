"""One run under way: the cluster, its traffic and its watchers, and when it has caught up."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import redis
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.clients import administering, consuming
from tests.chaos.cluster import Cluster, Slot, TooLongError
from tests.chaos.scrape import Scraper, totals
from tests.chaos.traffic import Traffic
from tests.chaos.watch import StallWatch, StreamTail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from tests.chaos.moves import Move

# A fault must be over by then, on a machine that others use too.
RECOVERY_SECONDS_MAX: Final = 180.0


class Stage:
    """What a fault works on. broken: expectations of single faults that did not hold.

    due: metrics that the fault under way must move beside those of its kind. accounted: what the endpoints said in the end, by outcome.
    """

    def __init__(self, cluster: Cluster, traffic: Traffic) -> None:
        self.cluster = cluster
        self.traffic = traffic
        self.settings = cluster.settings
        self.stalls = StallWatch(cluster.settings)
        self.tail = StreamTail(cluster.settings)
        self.scraper = Scraper(cluster)
        self.broken: list[str] = []
        self.due: list[Move] = []
        self.accounted: dict[str, float] = {}

    def expect(self, holds: bool, what: str) -> None:
        """Note what a fault should have led to."""
        if not holds:
            self.broken.append(what)

    def go_on(self) -> None:
        """Raise if a process ended for good: nothing will be as it should be any more."""
        if self.cluster.broken:
            raise TooLongError("a process ended with a code that nobody restarts on")

    async def caught_up(self, seconds: float = RECOVERY_SECONDS_MAX) -> float:
        """Wait until everything appended by now is folded, rolled up and in Redis; the seconds that took."""
        began = time.monotonic()
        while True:
            self.go_on()
            try:
                async with asyncio.timeout(max(0.1, began + seconds - time.monotonic())):
                    await self._follow()
                    return time.monotonic() - began
            except KafkaError:
                await asyncio.sleep(0.2)
            except TimeoutError:
                raise TooLongError(f"not caught up within {seconds:.0f} s") from None

    async def all_ready(self, seconds: float = RECOVERY_SECONDS_MAX) -> None:
        """Wait until every process says that it is ready, standbys too."""
        deadline = time.monotonic() + seconds
        for slot in self.cluster.slots:
            await self.ready(slot, deadline - time.monotonic())

    async def ready(self, slot: Slot, seconds: float = RECOVERY_SECONDS_MAX) -> None:
        """Wait until a process says that it is ready, unless its place is to be empty."""
        deadline = time.monotonic() + seconds
        while not slot.held and not await self.is_ready(slot):
            self.go_on()
            if time.monotonic() > deadline:
                raise TooLongError(f"{slot.name} is not ready within {seconds:.0f} s: {slot.last_words()[-500:]}")
            await asyncio.sleep(0.1)

    async def is_ready(self, slot: Slot) -> bool:
        """What the process's own endpoint says."""
        with suppress(OSError):
            return bool(await asyncio.to_thread(_get, f"http://127.0.0.1:{slot.port}/readyz"))
        return False

    async def _follow(self) -> None:
        async with administering(self.settings) as admin, consuming(self.settings) as consumer:
            for role, topic, partitions in (
                ("journeys", "touchpoints", self.settings.partitions),
                ("rollup", "deltas", self.settings.rollup_partitions),
            ):
                if role not in self.cluster.roles:
                    continue
                places = [TopicPartition(self.settings.topic(topic), partition) for partition in range(partitions)]
                await self._reached(admin, f"{self.settings.app}-{role}", await consumer.end_offsets(places))
            if "publisher" in self.cluster.roles:
                await self._delivered(consumer)

    async def _reached(self, admin: AIOKafkaAdminClient, group: str, ends: dict[TopicPartition, int]) -> None:
        while True:
            offsets = await admin.list_consumer_group_offsets(group)
            if all(end == 0 or (place in offsets and offsets[place].offset >= end) for place, end in ends.items()):
                return
            await asyncio.sleep(0.1)

    async def _delivered(self, consumer: AIOKafkaConsumer) -> None:
        """The last alert of each partition is in the stream that we have read."""
        places = [
            TopicPartition(self.settings.topic(topic), partition)
            for topic, count in (("alerts", self.settings.partitions), ("aggregate-alerts", self.settings.rollup_partitions))
            for partition in range(count)
        ]
        ends = await consumer.end_offsets(places)
        want = sorted(end for end in ends.values() if end > 0)
        while True:
            with suppress(redis.RedisError):
                with redis.Redis.from_url(self.settings.redis_url, socket_timeout=2) as client:
                    applied: dict[bytes, bytes] = client.hgetall(f"{self.settings.redis_prefix}alerts:applied")
                # Topic ids are not known here; a control record follows the last alert of a transaction.
                have = sorted(int(offset) for offset in applied.values() if int(offset) >= 0)
                if len(have) >= len(want) and all(offset + 2 >= end for offset, end in zip(have[-len(want) :], want, strict=True)):
                    await self.tail.read()
                    return
            await asyncio.sleep(0.1)

    async def account(self) -> None:
        """Ask the endpoints what became of the records of all partitions."""
        await self.scraper.begin()
        self.accounted = totals(self.scraper.samples, "streamer_accounted_events", "journeys", "outcome")

    async def gauges(self) -> dict[str, float]:
        """Lifetime gauges over everything, of the process that owns the rollup partition."""
        for slot in self.cluster.of("rollup"):
            with suppress(OSError):
                url = f"http://127.0.0.1:{slot.port}/metrics"
                text = await asyncio.to_thread(_get, url)
                families = text_string_to_metric_families(text)
                found = {
                    sample.name: sample.value
                    for sample in (sample for family in families for sample in family.samples)
                    if sample.labels.get("slice") == "all" and sample.labels.get("window") == "lifetime"
                }
                if found:
                    return found
        return {}


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  our own endpoint
        return str(answer.read().decode())


@asynccontextmanager
async def staged(
    kafka: Kafka, redis_server: Redis, directory: Path, app: str, seed: str, *, roles: Sequence[str], bugs: Sequence[str] = (),
    partitions: int = 4, events_per_second: float = 50.0,
) -> AsyncIterator[Stage]:  # fmt: skip
    """A run with its topics, its processes (`roles`, one each) and its watchers; everything is gone afterwards but the topics."""
    cluster = Cluster(kafka, redis_server, directory, app, partitions=partitions, bugs=bugs)
    traffic = Traffic(cluster.settings, seed, events_per_second=events_per_second)
    stage = Stage(cluster, traffic)
    await cluster.create()
    watchers = [asyncio.create_task(watcher.run()) for watcher in (stage.stalls, stage.tail, stage.scraper)]
    try:
        for role in roles:
            cluster.add(role)
        yield stage
    finally:
        await traffic.abandon()
        for watcher in watchers:
            watcher.cancel()
        await asyncio.wait(watchers)
        await stage.tail.close()
        cluster.kill_all()

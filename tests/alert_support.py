"""Alerts for tests: records as the processors write them, topics to write them to, and plain reads of Redis."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamer.alerts.alert import Alert, Entity, Evidence, Measured, RuleRef, encode
from streamer.alerts.connection import connect
from streamer.alerts.identity import alert_id_of, episode_id_of, fingerprint_of
from streamer.alerts.publisher import AlertStore
from streamer.engine import publisher
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from streamer.metrics.pipeline import Pipeline

PATIENCE_SECONDS = 60.0  # only a failure takes that long, and a busy machine must not look like one


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert(customer: str, state: str = "firing", transition: int = 1, *, expires_in_seconds: float = 3600, **changes: Any) -> Alert:
    """One transition of the first episode of rule `abandoned-with-friction` for a customer, detected now."""
    fingerprint = fingerprint_of("abandoned-with-friction", customer, "checkout", "c-1")
    episode_id = episode_id_of(fingerprint, 1)
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "alert_id": alert_id_of(episode_id, transition),
        "episode_id": episode_id,
        "fingerprint": fingerprint,
        "schema_version": 1,
        "state": state,
        "severity": "warning",
        "rule": RuleRef(id="abandoned-with-friction", version=1, text="abandoned and friction >= 1"),
        "entity": Entity(canonical_id=customer, journey="checkout", journey_id="c-1"),
        "metric": Measured(name="friction", value=2.0, signals={"payment.failed": 2}),
        "evidence": [Evidence(event_id="e-1", type="payment.failed", time=rfc3339(now), topic="cx.touchpoints.v1", partition=0, offset=41)],
        "evidence_count": 1,
        "why": "checkout c-1 was abandoned after 2 failed payments",
        "event_time": rfc3339(now),
        "detected_at": rfc3339(now),
        "expires_at": rfc3339(now + timedelta(seconds=expires_in_seconds)),
    }
    return Alert(**{**fields, **changes})


def settings_for(unique: str, kafka: Kafka | None, redis_server: Redis, **changes: Any) -> Settings:
    """Settings under which nothing collides with another test."""
    values: dict[str, Any] = {
        "app": unique,
        "topic_prefix": f"{unique}.",
        "kafka_bootstrap": "127.0.0.1:1" if kafka is None else kafka.bootstrap,
        "redis_url": redis_server.url,
        "redis_prefix": f"{unique}:",
        "session_timeout_seconds": 6,
        "metrics_port": 0,
    }
    return Settings(**{**values, **changes})


@pytest.fixture
def settings(kafka: Kafka, redis_server: Redis, unique: str) -> Settings:
    """For tests of alerts: `settings = alert_support.settings` in their module."""
    return settings_for(unique, kafka, redis_server)


@pytest.fixture
def redis_settings(redis_server: Redis, unique: str) -> Settings:
    """The same without a Kafka."""
    return settings_for(unique, None, redis_server)


@pytest.fixture
def client(redis_server: Redis) -> Iterator[redis.Redis]:
    """A client of Redis that is not the product's."""
    connection = redis.Redis.from_url(redis_server.url)
    yield connection
    connection.close()


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_topics(settings: Settings, partitions: int = 2) -> None:
    """The two alert topics."""
    async with admin_of(settings) as admin:
        await admin.create_topics(
            [NewTopic(settings.topic(name), count, 1) for name, count in (("alerts", partitions), ("aggregate-alerts", 1))]
        )


async def write(
    settings: Settings, records: Iterable[Alert | bytes], *, partition: int = 0, topic: str = "alerts", abort: bool = False
) -> int:
    """Append records in one transaction, as the engine does; returns the offset of the last."""
    last = -1
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, transactional_id=f"{settings.app}-test-{partition}"
    ) as producer:
        await producer.begin_transaction()
        sends = [
            await producer.send(settings.topic(topic), record if isinstance(record, bytes) else encode(record), partition=partition)
            for record in records
        ]
        for send in sends:
            last = (await send).offset
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    return last


@asynccontextmanager
async def publishing(settings: Settings, metrics: Pipeline | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """A publisher in this process; stopped in order at the end, its error raised."""
    stop = asyncio.Event()
    task = asyncio.create_task(publisher.serve(settings, stop, metrics))
    try:
        yield task
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool], what: str, *, task: asyncio.Task[None] | None = None) -> None:
    """Wait for a condition, at most a minute; the error of a task that ended instead is raised."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not condition():
        if task is not None and task.done():
            await task
        assert asyncio.get_running_loop().time() < deadline, f"waited {PATIENCE_SECONDS} s for {what}"
        await asyncio.sleep(0.02)


async def committed(settings: Settings) -> dict[int, int]:
    """The group's offsets in the alerts topic, by partition."""
    async with admin_of(settings) as admin:
        found = await admin.list_consumer_group_offsets(f"{settings.app}-publisher")
    return {partition.partition: row.offset for partition, row in found.items() if partition.topic == settings.topic("alerts")}


def delivered(client: redis.Redis, settings: Settings) -> list[dict[str, Any]]:
    """The records in the stream, oldest first."""
    entries: Any = client.xrange(f"{settings.redis_prefix}alerts")
    return [json.loads(fields[b"alert"]) for _, fields in entries]


def customers(client: redis.Redis, settings: Settings) -> list[str]:
    """Whom the delivered alerts are about, in order."""
    return [record["entity"]["canonical_id"] for record in delivered(client, settings)]


def active_customers(client: redis.Redis, settings: Settings) -> list[str]:
    """Whom the active set is about, sorted."""
    found: Any = client.hgetall(f"{settings.redis_prefix}alerts:active")
    return sorted(json.loads(record)["entity"]["canonical_id"] for record in found.values())


class RedisWriter:
    """Writes alerts to Redis as the publisher does, without a Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, stream_length=settings.alert_stream_length)
        self._last = -1

    async def write(self, *records: Alert | bytes) -> None:
        """Deliver these, as the next offsets of a partition."""
        if self._last < 0:
            await self.store.restore("topic-id", 0, (), expected=None, applied=-1)
        numbered = [(self._last + 1 + n, r if isinstance(r, bytes) else encode(r)) for n, r in enumerate(records)]
        await self.store.publish("topic-id", 0, numbered, after=self._last)
        self._last += len(numbered)


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[RedisWriter]:
    """Delivers alerts to the Redis of `settings`."""
    found = RedisWriter(settings)
    yield found
    await found.store.close()

"""The publisher between the real Kafka and the real Redis: every committed alert arrives, once, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis as redis_client

from tests.alert_support import (
    active_customers,
    alert,
    create_topics,
    customers,
    delivered,
    publishing,
    settings_for,
    until,
    write,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from streamer.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka: Kafka, redis_server: Redis, unique: str) -> Settings:
    return settings_for(unique, kafka, redis_server)


@pytest.fixture
def client(redis_server: Redis) -> Iterator[redis_client.Redis]:
    connection = redis_client.Redis.from_url(redis_server.url)
    yield connection
    connection.close()


async def test_committed_alerts_of_both_topics_reach_the_stream_and_the_active_set(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])
    await write(settings, [alert("carl")], partition=1)
    await write(settings, [alert("agg")], topic="aggregate-alerts")
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 4, "four alerts", task=task)
        await write(settings, [alert("bob", "resolved", 2)])
        await until(lambda: len(delivered(client, settings)) == 5, "the resolution", task=task)
    assert sorted(customers(client, settings)) == ["agg", "ann", "bob", "bob", "carl"]
    assert active_customers(client, settings) == ["agg", "ann", "carl"]
    assert all(record["published_at"] >= record["detected_at"] for record in delivered(client, settings))


async def test_aborted_alerts_never_reach_redis(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ghost")], abort=True)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: bool(delivered(client, settings)), "the committed alert", task=task)
    assert customers(client, settings) == ["ann"]

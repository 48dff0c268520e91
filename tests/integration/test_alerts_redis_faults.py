"""Redis away, wiped, full, read-only, set back, not ours: alerts wait in Kafka or the publisher says what to change; none twice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import redis as redis_client

from streamer.engine.delivery import Publisher
from streamer.engine.publisher import serve
from streamer.errors import DeliveryError
from streamer.metrics.pipeline import Pipeline
from tests import alert_support
from tests.alert_support import (
    active_customers,
    alert,
    committed,
    create_topics,
    customers,
    delivered,
    publishing,
    until,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.local.redis import Redis
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.settings
client = alert_support.client


@pytest.fixture
def publishers(monkeypatch: pytest.MonkeyPatch) -> list[Publisher]:
    """The publishers this test starts, to ask them whether they are ready."""
    started: list[Publisher] = []
    original = Publisher.run

    async def run(self: Publisher, stop: asyncio.Event) -> None:
        started.append(self)
        await original(self, stop)

    monkeypatch.setattr(Publisher, "run", run)
    return started


async def test_alerts_wait_while_redis_is_down_and_arrive_when_it_is_back(
    settings: Settings, client: redis_client.Redis, redis_server: Redis, publishers: list[Publisher]
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    metrics = Pipeline("publisher")
    async with publishing(settings, metrics) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        await asyncio.to_thread(redis_server.stop)
        await write(settings, [alert("bob")])
        await write(settings, [alert("carl")], partition=1)
        await until(lambda: "cannot be reached" in (publishers[0].ready() or ""), "the publisher to say so", task=task)
        await until(lambda: lag(metrics) >= 2, "the lag to show what waits", task=task)
        await asyncio.sleep(5)  # the outage
        await asyncio.to_thread(redis_server.start)
        await until(lambda: len(delivered(client, settings)) == 3, "the alerts that waited", task=task)
        await until(lambda: publishers[0].ready() is None, "the publisher to be ready again", task=task)
    assert sorted(customers(client, settings)) == ["ann", "bob", "carl"]
    errors = metrics.registry.get_sample_value("streamer_redis_commands_total", {"role": "publisher", "outcome": "error"})
    assert errors is not None
    assert errors > 0


async def test_redis_down_at_the_start_is_waited_for(
    settings: Settings, client: redis_client.Redis, redis_server: Redis, publishers: list[Publisher]
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the alerts before", task=task)
        await until_committed(settings, 2)
    await asyncio.to_thread(redis_server.stop)
    await write(settings, [alert("carl"), alert("dora"), alert("eve")])
    metrics = Pipeline("publisher")
    try:
        async with publishing(settings, metrics) as task:
            await until(lambda: "cannot be reached" in (publishers[-1].ready() or ""), "the publisher to say so", task=task)
            await until(lambda: lag(metrics) >= 3, "the lag to show what waits, though no partition could be opened yet", task=task)
            await asyncio.to_thread(redis_server.start)
            await until(lambda: customers(client, settings) == ["ann", "bob", "carl", "dora", "eve"], "the alerts", task=task)
            await until(lambda: lag(metrics) == 0, "the lag to be gone", task=task)
    finally:
        if not redis_server.is_running:
            redis_server.start()


@pytest.mark.parametrize("while_running", [True, False], ids=["while-the-publisher-runs", "between-two-publishers"])
async def test_a_wiped_redis_gets_its_active_set_back_and_nothing_a_second_time(
    settings: Settings, client: redis_client.Redis, redis_server: Redis, while_running: bool
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("gone", expires_in_seconds=0.5)])
    await write(settings, [alert("ann", "resolved", 2), alert("carl"), alert("carl", "amended", 2, why="worse")])

    async def first_life(task: asyncio.Task[None]) -> None:
        await until(lambda: len(delivered(client, settings)) == 6, "the alerts", task=task)
        await until_committed(settings, 6)

    async def wipe() -> None:
        await asyncio.to_thread(redis_server.stop)
        redis_server.wipe()
        await asyncio.to_thread(redis_server.start)

    async def second_life(task: asyncio.Task[None]) -> None:
        await write(settings, [alert("dora")])
        await until(lambda: bool(delivered(client, settings)), "the alert after the wipe", task=task)
        await until(lambda: active_customers(client, settings) == ["bob", "carl", "dora"], "the active set", task=task)

    async with publishing(settings) as task:
        await first_life(task)
        if while_running:
            await wipe()
            await second_life(task)
    if not while_running:
        await wipe()
        async with publishing(settings) as task:
            await second_life(task)
    assert customers(client, settings) == ["dora"], "the stream starts with what is new"
    active: Any = client.hgetall(f"{settings.redis_prefix}alerts:active")
    assert {json.loads(record)["why"] for record in active.values() if b"carl" in record} == {"worse"}


async def test_a_wiped_redis_gets_its_active_set_back_although_no_alert_follows(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("bob", "resolved", 2)])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 3, "the alerts", task=task)
        client.delete(*(f"{settings.redis_prefix}alerts{key}" for key in ("", ":active", ":expiry", ":applied")))
        await until(lambda: active_customers(client, settings) == ["ann"], "the active set", task=task)
    assert customers(client, settings) == [], "nothing is delivered a second time"


async def test_a_redis_wiped_while_the_group_cannot_commit_gets_nothing_a_second_time(
    settings: Settings, client: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])

    async def no_commit(_self: Publisher) -> None:
        pass

    monkeypatch.setattr(Publisher, "_commit", no_commit)
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the alerts", task=task)
        client.delete(*(f"{settings.redis_prefix}alerts{key}" for key in ("", ":active", ":expiry", ":applied")))
        await write(settings, [alert("carl")])
        await until(lambda: bool(delivered(client, settings)), "the alert after the wipe", task=task)
    assert customers(client, settings) == ["carl"]
    assert active_customers(client, settings) == ["ann", "bob", "carl"]


async def test_alerts_that_a_failover_lost_are_delivered_again_and_no_others(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the alerts", task=task)
        replica: dict[Any, Any] = {key: client.dump(key) for key in client.keys(f"{settings.redis_prefix}*")}
        await write(settings, [alert("carl"), alert("dora")])
        await until(lambda: len(delivered(client, settings)) == 4, "more alerts", task=task)
        for key, value in replica.items():  # the replica that lags behind becomes the primary
            client.restore(key, 0, value, replace=True)
        assert customers(client, settings) == ["ann", "bob"]
        await write(settings, [alert("emil")])
        await until(lambda: "emil" in customers(client, settings), "the next alert", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl", "dora", "emil"]


def full(client: redis_client.Redis) -> Callable[[], object]:
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


def read_only(client: redis_client.Redis) -> Callable[[], object]:
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


def without_replicas(client: redis_client.Redis) -> Callable[[], object]:
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [(full, "out of memory"), (read_only, "read-only replica"), (without_replicas, "too few replicas")],
    ids=["out-of-memory", "read-only", "too-few-replicas"],
)
async def test_alerts_wait_while_redis_refuses_writes(
    settings: Settings,
    client: redis_client.Redis,
    publishers: list[Publisher],
    break_it: Callable[[redis_client.Redis], Callable[[], object]],
    words: str,
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        mend = break_it(client)
        try:
            await write(settings, [alert("bob"), alert("ann", "resolved", 2)])
            await until(lambda: words in (publishers[0].ready() or ""), "the publisher to say why it waits", task=task)
            assert customers(client, settings) == ["ann"], "a refused call must leave nothing behind"
        finally:
            mend()
        await until(lambda: len(delivered(client, settings)) == 3, "the alerts that waited", task=task)
    assert customers(client, settings) == ["ann", "bob", "ann"]
    assert active_customers(client, settings) == ["bob"]


async def test_a_frozen_redis_is_waited_for(
    settings: Settings, client: redis_client.Redis, redis_server: Redis, publishers: list[Publisher]
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        redis_server.pause()
        try:
            await write(settings, [alert("bob")])
            await until(lambda: "cannot be reached" in (publishers[0].ready() or ""), "the publisher to notice", task=task)
        finally:
            redis_server.resume()
        await until(lambda: "bob" in customers(client, settings), "the alert that waited", task=task)
    assert customers(client, settings) == ["ann", "bob"], "the call that timed out was carried out; its repetition must not be"


async def test_a_busy_redis_is_waited_for(settings: Settings, client: redis_client.Redis, publishers: list[Publisher]) -> None:
    await create_topics(settings)
    client.config_set("busy-reply-threshold", 50)
    async with publishing(settings) as task:
        await until(lambda: bool(publishers) and publishers[0].ready() is None, "the publisher to be ready", task=task)
        script = asyncio.create_task(asyncio.to_thread(endless_script, settings.redis_url))
        try:
            await write(settings, [alert("ann")])
            await until(lambda: "busy running a script" in (publishers[0].ready() or ""), "the publisher to say why it waits", task=task)
        finally:
            client.script_kill()
            await script
            client.config_set("busy-reply-threshold", 5000)
        await until(lambda: customers(client, settings) == ["ann"], "the alert that waited", task=task)


def endless_script(url: str) -> None:
    with redis_client.Redis.from_url(url, socket_timeout=None) as connection, pytest.raises(redis_client.ResponseError):
        connection.eval("while true do end", 0)


def foreign_key(client: redis_client.Redis, settings: Settings) -> Settings:
    client.set(f"{settings.redis_prefix}alerts", "somebody else's")
    return settings


def wrong_password(_client: redis_client.Redis, settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_url": settings.redis_url.replace("redis://", "redis://nobody:wrong@")})


def no_permission(client: redis_client.Redis, settings: Settings) -> Settings:
    client.acl_setuser(settings.app, enabled=True, nopass=True, commands=["+@all", "-publish"], keys=["*"], channels=["*"])
    return settings.model_copy(update={"redis_url": settings.redis_url.replace("redis://", f"redis://{settings.app}:any@")})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(foreign_key, "change redis_prefix"), (wrong_password, "rejects the user or the password"), (no_permission, "compare its ACL")],
    ids=["foreign-key", "wrong-password", "no-permission"],
)
async def test_what_only_a_changed_configuration_ends_is_one_sentence_and_writes_nothing(
    settings: Settings, client: redis_client.Redis, spoil: Callable[[redis_client.Redis, Settings], Settings], words: str
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    spoiled = spoil(client, settings)
    with pytest.raises(DeliveryError, match=words):
        await asyncio.wait_for(serve(spoiled, asyncio.Event()), 30)
    assert client.exists(f"{settings.redis_prefix}alerts:active") == 0


async def test_the_endpoint_tells_ready_from_waiting(settings: Settings, redis_server: Redis, unused_tcp_port: int) -> None:
    await create_topics(settings)
    async with publishing(settings.model_copy(update={"metrics_port": unused_tcp_port - 3})) as task:
        url = f"http://127.0.0.1:{unused_tcp_port}/readyz"
        await until_status(url, 200, task)
        await asyncio.to_thread(redis_server.stop)
        try:
            await until_status(url, 503, task)
        finally:
            await asyncio.to_thread(redis_server.start)
        await until_status(url, 200, task)


async def until_status(url: str, status: int, task: asyncio.Task[None]) -> None:
    """Wait until GET answers with this status."""
    seen: list[int] = []

    async def ask(session: aiohttp.ClientSession) -> None:
        while status not in seen[-1:]:
            try:
                async with session.get(url) as response:
                    seen.append(response.status)
            except aiohttp.ClientConnectionError:
                seen.append(0)
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(ask(session))
        await until(asking.done, f"status {status}", task=task)


async def until_committed(settings: Settings, count: int) -> None:
    """Wait until the group has committed what was delivered."""
    for _ in range(300):
        if sum((await committed(settings)).values()) >= count:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the group's offset was not committed")


def lag(metrics: Pipeline) -> float:
    return sum(
        sample.value for family in metrics.registry.collect() if family.name == "streamer_publish_lag_records" for sample in family.samples
    )

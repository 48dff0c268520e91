"""The consumer side on the real Redis: every alert is handled at least once, by somebody, or ends in the dead stream."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_client

from streamer.alerts import AlertConsumer, Delivery, PlainAlertConsumer
from streamer.errors import DeliveryError
from tests import alert_support
from tests.alert_support import RedisWriter, alert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from deploy.local.redis import Redis
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[RedisWriter]:
    writer = RedisWriter(settings)
    yield writer
    await writer.store.close()


def consumer(settings: Settings, name: str = "c-1", **options: Any) -> AlertConsumer:
    values: dict[str, Any] = {"prefix": settings.redis_prefix, "start": "all", **options}
    return AlertConsumer(settings.redis_url, "desk", name, **values)


async def take(source: AlertConsumer, count: int) -> list[Delivery]:
    """The next `count` deliveries, all but the last acknowledged."""
    return [await asyncio.wait_for(anext(source), 20) for _ in range(count)]


def whom(deliveries: list[Delivery]) -> list[str]:
    return [delivery.alert.entity.canonical_id for delivery in deliveries if delivery.alert.entity]


def pending(client: redis_client.Redis, settings: Settings) -> int:
    found: Any = client.xpending(f"{settings.redis_prefix}alerts", "desk")
    return int(found["pending"])


def dead(client: redis_client.Redis, settings: Settings) -> list[dict[bytes, bytes]]:
    entries: Any = client.xrange(f"{settings.redis_prefix}alerts:dead")
    return [fields for _, fields in entries]


class BodyError(Exception):
    """What a body raises."""


async def test_alerts_arrive_in_order_with_their_redis_id_and_are_acknowledged(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(alert("ann"), alert("bob"), alert("ann", "resolved", 2))
    async with consumer(settings) as source:
        got = await take(source, 3)
    assert whom(got) == ["ann", "bob", "ann"]
    assert [delivery.alert.state for delivery in got] == ["firing", "firing", "resolved"]
    assert [delivery.deliveries for delivery in got] == [1, 1, 1]
    assert all(delivery.alert.published_at for delivery in got)
    entries: Any = client.xrange(f"{settings.redis_prefix}alerts")
    assert [delivery.id for delivery in got] == [entry_id.decode() for entry_id, _ in entries]
    assert pending(client, settings) == 0


async def test_a_late_consumer_gets_the_firing_set_and_then_only_what_is_new(settings: Settings, writer: RedisWriter) -> None:
    await writer.write(alert("ann"), alert("bob"), alert("ann", "retracted", 2), alert("old", expires_in_seconds=0.3))
    await asyncio.sleep(0.4)  # "old" expires, and nobody has swept yet
    async with consumer(settings, start="new") as source:
        assert [a.entity.canonical_id for a in await source.active() if a.entity] == ["bob"]
        await writer.write(alert("carl"))
        assert whom(await take(source, 1)) == ["carl"]


async def test_a_body_that_raises_leaves_its_alert_and_a_restart_begins_with_it(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(alert("ann"), alert("bob"), alert("carl"))

    async def handle() -> None:
        async with consumer(settings) as source:
            async for delivery in source:
                if whom([delivery]) == ["bob"]:
                    raise BodyError

    with pytest.raises(BodyError):
        await handle()
    assert pending(client, settings) == 2
    async with consumer(settings) as source:
        await writer.write(alert("dora"))
        got = await take(source, 3)
    assert whom(got) == ["bob", "carl", "dora"]
    assert [delivery.deliveries for delivery in got] == [2, 2, 1]
    assert pending(client, settings) == 0


async def test_a_consumer_killed_before_its_acknowledgement_is_replaced_by_another_which_gets_new_alerts_meanwhile(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(*(alert(f"k{n}") for n in range(30)))
    code = (
        "import sys, time\n"
        "from streamer.alerts import PlainAlertConsumer\n"
        f"with PlainAlertConsumer({settings.redis_url!r}, 'desk', 'victim', prefix={settings.redis_prefix!r}, start='all') as source:\n"
        "    next(iter(source)); sys.stdout.write('x'); sys.stdout.flush(); time.sleep(60)\n"
    )
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    try:
        assert victim.stdout is not None
        assert await victim.stdout.read(1) == b"x"
    finally:
        victim.kill()
        await victim.wait()
    assert pending(client, settings) == 30
    async with consumer(settings, "heir", stale_after_seconds=0.5) as source:
        await writer.write(*(alert(f"n{n}") for n in range(5)))
        got = await take(source, 35)
    assert sorted(whom(got)) == sorted([f"k{n}" for n in range(30)] + [f"n{n}" for n in range(5)])
    assert {d.deliveries for d in got if whom([d])[0].startswith("k")} == {2}
    assert pending(client, settings) == 0


async def test_stale_deliveries_are_claimed_while_new_alerts_never_pause(settings: Settings, writer: RedisWriter) -> None:
    await writer.write(*(alert(f"k{n}") for n in range(25)))
    async with consumer(settings, "victim") as victim:
        (await take(victim, 1))[0].retry_later()
    async with consumer(settings, "heir", stale_after_seconds=0.2, batch=2) as source:
        await asyncio.sleep(0.2)  # the age itself is what is tested
        await writer.write(*(alert(f"n{n}") for n in range(40)))
        order = [name[0] for name in whom(await take(source, 65))]
    assert order.index("n") < 25, "new alerts waited for all stale ones"
    assert "k" in order[:20], "stale ones waited for all new alerts"


async def test_a_poisonous_alert_ends_in_the_dead_stream_and_takes_no_other_with_it(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(alert("ann"), alert("poison"), alert("bob"), alert("carl"))
    handled: list[str] = []
    for _ in range(10):  # a program that is started again each time it dies
        try:
            async with consumer(settings, max_deliveries=3) as source:
                while len(handled) < 3:
                    [delivery] = await take(source, 1)
                    if whom([delivery]) == ["poison"]:
                        raise BodyError
                    handled += whom([delivery])
            break
        except BodyError:
            continue
    assert handled == ["ann", "bob", "carl"]
    [grave] = dead(client, settings)
    assert b'"poison"' in grave[b"alert"]
    assert {k: grave[k] for k in (b"group", b"consumer", b"deliveries", b"reason")} == {
        b"group": b"desk", b"consumer": b"c-1", b"deliveries": b"3", b"reason": b"max_deliveries",
    }  # fmt: skip
    assert pending(client, settings) == 0


async def test_an_entry_that_is_no_alert_goes_to_the_dead_stream_at_once(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(alert("ann"))
    client.xadd(f"{settings.redis_prefix}alerts", {"alert": "{}"})
    client.xadd(f"{settings.redis_prefix}alerts", {"something": "else"})
    await writer.write(alert("bob"))
    async with consumer(settings) as source:
        assert whom(await take(source, 2)) == ["ann", "bob"]
    assert [grave[b"reason"] for grave in dead(client, settings)] == [b"undecodable", b"undecodable"]
    assert pending(client, settings) == 0


async def test_a_delivery_kept_for_later_comes_back(settings: Settings, writer: RedisWriter) -> None:
    await writer.write(alert("ann"))
    async with consumer(settings, stale_after_seconds=0.2) as source:
        [first] = await take(source, 1)
        first.retry_later()
        [second] = await take(source, 1)
    assert (second.id, second.deliveries) == (first.id, 2)


async def test_a_slow_consumer_keeps_what_it_fetched(settings: Settings, writer: RedisWriter) -> None:
    await writer.write(*(alert(f"k{n}") for n in range(6)))
    limits = {"stale_after_seconds": 1.5}
    async with consumer(settings, "slow", **limits) as slow, consumer(settings, "idle", **limits) as idle:
        got = await take(slow, 1)
        claimed = asyncio.create_task(anext(idle))
        for _ in range(5):
            await asyncio.sleep(0.5)  # the time the body takes
            got += await take(slow, 1)
        assert not claimed.done(), "the other consumer claimed what was being worked on"
        idle.stop()
        with pytest.raises(StopAsyncIteration):
            await claimed
    assert [delivery.deliveries for delivery in got] == [1] * 6


async def test_an_alert_trimmed_before_it_was_handled_does_not_stop_its_consumer(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter
) -> None:
    await writer.write(alert("ann"), alert("bob"))
    async with consumer(settings) as source:
        for delivery in await take(source, 2):
            delivery.retry_later()
    client.xtrim(f"{settings.redis_prefix}alerts", maxlen=0, approximate=False)
    await writer.write(alert("carl"))
    async with consumer(settings) as source:
        assert whom(await take(source, 1)) == ["carl"]
    assert pending(client, settings) == 0


async def test_stop_ends_the_loop_after_the_alert_in_hand(settings: Settings, client: redis_client.Redis, writer: RedisWriter) -> None:
    await writer.write(alert("ann"), alert("bob"))
    got = []
    async with consumer(settings) as source:
        async for delivery in source:
            got.append(delivery)
            source.stop()
    assert whom(got) == ["ann"]
    assert pending(client, settings) == 1, "ann is acknowledged, bob waits for the next start"


async def test_a_consumer_survives_redis_going_away_and_losing_everything(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, redis_server: Redis
) -> None:
    await writer.write(alert("ann"))
    async with consumer(settings) as source:
        assert whom(await take(source, 1)) == ["ann"]
        waiting = asyncio.create_task(anext(source))
        await asyncio.to_thread(redis_server.stop)
        redis_server.wipe()
        await asyncio.to_thread(redis_server.start)
        fresh = RedisWriter(settings)
        await fresh.write(alert("bob"))
        assert whom([await asyncio.wait_for(waiting, 20)]) == ["bob"]
        await fresh.store.close()


@pytest.mark.parametrize("event", ["the stream is lost", "the primary becomes a replica and a primary again"])
async def test_a_consumer_that_waits_survives_what_unblocks_it(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, event: str
) -> None:
    await writer.write(alert("ann"))
    async with consumer(settings) as source:
        assert whom(await take(source, 1)) == ["ann"]
        waiting = asyncio.create_task(anext(source))
        await alert_support.until(lambda: int(client.info("clients")["blocked_clients"]) > 0, "the consumer waits for alerts")
        if event == "the stream is lost":
            client.delete(f"{settings.redis_prefix}alerts")
        else:
            client.replicaof("127.0.0.1", "1")
            client.replicaof("NO", "ONE")
        await writer.write(alert("bob"))
        assert whom([await asyncio.wait_for(waiting, 20)]) == ["bob"]


async def test_a_wrong_password_is_one_sentence_and_no_endless_retry(settings: Settings, client: redis_client.Redis, unique: str) -> None:
    client.acl_setuser(unique, enabled=True, passwords=["+right"])
    url = settings.redis_url.replace("redis://", f"redis://{unique}:wrong@")
    with pytest.raises(DeliveryError, match="rejects the user or the password"):
        async with AlertConsumer(url, "desk", "c-1"):
            pass


def test_the_plain_consumer_needs_no_event_loop(settings: Settings, client: redis_client.Redis) -> None:
    async def prepare() -> None:
        writer = RedisWriter(settings)
        await writer.write(*(alert(f"k{n}") for n in range(250)))
        await writer.store.close()

    asyncio.run(prepare())
    got = []
    with PlainAlertConsumer(settings.redis_url, "desk", "c-1", prefix=settings.redis_prefix, start="all") as source:
        assert len(source.active()) == 250
        for delivery in source:
            got.append(delivery)
            if len(got) == 250:
                source.stop()
    assert whom(got) == [f"k{n}" for n in range(250)]
    assert pending(client, settings) == 0


async def test_one_consumer_handles_five_thousand_alerts_a_second(
    settings: Settings, writer: RedisWriter, record_property: Callable[[str, object], None]
) -> None:
    """Per second of its own processor time, so that a busy machine changes nothing; about 30,000 on two cores of 2026."""
    count = 10_000
    for start in range(0, count, 500):
        await writer.write(*(alert(f"k{n}") for n in range(start, start + 500)))
    handled = 0
    began = time.process_time()
    async with consumer(settings) as source:
        async for _ in source:
            handled += 1
            if handled == count:
                source.stop()
    rate = handled / (time.process_time() - began)
    record_property("alerts_per_cpu_second", round(rate))
    assert rate > 5_000

"""The publisher between the real Kafka and the real Redis: every committed alert arrives, once, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_client
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from streamer.alerts.publisher import ATTEMPTS
from streamer.engine.alert_log import AlertLog
from streamer.engine.delivery import Publisher
from streamer.engine.publisher import serve
from streamer.errors import DataLossError, TopicsError, UnreachableError
from streamer.metrics.pipeline import Pipeline
from tests import alert_support
from tests.alert_support import (
    active_customers,
    admin_of,
    alert,
    committed,
    create_topics,
    customers,
    delivered,
    publishing,
    until,
    write,
)  # fmt: skip

if TYPE_CHECKING:
    from deploy.local.kafka import Kafka
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.settings
client = alert_support.client


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


class CrashError(Exception):
    """The end of a process, as far as its code is concerned."""


async def test_a_crash_between_redis_and_the_group_commit_delivers_nothing_twice(
    settings: Settings, client: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])

    async def crash(_self: Publisher) -> None:
        if delivered(client, settings):
            raise CrashError

    monkeypatch.setattr(Publisher, "_commit", crash)
    with pytest.raises(CrashError):
        await serve(settings, asyncio.Event())
    monkeypatch.undo()
    assert customers(client, settings) == ["ann", "bob"]
    assert await committed(settings) == {}
    await write(settings, [alert("carl")])
    async with publishing(settings) as task:
        await until(lambda: "carl" in customers(client, settings), "the alert after the crash", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl"]


async def test_a_publisher_killed_again_and_again_delivers_every_alert_once(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    expected = []
    for life in range(3):
        process = await start_process(settings)
        names = [f"life{life}-{n}" for n in range(50)]
        expected += names
        for start in range(0, 50, 10):
            await write(settings, [alert(name) for name in names[start : start + 10]], partition=life % 2)
        await until(lambda names=names: not set(customers(client, settings)).isdisjoint(names), "the first alerts of this life")  # type: ignore[misc]
        process.kill()  # somewhere between its first delivery and its last commit
        await process.wait()
    async with publishing(settings) as task:
        await until(lambda: len(customers(client, settings)) >= len(expected), "all alerts", task=task)
    assert sorted(customers(client, settings)) == sorted(expected)


async def test_a_reset_group_delivers_nothing_twice(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the alerts", task=task)
    await reset_group(settings, 0)
    await write(settings, [alert("carl")])
    async with publishing(settings) as task:
        await until(lambda: "carl" in customers(client, settings), "the alert after the reset", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl"]


async def test_the_group_offset_follows_for_lag_tools(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    last = await write(settings, [alert("ann"), alert("bob")])
    metrics = Pipeline("publisher")
    async with publishing(settings, metrics) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the alerts", task=task)
    assert await committed(settings) == {0: last + 1}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in metrics.registry.collect() for sample in family.samples
    }
    assert samples["streamer_alerts_delivered_total", ("outcome", "delivered"), ("role", "publisher")] == 2
    assert samples["streamer_alert_latency_seconds_count", ("role", "publisher")] == 2
    assert samples["streamer_alert_latency_seconds_bucket", ("le", "30.0"), ("role", "publisher")] == 2
    assert samples["streamer_partitions_owned", ("role", "publisher")] == 0
    assert not [key for key in samples if key[0] == "streamer_publish_lag_records"], "lag of partitions that are not ours any more"


async def test_two_publishers_share_the_partitions_and_the_second_takes_over(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    stop = asyncio.Event()
    pipelines = (Pipeline("publisher"), Pipeline("publisher"))
    first = asyncio.create_task(serve(settings, stop, pipelines[0]))
    async with publishing(settings, pipelines[1]) as second:
        await until(lambda: sorted(map(owned, pipelines)) == [1, 2], "three partitions in two hands", task=first)
        await write(settings, [alert("ann")], partition=0)
        await write(settings, [alert("bob")], partition=1)
        await until(lambda: len(delivered(client, settings)) == 2, "an alert from each", task=second)
        stop.set()
        await first
        await write(settings, [alert("carl")], partition=0)
        await write(settings, [alert("dora")], partition=1)
        await until(lambda: len(delivered(client, settings)) == 4, "the alerts after the take-over", task=second)
    assert sorted(customers(client, settings)) == ["ann", "bob", "carl", "dora"]


async def test_a_topic_created_again_starts_anew(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("carl")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 3, "the alerts", task=task)
    await delete_topics(settings)
    await create_topics(settings)
    await write(settings, [alert("dora")])
    async with publishing(settings) as task:
        await until(lambda: "dora" in customers(client, settings), "the alert at offset 0 of the new topic", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl", "dora"]


async def test_a_topic_created_again_under_a_running_publisher_starts_anew(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("carl")])
    stop = asyncio.Event()

    async def supervised() -> None:
        while not stop.is_set():
            with contextlib.suppress(TopicsError):  # if it looks just when there is none
                await serve(settings, stop)

    task = asyncio.create_task(supervised())
    await until(lambda: len(delivered(client, settings)) == 3, "the alerts", task=task)
    await delete_topics(settings)
    await create_topics(settings)
    await write(settings, [alert("dora")])
    await until(lambda: "dora" in customers(client, settings), "the alert at offset 0 of the new topic", task=task)
    stop.set()
    await task
    assert customers(client, settings) == ["ann", "bob", "carl", "dora"]


async def test_a_topic_created_again_while_its_partition_is_opened_is_not_taken_for_the_old_one(
    settings: Settings, client: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("carl")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 3, "the alerts", task=task)
    ask, asked = AlertLog.topic_ids, 0

    async def topic_ids(self: AlertLog) -> dict[str, str]:
        nonlocal asked
        asked += 1
        ids = await ask(self)
        if asked == 1:
            await delete_topics(settings)
            await create_topics(settings)
            await write(settings, [alert("dora")])
        return ids

    monkeypatch.setattr(AlertLog, "topic_ids", topic_ids)
    async with publishing(settings) as task:
        await until(lambda: "dora" in customers(client, settings), "the alert at offset 0 of the new topic", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl", "dora"]


async def test_what_is_no_alert_is_skipped_and_counted(
    settings: Settings, client: redis_client.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await create_topics(settings)
    await write(settings, [b"{", alert("ann"), b"\xff\xfe", alert("bob"), b'{"alert_id": 1}'])
    metrics = Pipeline("publisher")
    async with publishing(settings, metrics) as task:
        await until(lambda: len(delivered(client, settings)) == 2, "the two alerts", task=task)
        await write(settings, [b"[]"])
        await write(settings, [alert("carl")])
        await until(lambda: len(delivered(client, settings)) == 3, "the third alert", task=task)
    assert customers(client, settings) == ["ann", "bob", "carl"]
    assert metrics.registry.get_sample_value("streamer_alerts_delivered_total", {"role": "publisher", "outcome": "failed"}) == 4
    assert 1 <= sum("no alerts and were skipped" in record.message for record in caplog.records) <= 2, "one line per batch"


async def lose_two(settings: Settings, client: redis_client.Redis) -> int:
    """One alert is delivered, two more are deleted before anybody delivers them; returns the last one's offset."""
    await create_topics(settings)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
    last = await write(settings, [alert("lost-1"), alert("lost-2")])
    await delete_records(settings, last + 1)
    return last


async def test_undelivered_alerts_that_retention_deleted_are_refused_or_counted(settings: Settings, client: redis_client.Redis) -> None:
    await lose_two(settings, client)
    await write(settings, [alert("bob")])
    with pytest.raises(DataLossError, match="on_data_loss=skip"):
        await serve(settings, asyncio.Event())
    metrics = Pipeline("publisher")
    async with publishing(settings.model_copy(update={"on_data_loss": "skip"}), metrics) as task:
        await until(lambda: "bob" in customers(client, settings), "the alert after the gap", task=task)
    assert customers(client, settings) == ["ann", "bob"]
    lost = metrics.registry.get_sample_value("streamer_alerts_delivered_total", {"role": "publisher", "outcome": "failed"})
    assert lost is not None
    assert lost >= 2


async def test_what_retention_deleted_is_counted_once_though_nothing_comes_after_it(settings: Settings, client: redis_client.Redis) -> None:
    last = await lose_two(settings, client)
    skipping = settings.model_copy(update={"on_data_loss": "skip"})

    def applied() -> bool:
        offsets: Any = client.hvals(f"{settings.redis_prefix}alerts:applied")
        return str(last).encode() in offsets

    async with publishing(skipping, Pipeline("publisher")) as task:
        await until(applied, "the loss", task=task)
    again = Pipeline("publisher")
    async with publishing(skipping, again) as task:
        await write(settings, [alert("bob")])
        await until(lambda: "bob" in customers(client, settings), "the alert after the gap", task=task)
    assert not again.registry.get_sample_value("streamer_alerts_delivered_total", {"role": "publisher", "outcome": "failed"})


async def test_what_retention_deleted_is_counted_once_though_redis_takes_no_writes_at_first(
    settings: Settings, client: redis_client.Redis, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    last = await lose_two(settings, client)
    await write(settings, [alert("bob")])
    # A user who may not load the library: what is refused is to keep how far it is.
    client.acl_setuser(
        settings.app, enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"], commands=["-function|load"]
    )
    request.addfinalizer(lambda: client.acl_deluser(settings.app))
    url = settings.redis_url.replace("redis://", f"redis://{settings.app}:x@")
    skipping = settings.model_copy(update={"on_data_loss": "skip", "redis_url": url})
    client.config_set("min-replicas-to-write", 1)
    request.addfinalizer(lambda: client.config_set("min-replicas-to-write", 0))
    metrics = Pipeline("publisher")

    def refused() -> float:
        labels = {"role": "publisher", "reason": "noreplicas"}
        return metrics.registry.get_sample_value("streamer_redis_refusals_total", labels) or 0

    async with publishing(skipping, metrics) as task:
        await until(lambda: refused() > 3 * ATTEMPTS, "several turns", task=task)
        client.config_set("min-replicas-to-write", 0)
        await until(lambda: "bob" in customers(client, settings), "the alert after the gap", task=task)
    lost = metrics.registry.get_sample_value("streamer_alerts_delivered_total", {"role": "publisher", "outcome": "failed"})
    assert lost == last, "all from offset 1 on, behind the first alert"
    assert sum("skipped what retention has deleted" in record.message for record in caplog.records) == 1


async def test_sigterm_ends_the_process_in_order(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    process = await start_process(settings)
    await until(lambda: bool(delivered(client, settings)), "the alert")
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert await committed(settings) != {}


async def test_a_missing_topic_is_one_sentence(settings: Settings) -> None:
    with pytest.raises(TopicsError, match="streamer topics create"):
        await serve(settings, asyncio.Event())


async def test_a_missing_broker_is_one_sentence(settings: Settings) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        await serve(settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"}), asyncio.Event())


async def test_a_broker_that_restarts_is_waited_for(settings: Settings, client: redis_client.Redis, kafka: Kafka) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        await asyncio.to_thread(kafka.restart)
        await write(settings, [alert("bob")])
        await until(lambda: "bob" in customers(client, settings), "the alert after the restart", task=task)
    assert customers(client, settings) == ["ann", "bob"]


def owned(metrics: Pipeline) -> float:
    return metrics.registry.get_sample_value("streamer_partitions_owned", {"role": "publisher"}) or 0.0


async def start_process(settings: Settings) -> asyncio.subprocess.Process:
    code = "import sys; from streamer.engine.publisher import run; from streamer.settings import load; sys.exit(run(load()))"
    names = ("app", "topic_prefix", "kafka_bootstrap", "redis_url", "redis_prefix", "session_timeout_seconds", "metrics_port")
    environment = {f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in names}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={**os.environ, **environment})


async def reset_group(settings: Settings, offset: int) -> None:
    """What kafka-consumer-groups.sh --reset-offsets does."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, group_id=f"{settings.app}-publisher", enable_auto_commit=False)
    async with consumer:
        partition = TopicPartition(settings.topic("alerts"), 0)
        consumer.assign([partition])
        await consumer.commit({partition: offset})


async def delete_records(settings: Settings, before: int) -> None:
    async with admin_of(settings) as admin:
        await admin.delete_records({TopicPartition(settings.topic("alerts"), 0): RecordsToDelete(before)})


async def delete_topics(settings: Settings) -> None:
    names = {settings.topic("alerts"), settings.topic("aggregate-alerts")}
    async with admin_of(settings) as admin:
        await admin.delete_topics(list(names))
        for _ in range(200):
            if not names & set(await admin.list_topics()):
                return
            await asyncio.sleep(0.05)
    pytest.fail("the broker did not delete the topics within 10 s")

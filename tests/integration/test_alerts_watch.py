"""What the publisher tells about consumer groups, refusals of Redis and outcomes: real Kafka, real Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from streamer.alerts import Outcomes
from streamer.alerts.publisher import LIBRARY
from streamer.metrics.pipeline import Pipeline
from tests import alert_support
from tests.alert_support import alert, create_topics, delivered, publishing, until, write

if TYPE_CHECKING:
    import redis as redis_client

    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.settings
client = alert_support.client


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.engine.delivery.HOUSEKEEPING_SECONDS", 0.05)


def value(metrics: Pipeline, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"role": "publisher", **labels})


async def test_a_group_that_falls_behind_shows_and_what_is_removed_before_it_reads_counts(
    settings: Settings, client: redis_client.Redis
) -> None:
    await create_topics(settings)
    metrics = Pipeline("publisher")
    small = settings.model_copy(update={"alert_stream_length": 100})
    stream = f"{settings.redis_prefix}alerts"

    def lag(group: str) -> float | None:
        return value(metrics, "streamer_alert_group_lag_records", group=group)

    def lost(group: str) -> float:
        return value(metrics, "streamer_alert_stream_trimmed_unread_total", group=group) or 0.0

    async with publishing(small, metrics) as task:
        await write(settings, [alert("first")])
        await until(lambda: len(delivered(client, settings)) == 1, "the first alert", task=task)
        client.xgroup_create(stream, "slow", "0")
        client.xgroup_create(stream, "quick", "0")
        client.xreadgroup("slow", "c", {stream: ">"}, count=1)
        await until(lambda: lag("slow") == 0 and lag("quick") == 1, "both groups to be told", task=task)
        assert value(metrics, "streamer_alert_group_pending_records", group="slow") == 1

        await write(settings, [alert(f"k{n}") for n in range(80)])
        await until(lambda: lag("slow") == 80, "the slow group's lag", task=task)
        client.xreadgroup("quick", "c", {stream: ">"}, count=1000)
        await until(lambda: lag("quick") == 0, "the quick group to have caught up", task=task)
        assert (lost("slow"), lost("quick")) == (0, 0)

        for begin in range(100, 500, 100):  # about: Redis removes whole nodes of a hundred entries
            await write(settings, [alert(f"k{n}") for n in range(begin, begin + 100)])
            client.xreadgroup("quick", "c", {stream: ">"}, count=1000)
        await until(lambda: client.xlen(stream) <= 200, "the bound", task=task)
        await until(lambda: lost("slow") == 481 - client.xlen(stream) - 1, "what the slow group lost", task=task)
        client.xgroup_destroy(stream, "slow")
        await until(lambda: lag("slow") is None, "the group to be forgotten", task=task)
    assert lag("quick") is None, "a publisher that has ended leaves it to the next"


def full(client: redis_client.Redis) -> Any:
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


def read_only(client: redis_client.Redis) -> Any:
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


@pytest.mark.parametrize(("break_it", "reason"), [(full, "oom"), (read_only, "readonly")], ids=["out-of-memory", "read-only-replica"])
async def test_why_redis_refuses_is_counted(settings: Settings, client: redis_client.Redis, break_it: Any, reason: str) -> None:
    await create_topics(settings)
    await write(settings, [alert("ann")])
    metrics = Pipeline("publisher")

    def refused() -> float:
        return value(metrics, "streamer_redis_refusals_total", reason=reason) or 0.0

    async with publishing(settings, metrics) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        assert refused() == 0
        mend = break_it(client)
        try:
            await write(settings, [alert("bob")])
            await until(lambda: refused() > 0, "the refusal to be counted", task=task)
        finally:
            mend()
        await until(lambda: len(delivered(client, settings)) == 2, "the alert that waited", task=task)


async def test_what_became_of_a_rules_alerts_is_told_and_brought_up_to_date(settings: Settings, client: redis_client.Redis) -> None:
    await create_topics(settings)
    metrics = Pipeline("publisher")
    rule = "abandoned-with-friction"
    fired = [alert(f"k{n}") for n in range(51)]
    async with publishing(settings, metrics) as task, Outcomes(settings.redis_url, prefix=settings.redis_prefix) as outcomes:
        await write(settings, fired)
        await until(lambda: len(delivered(client, settings)) == 51, "the alerts", task=task)
        await outcomes.acknowledge(fired[0], by="x")
        await until(lambda: value(metrics, "streamer_rule_outcomes", rule=rule, outcome="none") == 1, "an acknowledgement", task=task)
        assert value(metrics, "streamer_rule_precision_ratio", rule=rule) is None
        assert value(metrics, "streamer_rule_noisy", rule=rule) == 0
        median = value(metrics, "streamer_alert_acknowledge_seconds", rule=rule, quantile="0.5")
        assert median is not None
        assert 0 <= median < 60

        await outcomes.acknowledge(fired[0], by="x", outcome="saved")
        await outcomes.acknowledge(fired[1], by="x", outcome="lost")
        await until(lambda: value(metrics, "streamer_rule_precision_ratio", rule=rule) == 1.0, "the precision", task=task)
        assert value(metrics, "streamer_rule_saved_ratio", rule=rule) == 0.5
        for one in fired[2:]:
            await outcomes.acknowledge(one, by="x", outcome="false-alarm")
        await until(lambda: value(metrics, "streamer_rule_noisy", rule=rule) == 1, "the rule to be noisy", task=task)
        assert value(metrics, "streamer_rule_outcomes", rule=rule, outcome="false-alarm") == 49
        client.delete(f"{settings.redis_prefix}alerts:outcomes", f"{settings.redis_prefix}alerts:outcomes:age")
        await until(lambda: value(metrics, "streamer_rule_noisy", rule=rule) is None, "what is not known any more", task=task)


async def test_a_publisher_brings_its_version_of_the_library_unasked(settings: Settings, client: redis_client.Redis) -> None:
    older = "".join(line for line in LIBRARY.splitlines(keepends=True) if "'cx_alerts_acknowledge_1'" not in line)
    client.function_load(older, replace=True)
    assert b"cx_alerts_acknowledge_1" not in str(client.function_list()).encode()
    await create_topics(settings)
    async with publishing(settings) as task:
        await until(lambda: b"cx_alerts_acknowledge_1" in str(client.function_list()).encode(), "the new function", task=task)


async def test_a_user_of_an_earlier_version_delivers_all_the_same(
    settings: Settings, client: redis_client.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.execute_command("ACL SETUSER", settings.app, "on", ">pw", "~*", "&*", "+@all", "-xinfo", "-zrevrange", "-function|load")  # type: ignore[no-untyped-call]
    await create_topics(settings)
    await write(settings, [alert("ann")])
    older = settings.model_copy(update={"redis_url": settings.redis_url.replace("redis://", f"redis://{settings.app}:pw@")})
    client.function_load(LIBRARY, replace=True)
    async with publishing(older) as task:
        await until(lambda: len(delivered(client, settings)) == 1, "the alert", task=task)
        await until(lambda: caplog.text.count("the publisher cannot") == 3, "each of the three to be said", task=task)
        await asyncio.sleep(0.3)
    assert caplog.text.count("the publisher cannot") == 3, "once"

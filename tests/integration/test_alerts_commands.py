"""`streamer alerts`: what it prints, from the real Redis and Kafka."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis as redis_client
from typer.testing import CliRunner

from streamer.alerts.alert import Alert, decode, encode
from streamer.cli import app
from streamer.errors import DataLossError, UnreachableError
from tests import alert_support
from tests.alert_support import (
    RedisWriter,
    active_customers,
    alert,
    create_topics,
    customers,
    delivered,
    publishing,
    settings_for,
    until,
    write,
)

if TYPE_CHECKING:
    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

client = alert_support.client

TIMES: dict[str, Any] = {
    "event_time": "2026-11-21T10:15:03.120Z",
    "detected_at": "2026-11-21T10:15:03.400Z",
    "expires_at": "2096-11-22T10:15:03.400Z",
}
GOLDEN = (
    '{"alert_id":"8f2e7a0b55c1d001","episode_id":"e1","fingerprint":"f1","schema_version":1,"state":"firing","severity":"warning",'
    '"rule":{"id":"abandoned-with-friction","version":1,"text":"abandoned and friction >= 1"},'
    '"entity":{"canonical_id":"ann","journey":"checkout","journey_id":"c-1"},'
    '"metric":{"name":"friction","value":2.0,"signals":{"payment.failed":2}},"why":"checkout c-1 was abandoned after 2 failed payments",'
    '"event_time":"2026-11-21T10:15:03.120Z","detected_at":"2026-11-21T10:15:03.400Z","expires_at":"2096-11-22T10:15:03.400Z",'
    '"published_at":"PUBLISHED"}\n'
)


@pytest.fixture
def settings(redis_server: Redis, unique: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = settings_for(unique, None, redis_server)
    use(found, monkeypatch)
    return found


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands of this process have these settings."""
    for name in ("app", "topic_prefix", "kafka_bootstrap", "redis_url", "redis_prefix"):
        monkeypatch.setenv(f"STREAMER_{name.upper()}", str(getattr(settings, name)))


def fill(settings: Settings, *records: Alert) -> None:
    async def run() -> None:
        writer = RedisWriter(settings)
        await writer.write(*records)
        await writer.store.close()

    asyncio.run(run())


def golden_alert(state: str = "firing") -> Alert:
    return alert("ann", state, alert_id="8f2e7a0b55c1d001", episode_id="e1", fingerprint="f1", evidence=[], evidence_count=0, **TIMES)


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["alerts", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return re.sub(r'"published_at":"[^"]*"', '"published_at":"PUBLISHED"', result.output)


@pytest.mark.parametrize("command", [("tail", "--json"), ("active", "--json")], ids=["tail", "active"])
def test_json_is_the_record_one_per_line(settings: Settings, command: tuple[str, ...]) -> None:
    fill(settings, golden_alert())
    assert printed(*command) == GOLDEN


def test_tail_prints_the_last_ones_oldest_first(settings: Settings) -> None:
    fill(settings, *(alert(f"k{n}") for n in range(15)))
    lines = printed("tail", "--json", "--last", "3").splitlines()
    assert [json.loads(line)["entity"]["canonical_id"] for line in lines] == ["k12", "k13", "k14"]
    assert len(printed("tail", "--json").splitlines()) == 10


def test_active_leaves_out_what_ended_or_expired(settings: Settings) -> None:
    fill(settings, alert("ann"), alert("bob"), alert("ann", "resolved", 2), alert("late", expires_in_seconds=-1))
    assert [json.loads(line)["entity"]["canonical_id"] for line in printed("active", "--json").splitlines()] == ["bob"]


def test_without_json_a_line_says_when_what_whom_and_why(settings: Settings) -> None:
    fill(settings, alert("ann", why="gave up \x1b[31mred", **TIMES))
    [line] = printed("tail").splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\S+Z +firing +warning +abandoned-with-friction +ann checkout c-1 +gave up \ufffd\[31mred", line.strip()
    )


def test_nothing_in_redis_prints_nothing(settings: Settings) -> None:
    assert printed("tail", "--json") == printed("active", "--json") == ""


async def test_follow_prints_alerts_as_they_come(settings: Settings) -> None:
    writer = RedisWriter(settings)
    await writer.write(alert("ann"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streamer",
        "alerts",
        "tail",
        "--follow",
        "--json",
        "--last",
        "1",
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for expected in ("ann", "bob", "carl"):
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert json.loads(line)["entity"]["canonical_id"] == expected
            await writer.write(alert({"ann": "bob", "bob": "carl"}.get(expected, "end")))
    finally:
        process.kill()
        await process.wait()
        await writer.store.close()


def test_a_redis_that_is_not_there_is_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", "redis://127.0.0.1:1/0")
    for command in ("tail", "active"):
        result = CliRunner().invoke(app, ["alerts", command])
        assert "Redis at 127.0.0.1:1 cannot be reached" in str(result.exception)


async def test_rebuild_makes_the_active_set_what_kafka_says(
    kafka: Kafka, redis_server: Redis, client: redis_client.Redis, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(unique, kafka, redis_server)
    use(settings, monkeypatch)
    await create_topics(settings)
    await write(settings, [alert("ann"), alert("bob"), alert("carl"), alert("ann", "resolved", 2)])
    await write(settings, [alert("dora")], partition=1)
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 5, "the alerts", task=task)
    before = delivered(client, settings)
    active = f"{settings.redis_prefix}alerts:active"
    client.hdel(active, alert("bob").fingerprint)
    client.hset(active, "stale", encode(alert("stale")))
    client.hset(active, alert("ann").fingerprint, encode(alert("ann")))
    await write(settings, [alert("carl", "resolved", 2), alert("emil")])  # not delivered yet: not the rebuild's to tell

    report = json.loads(await asyncio.to_thread(printed, "rebuild", "--json"))
    assert report == {"partitions": 3, "restored": 3, "removed": 1}
    assert active_customers(client, settings) == ["bob", "carl", "dora"]
    assert delivered(client, settings) == before, "the stream is left as it is"
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 7, "the alerts that came after", task=task)
    assert active_customers(client, settings) == ["bob", "dora", "emil"]


async def test_rebuild_during_a_storm_lets_out_nothing_that_it_holds_back(
    kafka: Kafka, redis_server: Redis, client: redis_client.Redis, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(unique, kafka, redis_server).model_copy(update={"alert_storm_limit": 2})
    use(settings, monkeypatch)
    await create_topics(settings)
    await write(settings, [alert(name) for name in ("ann", "bob", "carl", "dora")])
    active = f"{settings.redis_prefix}alerts:active"

    def held() -> dict[str, bool]:
        found = [decode(record) for record in cast("dict[bytes, bytes]", client.hgetall(active)).values()]
        return {one.entity.canonical_id if one.entity else "storm": one.held for one in found}

    async with publishing(settings) as task:
        await until(lambda: len(held()) == 5, "the alerts and the summary", task=task)
    before, told = held(), delivered(client, settings)
    assert before == {"ann": False, "bob": False, "carl": True, "dora": True, "storm": False}

    report = json.loads(await asyncio.to_thread(printed, "rebuild", "--json"))
    assert report == {"partitions": 3, "restored": 4, "removed": 0}
    assert held() == before
    await write(settings, [alert("carl", "resolved", 2)])
    async with publishing(settings) as task:
        await until(lambda: "carl" not in held(), "its end", task=task)
    assert delivered(client, settings) == told, "its beginning was never told, so its end is not"


async def test_rebuild_while_the_publisher_works_ends_with_what_kafka_says(
    kafka: Kafka, redis_server: Redis, client: redis_client.Redis, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(unique, kafka, redis_server)
    use(settings, monkeypatch)
    await create_topics(settings)
    await write(settings, [alert(f"k{n}") for n in range(600)])
    async with publishing(settings) as task:
        await until(lambda: len(delivered(client, settings)) == 600, "the first alerts", task=task)
        rebuilding = asyncio.create_task(asyncio.to_thread(printed, "rebuild", "--json"))
        for start in range(0, 600, 50):
            await write(settings, [alert(f"k{n}", "resolved", 2) for n in range(start, start + 50, 2)])
        await rebuilding
        await until(lambda: len(delivered(client, settings)) == 900, "the resolutions", task=task)
    assert active_customers(client, settings) == sorted(f"k{n}" for n in range(1, 600, 2))


async def test_rebuild_mends_a_redis_that_is_ahead_of_kafka(
    kafka: Kafka, redis_server: Redis, client: redis_client.Redis, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(unique, kafka, redis_server)
    use(settings, monkeypatch)
    await create_topics(settings, partitions=1)
    await write(settings, [alert("ann")])
    async with publishing(settings) as task:
        await until(lambda: customers(client, settings) == ["ann"], "the alert", task=task)
    applied = f"{settings.redis_prefix}alerts:applied"
    [field] = [key for key, offset in client.hgetall(applied).items() if offset == b"0"]
    client.hset(applied, field, 1000)  # the broker came back without its last records
    with pytest.raises(DataLossError, match="alerts rebuild"):
        async with publishing(settings) as task:
            await asyncio.wait_for(task, 30)
    await asyncio.to_thread(printed, "rebuild")
    await write(settings, [alert("bob")])
    async with publishing(settings) as task:
        await until(lambda: "bob" in customers(client, settings), "the next alert", task=task)


def test_rebuild_without_a_broker_is_one_sentence(settings: Settings) -> None:
    result = CliRunner().invoke(app, ["alerts", "rebuild"])
    assert isinstance(result.exception, UnreachableError)

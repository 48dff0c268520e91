from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local import ports
from streamer.engine import doctor, topic_admin
from streamer.settings import Settings

if TYPE_CHECKING:
    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka: Kafka, redis_server: Redis, unique: str) -> Settings:
    return Settings(
        app=unique, topic_prefix=f"{unique}.", partitions=2, metrics_port=0, kafka_bootstrap=kafka.bootstrap, redis_url=redis_server.url
    )


def run(settings: Settings) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit code and name -> (status, detail and fix) of `streamer doctor --json`."""
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap", "redis_url", "metrics_port")
    environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in fields}}
    result = subprocess.run(
        [sys.executable, "-m", "streamer", "doctor", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["ok"] == (result.returncode == 0)
    found: dict[str, list[tuple[str, str]]] = {}
    for check in report["checks"]:
        found.setdefault(check["name"], []).append((check["status"], f"{check['detail']}: {check['fix']}"))
    return result.returncode, found


async def test_with_everything_there_it_finds_nothing(settings: Settings) -> None:
    await topic_admin.create(settings)
    code, found = run(settings)
    assert code == 0
    assert {status for checks in found.values() for status, _ in checks} == {"ok"}, found
    assert set(found) == {"settings", "definitions", "ports", "kafka", "topics", "workers", "redis"}


def test_missing_topics_name_the_command(settings: Settings) -> None:
    code, found = run(settings)
    assert code == 1
    assert len(found["topics"]) == 10
    assert all(status == "failed" and "run `streamer topics create`" in text for status, text in found["topics"])


def test_servers_that_are_away_are_named_with_what_to_do(settings: Settings) -> None:
    nowhere = f"127.0.0.1:{ports.pick()}"
    code, found = run(settings.model_copy(update={"kafka_bootstrap": nowhere, "redis_url": f"redis://:secret@{nowhere}/0"}))
    assert code == 1
    ((status, text),) = found["kafka"]
    assert status == "failed"
    assert nowhere in text
    assert text.endswith("start it or set kafka_bootstrap")
    ((status, text),) = found["redis"]
    assert status == "failed"
    assert text.endswith("start it or set redis_url and redis_password")
    assert "secret" not in text


async def test_running_workers_are_counted_per_machine(settings: Settings) -> None:
    await topic_admin.create(settings)
    members = [
        AIOKafkaConsumer(settings.topic("touchpoints"), bootstrap_servers=settings.kafka_bootstrap, group_id=f"{settings.app}-journeys")
        for _ in range(3)
    ]
    try:
        for member in members:
            await member.start()
        findings = {finding.detail: finding for finding in await doctor.kafka(settings) if finding.name == "workers"}
    finally:
        for member in members:
            await member.stop()
    idle = findings["journeys: 2 partitions, 3 workers running, 1 of them idle"]
    assert idle.status == "warning"
    assert findings["rollup: 1 partition, 0 workers running"].status == "ok"

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local import ports
from streamer.engine import topic_admin
from streamer.errors import TopicsError, UnreachableError
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.admin import AIOKafkaAdminClient

    from deploy.local.kafka import Kafka

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka: Kafka, unique: str) -> Settings:
    return Settings(app=unique, topic_prefix=f"{unique}.", partitions=4, kafka_bootstrap=kafka.bootstrap)


async def until_observed(admin: AIOKafkaAdminClient, topic: str, holds: Callable[[topic_admin.Observed], bool]) -> None:
    """The broker answers a change before its metadata shows it."""
    async with asyncio.timeout(10):
        while not holds((await topic_admin.observe(admin, [topic]))[topic]):  # noqa: ASYNC110  polling a broker
            await asyncio.sleep(0.05)


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`streamer topics ...` as a user runs it."""
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap")
    environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in fields}}
    return subprocess.run(
        [sys.executable, "-m", "streamer", "topics", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


async def test_created_topics_have_what_was_asked_for_and_creating_again_changes_nothing(settings: Settings) -> None:
    wanted = topic_admin.specs(settings)
    assert sorted(await topic_admin.create(settings)) == sorted(spec.name for spec in wanted)
    async with topic_admin.connected(settings) as admin:
        found = await topic_admin.observe(admin, [spec.name for spec in wanted])
    for spec in wanted:
        assert found[spec.name].partitions == spec.partitions
        assert dict(spec.config).items() <= found[spec.name].config.items()
    assert await topic_admin.create(settings) == []
    assert await topic_admin.check(settings) == []
    await topic_admin.require(settings)


async def test_two_that_create_at_once_both_succeed(settings: Settings) -> None:
    first, second = await asyncio.gather(topic_admin.create(settings), topic_admin.create(settings))
    assert sorted({*first, *second}) == sorted(spec.name for spec in topic_admin.specs(settings))
    assert await topic_admin.check(settings) == []


async def test_a_grown_source_is_refused_with_the_way_to_grow(settings: Settings) -> None:
    await topic_admin.create(settings)
    async with topic_admin.connected(settings) as admin:
        source = settings.topic("touchpoints")
        await admin.create_partitions({source: NewPartitions(8)})
        await until_observed(admin, source, lambda observed: observed.partitions == 8)
    with pytest.raises(TopicsError, match=r"has 8 partitions instead of 4: state is bound .* create new topics"):
        await topic_admin.require(settings)


async def test_create_time_is_refused_and_can_be_accepted(settings: Settings) -> None:
    await topic_admin.create(settings)
    async with topic_admin.connected(settings) as admin:
        change = ConfigResource(ConfigResourceType.TOPIC, settings.topic("touchpoints"), {"message.timestamp.type": "CreateTime"})
        await admin.alter_configs([change])
        await until_observed(admin, change.name, lambda observed: observed.config["message.timestamp.type"] == "CreateTime")
    with pytest.raises(TopicsError, match=r"message\.timestamp\.type=CreateTime instead of LogAppendTime"):
        await topic_admin.require(settings)
    await topic_admin.require(settings.model_copy(update={"accept_create_time": True}))


async def test_no_broker_is_one_sentence(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{ports.pick()}"})
    with pytest.raises(UnreachableError, match=r"Kafka at 127\.0\.0\.1:\d+ does not answer .*: start it or set kafka_bootstrap"):
        await topic_admin.check(nowhere)


def test_the_commands_print_what_they_did_and_end_with_documented_codes(settings: Settings) -> None:
    missing = run(settings, "check", "--json")
    assert missing.returncode == 3
    assert {entry["what"] for entry in json.loads(missing.stdout)["deviations"]} == {"does not exist"}
    assert missing.stderr == ""

    created = run(settings, "create", "--json")
    assert created.returncode == 0, created.stderr
    assert len(json.loads(created.stdout)["created"]) == 10

    again = run(settings, "create")
    assert again.returncode == 0
    assert again.stdout == "all 10 topics exist\n"
    fine = run(settings, "check")
    assert fine.returncode == 0
    assert fine.stdout == "all 10 topics are as they should be\n"


def test_no_broker_ends_a_command_with_its_code_and_one_line(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{ports.pick()}"})
    result = run(nowhere, "check")
    assert result.returncode == 8
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("streamer: Kafka at 127.0.0.1")

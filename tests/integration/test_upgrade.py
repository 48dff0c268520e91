"""A worker that finds the rows of an earlier version goes on from them; of a newer one it says so and ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from deploy.local import ports
from streamer import topics
from streamer.engine import topic_admin
from streamer.errors import StateError
from streamer.journeys import marker
from streamer.journeys import row as rows_of
from streamer.processor import MARKER_KEY, ROW_PREFIX
from streamer.rollup import rows as rollup_rows
from streamer.settings import Settings
from tests import golden_rows
from tests.engine_support import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from tests.golden_rows import Entry, Golden

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SOURCES = {"journeys": topics.TOUCHPOINTS, "rollup": topics.DELTAS}


class Upgraded:
    """The topics of one partition as an earlier version left them, and a worker of this one."""

    def __init__(self, kafka: Kafka, redis_server: Redis, unique: str, directory: Path, golden: Golden) -> None:
        base = next(port for port in iter(ports.pick, None) if all(ports.is_free(port + n) for n in range(1, 4)))
        self.settings = Settings(
            app=unique, topic_prefix=f"{unique}.", redis_prefix=f"{unique}:", partitions=1, metrics_port=base,
            kafka_bootstrap=kafka.bootstrap, redis_url=redis_server.url,
        )  # fmt: skip
        self.golden = golden
        self.source = self.settings.topic(SOURCES[golden.machine])
        self._log = directory / "log"
        self._definitions = directory / "definitions.toml"
        self._definitions.write_text(golden.definitions)

    async def write(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """The log so far, and these rows in the changelog."""
        await topic_admin.create(self.settings)
        await self.append(self.golden.before)
        changelog = topics.changelog_name(self.settings.app, self.golden.machine)
        async with AIOKafkaProducer(bootstrap_servers=self.settings.kafka_bootstrap) as producer:
            await asyncio.gather(*[await producer.send(changelog, value, key, partition=0) for key, value in rows])

    async def append(self, entries: Sequence[Entry]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.settings.kafka_bootstrap) as producer:
            await asyncio.gather(*[await producer.send(self.source, entry.value, entry.key, partition=0) for entry in entries])

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        fields = ("app", "topic_prefix", "redis_prefix", "partitions", "kafka_bootstrap", "redis_url", "metrics_port")
        values = {f"STREAMER_{name.upper()}": str(getattr(self.settings, name)) for name in fields}
        command = [sys.executable, "-m", "streamer", "worker", "--definitions", str(self._definitions), *arguments]
        with self._log.open("wb") as log:
            return subprocess.Popen(command, env={**os.environ, **values}, stderr=log)

    async def ended(self, process: subprocess.Popen[bytes]) -> int:
        await until(lambda: process.poll() is not None, f"the worker ends; its log: {self.log[-3000:]}", 90)
        return int(process.returncode)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def said(self, sentence: str) -> bool:
        """Whether a line of the log has the sentence, and no line a traceback."""
        lines = [json.loads(line) for line in self.log.splitlines()]
        return any(sentence in line["message"] for line in lines) and not any("Traceback" in line for line in self.log.splitlines())


def newer_rows(golden: Golden) -> list[tuple[bytes, bytes]]:
    """The rows with a marker of the next schema."""
    rows = dict(golden.rows)
    if golden.machine == "journeys":
        rows[MARKER_KEY] = msgspec.json.encode({**msgspec.json.decode(rows[MARKER_KEY]), "schema": marker.MARKER_SCHEMA + 1})
    else:
        rows[MARKER_KEY] = msgspec.msgpack.encode({**msgspec.msgpack.decode(rows[MARKER_KEY]), "schema": rollup_rows.SCHEMA + 1})
    return list(rows.items())


SENTENCES = {
    "journeys": "the state was written by a newer build (golden): start a build that reads schema",
    "rollup": "the rollup's state was written in format",
}


@pytest.mark.parametrize("file", sorted(golden_rows.FOLDER.glob("*.json")), ids=lambda file: file.stem)
async def test_a_worker_goes_on_from_rows_of_every_earlier_version(
    kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path, file: Path
) -> None:
    golden = golden_rows.load(file)
    upgraded = Upgraded(kafka, redis_server, unique, tmp_path, golden)
    await upgraded.write(golden.rows)
    worker = upgraded.start("--role", golden.machine)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await upgraded.append(golden.after)
        end = len(golden.before) + len(golden.after)

        async def reached() -> bool:
            assert worker.poll() is None, upgraded.log
            try:
                offsets = await admin.list_consumer_group_offsets(f"{unique}-{golden.machine}")
            except GroupCoordinatorNotAvailableError:  # a broker that never had a group
                return False
            found = offsets.get(TopicPartition(upgraded.source, 0))
            return found is not None and found.offset == end

        await until(reached, "the new records are committed", 90)
    finally:
        await admin.close()
        worker.send_signal(signal.SIGTERM)
    assert await upgraded.ended(worker) == 0
    assert upgraded.said(f"partition 0 restored: {len(golden.rows)} rows read")


@pytest.mark.parametrize("arguments", [("--role",), ()], ids=["role", "supervised"])
@pytest.mark.parametrize("machine", ["journeys", "rollup"])
async def test_a_worker_refuses_the_state_of_a_newer_version(
    kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path, machine: str, arguments: tuple[str, ...]
) -> None:
    golden = golden_rows.load(golden_rows.file_of(machine))
    upgraded = Upgraded(kafka, redis_server, unique, tmp_path, golden)
    await upgraded.write(newer_rows(golden))
    worker = upgraded.start(*arguments, *([machine] if arguments else []))
    assert await upgraded.ended(worker) == StateError.exit_code
    assert upgraded.said(SENTENCES[machine])


async def test_a_worker_refuses_a_customers_row_of_a_newer_version(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path) -> None:
    golden = golden_rows.load(golden_rows.file_of("journeys"))
    newer = [
        (key, msgspec.msgpack.encode([rows_of.ROW_SCHEMA + 1, *msgspec.msgpack.decode(row)[1:]]) if key[:1] == ROW_PREFIX else row)
        for key, row in golden.rows
    ]
    upgraded = Upgraded(kafka, redis_server, unique, tmp_path, golden)
    await upgraded.write(newer)
    await upgraded.append(golden.after)
    worker = upgraded.start("--role", "journeys")
    assert await upgraded.ended(worker) == StateError.exit_code
    assert upgraded.said(f"state row has schema {rows_of.ROW_SCHEMA + 1}, this build reads {rows_of.ROW_SCHEMA}")

"""The local stack: real servers come up, answer, go down by their own process id, and say clearly why they cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis as redis_client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import ports, programs, stack
from deploy.local.kafka import ARCHIVE
from deploy.local.process import Identity, await_condition, require_disk
from deploy.local.prometheus import Target
from deploy.local.redis import Redis
from deploy.local.stack import STATE
from streamer.errors import StackError

if TYPE_CHECKING:
    from deploy.local.kafka import Kafka
    from tests.servers import PrometheusFactory

pytestmark = pytest.mark.integration


async def write_and_read(bootstrap: str, topic: str, value: bytes) -> list[bytes]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 << 20) as producer:
        await producer.send_and_wait(topic, value)
    return await read(bootstrap, topic)


async def read(bootstrap: str, topic: str) -> list[bytes]:
    """Everything in partition 0, up to its end as of now."""
    values: list[bytes] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        [partition] = consumer.assignment()
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            values += [record.value for record in (await consumer.getmany(timeout_ms=100)).get(partition, [])]
    return values


async def create(bootstrap: str, topic: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
    finally:
        await admin.close()


async def test_kafka_stores_a_record_of_four_mebibytes(kafka: Kafka, unique: str) -> None:
    value = os.urandom(4 << 20)
    await create(kafka.bootstrap, unique, **{"max.message.bytes": str(5 << 20)})
    assert await write_and_read(kafka.bootstrap, unique, value) == [value]


async def test_kafka_creates_no_topic_by_accident(kafka: Kafka, unique: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=2000) as producer:
        with pytest.raises(Exception, match=r"(?i)timeout|unknown") as caught:
            await producer.send_and_wait(unique, b"x")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        assert unique not in await admin.list_topics(), caught.value
    finally:
        await admin.close()


async def test_kafka_keeps_its_log_and_port_over_a_crash(kafka: Kafka, unique: str) -> None:
    await create(kafka.bootstrap, unique)
    assert await write_and_read(kafka.bootstrap, unique, b"kept") == [b"kept"]
    port, pid = kafka.port, kafka.pid
    kafka.kill()
    assert not kafka.is_running
    await asyncio.to_thread(kafka.start)
    assert (kafka.port, kafka.pid != pid) == (port, True)
    assert await read(kafka.bootstrap, unique) == [b"kept"]


def test_kafka_starts_from_the_archive_of_its_classes(kafka: Kafka) -> None:
    archive = STATE.resolve() / "kafka-lib" / ARCHIVE
    if not archive.exists():
        pytest.skip("no archive of classes here: `make servers` makes one, if the JVM can")
    assert kafka.identity is not None
    assert str(archive) in Path(f"/proc/{kafka.identity.pid}/maps").read_text()


def test_a_second_start_of_a_running_server_is_refused(redis_server: Redis) -> None:
    with pytest.raises(StackError, match="already runs"):
        redis_server.start()


def test_redis_answers_and_forgets_only_when_wiped(redis_server: Redis, unique: str) -> None:
    with redis_client.Redis.from_url(redis_server.url) as client:
        client.set(unique, "here")
    redis_server.restart()
    with redis_client.Redis.from_url(redis_server.url) as client:
        assert client.get(unique) == b"here"
    redis_server.stop()
    redis_server.wipe()
    redis_server.start()
    with redis_client.Redis.from_url(redis_server.url) as client:
        assert client.get(unique) is None


def test_a_paused_server_answers_nothing_until_resumed(redis_server: Redis) -> None:
    redis_server.pause()
    try:
        assert redis_server.is_running
        assert not redis_server.is_ready()
    finally:
        redis_server.resume()
    assert await_condition(redis_server.is_ready, timeout_seconds=5)


def test_prometheus_scrapes_the_given_targets(prometheus: PrometheusFactory) -> None:
    idle = f"{ports.HOST}:{ports.pick()}"
    server = prometheus([Target("nobody", idle)])
    assert await_condition(lambda: bool(server.query('up{job="nobody"} == 0')), timeout_seconds=10)
    server.scrape([Target("itself", server.address)])
    assert await_condition(lambda: bool(server.query('up{job="itself"} == 1')), timeout_seconds=10)


def test_a_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", cache=stack.STATE)
    server.start()
    pid = server.pid
    server.pause()
    server.stop()
    assert Identity.of(pid) is None


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as occupant:
        occupant.bind((ports.HOST, 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        done = run("up", "--state", str(tmp_path), "--kafka-port", "0", "--redis-port", str(port), "--prometheus-port", "0")
    assert done.returncode == StackError.exit_code
    assert f"port {port} on 127.0.0.1 is busy, redis needs it" in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.running(tmp_path) == {}


def test_a_server_that_does_not_come_up_leaves_nothing_and_quotes_its_last_words(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", cache=stack.STATE)
    server.directory.mkdir()
    (server.directory / "appendonlydir").write_text("not a directory")
    with pytest.raises(StackError, match=r"redis on 127.0.0.1:\d+ did not come up: .*appendonlydir"):
        server.start()
    assert not server.is_running


def test_a_nearly_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"nearly full: \d+ MiB free, the stack needs 1099511627776 MiB"):
        require_disk(tmp_path / "not" / "yet", free_bytes_min=1 << 60)


def test_a_missing_java_without_a_package_manager_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"java not found, and there is no apt-get .* install default-jre-headless"):
        programs.ensure(["java"], lock=tmp_path / "lock", path=str(tmp_path))


def test_an_old_java_is_refused(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("""#!/bin/sh\necho 'openjdk version "11.0.2" 2019-01-15' >&2\n""")
    java.chmod(0o755)
    with pytest.raises(StackError, match=r"needs Java 17 or newer, .* is version 11"):
        programs.ensure(["java"], lock=tmp_path / "lock", path=str(tmp_path))


def test_up_status_and_down_from_a_shell(tmp_path: Path) -> None:
    free = ["--kafka-port", "0", "--redis-port", "0", "--prometheus-port", "0"]
    try:
        done = run("up", "--json", "--state", str(tmp_path), *free)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert set(found) == {"kafka", "redis", "prometheus"}
        assert all(Identity.of(entry["pid"]) for entry in found.values())
        again = run("up", "--json", "--state", str(tmp_path), *free)
        assert json.loads(again.stdout) == found
        assert json.loads(run("status", "--json", "--state", str(tmp_path)).stdout) == found
    finally:
        assert run("down", "--state", str(tmp_path)).returncode == 0
    assert [Identity.of(entry["pid"]) for entry in found.values()] == [None, None, None]
    assert json.loads(run("status", "--json", "--state", str(tmp_path)).stdout) == {}


def test_down_spares_a_stranger_that_got_the_recorded_process_id(tmp_path: Path) -> None:
    stranger = Identity.of(os.getpid())
    assert stranger is not None
    record = {"name": "redis", "port": 1, "pid": stranger.pid, "started_ticks": stranger.started_ticks - 1}
    (tmp_path / "server.json").write_text(json.dumps(record))
    assert stack.end_all(tmp_path) == []
    assert stack.running(tmp_path) == {}


def test_servers_die_with_the_program_that_owns_them(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy.local.process import Guard; "
        "from deploy.local.redis import Redis; from deploy.local.stack import STATE; "
        "state = Path(sys.argv[1]); guard = Guard(state); server = Redis(state / 'redis', cache=STATE); "
        "server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        try:
            assert Identity.of(pid)
            owner.kill()
            assert await_condition(lambda: Identity.of(pid) is None, timeout_seconds=15)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "deploy.local", *arguments], capture_output=True, text=True, timeout=100, check=False)

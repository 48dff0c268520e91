"""The worker as deployments start it: one supervisor, three roles, real servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import ports
from streamer.engine import topic_admin
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

pytestmark = pytest.mark.integration
ROLES = ("journeys", "rollup", "publisher")


class Worker:
    """`streamer worker` with its endpoints; `log` are its entries so far."""

    def __init__(self, settings: Settings, directory: Path, *arguments: str) -> None:
        self.settings = settings
        self._stderr = directory / f"worker-{settings.metrics_port}.log"
        fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap", "redis_url", "redis_prefix", "metrics_port")
        environment = {**os.environ, **{f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in fields}}
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen([sys.executable, "-m", "streamer", "worker", *arguments], env=environment, stderr=stderr)

    @property
    def log(self) -> list[dict[str, object]]:
        """Whole lines only: the last one may be under way."""
        return [json.loads(line) for line in self._stderr.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def get(self, number: int, path: str) -> tuple[int, str]:
        """Status and text of an endpoint: 0 the supervisor's, 1 to 3 the roles'; status 0 if nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.metrics_port + number}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()
        except OSError as exc:
            return 0, str(exc)

    def value(self, number: int, name: str, **labels: str) -> float:
        """Sum of the samples of a name with these labels; 0 without any."""
        families = text_string_to_metric_families(self.get(number, "/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def children(self) -> dict[str, psutil.Process]:
        """Role -> its process."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            if "--role" in line:
                found[line[line.index("--role") + 1]] = child
        return found

    def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for a condition while the worker lives."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, self._stderr.read_text()
            assert time.monotonic() < deadline, self._stderr.read_text()
            time.sleep(0.1)

    def until_ready(self) -> None:
        self.until(lambda: all(self.get(number, "/readyz")[0] == 200 for number in range(4)))


@pytest.fixture
def settings(kafka: Kafka, redis_server: Redis, unique: str) -> Settings:
    """Of a worker with four free ports in a row."""
    base = next(port for port in iter(ports.pick, None) if all(ports.is_free(port + n) for n in range(1, 4)))
    return Settings(
        app=unique, topic_prefix=f"{unique}.", redis_prefix=f"{unique}:", partitions=2, metrics_port=base,
        kafka_bootstrap=kafka.bootstrap, redis_url=redis_server.url,
    )  # fmt: skip


@contextmanager
def working(settings: Settings, directory: Path, *arguments: str) -> Iterator[Worker]:
    worker = Worker(settings, directory, *arguments)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            children = psutil.Process(worker.process.pid).children(recursive=True)
            worker.process.kill()
            worker.process.wait()
            for child in children:
                if child.is_running():
                    child.kill()


async def produce(settings: Settings, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(settings.topic("touchpoints"), value, key=b"c1")
    finally:
        await producer.stop()


def contacts() -> list[bytes]:
    """Three contacts of one issue on three channels: two switches, which the default rule tells."""
    begin = time.time() - 3
    return [
        json.dumps(
            {
                "id": f"e{n}", "source": "test", "type": "contact.started", "time": datetime.fromtimestamp(begin + n, UTC).isoformat(),
                "customer_id": "c1", "channel": channel, "reason": "bill", "contact_id": f"k{n}", "issue_id": "i1",
            }
        ).encode()
        for n, channel in enumerate(("web", "phone", "chat"))
    ]  # fmt: skip


@pytest.mark.timeout(300)  # a dozen starts of processes, on a machine that may be busy
def test_a_worker_turns_events_into_gauges_and_alerts_survives_a_killed_role_and_stops_in_order(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(settings))
    with working(settings, tmp_path) as worker:
        worker.until_ready()
        asyncio.run(produce(settings, [*contacts(), b"{nonsense"]))
        worker.until(lambda: worker.value(3, "streamer_alerts_delivered_total", outcome="delivered") == 1)
        worker.until(lambda: worker.value(2, "cx_contacts", window="lifetime", slice="all") == 3)
        worker.until(lambda: worker.value(1, "streamer_events_consumed_total") == 4)
        assert worker.value(1, "streamer_events_total") == 4
        assert worker.value(1, "streamer_events_total", outcome="applied") == 3
        assert worker.value(1, "streamer_dead_letters_total") == 1
        assert worker.value(1, "streamer_alerts_written_total", transition="firing") == 1
        assert worker.value(3, "streamer_alert_latency_seconds_count") == 1
        assert worker.value(1, "streamer_state_entries") == 1
        assert worker.value(1, "streamer_partitions_owned") == 2
        assert worker.value(1, "streamer_high_timestamp_seconds") > 2 * (time.time() - 3600)

        before = worker.children()
        assert set(before) == set(ROLES)
        before["journeys"].kill()
        worker.until(lambda: worker.value(0, "streamer_child_restarts_total", role="journeys") == 1)
        worker.until_ready()
        assert worker.children()["rollup"].pid == before["rollup"].pid
        # The process's own counters begin again; what the partition has accounted for does not.
        assert worker.value(1, "streamer_accounted_events", outcome="consumed") == 4

        children = worker.children()
        worker.process.terminate()
        assert worker.process.wait(timeout=40) == 0
        assert not [role for role, child in children.items() if child.is_running()]
        assert all(ports.is_free(settings.metrics_port + number) for number in range(4))
        assert {str(entry["role"]) for entry in worker.log} == {"supervisor", *ROLES}
        # aiokafka's: a broker that was just started has no group coordinator yet.
        assert [entry for entry in worker.log if entry["level"] == "error" and not str(entry["action"]).startswith("aiokafka.")] == []


def test_all_roles_end_when_the_supervisor_is_killed(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(settings))
    with working(settings, tmp_path) as worker:
        worker.until(lambda: len(worker.children()) == 3)
        children = list(worker.children().values())
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        _, alive = psutil.wait_procs(children, timeout=40)
        assert alive == []


def test_topics_that_are_missing_end_it_with_one_sentence_before_any_role_starts(settings: Settings, tmp_path: Path) -> None:
    with working(settings, tmp_path) as worker:
        assert worker.process.wait(timeout=60) == 3
        (entry,) = worker.log
        assert "does not exist: run `streamer topics create` (and 9 more" in str(entry["message"])
        assert entry["role"] == "supervisor"


def test_another_partition_count_ends_a_single_role_with_the_way_to_grow(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(settings))
    grown = settings.model_copy(update={"partitions": 4})
    with working(grown, tmp_path, "--role", "journeys") as worker:
        assert worker.process.wait(timeout=60) == 3
        (entry,) = worker.log
        assert "has 2 partitions instead of 4: state is bound to the partition count" in str(entry["message"])


def test_an_error_of_a_role_that_a_restart_cannot_remove_ends_the_worker_with_its_code(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(settings))
    with socket.create_server(("127.0.0.1", settings.metrics_port + 2)), working(settings, tmp_path) as worker:
        assert worker.process.wait(timeout=90) == 2
        (refused,) = [entry for entry in worker.log if entry["role"] == "rollup" and entry["level"] == "error"]
        assert f"port {settings.metrics_port + 2} of 127.0.0.1 for the metrics is taken" in str(refused["message"])


def test_without_kafka_it_waits_says_so_and_still_stops_in_order(settings: Settings, tmp_path: Path) -> None:
    with working(settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{ports.pick()}"}), tmp_path) as worker:
        worker.until(lambda: any(entry["action"] == "supervisor.waiting" for entry in worker.log))
        assert worker.get(0, "/readyz")[0] == 503
        assert worker.get(0, "/healthz")[0] == 200
        assert worker.children() == {}
        worker.process.terminate()
        assert worker.process.wait(timeout=30) == 0


def test_definitions_that_do_not_hold_together_end_it_with_one_sentence(settings: Settings, tmp_path: Path) -> None:
    definitions = tmp_path / "definitions.toml"
    definitions.write_text("revision = 'seven'")
    with working(settings, tmp_path, "--definitions", str(definitions)) as worker:
        assert worker.process.wait(timeout=30) == 2
        (entry,) = worker.log
        assert str(definitions) in str(entry["message"])
        assert "revision" in str(entry["message"])

"""The worker under measurement: its processes, their CPU, and how far they are."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from deploy.compiled.__main__ import compiled, environment
from deploy.local import ports
from deploy.local.process import end_with_parent
from streamer.metrics.families import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.local.stack import Stack

PARTITIONS: Final = 4
APP, PREFIX = "bench", "bench."
COMMAND: Final = (sys.executable, "-m", "streamer", "worker")
# The log entry with which a role says that it now waits for work.
READY_ACTIONS: Final = {"journeys": "assigned", "rollup": "assigned", "publisher": "rebuilt"}
# Those that say so in every worker, not only in the first one.
ROLES_IN_GROUPS: Final = ("journeys", "rollup")
POLL_SECONDS: Final = 0.1
DONE_SECONDS_MAX: Final = 1_800


def metrics_port() -> int:
    """The first of four free ports for a worker's endpoints."""
    block = [ports.pick()]
    while len(block) < 1 + len(ROLES):
        port = ports.pick()
        block = [*block, port] if port == block[-1] + 1 else [port]
    return block[0]


def environment_of(stack: Stack, *, app: str = APP, prefix: str = PREFIX) -> dict[str, str]:
    """Settings of the product as environment variables, four free ports for the endpoints included."""
    settings = {
        "APP": app, "TOPIC_PREFIX": prefix, "PARTITIONS": str(PARTITIONS), "KAFKA_BOOTSTRAP": stack.kafka.bootstrap,
        "REDIS_URL": stack.redis.url, "ALERT_STORM_LIMIT": "0", "METRICS_PORT": str(metrics_port()),
    }  # fmt: skip
    return {**os.environ, **{f"STREAMER_{name}": value for name, value in settings.items()}}


def compiled_environment() -> dict[str, str]:
    """What makes a worker run the compiled copy of the package, which is made now if there is none; nothing without a C compiler."""
    return environment(compiled()) if shutil.which("gcc") else {}


class Worker:
    """`streamer worker` as a context manager, ready when the wanted roles are (a publisher says so with a fresh Redis only)."""

    def __init__(self, environment: dict[str, str], log: Path, *, wanted: Sequence[str] = ROLES) -> None:
        self._wanted = set(wanted)
        self._environment = environment
        self._log = log
        self._port = int(environment["STREAMER_METRICS_PORT"])
        self._ready_cpu: dict[str, float] = {}

    def __enter__(self) -> Worker:
        with self._log.open("wb") as errors:
            process = subprocess.Popen(COMMAND, env=self._environment, stderr=errors, preexec_fn=end_with_parent)
        self.attach(process)
        return self

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """Look after a worker that somebody else has started, with its entries going to the log; waits until it is ready."""
        self._process = process
        self._supervisor = psutil.Process(process.pid)
        self._await_ready()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._process.pid

    @property
    def rollup_metrics_url(self) -> str:
        """Where the business gauges are."""
        return self._url("rollup")

    def cpu_seconds(self, *, since_start: bool = False) -> dict[str, float]:
        """User and system time of each process, since it was ready or since its start."""
        used = self._cpu()
        return used if since_start else {role: seconds - self._ready_cpu[role] for role, seconds in used.items()}

    def other_cpu_seconds(self) -> float:
        """CPU of the whole machine so far, this worker included."""
        times = psutil.cpu_times()
        return float(times.user + times.system + times.nice)

    def rss_megabytes(self) -> dict[str, int]:
        """Resident memory of each process."""
        return {role: process.memory_info().rss >> 20 for role, process in self._processes().items()}

    def events_consumed(self) -> float:
        """Records the journeys role has read."""
        return self.value("journeys", "streamer_events_consumed_total")

    def until_consumed(self, events: int) -> None:
        """Wait until the journeys role has read so many records."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while self.events_consumed() < events:
            self._check(deadline)
            time.sleep(POLL_SECONDS)

    def until_done(self) -> float:
        """Wait until everything in the source is folded, committed, rolled up and delivered; returns how long that took."""
        asyncio.run(self._until_committed(time.monotonic() + DONE_SECONDS_MAX))
        while self.value("publisher", "streamer_publish_lag_records") > 0:
            self._check(time.monotonic() + DONE_SECONDS_MAX)
            time.sleep(POLL_SECONDS)
        return time.monotonic() - self._ready_at

    async def _until_committed(self, deadline: float) -> None:
        app, prefix = self._environment["STREAMER_APP"], self._environment["STREAMER_TOPIC_PREFIX"]
        source, deltas = f"{prefix}touchpoints.v1", f"{prefix}deltas.v1"
        bootstrap = self._environment["STREAMER_KAFKA_BOOTSTRAP"]
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
        await admin.start()
        await consumer.start()
        try:
            for machine, topic, count in (("journeys", source, PARTITIONS), ("rollup", deltas, 1)):
                places = [TopicPartition(topic, partition) for partition in range(count)]
                ends = await consumer.end_offsets(places)
                while True:
                    committed = await admin.list_consumer_group_offsets(f"{app}-{machine}")
                    if all(place in committed and committed[place].offset >= ends[place] for place in places):
                        break
                    self._check(deadline)
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await consumer.stop()
            await admin.close()

    def _await_ready(self) -> None:
        """Wait until every role is ready, noting the CPU each had used by then: imports and joining the groups are not the job."""
        deadline = time.monotonic() + 60
        self._ready_at = 0.0
        while len(self._ready_cpu) <= len(self._wanted):
            self._check(deadline)
            used = self._cpu()
            ready = {entry["role"] for entry in self.entries() if READY_ACTIONS.get(entry["role"]) == entry["action"]}
            for role in ready & used.keys() & self._wanted - self._ready_cpu.keys():
                self._ready_cpu[role] = used[role]
                if role == "journeys":
                    self._ready_at = time.monotonic()
            if ready >= self._wanted:
                self._ready_cpu.setdefault("supervisor", used["supervisor"])
            time.sleep(0.02)

    def entries(self) -> list[dict[str, Any]]:
        """What the worker has logged so far."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def _check(self, deadline: float) -> None:
        """Raise if the worker is dead or the time is over."""
        if self._process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the worker ended or takes too long: {self._log.read_text()[-3000:]}")

    def _processes(self) -> dict[str, psutil.Process]:
        found = {"supervisor": self._supervisor}
        for child in self._supervisor.children():
            line = child.cmdline()
            if "--role" in line:
                found[line[line.index("--role") + 1]] = child
        return found

    def _cpu(self) -> dict[str, float]:
        times = {role: process.cpu_times() for role, process in self._processes().items()}
        return {role: used.user + used.system for role, used in times.items()}

    def _url(self, role: str) -> str:
        return f"http://127.0.0.1:{self._port + 1 + ROLES.index(role)}/metrics"

    def value(self, role: str, name: str) -> float:
        """Sum of a metric's samples on a role's endpoint."""
        with urllib.request.urlopen(self._url(role), timeout=10) as answer:  # noqa: S310  a loopback address
            text = answer.read().decode()
        return sum(sample.value for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == name)

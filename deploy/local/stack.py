"""Kafka, Redis and Prometheus together."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import ports, programs
from deploy.local.kafka import Kafka, has_libraries, libraries
from deploy.local.process import RECORD, Guard, Server, end_recorded, recorded, require_disk
from deploy.local.prometheus import Prometheus, Target
from deploy.local.redis import Redis
from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

STATE: Final = Path(__file__).parents[2] / ".state"
KAFKA_PORT, REDIS_PORT, PROMETHEUS_PORT = 9092, 6379, 9090
PROGRAMS: Final = ("java", "redis-server", "prometheus", "promtool")


def fetch(cache: Path = STATE) -> None:
    """Get everything that has to be installed or downloaded, so that starting is quick afterwards.

    Raises:
        StackError: something cannot be had, or the disk is nearly full.
    """
    require_disk(cache)
    maven = () if has_libraries(cache) else ("mvn",)
    programs.ensure((*PROGRAMS, *maven), lock=cache / "install.lock")
    libraries(cache)


class Stack:
    """The three servers, with their data below `state`; a port of 0 means a free one.

    As a context manager it is up inside the block and gone after it, even if this process is killed.

    Example:
        with Stack(fresh=True, kafka_port=0, redis_port=0, prometheus_port=0) as stack:
            print(stack.kafka.bootstrap, stack.redis.url, stack.prometheus.url)
    """

    def __init__(
        self,
        state: Path = STATE,
        *,
        kafka_port: int = KAFKA_PORT,
        redis_port: int = REDIS_PORT,
        prometheus_port: int = PROMETHEUS_PORT,
        targets: Sequence[Target] = (),
        cache: Path = STATE,
        fresh: bool = False,
    ) -> None:
        self._state = state
        self._cache = cache
        self._fresh = fresh
        self._exit = ExitStack()
        self.kafka = Kafka(state / "kafka", kafka_port, cache=cache)
        self.redis = Redis(state / "redis", redis_port, cache=cache)
        self.prometheus = Prometheus(state / "prometheus", prometheus_port, cache=cache, targets=targets)
        for server in self.servers:  # one left running by an earlier `up` keeps its port
            server.adopt()

    @property
    def servers(self) -> tuple[Server, ...]:
        """In the order in which they start."""
        return (self.kafka, self.redis, self.prometheus)

    def up(self) -> None:
        """Start what does not run yet; all ports are looked at before anything is downloaded or started.

        Raises:
            StackError: with one sentence that says what to do; nothing that was started is left running.
        """
        idle = [server for server in self.servers if not server.is_running]
        for server in idle:
            ports.require_free(server.port, server.name)
        fetch(self._cache)
        started: list[Server] = []
        try:
            for server in idle:
                if self._fresh:
                    server.wipe()
                started.append(server)
                server.start()
        except BaseException:
            for server in reversed(started):
                server.stop()
            raise

    def down(self) -> None:
        """Stop all servers, the last started first."""
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Self:
        if found := running(self._state):
            names = ", ".join(f"{name} (pid {entry['pid']})" for name, entry in found.items())
            raise StackError(f"{names} already run in {self._state}: end them with `python -m deploy.local down` first")
        guard = Guard(self._state)
        self._exit.callback(guard.close)
        self._exit.callback(self.down)
        try:
            self.up()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._exit.close()


def running(state: Path = STATE) -> dict[str, dict[str, int]]:
    """`{server: {"pid": ..., "port": ...}}` of the servers that run with their data below the directory."""
    found = {}
    for record in sorted(state.rglob(RECORD)):
        identity = recorded(record.parent)
        if identity is not None:
            entry = json.loads(record.read_text())
            found[entry["name"]] = {"pid": identity.pid, "port": entry["port"]}
    return found


def end_all(state: Path = STATE, number: signal.Signals = signal.SIGTERM) -> list[Path]:
    """End every server recorded below the directory; returns the directories of those that ran."""
    return [record.parent for record in sorted(state.rglob(RECORD)) if end_recorded(record.parent, number)]


def clean(state: Path = STATE) -> None:
    """Stop the servers and delete their data; downloads stay."""
    end_all(state, signal.SIGKILL)
    for name in ("kafka", "redis", "prometheus"):
        shutil.rmtree(state / name, ignore_errors=True)

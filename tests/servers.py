"""Real servers for tests: started on free loopback ports when first asked for, gone when the run ends, however it ends.

One set per test process. Tests share a broker: name topics, groups and keys with `unique`. A test that stops or
breaks a server leaves it running again (`server.start()` in a finally).
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from deploy.local import programs
from deploy.local.alertmanager import PROGRAMS, Alertmanager
from deploy.local.kafka import Kafka
from deploy.local.process import Guard
from deploy.local.prometheus import Prometheus, Target
from deploy.local.redis import Redis
from deploy.local.stack import STATE
from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class PrometheusFactory(Protocol):
    """Starts a Prometheus that scrapes the targets."""

    def __call__(self, targets: Sequence[Target], *, interval_seconds: int = 1) -> Prometheus: ...


@pytest.fixture(scope="session")
def servers_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the servers of this test process write; removed afterwards."""
    directory = tmp_path_factory.mktemp("servers")
    guard = Guard(directory)
    yield directory
    guard.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka(servers_directory: Path) -> Iterator[Kafka]:
    """A broker: `.bootstrap`, `.pid`, `.stop() .start() .kill() .restart() .pause() .resume()`."""
    server = Kafka(servers_directory / "kafka", cache=STATE)
    server.start()
    yield server
    server.kill()  # its data goes with it: no need for an orderly end


@pytest.fixture(scope="session")
def redis_server(servers_directory: Path) -> Iterator[Redis]:
    """A Redis: `.url`, `.port`, `.stop() .start() .kill() .wipe()`."""
    server = Redis(servers_directory / "redis", cache=STATE)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def alertmanager(servers_directory: Path) -> Iterator[Alertmanager]:
    """An Alertmanager: `.url`, `.restart()`. Where it cannot be had, tests that want it are skipped, saying why."""
    server = Alertmanager(servers_directory / "alertmanager", cache=STATE)
    try:
        programs.ensure(PROGRAMS, lock=STATE / "install.lock")
    except StackError as exc:
        pytest.skip(f"no Alertmanager: {exc}")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def prometheus(servers_directory: Path) -> Iterator[PrometheusFactory]:
    """Starts Prometheus servers that live as long as the test: `prometheus([Target("worker", "127.0.0.1:9464")])`."""
    with ExitStack() as exits:

        def start(targets: Sequence[Target], *, interval_seconds: int = 1) -> Prometheus:
            directory = servers_directory / f"prometheus-{uuid.uuid4().hex[:8]}"
            server = Prometheus(directory, cache=STATE, targets=targets, interval_seconds=interval_seconds)
            exits.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
def unique() -> str:
    """A short prefix no other test has, of the characters legal in topic names, groups and keys."""
    return f"t{uuid.uuid4().hex[:8]}"

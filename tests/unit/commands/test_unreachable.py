"""Servers that are not there: one sentence that says where, why and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.errors import DeliveryError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

# Nothing listens on this port: it is reserved, and only root could.
NOWHERE = "127.0.0.1:1"
KAFKA = f"Kafka at {NOWHERE} does not answer (no connection): start it or set kafka_bootstrap"
REDIS = "Redis at {} cannot be reached ({}): start it or set redis_url and redis_password"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_KAFKA_BOOTSTRAP", NOWHERE)
    monkeypatch.setenv("STREAMER_REDIS_URL", f"redis://:secret@{NOWHERE}/0")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application(arguments[0]), arguments)


def test_kafka() -> None:
    error = run("topics", "check").exception
    assert isinstance(error, UnreachableError)
    assert str(error) == KAFKA


def test_redis() -> None:
    error = run("alerts", "active").exception
    assert isinstance(error, DeliveryError)
    assert str(error) == REDIS.format(NOWHERE, "Connection refused")


def test_redis_behind_a_socket_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", f"unix://{tmp_path}/redis.sock")
    error = run("alerts", "active").exception
    assert isinstance(error, DeliveryError)
    assert str(error) == REDIS.format(f"{tmp_path}/redis.sock", "No such file or directory")


def test_the_doctor_says_the_same_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_METRICS_PORT", "0")
    failed = [line.removeprefix("failed").strip() for line in run("doctor").stdout.splitlines() if line.startswith("failed")]
    assert failed == [f"kafka: {KAFKA}", f"redis: {REDIS.format(NOWHERE, 'Connection refused')}"]

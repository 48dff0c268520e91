from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from streamer.commands.health import answer_of
from streamer.engine import doctor
from streamer.engine.endpoint import Endpoint
from streamer.errors import SettingsError
from streamer.metrics.pipeline import Pipeline
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def serving(role: str, **options: Any) -> AsyncIterator[int]:
    """An endpoint on any port; gives the `metrics_port` that puts the role there."""
    endpoint = Endpoint(Settings(metrics_port=0), Pipeline(role), **{"ready": lambda: None, **options})
    port = await endpoint.start()
    try:
        yield port - (Settings(metrics_port=1).metrics_port_of(role) - 1)
    finally:
        await endpoint.stop()


async def healthcheck(metrics_port: int, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of the command, as a container engine runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", "healthcheck", "--json", *arguments,
        env={"STREAMER_METRICS_PORT": str(metrics_port)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out)


async def test_a_well_process_is_0_and_a_silent_one_is_1() -> None:
    async with serving("journeys") as base:
        assert await healthcheck(base, "--role", "journeys") == (0, {"ok": True, "processes": {"journeys": "ok"}})
        code, answer = await healthcheck(base)
    assert code == 1
    assert answer["processes"]["journeys"] == "ok"
    assert "does not answer on 127.0.0.1:" in answer["processes"]["supervisor"]


async def test_a_process_that_says_it_hangs_is_1_with_its_words() -> None:
    async with serving("rollup", alive=lambda: "a commit of partition 0 has not ended for 31.0 s") as base:
        code, answer = await healthcheck(base, "--role", "rollup")
    assert (code, answer["processes"]) == (1, {"rollup": "a commit of partition 0 has not ended for 31.0 s"})


async def test_not_ready_is_well_unless_readiness_is_asked_for() -> None:
    async with serving("publisher", ready=lambda: "no partitions assigned yet") as base:
        assert (await healthcheck(base, "--role", "publisher"))[0] == 0
        code, answer = await healthcheck(base, "--role", "publisher", "--ready")
    assert (code, answer["processes"]) == (1, {"publisher": "no partitions assigned yet"})


@pytest.mark.parametrize(
    ("partitions", "workers", "status", "says"),
    [
        (16, 0, "ok", "0 workers running"),
        (16, 1, "ok", "1 worker running"),
        (16, 4, "ok", "4 workers running"),
        (16, 3, "warning", "unevenly loaded"),
        (16, 12, "warning", "4 of them idle"),  # ceil(16 / 12) = 2 each: eight workers have them all
        (4, 5, "warning", "1 of them idle"),
    ],
)
def test_partitions_and_workers(partitions: int, workers: int, status: str, says: str) -> None:
    finding = doctor.share("journeys", partitions, workers)
    assert finding.status == status
    assert says in finding.detail
    assert bool(finding.fix) == (status != "ok")


def test_a_standby_of_the_rollup_is_no_waste() -> None:
    assert doctor.share("rollup", 1, 2).status == "ok"


def supervisors_port(base: int) -> doctor.Finding:
    return next(found for found in doctor.ports(Settings(metrics_port=base)) if "supervisor" in found.detail)


async def test_a_port_is_free_or_ours_or_somebody_elses() -> None:
    async with serving("supervisor") as base:
        ours = await asyncio.to_thread(supervisors_port, base)
    assert (ours.status, ours.detail) == ("ok", f"127.0.0.1:{base} for the supervisor is a running worker's")
    free = supervisors_port(base)
    assert (free.status, free.detail) == ("ok", f"127.0.0.1:{base} for the supervisor is free")
    with socket.create_server(("127.0.0.1", base)):
        taken = await asyncio.to_thread(supervisors_port, base)
    assert (taken.status, taken.fix) == ("failed", "end it or set metrics_port")


def test_certificates_of_the_endpoint_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    files: dict[str, Any] = {f"metrics_{name}_file": tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    with pytest.raises(SettingsError, match=r"^metrics_ca_file names .*/ca.pem, which is not there$"):
        answer_of(Settings(metrics_host="127.0.0.1", **files), "journeys", "/healthz")

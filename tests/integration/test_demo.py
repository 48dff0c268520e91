"""`make demo`: what it promises to whoever tries the product first."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from rich.console import Console

from deploy.local.demo.session import Options, Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def start(state: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.local.demo"],
        env={**os.environ, "DEMO_STATE": str(state), "DEMO_FREE_PORTS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_timed_demo_ends_by_itself_with_one_json_line_and_events_through_every_hop(tmp_path: Path) -> None:
    demo = start(tmp_path / "state", DEMO_SECONDS="4", DEMO_HOURS="2")
    out, err = demo.communicate()
    assert demo.returncode == 0, out + err
    summary = json.loads(out.strip().splitlines()[-1])
    assert summary["ok"] is True
    assert all(number > 0 for number in summary["hops"].values()), summary
    assert set(summary["hops"]) == {
        "kafka_events_consumed",
        "worker_events_applied",
        "redis_alerts",
        "prometheus_abandon_sample_size",
    }
    assert summary["accounting_adds_up"] is True
    told = summary["from_cause_to_end"]
    assert (told["rule"], told["states"][0], told["states"][-1]) == ("abandoned-with-friction", "firing", "resolved")
    assert told["evidence"] >= 2
    assert f"streamer explain {told['alert_id']}" in err
    assert re.search(r"\d\d:\d\d:\d\d  payment\.failed +cx\.touchpoints\.v1\[\d\] offset \d+", err)
    assert "It would not have fired with" in err
    assert 0 <= summary["abandon_rate"]["lower"] <= summary["abandon_rate"]["value"] <= summary["abandon_rate"]["upper"] <= 1


async def test_a_cancellation_that_a_client_library_has_swallowed_ends_the_demo_all_the_same(tmp_path: Path) -> None:
    session = Session(contextlib.ExitStack(), Console(quiet=True), Options(state=tmp_path))

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        session.check()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo without an end. Whatever becomes of the test, nothing of it goes on and slows the others down."""
    demo = start(tmp_path / "state")
    yield demo
    if demo.poll() is None:
        family = [*psutil.Process(demo.pid).children(recursive=True), psutil.Process(demo.pid)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    demo.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(begun: subprocess.Popen[str], number: signal.Signals) -> None:
    assert begun.stderr is not None
    while "one worker" not in (line := begun.stderr.readline()):
        assert line, "the demo ended before it had started a worker"
    tree = psutil.Process(begun.pid).children(recursive=True)
    until = time.monotonic() + 60
    while not any("--role" in child.cmdline() for child in tree if child.is_running() and child.status() != psutil.STATUS_ZOMBIE):
        assert time.monotonic() < until, "the worker has not started its roles"
        tree = psutil.Process(begun.pid).children(recursive=True)
    begun.send_signal(number)
    _, err = begun.communicate()
    assert begun.returncode == 130
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive


def test_a_busy_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = f"import sys; from deploy.local.demo import session, __main__ as demo;session.METRICS_PORT = {port}; sys.exit(demo.main())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "DEMO_STATE": str(tmp_path / "state"), "DEMO_SECONDS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert str(port) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_malformed_duration_is_said_in_one_sentence(tmp_path: Path) -> None:
    demo = start(tmp_path / "state", DEMO_SECONDS="soon")
    _, err = demo.communicate()
    assert demo.returncode == 2
    assert err == "demo: DEMO_SECONDS must be a number of seconds, not 'soon'\n"

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prometheus_client.exposition import generate_latest

from streamer.engine.supervisor import FINAL_CODES, KILLED_CODE, Backoff, Supervisor
from streamer.errors import TopicsError, UnreachableError
from streamer.metrics.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

QUICK = Backoff(first_seconds=0.01, most_seconds=0.05, stable_seconds=60)
SLEEPS = "import time; time.sleep(60)"


def program(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def supervisor(commands: dict[str, str], **options: Any) -> Supervisor:
    pipeline = options.pop("pipeline", Pipeline("supervisor"))
    programs = {role: program(code) for role, code in commands.items()}
    return Supervisor(programs, pipeline, **{"stop_seconds": 10.0, "backoff": QUICK, **options})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  the condition is another process
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(watched: Supervisor) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(watched.run())
    try:
        yield task
    finally:
        watched.stop()
        await task


def exported(pipeline: Pipeline, name: str, role: str) -> float:
    line = next(line for line in generate_latest(pipeline.registry).decode().splitlines() if line.startswith(f'{name}{{role="{role}"}}'))
    return float(line.split()[-1])


async def test_a_dead_child_is_started_again_and_counted_and_the_others_go_on() -> None:
    pipeline = Pipeline("supervisor")
    watched = supervisor({"journeys": SLEEPS, "rollup": SLEEPS}, pipeline=pipeline)
    async with running(watched):
        await until(lambda: len(watched.pids) == 2)
        before = watched.pids
        os.kill(before["journeys"], signal.SIGKILL)
        await until(lambda: watched.pids.get("journeys", before["journeys"]) != before["journeys"])
        assert watched.pids["rollup"] == before["rollup"]
        assert exported(pipeline, "streamer_child_restarts_total", "journeys") == 1
        assert exported(pipeline, "streamer_child_restarts_total", "rollup") == 0
        assert exported(pipeline, "streamer_child_up", "journeys") == 1


async def test_a_crash_loop_never_ends_and_is_visible() -> None:
    pipeline = Pipeline("supervisor")
    watched = supervisor({"journeys": "raise SystemExit(1)"}, pipeline=pipeline)
    async with running(watched):
        await until(lambda: exported(pipeline, "streamer_child_restarts_total", "journeys") >= 3)
        says = r"journeys ended with code 1; next start in 0\.\d s after ([3-9]|\d\d+) failures in a row"
        await until(lambda: re.fullmatch(says, watched.ready() or "") is not None)


@pytest.mark.parametrize("code", sorted(FINAL_CODES))
async def test_an_error_only_an_operator_can_remove_ends_all_with_the_childs_code(code: int) -> None:
    watched = supervisor({"journeys": SLEEPS, "rollup": f"raise SystemExit({code})"})
    assert await asyncio.wait_for(watched.run(), 20) == code
    assert watched.pids == {}


def test_the_final_codes_are_those_of_settings_topics_lost_data_and_moved_offsets() -> None:
    assert sorted(FINAL_CODES) == [2, 3, 4, 5, 9, 10]


async def test_a_stop_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    code = f"""
        import pathlib, signal, sys, time
        def handed_over(*_):
            time.sleep(0.2)
            pathlib.Path({str(tmp_path / "done")!r}).touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, handed_over)
        pathlib.Path({str(tmp_path / "started")!r}).touch()
        time.sleep(60)
    """
    watched = supervisor({"journeys": code})
    task = asyncio.create_task(watched.run())
    await until((tmp_path / "started").exists)
    watched.stop()
    assert await task == 0
    assert (tmp_path / "done").exists()


async def test_a_child_that_does_not_stop_is_killed_in_time_and_told(tmp_path: Path) -> None:
    code = f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(tmp_path / "started")!r}).touch()
        time.sleep(60)
    """
    watched = supervisor({"journeys": code}, stop_seconds=0.2)
    task = asyncio.create_task(watched.run())
    await until((tmp_path / "started").exists)
    pid = watched.pids["journeys"]
    watched.stop()
    assert await asyncio.wait_for(task, 10) == KILLED_CODE
    assert not psutil.pid_exists(pid)


async def test_a_child_that_dies_while_stopping_is_not_started_again() -> None:
    pipeline = Pipeline("supervisor")
    watched = supervisor({"journeys": SLEEPS}, pipeline=pipeline)
    async with running(watched):
        await until(lambda: bool(watched.pids))
    assert exported(pipeline, "streamer_child_restarts_total", "journeys") == 0
    assert exported(pipeline, "streamer_child_up", "journeys") == 0


async def test_a_program_that_cannot_be_started_ends_the_supervisor_and_leaves_no_child() -> None:
    watched = Supervisor({"journeys": program(SLEEPS), "rollup": ["/nonexistent/program"]}, Pipeline("supervisor"), stop_seconds=1)
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(watched.run(), 20)
    assert watched.pids == {}
    children = psutil.Process().children()
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE and SLEEPS in child.cmdline()]


def test_pauses_double_up_to_the_most_and_never_overflow() -> None:
    backoff = Backoff(first_seconds=0.5, most_seconds=30)
    assert [backoff.pause_seconds(n) for n in (1, 2, 3, 7, 8, 10_000)] == [0.5, 1, 2, 30, 30, 30]


async def test_a_child_that_lived_long_begins_with_the_first_pause_again() -> None:
    watched = supervisor({"journeys": "raise SystemExit(1)"}, backoff=Backoff(first_seconds=0.01, most_seconds=99, stable_seconds=0))
    async with running(watched):
        await until(lambda: "after 1 failures in a row" in (watched.ready() or ""))
        await asyncio.sleep(0.3)  # several lives
        await until(lambda: "in a row" in (watched.ready() or ""))
        assert "after 1 failures in a row" in (watched.ready() or "")


async def test_while_a_server_does_not_answer_it_waits_and_then_starts() -> None:
    answers = iter([UnreachableError("Kafka does not answer"), UnreachableError("Kafka does not answer"), None])
    watched = supervisor({"journeys": SLEEPS})

    async def prepare() -> None:
        assert watched.pids == {}
        if error := next(answers):
            raise error

    task = asyncio.create_task(watched.run(prepare))
    await until(lambda: bool(watched.pids))
    watched.stop()
    assert await task == 0


async def test_topics_that_do_not_fit_end_it_before_any_child_starts() -> None:
    async def prepare() -> None:
        raise TopicsError("topic x has 8 partitions")

    watched = supervisor({"journeys": SLEEPS})
    with pytest.raises(TopicsError):
        await watched.run(prepare)
    assert watched.pids == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it(number: signal.Signals) -> None:
    watched = supervisor({"journeys": SLEEPS})
    task = asyncio.create_task(watched.run())
    await until(lambda: bool(watched.pids))
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(task, 10) == 0


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    child = f"""
        import pathlib, time
        from streamer.engine.supervisor import follow_supervisor
        follow_supervisor(5.0)
        pathlib.Path({str(tmp_path / "started")!r}).touch()
        time.sleep(60)
    """
    parent = f"""
        import asyncio
        from streamer.engine.supervisor import Supervisor
        from streamer.metrics.pipeline import Pipeline
        asyncio.run(Supervisor({{"journeys": {program(child)!r}}}, Pipeline("supervisor"), stop_seconds=5).run())
    """
    process = subprocess.Popen(program(parent))
    try:
        asyncio.run(until((tmp_path / "started").exists))
        (orphan,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        orphan.wait(timeout=10)  # raises if it lives on
    finally:
        process.kill()
        process.wait()


async def test_a_role_that_could_not_hand_over_is_the_end_of_the_worker_too() -> None:
    refuses = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(73))
        time.sleep(60)
    """
    watched = supervisor({"journeys": refuses, "rollup": SLEEPS})
    task = asyncio.create_task(watched.run())
    await until(lambda: len(watched._running) == 2)
    process = psutil.Process(watched._running["journeys"].pid)
    await until(lambda: _heeds(process, signal.SIGTERM))
    watched.stop()
    assert await task == 73


def _heeds(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether the process has set a handler."""
    with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123
        caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

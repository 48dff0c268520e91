"""Runs the roles of a worker as child processes and starts dead ones again, with growing pauses, for ever.

An error only an operator can remove (`FINAL_CODES`) ends the supervisor with the child's exit code instead. A stop is passed
on, waited for, and enforced by pid. Children end when the supervisor does, however it ended: each holds the reading end of a
pipe whose writing end only the supervisor has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamer.engine.exits import Exit
from streamer.errors import (
    AccessError,
    DataLossError,
    DefinitionsError,
    OperatorError,
    SettingsError,
    StateError,
    TopicsError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from streamer.metrics.pipeline import Pipeline

logger = logging.getLogger(__name__)

# Starting again changes nothing about these.
FINAL_CODES: Final = frozenset(
    error.exit_code for error in (DefinitionsError, SettingsError, TopicsError, DataLossError, OperatorError, AccessError, StateError)
)
# A child had to be killed at the stop: nothing is lost, its last checkpoint counts, but it did not hand over.
KILLED_CODE: Final = int(Exit.SLOW_CLOSE)


@dataclass(frozen=True)
class Backoff:
    """Pauses before starts: `first_seconds`, doubling up to `most_seconds`; begins anew after `stable_seconds` of life."""

    first_seconds: float = 0.5
    most_seconds: float = 30.0
    stable_seconds: float = 60.0

    def pause_seconds(self, failures: int) -> float:
        """The pause after the n-th death in a row, n from 1."""
        return min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))


class Supervisor:
    """Keeps one process per role running. `commands`: role -> program and arguments."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], pipeline: Pipeline, *, stop_seconds: float, backoff: Backoff | None = None
    ) -> None:
        self._commands = commands
        self._pipeline = pipeline
        self._stop_seconds = stop_seconds
        self._backoff = backoff or Backoff()
        self._stop = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._down: dict[str, str] = dict.fromkeys(commands, "has not been started yet")
        self._code = 0
        for role in commands:
            pipeline.counter("streamer_child_restarts_total", role=role)
            pipeline.gauge("streamer_child_up", role=role).set(0)

    @property
    def pids(self) -> dict[str, int]:
        """Role -> process id of those running."""
        return {role: process.pid for role, process in self._running.items()}

    def ready(self) -> str | None:
        """None if every role's process runs, else which does not and why. The roles' own endpoints say whether they work."""
        return "; ".join(f"{role} {why}" for role, why in self._down.items()) or None

    def stop(self) -> None:
        """End the roles in order and make `run` return; safe to call more than once."""
        self._stop.set()

    async def run(self, prepare: Callable[[], Awaitable[None]] | None = None) -> int:
        """Until SIGTERM, SIGINT, `stop` or a final error of a role; returns the exit code.

        `prepare` is awaited first, again and again while it raises UnreachableError.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        try:
            if prepare is not None:
                await self._until_prepared(prepare)
            async with asyncio.TaskGroup() as group:
                for role in self._commands:
                    group.create_task(self._keep(role))
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return self._code

    def _asked_to_stop(self, number: int) -> None:
        logger.info("%s: handing over", signal.Signals(number).name, extra={"action": "supervisor.stopping"})
        self.stop()

    async def _until_prepared(self, prepare: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                return await prepare()
            except UnreachableError as exc:
                failures += 1
                pause = self._backoff.pause_seconds(failures)
                logger.warning("%s; next try in %.1f s", exc, pause, extra={"action": "supervisor.waiting"})
                await self._sleep(pause)
        return None

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or less if a stop comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _keep(self, role: str) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            code = await self._run_once(role)
            if self._stop.is_set():
                if code > 0:  # a signal may have come before it could heed it
                    logger.error("%s ended with code %d while stopping", role, code, extra={"action": "supervisor.stop_failed"})
                    self._code = self._code or code
                return
            if code in FINAL_CODES:
                logger.error("%s ended with code %d: starting again would not help", role, code, extra={"action": "supervisor.final"})
                self._code = self._code or code
                self.stop()
                return
            failures = 1 if time.monotonic() - began >= self._backoff.stable_seconds else failures + 1
            pause = self._backoff.pause_seconds(failures)
            self._down[role] = f"{_ended(code)}; next start in {pause:.1f} s after {failures} failures in a row"
            logger.warning("%s %s", role, self._down[role], extra={"action": "supervisor.child_died", "child": role, "exit_code": code})
            await self._sleep(pause)
            if not self._stop.is_set():
                self._pipeline.counter("streamer_child_restarts_total", role=role).inc()

    async def _run_once(self, role: str) -> int:
        """Start the role's process and return its exit code; ends it when a stop comes."""
        # A session of its own: Ctrl-C reaches the supervisor alone, which then decides the order of things.
        process = await asyncio.create_subprocess_exec(*self._commands[role], stdin=asyncio.subprocess.PIPE, start_new_session=True)
        self._running[role] = process
        self._down.pop(role, None)
        self._pipeline.gauge("streamer_child_up", role=role).set(1)
        logger.info("%s runs as process %d", role, process.pid, extra={"action": "supervisor.child_started", "child": role})
        ended, stopping = asyncio.ensure_future(process.wait()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(role, process)
            return await ended
        finally:
            stopping.cancel()
            if process.returncode is None:  # a fault of the supervisor itself: leave nothing behind
                process.kill()
            del self._running[role]
            self._down[role] = "has ended"
            self._pipeline.gauge("streamer_child_up", role=role).set(0)

    async def _end(self, role: str, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            why = "%s did not hand over in %.0f s: killed, its last checkpoint counts"
            logger.error(why, role, self._stop_seconds, extra={"action": "supervisor.killed", "child": role})
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._code = self._code or KILLED_CODE


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def follow_supervisor(stop_seconds: float, descriptor: int = 0) -> None:
    """In a child: when the supervisor is gone (its end of the pipe closed), stop in order, and at once if that takes too long."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(stop_seconds)
        os._exit(KILLED_CODE)

    threading.Thread(target=watch, name="follow supervisor", daemon=True).start()

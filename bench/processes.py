"""Running an engine alone and measuring it: CPU of its whole process tree, peak memory, the broker's CPU, everybody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SAMPLE_SECONDS: Final = 0.1
END_SECONDS: Final = 60.0


class Usage(msgspec.Struct, kw_only=True):
    """Of one run. cpu_seconds: user and system of every process of the engine, from its start to its end."""

    exit_code: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    rss_peak_megabytes: int = 0
    broker_cpu_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    load_before: float = 0.0


def cpu_of(process: psutil.Process) -> float:
    """User and system time of one process so far."""
    used = process.cpu_times()
    return float(used.user + used.system)


def tree_cpu(pid: int) -> float:
    """User and system time of a process and its living descendants so far."""
    root = psutil.Process(pid)
    return sum(cpu_of(process) for process in (root, *root.children(recursive=True)))


def machine_cpu() -> float:
    """CPU of the whole machine so far."""
    used = psutil.cpu_times()
    return float(used.user + used.nice + used.system + used.irq + used.softirq)


class Running:
    """A started engine. `usage` is complete once the block of `measured` has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.usage = Usage(load_before=round(os.getloadavg()[0], 2))
        self._tree = psutil.Process(process.pid)
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._reaped = self._told = False
        self._begun = time.monotonic()
        self._sampler.start()

    def wait(self, limit_seconds: float) -> None:
        """Until it ends by itself; ended by us after the limit."""
        deadline = time.monotonic() + limit_seconds
        while not self._reap(os.WNOHANG):
            if time.monotonic() > deadline:
                self._signal(signal.SIGTERM)
                break
            time.sleep(SAMPLE_SECONDS / 2)

    def finished(self) -> None:
        """The work is done: the wall clock stops here, whatever ending takes."""
        self.usage.wall_seconds = time.monotonic() - self._begun

    def tell(self) -> None:
        """Tell it to end, without waiting: side by side, the last would take over what the others have left.

        Once: a second signal would kill one that has ended in order and heeds signals no more.
        """
        if not self._told:
            self._told = True
            self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Make sure that it has ended, and take its final figures."""
        self.tell()
        deadline = time.monotonic() + END_SECONDS
        while not self._reap(os.WNOHANG):
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
                self._reap(0)
                break
            time.sleep(SAMPLE_SECONDS / 2)
        self._over.set()
        self._sampler.join()

    def _signal(self, number: signal.Signals) -> None:
        """Not by Popen's methods: they would take an exit code that is there, and with it the CPU figures."""
        if not self._reaped and self.process.returncode is None:
            os.kill(self.process.pid, number)

    def _reap(self, options: int) -> bool:
        """Take the exit code and the CPU of the process and of all it has waited for."""
        if self._reaped:
            return True
        if self.process.returncode is not None:  # somebody asked Popen, having seen it die: they raise, and the figures are lost
            self._reaped = True
            return True
        pid, status, used = os.wait4(self.process.pid, options)
        if not pid:
            return False
        self._reaped = True
        self.process.returncode = self.usage.exit_code = os.waitstatus_to_exitcode(status)
        self.usage.cpu_seconds = round(used.ru_utime + used.ru_stime, 3)
        if not self.usage.wall_seconds:
            self.finished()
        return True

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            resident = 0
            try:
                for process in (self._tree, *self._tree.children(recursive=True)):
                    resident += process.memory_info().rss
            except psutil.Error:
                continue
            self.usage.rss_peak_megabytes = max(self.usage.rss_peak_megabytes, resident >> 20)


@contextmanager
def measured(command: Sequence[str], *, broker_pid: int, log: Path, environment: Mapping[str, str], directory: Path) -> Iterator[Running]:
    """Start the command; the block does or awaits the work. The process has ended and `usage` is complete afterwards."""
    broker = psutil.Process(broker_pid)
    broker_before, machine_before = cpu_of(broker), machine_cpu()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), cwd=directory)
    running = Running(process)
    try:
        yield running
    finally:
        running.end()
        usage = running.usage
        usage.broker_cpu_seconds = round(cpu_of(broker) - broker_before, 2)
        usage.other_cpu_seconds = round(machine_cpu() - machine_before - usage.cpu_seconds - usage.broker_cpu_seconds, 2)
        usage.wall_seconds = round(usage.wall_seconds, 2)


def together(usages: Sequence[Usage]) -> Usage:
    """Of processes that did one job side by side, the first of which was there from the begin to the end."""
    first, others = usages[0], usages[1:]
    own = sum(usage.cpu_seconds for usage in others)
    return Usage(
        exit_code=max(usages, key=lambda usage: abs(usage.exit_code)).exit_code,
        wall_seconds=first.wall_seconds,
        cpu_seconds=round(first.cpu_seconds + own, 3),
        rss_peak_megabytes=sum(usage.rss_peak_megabytes for usage in usages),
        broker_cpu_seconds=first.broker_cpu_seconds,
        other_cpu_seconds=round(first.other_cpu_seconds - own, 2),
        load_before=first.load_before,
    )


def last_object(log: Path) -> dict[str, Any]:
    """The last JSON object an engine has printed about itself."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{") and line.endswith("}")]
    if not lines:
        return {}
    found: dict[str, Any] = msgspec.json.decode(lines[-1])
    return found

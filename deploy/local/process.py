"""One server as a process of its own: started, awaited, recorded on disk, and ended by its own process id."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from deploy.local import ports
from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD: Final = "server.json"
POLL_SECONDS: Final = 0.05
FREE_BYTES_MIN: Final = 1 << 30  # a broker that runs out of disk stops at once, and takes the log with it
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Identity:
    """A process, told apart from a later one with the same id by its start time in kernel ticks since boot."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this id now; none if it is gone or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything; see proc(5)
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.alive:
            os.kill(self.pid, number)


def end_with_parent() -> None:
    """In a child, before it begins (`preexec_fn`): be ended when the parent dies, even by SIGKILL."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def await_condition(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll until the condition holds; false if the time ran out first."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def require_disk(directory: Path, free_bytes_min: int = FREE_BYTES_MIN) -> None:
    """Raise StackError if the directory's file system is nearly full."""
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < free_bytes_min:
        raise StackError(f"the disk of {directory} is nearly full: {free >> 20} MiB free, the stack needs {free_bytes_min >> 20} MiB")


class Server(ABC):
    """A server bound to 127.0.0.1, with everything it writes in one directory.

    The port is given, or picked once when 0, and kept over restarts.
    """

    name: ClassVar[str]
    start_timeout_seconds: ClassVar[float] = 60.0
    stop_timeout_seconds: ClassVar[float] = 20.0

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory.resolve()
        self.port = port or ports.pick()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write the configuration and return the command line."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers a real request now."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{ports.HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What the server wrote to its standard streams."""
        return self.directory / "server.log"

    @property
    def identity(self) -> Identity | None:
        """The running process, from the record on disk."""
        return recorded(self.directory)

    @property
    def pid(self) -> int:
        """The process id. Raises StackError if the server does not run."""
        identity = self.identity
        if identity is None:
            raise StackError(f"{self.name} on {self.address} is not running")
        return identity.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is alive; frozen counts as alive."""
        return self.identity is not None

    def adopt(self) -> None:
        """Take over the port of the server that already runs in this directory, if one does."""
        if self.is_running:
            self.port = json.loads((self.directory / RECORD).read_text())["port"]

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            StackError: busy port, full disk, or the server did not come up; the sentence ends with its last words.
        """
        if self.is_running:
            raise StackError(f"{self.name} already runs in {self.directory}: stop it first")
        ports.require_free(self.port, self.name)
        require_disk(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        command = self.prepare()
        with self.log.open("ab") as log:
            # Own session: Ctrl-C at the terminal reaches the program in front, which then stops its servers in order.
            self._process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        identity = Identity.of(self._process.pid)
        if identity is not None:
            (self.directory / RECORD).write_text(json.dumps({"name": self.name, "port": self.port, **asdict(identity)}))
        ready = False
        try:
            await_condition(lambda: not self._lives() or self.is_ready(), self.start_timeout_seconds)
            ready = self._lives() and self.is_ready()
        finally:
            if not ready:
                self.kill()
        if not ready:
            raise StackError(f"{self.name} on {self.address} did not come up: {self._last_words()} (see {self.log})")

    def stop(self) -> None:
        """End the server in order, by force if it does not go in time. Nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start, on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Delete all data and configuration of a stopped server."""
        if self.is_running:
            raise StackError(f"{self.name} on {self.address} is running: stop it before deleting its data")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        end_recorded(self.directory, number, self.stop_timeout_seconds)
        if self._process is not None:
            self._process.wait()  # reaps it; it has ended
            self._process = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"


def recorded(directory: Path) -> Identity | None:
    """The process recorded in a server's directory, if it still runs."""
    try:
        record = json.loads((directory / RECORD).read_text())
    except FileNotFoundError:
        return None
    identity = Identity(record["pid"], record["started_ticks"])
    return identity if identity.alive else None


def end_recorded(directory: Path, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 20.0) -> bool:
    """End the server recorded in a directory, by force after the timeout; whether one was running."""
    identity = recorded(directory)
    if identity is not None:
        identity.signal(number)
        identity.signal(signal.SIGCONT)  # a frozen process cannot hear anything but SIGKILL
        if not await_condition(lambda: not identity.alive, timeout_seconds):
            identity.signal(signal.SIGKILL)
            await_condition(lambda: not identity.alive, timeout_seconds)
    (directory / RECORD).unlink(missing_ok=True)
    return identity is not None


class Guard:
    """Ends every server recorded below a directory when this process is gone, however it went.

    A small process waits for the end of its standard input, whose other end only we hold.
    """

    def __init__(self, directory: Path) -> None:
        reader, self._writer = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "guard", "--state", str(directory.resolve())],
            cwd=Path(__file__).parents[2],
            stdin=reader,
            start_new_session=True,
        )
        os.close(reader)

    def close(self) -> None:
        """End the servers that still run, and the guard."""
        os.close(self._writer)
        self._process.wait()

"""The processes under test: real servers, and the roles of a worker as processes that are started again as a supervisor would."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deploy.local import ports
from streamer.engine import topic_admin
from streamer.engine.exits import Exit
from streamer.engine.supervisor import FINAL_CODES
from streamer.metrics.families import ROLES, SUPERVISOR
from streamer.settings import Settings
from tests.chaos.points import ARM, HIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

ROOT: Final = Path(__file__).parents[2]
DEFINITIONS: Final = Path(__file__).with_name("definitions.toml")
RESTART_SECONDS: Final = 0.3
SESSION_SECONDS: Final = 4.0
# A close gets a third of it.
REBALANCE_SECONDS: Final = 12.0
TRANSACTION_SECONDS: Final = 5.0


class Ended(NamedTuple):
    """A process that ended: who, its exit code, and whether its place was to stay empty."""

    name: str
    role: str
    code: int
    held: bool


class Slot:
    """A place for one process of a role, or for a supervisor with one of each. While `held` it stays empty."""

    def __init__(self, role: str, number: int, directory: Path, environment: dict[str, str], port: int) -> None:
        self.role = role
        self.name = f"{role}-{number}"
        self.port = port
        self.directory = directory / self.name
        self.directory.mkdir(parents=True)
        self.log_path = self.directory / "log"
        self.held = False
        self._environment = {
            **environment,
            "CHAOS_DIRECTORY": str(self.directory),
            "STREAMER_METRICS_PORT": str(port if role == SUPERVISOR else port - 1 - ROLES.index(role)),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.held = False
        self.reap()
        role = [] if self.role == SUPERVISOR else ["--role", self.role]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.launch", "worker", *role, "--supervised"],
                cwd=ROOT, env={**os.environ, **self._environment}, stdin=subprocess.PIPE, stdout=log, stderr=log,
                process_group=0,  # an interrupt at the terminal is the suite's alone; without it they end with their standard input
            )  # fmt: skip

    def reap(self) -> None:
        """Wait for the end of the process that was here, and close our end of its standard input."""
        if self.process is not None:
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        if self.runs:
            os.kill(self.pid, number)

    def arm(self, point: str, act: str, *, seconds: float = 0.0, alerts: bool = False) -> None:
        (self.directory / HIT).unlink(missing_ok=True)
        new = self.directory / "arm.new"
        new.write_text(json.dumps({"point": point, "act": act, "seconds": seconds, "alerts": alerts}))
        new.rename(self.directory / ARM)

    def disarm(self) -> None:
        (self.directory / ARM).unlink(missing_ok=True)

    @property
    def hit(self) -> dict[str, Any] | None:
        """What the process said when it reached the point it is armed for."""
        path = self.directory / HIT
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def entries(self, action: str) -> list[dict[str, Any]]:
        """Log entries of an action."""
        return [json.loads(line) for line in self.log_path.read_text(errors="replace").splitlines() if f'"action": "{action}"' in line]

    def last_words(self) -> str:
        return self.log_path.read_text(errors="replace").strip()[-1500:]


class Cluster:
    """All processes of one run. `ended`: every process that ended so far; `broken`: ended in a way that none may; `crashed`: by what
    nobody expected, which the next owner makes good.
    """

    def __init__(self, kafka: Kafka, redis: Redis, directory: Path, app: str, *, partitions: int = 4, bugs: Sequence[str] = ()) -> None:
        self.kafka = kafka
        self.redis = redis
        self.directory = directory
        self.settings = Settings(
            app=app, topic_prefix=f"{app}.", redis_prefix=f"{app}:", partitions=partitions, definitions=DEFINITIONS,
            kafka_bootstrap=kafka.bootstrap, redis_url=redis.url, alert_stream_length=10_000_000, alert_storm_limit=0,
            session_timeout_seconds=SESSION_SECONDS, rebalance_timeout_seconds=REBALANCE_SECONDS,
            transaction_timeout_seconds=TRANSACTION_SECONDS, checkpoint_interval_seconds=0.5, checkpoint_events=200,
            fetch_max_records=50, watchdog_seconds=30, log_format="json",
            # Rows are written late, so that a restore has to fold the source again; most customers are packed between their events.
            state_rows_per_checkpoint=4, state_replay_events=300, state_customers_in_use=3,
        )  # fmt: skip
        self._environment = {
            f"STREAMER_{name.upper()}": str(getattr(self.settings, name)) for name in sorted(self.settings.model_fields_set)
        }
        self._environment["CHAOS_BUGS"] = " ".join(bugs)
        self.bugs = list(bugs)
        self.slots: list[Slot] = []
        self._spares: dict[str, Slot] = {}
        self.ended: list[Ended] = []
        self.broken: list[str] = []
        self.crashed: list[str] = []
        self._seen: set[subprocess.Popen[bytes]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def create(self) -> None:
        await topic_admin.create(self.settings)

    def add(self, role: str) -> Slot:
        """Start another process of a role."""
        number = sum(slot.role == role for slot in self.slots)
        slot = Slot(role, number, self.directory, self._environment, _port_of(role))
        self.slots.append(slot)
        slot.start()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="watch the processes")
        return slot

    def spare(self, role: str) -> Slot:
        """A place that is usually empty, filled."""
        slot = self._spares.get(role)
        if slot is None:
            slot = self._spares[role] = self.add(role)
        else:
            slot.start()
        return slot

    @property
    def roles(self) -> set[str]:
        """Those that were ever started."""
        return {slot.role for slot in self.slots}

    def of(self, *roles: str) -> list[Slot]:
        """The running ones."""
        return [slot for slot in self.slots if slot.role in roles and slot.runs]

    async def _watch(self) -> None:
        while True:
            for slot in self.slots:
                process = slot.process
                if process is None or process.poll() is None:
                    continue
                self._note_end(slot, process)
                if not slot.held and process.returncode not in FINAL_CODES:
                    await asyncio.sleep(RESTART_SECONDS)
                    if not slot.held:
                        slot.start()
            await asyncio.sleep(0.05)

    def _note_end(self, slot: Slot, process: subprocess.Popen[bytes]) -> None:
        if process in self._seen:
            return
        self._seen.add(process)
        self.ended.append(Ended(slot.name, slot.role, process.returncode, slot.held))
        # No fault of a server or a process explains a batch that went missing between the consumer and the fold.
        if process.returncode in FINAL_CODES or "RangeError" in slot.last_words():
            self.broken.append(f"{slot.name} ended with code {process.returncode}: {slot.last_words()}")
        if process.returncode == Exit.CRASHED:
            self.crashed.append(f"{slot.name}: {slot.last_words()}")

    async def stop(self, slot: Slot, seconds: float = 30.0) -> int:
        """End a process in order and leave its place empty; the exit code."""
        slot.held = True
        slot.signal(signal.SIGTERM)
        return await self.gone(slot, seconds)

    async def gone(self, slot: Slot, seconds: float = 30.0) -> int:
        """Wait for the end of the process that is there now; the exit code."""
        process = slot.process
        assert process is not None
        await until(lambda: process.poll() is not None, f"{slot.name} ends", seconds)
        self._note_end(slot, process)
        return int(process.returncode)

    def kill_all(self) -> None:
        """At the end of a run, however it ended."""
        if self._watching is not None:
            self._watching.cancel()
        for slot in self.slots:
            slot.held = True
            if slot.process is not None and slot.process.poll() is None:
                slot.process.kill()
            slot.reap()


def _port_of(role: str) -> int:
    """A free port; a supervisor's children take the next three."""
    while True:
        port = ports.pick()
        if role != SUPERVISOR or all(ports.is_free(port + 1 + number) for number in range(len(ROLES))):
            return port


class TooLongError(Exception):
    """Something that must happen did not, within its bound."""


async def until(holds: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TooLongError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.02)

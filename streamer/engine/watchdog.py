"""Ends the process when it hangs: a thread, because a blocked event loop cannot watch itself.

Watched: the two event loops, heartbeats the group's coordinator takes, an error it gave up with, openings, commits, and
records that lie there without being folded. A broker that is down for long looks like several of these.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from streamer.engine.exits import Exit, end

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS_PER_LIMIT: Final = 10


class Watchdog:
    """Calls `diagnose` regularly from its own thread; it returns what hangs, or None. A diagnosis ends the process."""

    def __init__(self, limit_seconds: float, diagnose: Callable[[float], str | None]) -> None:
        self._interval_seconds = limit_seconds / CHECKS_PER_LIMIT
        self._diagnose = diagnose
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._stopped.wait(self._interval_seconds):
            now = time.monotonic()
            # The whole process was stopped (a frozen machine, SIGSTOP): every age is of before. Look again.
            frozen = now - looked > 3 * self._interval_seconds
            looked = now
            if not frozen and (diagnosis := self._diagnose(now)) is not None:
                end(Exit.STUCK, diagnosis)

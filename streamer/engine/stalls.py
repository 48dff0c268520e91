"""Reads that stand still: aiokafka asks a broker that is away again and again, and tells nobody."""

from __future__ import annotations

import time
from typing import Final

from streamer.errors import UnreachableError

# Kafka answers a read in milliseconds; this long without progress means the broker is gone.
STALLED_SECONDS: Final = 30.0


class StallWatch:
    """Watches the reading of a topic from now on. seconds: it may stand still for so long."""

    def __init__(self, topic: str, seconds: float) -> None:
        self._topic = topic
        self._seconds = seconds
        self._last = time.monotonic()

    def look(self, *, moved: bool) -> None:
        """Say whether it has moved. Raises UnreachableError if it has not for too long."""
        now = time.monotonic()
        if moved:
            self._last = now
        elif now - self._last > self._seconds:
            raise UnreachableError(f"reading {self._topic} has stalled for {self._seconds:.0f} s: is Kafka well?")

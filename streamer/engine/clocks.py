"""When time passes without records, and how long an alert may wait: two small decisions, free of I/O.

All instants are given by the caller: `monotonic` in seconds, the broker's time and event times in milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final

# Caught up: the last answered fetch is at most this old and left the position at the last stable offset.
CAUGHT_UP_SECONDS: Final = 2.0
# While records keep raising `high`, they are the clock; the idle clock takes over after this long.
IDLE_SECONDS: Final = 1.0


class IdleClock:
    """The clock of a caught-up partition: `high` + time since the record that last raised it.

    That time is measured on the monotonic clock from when the record was folded. A record that came out of a backlog, or that the state
    was restored with, is older than that by the broker's time - arrival, both of which the broker has told: the wall clock of a machine
    may be hours ahead, and a clock once moved cannot be taken back.
    """

    def __init__(self, reference: tuple[int, int], *, monotonic: float) -> None:
        self._reference = reference
        self._since: float | None = None  # when the record arrived; None until the broker has told its time
        self._told: tuple[int, float] | None = None
        self._caught_up = -CAUGHT_UP_SECONDS - 1.0 + monotonic

    def tell(self, broker_ms: int, monotonic: float) -> None:
        """It was this time at the broker just now."""
        self._told = broker_ms, monotonic
        if self._since is None:
            self._since = self._instant(self._reference[1], monotonic)

    def caught_up(self, monotonic: float) -> None:
        """Nothing was left to fetch just now."""
        self._caught_up = monotonic

    def observe(self, reference: tuple[int, int], *, monotonic: float) -> None:
        """Look at the fold's reference (high, arrival) after records were folded."""
        if reference == self._reference:
            return
        # Live records arrived after the partition was last caught up, so they are at most that old.
        live = monotonic - self._caught_up <= CAUGHT_UP_SECONDS
        self._since = monotonic if live else self._instant(reference[1], monotonic)
        self._reference = reference

    def now_ms(self, monotonic: float) -> int | None:
        """What the clock shows, or None while records are moving it themselves, or the broker's time is not known."""
        if self._since is None or (running_ms := round((monotonic - self._since) * 1000)) < IDLE_SECONDS * 1000:
            return None
        return self._reference[0] + running_ms

    def _instant(self, arrival_ms: int, monotonic: float) -> float | None:
        if self._told is None:
            return None
        broker_ms, at = self._told
        return min(monotonic, at - (broker_ms - arrival_ms) / 1000)


class Linger:
    """How long an alert waits for its checkpoint: `base_seconds`, more the busier the process is.

    Each checkpoint costs a few milliseconds of CPU whatever is in it. With sixteen partitions that raise alerts all the time,
    a fixed 50 ms would leave no CPU for the events.
    """

    BUSY: Final = 0.75
    CALM: Final = 0.4

    def __init__(self, base_seconds: float, max_seconds: float) -> None:
        self.seconds = base_seconds
        self._base = base_seconds
        self._max = max(base_seconds, max_seconds)

    def observe(self, busy: float) -> None:
        """CPU seconds used per second since the last look: doubles above `BUSY`, halves below `CALM`."""
        if busy > self.BUSY:
            self.seconds = min(self._max, max(self.seconds, 0.01) * 2)
        elif busy < self.CALM:
            self.seconds = max(self._base, self.seconds / 2)

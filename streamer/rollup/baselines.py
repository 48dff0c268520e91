"""What is usual at this hour of the week: the median of the same hour in the last weeks. Pure.

At the end of every hour the value of a rule's longest window is kept, if its sample is large enough (a count's always is) and the rule
neither fires nor is about to: what an incident does is not to become usual. Before there are values of `WEEKS_MIN` weeks nothing is known.
"""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Final

from streamer.rollup.panes import HOUR_MS, TICK_MS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

WEEKS_MIN: Final = 3  # [H]: of two values the median would be the middle of both
HOUR_TICKS: Final = HOUR_MS // TICK_MS


def last_tick_of_hour(tick: int) -> int:
    """The last tick of the hour of UTC that a tick is in."""
    return tick - tick % HOUR_TICKS + HOUR_TICKS - 1


class Week:
    """The hours of the week in a time zone: 0 is Monday 00:00."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._hour = -1
        self._of_week = 0

    def hour(self, tick: int) -> int:
        """The hour of the week at the beginning of the tick's hour of UTC."""
        if tick // HOUR_TICKS != self._hour:
            self._hour = tick // HOUR_TICKS
            local = datetime.fromtimestamp(self._hour * HOUR_MS // 1000, self._zone)
            self._of_week = local.weekday() * 24 + local.hour
        return self._of_week


class Baseline:
    """Of one series. values: by hour of the week, the latest last, at most `weeks`. dirty: hours that changed."""

    def __init__(self, weeks: int) -> None:
        self.values: dict[int, list[float]] = {}
        self.dirty: set[int] = set()
        self._weeks = weeks
        self._medians: dict[int, float] = {}

    def at(self, hour: int) -> float | None:
        """What is usual at this hour of the week, None as long as that is not known."""
        known = self._medians.get(hour)
        if known is None:
            values = self.values.get(hour, ())
            if len(values) < WEEKS_MIN:
                return None
            known = self._medians[hour] = median(values)
        return known

    def learn(self, hour: int, value: float) -> None:
        """Keep the value of an hour that is over."""
        self.load(hour, [*self.values.get(hour, ()), value])
        self.dirty.add(hour)

    def load(self, hour: int, values: list[float]) -> None:
        """Put back what was kept of an hour."""
        self.values[hour] = values[-self._weeks :]
        self._medians.pop(hour, None)

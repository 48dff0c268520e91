"""What is usual at this hour of the week: the median of the same hour in the last weeks. Pure.

At the end of every hour the value of a rule's longest window is kept, if its sample is large enough (a count's always is) and the rule
neither fires nor is about to: what an incident does is not to become usual. Before there are values of `WEEKS_MIN` weeks nothing is known.

Windows trail: five minutes into an hour a window of an hour is still about the hour before. So what is usual goes evenly from the value of
the hour before to that of this hour, which it reaches at its end; otherwise every evening that grows quiet would look like an incident.
"""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Final

from streamer.deltas import TICK_MS
from streamer.rollup.panes import HOUR_MS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

WEEKS_MIN: Final = 3  # [H]: of two values the median would be the middle of both
HOUR_TICKS: Final = HOUR_MS // TICK_MS
WEEK_TICKS: Final = 7 * 24 * HOUR_TICKS


def last_tick_of_hour(tick: int) -> int:
    """The last tick of the hour of UTC that a tick is in."""
    return tick - tick % HOUR_TICKS + HOUR_TICKS - 1


class Week:
    """The hours of the week in a time zone: 0 is Monday 00:00."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._hour = -1
        self._of_week = (0, 0)

    def hour(self, tick: int) -> int:
        """The hour of the week at the beginning of the tick's hour of UTC."""
        return self.hours(tick)[1]

    def hours(self, tick: int) -> tuple[int, int]:
        """The hour of UTC before the tick's, and that hour, as hours of the week."""
        hour = tick // HOUR_TICKS
        if hour != self._hour:
            self._hour, self._of_week = hour, (self._local(hour - 1), self._local(hour))
        return self._of_week

    def _local(self, hour: int) -> int:
        local = datetime.fromtimestamp(hour * HOUR_MS // 1000, self._zone)
        return local.weekday() * 24 + local.hour


class Baseline:
    """Of one series. values: by hour of the week, the latest last, at most `weeks`. dirty: hours that changed.

    weeks_without: of a count, for how many weeks there was no such series while the rule was looking: each of their hours had none.
    """

    def __init__(self, weeks: int) -> None:
        self.values: dict[int, list[float]] = {}
        self.dirty: set[int] = set()
        self.weeks_without = 0
        self._weeks = weeks
        self._medians: dict[int, float] = {}

    def at(self, hour: int) -> float | None:
        """What is usual at the end of this hour of the week, None as long as that is not known."""
        known = self._medians.get(hour)
        if known is None:
            values = self.values.get(hour, [])
            without = min(self.weeks_without, self._weeks - len(values))
            if len(values) + without < WEEKS_MIN:
                return None
            known = self._medians[hour] = median(values + [0.0] * without)
        return known

    def between(self, before: int, hour: int, passed: float) -> float | None:
        """What is usual when so much of an hour has passed; a value of the hour before that is not known is taken to be the same."""
        now = self.at(hour)
        earlier = self.at(before)
        return now if now is None or earlier is None else earlier + (now - earlier) * passed

    def learn(self, hour: int, value: float) -> None:
        """Keep the value of an hour that is over."""
        self.load(hour, [*self.values.get(hour, ()), value])
        self.dirty.add(hour)

    def load(self, hour: int, values: list[float]) -> None:
        """Put back what was kept of an hour."""
        self.values[hour] = values[-self._weeks :]
        self._medians.pop(hour, None)

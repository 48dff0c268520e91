"""The part of a log that is compared, and the windows of metrics as of its end."""

from __future__ import annotations

from typing import Final, NamedTuple

from streamer.durations import parse_duration
from streamer.metrics.catalogue import LIFETIME

# A metric of exactly the panes of a range that has a begin, beside the windows.
RANGE: Final = "range"

_PANE_MS: Final = 10_000
_SECOND_MS: Final = 1_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class Range(NamedTuple):
    """Only panes that start in it are compared; the whole log is folded on both sides all the same."""

    from_ms: int | None = None
    to_ms: int | None = None

    def holds(self, time_ms: int) -> bool:
        """Whether a time is in it."""
        return (self.from_ms is None or time_ms >= self.from_ms) and (self.to_ms is None or time_ms < self.to_ms)

    @property
    def limited(self) -> bool:
        """Whether it leaves anything out."""
        return self.from_ms is not None or self.to_ms is not None

    def until(self, clock_ms: int) -> Range:
        """The same, ended by the last second that is over at the end of the log."""
        end_ms = clock_ms // _SECOND_MS * _SECOND_MS
        return Range(self.from_ms, end_ms if self.to_ms is None else min(self.to_ms, end_ms))

    @property
    def windows_at(self) -> int:
        """The last second that begins before its end, which windows are as of, milliseconds. Only of one that has an end."""
        assert self.to_ms is not None, "the end of the log bounds it"  # noqa: S101  a promise of the caller
        return (self.to_ms - 1) // _SECOND_MS * _SECOND_MS

    def reaches_back(self, window: str) -> bool:
        """Whether a window as of its end begins before it: docs/reference/metrics.md."""
        if self.from_ms is None or window == RANGE:
            return False
        if window == LIFETIME:
            return True
        width = int(parse_duration(window))
        pane = _PANE_MS if width <= _HOUR_MS else 300_000 if width <= _DAY_MS else _HOUR_MS if width <= 28 * _DAY_MS else _DAY_MS
        return self.windows_at // pane * pane - width + pane < self.from_ms


WHOLE: Final = Range()

"""Where a partition's fold is, in the log and in time."""

from __future__ import annotations

from typing import final

from streamer.journeys.marker import Marker
from streamer.journeys.row import Boundary


@final
class Position:
    """The moving part of a `marker.Marker`, with its fields: a plain class, since it moves with every record."""

    __slots__ = ("arrival", "base", "clock", "high", "next_offset", "start")

    def __init__(self, marker: Marker) -> None:
        self.next_offset: int | None = marker.next_offset
        self.high: int = marker.high
        self.arrival: int = marker.arrival
        self.start: int = marker.start
        self.base: int = marker.base
        self.clock: int = marker.clock

    def boundary(self, offset: int) -> Boundary:
        """Where the partition is now, the next offset being `offset`."""
        return Boundary(offset, self.high, self.arrival, self.start, self.base, self.clock)

    def go_to(self, boundary: Boundary) -> None:
        """Take over the offset and the times of a boundary."""
        self.next_offset, self.high, self.arrival = boundary.offset, boundary.high, boundary.arrival
        self.start, self.base, self.clock = boundary.start, boundary.base, boundary.clock

    def note(self, marker: Marker) -> None:
        """Let the marker be of this moment."""
        marker.next_offset, marker.high, marker.arrival = self.next_offset, self.high, self.arrival
        marker.start, marker.base, marker.clock = self.start, self.base, self.clock

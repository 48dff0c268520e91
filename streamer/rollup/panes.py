"""Panes and the sliding windows over them.

Window W at time t covers the panes that start in (floor_g(t) - W, floor_g(t)], g being the granularity W belongs to. Sums per
window are kept as panes enter and leave, so that reading one costs nothing and a slide costs only what moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from streamer.deltas import PANE_MS

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

# (longest window, granularity), milliseconds: a window of W has at most W / g panes, 360 at one hour, 288 at one day.
_GRANULARITIES: Final = ((HOUR_MS, PANE_MS), (DAY_MS, 300_000), (28 * DAY_MS, HOUR_MS))

# A pane's sums in pieces of this many series: what one changelog row holds.
CHUNK_SERIES: Final = 512

Sums = dict[int, int]
Part = tuple[int, Sums]  # (chunk, sums by key)


def granularity_ms(window_ms: int) -> int:
    """Width of the panes that a window of this length is made of."""
    for longest, granularity in _GRANULARITIES:
        if window_ms <= longest:
            return granularity
    return DAY_MS


class Window:
    """A running sum. `exits`: a heap of the panes inside, the next to leave first."""

    __slots__ = ("exits", "sums", "width_ms")

    def __init__(self, width_ms: int) -> None:
        self.width_ms = width_ms
        self.sums: Sums = {}
        self.exits: list[int] = []


class Panes:
    """The panes of one granularity and the windows (lengths in milliseconds) over them.

    next_slide_ms: when the next slide changes a sum, infinity for never. dirty: (pane start, chunk) that changed or went. Panes hold no
    zeros: one that has changed is written as it is, all of it. whole_from_ms: what happened before was not counted here, so that who adds
    leaves out what corrects it later.
    """

    def __init__(self, granularity: int, windows_ms: Iterable[int]) -> None:
        self.granularity_ms = granularity
        self.windows = [Window(width) for width in sorted(windows_ms)]
        self.longest_ms = self.windows[-1].width_ms
        self.floor_ms = self.whole_from_ms = 0
        self.next_slide_ms: float = float("inf")
        self.dirty: set[tuple[int, int]] = set()
        self._panes: dict[int, dict[int, Sums]] = {}
        self._entries: list[int] = []

    def add(self, time_ms: int, parts: Sequence[Part]) -> None:
        """Add `parts` to the pane of `time_ms`: at once in every window that covers it, later if the pane is yet to come."""
        start = time_ms - time_ms % self.granularity_ms
        if start <= self.floor_ms - self.longest_ms:
            return
        pane = self._panes.get(start)
        if pane is None:
            pane = self._panes[start] = {}
            self._admit(start)
        targets = [] if start > self.floor_ms else [w.sums for w in self.windows if start > self.floor_ms - w.width_ms]
        for chunk, cells in parts:
            self.dirty.add((start, chunk))
            kept = pane.get(chunk)
            if kept is None:
                pane[chunk] = _without_zeros(cells.copy())
            else:
                _add_and_drop(kept, cells, 1)
            for sums in targets:
                _add_and_drop(sums, cells, 1)

    def slide(self, now_ms: int, changed: set[int]) -> None:
        """Move every window to `now_ms`; the keys of what entered or left are added to `changed`."""
        floor = now_ms - now_ms % self.granularity_ms
        if floor == self.floor_ms:
            return
        self.floor_ms = floor
        while self._entries and self._entries[0] <= floor:
            start = heappop(self._entries)
            for window in self.windows:
                heappush(window.exits, start)
                self._move(window, start, 1, changed)
        for window in self.windows:
            while window.exits and window.exits[0] <= floor - window.width_ms:
                start = heappop(window.exits)
                self._move(window, start, -1, changed)
                if window.width_ms == self.longest_ms:
                    self.dirty.update([(start, chunk) for chunk in self._panes.pop(start)])
        self._plan()

    def load(self, start: int, chunk: int, cells: Sums) -> None:
        """Put a row back; `rebuild` follows."""
        self._panes.setdefault(start, {})[chunk] = cells

    def rebuild(self, now_ms: int) -> None:
        """Windows from panes, after `load`."""
        self.floor_ms = floor = now_ms - now_ms % self.granularity_ms
        for start in [start for start in self._panes if start <= floor - self.longest_ms]:
            self.dirty.update([(start, chunk) for chunk in self._panes.pop(start)])
        self._entries = [start for start in self._panes if start > floor]
        for window in self.windows:
            window.sums.clear()
            window.exits = [start for start in self._panes if floor - window.width_ms < start <= floor]
            for start in window.exits:
                for cells in self._panes[start].values():
                    add_to(window.sums, cells)
            heapify(window.exits)
        heapify(self._entries)
        self._plan()

    def cells(self, start: int, chunk: int) -> Sums | None:
        """One row, or None once no window can see it."""
        return self._panes.get(start, {}).get(chunk)

    def rows(self) -> Iterable[tuple[int, int]]:
        """Every (pane start, chunk) held."""
        return [(start, chunk) for start, pane in self._panes.items() for chunk in pane]

    def _admit(self, start: int) -> None:
        if start > self.floor_ms:
            heappush(self._entries, start)
        else:
            for window in self.windows:
                if start > self.floor_ms - window.width_ms:
                    heappush(window.exits, start)
        self._plan()

    def _move(self, window: Window, start: int, sign: int, changed: set[int]) -> None:
        for cells in self._panes[start].values():
            _add_and_drop(window.sums, cells, sign)
            changed.update(cells)

    def _plan(self) -> None:
        due = [window.exits[0] + window.width_ms for window in self.windows if window.exits]
        if self._entries:
            due.append(self._entries[0])
        # The floor moves at whole panes, also under a window that is not a multiple of them.
        self.next_slide_ms = -(-min(due) // self.granularity_ms) * self.granularity_ms if due else float("inf")


def panes_of(windows_ms: Iterable[int]) -> list[Panes]:
    """Panes for these windows, by ascending granularity."""
    groups: dict[int, list[int]] = {}
    for width in sorted(set(windows_ms)):
        groups.setdefault(granularity_ms(width), []).append(width)
    return [Panes(granularity, widths) for granularity, widths in groups.items()]


def _without_zeros(cells: Sums) -> Sums:
    return cells if all(cells.values()) else {key: n for key, n in cells.items() if n}


def _add_and_drop(sums: Sums, cells: Sums, sign: int) -> None:
    """sums[key] += sign * n for each of `cells`; what is then zero goes."""
    get = sums.get
    for key, n in cells.items():
        if total := get(key, 0) + sign * n:
            sums[key] = total
        else:
            sums.pop(key, None)


def add_to(sums: Sums, cells: Sums) -> None:
    """sums[key] += n for each of `cells`."""
    get = sums.get
    for key, n in cells.items():
        sums[key] = get(key, 0) + n

"""Where counter changes add up: panes, windows and lifetime of all series.

Nobody needs all windows of all series at every tick: changes pile up by (pane, cell, counter) and are spread over slices, panes
and windows at the next reading or checkpoint. Sums commute, so no reading can tell. What rules look at is kept up at every
tick, apart and for the watched keys only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from streamer.deltas import PANE_MS
from streamer.durations import parse_duration
from streamer.metrics.catalogue import LIFETIME
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.panes import CHUNK_SERIES, Panes, Part, Sums, add_to, panes_of
from streamer.rollup.series import SeriesTable

CHUNK_BITS = COUNTER_BITS + CHUNK_SERIES.bit_length() - 1

Pile = defaultdict[int, Sums]  # pane number -> (cell << COUNTER_BITS | counter) -> n
WindowSums = Mapping[str, Mapping[int, int]]  # window name -> key -> n


class Store:
    """All sums, up to date after `settle`. `windows`: names as in the definitions."""

    def __init__(self, windows: Sequence[str], table: SeriesTable) -> None:
        self._table = table
        self.pile: Pile = defaultdict(dict)
        self.piled = 0
        self.lifetime: Sums = {}
        self.dirty_lifetime: set[int] = set()
        self.panes = panes_of(parse_duration(name) for name in windows)
        self.windows = _by_name(windows, self.panes, self.lifetime)

    def settle(self, now_ms: int | None) -> None:
        """Bring everything up to `now_ms`, the time of the last decided tick (None before there is one)."""
        if now_ms is not None:
            for panes in self.panes:
                panes.slide(now_ms, set())
        if self.piled:
            self._spread()
            self.piled = 0

    def lifetime_chunks(self, chunks: Collection[int]) -> dict[int, Sums]:
        """The lifetime sums of these chunks of series; all in one pass, for there may be a million sums."""
        if len(self._table.series) <= CHUNK_SERIES:
            return dict.fromkeys(sorted(chunks), self.lifetime)
        found: dict[int, Sums] = {chunk: {} for chunk in sorted(chunks)}
        for key, n in self.lifetime.items() if found else ():
            sums = found.get(key >> CHUNK_BITS)
            if sums is not None:
                sums[key] = n
        return found

    def rebuild(self, now_ms: int) -> None:
        """Windows from panes, after rows were loaded."""
        for panes in self.panes:
            panes.rebuild(now_ms)

    def _spread(self) -> None:
        groups, total = self.pile, self._correct()
        for panes in self.panes:
            # Granularities ascend and divide each other: merging before the spread over slices makes the coarse ones cheap.
            groups = _merged(groups, panes.granularity_ms // PANE_MS)
            for number, changes in groups.items():
                cells = self._cells(changes)
                if cells:
                    panes.add(number * PANE_MS, self._parts(cells))
        for changes in groups.values():
            add_to(total, changes)
        for chunk, part in self._parts(self._cells(total)):
            self.dirty_lifetime.add(chunk)
            add_to(self.lifetime, part)
        self.pile.clear()

    def _correct(self) -> Sums:
        """Add what changes panes of before a window or slice was there, by itself, and take it from the pile; gives its total."""
        young_ms = max([self._table.young_until_ms, *(panes.whole_from_ms for panes in self.panes)])
        total: Sums = {}
        for number in [number for number in self.pile if number * PANE_MS < young_ms]:
            changes = self.pile.pop(number)
            cells = self._table.counted(self._cells(changes), number * PANE_MS)
            for panes in self.panes if cells else ():
                if number * PANE_MS >= panes.whole_from_ms:
                    panes.add(number * PANE_MS, self._parts(cells))
            add_to(total, changes)
        return total

    def _cells(self, changes: Sums) -> Sums:
        """Changes by cell and counter as changes by key: each counts once in every slice it is in."""
        known, keys_of = self._table.known_keys, self._table.keys
        cells: Sums = {}
        get = cells.get
        for cell_counter, n in changes.items():
            for key in known.get(cell_counter) or keys_of(cell_counter):
                cells[key] = get(key, 0) + n
        return cells

    def _parts(self, cells: Sums) -> Sequence[Part]:
        if len(self._table.series) <= CHUNK_SERIES:
            return [(0, cells)] if cells else []
        parts: dict[int, Sums] = {}
        for key, n in cells.items():
            parts.setdefault(key >> CHUNK_BITS, {})[key] = n
        return list(parts.items())


class Watched:
    """The sums rules look at, up to date at every tick. `watch`: their keys, growing as series come."""

    def __init__(self, windows: Sequence[str], table: SeriesTable, watch: Collection[int]) -> None:
        self._table = table
        self._watch = watch
        self._lifetime: Sums = {}
        self.panes = panes_of(parse_duration(name) for name in windows)
        self.windows = _by_name(windows, self.panes, self._lifetime)

    @property
    def next_slide_ms(self) -> float:
        """When the next slide changes what a rule sees; infinity for never."""
        return min([panes.next_slide_ms for panes in self.panes], default=float("inf"))

    def slide(self, now_ms: int, changed: set[int]) -> None:
        """Move all windows to `now_ms`; keys that changed are added to `changed`."""
        for panes in self.panes:
            panes.slide(now_ms, changed)

    def add(self, pile: Pile, changed: set[int]) -> None:
        """Add a tick's changes; keys that changed are added to `changed`."""
        for pane, changes in pile.items():
            cells: Sums = {}
            for cell_counter, n in changes.items():
                for key in self._table.keys(cell_counter):
                    if key in self._watch:
                        cells[key] = cells.get(key, 0) + n
            if cells:
                counted = self._table.counted(cells, pane * PANE_MS)
                for panes in self.panes:
                    if pane * PANE_MS >= panes.whole_from_ms:
                        panes.add(pane * PANE_MS, [(0, counted)])
                        panes.dirty.clear()
                add_to(self._lifetime, cells)
                changed.update(cells)

    def rebuild(self, store: Store, now_ms: int) -> None:
        """The watched part of everything, after `store` was loaded."""
        add_to(self._lifetime, self._part(store.lifetime))
        for mine in self.panes:
            for panes in store.panes:
                if panes.granularity_ms == mine.granularity_ms:
                    for start, chunk in panes.rows():
                        mine.load(start, chunk, self._part(panes.cells(start, chunk) or {}))
            mine.rebuild(now_ms)

    def _part(self, sums: Sums) -> Sums:
        return {key: n for key, n in sums.items() if key in self._watch}


def _by_name(windows: Iterable[str], panes: Iterable[Panes], lifetime: Sums) -> dict[str, Sums]:
    by_width = {window.width_ms: window.sums for group in panes for window in group.windows}
    return {name: by_width[int(parse_duration(name))] for name in windows} | {LIFETIME: lifetime}


def _merged(pile: Pile, width: int) -> Pile:
    """The pile with `width` panes as one, numbered by its first."""
    if width == 1:
        return pile
    merged: Pile = defaultdict(dict)
    for pane, changes in pile.items():
        first = pane - pane % width
        if first in merged:
            add_to(merged[first], changes)
        else:
            merged[first] = changes.copy()
    return merged

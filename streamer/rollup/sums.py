"""Where counter changes add up: panes, windows and lifetime of all series.

Most changes matter to no rule and need not be in the windows at every tick: they pile up by (pane, cell, counter) and are
spread over slices, panes and windows at the next reading or checkpoint. Sums commute, so no reading can tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from streamer.definitions import Definitions, parse_duration
from streamer.deltas import PANE_MS
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.panes import CHUNK_SERIES, Panes, Part, Sums, add_to, granularity_ms
from streamer.rollup.series import SeriesTable

CHUNK_BITS = COUNTER_BITS + CHUNK_SERIES.bit_length() - 1

Pile = defaultdict[int, Sums]  # pane number -> (cell << COUNTER_BITS | counter) -> n


class Store:
    """All sums. `watched`: names of windows some rule looks at; `watch`: keys some rule looks at."""

    def __init__(self, definitions: Definitions, table: SeriesTable, watched: Collection[str], watch: Collection[int]) -> None:
        self._table = table
        self.pile: Pile = defaultdict(dict)
        self.piled = 0
        self.lifetime: Sums = {}
        self.dirty_lifetime: set[int] = set()
        widths: dict[int, dict[int, bool]] = {}
        for name in definitions.windows:
            width = int(parse_duration(name))
            group = widths.setdefault(granularity_ms(width), {})
            group[width] = group.get(width, False) or name in watched
        self.panes = [Panes(g, list(group.items()), watch) for g, group in sorted(widths.items())]
        by_width = {window.width_ms: window.sums for panes in self.panes for window in panes.windows}
        self.windows = {name: by_width[int(parse_duration(name))] for name in definitions.windows}

    @property
    def next_slide_ms(self) -> float:
        """When the next slide changes what a rule sees; infinity for never."""
        return min([panes.next_slide_ms for panes in self.panes], default=float("inf"))

    def slide(self, now_ms: int, changed: set[int]) -> None:
        """Move all windows to `now_ms`; watched keys that changed in a watched window are added to `changed`."""
        for panes in self.panes:
            panes.slide(now_ms, changed)

    def spread(self, pile: Pile) -> set[int]:
        """Add a pile to lifetime, panes and windows as of the last slide, and empty it; gives the keys it touched."""
        keys_of = self._table.keys
        touched: set[int] = set()
        total: Sums = {}
        for pane, changes in pile.items():
            cells: Sums = {}
            get = cells.get
            for cell_counter, n in changes.items():
                for key in keys_of(cell_counter):
                    cells[key] = get(key, 0) + n
            if cells:
                parts = self._parts(cells)
                for panes in self.panes:
                    panes.add(pane * PANE_MS, parts)
                add_to(total, cells)
        for chunk, cells in self._parts(total):
            self.dirty_lifetime.add(chunk)
            add_to(self.lifetime, cells)
            touched.update(cells)
        pile.clear()
        return touched

    def settle(self, now_ms: int | None) -> None:
        """Bring everything up to `now_ms`, the time of the last decided tick (None before there is one)."""
        if now_ms is not None:
            # Nothing a rule sees changes here: whatever does has been a tick of its own.
            self.slide(now_ms, set())
        if self.piled:
            self.spread(self.pile)
            self.piled = 0

    def lifetime_chunk(self, chunk: int) -> Sums:
        """The lifetime sums of one chunk of series."""
        if len(self._table.series) <= CHUNK_SERIES:
            return self.lifetime
        return {key: n for key, n in self.lifetime.items() if key >> CHUNK_BITS == chunk}

    def rebuild(self, now_ms: int) -> None:
        """Windows from panes, after rows were loaded."""
        for panes in self.panes:
            panes.rebuild(now_ms)

    def _parts(self, cells: Sums) -> Sequence[Part]:
        if len(self._table.series) <= CHUNK_SERIES:
            return [(0, cells)] if cells else []
        parts: dict[int, Sums] = {}
        for key, n in cells.items():
            parts.setdefault(key >> CHUNK_BITS, {})[key] = n
        return list(parts.items())

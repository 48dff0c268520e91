"""Series: which label values a delta's cell counts for, bounded per dimension and per slice.

The first values a dimension shows keep series of their own, the rest become `other`. "First" is by tick, and within a tick by
sorted order, so neither batches nor the interleaving of partitions decide it. What has been admitted is state.

Accounts, if rules are on them, are a slice with a limit of its own and only the counters that these rules look at: there are many.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from streamer.definitions import Definitions
from streamer.deltas import slice_partition
from streamer.metrics.counters import ACCOUNT, CELL_DIMENSIONS, DIMENSIONS_OF, Counter
from streamer.rollup.estimates import COUNTER_BITS, COUNTER_MASK
from streamer.rollup.panes import Sums

OTHER: Final = "other"

# Longer label values go to `other` and take no place [H]: state and scrape stay bounded in bytes as well.
VALUE_CHARACTERS_MAX: Final = 128

# Series of one slice, `other` not counted [H]: two full dimensions of 100 values would be 10,000.
SERIES_PER_SLICE: Final = 2_000

# Cells remembered with their series: a cache, emptied when full.
CELLS_MAX: Final = 50_000

_SETS_OF_DIMENSIONS: Final = frozenset(DIMENSIONS_OF.values())

RawCell = tuple[tuple[str, ...], tuple[str, ...]]  # (dimensions, values)


class Series(NamedTuple):
    """slice: index of the slice in the definitions, -1 if they no longer have it. by, values: its labels."""

    slice: int
    by: tuple[str, ...]
    values: tuple[str, ...]


class SeriesTable:
    """Vocabulary, series, and the cache from cells to series.

    known_keys: what `keys` has answered, for those who ask often. overflowed: cell number -> dimensions (or slice) that cut it.
    counted_from_ms: slice -> since when it has been counted, of those that came with other definitions; accounts_from_ms: the same of the
    counters that are counted for accounts.
    """

    def __init__(self, definitions: Definitions, *, partition: int, partitions: int, series_per_slice: int = SERIES_PER_SLICE) -> None:
        self.slices = list(definitions.slices)
        used = {name for by in self.slices for name in by}
        self.dimensions = tuple(name for name in CELL_DIMENSIONS if name in used)
        # The series of the accounts' slice are its vocabulary.
        self.vocabulary: dict[str, dict[str, None]] = {name: {} for name in self.dimensions if name != ACCOUNT}
        self.series: list[Series] = []
        self.overflow: Tally[str] = Tally()
        self.overflowed: dict[int, tuple[str, ...]] = {}
        self.dirty_dimensions: set[str] = set()
        self.counted_from_ms: dict[int, int] = {}
        self.accounts_from_ms: dict[int, int] = {}
        self._values_max = definitions.limits.label_values
        self._series_max = [definitions.limits.accounts if ACCOUNT in by else series_per_slice for by in self.slices]
        self._share = (partition, partitions)
        self._positions = [tuple(self.dimensions.index(name) for name in by) for by in self.slices]
        self._applies = {
            dimensions: frozenset(i for i, by in enumerate(self.slices) if set(by) <= set(dimensions)) for dimensions in _SETS_OF_DIMENSIONS
        }
        self._accounts = frozenset(i for i, by in enumerate(self.slices) if ACCOUNT in by)
        self._of_accounts = definitions.account_counters
        self._ids: dict[tuple[int, tuple[str, ...]], int] = {}
        self._sizes: Tally[int] = Tally()
        self.forget()

    def forget(self) -> None:
        """Empty the cache; cell numbers given out before are void."""
        self._raw: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
        self._cells: list[tuple[tuple[int, int], ...]] = []
        self.known_keys: dict[int, tuple[int, ...]] = {}
        self.overflowed.clear()

    @property
    def cached_cells(self) -> int:
        """Cells remembered."""
        return len(self._cells)

    def known(self, dimensions: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[int | None]:
        """Cell numbers, None where a cell has not been admitted."""
        raw = self._raw.get(dimensions)
        return [None] * len(cells) if raw is None else [raw.get(cell) for cell in cells]

    def number_of(self, cell: RawCell) -> int | None:
        """A cell's number, None if it has not been admitted."""
        dimensions, values = cell
        raw = self._raw.get(dimensions)
        return None if raw is None else raw.get(values)

    def keys(self, cell_counter: int) -> tuple[int, ...]:
        """The keys that a change of `cell << COUNTER_BITS | counter` adds to, one per slice it is in."""
        keys = self.known_keys.get(cell_counter)
        if keys is None:
            counter = cell_counter & COUNTER_MASK
            applies = self._slices_of(counter)
            series = self._cells[cell_counter >> COUNTER_BITS]
            keys = self.known_keys[cell_counter] = tuple([number << COUNTER_BITS | counter for index, number in series if index in applies])
        return keys

    def counted(self, sums: Sums, pane_ms: int) -> Sums:
        """The sums of a pane without those of slices that had not been counted when it began: they would correct nothing."""
        young = {index for index, since_ms in self.counted_from_ms.items() if pane_ms < since_ms}
        counters = {counter for counter, since_ms in self.accounts_from_ms.items() if pane_ms < since_ms}
        if not (young or counters):
            return sums
        found = {}
        for key, n in sums.items():
            index = self.series[key >> COUNTER_BITS].slice
            if index not in young and not (index in self._accounts and key & COUNTER_MASK in counters):
                found[key] = n
        return found

    @property
    def young_until_ms(self) -> int:
        """From when on everything has been counted."""
        return max([*self.counted_from_ms.values(), *self.accounts_from_ms.values()], default=0)

    def existing_keys(self, dimensions: tuple[str, ...], values: tuple[str, ...], counter: int) -> tuple[int, ...]:
        """As `keys`, of a cell that may not have been admitted: of the series that it would be in and that are there."""
        number = self.number_of((dimensions, values))
        if number is not None:
            return self.keys(number << COUNTER_BITS | counter)
        full = self._full(dimensions, values)
        if any(self._is_new(name, value) for name, value in zip(self.vocabulary, full, strict=False)):
            return ()
        applies, found = self._slices_of(counter), self._series_of(self._mapped(full), full, admit=False)
        return tuple([number << COUNTER_BITS | counter for index, number, _ in found if index in applies])

    def admit(self, cells: Iterable[RawCell]) -> list[int]:
        """Admit all new cells of one tick; gives the numbers of the series this made."""
        first = len(self.series)
        full = [(self._full(dimensions, values), dimensions, values) for dimensions, values in sorted(set(cells))]
        for position, (name, vocabulary) in enumerate(self.vocabulary.items()):
            for value in sorted({values[position] for values, _, _ in full}):
                if self._is_new(name, value):
                    vocabulary[value] = None
                    self.dirty_dimensions.add(name)
        for mapped, raw, dimensions, values in sorted([(self._mapped(f), f, d, v) for f, d, v in full]):
            self._raw.setdefault(dimensions, {})[values] = self._remember(mapped, raw)
        return list(range(first, len(self.series)))

    def restore_series(self, number: int, by: tuple[str, ...], values: tuple[str, ...]) -> None:
        """Put back series `number` (ascending)."""
        index = self.slices.index(by) if by in self.slices else -1
        if (index, values) in self._ids:
            index = -1  # earlier builds counted what a slice has twice that was defined twice
        self.series.append(Series(index, by, values))
        if index >= 0:
            self._ids[index, values] = number
            self._sizes[index] += 1

    def _slices_of(self, counter: int) -> frozenset[int]:
        """The slices whose dimensions the counter has."""
        applies = self._applies[DIMENSIONS_OF[Counter(counter)]]
        return applies | self._accounts if counter in self._of_accounts else applies

    def _full(self, dimensions: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
        """The values in the order of `self.dimensions`, empty where the cell has none."""
        given = dict(zip(dimensions, values, strict=True))
        return tuple([given.get(name, "") for name in self.dimensions])

    def _mapped(self, full: tuple[str, ...]) -> tuple[str, ...]:
        """The values, with `other` in place of those not admitted; which accounts are, their slice says."""
        return tuple(
            [v if not v or name == ACCOUNT or v in self.vocabulary[name] else OTHER for name, v in zip(self.dimensions, full, strict=True)]
        )

    def _is_new(self, name: str, value: str) -> bool:
        """Whether a value of a dimension has a place of its own to come."""
        vocabulary = self.vocabulary[name]
        return (
            value not in vocabulary
            and value not in ("", OTHER)
            and len(value) <= VALUE_CHARACTERS_MAX
            and len(vocabulary) < self._values_max
        )

    def _remember(self, mapped: tuple[str, ...], raw: tuple[str, ...]) -> int:
        """A number for a cell with these values, and its series in each slice that it is in and this partition has."""
        number = len(self._cells)
        cut: list[str] = [name for name, m, r in zip(self.dimensions, mapped, raw, strict=True) if m != r]
        found = self._series_of(mapped, raw, admit=True)
        cut += [",".join(self.slices[index]) for index, _, limited in found if limited]
        self._cells.append(tuple([(index, given) for index, given, _ in found]))
        if cut:
            self.overflowed[number] = tuple(cut)
        return number

    def _series_of(self, mapped: tuple[str, ...], raw: tuple[str, ...], *, admit: bool) -> list[tuple[int, int, bool]]:
        """(slice, number, whether the slice's limit cut it) of the series that a cell is in; without `admit` of those that are there."""
        found = []
        for index, positions in enumerate(self._positions):
            if self._is_mine(index, raw):
                number, limited = self._series(index, tuple([mapped[position] for position in positions]), admit=admit)
                if number is not None:
                    found.append((index, number, limited))
        return found

    def _is_mine(self, index: int, raw: tuple[str, ...]) -> bool:
        """Whether a cell of these values is in the slice, and this partition's."""
        labels = [raw[position] for position in self._positions[index]]
        partition, partitions = self._share
        return all(labels) and slice_partition(self.slices[index], labels, partitions) == partition

    def _series(self, index: int, labels: tuple[str, ...], *, admit: bool) -> tuple[int | None, bool]:
        """(the series' number, whether the slice's limit cut it)."""
        number = self._ids.get((index, labels))
        limited = number is None and self._sizes[index] >= self._series_max[index]
        if limited:
            labels = (OTHER,) * len(labels)
            number = self._ids.get((index, labels))
        if number is None and admit:
            number = self._ids[index, labels] = len(self.series)
            self.series.append(Series(index, self.slices[index], labels))
            self._sizes[index] += 1
        return number, limited

"""The rollup's clock, and the deltas that wait for it.

The clock is the least complete tick of the source partitions. Deltas of a tick wait until every source has passed it, so a
decision never depends on which partition was read first. What waits is bounded: beyond the limit the sources that hold
everybody up are left out until they have caught up with the clock; what they send meanwhile counts at the clock then current.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

from streamer.deltas import DeltaBatch, Exemplar
from streamer.rollup.rows import HeldRow, Source

HELD_ENTRIES_MAX: Final = 1_000_000
# A source that was left out is back once it is no more than this behind the clock, which then waits for it: whose events come later than
# others' keeps that distance, and would never be back. More than 15 minutes late, the default lateness, events are put aside anyway.
BACK_WITHIN_TICKS: Final = 900


class Held:
    """A record in waiting. `numbers` are its cells' numbers in the series table, None while unknown; `missing` counts those."""

    __slots__ = ("cells", "dimensions", "exemplars", "last_tick", "missing", "numbers", "offset", "source", "ticks")

    def __init__(self, offset: int, row: HeldRow) -> None:
        self.offset = offset
        self.dimensions = row.dimensions
        self.cells = row.cells
        self.ticks = row.ticks
        self.source = row.source
        self.exemplars: dict[int, list[Exemplar]] = {}
        for exemplar in row.exemplars:
            self.exemplars.setdefault(exemplar.tick, []).append(exemplar)
        self.last_tick = max(tick for tick, _ in row.ticks)
        self.forget()

    def forget(self) -> None:
        """The series table has emptied its cache."""
        self.learn([None] * len(self.cells))

    def learn(self, numbers: list[int | None]) -> None:
        """Cell numbers from the series table."""
        self.numbers = numbers
        self.missing = numbers.count(None)

    def learn_one(self, index: int, number: int | None) -> None:
        """The number of a cell that was unknown."""
        self.numbers[index] = number
        self.missing -= number is not None

    def row(self, clock: int | None) -> HeldRow:
        """For the changelog: what is not decided at `clock`."""
        ticks = [part for part in self.ticks if clock is None or part[0] >= clock]
        exemplars = [one for tick, some in self.exemplars.items() if clock is None or tick >= clock for one in some]
        return HeldRow(self.dimensions, self.cells, ticks, self.source, exemplars)


class Hold:
    """Sources, clock, and held deltas by tick. clock: the first tick that is not decided, None while a source has not told any."""

    def __init__(self, entries_max: int = HELD_ENTRIES_MAX) -> None:
        self.sources: dict[int, Source] = {}
        self.expected = 0
        self.clock: int | None = None
        self.entries = 0
        self.records: dict[int, Held] = {}
        self._entries_max = entries_max
        self._unheard_left_out = False
        self._by_tick: dict[int, list[tuple[Held, list[int]]]] = {}
        self._order: list[int] = []

    @property
    def unheard_left_out(self) -> bool:
        """Whether sources that never sent anything are left out."""
        return self._unheard_left_out

    @property
    def partial(self) -> bool:
        """Whether any source is left out."""
        missing = self._unheard_left_out and len(self.sources) < self.expected
        return missing or any(source.left_out for source in self.sources.values())

    def accept(self, offset: int, batch: DeltaBatch) -> Held | None:
        """Take a record in and move the clock. Gives what of it has to wait, None for a heartbeat."""
        self.expected = batch.sources
        source = self.sources.get(batch.source)
        # A tick that its source had declared complete, or that is decided, counts at the first one that is not.
        earliest = self.clock if self.clock is not None else 0
        if source is None:
            source = self.sources[batch.source] = Source(batch.until_tick, batch.high_ms, batch.clock_ms)
            source.left_out = self.clock is not None and batch.until_tick < self.clock
        else:
            earliest = max(earliest, source.until_tick)
            source.until_tick = max(source.until_tick, batch.until_tick)
            source.high_ms = max(source.high_ms, batch.high_ms)
            source.clock_ms = max(source.clock_ms, batch.clock_ms)
            if source.left_out and self.clock is not None and source.until_tick >= self.clock - BACK_WITHIN_TICKS:
                source.left_out = False
        by_tick: dict[int, list[int]] = {}
        for tick, flat in batch.ticks:
            if flat:
                by_tick.setdefault(max(tick, earliest), []).extend(flat)
        for exemplar in batch.exemplars:
            exemplar.tick = max(exemplar.tick, earliest)
            by_tick.setdefault(exemplar.tick, [])
        ticks = sorted(by_tick.items())
        held = None
        if ticks:
            held = Held(offset, HeldRow(tuple(batch.dimensions), batch.cells, ticks, batch.source, batch.exemplars))
            self.put(held)
        self._move()
        return held

    def put(self, held: Held) -> None:
        """Queue the ticks of a record that are not decided yet."""
        self.records[held.offset] = held
        for tick, flat in held.ticks:
            if self.clock is not None and tick < self.clock:
                continue
            waiting = self._by_tick.get(tick)
            if waiting is None:
                waiting = self._by_tick[tick] = []
                heappush(self._order, tick)
            waiting.append((held, flat))
            self.entries += len(flat) // 4 + len(held.exemplars.get(tick, ()))

    @property
    def next_tick(self) -> int | None:
        """The earliest tick with deltas."""
        return self._order[0] if self._order else None

    def take(self, tick: int) -> list[tuple[Held, list[int]]]:
        """The deltas of a tick, which is thereby decided."""
        if not self._order or self._order[0] != tick:
            return []
        heappop(self._order)
        due = self._by_tick.pop(tick)
        for held, flat in due:
            self.entries -= len(flat) // 4 + len(held.exemplars.get(tick, ()))
            if held.last_tick == tick:
                self.records.pop(held.offset, None)
        return _net(due)

    def leave_out(self) -> bool:
        """If too much waits, leave out the sources that hold everybody up; says whether the clock moved."""
        if self.entries <= self._entries_max:
            return False
        if not self._unheard_left_out and len(self.sources) < self.expected:
            self._unheard_left_out = True
        else:
            waiting = [source for source in self.sources.values() if not source.left_out]
            slowest = min([source.until_tick for source in waiting], default=0)
            if all(source.until_tick == slowest for source in waiting):
                return False
            for source in waiting:
                source.left_out = source.until_tick == slowest
        return self._move()

    def restore(self, sources: Iterable[tuple[int, Source]], expected: int, clock: int | None, *, unheard_left_out: bool) -> None:
        """Put the marker's part back; `put` the held records afterwards."""
        self.sources = dict(sources)
        self.expected = expected
        self.clock = clock or None  # earlier builds took 0 for a time
        self._unheard_left_out = unheard_left_out

    def live(self) -> Iterator[Held]:
        """Records with undecided ticks."""
        return iter(self.records.values())

    def _move(self) -> bool:
        if len(self.sources) < self.expected and not self._unheard_left_out:
            return False
        untils = [source.until_tick for source in self.sources.values() if not source.left_out]
        if not untils:
            return False
        clock = min(untils)
        # A source with no event yet says 0. That is no time: what it decided would be decided in 1970, and every hour since then.
        if clock <= (self.clock or 0):
            return False
        self.clock = clock
        return True


def _net(due: list[tuple[Held, list[int]]]) -> list[tuple[Held, list[int]]]:
    """The deltas of a tick without what one source has taken back in a later record of the same tick.

    Had it sent one record, they would not have been in it: where records end must decide neither labels nor series.
    """
    if len({held.source for held, _ in due}) == len(due):
        return due
    parts = Tally([held.source for held, _ in due])
    sums: Tally[tuple[int, tuple[str, ...], tuple[str, ...], int, int]] = Tally()
    for held, flat in due:
        if parts[held.source] > 1:
            for pane, index, counter, n in zip(*[iter(flat)] * 4, strict=True):
                sums[held.source, held.dimensions, held.cells[index], pane, counter] += n
    found = []
    for held, flat in due:
        rest = flat
        if parts[held.source] > 1:
            rest = []
            for pane, index, counter, _ in zip(*[iter(flat)] * 4, strict=True):
                n = sums.pop((held.source, held.dimensions, held.cells[index], pane, counter), 0)
                if n:
                    rest += (pane, index, counter, n)
        found.append((held, rest))
    return found

"""Cells: who and what a counter change belongs to, and the changes that pile up in them until a tick is complete.

A cell is an interned combination of dimension values, so that the hot path is one dictionary look-up per event and a counter change
one addition under an integer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final, final

import msgspec

from streamer.deltas import PANE_MS, Exemplar
from streamer.metrics.counters import (
    ACCOUNT,
    CASE_DIMENSIONS,
    CELL_DIMENSIONS,
    CONTACT_DIMENSIONS,
    DERIVED_DIMENSIONS,
    EVENT_DIMENSIONS,
    FIRST_CASES,
    FIRST_CHAPTERS,
    FIRST_CONTACTS,
    JOURNEY_DIMENSIONS,
)
from streamer.touchpoints.touchpoint import Touchpoint

JOURNEY: Final = 0
CONTACT: Final = 1
CASE: Final = 2
EVENT: Final = 3
_FAMILIES: Final = (JOURNEY_DIMENSIONS, CONTACT_DIMENSIONS, CASE_DIMENSIONS, EVENT_DIMENSIONS)

# Of a cell's values, what is no field of the event.
_NOT_READ: Final = frozenset({"journey", ACCOUNT}.union(DERIVED_DIMENSIONS))

# Pane, cell and counter share one integer: counters are below 1,024 by their numbering. A pane of this century has 29 bits, so 22 are left
# for the cells between two drains within the 62 that need no allocation when compiled, and until 2055 all three have 60, which are two
# digits of Python's. Every cell has a change of its own, and a drain is due at 4 MiB of changes, which are a twelfth of 4 million.
COUNTER_BITS: Final = 10
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
_CELL_BITS: Final = 22
_CELL_MASK: Final = (1 << _CELL_BITS) - 1
_PANE_SHIFT: Final = _CELL_BITS + COUNTER_BITS

# Beyond this many interned cells the table is emptied at the next drain: label values come from producers, so it must be bounded.
INTERNED_MAX: Final = 50_000

# About what one changed counter weighs in a checkpoint.
_ENTRY_SIZE_BYTES: Final = 12
# And one exemplar: an id, a type, and numbers.
_EXEMPLAR_SIZE_BYTES: Final = 90

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, str]).decode


@final
class Cell:
    """One combination of dimension values of a family. Compared by identity.

    labels: the values that there are, by name; packed: these and the family, as bytes, which outlive a change of the slices.
    place: among the ledger's since it was drained, or -1.
    """

    __slots__ = ("family", "labels", "packed", "place", "values")

    def __init__(self, family: int, values: tuple[str, ...], labels: dict[str, str]) -> None:
        self.family = family
        self.values = values
        self.labels = labels
        self.packed = _encode({**labels, "": str(family)})
        self.place = -1


@final
class Cells:
    """Interns the cells of one partition. `dimensions` are the ones any slice uses, in the catalogue's order.

    account_counters: what is counted by account; only cells that have these tell accounts apart, for there are many.
    """

    def __init__(self, used: Iterable[str], account_counters: Iterable[int] = ()) -> None:
        self._of_account = frozenset(family for counter in account_counters for family in _families_of(counter))
        names = {"journey", *used, *((ACCOUNT,) if self._of_account else ())}
        self.dimensions = tuple(name for name in CELL_DIMENSIONS if name in names)
        others = [name for name in self.dimensions if name not in _NOT_READ]
        # Two names at least, so that attrgetter always gives a tuple; `named` drops what is no dimension.
        self._names = others if len(others) > 1 else [*others, "source", "type"]
        self._read = attrgetter(*self._names)
        self._latest: Touchpoint | None = None
        self._raw: tuple[str, ...] = ()
        self._kept = [
            tuple(number in self._of_account if name == ACCOUNT else name in family for name in self.dimensions)
            for number, family in enumerate(_FAMILIES)
        ]
        self._own: Cell | None = None
        self._by_event: dict[tuple[int, str, tuple[str, ...], str, str], Cell] = {}
        self._by_values: dict[tuple[int, tuple[str, ...]], Cell] = {}
        self._by_packed: dict[bytes, Cell] = {}
        self._by_change: dict[tuple[Cell, str, str], Cell] = {}

    def own(self, event: Touchpoint) -> Cell:
        """The cell of an event where chapters count it, which several of them may."""
        if event is not self._latest or self._own is None:
            self._own = self.of(EVENT, event.journey, event)
        return self._own

    def of(self, family: int, journey: str, event: Touchpoint, team: str = "") -> Cell:
        """The cell of an event; `team` replaces the event's own."""
        if event is not self._latest:  # an event counts in several cells
            self._latest, self._raw, self._own = event, self._read(event), None
        raw = self._raw
        account = event.account_id if family in self._of_account else ""
        cell = self._by_event.get((family, journey, raw, team, account))
        if cell is None:
            values = dict(zip(self._names, raw, strict=True), journey=journey)
            values[ACCOUNT] = account
            if team and "team" in values:
                values["team"] = team
            cell = self._by_event[family, journey, raw, team, account] = self.named(family, values)
        return cell

    def named(self, family: int, values: Mapping[str, str]) -> Cell:
        """The cell of named values; names that no slice uses are dropped."""
        kept = tuple(values.get(name, "") if keep else "" for name, keep in zip(self.dimensions, self._kept[family], strict=True))
        cell = self._by_values.get((family, kept))
        if cell is None:
            labels: dict[str, str] = {name: value for name, value in zip(self.dimensions, kept, strict=True) if value}
            cell = self._by_values[family, kept] = Cell(family, kept, labels)
        return cell

    def with_value(self, cell: Cell, name: str, value: str) -> Cell:
        """The cell with another value of one dimension."""
        changed = self._by_change.get((cell, name, value))
        if changed is None:
            changed = self._by_change[cell, name, value] = self.with_values(cell, {name: value})
        return changed

    def with_values(self, cell: Cell, values: Mapping[str, str]) -> Cell:
        """The cell with some other values."""
        return self.named(cell.family, {**cell.labels, **values})

    def unpack(self, packed: bytes) -> Cell:
        """The cell of its `packed` values; before schema 6 these were no bytes."""
        if not isinstance(packed, bytes):
            packed = _encode(packed)
        cell = self._by_packed.get(packed)
        if cell is None:
            labels = _decode(packed)
            cell = self._by_packed[packed] = self.named(int(labels[""]), labels)
        return cell

    def trim(self) -> None:
        """Forget the interned cells if there are too many. Call it only with no changes pending."""
        if max(len(self._by_values), len(self._by_event), len(self._by_packed), len(self._by_change)) > INTERNED_MAX:
            self._own = None
            self._by_event.clear()
            self._by_values.clear()
            self._by_packed.clear()
            self._by_change.clear()


def _families_of(counter: int) -> tuple[int, ...]:
    """The families of cells that a counter is counted in: those of chapters at events', of journeys at that of the instance."""
    if counter < FIRST_CONTACTS:
        return (JOURNEY,)
    if counter < FIRST_CASES:
        return (CONTACT,)
    return (CASE,) if counter < FIRST_CHAPTERS else (JOURNEY, EVENT)


@final
class Ledger:
    """Counter changes of one partition, per tick, until they are drained. A change is one integer of pane, cell and counter, and n.

    entries: changes of complete ticks that wait. evidenced: by counter, whether the events behind its changes are wanted.
    exemplars_max: of a counter of a cell in a tick, the first ones of changes up; every one that is taken back is kept besides.
    """

    def __init__(self, evidenced: bytes = bytes(1 << COUNTER_BITS), exemplars_max: int = 0) -> None:
        self.evidenced = evidenced
        self.exemplars_max = exemplars_max
        self._exemplars: list[Exemplar] = []
        self._remembered: dict[int, int] = {}
        self._closed = 0  # exemplars of complete ticks
        self._cells: list[Cell] = []
        self._now: dict[int, int] = {}
        self._ticks: list[tuple[int, dict[int, int]]] = []
        self.entries = 0

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Add n to a counter in the pane of `time_ms`, in the current tick."""
        if cell.place < 0:
            self._give_place(cell)
        key = (time_ms // PANE_MS) << _PANE_SHIFT | cell.place << COUNTER_BITS | counter
        now = self._now
        now[key] = now.get(key, 0) + n

    def _give_place(self, cell: Cell) -> None:
        cell.place = len(self._cells)
        self._cells.append(cell)

    def remember(self, counter: int, cell: Cell, time_ms: int, sign: int, cause: tuple[int, int, str, str]) -> None:
        """Keep the event (time, offset, type, id) behind a change; of a change up if it is among the first of the tick."""
        if cell.place < 0:
            self._give_place(cell)
        if sign > 0:
            key = cell.place << COUNTER_BITS | counter
            seen = self._remembered.get(key, 0)
            if seen >= self.exemplars_max:
                return
            self._remembered[key] = seen + 1
        pane_ms = time_ms // PANE_MS * PANE_MS
        self._exemplars.append(Exemplar(0, cell.place, counter, sign, pane_ms, cause[0], cause[1], cause[2], cause[3]))

    @property
    def size_bytes(self) -> int:
        """What the changes since the last drain weigh in a checkpoint, about."""
        return self.entries * _ENTRY_SIZE_BYTES + len(self._exemplars) * _EXEMPLAR_SIZE_BYTES

    def close_tick(self, tick: int) -> None:
        """Everything counted since the last call belongs to `tick`."""
        if self._now:
            self.entries += len(self._now)
            self._ticks.append((tick, self._now))
            self._now = {}
        if len(self._exemplars) > self._closed:
            for exemplar in self._exemplars[self._closed :]:
                exemplar.tick = tick
            self._closed = len(self._exemplars)
            self._remembered.clear()

    def drain(self) -> tuple[list[Cell], list[tuple[int, list[int]]], list[Exemplar]]:
        """The cells used, per tick the flat [pane, cell index, counter, n, ...], and exemplars. Zero sums are left out."""
        ticks = []
        for tick, changes in self._ticks:
            flat: list[int] = []
            for key, n in changes.items():
                if n:
                    flat.append(key >> _PANE_SHIFT)
                    flat.append((key >> COUNTER_BITS) & _CELL_MASK)
                    flat.append(key & COUNTER_MASK)
                    flat.append(n)
            ticks.append((tick, flat))
        used = self._cells
        for cell in used:
            cell.place = -1
        exemplars, self._exemplars, self._closed = self._exemplars, [], 0
        self._cells, self._ticks, self.entries = [], [], 0
        return used, ticks, exemplars

"""Which rollup partition gets which counter changes: each slice is owned by one, so that numerator and denominator meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from streamer import deltas, topics
from streamer.definitions import Definitions
from streamer.journeys.cells import Cell
from streamer.processor import Output

# A record of deltas is split above this, far below the topic's limit of 4 MiB; the parts are estimated with the largest encodings.
RECORD_SIZE_BYTES: Final = 512 << 10
_CELL_SIZE_BYTES: Final = 60
_CHARACTER_SIZE_BYTES: Final = 4
_NUMBER_SIZE_BYTES: Final = 5


class Router:
    """Splits a batch over the rollup partitions. Every one gets a record each time: the heartbeat."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str], partitions: int) -> None:
        self.partitions = partitions
        self._slices = [(by, [dimensions.index(name) for name in by]) for by in definitions.slices]

    def route(self, batch: deltas.DeltaBatch, cells: Sequence[Cell], until_before: int) -> list[Output]:
        """The batch for each rollup partition, with the cells of which it owns a slice, in records of bounded size.

        until_before: the previous batch's `until_tick`. Only the last record may say that its ticks are complete.
        """
        owners = [self._owners(cell) for cell in cells] if self.partitions > 1 else []
        outputs = []
        for partition in range(self.partitions):
            mine = self._part(batch, owners, partition) if owners else batch
            outputs += [Output(topics.DELTAS, None, value, partition=partition) for value in _encoded(mine, until_before)]
        return outputs

    def _owners(self, cell: Cell) -> set[int]:
        found = [(by, [cell.values[i] for i in at]) for by, at in self._slices]
        return {deltas.slice_partition(by, values, self.partitions) for by, values in found if all(values)}

    def _part(self, batch: deltas.DeltaBatch, owners: list[set[int]], partition: int) -> deltas.DeltaBatch:
        ticks = []
        for tick, flat in batch.ticks:
            mine: list[int] = []
            for at in range(0, len(flat), 4):
                if partition in owners[flat[at + 1]]:
                    mine += flat[at : at + 4]
            ticks.append((tick, mine))
        exemplars = [exemplar for exemplar in batch.exemplars if partition in owners[exemplar.cell]]
        return msgspec.structs.replace(batch, ticks=ticks, exemplars=exemplars)


def _encoded(batch: deltas.DeltaBatch, until_before: int) -> list[bytes]:
    """The batch as one record, or as several: labels come from producers, and a jump of the clock fires any number of deadlines at once."""
    whole = deltas.encode(batch)
    return [whole] if len(whole) <= RECORD_SIZE_BYTES else [deltas.encode(part) for part in _split(batch, until_before)]


def _split(batch: deltas.DeltaBatch, until_before: int) -> Iterator[deltas.DeltaBatch]:
    part = _Part(batch)
    for tick, flat in batch.ticks:
        for at in range(0, len(flat), 4):
            if part.room <= 0:
                yield part.batch(until_before)
                part = _Part(batch)
            part.change(tick, flat[at : at + 4])
    for exemplar in batch.exemplars:
        if part.room <= 0:
            yield part.batch(until_before)
            part = _Part(batch)
        part.exemplar(exemplar)
    yield part.batch(batch.until_tick)


class _Part:
    """A part of a batch being put together. room: bytes that it may still grow by, about."""

    def __init__(self, whole: deltas.DeltaBatch) -> None:
        self.room = RECORD_SIZE_BYTES
        self._whole = whole
        self._index: dict[int, int] = {}
        self._ticks: list[tuple[int, list[int]]] = []
        self._exemplars: list[deltas.Exemplar] = []

    def change(self, tick: int, change: Sequence[int]) -> None:
        """Add a counter change: pane, cell, counter, n."""
        pane, cell, counter, n = change
        if not self._ticks or self._ticks[-1][0] != tick:
            self._ticks.append((tick, []))
        self._ticks[-1][1].extend((pane, self._place(cell), counter, n))
        self.room -= 4 * _NUMBER_SIZE_BYTES

    def exemplar(self, exemplar: deltas.Exemplar) -> None:
        """Add an exemplar."""
        self._exemplars.append(msgspec.structs.replace(exemplar, cell=self._place(exemplar.cell)))
        self.room -= 7 * _NUMBER_SIZE_BYTES + (len(exemplar.type) + len(exemplar.id)) * _CHARACTER_SIZE_BYTES

    def batch(self, until: int) -> deltas.DeltaBatch:
        """The part as a batch of its own."""
        cells = [self._whole.cells[cell] for cell in self._index]
        return msgspec.structs.replace(self._whole, cells=cells, ticks=self._ticks, exemplars=self._exemplars, until_tick=until)

    def _place(self, cell: int) -> int:
        if cell not in self._index:
            self._index[cell] = len(self._index)
            self.room -= _CELL_SIZE_BYTES + sum(map(len, self._whole.cells[cell])) * _CHARACTER_SIZE_BYTES
        return self._index[cell]

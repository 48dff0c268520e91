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
        return {
            deltas.slice_partition((*by, *(cell.values[i] for i in at)), self.partitions)
            for by, at in self._slices
            if all(cell.values[i] for i in at)
        }

    def _part(self, batch: deltas.DeltaBatch, owners: list[set[int]], partition: int) -> deltas.DeltaBatch:
        ticks = []
        for tick, flat in batch.ticks:
            mine: list[int] = []
            for at in range(0, len(flat), 4):
                if partition in owners[flat[at + 1]]:
                    mine += flat[at : at + 4]
            ticks.append((tick, mine))
        return msgspec.structs.replace(batch, ticks=ticks)


def _encoded(batch: deltas.DeltaBatch, until_before: int) -> list[bytes]:
    """The batch as one record, or as several: labels come from producers, and a jump of the clock fires any number of deadlines at once."""
    whole = deltas.encode(batch)
    return [whole] if len(whole) <= RECORD_SIZE_BYTES else [deltas.encode(part) for part in _split(batch, until_before)]


def _split(batch: deltas.DeltaBatch, until_before: int) -> Iterator[deltas.DeltaBatch]:
    weights = [_CELL_SIZE_BYTES + sum(map(len, cell)) * _CHARACTER_SIZE_BYTES for cell in batch.cells]
    index: dict[int, int] = {}
    ticks: list[tuple[int, list[int]]] = []
    room = RECORD_SIZE_BYTES
    for tick, flat in batch.ticks:
        for at in range(0, len(flat), 4):
            pane, cell, counter, n = flat[at : at + 4]
            if room <= 0:
                yield _with(batch, index, ticks, until_before)
                index, ticks, room = {}, [], RECORD_SIZE_BYTES
            if cell not in index:
                index[cell] = len(index)
                room -= weights[cell]
            if not ticks or ticks[-1][0] != tick:
                ticks.append((tick, []))
            ticks[-1][1].extend((pane, index[cell], counter, n))
            room -= 4 * _NUMBER_SIZE_BYTES
    yield _with(batch, index, ticks, batch.until_tick)


def _with(batch: deltas.DeltaBatch, index: dict[int, int], ticks: list[tuple[int, list[int]]], until: int) -> deltas.DeltaBatch:
    return msgspec.structs.replace(batch, cells=[batch.cells[cell] for cell in index], ticks=ticks, until_tick=until)

"""Which rollup partition gets which counter changes: each slice is owned by one, so that numerator and denominator meet."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streamer import deltas, topics
from streamer.definitions import Definitions
from streamer.journeys.cells import Cell
from streamer.processor import Output


class Router:
    """Splits a batch over the rollup partitions. Every one gets a record each time: the heartbeat."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str], partitions: int) -> None:
        self.partitions = partitions
        self._slices = [(s.by, [dimensions.index(name) for name in s.by]) for s in definitions.slice]

    def route(self, batch: deltas.DeltaBatch, cells: Sequence[Cell]) -> list[Output]:
        """The batch as one record per rollup partition, each with the cells of which it owns a slice."""
        if self.partitions == 1:
            return [Output(topics.DELTAS, None, deltas.encode(batch), partition=0)]
        owners = [self._owners(cell) for cell in cells]
        return [Output(topics.DELTAS, None, deltas.encode(self._part(batch, owners, p)), partition=p) for p in range(self.partitions)]

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

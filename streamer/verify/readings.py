"""What the product's own rollup says of a part of a log, once the whole log is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from streamer import deltas
from streamer.deltas import PANE_MS, TICK_MS, DeltaBatch
from streamer.metrics.catalogue import LIFETIME
from streamer.metrics.counters import CELL_DIMENSIONS
from streamer.processor import LogRecord
from streamer.rollup.processor import RollupProcessor
from streamer.verify.ranges import RANGE, Range
from streamer.verify.recount import Sample, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamer.definitions import Definitions
    from streamer.metrics.readings import Gauge
    from streamer.replay.pipeline import Booking


def samples_of(gauges: Iterable[Gauge]) -> dict[Series, Sample]:
    """Gauges in the terms of the comparison."""
    return {
        (gauge.metric.id, gauge.by, gauge.values, gauge.window): Sample(gauge.k, gauge.n, gauge.value, gauge.lower, gauge.upper)
        for gauge in gauges
        if gauge.k or gauge.n
    }


def metrics_within(within: Range, sums: Mapping[Booking, int], definitions: Definitions) -> dict[Series, Sample]:
    """Every window as of the end of the range, which has one, of the net sums of the panes before it; and of the range's panes alone."""
    found = samples_of(_gauges(Range(None, within.to_ms), sums, definitions))
    if within.from_ms is not None:
        alone = [gauge for gauge in _gauges(within, sums, definitions) if gauge.window == LIFETIME and gauge.metric.kind != "stock"]
        found |= {(metric, by, values, RANGE): sample for (metric, by, values, _), sample in samples_of(alone).items()}
    return found


def _gauges(within: Range, sums: Mapping[Booking, int], definitions: Definitions) -> Iterable[Gauge]:
    """A rollup that is told of these panes, all at once in the second that windows are as of."""
    cells: dict[tuple[str, ...], int] = {}
    flat: list[int] = []
    for (counter, cell, pane), n in sorted(sums.items()):
        if within.holds(pane * PANE_MS):
            told = dict(cell)
            number = cells.setdefault(tuple(told.get(name, "") for name in CELL_DIMENSIONS), len(cells))
            flat += (pane, number, int(counter), n)
    tick = within.windows_at // TICK_MS
    batch = DeltaBatch(
        version=deltas.VERSION, source=0, sources=1, until_tick=tick + 1, high_ms=within.windows_at, clock_ms=(tick + 1) * TICK_MS,
        dimensions=list(CELL_DIMENSIONS), cells=list(cells), ticks=[(tick, flat)] if flat else [],
    )  # fmt: skip
    rollup = RollupProcessor(replace(definitions, rule=()), partition=0, partitions=1, build="verify")
    rollup.restore(())
    rollup.process([LogRecord(0, within.windows_at, None, deltas.encode(batch))], 1)
    return rollup.gauges()

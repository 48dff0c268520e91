"""Reads every metric of every series out of the sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from streamer.definitions import Definitions
from streamer.metrics.catalogue import CHAPTER_OF, LIFETIME, METRICS
from streamer.metrics.counters import ACCOUNT
from streamer.metrics.metric import SAMPLED, Metric, counters_of, shared_dimensions
from streamer.metrics.readings import SHOW_MINIMUM, Gauge
from streamer.rollup.estimates import COUNTER_BITS, COUNTER_MASK, estimate
from streamer.rollup.series import SeriesTable
from streamer.rollup.sums import Store

# By metric: its counters, and the dimensions that all of them have. Worked out once, because a scrape asks for each metric of each series.
_COUNTERS: Final = {metric.id: frozenset(map(int, counters_of(metric))) for metric in METRICS}
_DIMENSIONS: Final = {metric.id: shared_dimensions(metric) for metric in METRICS}


class Gauges:
    """Which metrics apply to which slice, and how to read them."""

    def __init__(self, definitions: Definitions, table: SeriesTable, store: Store) -> None:
        self._table = table
        self._store = store
        chapters = definitions.chapters
        on = [metric for metric in METRICS if CHAPTER_OF[metric.id] in chapters]
        self._metrics = [[metric for metric in on if _DIMENSIONS[metric.id].issuperset(by)] for by in definitions.breakdowns]

    def read(self, *, partial: bool) -> Iterator[Gauge]:
        """Only metrics of which a series has ever seen a counter, and no account; a stock has one window, `lifetime`."""
        windows = self._store.windows
        seen: dict[int, set[int]] = {}
        for key in self._store.lifetime:
            seen.setdefault(key >> COUNTER_BITS, set()).add(key & COUNTER_MASK)
        for number, counters in sorted(seen.items()):
            series = self._table.series[number]
            if series.slice < 0 or ACCOUNT in series.by:
                continue
            for metric in self._metrics[series.slice]:
                if counters.isdisjoint(_COUNTERS[metric.id]):
                    continue
                for window in (LIFETIME,) if metric.kind == "stock" else windows:
                    yield _gauge(metric, series.by, series.values, window, windows[window], number, partial)


def _gauge(
    metric: Metric, by: tuple[str, ...], values: tuple[str, ...], window: str, sums: Mapping[int, int], number: int, partial: bool
) -> Gauge:
    value, lower, upper, k, n = estimate(metric, sums, number)
    sufficient = metric.kind not in SAMPLED or n >= SHOW_MINIMUM
    return Gauge(metric, by, values, window, value, lower, upper, k, n, sufficient, partial)

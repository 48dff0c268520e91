"""Builds delta records and feeds them to a rollup, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer import definitions, deltas, topics
from streamer.alerts import alert
from streamer.processor import LogRecord
from streamer.rollup.processor import RollupProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.alerts.alert import Alert
    from streamer.metrics.readings import Gauge

T0 = 1_790_000_000  # a tick at a boundary of both granularities would hide mistakes: this one is not at 5 minutes
DIMENSIONS = ["journey", "channel"]

# (tick, cell, counter, sign, pane, offset): the event `e<offset>` stands for a change.
Seen = tuple[int, tuple[str, ...], int, int, int, int]
Change = tuple[int, tuple[str, ...], int, int]  # (pane, cell, counter, n)


class Feed:
    """A rollup and the log it reads."""

    def __init__(self, text: str, *, partition: int = 0, partitions: int = 1, sources: int = 1, **limits: int) -> None:
        self.definitions = definitions.parse(text)
        self.sources = sources
        self.share = (partition, partitions)
        self.limits = limits
        self.rollup = self.make()
        self.log: list[LogRecord] = []
        self.changelog: dict[bytes, bytes] = {}
        self.alerts: list[Alert] = []
        self.dead: list[tuple[bytes | None, dict[str, bytes]]] = []

    def make(self) -> RollupProcessor:
        """A new processor of the definitions now in force."""
        partition, partitions = self.share
        return RollupProcessor(self.definitions, partition=partition, partitions=partitions, build="test", **self.limits)  # type: ignore[arg-type]

    def send(
        self,
        until: int,
        ticks: dict[int, list[Change]] | None = None,
        *,
        source: int = 0,
        dimensions: Sequence[str] = (),
        seen: Sequence[Seen] = (),
    ) -> None:
        """One record of one source, complete below `until`."""
        names = list(dimensions or DIMENSIONS)
        cells: dict[tuple[str, ...], int] = {}
        packed = []
        for tick, changes in (ticks or {}).items():
            flat: list[int] = []
            for pane, cell, counter, n in changes:
                flat += [pane, cells.setdefault(cell, len(cells)), counter, n]
            packed.append((tick, flat))
        exemplars = [
            deltas.Exemplar(
                tick, cells.setdefault(cell, len(cells)), counter, sign, pane * 10_000, tick * 1000, offset, "form.error", f"e{offset}"
            )
            for tick, cell, counter, sign, pane, offset in seen
        ]
        batch = deltas.DeltaBatch(
            deltas.VERSION, source, self.sources, until, until * 1000, until * 1000, names, list(cells), packed, exemplars
        )
        self.raw(deltas.encode(batch))

    def raw(self, value: bytes | None) -> None:
        """One record of these bytes."""
        record = LogRecord(len(self.log), 5_000 + len(self.log), None, value)
        self.log.append(record)
        self.rollup.process([record], record.offset + 1)

    def drain(self) -> list[tuple[bytes, bytes | None]]:
        """Checkpoint: rows into the changelog, outputs into the lists."""
        drained = self.rollup.drain()
        for key, value in drained.rows:
            if value is None:
                del self.changelog[key]
            else:
                self.changelog[key] = value
        for output in drained.outputs:
            if output.topic == topics.AGGREGATE_ALERTS:
                assert output.value is not None
                self.alerts.append(alert.decode(output.value))
                assert output.key == self.alerts[-1].fingerprint.encode()
            else:
                assert output.topic == topics.DEAD_LETTERS
                self.dead.append((output.value, dict(output.headers)))
        return drained.rows

    def crash(self) -> None:
        """The next owner takes over from the last checkpoint."""
        self.rollup = self.make()
        self.rollup.restore(list(self.changelog.items()))

    def gauge(self, metric: str, window: str, *values: str) -> Gauge:
        """The one gauge of that metric, window and series."""
        found = [g for g in self.rollup.gauges() if (g.metric.id, g.window, g.values) == (metric, window, values)]
        assert len(found) == 1, (metric, window, values, found)
        return found[0]

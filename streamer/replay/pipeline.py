"""The same processors as live, over a history in memory: no broker, no clock, no Faust.

Arrivals stand in for the broker's timestamps. Nothing in the result of a sorted history depends on the number of partitions or on
the size of the chunks: tests assert it. (Out of order, the neighbours in a partition decide what is late, here as in Kafka.)
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from streamer import deltas, topics
from streamer.alerts import alert
from streamer.definitions import Definitions
from streamer.deltas import DeltaBatch
from streamer.journeys.processor import TICK_MS, JourneysProcessor
from streamer.metrics.counters import Counter
from streamer.metrics.readings import Gauge
from streamer.processor import Headers, LogRecord, Output
from streamer.replay.history import History
from streamer.replay.partitions import partition_of
from streamer.rollup.processor import RollupProcessor
from streamer.touchpoints.control import encode_control

# Events per round over all partitions; bounds what is held between the processors.
CHUNK: Final = 20_000

# (counter, ((dimension, value), ...), pane): what a change is booked under; the pane is event time // PANE_MS.
Booking = tuple[Counter, tuple[tuple[str, str], ...], int]


class Arrival(NamedTuple):
    """One record on its way into the log. arrival_ms: when the broker would have appended it. key None goes to partition 0."""

    arrival_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Result(NamedTuple):
    """What came of a history.

    alerts: every transition, entity alerts first by partition, then aggregate ones, each in the order decided. gauges: at the end.
    sums: net changes; journeys' own sums, before the rollup. accounting: of all partitions (invariant I5). put_aside: the records
    of dead letters and late events. clock_ms: of the rollup at the end.
    """

    alerts: list[alert.Alert]
    gauges: list[Gauge]
    sums: Mapping[Booking, int]
    accounting: Mapping[str, int]
    put_aside: list[Output]
    clock_ms: int

    def total(self, counter: Counter) -> int:
        """Net sum of a counter over all panes and cells."""
        return sum(n for (booked, _, _), n in self.sums.items() if booked is counter)


def arrivals_of(history: History) -> Iterator[Arrival]:
    """A sorted history as if each event had arrived the moment it happened, or with the latest one before it."""
    return (Arrival(event.time_ms, event.key, event.value) for event in history.events)


def end_of(end_ms: int, definitions: Definitions) -> int:
    """Time of the control record that closes a history whose greatest event time is `end_ms`.

    One second more than the longest deadline: the tick of a deadline that falls due at the very end is complete then.
    """
    return end_ms + definitions.longest_deadline_ms + TICK_MS


def run_history(
    arrivals: Iterable[Arrival],
    definitions: Definitions,
    *,
    partitions: int = 4,
    begin_ms: int | None = None,
    end_ms: int | None = None,
    build: str = "replay",
    chunk: int = CHUNK,
) -> Result:
    """Fold `arrivals`, in their order, as `partitions` partitions, from log to gauges.

    begin_ms, end_ms: times of the control records `ingest` would write into every partition, first and last; with None there are none.
    Without an end, all clocks stop a tick after the greatest event time, so that this too is in the gauges.
    """
    run = _Run(definitions, partitions, build)
    if begin_ms is not None:
        run.control("begin", begin_ms)
    iterator = iter(arrivals)
    while batch := list(islice(iterator, chunk)):
        run.fold(batch)
    if end_ms is not None:
        run.control("end", end_ms)
    else:
        run.complete_tick()
    return run.result()


class _Run:
    """The processors of one replay and the logs between them."""

    def __init__(self, definitions: Definitions, partitions: int, build: str) -> None:
        self._journeys = [
            JourneysProcessor(definitions, partition=p, partitions=partitions, rollup_partitions=1, build=build) for p in range(partitions)
        ]
        self._rollup = RollupProcessor(definitions, partition=0, partitions=1, build=build)
        for processor in self._journeys:
            processor.restore(())
        self._rollup.restore(())
        self._offsets = [0] * partitions
        self._deltas_offset = 0
        self._alerts: list[list[alert.Alert]] = [[] for _ in range(partitions + 1)]
        self._sums: Tally[Booking] = Tally()
        self._put_aside: list[Output] = []

    def control(self, kind: str, time_ms: int) -> None:
        """A control record into every partition, arrived at its own time."""
        value, headers = encode_control("begin" if kind == "begin" else "end", time_ms)
        for partition in range(len(self._journeys)):
            self._append(partition, [Arrival(time_ms, None, value, headers)])
        self._pass_on()

    def fold(self, arrivals: list[Arrival]) -> None:
        """One chunk; afterwards every partition's clock is that of the furthest one, as live when all are caught up."""
        shares: list[list[Arrival]] = [[] for _ in self._journeys]
        for arrival in arrivals:
            shares[partition_of(arrival.key, len(shares)) if arrival.key else 0].append(arrival)
        for partition, share in enumerate(shares):
            self._append(partition, share)
        self._advance(0)

    def complete_tick(self) -> None:
        """Let a second pass: the rollup decides about ticks that are over."""
        self._advance(TICK_MS)

    def _advance(self, further_ms: int) -> None:
        clock_ms = max(processor.clock_ms for processor in self._journeys) + further_ms
        for processor in self._journeys:
            processor.advance(clock_ms)
        self._pass_on()

    def result(self) -> Result:
        """Everything so far."""
        accounting: Tally[str] = Tally()
        for processor in self._journeys:
            accounting.update(processor.accounting)
        alerts = [transition for share in self._alerts for transition in share]
        sums = {booking: n for booking, n in self._sums.items() if n}
        return Result(alerts, list(self._rollup.gauges()), sums, accounting, self._put_aside, self._rollup.clock_ms)

    def _append(self, partition: int, arrivals: list[Arrival]) -> None:
        if not arrivals:
            return
        first = self._offsets[partition]
        records = [LogRecord(first + i, a.arrival_ms, a.key, a.value, a.headers) for i, a in enumerate(arrivals)]
        self._offsets[partition] = first + len(records)
        self._journeys[partition].process(records, self._offsets[partition])

    def _pass_on(self) -> None:
        """Drain every partition into the rollup, and the rollup."""
        records = []
        for partition, processor in enumerate(self._journeys):
            for output in processor.drain().outputs:
                if output.topic == topics.DELTAS:
                    self._book(deltas.decode(output.value or b""))
                    records.append(LogRecord(self._deltas_offset, processor.clock_ms, None, output.value))
                    self._deltas_offset += 1
                elif output.topic == topics.ALERTS:
                    self._alerts[partition].append(alert.decode(output.value or b""))
                else:
                    self._put_aside.append(output)
        self._rollup.process(records, self._deltas_offset)
        for output in self._rollup.drain().outputs:
            self._alerts[-1].append(alert.decode(output.value or b""))

    def _book(self, batch: DeltaBatch) -> None:
        cells = [tuple((d, v) for d, v in zip(batch.dimensions, values, strict=True) if v) for values in batch.cells]
        for _, flat in batch.ticks:
            for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                self._sums[Counter(counter), cells[cell], pane] += n

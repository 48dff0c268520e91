"""The same processors as live, over a history in memory: no broker, no clock, no Faust.

Arrivals stand in for the broker's timestamps. Nothing in the result of a sorted history depends on the number of partitions or on
the size of the chunks, but for places in the log, which of many events an aggregate alert names, and `during_source_silence`, which is
of the customer's partition: tests assert it. (Out of order, the neighbours in a partition decide what is late, here as in Kafka.)
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from streamer import deltas, topics
from streamer.alerts import alert
from streamer.alerts.times import rfc3339
from streamer.definitions import Definitions
from streamer.deltas import TICK_MS, DeltaBatch
from streamer.errors import InputError
from streamer.journeys.processor import JourneysProcessor
from streamer.metrics.counters import Counter
from streamer.metrics.readings import Gauge
from streamer.processor import Headers, LogRecord, Output, Record
from streamer.replay.history import History
from streamer.replay.mapping_time import LAST_MS
from streamer.replay.partitions import partition_of
from streamer.rollup.decisions import Decisions
from streamer.rollup.hold import HELD_ENTRIES_MAX
from streamer.rollup.processor import RollupProcessor
from streamer.touchpoints.control import encode_control

# Events per round over all partitions; bounds what is held between the processors.
CHUNK: Final = 20_000

# (counter, ((dimension, value), ...), pane): what a change is booked under; the pane is event time // PANE_MS.
Booking = tuple[Counter, tuple[tuple[str, str], ...], int]


# A piece of a log: by partition, records in offset order and the idle clocks (offset, clock after it) between and behind them.
Piece = Mapping[int, tuple[Sequence[Record], Sequence[tuple[int, int]]]]
# Told after each tick that a rule could see: the aggregate rules, and the tick.
Observe = Callable[[Decisions, int], None]


class Shape(NamedTuple):
    """What an installation is like. topic: name of the source in alerts; held_max: see `RollupProcessor`."""

    partitions: int = 4
    rollup_partitions: int = 1
    topic: str = topics.kafka_name(topics.TOUCHPOINTS)
    held_max: int = HELD_ENTRIES_MAX


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

    @property
    def totals(self) -> Tally[Counter]:
        """Net sum of each counter over all panes and cells; one that was never counted has 0."""
        totals: Tally[Counter] = Tally()
        for (counter, _, _), n in self.sums.items():
            totals[counter] += n
        return totals


def arrivals_of(history: History) -> Iterator[Arrival]:
    """A sorted history as if each event had arrived the moment it happened, or with the latest one before it."""
    return (Arrival(event.time_ms, event.key, event.value) for event in history.events)


def end_of(end_ms: int, definitions: Definitions) -> int:
    """Time of the control record that closes a history whose greatest event time is `end_ms`.

    One second more than the longest deadline: the tick of a deadline that falls due at the very end is complete then.

    Raises:
        InputError: that is too late to be written.
    """
    closed_ms = end_ms + definitions.longest_deadline_ms + TICK_MS
    if closed_ms > LAST_MS:
        last = rfc3339(end_ms)
        raise InputError(
            f"the file's last event is of {last}, and no deadline after that can be written: correct its time, or use --open"
            " (backtest: leave --close out)"
        )
    return closed_ms


def run_history(
    arrivals: Iterable[Arrival],
    definitions: Definitions,
    *,
    partitions: int = 4,
    begin_ms: int | None = None,
    end_ms: int | None = None,
    build: str = "replay",
    chunk: int = CHUNK,
    of_rollup: Definitions | None = None,
) -> Result:
    """Fold `arrivals`, in their order, as `partitions` partitions, from log to gauges.

    begin_ms, end_ms: times of the control records `ingest` would write into every partition, first and last; with None there are none.
    of_rollup: what the rollup has, if that is not the same.
    Without an end, all clocks stop a tick after the greatest event time, so that this too is in the gauges.
    """
    run = Run(definitions, Shape(partitions), build=build, of_rollup=of_rollup)
    if begin_ms is not None:
        run.control("begin", begin_ms)
    iterator = iter(arrivals)
    while batch := list(islice(iterator, chunk)):
        run.fold(batch)
    run.end(end_ms)
    return run.result()


class Run:
    """The processors of one history and the logs between them. With `keep_sums` False the result has no sums, and takes less memory."""

    def __init__(
        self,
        definitions: Definitions,
        shape: Shape,
        *,
        build: str = "replay",
        keep_sums: bool = True,
        observe: Observe | None = None,
        of_rollup: Definitions | None = None,
    ) -> None:
        rollups = shape.rollup_partitions
        self._journeys = [
            JourneysProcessor(
                definitions, partition=p, partitions=shape.partitions, rollup_partitions=rollups, build=build, topic=shape.topic
            )
            for p in range(shape.partitions)
        ]
        self._rollups = [
            RollupProcessor(
                of_rollup or definitions, partition=p, partitions=rollups, build=build, held_max=shape.held_max, topic=shape.topic
            )
            for p in range(rollups)
        ]
        for processor in self._journeys:
            processor.restore(())
        for rollup in self._rollups:
            rollup.restore(())
            if observe is not None:
                rollup.observe = partial(observe, rollup.decisions)
        self._keep_sums = keep_sums
        self._offsets = [0] * shape.partitions
        self._deltas_offset = 0
        self._alerts: list[list[alert.Alert]] = [[] for _ in range(shape.partitions + 1)]
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

    def fold_piece(self, piece: Piece) -> None:
        """A piece of a log, as its partitions have it."""
        for partition, (records, idle) in piece.items():
            self._fold_share(partition, records, idle)
        self._pass_on()

    def _fold_share(self, partition: int, records: Sequence[Record], idle: Sequence[tuple[int, int]]) -> None:
        processor = self._journeys[partition]
        at = 0
        for after, clock_ms in idle:
            first = at
            while at < len(records) and records[at].offset <= after:
                at += 1
            if at > first:
                processor.process(records[first:at], records[at - 1].offset + 1)
            processor.advance(clock_ms)
        if at < len(records):
            processor.process(records[at:], records[-1].offset + 1)

    def end(self, end_ms: int | None) -> None:
        """Close every partition with a control record of this time; without one let a second pass, so that the last ticks are over."""
        if end_ms is not None:
            self.control("end", end_ms)
        else:
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
        gauges = [gauge for rollup in self._rollups for gauge in rollup.gauges()]
        return Result(alerts, gauges, sums, accounting, self._put_aside, min(rollup.clock_ms for rollup in self._rollups))

    def take_alerts(self) -> list[alert.Alert]:
        """The transitions since the last time, in the order of `Result`."""
        taken = [transition for share in self._alerts for transition in share]
        self._alerts = [[] for _ in self._alerts]
        return taken

    def _append(self, partition: int, arrivals: list[Arrival]) -> None:
        if not arrivals:
            return
        first = self._offsets[partition]
        records = [LogRecord(first + i, a.arrival_ms, a.key, a.value, a.headers) for i, a in enumerate(arrivals)]
        self._offsets[partition] = first + len(records)
        self._journeys[partition].process(records, self._offsets[partition])

    def _pass_on(self) -> None:
        """Drain every partition into the rollup, and the rollup."""
        records: list[list[Record]] = [[] for _ in self._rollups]
        for partition, processor in enumerate(self._journeys):
            for output in processor.drain().outputs:
                if output.topic == topics.DELTAS:
                    if self._keep_sums:
                        self._book(deltas.decode(output.value or b""))
                    records[output.partition or 0].append(LogRecord(self._deltas_offset, processor.clock_ms, None, output.value))
                    self._deltas_offset += 1
                elif output.topic == topics.ALERTS:
                    self._alerts[partition].append(alert.decode(output.value or b""))
                else:
                    self._put_aside.append(output)
        for rollup, share in zip(self._rollups, records, strict=True):
            rollup.process(share, self._deltas_offset)
            self._alerts[-1] += [alert.decode(output.value or b"") for output in rollup.drain().outputs]

    def _book(self, batch: DeltaBatch) -> None:
        cells = [tuple((d, v) for d, v in zip(batch.dimensions, values, strict=True) if v) for values in batch.cells]
        for _, flat in batch.ticks:
            for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                self._sums[Counter(counter), cells[cell], pane] += n

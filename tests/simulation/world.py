"""Runs a history: two partitions of journeys, whose deltas one rollup reads; and the same from logs and journal in a single pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer import deltas
from streamer.deltas import TICK_MS
from tests.journeys_support import BASE_MS, WRITE_AT_ONCE
from tests.simulation.history import ROLLUP, SOURCES
from tests.simulation.owners import Opened, RollupOwners, SourceOwners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.processor import LogRecord
    from tests.simulation.history import History, Step
    from tests.simulation.owners import Owners

_BEFORE_ANY_RECORD_MS: Final = BASE_MS - 60_000


class World:
    """Everything that is alive or in Kafka. `finish` brings it to the end of the history."""

    def __init__(self, history: History) -> None:
        self.history = history
        logs = [[sent.record for sent in log] for log in history.logs]
        self.sources = [
            SourceOwners(number, log, history.definitions, history.behind[number], sources=SOURCES) for number, log in enumerate(logs)
        ]
        self.rollup = RollupOwners(history.definitions)
        self._delivered = [0] * SOURCES

    def run(self) -> World:
        for step in self.history.steps:
            self._do(step)
        self._finish()
        return self

    def _do(self, step: Step) -> None:
        owners: Owners = self.rollup if step.where == ROLLUP else self.sources[step.where]
        if step.kind == "records":
            owners.fold_next(step.n)
        elif step.kind == "drain":
            owners.drain()
        elif step.kind == "deliver":
            self._deliver(step.where, step.n)
        elif step.kind == "advance":
            self._advance(self.sources[step.where], step.n)
        elif step.kind == "end":
            self._end(self.sources[step.where])
        elif step.kind == "close":
            owners.close()
        elif step.kind == "upgrade":
            owners.opened = Opened(step.n)
            owners.open()
        else:
            owners.opened = owners.opened._replace(refold_batch=step.n)
            if step.kind == "lost":
                owners.lose_transaction()
            else:
                owners.open()

    def _advance(self, source: SourceOwners, after_ms: int) -> None:
        """What a crash takes with it is not done again: the next owner's idle clock shows what it then shows."""
        arrival = source.latest_arrival()
        source.processor.advance((_BEFORE_ANY_RECORD_MS if arrival is None else arrival) + after_ms)

    def _end(self, source: SourceOwners) -> None:
        source.fold_next(len(source.log))
        source.processor.advance(_end_of(self.history))
        source.drain()

    def _deliver(self, number: int, count: int) -> None:
        first = self._delivered[number]
        sent = self.sources[number].deltas[first : first + count]
        self._delivered[number] += len(sent)
        for value in sent:
            self.rollup.append(value)

    def _finish(self) -> None:
        for source in self.sources:
            self._end(source)
        for number, source in enumerate(self.sources):
            self._deliver(number, len(source.deltas))
        self.rollup.fold_next(len(self.rollup.log))
        self.rollup.drain()


def _end_of(history: History) -> int:
    """The clock at the end, unless it is beyond already."""
    return max([sent.record.timestamp for log in history.logs for sent in log], default=BASE_MS) + history.end_ms


def folded_at_once(live: SourceOwners) -> SourceOwners:
    """The same log and journal in a single pass: one drain, but for one before each change of definitions."""
    once = SourceOwners(live.number, live.log, live.definitions, WRITE_AT_ONCE, sources=SOURCES, revision=live.first_revision)
    for entry in live.journal:
        if entry.after >= once.position:
            _fold_up_to(once, entry.after + 1)
        if entry.clock is not None:
            once.processor.advance(entry.clock)
        if entry.revision is not None:
            once.drain()
            once.opened = Opened(entry.revision)
            once.open()
    _fold_up_to(once, live.position)
    once.drain()
    return once


def complete_last_tick(rollup: RollupOwners, world: World) -> None:
    """What is still held of the tick at the end counts as well: in another order of arrival it may have been told a tick before."""
    end_ms = max(source.processor.clock_ms for source in world.sources)
    until = end_ms // TICK_MS + 1
    for number in range(SOURCES):
        rollup.append(deltas.encode(deltas.DeltaBatch(deltas.VERSION, number, SOURCES, until, end_ms, end_ms, [], [], [])))
    rollup.fold_next(SOURCES)


def _fold_up_to(once: SourceOwners, end: int) -> None:
    once.fold([record for record in once.log_from(once.position) if record.offset < end], end)


def rolled_up_at_once(log: Sequence[LogRecord], live: RollupOwners) -> RollupOwners:
    """This log of deltas in a single pass, with the changes of definitions where they were."""
    once = RollupOwners(live.definitions, revision=live.upgrades[0][1])
    once.log = list(log)
    for offset, revision in live.upgrades[1:]:
        once.fold_next(offset - once.position)
        once.drain()
        once.opened = Opened(revision)
        once.open()
    once.fold_next(len(once.log))
    once.drain()
    return once


def sorted_pass(world: World) -> tuple[list[SourceOwners], RollupOwners]:
    """Each event once, in order of event time and as soon as it happens, up to the clocks that the world has in the end."""
    sources, history = [], world.history
    rollup = RollupOwners(history.definitions)
    for number, log in enumerate(history.logs):
        events = sorted((sent for sent in log if sent.kind == "event"), key=lambda sent: sent.time_ms)
        records = [
            sent.record._replace(offset=offset, timestamp=min(sent.time_ms, sent.record.timestamp)) for offset, sent in enumerate(events)
        ]
        source = SourceOwners(number, records, history.definitions, WRITE_AT_ONCE, sources=SOURCES)
        source.fold_next(len(records))
        source.processor.advance(world.sources[number].processor.clock_ms)
        source.drain()
        sources.append(source)
        for value in source.deltas:
            rollup.append(value)
    rollup.fold_next(len(rollup.log))
    rollup.drain()
    return sources, rollup

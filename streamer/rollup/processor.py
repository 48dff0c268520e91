"""The rollup: deltas of all source partitions in, windows, gauges and aggregate alerts out. A `Processor`.

Its clock is the least tick all sources have passed. Between two deltas only the moments at which a window slides or a rule
falls due are visited, so a backlog of days costs what is in it.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec.json import encode

from streamer import deltas, topics
from streamer.alerts import alert
from streamer.definitions import Definitions
from streamer.deltas import TICK_MS
from streamer.metrics.readings import AccountsReading, Gauge, RuleReading, SourceReading
from streamer.processor import Drained, InForce, Output, Pending, Record
from streamer.rollup import checks, state
from streamer.rollup.decisions import Decisions
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.gauges import Gauges
from streamer.rollup.hold import HELD_ENTRIES_MAX, Held, Hold
from streamer.rollup.panes import Sums
from streamer.rollup.series import CELLS_MAX, SERIES_PER_SLICE, SeriesTable
from streamer.rollup.sums import Pile, Store, Watched

# Changes that may pile up before they are spread over slices, panes and windows.
PILE_MAX = 100_000


class RollupProcessor:
    """One rollup partition.

    partition, partitions: of the deltas topic; with more than one, only the slices of this partition are kept. held_max:
    delta entries that may wait for slow sources. series_per_slice: series of a slice before the rest become `other`. topic: of the
    touchpoints, as evidence names it. looks: after about so many looks at a rule's series `process` leaves the rest to `go_on`; None: it
    leaves nothing. next_tick: the first that is not decided, None before the sources have told a time. observe: told each tick at
    which a rule could see something, after it is decided.
    """

    def __init__(
        self,
        definitions: Definitions,
        *,
        partition: int,
        partitions: int,
        build: str,
        held_max: int = HELD_ENTRIES_MAX,
        series_per_slice: int = SERIES_PER_SLICE,
        topic: str = topics.kafka_name(topics.TOUCHPOINTS),
        looks: int | None = None,
    ) -> None:
        self.partition = partition
        self.build = build
        self.hold = Hold(held_max)
        self.written = state.Written()
        self.tally: Tally[str] = Tally()
        self.offset: int | None = None
        self.next_tick: int | None = None
        self.raised: tuple[int, int] = (0, 0)
        self._looks = looks
        self._moved_at = 0  # arrival of the record that last moved the clock of the sources
        self.observe: Callable[[int], None] | None = None
        self._partitions = partitions
        self._topic = topic
        self._series_per_slice = series_per_slice
        self.since: int | None = None
        self._outputs: list[Output] = []
        self._journal: list[bytes] = []
        self._events = 0
        self.follow(definitions)

    def follow(self, definitions: Definitions) -> None:
        """Be of these definitions; only while there is no state yet."""
        self.definitions = definitions
        self.table = SeriesTable(
            definitions, partition=self.partition, partitions=self._partitions, series_per_slice=self._series_per_slice
        )
        self.decisions = Decisions(definitions, self._topic)
        self.store = Store(definitions.windows, self.table)
        self.watched = Watched(self.decisions.windows, self.table, self.decisions.watch)
        self.decisions.look_at(self.watched.windows)
        self._gauges = Gauges(definitions, self.table, self.store)
        self._live = {counter: counter in self.decisions.counters for counter in checks.COUNTERS}

    def came_into_force(self) -> None:
        """Journal that the definitions are others than those of the state, from here on."""
        self.since = (self.offset or 0) - 1
        self._journal.append(encode({"after": self.since, "revision": self.definitions.revision, "digest": self.definitions.digest}))

    @property
    def in_force(self) -> InForce:
        """The definitions in force."""
        return InForce(self.definitions.revision, self.definitions.digest, self.since)

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Load the changelog's rows; if they are of a higher revision of the definitions, that one stays in force.

        Raises StateError if they are of a newer version, DefinitionsError if of other definitions under the same revision.
        """
        state.restore(self, rows)

    def process(self, records: Sequence[Record], end: int) -> None:
        """Fold delta records in offset order."""
        for record in records:
            self.tally["consumed"] += 1
            self._events += 1
            checked = checks.check(record.value, self.hold.expected)
            if isinstance(checked, checks.Rejected):
                self.tally["dead_lettered"] += 1
                self._outputs.append(checks.dead_letter(record, checked))
                continue
            self.tally["applied"] += 1
            self._apply(record, checked)
        self.offset = end

    def go_on(self) -> bool:
        """Decide some more of what the clock of the sources has passed; False if nothing was left."""
        if self.next_tick == self.hold.clock:
            return False
        self._decide_some()
        return True

    def advance(self, clock_ms: int) -> None:
        """Nothing: the clock is the ticks of the sources."""

    def drain(self) -> Drained:
        """Rows that changed, outputs since the last drain, and the marker."""
        self._settle()
        rows = state.changed_rows(self)
        outputs, self._outputs, self._events = self._outputs, [], 0
        journal, self._journal = self._journal, []
        return Drained(rows, outputs, journal, self.offset if self.offset is not None else 0)

    @property
    def next_offset(self) -> int | None:
        """The source offset to go on from."""
        return self.offset

    @property
    def clock_ms(self) -> int:
        """Everything before is decided; 0 before all sources have been heard."""
        return 0 if self.next_tick is None else self.next_tick * TICK_MS

    @property
    def high_ms(self) -> int:
        """The clock: deltas have no other time."""
        return self.raised[0]

    @property
    def reference(self) -> tuple[int, int]:
        """(clock, arrival of the record that last moved it)."""
        return self.raised

    @property
    def pending(self) -> Pending:
        """What waits for a checkpoint."""
        alerts = sum([output.topic == topics.AGGREGATE_ALERTS for output in self._outputs])
        return Pending(self._events, alerts, sum([len(output.value or b"") for output in self._outputs]))

    @property
    def accounting(self) -> Mapping[str, int]:
        """consumed = applied + dead_lettered; and, in delta entries, what limits cut."""
        counts = {name: self.tally[name] for name in ("consumed", "applied", "duplicate", "late", "dead_lettered", "ignored")}
        counts["unknown_counters"] = self.tally["unknown_counters"]
        counts["left_out_sources"] = self.tally["left_out_sources"]
        counts["label_overflow"] = sum(self.table.overflow.values())
        counts.update((name, self.tally[name]) for name in sorted(self.tally) if name.startswith("draft:"))
        return counts

    def rows(self) -> Mapping[bytes, bytes]:
        """The state as rows."""
        self._settle()
        return state.all_rows(self)

    @property
    def held_entries(self) -> int:
        """Delta entries that wait for slower sources."""
        return self.hold.entries

    @property
    def partial(self) -> bool:
        """Whether a source is left out at the moment."""
        return self.hold.partial

    @property
    def label_overflow(self) -> Mapping[str, int]:
        """Delta entries that went to `other`, by dimension or by slice."""
        return self.table.overflow

    def gauges(self) -> Iterator[Gauge]:
        """Every metric of every series but accounts, and window, as of the last decided tick. Call from the thread that folds."""
        self._settle()
        return self._gauges.read(partial=self.hold.partial)

    def sources(self) -> Iterator[SourceReading]:
        """How far each source partition is."""
        for number, source in sorted(self.hold.sources.items()):
            yield SourceReading(number, source.high_ms, source.clock_ms, source.left_out)

    def rule_states(self) -> Iterator[RuleReading]:
        """The state of each aggregate rule on each series, except of rules on accounts."""
        return self.decisions.states()

    def account_states(self) -> Iterator[AccountsReading]:
        """In how many accounts each rule on accounts is in each state."""
        return self.decisions.account_states()

    def _apply(self, record: Record, batch: deltas.DeltaBatch) -> None:
        before = self.hold.clock
        held = self.hold.accept(record.offset, batch)
        if held is not None:
            held.learn(self.table.known(held.dimensions, held.cells))
        if self.hold.clock != before:
            self._moved_at = record.timestamp
        self._decide_some()
        # What is not decided yet does not wait for any source.
        while self.next_tick == self.hold.clock and self.hold.leave_out():
            self.tally["left_out_sources"] += 1
            self._moved_at = record.timestamp
            self._decide_some()
        if self.store.piled > PILE_MAX or self.table.cached_cells > CELLS_MAX:
            self._settle()
            if self.table.cached_cells > CELLS_MAX:
                self.table.forget()
                for waiting in self.hold.live():
                    waiting.forget()

    def _decide_some(self) -> None:
        """Visit, in order, the ticks before the clock at which something a rule sees can change: all of them, or as many as `looks` allows.

        After a night without a worker one record moves the clock by hours. Deciding them all at once would keep the process from
        everything else until it is taken for dead, and so would the next one.
        """
        clock = self.hold.clock
        if clock is None or clock == self.next_tick:
            return
        begun = self.decisions.looks
        while True:
            tick = min(self.watched.next_slide_ms / TICK_MS, _or_never(self.hold.next_tick), _or_never(self.decisions.next_due))
            if tick >= clock:
                self.next_tick = clock
                self.decisions.begin(clock)
                break
            self.next_tick = int(tick)
            if self._looks is not None and self.decisions.looks - begun >= self._looks:
                break
            self._decide(int(tick))
        self.raised = (self.clock_ms, self._moved_at)

    def _decide(self, tick: int) -> None:
        changed: set[int] = set()
        self.watched.slide(tick * TICK_MS, changed)
        due = self.hold.take(tick)
        if due:
            self._admit(tick, due)
            live: Pile = defaultdict(dict)
            for held, flat in due:
                self._add(held, flat, live)
            self.watched.add(live, changed)
            self.decisions.evidence.see(due, tick, self.table)
        for told, muted in self.decisions.evaluate(tick, changed):
            if muted:
                self.tally[f"draft:{told.state}:{told.rule.id}"] += 1
            else:
                self._outputs.append(Output(topics.AGGREGATE_ALERTS, told.fingerprint.encode(), alert.encode(told)))
        if self.observe is not None:
            self.observe(tick)

    def _admit(self, tick: int, due: list[tuple[Held, list[int]]]) -> None:
        """Give every new cell of a tick its series, all at once: who comes first must not depend on the order of records."""
        unknown = [(held, [i for i in set(flat[1::4]) if held.numbers[i] is None]) for held, flat in due if held.missing]
        new = {(held.dimensions, held.cells[index]) for held, indexes in unknown for index in indexes}
        if not new:
            return
        fresh = [cell for cell in new if self.table.number_of(cell) is None]
        for number in self.table.admit(fresh):
            self.decisions.add_series(number, self.table.series[number], tick)
        for held, indexes in unknown:
            for index in indexes:
                held.learn_one(index, self.table.number_of((held.dimensions, held.cells[index])))

    def _add(self, held: Held, flat: list[int], live: Pile) -> None:
        """Pile up one source's changes of a tick; what a rule may look at goes into `live` too."""
        numbers, is_live, pile = held.numbers, self._live, self.store.pile
        last_pane = -1
        changes: Sums = {}
        watched_changes: Sums = {}
        for at in range(0, len(flat), 4):
            pane, counter, n = flat[at], flat[at + 2], flat[at + 3]
            number = numbers[flat[at + 1]]
            watched = is_live.get(counter)
            if number is None or watched is None:
                self.tally["unknown_counters"] += 1
                continue
            if pane != last_pane:  # those of a pane come one after the other
                last_pane, changes, watched_changes = pane, pile[pane], live[pane]
            key = number << COUNTER_BITS | counter
            changes[key] = changes.get(key, 0) + n
            if watched:
                watched_changes[key] = watched_changes.get(key, 0) + n
        self.store.piled += len(flat) // 4
        if self.table.overflowed:
            for index in flat[1::4]:
                self.table.overflow.update(self.table.overflowed.get(numbers[index] or 0, ()))

    def _settle(self) -> None:
        self.store.settle(None if self.next_tick is None else (self.next_tick - 1) * TICK_MS)


def _or_never(tick: int | None) -> float:
    return float("inf") if tick is None else tick

"""The journeys processor: one source partition's touchpoints to deltas, alerts, late and dead records. Pure (invariant I1).

Time, per partition (design section 4): high = max of min(event time, arrival); watermark = high - allowed lateness, which decides
what is late and what can be forgotten; clock = max(high, last idle clock), which decides deadlines and ticks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, final

import msgspec

from streamer import deltas, topics
from streamer.alerts import alert
from streamer.definitions import Definitions
from streamer.deltas import TICK_MS
from streamer.errors import StateError
from streamer.journeys import marker, notices
from streamer.journeys.cells import Ledger
from streamer.journeys.customer import CHUNK, SETTLE_EVENTS, Customer
from streamer.journeys.customers import Customers, RowsView
from streamer.journeys.fold import Fold
from streamer.journeys.outbox import Outbox
from streamer.journeys.position import Position
from streamer.journeys.restoring import load
from streamer.journeys.routing import Router
from streamer.journeys.sinks import Live
from streamer.journeys.state import NEVER, Episode
from streamer.journeys.timers import Timers
from streamer.journeys.write_behind import BEHIND, Behind, WriteBehind
from streamer.processor import MARKER_KEY, Drained, InForce, Pending, Record
from streamer.touchpoints.decode import DECODED_TOGETHER, decode, decode_all
from streamer.touchpoints.touchpoint import Control, Rejected, Touchpoint

# An absence alert of a partition that has been silent for this long says so: it may be a producer's outage. [H]
SILENCE_MS: Final = 60_000


@final
class JourneysProcessor:
    """Folds one partition of touchpoints. See `streamer.processor.Processor` for the promise."""

    def __init__(
        self,
        definitions: Definitions,
        *,
        partition: int,
        partitions: int,
        rollup_partitions: int = 1,
        build: str = "",
        topic: str = topics.kafka_name(topics.TOUCHPOINTS),
        behind: Behind = BEHIND,
    ) -> None:
        self._place = notices.Place(topic, partition, definitions.dashboard)
        self._partitions = partitions
        self._build = build
        self._definitions = definitions
        self._folds = {definitions.revision: Fold(definitions)}
        self._fold = self._left = self._folds[definitions.revision]
        self._router = Router(definitions, self._fold.cells.dimensions, rollup_partitions)
        self._lateness = int(definitions.allowed_lateness)
        self._limit = definitions.limits.events_per_customer
        self._customers = Customers(behind.customers_in_use)
        self._due, self._quiet = Timers(), Timers()
        self._behind = WriteBehind(behind, self._customers)
        self._ledger = Ledger(self._fold.evidenced, definitions.limits.exemplars_per_tick)
        self.notes: dict[str, int] = {}
        self._sink = Live(self._ledger, self.notes, self._tell)
        self._outbox = Outbox(self._place)
        self._events = 0
        self._journal: list[marker.JournalEntry] = []
        self._new_definitions = True
        self._write_all = False
        self._goal: marker.Marker | None = None  # where the marker was, while the way there is folded again
        self._kept: list[Definitions] = []
        self._unneeded: list[int] = []  # revisions of kept definitions that nobody is of any more
        self._marker = marker.Marker(revision=definitions.revision, digest=definitions.digest, build=build)
        self._at = Position(self._marker)
        self._tick = self._until_tick = 0
        self._customer: Customer | None = None
        self._detected, self._silent = 0, False
        self._count = dict.fromkeys(("consumed", "applied", "duplicate", "late", "dead_lettered", "ignored"), 0)

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Load the latest rows. Rows stay packed until their customer is needed. Raises StateError for a newer schema.

        If `replay_from` is not None afterwards, `refold` must bring the records from there up to `next_offset` first.
        """
        customers, self._due, self._quiet, state, texts, clocks, self._unneeded = load(rows, self._definitions.revision)
        self._customers.load(customers)
        state = state or self._marker
        self._kept = marker.settle(self._definitions, state, texts)
        self._folds |= {kept.revision: Fold(kept) for kept in self._kept if kept.revision not in self._folds}
        self._at = Position(state)
        self._behind.begin(state.replay or self._at.boundary(state.next_offset or 0), clocks)
        if state.replay is None:
            self._resume(state)
        else:
            self._goal, self._marker = state, msgspec.structs.replace(state, replay=None)
            self._at.go_to(state.replay)
            self._use(self._folds.get(state.revision, self._fold).definitions)

    def refold(self, records: Sequence[Record], end: int, *, complete: bool = True) -> None:
        """Fold again what is in the outputs already but not in every row; records in offset order, up to offset `end`.

        complete: False if records before `end` are lost. Raises StateError if the way does not lead to where the marker was.
        """
        goal = self._goal
        assert goal is not None, "nothing is to be folded again"  # noqa: S101  a promise of the caller
        for record in records:
            self._move_idle_clock(self._behind.clock_before(record.offset))
            if self._is_in_row(record):
                event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
                if not isinstance(event, Rejected):
                    self._see(event.time_ms if isinstance(event, Control) else event.time, record)
            else:
                self.process((record,), record.offset + 1)
        self._at.next_offset = end
        if end >= (goal.next_offset or 0):
            self._move_idle_clock(self._behind.clock_before(end))
        self._ledger.close_tick(self._tick)
        self._ledger.drain()
        self._outbox.clear()
        self._events = 0
        if end < (goal.next_offset or 0):
            return
        reached, wanted = self._at.boundary(end), Position(goal).boundary(goal.next_offset or 0)
        if complete and reached != wanted:
            raise StateError(
                f"folding {self._place.topic}[{self._place.partition}] again leads to {reached}, but the state says {wanted}: the source"
                " was changed behind the worker; `streamer state reset journeys --from-start` begins again with what is there"
            )
        self._goal = None
        self._resume(goal)

    def _resume(self, state: marker.Marker) -> None:
        """Everything up to the marker is folded: go on from there."""
        state.schema, state.replay = marker.MARKER_SCHEMA, None
        self._marker, self._at = state, Position(state)
        self._tick = self._until_tick = state.clock // TICK_MS
        self._count.update({kind: n for kind, n in state.accounting.items() if kind in self._count})
        self.notes.clear()
        self.notes.update({kind: n for kind, n in state.accounting.items() if kind not in self._count})
        self._take_over()

    def _is_in_row(self, record: Record) -> bool:
        """Whether the customer's row was written after this record was folded."""
        customer = self._customers.get(record.key or b"")
        return customer is not None and customer.as_of > record.offset

    def process(self, records: Sequence[Record], end: int) -> None:
        """Fold records in offset order; `next_offset` becomes `end`."""
        state = self._at
        if state.next_offset is None:
            self._behind.begin(state.boundary(records[0].offset if records else end), {})
        applied = 0
        high = state.high
        for at in range(0, len(records), DECODED_TOGETHER):
            some = records[at : at + DECODED_TOGETHER]
            for record, event in zip(some, decode_all(some), strict=True):
                arrival = record.timestamp
                if not isinstance(event, Touchpoint):
                    self._other(record, event)
                    high = state.high
                    continue
                time = event.time
                seen = time if time < arrival else arrival  # noqa: FURB136  a call per event less
                if seen > high:
                    self._raise_high(seen, record)
                    high = seen
                applied += self._touch(record, event, high - self._lateness)
        n = len(records)
        self._events += n
        self._count["consumed"] += n
        self._count["applied"] += applied
        state.next_offset = end
        # While the way to the goal is folded again, a row may be ahead of it: packed, it would count as of here.
        if self._customers.too_many and self._goal is None:
            self._behind.pack(state.boundary(end), self._is_needed, self._prepare)

    def advance(self, clock_ms: int) -> None:
        """Move the clock without a record; the journal says after which offset."""
        if clock_ms <= self._at.clock:
            return
        self._move_idle_clock(clock_ms)
        after = (self._at.next_offset or 0) - 1
        if self._journal and self._journal[-1].after == after and self._journal[-1].clock is not None:
            self._journal.pop()
        self._journal.append(marker.JournalEntry(after=after, clock=clock_ms))
        self._behind.journalled(after, clock_ms)

    def drain(self) -> Drained:
        """Take everything that changed, encoded; the marker row is of the same moment."""
        state, at = self._marker, self._at
        at.note(state)
        self._ledger.close_tick(self._tick)
        rows: list[tuple[bytes, bytes | None]] = [(marker.DEFINITIONS_PREFIX + b"%d" % revision, None) for revision in self._unneeded]
        self._unneeded = []
        if self._new_definitions:
            rows += [(marker.DEFINITIONS_PREFIX + b"%d" % r, f.definitions.text.encode()) for r, f in self._folds.items()]
            self._new_definitions = False
        now = at.boundary(at.next_offset or 0)
        self._behind.pack(now, self._is_needed, self._prepare)
        changed, state.replay = self._behind.take(now, self._events, self._settle, everything=self._write_all)
        rows += changed
        self._write_all = False
        state.accounting = dict(self.accounting)
        rows.append((MARKER_KEY, marker.encode(state)))
        cells, ticks, exemplars = self._ledger.drain()
        batch = deltas.DeltaBatch(
            deltas.VERSION, self._place.partition, self._partitions, state.clock // TICK_MS, state.high, state.clock,
            list(self._fold.cells.dimensions), [cell.values for cell in cells], ticks, exemplars,
        )  # fmt: skip
        outputs = self._outbox.take() + self._router.route(batch, cells, self._until_tick)
        self._until_tick = batch.until_tick
        journal = [marker.encode_journal(entry) for entry in self._journal]
        self._journal, self._events = [], 0
        self._fold.cells.trim()
        return Drained(rows, outputs, journal, state.next_offset or 0)

    @property
    def next_offset(self) -> int | None:
        """The source offset to go on from."""
        return self._at.next_offset if self._goal is None else self._goal.next_offset

    @property
    def replay_from(self) -> int | None:
        """The source offset from which `refold` must go on before anything else; None if nothing is to be folded again."""
        return None if self._goal is None else self._at.next_offset

    def write_all(self) -> None:
        """Write every changed row with the next drain, so that the next owner has nothing to fold again."""
        self._write_all = True

    @property
    def clock_ms(self) -> int:
        """The clock of the fold."""
        return self._at.clock

    @property
    def reference(self) -> tuple[int, int]:
        """(clock when high last rose, its record's arrival); of a partition never written, its start clock twice."""
        state = self._at
        return (max(state.base, state.high), state.arrival) if state.high >= 0 else (state.start, state.start)

    @property
    def high_ms(self) -> int:
        """Greatest min(event time, arrival)."""
        return self._at.high

    @property
    def pending(self) -> Pending:
        """What waits for a checkpoint."""
        size = self._outbox.size_bytes + self._behind.size_bytes + self._ledger.size_bytes
        return Pending(self._events, self._outbox.alerts, size)

    @property
    def accounting(self) -> Mapping[str, int]:
        """Outcomes of all records, then what limits cut and which ids told instances."""
        return {**self._count, **{kind: self.notes[kind] for kind in sorted(self.notes)}}

    @property
    def in_force(self) -> InForce:
        """The definitions in force."""
        return InForce(self._definitions.revision, self._definitions.digest, self._marker.since)

    def rows(self) -> Mapping[bytes, bytes]:
        """The customers as rows."""
        return RowsView(self._customers)

    def _other(self, record: Record, event: Control | Rejected) -> None:
        if isinstance(event, Control):
            self._count["ignored"] += 1
            self._see(event.time_ms, record)
            return
        self._count["dead_lettered"] += 1
        self._sink.note("dead_" + event.reason)
        self._outbox.put_aside(topics.DEAD_LETTERS, record, [("reason", event.reason.encode()), ("detail", event.detail.encode())])

    def _touch(self, record: Record, event: Touchpoint, watermark: int) -> int:
        """Apply one event to its customer; returns 1 if applied, 0 if it was a duplicate or late."""
        key = record.key or b""
        customer = self._customers.get(key)
        late = event.time < watermark
        if customer is None:
            if late:
                return self._late(record, event, None)
            customer = self._customers.begin(key, event.offset, self._definitions.revision)
        if not late and customer.has(event, watermark):
            self._count["duplicate"] += 1
            return 0
        if customer.revision != self._definitions.revision:
            self._adopt(customer, self._at.clock)
        if late or event.time < customer.base_time:
            return self._late(record, event, customer)
        self._apply(customer, event, record.timestamp, watermark)
        return 1

    def _apply(self, customer: Customer, event: Touchpoint, arrival: int, watermark: int) -> None:
        clock = self._at.clock
        self._customer, self._detected, self._silent = customer, arrival, False
        if customer.count >= SETTLE_EVENTS and customer.quiet_at < watermark:
            customer.settle(self._fold, customer.live(self._fold, clock))
        time, plan = event.time, self._fold.plan(event)
        in_order = time >= customer.quiet_at
        if not in_order:
            self._sink.note("out_of_order")
        if not plan.active and time < customer.due and event.analytics_consent is None:
            # Wherever it belongs in order, every deadline before it has fired already, and nothing else depends on it: the state of a
            # customer who was packed need not even be unpacked.
            self._fold.touch(event, plan, self._sink)
            customer.keep(event)
        elif in_order:
            customer.append(self._fold, customer.live(self._fold, clock), event, plan, clock, self._sink)
        else:
            before, happened = customer.insert(self._fold, event, clock, self._sink)
            assert customer.state is not None  # noqa: S101  insert has just folded it
            for transition in notices.differences(customer, before, customer.state, happened):
                self._send(transition, event.time)
        if customer.count % CHUNK == 0 or customer.count > self._limit:
            customer.live(self._fold, clock)
            forced = customer.trim(self._fold, watermark, self._limit)
            if forced:
                self.notes["cut_events"] = self.notes.get("cut_events", 0) + forced
        if not customer.dirty or customer.due != customer.queued or (customer.due == NEVER and customer.waiting > customer.last_time):
            self._changed(customer)

    def _is_needed(self, customer: Customer) -> bool:
        """Whether events may come before what is folded of the customer."""
        return customer.quiet_at >= self._at.high - self._lateness

    def _settle(self, customer: Customer) -> None:
        """Fold everything retained into the base, if nothing can come before it."""
        if customer.state is not None and customer.revision == self._definitions.revision and not self._is_needed(customer):
            customer.settle(self._fold, customer.state)

    def _prepare(self, customer: Customer) -> None:
        """Make a customer ready to be packed: unpacked again, it takes itself to wait to be forgotten where a restore would have put it."""
        self._settle(customer)
        if customer.due == NEVER and customer.waiting != customer.quiet_at:
            self._quiet.push(customer.quiet_at, customer.key)

    def _late(self, record: Record, event: Touchpoint, customer: Customer | None) -> int:
        """Too late to change a pane. But nobody is to be chased who has bought, or asked not to be: that counts from now on."""
        self._count["late"] += 1
        self._outbox.put_aside(topics.LATE, record, [("reason", b"late")])
        if customer is None and event.analytics_consent is False and event.time > 0:
            customer = self._customers.begin(record.key or b"", event.offset, self._definitions.revision)
        if customer is None:
            return 0
        clock = max(self._at.clock, customer.base_time)  # nothing comes before what was folded into the base
        found = self._fold.take_late(customer.live(self._fold, clock), event, clock)
        for kind in found:
            self._sink.note(kind)
        if found:
            self._apply(customer, event, record.timestamp, self._at.high - self._lateness)
        return 0

    def _changed(self, customer: Customer) -> None:
        if not customer.dirty:
            customer.dirty = True
            self._customers.changed[customer.key] = None
        due = customer.due
        if due < customer.queued:
            customer.queued = due
            self._due.push(due, customer.key)
            self._due.tidy(self._customers.is_queued)
        if due == NEVER and customer.state is not None and customer.state.idle and customer.quiet_at < customer.waiting:
            # Also to an earlier place: an event out of order may have taken back the deadline that the later one was for.
            customer.waiting = customer.quiet_at
            self._quiet.push(customer.waiting, customer.key)

    def _see(self, time_ms: int, record: Record) -> None:
        if (seen := min(time_ms, record.timestamp)) > self._at.high:
            self._raise_high(seen, record)

    def _raise_high(self, high: int, record: Record) -> None:
        """A record brought newer time."""
        state = self._at
        state.high, state.arrival = high, record.timestamp
        if high > state.clock:
            self._move_clock(high)
        state.base = state.clock
        if self._quiet.next_ms < high - self._lateness:
            self._forget_quiet(record.offset)

    def _move_idle_clock(self, to: int) -> None:
        if to <= self._at.clock:
            return
        if self._at.high < 0 and self._at.arrival < 0:
            # A partition never written: its time starts here, and goes on from here while it stays silent.
            self._at.start = to
        self._move_clock(to)

    def _move_clock(self, to: int) -> None:
        """Fire the deadlines up to `to`, each at its own time, in (deadline, key) order; then it is `to`."""
        while (due := self._due.next_ms) <= to:
            key = self._due.pop()
            queued, deadline = self._customers.places(key)
            if queued != due:
                continue  # the customer's deadline has since moved to an earlier place in the queue
            if deadline > due:
                self._customers.requeued(key)
                if deadline < NEVER:
                    self._due.push(deadline, key)
                continue
            customer = self._customers.get(key)
            assert customer is not None  # noqa: S101  it has a place in the queue
            customer.queued = NEVER
            if due > self._at.clock:
                self._set_clock(due)
            self._fire(customer, due)
        self._set_clock(to)

    def _fire(self, customer: Customer, due: int) -> None:
        self._customer, self._detected = customer, due
        self._silent = due - self._at.high >= SILENCE_MS
        if customer.revision != self._definitions.revision:
            self._adopt(customer, due - 1)
        # What fired before is folded without effects; the deadline itself comes due here.
        state = customer.live(self._fold, due - 1)
        customer.due = self._fold.fire(state, due, self._sink)
        self._changed(customer)

    def _set_clock(self, clock: int) -> None:
        self._at.clock = clock
        tick = clock // TICK_MS
        if tick != self._tick:
            self._ledger.close_tick(self._tick)
            self._tick = tick

    def _forget_quiet(self, offset: int) -> None:
        """Drop the customers in whom nothing can matter any more, before the record of this offset."""
        watermark = self._at.high - self._lateness
        while (since := self._quiet.next_ms) < watermark:
            key = self._quiet.pop()
            customer = self._customers.get(key) if self._customers.is_quiet_since(key, since) else None
            if customer is None:
                continue
            customer.waiting = NEVER
            state = customer.live(self._folds[customer.revision], self._at.clock)
            if not state.idle:
                continue
            if customer.quiet_at >= watermark:
                customer.waiting = customer.quiet_at
                self._quiet.push(customer.waiting, key)
                continue
            self._behind.forget(customer, self._at.boundary(offset))

    def _tell(self, state: alert.State, key: str, episode: Episode, time_ms: int) -> None:
        self._send(notices.Transition(state, key, episode), time_ms)

    def _send(self, transition: notices.Transition, event_ms: int) -> None:
        """Tell a transition of the customer at hand."""
        customer = self._customer
        # A rule that was removed has its text in the definitions that the customer comes from.
        name = transition.episode.rule
        rule = self._fold.episodes.rules.get(name) or self._left.episodes.rules.get(name)
        assert customer is not None  # noqa: S101  transitions come out of a customer's fold only
        told = notices.tell(customer, transition, rule.rule if rule is not None else None)
        if rule is None:
            return
        if told.muted:
            self._sink.note(f"draft:{transition.state}:{rule.rule.id}")
            return
        record = notices.alert_of(customer, rule, transition, told, self._place, event_ms, self._detected)
        if self._silent:
            record = msgspec.structs.replace(record, during_source_silence=True)
        self._outbox.tell(record)

    def _adopt(self, customer: Customer, clock: int) -> None:
        """Let a customer go on under the definitions in force: their deadlines may be due already, and rules may be gone."""
        before = self._left = self._folds[customer.revision]
        self._customer, self._detected, self._silent = customer, clock, False
        state = customer.adopt(before, self._fold, self._definitions.revision, clock, self._sink)
        customer.base = self._fold.pack(state)
        customer.due = self._fold.fire(state, clock, self._sink)
        self._changed(customer)

    def _take_over(self) -> None:
        """Settle which definitions are in force: the higher revision."""
        self._new_definitions = not self._kept
        state = self._marker
        newest = self._folds[max(self._folds)].definitions
        self._use(newest)
        if state.revision < newest.revision:
            after = (state.next_offset or 0) - 1
            self._journal.append(marker.JournalEntry(after=after, revision=newest.revision, digest=newest.digest))
            state.since = after
            # What would be folded again would be folded under the old ones.
            self._new_definitions = self._write_all = True
        state.revision, state.digest, state.build = newest.revision, newest.digest, self._build

    def _use(self, definitions: Definitions) -> None:
        self._definitions, self._fold = definitions, self._folds[definitions.revision]
        self._ledger.evidenced, self._ledger.exemplars_max = self._fold.evidenced, definitions.limits.exemplars_per_tick
        self._router = Router(definitions, self._fold.cells.dimensions, self._router.partitions)
        self._lateness, self._limit = int(definitions.allowed_lateness), definitions.limits.events_per_customer

"""One customer through a partition's log: what happened, what it changed, what was told, and how near each rule is.

The processor is the product's, so everything is as live. Beside it a copy of the customer's state walks from deadline to deadline, to see
what each of them changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from streamer import topics
from streamer.alerts import alert
from streamer.alerts.times import milliseconds
from streamer.explain.signals import Change, Entity, changes, entities
from streamer.explain.verdicts import Seen, Verdict, verdict_of
from streamer.journeys.customer import MUTED, Customer
from streamer.journeys.fold import Fold
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.state import State
from streamer.rules.explain import Explainer
from streamer.rules.language import ENTITY_NAMES
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control, Rejected, Touchpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from streamer.definitions import Definitions
    from streamer.processor import Record
    from streamer.replay.pipeline import Shape

# Records of other customers that are handed over at once, and after how many the outputs are dropped.
_CHUNK = 5_000


class Happened(NamedTuple):
    """One entry of the timeline, in the order of arrival. Times in milliseconds since the epoch.

    event: what a record was, with `outcome` (applied, duplicate, late, dead_lettered) ; None for a deadline or an alert. changes: of the
    signals. told: the transition, of an alert.
    """

    kind: Literal["event", "deadline", "alert"]
    time_ms: int
    offset: int | None = None
    arrival_ms: int | None = None
    event: Touchpoint | None = None
    outcome: str = ""
    changes: Sequence[Change] = ()
    told: alert.Alert | None = None


class CustomerStory:
    """Takes a partition's log in, in its order, up to `until_ms`; then `happened` and `verdicts` tell."""

    def __init__(self, definitions: Definitions, shape: Shape, partition: int, key: bytes, until_ms: int | None = None) -> None:
        self.key = key
        self.partition = partition
        self.happened: list[Happened] = []
        self.accounts: dict[str, None] = {}  # that the customer's events name, in the order in which they came
        self._until_ms = until_ms
        self._over = False
        self._definitions = definitions
        self._fold = Fold(definitions)
        self._processor = JourneysProcessor(
            definitions, partition=partition, partitions=shape.partitions, rollup_partitions=shape.rollup_partitions, topic=shape.topic,
            build="explain",
        )  # fmt: skip
        self._processor.restore(())
        self._others: list[Record] = []
        self._copy: State | None = None
        self._before: dict[str, Entity] = {}
        self._seen: dict[str, Seen] = {}
        self._known_rules = [
            (rule, Explainer(rule.when, ENTITY_NAMES[rule.entity])) for rule in definitions.rule if rule.entity and rule.mode != "off"
        ]

    @property
    def clock_ms(self) -> int:
        """Up to when everything is folded."""
        return self._processor.clock_ms

    @property
    def state(self) -> State:
        """The customer as of the clock; empty for one of whom nothing is known, or all is forgotten."""
        return self._now() or State()

    def take(self, records: Sequence[Record], idle: Sequence[tuple[int, int]]) -> None:
        """The next records, and the idle clocks (offset, clock after it) between and behind them."""
        clocks = list(idle)
        for record in records:
            while clocks and clocks[0][0] < record.offset and not self._over:
                self._advance(clocks.pop(0)[1])
            self._over = self._over or self._is_beyond(record)
            if self._over:
                break
            if record.key == self.key:
                self._flush()
                self._touch(record)
            else:
                self._others.append(record)
                if len(self._others) >= _CHUNK:
                    self._flush()
        for _, clock_ms in clocks:
            if not self._over:
                self._advance(clock_ms)
        self._flush()

    def finish(self, clock_ms: int | None) -> None:
        """Let time pass until then, if it is later: deadlines fall due."""
        if clock_ms is not None:
            self._advance(clock_ms)

    def verdicts(self) -> list[Verdict]:
        """Of each entity rule on each entity there is or was, nearest to turning over first; what fires before that."""
        state = self.state
        there = entities(self._fold, state)
        self._see(there)
        found = []
        for rule, explainer in self._known_rules:
            for seen in self._seen.values():
                if seen.entity.kind == rule.on:
                    episode = state.episodes.get(rule.id + "\x1f" + seen.entity.id)
                    is_there = seen.entity.id in there
                    found.append(verdict_of(rule, explainer, seen, episode, now_ms=self.clock_ms, is_there=is_there))
        return sorted(found, key=lambda verdict: verdict.order)

    def _is_beyond(self, record: Record) -> bool:
        """Whether a record would move time beyond the moment that is asked for."""
        if self._until_ms is None or record.timestamp <= self._until_ms:
            return False
        event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
        time_ms = event.time if isinstance(event, Touchpoint) else event.time_ms if isinstance(event, Control) else 0
        return time_ms > self._until_ms

    def _advance(self, clock_ms: int) -> None:
        self._flush()
        self._processor.advance(clock_ms if self._until_ms is None else min(clock_ms, self._until_ms))
        self._walk(self.clock_ms)
        self._tell(self._alerts())

    def _flush(self) -> None:
        """Hand over the records of others: they move the clock."""
        if self._others:
            records, self._others = self._others, []
            self._processor.process(records, records[-1].offset + 1)
            self._walk(self.clock_ms)
            self._tell(self._alerts())

    def _touch(self, record: Record) -> None:
        event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
        counted = dict(self._processor.accounting)
        before_ms = self.clock_ms
        self._processor.process([record], record.offset + 1)
        if isinstance(event, Touchpoint):
            # Time moves first, and with it come the deadlines.
            self._walk(max(before_ms, min(event.time, record.timestamp)))
        outcome = next((name for name in ("applied", "duplicate", "late", "dead_lettered", "ignored")
                        if self._processor.accounting[name] > counted[name]), "")  # fmt: skip
        self._copy = self._now()
        after = {} if self._copy is None else entities(self._fold, self._copy)
        found = list(changes(self._before, after))
        self._see(after)
        time_ms = event.time if isinstance(event, Touchpoint) else record.timestamp
        told = event if isinstance(event, Touchpoint) else None
        if told is not None and told.account_id:
            self.accounts[told.account_id] = None
        reason = f": {event.reason.value}" if isinstance(event, Rejected) else ""
        alerts = list(self._alerts())
        self._tell([one for one in alerts if alert_ms(one) < time_ms])  # of the deadlines that came first
        self.happened.append(Happened("event", time_ms, record.offset, record.timestamp, told, outcome + reason, found))
        self._tell([one for one in alerts if alert_ms(one) >= time_ms])

    def _walk(self, clock_ms: int) -> None:
        """Fire the copy's deadlines one by one."""
        copy = self._copy
        if copy is None:
            return
        while (due := self._fold.next_due(copy)) <= clock_ms:
            self._fold.fire(copy, due, MUTED)
            after = entities(self._fold, copy)
            found = list(changes(self._before, after))
            self._see(after)
            if found:
                self.happened.append(Happened("deadline", due, changes=found))

    def _see(self, now: Mapping[str, Entity]) -> None:
        """Remember each entity as it is, so that one that ends is known as it was last."""
        for entity in now.values():
            self._seen[entity.id] = Seen(entity, self.clock_ms)
        self._before = dict(now)

    def _tell(self, alerts: Iterable[alert.Alert]) -> None:
        self.happened += [Happened("alert", alert_ms(told), told=told) for told in alerts]

    def _alerts(self) -> Iterator[alert.Alert]:
        """What was told of the customer since the last time; what was told of others is dropped."""
        name = self.key.decode(errors="replace")
        for output in self._processor.drain().outputs:
            if output.topic == topics.ALERTS:
                told = alert.decode(output.value or b"")
                if told.entity is not None and told.entity.canonical_id == name:
                    yield told

    def _now(self) -> State | None:
        """A copy of the customer's state as of the clock; None if nothing is known."""
        packed = self._processor.rows().get(self.key)
        if packed is None:
            return None
        row = Customer.of_row(self.key, packed)
        return row.folded(self._fold, row.events(), self.clock_ms)


def alert_ms(told: alert.Alert) -> int:
    """When a transition happened."""
    return milliseconds(told.event_time)

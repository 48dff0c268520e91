"""The events behind aggregate alerts: of each rule on each series the latest that count against it, in the order of ticks.

The journeys send an event with each change of the counters that a rule is about (`rules/exemplars.py`), the first few of each cell and
tick, and each that is taken back. Which of them are kept depends on ticks and places in the log alone, not on where records of deltas
begin and end, nor on which owner reads them.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from streamer.alerts import alert
from streamer.alerts.times import rfc3339
from streamer.deltas import TICK_MS, Exemplar
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.rows import Identity, Witness

if TYPE_CHECKING:
    from streamer.definitions import Limits
    from streamer.rollup.hold import Held
    from streamer.rollup.plans import Case
    from streamer.rollup.series import SeriesTable
    from streamer.rollup.sums import WindowSums

# An event counts once in a pane; in a level once, until it is taken back in another pane.
Place = tuple[int, int, int]


class Evidence:
    """What is kept of all rules and series. limits: of one series, and of one change in a tick; topic: where the events lie."""

    def __init__(self, limits: Limits, topic: str) -> None:
        self._limit = limits.evidence_per_alert
        self._limit_per_tick = limits.exemplars_per_tick
        self._topic = topic
        self._watch: dict[int, tuple[Case, ...]] = {}
        self._counters: set[int] = set()
        self._written: set[Identity] = set()

    def watch(self, case: Case) -> None:
        """Keep the evidence of a case."""
        if case.excluded:
            return
        self._counters.update(case.plan.evidenced.counters)
        for counter in case.plan.evidenced.counters:
            key = case.number << COUNTER_BITS | counter
            self._watch[key] = (*self._watch.get(key, ()), case)

    def see(self, due: Sequence[tuple[Held, list[int]]], tick: int, table: SeriesTable) -> None:
        """See the events behind a tick's changes."""
        by_case: dict[Case, list[tuple[int, int, Witness]]] = {}
        for held, one in self._of_tick(due, tick):
            seen = (one.sign, one.counter, Witness(one.pane_ms, held.source, one.offset, one.time_ms, one.type, one.id))
            for key in table.existing_keys(held.dimensions, held.cells[one.cell], one.counter):
                for case in self._watch.get(key, ()):
                    by_case.setdefault(case, []).append(seen)
        for case, news in by_case.items():
            start_ms, _ = case.plan.window_at(tick * TICK_MS)
            witnesses = _seen(case, news, start_ms)[-self._limit :]
            if witnesses != case.witnesses:
                case.witnesses, case.has_new_witnesses = witnesses, True

    def _of_tick(self, due: Sequence[tuple[Held, list[int]]], tick: int) -> list[tuple[Held, Exemplar]]:
        """The exemplars of a tick that any rule wants: no more of each change up than one record would have had."""
        seen: dict[tuple[int, tuple[str, ...], tuple[str, ...], int], int] = {}
        found = []
        for held, _ in due:
            for exemplar in held.exemplars.get(tick, ()):
                if exemplar.counter not in self._counters:
                    continue
                if exemplar.sign > 0:
                    change = (held.source, held.dimensions, held.cells[exemplar.cell], exemplar.counter)
                    seen[change] = n = seen.get(change, 0) + 1
                    if n > self._limit_per_tick:
                        continue
                found.append((held, exemplar))
        return found

    def take_new(self, cases: Iterable[Case]) -> list[tuple[Identity, list[Witness]]]:
        """What has changed since the last call; empty where the changelog has a row that must go."""
        found = []
        for case in cases:
            if case.has_new_witnesses:
                case.has_new_witnesses = False
                if case.witnesses or case.identity in self._written:
                    found.append((case.identity, case.witnesses))
        self._written.update([identity for identity, witnesses in found if witnesses])
        self._written.difference_update([identity for identity, witnesses in found if not witnesses])
        return found

    def restore(self, case: Case | None, witnesses: list[Witness], *, same: bool) -> bool:
        """Put it back, if the definitions still have the rule and the slice; same: and if it means the same by it."""
        if case is None or case.excluded or not same:
            return False
        case.witnesses = witnesses
        self._written.add(case.identity)
        return True

    def put_into(self, record: alert.Alert, cases: Sequence[Case], now_ms: int, sums: WindowSums) -> alert.Alert:
        """The record with the latest events of its window that count against `cases`, of one rule."""
        if not cases:
            return record
        start_ms, width_ms = cases[0].plan.window_at(now_ms)
        found = {
            (one.partition, one.offset): one
            for case in cases
            for one in case.witnesses
            if case.plan.is_level or 0 <= one.pane_ms - start_ms < width_ms
        }
        latest = sorted(found.values(), key=lambda one: (one.pane_ms, one.time_ms, one.partition, one.offset))
        counts = [case.evidence_count(sums) for case in cases]
        count = len(latest) if None in counts else sum(n for n in counts if n is not None)
        latest = latest[max(len(latest) - min(self._limit, count), 0) :]
        return msgspec.structs.replace(
            record,
            evidence=[alert.Evidence(one.id, one.type, rfc3339(one.time_ms), self._topic, one.partition, one.offset) for one in latest],
            evidence_count=count,
        )


def _seen(case: Case, news: Sequence[tuple[int, int, Witness]], start_ms: int) -> list[Witness]:
    """What is kept with the news: what has come, less what is taken back or counts in the case's favour, too, or has left the window."""
    counted, but_not = case.plan.evidenced
    is_level = case.plan.is_level
    net: Tally[Place] = Tally()
    witnesses: dict[Place, Witness] = {}
    for sign, counter, one in news:
        if counter in counted:
            place = _place(one, is_level)
            net[place] += sign
            witnesses[place] = one
    kept = {_place(one, is_level): one for one in case.witnesses if is_level or one.pane_ms >= start_ms}
    for place in sorted(net):
        if net[place] > 0:
            kept[place] = witnesses[place]
        elif net[place] < 0:
            kept.pop(place, None)
    other = {(one.partition, one.offset) for sign, counter, one in news if sign > 0 and counter in but_not}
    return [one for place, one in kept.items() if place[:2] not in other]


def _place(one: Witness, is_level: bool) -> Place:
    return (one.partition, one.offset, 0 if is_level else one.pane_ms)

"""The events behind aggregate alerts: of each rule on each series the latest that count against it, in the order of ticks.

The journeys send an event with each change of the counters that a rule is about (`rules/exemplars.py`), the first few of each cell and
tick. Which of them are kept depends on ticks and places in the log alone, not on where records of deltas begin and end.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from streamer.alerts import alert
from streamer.alerts.times import milliseconds, rfc3339
from streamer.deltas import EXEMPLARS_MAX, Exemplar
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.rows import Identity, Witness

if TYPE_CHECKING:
    from streamer.rollup.hold import Held
    from streamer.rollup.plans import Case
    from streamer.rollup.series import SeriesTable
    from streamer.rollup.sums import WindowSums


def _of_tick(due: Sequence[tuple[Held, list[int]]], tick: int) -> list[tuple[Held, Exemplar]]:
    """The exemplars of a tick: no more of each change than one record would have had."""
    seen: Tally[tuple[int, tuple[str, ...], tuple[str, ...], int, int]] = Tally()
    found = []
    for held, _ in due:
        for exemplar in held.exemplars.get(tick, ()):
            place = (held.source, held.dimensions, held.cells[exemplar.cell], exemplar.counter, exemplar.sign)
            seen[place] += 1
            if seen[place] <= EXEMPLARS_MAX:
                found.append((held, exemplar))
    return found


class Evidence:
    """What is kept of all rules and series. limit: events of one series; topic: where they lie."""

    def __init__(self, limit: int, topic: str) -> None:
        self._limit = limit
        self._topic = topic
        self._cases: dict[Identity, Case] = {}
        self._watch: dict[int, tuple[Case, ...]] = {}
        self._written: set[Identity] = set()

    def watch(self, case: Case) -> None:
        """Keep the evidence of a case."""
        if case.excluded:
            return
        self._cases[case.identity] = case
        for counter in case.plan.evidenced.counters:
            key = case.number << COUNTER_BITS | counter
            self._watch[key] = (*self._watch.get(key, ()), case)

    def see(self, due: Sequence[tuple[Held, list[int]]], tick: int, table: SeriesTable) -> None:
        """See the events behind a tick's changes."""
        by_case: dict[Case, list[tuple[int, int, Witness]]] = {}
        for held, one in _of_tick(due, tick):
            number = held.numbers[one.cell]
            if number is None:  # it may have been admitted since the record came
                number = table.known(held.dimensions, [held.cells[one.cell]])[0]
            if number is None:
                continue
            seen = (one.sign, one.counter, Witness(one.pane_ms, held.source, one.offset, one.time_ms, one.type, one.id))
            for key in table.keys(number << COUNTER_BITS | one.counter):
                for case in self._watch.get(key, ()):
                    by_case.setdefault(case, []).append(seen)
        for case, news in by_case.items():
            _see(case, news, self._limit)

    def take_new(self) -> list[tuple[Identity, list[Witness]]]:
        """What has changed since the last call; empty where the changelog has a row that must go."""
        found = []
        for identity, case in self._cases.items():
            if case.has_new_witnesses:
                case.has_new_witnesses = False
                if case.witnesses or identity in self._written:
                    found.append((identity, case.witnesses))
        self._written.update([identity for identity, witnesses in found if witnesses])
        self._written.difference_update([identity for identity, witnesses in found if not witnesses])
        return found

    def all(self) -> list[tuple[Identity, list[Witness]]]:
        """Everything."""
        return [(identity, case.witnesses) for identity, case in self._cases.items() if case.witnesses]

    def restore(self, identity: Identity, witnesses: list[Witness]) -> bool:
        """Put it back, if the definitions still have the rule and the slice."""
        case = self._cases.get(identity)
        if case is None:
            return False
        case.witnesses = witnesses
        self._written.add(identity)
        return True

    def put_into(self, record: alert.Alert, cases: Sequence[Case], sums: WindowSums) -> alert.Alert:
        """The record with the latest events of its window that count against `cases`."""
        if not cases or record.window is None:
            return record
        start_ms = milliseconds(record.window.start)
        found = {_place(one): one for case in cases for one in case.witnesses if one.pane_ms >= start_ms}
        latest = sorted(found.values(), key=lambda one: (one.pane_ms, one.time_ms, one.partition, one.offset))[-self._limit :]
        return msgspec.structs.replace(
            record,
            evidence=[alert.Evidence(one.id, one.type, rfc3339(one.time_ms), self._topic, one.partition, one.offset) for one in latest],
            evidence_count=sum(case.evidence_count(sums) for case in cases),
        )


def _see(case: Case, news: Sequence[tuple[int, int, Witness]], limit: int) -> None:
    """Keep the latest: what has come, less what is taken back or counts in the case's favour, too."""
    counted, but_not = case.plan.evidenced
    come = sorted({one for sign, counter, one in news if sign > 0 and counter in counted}, key=_place)
    gone = {(_place(one), one.pane_ms) for sign, counter, one in news if sign < 0 and counter in counted}
    other = {_place(one) for sign, counter, one in news if sign > 0 and counter in but_not}
    kept = {_place(one): one for one in case.witnesses}
    kept.update((_place(one), one) for one in come if _place(one) not in other)
    witnesses = [one for place, one in kept.items() if (place, one.pane_ms) not in gone][-limit:]
    if witnesses != case.witnesses:
        case.witnesses, case.has_new_witnesses = witnesses, True


def _place(one: Witness) -> tuple[int, int]:
    return (one.partition, one.offset)

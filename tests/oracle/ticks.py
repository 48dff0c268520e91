"""When a customer's counter changes became known: the history recounted after each event and at each deadline, and what differs.

A change belongs to the second of the partition's clock (the tick) in which it became known: an event's at the clock it brought, a
deadline's at the deadline itself. docs/reference/journeys.md, "Time".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.journeys import Cell, sums_at
from tests.oracle.plan import Event, Plan, plan_of

TICK_MS = 1_000


class Known(NamedTuple):
    """An event within the allowed lateness, and the clock of its partition once it was applied."""

    event: Event
    clock: int


class Booking(NamedTuple):
    """A net change, and the tick in which it became known."""

    tick: int
    counter: str
    cell: Cell
    pane: int
    n: int


def bookings(history: Sequence[Known], definitions: Mapping[str, Any], clock: int) -> list[Booking]:
    """history: of one customer, in the order of arrival. clock: of the partition at the end."""
    plan = plan_of(definitions)
    found: list[Booking] = []
    before: Counter[tuple[str, Cell, int]] = Counter()
    for number, known in enumerate(history):
        events = [each.event for each in history[: number + 1]]
        until = history[number + 1].clock if number + 1 < len(history) else clock
        dues = sorted(due for due in _deadlines(events, plan) if known.clock < due <= until)
        for at in (known.clock, *dues):
            now = sums_at(events, plan, at)
            found += [Booking(at // TICK_MS, *what, n) for what in now.keys() | before.keys() if (n := now[what] - before[what])]
            before = now
    return found


def _deadlines(events: Sequence[Event], plan: Plan) -> set[int]:
    """Every time at which a counter may change although nothing arrives: an abandonment, and no other deadline counts anything."""
    return {event["time"] + journey.deadline for event in events for journey in plan.journeys if journey.role(event)}

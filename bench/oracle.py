"""What the outputs of jobs A and B must be: a plain pass over the topic's records, sharing only the job's definition with the engines.

Two modes. `arrival`: each partition's events in the order of their offsets and deadlines at newest time minus the disorder, as the
rivals do it. `event`: each partition's events by (time, offset) and deadlines as soon as time passes them, as the product does it,
which puts late arrivals in their place. The panes and alerts of both are those of the same job; they differ where two events of
one customer came in the wrong order.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal

import msgspec

from bench.job import COUNTERS, DISORDER_MS, Alert, Customer, Panes, Timers

if TYPE_CHECKING:
    from collections.abc import Iterable

Order = Literal["arrival", "event"]


class Event(msgspec.Struct, gc=False):
    """The fields of the job."""

    id: str
    customer_id: str
    channel: str
    type: str
    segment: str
    timestamp: int


decode = msgspec.json.Decoder(Event).decode


class Truth(msgspec.Struct):
    """What must come out. disordered: customers with an event that came after a later one of theirs.

    end_ms: the least of the partitions' newest times; later ones depend on how an engine ends.
    """

    alerts: list[Alert]
    panes: dict[tuple[int, str, str], list[int]]
    end_ms: int
    events: int
    customers: int
    disordered: set[str] = msgspec.field(default_factory=set)

    def totals(self) -> dict[str, int]:
        """Sizes, for the report."""
        sums = [sum(counts[place] for counts in self.panes.values()) for place in range(COUNTERS)]
        kinds = Counter(alert.kind for alert in self.alerts)
        named = dict(zip(("events", "switches", "opened", "closed", "lost"), sums, strict=True))
        return {**named, **{f"alerts_{kind}": n for kind, n in sorted(kinds.items())}, "customers": self.customers}


class _Partition:
    """One partition's fold."""

    def __init__(self, order: Order, panes: Panes, alerts: list[Alert]) -> None:
        self._by_event = order == "event"
        self.customers: dict[str, Customer] = {}
        self._timers = Timers(self.customers)
        self._panes, self._alerts = panes, alerts
        self._waiting: list[tuple[int, int, Event]] = []
        self._newest: dict[str, int] = {}
        self.disordered: set[str] = set()
        self.high = 0

    def feed(self, offset: int, event: Event) -> None:
        time = event.timestamp
        risen = time > self.high
        if risen:
            self.high = time
        if not self._by_event:
            self._apply(event)
            if risen:
                self._fire(time - DISORDER_MS)
            return
        if time < self._newest.get(event.customer_id, 0):
            self.disordered.add(event.customer_id)
        else:
            self._newest[event.customer_id] = time
        heappush(self._waiting, (time, offset, event))
        while self._waiting[0][0] < self.high - DISORDER_MS:
            self._next()

    def finish(self) -> None:
        while self._waiting:
            self._next()
        if self._by_event:
            self._fire(self.high)

    def _next(self) -> None:
        time, _, event = heappop(self._waiting)
        self._fire(time)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        key = event.customer_id
        customer = self.customers.get(key)
        if customer is None:
            customer = self.customers[key] = Customer()
        told: list[Alert] = []
        done = customer.step(key, event.id, event.channel, event.type, event.segment, event.timestamp, told)
        self._panes.add(event.timestamp, event.segment, event.channel, done, customer)
        for alert in told:
            self._tell(alert)
        if customer.open:
            self._timers.arm(key, customer)

    def _fire(self, until: int) -> None:
        for alert in self._timers.due(until):
            self._tell(alert)

    def _tell(self, alert: Alert) -> None:
        self._alerts.append(alert)
        if not alert.cause:
            self._panes.lose(alert)


class Oracle:
    """Feed it every record of the topic, each partition's in the order of offsets; then `truth`."""

    def __init__(self, partitions: int, order: Order) -> None:
        self._alerts: list[Alert] = []
        self._panes = Panes()
        self._parts = [_Partition(order, self._panes, self._alerts) for _ in range(partitions)]
        self._events = 0

    def feed(self, partition: int, records: Iterable[tuple[int, Event]]) -> None:
        """Take (offset, event) of a partition."""
        part = self._parts[partition]
        for offset, event in records:
            part.feed(offset, event)
            self._events += 1

    def truth(self) -> Truth:
        """Everything that follows from the records."""
        for part in self._parts:
            part.finish()
        customers = sum(len(part.customers) for part in self._parts)
        disordered = {name for part in self._parts for name in part.disordered}
        return Truth(self._alerts, self._panes.counts, min(part.high for part in self._parts), self._events, customers, disordered)

"""Jobs A and B, as every Python engine of the comparison does them and as the Java jobs mirror them. Standard library only.

A, per customer: the last channel, how often it changed, an alert at every third change within ten minutes; a started checkout opens
a deadline of 30 minutes, any later event moves it, a purchase closes it, and a deadline that passes is an alert; an alert carries
the customer's changes so far and contacts of the last seven days.

B, per 10 s of event time, segment and channel: events, channel changes, checkouts opened, closed by a purchase, and abandoned (at the
deadline). What is counted of a checkout is counted under segment and channel of the event that opened it.

A deadline at or before an event comes before it. Event times are at most `DISORDER_MS` behind the newest of their partition.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DISORDER_MS: Final = 5_000
DEADLINE_MS: Final = 30 * 60_000
BURST: Final = 3
BURST_WITHIN_MS: Final = 10 * 60_000
CONTACTS_WITHIN_MS: Final = 7 * 86_400_000
PANE_MS: Final = 10_000

ABANDONED: Final = "abandoned"
SWITCHED: Final = "switched"
CHECKOUT: Final = "checkout.started"
PURCHASE: Final = "order.completed"
CONTACT: Final = "contact.started"

# Counters of a pane, by place.
EVENTS, SWITCHES, OPENED, CLOSED, LOST = range(5)
COUNTERS: Final = 5


class Alert(NamedTuple):
    """What A tells. time: of the event or of the deadline; cause: id of the event, empty for a deadline."""

    kind: str
    customer_id: str
    time: int
    segment: str
    channel: str
    switches: int
    contacts: int
    cause: str


class Customer:
    """What A keeps. armed: whether a timer for the deadline is set somewhere (a moved deadline moves no timer)."""

    __slots__ = ("armed", "channel", "checkout_channel", "contacts", "deadline", "open", "recent", "segment", "switches")

    def __init__(self) -> None:
        self.channel = ""
        self.switches = 0
        self.recent: list[int] = []
        self.open = False
        self.armed = False
        self.deadline = 0
        self.segment = ""
        self.checkout_channel = ""
        self.contacts: list[int] = []

    def packed(self) -> list[Any]:
        """Everything as JSON types, for engines that keep those."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def unpacked(cls, packed: list[Any]) -> Customer:
        """The inverse of `packed`."""
        customer = cls()
        for name, value in zip(cls.__slots__, packed, strict=True):
            setattr(customer, name, value)
        return customer

    def contacts_at(self, time: int) -> int:
        """Contacts within the last seven days."""
        after = time - CONTACTS_WITHIN_MS
        return sum(1 for contact in self.contacts if contact > after)

    def abandon(self, customer_id: str) -> Alert:
        """The deadline of the open checkout has passed."""
        self.open = False
        at = self.deadline
        return Alert(ABANDONED, customer_id, at, self.segment, self.checkout_channel, self.switches, self.contacts_at(at), "")

    def step(
        self, customer_id: str, event_id: str, channel: str, kind: str, segment: str, time: int, alerts: list[Alert]
    ) -> tuple[int, int, int]:
        """Apply one event, appending what it makes known; returns (switched, opened, closed)."""
        if self.open and time >= self.deadline:
            alerts.append(self.abandon(customer_id))
        switched = opened = closed = 0
        if self.channel and self.channel != channel:
            switched = 1
            self._switch(customer_id, event_id, channel, segment, time, alerts)
        self.channel = channel
        if self.open and self.deadline < time + DEADLINE_MS:
            self.deadline = time + DEADLINE_MS
        if kind == CHECKOUT:
            if not self.open:
                opened = 1
                self.open, self.deadline, self.segment, self.checkout_channel = True, time + DEADLINE_MS, segment, channel
        elif kind == PURCHASE:
            if self.open:
                closed = 1
                self.open = False
        elif kind == CONTACT:
            self.contacts = [contact for contact in self.contacts if contact > time - CONTACTS_WITHIN_MS]
            self.contacts.append(time)
        return switched, opened, closed

    def _switch(self, customer_id: str, event_id: str, channel: str, segment: str, time: int, alerts: list[Alert]) -> None:
        self.switches += 1
        after = time - BURST_WITHIN_MS
        recent = [switch for switch in self.recent if switch > after]
        recent.append(time)
        if len(recent) >= BURST:
            alerts.append(Alert(SWITCHED, customer_id, time, segment, channel, self.switches, self.contacts_at(time), event_id))
            recent = []
        self.recent = recent


class Timers:
    """Deadlines of one partition's customers, for engines without timers of their own."""

    def __init__(self, customers: dict[str, Customer]) -> None:
        self._customers = customers
        self._heap: list[tuple[int, str]] = []

    def arm(self, customer_id: str, customer: Customer) -> None:
        """Call it after an event that left the customer's checkout open."""
        if not customer.armed:
            customer.armed = True
            heappush(self._heap, (customer.deadline, customer_id))

    def due(self, until: int) -> Iterator[Alert]:
        """Abandon what is due."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            customer_id = heappop(heap)[1]
            customer = self._customers[customer_id]
            if customer.open and customer.deadline > until:
                heappush(heap, (customer.deadline, customer_id))
                continue
            customer.armed = False
            if customer.open:
                yield customer.abandon(customer_id)


class Panes:
    """B's counters of one partition (or of all)."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, str, str], list[int]] = {}
        self._closed = 0

    def add(self, time: int, segment: str, channel: str, done: tuple[int, int, int], customer: Customer) -> None:
        """Count an event: what `step` has returned for it, and whose it was."""
        switched, opened, closed = done
        counts = self._at(time, segment, channel)
        counts[EVENTS] += 1
        counts[SWITCHES] += switched
        counts[OPENED] += opened
        if closed:
            self._at(time, customer.segment, customer.checkout_channel)[CLOSED] += 1

    def lose(self, alert: Alert) -> None:
        """Count an abandoned checkout."""
        self._at(alert.time, alert.segment, alert.channel)[LOST] += 1

    def _at(self, time: int, segment: str, channel: str) -> list[int]:
        key = (time // PANE_MS, segment, channel)
        counts = self.counts.get(key)
        if counts is None:
            counts = self.counts[key] = [0] * COUNTERS
        return counts

    def close(self, until: int) -> Iterator[dict[str, Any]]:
        """Take the panes that end at or before `until`, each as a record for the output topic."""
        end = until // PANE_MS
        if end > self._closed:
            self._closed = end
            for key in [key for key in self.counts if key[0] < end]:
                yield pane_record(key, self.counts.pop(key))


def pane_record(key: tuple[int, str, str], counts: list[int]) -> dict[str, Any]:
    """A pane as every engine writes it."""
    return {"pane": key[0], "segment": key[1], "channel": key[2], "counts": counts}

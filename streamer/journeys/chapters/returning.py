"""When customers come back: who slips out of the rhythm of his orders (F2), who orders again within a year or in the next period (B6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.exemplars import cause_in, evidence, kept_cause
from streamer.journeys.state import NEVER
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.journeys.cells import Cell, Cells
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

_ORDERED: Final = int(Counter.CUSTOMERS_ORDERED)
_PERIODS: Final = int(Counter.CUSTOMERS_PERIODS)
_RETAINED: Final = int(Counter.CUSTOMERS_RETAINED)
_REPEATED: Final = int(Counter.CUSTOMERS_REPEATED)
_SLIPPED: Final = int(Counter.CUSTOMERS_SLIPPED)
# Of a customer's latest orders: how many gaps between them are kept, and how many it takes to know his rhythm.
GAPS_MAX: Final = 10
GAPS_MIN: Final = 3


def patience(gaps: list[int]) -> int:
    """Twice the median, 0 of too few."""
    if len(gaps) < GAPS_MIN:
        return 0
    middle = len(gaps) // 2
    ordered = sorted(gaps)
    return ordered[middle] + ordered[middle if len(gaps) % 2 else middle - 1]


class Rhythm:
    """In the data of the chapter: `gaps` between the latest orders, in milliseconds; `slips`: [when it will be too long since the
    latest one, its packed cell, and the event, if it is wanted as evidence]; `slipping`, if it is. All of it goes with the customer.
    """

    def __init__(self, cells: Cells, evidenced: bytes, customer_for_ms: int) -> None:
        self._cells = cells
        self._keeps_events = bool(evidenced[_SLIPPED])
        self._customer_for_ms = customer_for_ms

    def ordered(self, data: dict[str, Any], event: Touchpoint, cell: Cell) -> None:
        """Another order; `last` is still that of the one before."""
        if "last" not in data:
            return
        gaps: list[int] = data.setdefault("gaps", [])
        gaps.append(event.time - data["last"])
        del gaps[:-GAPS_MAX]
        data.pop("slipping", None)
        data.pop("slips", None)
        if 0 < (within := patience(gaps)) < self._customer_for_ms:
            data["slips"] = [event.time + within, cell.packed, *evidence(event, wanted=self._keeps_events)]

    def next_due(self, data: dict[str, Any]) -> int:
        """When the customer slips, or NEVER."""
        due: int = data["slips"][0] if "slips" in data else NEVER
        return due

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """Perhaps it is too long since the latest order now."""
        if self.next_due(data) > due:
            return
        at, packed, *cause = data.pop("slips")
        data["slipping"] = True
        sink.at_deadline(cause_in(cause))
        sink.count(_SLIPPED, self._cells.unpack(packed), at)

    def forget(self, data: dict[str, Any]) -> None:
        """The customer is a new one from here on."""
        for name in ("gaps", "slips", "slipping"):
            data.pop(name, None)


class Retention:
    """In the data of the chapter: `since`, the customer's first order; and of each period with an order whose next one is not over,
    `periods`: [`since`, when the next one is over, the packed cell of the period's first order, whether he has ordered in the next one,
    and that first order, if it is wanted as evidence], the oldest first.
    """

    def __init__(self, cells: Cells, evidenced: bytes, period_ms: int) -> None:
        self._cells = cells
        self._keeps_events = bool(evidenced[_PERIODS] or evidenced[_RETAINED])
        self._period_ms = period_ms

    def ordered(self, data: dict[str, Any], event: Touchpoint, cell: Cell) -> None:
        """An order, which stays one when it is cancelled."""
        since: int = data.setdefault("since", event.time)
        over = since + ((event.time - since) // self._period_ms + 2) * self._period_ms
        periods: list[list[Any]] = data.setdefault("periods", [])
        latest = periods[-1][:2] if periods else None
        if latest == [since, over]:
            return
        if latest == [since, over - self._period_ms]:
            periods[-1][3] = True
        periods.append([since, over, cell.packed, False, *evidence(event, wanted=self._keeps_events)])

    def next_due(self, data: dict[str, Any]) -> int:
        """When the period after one with an order is over, or NEVER."""
        due: int = data["periods"][0][1] if "periods" in data else NEVER
        return due

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """Count the customer for each period whose next one is over."""
        periods: list[list[Any]] = data.get("periods", [])
        while periods and periods[0][1] <= due:
            _, over, packed, retained, *cause = periods.pop(0)
            cell = self._cells.unpack(packed)
            sink.at_deadline(cause_in(cause))
            sink.count(_PERIODS, cell, over)
            if retained:
                sink.count(_RETAINED, cell, over)
        if not periods:
            data.pop("periods", None)

    def forget(self, data: dict[str, Any]) -> None:
        """The customer is a new one from here on; what his periods have still to tell stays."""
        data.pop("since", None)


class Repeaters:
    """Each customer counts once, where his latest order that stands counts; another order, or a cancel, takes him there from where he was.

    In the data of the chapter: `settled`: the latest two of the orders that stand and can no longer be cancelled; it is there as soon as
    the customer is counted, which he is not in a row of an older build.
    """

    def __init__(self, cells: Cells, evidenced: bytes, repeat_within_ms: int) -> None:
        self._cells = cells
        self.keeps_events = bool(evidenced[_ORDERED] or evidenced[_REPEATED])
        self._repeat_within_ms = repeat_within_ms

    def latest(self, data: Mapping[str, Any]) -> list[list[Any]]:
        """[time, packed cell, event or None] of up to two orders, where the customer is counted."""
        if "settled" not in data:
            return []
        standing = [order for order in data.get("orders", ()) if not order["gone"]]
        return [*data["settled"], *(_place_of(order) for order in standing[-2:])][-2:]

    def settle(self, data: dict[str, Any], order: Mapping[str, Any]) -> None:
        """The oldest order is not kept any more."""
        if "settled" in data and not order["gone"]:
            data["settled"] = [*data["settled"], _place_of(order)][-2:]

    def moved(self, data: dict[str, Any], before: list[list[Any]], sink: Sink) -> None:
        """Count the customer where his latest orders are now, and not where they were before."""
        data.setdefault("settled", [])
        after = self.latest(data)
        if after != before:
            self._count(before, -1, sink)
            self._count(after, 1, sink)

    def _count(self, orders: list[list[Any]], n: int, sink: Sink) -> None:
        if not orders:
            return
        at, packed, cause = orders[-1]
        cell = self._cells.unpack(packed)
        sink.count_for(kept_cause(cause), _ORDERED, cell, at, n)
        if len(orders) > 1 and at - orders[0][0] < self._repeat_within_ms:
            sink.count_for(kept_cause(cause), _REPEATED, cell, at, n)


def _place_of(order: Mapping[str, Any]) -> list[Any]:
    return [order["at"], order["cell"], order.get("cause")]

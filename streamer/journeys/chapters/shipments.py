"""Shipments and their targets (O1, O2), for the chapter `operations`.

What is promised with an order is told of each of its shipments; an order of which nobody has told any shipment yet stands for one.
Each target of a shipment is settled once, at the first moment that is past it: only then the shipment was due, in the pane of that target.
If it was there by the target, even if that is told later, it was on time, in the same pane; so on time <= due in every window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.exemplars import kept_cause
from streamer.journeys.state import NEVER, packed_cause_of
from streamer.metrics.chapters import operations
from streamer.metrics.counters import Counter
from streamer.touchpoints.details import Details

if TYPE_CHECKING:
    from streamer.chapter_settings import Operations
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

_SHIPMENTS: Final = int(Counter.SHIPMENTS)
_EXPEDITED: Final = int(Counter.SHIPMENTS_EXPEDITED)
_EXPEDITED_BY: Final = {"customer": int(Counter.SHIPMENTS_EXPEDITED_CUSTOMER), "company": int(Counter.SHIPMENTS_EXPEDITED_COMPANY)}
_TARGETS: Final = {target: (int(due), int(on_time)) for target, (due, on_time) in operations.TARGETS.items()}
_NO_DETAILS: Final = Details()

# A shipment: `begun`, `last` (times of its first and latest event), `cell`, `order`, `targets` (name -> [time, settled], and the cell of
# its order if that was late before), and as far as it is so `there` (when), `cancelled`, `expedited`, `cause` (the latest event, if it is
# wanted as evidence of a target that has passed).
Shipment = dict[str, Any]
# What is promised with an order: `last`, `cell`, `targets` and `cause` as of a shipment, and `taken` once a shipment names the order.
Order = dict[str, Any]


class ShipmentFold:
    """Folds what is told of shipments and orders. data: `shipments`: key -> shipment, `orders`: order id -> what was promised with it."""

    def __init__(self, settings: Operations, cells: Cells, evidenced: bytes) -> None:
        self._keeps_cause = any(evidenced[due] for due, _ in _TARGETS.values())
        self._cells = cells
        self._keep_for = int(settings.keep_for)
        self._limit = int(settings.shipments_per_customer)
        self._shipped_is_enough = settings.on_time == "shipped"
        self._target: str = settings.target

    def apply(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        """Fold a shipment event."""
        details = event.details or _NO_DETAILS
        shipments: dict[str, Shipment] = data.setdefault("shipments", {})
        if not details.shipment_id and not event.order_id:
            sink.note("shipment_without_id")
            return
        key = "s:" + details.shipment_id if details.shipment_id else "o:" + event.order_id
        shipment = shipments.get(key)
        if shipment is None:
            shipment = shipments[key] = self._begin(shipments, event, sink)
        shipment["last"] = event.time
        if self._keeps_cause:
            shipment["cause"] = packed_cause_of(event)
        if "cancelled" in shipment:
            return
        if not shipment["order"] and event.order_id:
            shipment["order"] = event.order_id
            self._inherit(shipment, data.get("orders", {}).get(event.order_id), sink)
        self._expedite(shipment, details, sink)
        self._set_targets(shipment["targets"], event.time, details)
        self._arrive(shipment, event, details, sink)
        # What is told of a target that has passed is settled at once.
        self._settle(shipment, event.time, sink)

    def promise(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> bool:
        """Fold an event of an order; False if it promises nothing."""
        details, order_id = event.details or _NO_DETAILS, event.order_id
        if not order_id or not any(self._is_target(told, event.time) for _, told in _told(details)):
            return False
        orders: dict[str, Order] = data.setdefault("orders", {})
        order = orders.get(order_id)
        if order is None:
            if len(orders) >= self._limit:
                del orders[min(orders, key=lambda key: ("taken" not in orders[key], orders[key]["last"], key))]
                sink.note("cut_shipments")
            order = orders[order_id] = {"cell": self._cells.own(event).packed, "targets": {}}
        order["last"] = event.time
        if self._keeps_cause:
            order["cause"] = packed_cause_of(event)
        self._set_targets(order["targets"], event.time, details)
        for shipment in data.get("shipments", {}).values():
            if shipment["order"] == order_id:
                order["taken"] = True
                if "cancelled" not in shipment:
                    self._set_targets(shipment["targets"], event.time, details)
                    self._settle(shipment, event.time, sink)
        if "taken" not in order:
            self._settle(order, event.time, sink)
        return True

    def _inherit(self, shipment: Shipment, order: Order | None, sink: Sink) -> None:
        """The shipment is of this order: what was promised with it is told of the shipment, as far as nothing else was told of that yet.

        What the order has been late for is not counted again of its first shipment, which stands for it from now on.
        """
        if order is None:
            return
        stands_for_it = "taken" not in order
        order["taken"] = True
        for name, (time, settled, *_) in order["targets"].items():
            if name in shipment["targets"]:
                continue
            shipment["targets"][name] = [time, True, order["cell"]] if settled and stands_for_it else [time, False]
            if settled and stands_for_it and shipment.get("there", NEVER) <= time:
                sink.count(_TARGETS[name][1], self._cells.unpack(order["cell"]), time)

    def cancel(self, data: dict[str, Any], order_id: str) -> None:
        """The order is cancelled: what is not there yet will not be due any more."""
        data.get("orders", {}).pop(order_id, None)
        for shipment in data.get("shipments", {}).values():
            if order_id and shipment["order"] == order_id and "there" not in shipment:
                shipment["cancelled"] = True

    def _begin(self, shipments: dict[str, Shipment], event: Touchpoint, sink: Sink) -> Shipment:
        if len(shipments) >= self._limit:
            del shipments[min(shipments, key=lambda key: (_is_open(shipments[key]), shipments[key]["last"], key))]
            sink.note("cut_shipments")
        cell = self._cells.own(event)
        sink.count(_SHIPMENTS, cell, event.time)
        return {"begun": event.time, "last": event.time, "cell": cell.packed, "order": "", "targets": {}}

    def _expedite(self, shipment: Shipment, details: Details, sink: Sink) -> None:
        if details.service != "expedited" or "expedited" in shipment:
            return
        shipment["expedited"] = True
        cell, begun = self._cells.unpack(shipment["cell"]), shipment["begun"]
        sink.count(_EXPEDITED, cell, begun)
        by = _EXPEDITED_BY.get(details.requested_by)
        if by is not None:
            sink.count(by, cell, begun)

    def _is_target(self, told: int | None, time: int) -> bool:
        return told is not None and time - self._keep_for < told < time + self._keep_for

    def _set_targets(self, targets: dict[str, list[Any]], time: int, details: Details) -> None:
        for name, told in _told(details):
            if not self._is_target(told, time):
                continue
            known = targets.get(name)
            if known is None:
                targets[name] = [told, False]
            elif known[0] >= time and name != "promised":
                known[0] = told

    def _arrive(self, shipment: Shipment, event: Touchpoint, details: Details, sink: Sink) -> None:
        """It is there, in the sense of the definitions. The first event that says so counts; it cannot say more than until itself."""
        arrives = event.type == "shipment.delivered" or (self._shipped_is_enough and event.type == "shipment.shipped")
        if "there" in shipment or not arrives:
            return
        told = details.shipped_ms if self._shipped_is_enough else details.delivered_ms
        there = event.time if told is None else min(told, event.time)
        shipment["there"] = there
        for name, target in shipment["targets"].items():
            if target[1] and there <= target[0]:  # it was on time after all
                sink.count(_TARGETS[name][1], self._cells.unpack(target[2] if len(target) > 2 else shipment["cell"]), target[0])

    def _settle(self, shipment: Shipment | Order, now: int, sink: Sink) -> None:
        """Count the targets that are past."""
        for name, target in shipment["targets"].items():
            if target[1] or target[0] >= now:
                continue
            target[1] = True
            cell = self._cells.unpack(shipment["cell"])
            sink.count(_TARGETS[name][0], cell, target[0])
            if "there" in shipment and shipment["there"] <= target[0]:
                sink.count(_TARGETS[name][1], cell, target[0])

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """Settle what is past at `due`, and forget what has had no event for long."""
        for things in (data.get("shipments", {}), data.get("orders", {})):
            for key, thing in list(things.items()):
                if _can_be_late(thing):
                    sink.at_deadline(kept_cause(thing.get("cause")))
                    self._settle(thing, due, sink)
                if thing["last"] + self._keep_for <= due:
                    del things[key]

    def next_due(self, data: dict[str, Any]) -> int:
        """When to `fire` next: a target is past one millisecond after it, so that what is there at that very moment is on time."""
        due = NEVER
        for thing in _all_of(data):
            due = min(due, thing["last"] + self._keep_for)
            if _can_be_late(thing):
                for target in thing["targets"].values():
                    if not target[1]:
                        due = min(due, target[0] + 1)
        return due

    def overdue(self, data: dict[str, Any]) -> int:
        """How many are past the target that the definitions look at, and not there."""
        found = 0
        for thing in _all_of(data):
            target = thing["targets"].get(self._target)
            if target is not None and target[1] and "there" not in thing and _can_be_late(thing):
                found += 1
        return found


def _told(details: Details) -> tuple[tuple[str, int | None], ...]:
    return ("requested", details.requested_ms), ("promised", details.promised_ms), ("committed", details.committed_ms)


def _all_of(data: dict[str, Any]) -> list[Shipment | Order]:
    return [*data.get("shipments", {}).values(), *data.get("orders", {}).values()]


def _can_be_late(thing: Shipment | Order) -> bool:
    """Not of an order whose shipments are known, which are late or not, each by itself."""
    return "cancelled" not in thing and "taken" not in thing


def _is_open(shipment: Shipment) -> bool:
    return "cancelled" not in shipment and ("there" not in shipment or not all(target[1] for target in shipment["targets"].values()))

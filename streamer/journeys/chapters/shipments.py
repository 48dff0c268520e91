"""Shipments and their targets (O1, O2), for the chapter `operations`.

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

# A shipment: `begun`, `last` (times of its first and latest event), `cell`, `order`, `targets` (name -> [time, settled]), and as far as it
# is so `there` (when), `cancelled`, `expedited`, `cause` (the latest event, if it is wanted as evidence of a target that has passed).
Shipment = dict[str, Any]


class ShipmentFold:
    """Folds shipment events into the shipments of a customer, by key."""

    def __init__(self, settings: Operations, cells: Cells, evidenced: bytes) -> None:
        self._keeps_cause = any(evidenced[due] for due, _ in _TARGETS.values())
        self._cells = cells
        self._keep_for = int(settings.keep_for)
        self._limit = int(settings.shipments_per_customer)
        self._shipped_is_enough = settings.on_time == "shipped"
        self._target: str = settings.target

    def apply(self, shipments: dict[str, Shipment], event: Touchpoint, sink: Sink) -> None:
        """Fold a shipment event."""
        details = event.details or _NO_DETAILS
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
        if not shipment["order"]:
            shipment["order"] = event.order_id
        self._expedite(shipment, details, sink)
        self._set_targets(shipment, event.time, details)
        self._arrive(shipment, event, details, sink)
        # What is told of a target that has passed is settled at once.
        self._settle(shipment, event.time, sink)

    def cancel(self, shipments: dict[str, Shipment], order_id: str) -> None:
        """The order is cancelled: what is not there yet will not be due any more."""
        for shipment in shipments.values():
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

    def _set_targets(self, shipment: Shipment, time: int, details: Details) -> None:
        for name, told in (("requested", details.requested_ms), ("promised", details.promised_ms), ("committed", details.committed_ms)):
            if told is None or not time - self._keep_for < told < time + self._keep_for:
                continue
            known = shipment["targets"].get(name)
            if known is None:
                shipment["targets"][name] = [told, False]
            elif not known[1] and name != "promised":
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
                sink.count(_TARGETS[name][1], self._cells.unpack(shipment["cell"]), target[0])

    def _settle(self, shipment: Shipment, now: int, sink: Sink) -> None:
        """Count the targets that are past."""
        for name, target in shipment["targets"].items():
            if target[1] or target[0] >= now:
                continue
            target[1] = True
            cell = self._cells.unpack(shipment["cell"])
            sink.count(_TARGETS[name][0], cell, target[0])
            if "there" in shipment and shipment["there"] <= target[0]:
                sink.count(_TARGETS[name][1], cell, target[0])

    def fire(self, shipments: dict[str, Shipment], due: int, sink: Sink) -> None:
        """Settle what is past at `due`, and forget what has had no event for long."""
        for key, shipment in list(shipments.items()):
            if "cancelled" not in shipment:
                sink.at_deadline(kept_cause(shipment.get("cause")))
                self._settle(shipment, due, sink)
            if shipment["last"] + self._keep_for <= due:
                del shipments[key]

    def next_due(self, shipments: dict[str, Shipment]) -> int:
        """When to `fire` next: a target is past one millisecond after it, so that what is there at that very moment is on time."""
        due = NEVER
        for shipment in shipments.values():
            due = min(due, shipment["last"] + self._keep_for)
            if "cancelled" not in shipment:
                for target in shipment["targets"].values():
                    if not target[1]:
                        due = min(due, target[0] + 1)
        return due

    def overdue(self, shipments: dict[str, Shipment]) -> int:
        """How many are past the target that the definitions look at, and not there."""
        found = 0
        for shipment in shipments.values():
            target = shipment["targets"].get(self._target)
            if target is not None and target[1] and "there" not in shipment and "cancelled" not in shipment:
                found += 1
        return found


def _is_open(shipment: Shipment) -> bool:
    return "cancelled" not in shipment and ("there" not in shipment or not all(target[1] for target in shipment["targets"].values()))

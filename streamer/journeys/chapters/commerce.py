"""Orders (B3, B4, B6, B9, B10, F1, F2): counted when they are made, taken back where they were counted when they are cancelled.

The ladder of orders is decided for each order at its horizon and by what stands then: neither a customer observed too short nor an order
taken back counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.chapters.amounts import attached_to, changes_of, hundredths
from streamer.journeys.chapters.returning import Repeaters, Retention, Rhythm
from streamer.journeys.exemplars import kept_cause
from streamer.journeys.state import NEVER, packed_cause_of
from streamer.metrics.chapters import commerce, value
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cell, Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_APART: Final = int(Counter.ORDERS_APART)
_CANCELLED: Final = int(Counter.ORDERS_CANCELLED)
_REFUNDED: Final = int(Counter.REFUNDED)
_SHOWN: Final = int(Counter.UPGRADES_SHOWN)
_ACCEPTED: Final = int(Counter.UPGRADES_ACCEPTED)
_BASES: Final = int(Counter.ATTACH_BASES)
_ATTACHED: Final = int(Counter.ATTACHED)
_REPEATED: Final = int(Counter.ORDERS_REPEATED)
_REFERRAL: Final = int(Counter.REFERRAL_ORDERS)
_SENT: Final = int(Counter.REFERRALS_SENT)
_CONVERTED: Final = int(Counter.REFERRALS_CONVERTED)
# What an order counts for each level of value on which its journeys have been touched, by what it counts anyway.
_OF_LEVEL: Final = {
    int(Counter.ORDERS_PLAIN): int(Counter.LEVEL_ORDERS), int(Counter.ORDERS_CROSS_SOLD): int(Counter.LEVEL_ORDERS),
    _REFERRAL: int(Counter.LEVEL_REFERRAL_ORDERS), int(Counter.PRICE_PREMIUM): int(Counter.LEVEL_PRICE_PREMIUM),
    int(Counter.PRICE_REFERENCE): int(Counter.LEVEL_PRICE_REFERENCE),
}  # fmt: skip
_LADDER: Final = {number: (int(due), int(made)) for number, (due, made) in commerce.LADDER.items()}
# Refunds of one order that a cancel can take back.
REFUNDS_MAX: Final = 20
# Of an order that is counted apart.
_NO_AMOUNT: Final = -1

# What is kept of an order: `id`, `at`, `cell`, `amount` in hundredths, `number` among the customer's orders that stand, `counted` (counter,
# n, ...), `bases` [category, attached], `refunds` [time, amount, cell], `gone` if cancelled, `decided` after the horizon, the
# `levels` of value of its journeys, if any, and the `cause`, if the event is wanted as evidence.
_Order = dict[str, Any]


class Commerce(Chapter):
    """data: `orders` in event order; `offers`: [id, time, cell, accepted]; and of the customer `standing` (orders), `value`
    (hundredths), `last` (time of the latest order); and what `Rhythm`, `Retention` and `Repeaters` keep.
    """

    id = "commerce"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.commerce
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("order.completed", "order.cancelled", "order.refunded", "offer.presented", "offer.accepted", "referral.*")
        self._currency = settings.currency
        self._largest = settings.largest_order * commerce.HUNDREDTHS
        self._margin_share = float(settings.margin_share)
        self._horizon, self._correct_within = int(settings.horizon), int(settings.correct_within)
        self._customer_for, self._offer_within = int(settings.customer_for), int(settings.offer_within)
        self._orders_limit, self._offers_limit = settings.orders_per_customer, settings.offers_per_customer
        self._rhythm = Rhythm(cells, self.evidenced, self._customer_for)
        self._retention = Retention(cells, self.evidenced, int(settings.retention_period))
        self._repeaters = Repeaters(cells, self.evidenced, int(settings.repeat_within))
        self._attach = {base: frozenset(others) for base, others in settings.attach.items()}

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Count an order, a correction of one, an offer or a referral."""
        kind = event.type
        if kind == "order.completed":
            self._completed(kept.data, event, sink)
        elif kind == "order.cancelled":
            self._cancelled(kept.data, event, sink)
        elif kind == "order.refunded":
            self._refunded(kept.data, event, sink)
        elif kind == "offer.presented":
            self._presented(kept.data, event, sink)
        elif kind == "offer.accepted":
            self._accepted(kept.data, event, sink)
        elif kind == "referral.sent":
            sink.count(_SENT, self.cells.own(event), event.time)
        elif kind == "referral.converted":
            sink.count(_CONVERTED, self.cells.own(event), event.time)
        self.set_due(kept)
        return 0

    def _completed(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        if _order_of(data, event) is not None:
            sink.note("order_repeated")
            return
        before = self._repeaters.latest(data)
        orders: list[_Order] = data.setdefault("orders", [])
        standing: int = data.get("standing", 0)
        amount = self._amount(event)
        counted: list[int] = [_APART, 1]
        bases: list[list[object]] = []
        if amount == _NO_AMOUNT:
            sink.note("order_apart")
        else:
            counted = changes_of(amount, event, self._largest)
            bases = attached_to(event, self._attach)
            if standing:
                counted += [_REPEATED, 1]
            if event.details is not None and event.details.acquisition_source == commerce.REFERRAL:
                counted += [_REFERRAL, 1]
        if len(orders) >= self._orders_limit:
            self._repeaters.settle(data, orders.pop(0))
            sink.note("cut_orders")
        cell = self.cells.own(event)
        order: _Order = {
            "id": event.order_id, "at": event.time, "cell": cell.packed, "amount": amount,
            "number": standing + 1, "counted": counted, "bases": bases, "refunds": [], "gone": False, "decided": False,
        }  # fmt: skip
        orders.append(order)
        if sink.levels:
            order["levels"] = [level for bit, level in enumerate(value.LEVELS) if sink.levels >> bit & 1]
        wanted = (*counted[::2], *(_OF_LEVEL.get(counter, counter) for counter in counted[::2]))
        if self._repeaters.keeps_events or any(self.evidenced[counter] for counter in wanted):
            order["cause"] = packed_cause_of(event)
        self._count(order, sink.count)
        self._repeaters.moved(data, before, sink)
        self._rhythm.ordered(data, event, cell)
        self._retention.ordered(data, event, cell)
        data["standing"], data["last"] = standing + 1, event.time
        data["value"] = data.get("value", 0) + max(amount, 0)

    def _amount(self, event: Touchpoint) -> int:
        """The event's revenue in hundredths of the reporting currency's unit, or `_NO_AMOUNT` if it is not to be summed."""
        if event.revenue_minor is None or event.revenue_minor < 0 or (event.currency and event.currency != self._currency):
            return _NO_AMOUNT
        amount = hundredths(event.revenue_minor, event.currency)
        return amount if amount <= self._largest else _NO_AMOUNT

    def _count(self, order: _Order, count: Callable[[int, Cell, int, int], None]) -> None:
        cell, at, counted = self.cells.unpack(order["cell"]), order["at"], order["counted"]
        for place in range(0, len(counted), 2):
            count(counted[place], cell, at, counted[place + 1])
        for base, attached in order["bases"]:
            of_base = self.cells.with_value(cell, "product_category", base)
            count(_BASES, of_base, at, 1)
            if attached:
                count(_ATTACHED, of_base, at, 1)
        for level in order.get("levels", ()):
            of_level = self.cells.with_value(cell, "cause", level)
            for place in range(0, len(counted), 2):
                if counted[place] in _OF_LEVEL:
                    count(_OF_LEVEL[counted[place]], of_level, at, counted[place + 1])

    def _cancelled(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        order = _order_of(data, event)
        if order is None or order["gone"]:
            sink.note("order_unknown")
            return
        before = self._repeaters.latest(data)
        order["gone"] = True
        self._repeaters.moved(data, before, sink)
        sink.cause = kept_cause(order.get("cause"))
        self._count(order, sink.count_back)
        sink.count(_CANCELLED, self.cells.unpack(order["cell"]), order["at"])
        for at, amount, packed in order["refunds"]:
            sink.count(_REFUNDED, self.cells.unpack(packed), at, amount)
        data["standing"] -= 1
        data["value"] -= max(order["amount"], 0) - sum(refund[1] for refund in order["refunds"])
        order["refunds"] = []
        orders: list[_Order] = data["orders"]
        for later in orders[orders.index(order) + 1 :]:
            later["number"] -= 1

    def _refunded(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        order = _order_of(data, event)
        if order is not None and order["gone"]:
            sink.note("refund_of_cancelled")
            return
        amount = self._refund(event, order)
        if amount == _NO_AMOUNT:
            sink.note("refund_apart")
            return
        cell = self.cells.own(event)
        sink.count(_REFUNDED, cell, event.time, -amount)
        if order is None:
            return
        data["value"] -= amount
        if len(order["refunds"]) < REFUNDS_MAX:
            order["refunds"].append([event.time, amount, cell.packed])
        else:
            sink.note("cut_refunds")

    def _refund(self, event: Touchpoint, order: _Order | None) -> int:
        """How much is given back: what the event says, with either sign, else what is left; nothing of an order that was not counted."""
        if order is not None and order["amount"] == _NO_AMOUNT:
            return _NO_AMOUNT
        if event.revenue_minor is None:
            if order is None:
                return _NO_AMOUNT
            left: int = order["amount"] - sum(refund[1] for refund in order["refunds"])
            return max(left, 0)
        if event.currency and event.currency != self._currency:
            return _NO_AMOUNT
        amount = hundredths(abs(event.revenue_minor), event.currency)
        return amount if amount <= self._largest else _NO_AMOUNT

    def _presented(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        details = event.details
        if details is None or details.offer_kind != commerce.UPGRADE:
            return
        if _offer_of(data, details.offer_id) is not None:
            sink.note("offer_repeated")
            return
        cell = self.cells.own(event)
        sink.count(_SHOWN, cell, event.time)
        if not details.offer_id:
            return
        offers: list[list[Any]] = data.setdefault("offers", [])
        if len(offers) >= self._offers_limit:
            del offers[0]
            sink.note("cut_offers")
        offers.append([details.offer_id, event.time, cell.packed, False])

    def _accepted(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        offer = None if event.details is None else _offer_of(data, event.details.offer_id)
        if offer is None or offer[3]:
            sink.note("offer_unknown")
            return
        offer[3] = True
        sink.count(_ACCEPTED, self.cells.unpack(offer[2]), offer[1])

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        due = kept.data["last"] + self._customer_for if "last" in kept.data else NEVER
        for order in kept.data.get("orders", ()):
            due = min(due, order["at"] + (self._correct_within if order["decided"] else self._horizon))
        for offer in kept.data.get("offers", ()):
            due = min(due, offer[1] + self._offer_within)
        kept.due = min(due, self._rhythm.next_due(kept.data), self._retention.next_due(kept.data))

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Horizons are over, and customers slip; and forget what can no longer be corrected, accepted or repeated."""
        data = kept.data
        orders: list[_Order] = data.get("orders", [])
        for place, order in enumerate(orders):
            if not order["decided"] and order["at"] + self._horizon <= due:
                self._decide(order, sink, followed=any(not later["gone"] for later in orders[place + 1 :]))
        for order in orders:
            if order["at"] + self._correct_within <= due:
                self._repeaters.settle(data, order)
        data["orders"] = [order for order in orders if order["at"] + self._correct_within > due]
        data["offers"] = [offer for offer in data.get("offers", ()) if offer[1] + self._offer_within > due]
        for name in ("orders", "offers"):
            if not data[name]:
                del data[name]
        self._rhythm.fire(data, due, sink)
        self._retention.fire(data, due, sink)
        if "last" in data and data["last"] + self._customer_for <= due:
            del data["last"], data["standing"], data["value"]
            self._rhythm.forget(data)
            self._retention.forget(data)
            data.pop("settled", None)
        self.set_due(kept)

    def _decide(self, order: _Order, sink: Sink, *, followed: bool) -> None:
        order["decided"] = True
        counters = _LADDER.get(order["number"])
        if order["gone"] or counters is None:
            return
        cell, horizon = self.cells.unpack(order["cell"]), order["at"] + self._horizon
        sink.count(counters[0], cell, horizon)
        if followed:
            sink.count(counters[1], cell, horizon)

    def signal(self, kept: Kept, name: str) -> Value:
        """`orders`, `lifetime_value`, `slipping`."""
        if name == "slipping":
            return "slipping" in kept.data
        if name == "orders":
            standing: int = kept.data.get("standing", 0)
            return standing
        value: int = kept.data.get("value", 0)
        return value / commerce.HUNDREDTHS * self._margin_share


def _order_of(data: dict[str, Any], event: Touchpoint) -> _Order | None:
    """The order that the event names, if it is known."""
    if event.order_id:
        for order in data.get("orders", ()):
            if order["id"] == event.order_id:
                known: _Order = order
                return known
    return None


def _offer_of(data: dict[str, Any], offer_id: str) -> list[Any] | None:
    if offer_id:
        for offer in data.get("offers", ()):
            if offer[0] == offer_id:
                known: list[Any] = offer
                return known
    return None

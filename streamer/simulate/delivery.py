"""Shipments and their promises, what customers wanted and got, and refunds. The shop delivers on the same day."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.simulate.care import issue
from streamer.simulate.feedback import ask_about_order
from streamer.simulate.life import HOUR, MINUTE
from streamer.simulate.people import person
from streamer.simulate.wares import Line, money

if TYPE_CHECKING:
    from streamer.simulate.life import Life, Origin
    from streamer.simulate.people import Person

LATE_SHARE, LATE_IN_INCIDENT_SHARE = 0.025, 0.90  # of shipments: the promise passes
TOLD_LATE_SHARE, DELAYED_IN_TIME_SHARE = 0.60, 0.01  # of late shipments: told before; of others: a delay that is made up for
EXPEDITED_SHARE, COMPANY_EXPEDITES_SHARE = 0.12, 0.25  # of shipments; of those: at the company's cost
ASK_WHEN_LATE_SHARE, ASK_SHARE = 0.45, 0.02  # of customers: where is my order?
NOTICE_SHARE = 0.80  # of shipments: a message that it is on its way
PREFERENCE_SHARE, SUBSTITUTED_SHARE, DATE_MISSED_SHARE = 0.12, 0.10, 0.15  # of orders; of preferences
REFUND_SHARE = 0.04  # of orders


class Order(NamedTuple):
    """An order that is paid. revenue: cents, of the lines. category: the part of `data` that says it."""

    order_id: str
    lines: tuple[Line, ...]
    revenue: int
    category: str

    def commerce(self, cents: int | None = None) -> str:
        """Its part of `data`, with an amount."""
        amount = money(self.revenue if cents is None else cents)
        return f',"commerce":{{"order_id":"{self.order_id}","currency":"EUR","revenue":"{amount}"}}'


def deliver(life: Life, time_ms: int, who: Person, order: Order) -> None:
    """From the order to the door; and what comes of it."""
    draw = life.draw
    created_ms = time_ms + int(5 * MINUTE + life.exponential(10 * MINUTE))
    if created_ms >= life.end_ms:
        return
    express = draw() < EXPEDITED_SHARE
    promised_ms = created_ms + int((1.5 + draw() * 0.5) * HOUR if express else (3 + draw() * 2) * HOUR)
    late = draw() < (LATE_IN_INCIDENT_SHARE if life.struck("late-shipments", created_ms, {"region": who.region}) else LATE_SHARE)
    if late:
        delivered_ms = promised_ms + int(20 * MINUTE + life.exponential(HOUR))
    else:
        delivered_ms = created_ms + int((promised_ms - created_ms) * (0.4 + draw() * 0.55))
    life.tally["shipments"] += 1
    life.tally["shipments_late"] += late
    service, by = ("express", "company" if draw() < COMPANY_EXPEDITES_SHARE else "customer") if express else ("standard", "customer")
    promise = f'"shipment_id":"{life.name("h")}","requested_at":"{rfc3339(promised_ms)}","promised_at":"{rfc3339(promised_ms)}"'
    _ship(life, (created_ms, promised_ms, delivered_ms), who, order, f'{promise},"service":"{service}","requested_by":"{by}"')
    home = life.origin(who, "email", "prove")
    if draw() < PREFERENCE_SHARE:
        _preference(life, delivered_ms, home, order, late=late)
    asks = draw() < (ASK_WHEN_LATE_SHARE if late else ASK_SHARE)
    wait_ms = life.exponential(40 * MINUTE if late else HOUR) if asks else 0
    if draw() < REFUND_SHARE:
        back = order.lines[0].cents if len(order.lines) > 1 else order.revenue
        refund_ms = delivered_ms + int(HOUR + life.exponential(5 * HOUR))
        life.emit(home, "order.refunded", refund_ms, order.commerce(back) + order.category)
    ask_about_order(life, delivered_ms, who, order.order_id, trouble=late)
    if asks:  # last: an incident at that time, which takes more or less chance, is to change nothing of what came before
        asks_ms = int((promised_ms if late else created_ms) + wait_ms)
        issue(life, asks_ms, person(who.customer), "delivery" if late else "status", journey="delivery")


def _ship(life: Life, times_ms: tuple[int, int, int], who: Person, order: Order, promise: str) -> None:
    """The shipment's events. times_ms: created, promised, delivered."""
    draw, (created_ms, promised_ms, delivered_ms) = life.draw, times_ms
    carrier = life.origin(who, "partner", "prove", ',"journey":"delivery","actor":{"partner":"swift-parcel"}')
    about = f'{order.category},"commerce":{{"order_id":"{order.order_id}"}},"fulfilment":{{{promise}'
    first = f'{about},"committed_at":"{rfc3339(promised_ms)}"'
    life.emit(carrier, "shipment.created", created_ms, f"{first}}}")
    shipped_ms = created_ms + int((min(promised_ms, delivered_ms) - created_ms) * (0.15 + draw() * 0.25))
    shipped = f',"shipped_at":"{rfc3339(shipped_ms)}"'
    life.emit(carrier, "shipment.shipped", shipped_ms, f"{first}{shipped}}}")
    if draw() < NOTICE_SHARE:
        sms = life.origin(who, "sms", "prove", ',"journey":"delivery","actor":{"initiator":"company"}')
        notice = f',"commerce":{{"order_id":"{order.order_id}"}},"message":{{"kind":"status","human":false}}'
        life.emit(sms, "message.sent", shipped_ms + 10_000, notice)
    late = delivered_ms > promised_ms
    if draw() < (TOLD_LATE_SHARE if late else DELAYED_IN_TIME_SHARE):
        told_ms = promised_ms - int(draw() * 0.5 * (promised_ms - shipped_ms))
        first = f'{about},"committed_at":"{rfc3339(max(promised_ms, delivered_ms) + int(draw() * HOUR))}"'
        life.emit(carrier, "shipment.delayed", told_ms if late else min(told_ms, delivered_ms - MINUTE), f"{first}{shipped}}}")
    life.emit(carrier, "shipment.delivered", delivered_ms, f'{first}{shipped},"delivered_at":"{rfc3339(delivered_ms)}"}}')


def _preference(life: Life, time_ms: int, origin: Origin, order: Order, *, late: bool) -> None:
    """What was wanted and what came: the item itself, or the time."""
    draw = life.draw
    if draw() < 0.5:
        wanted, substituted = order.lines[0].product, draw() < SUBSTITUTED_SHARE
        tier = "basic" if substituted and wanted.tier != "basic" else wanted.tier
        told = f'"attribute":"item","ideal":"{wanted.tier}","received":"{tier}","weight":"1"'
    else:
        missed = late or draw() < DATE_MISSED_SHARE
        distance = f"{0.2 + draw() * 0.8:.2f}" if missed else "0"
        told = f'"attribute":"delivery_date","distance":"{distance}","weight":"0.5"'
    what = f'{order.category},"commerce":{{"order_id":"{order.order_id}"}},"value_level":"personal","preference":{{{told}}}'
    life.emit(origin, "preference.stated", time_ms + int(20 * MINUTE + life.exponential(HOUR)), what)

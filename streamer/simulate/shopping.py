"""Carts, offers, checkouts, payments and orders; giving up and coming back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.simulate.delivery import Order, deliver
from streamer.simulate.life import HOUR, MINUTE
from streamer.simulate.people import person
from streamer.simulate.scenario import CHECKOUT_DEADLINE_MS, MOBILE, STEPS
from streamer.simulate.wares import Line, line, money, upgraded

if TYPE_CHECKING:
    from streamer.simulate.browsing import Visit
    from streamer.simulate.life import Life, Origin

CHECKOUT_SHARE = 0.46  # of carts; with the checkouts given up this leaves 67 % of carts without an order (Baymard: about 70 %)
GIVE_UP_SHARE = 0.27  # of checkouts, for no reason anybody can see
FORM_ERROR_SHARE = 0.04  # of steps
PAYMENT_FAILURE_SHARE, GIVE_UP_AFTER_FAILURE_SHARE = 0.05, 0.45  # of payments; of those
OUTAGE_FAILURE_SHARE, OUTAGE_GIVE_UP_SHARE = 0.92, 0.85  # the same during a payment outage
BROKEN_SHARE, BROKEN_GIVE_UP_SHARE = 0.85, 0.75  # of views of a broken step; of those who see its errors
COME_BACK_SHARE = 0.08  # of checkouts given up: completed after the deadline
REMOVE_SHARE, CART_VIEW_SHARE = 0.09, 0.35  # of carts
UPGRADE_OFFER_SHARE, UPGRADE_ACCEPT_SHARE = 0.18, 0.20  # of carts; of offers
ACCESSORY_OFFER_SHARE, ACCESSORY_ACCEPT_SHARE = 0.10, 0.12
UPDATE_SHARE, CANCEL_SHARE = 0.03, 0.025  # of orders
FREE_SHIPPING_FROM, SHIPPING, TAX_DIVISOR = 5_000, 490, 6  # cents; prices include a fifth of tax, a sixth of what is paid

FRICTION_FIELDS: Final = ("postcode", "phone", "card_number", "email")
ACQUIRED_BY: Final = ("organic", "organic", "paid_search", "email", "direct", "direct", "social", "referral")


class Checkout(NamedTuple):
    """One checkout. commerce: its part of `data`, which ends before the closing brace; revenue in cents, of the lines."""

    visit: Visit
    origin: Origin
    commerce: str
    lines: tuple[Line, ...]
    revenue: int


def cart(life: Life, time_ms: int, visit: Visit) -> None:
    """A cart: items, offers, second thoughts, perhaps a checkout."""
    draw = life.draw
    origin = life.origin(visit.person, visit.channel, "demonstrate", visit.more)
    life.tally["carts"] += 1
    named = f'"cart_id":"{life.name("k")}","currency":"EUR"'
    lines: list[Line] = []
    for number in range(1 + int(draw() * 2.5)):
        one = line(life, visit.category, first=number == 0)
        lines.append(one)
        item = f',"product_category":"{one.product.category}","step":"cart","commerce":{{{named}}}'
        life.emit(origin, "cart.item_added", time_ms, item)
        time_ms += 1_000 + int(life.exponential(15_000))
    at_cart = f',"product_category":"{visit.category}","step":"cart","commerce":{{{named}}}'
    if draw() < UPGRADE_OFFER_SHARE and (higher := upgraded(lines[0])):
        time_ms, accepted = _offer(life, time_ms, origin, at_cart, "upgrade", UPGRADE_ACCEPT_SHARE)
        if accepted:
            lines[0] = higher
    elif draw() < ACCESSORY_OFFER_SHARE:
        time_ms, accepted = _offer(life, time_ms, origin, at_cart, "cross_sell", ACCESSORY_ACCEPT_SHARE)
        if accepted:
            lines.append(line(life, visit.category, first=False))
    if len(lines) > 1 and draw() < REMOVE_SHARE:
        removed = lines.pop()
        gone = f',"product_category":"{removed.product.category}","step":"cart","commerce":{{{named}}}'
        life.emit(origin, "cart.item_removed", time_ms, gone)
        time_ms += 2_000 + int(life.exponential(8_000))
    if draw() < CART_VIEW_SHARE:
        life.emit(origin, "cart.viewed", time_ms, at_cart)
        time_ms += 2_000 + int(life.exponential(12_000))
    if draw() < CHECKOUT_SHARE:
        revenue = sum(one.cents * one.quantity for one in lines)
        paying = life.origin(visit.person, visit.channel, "affirm", visit.more)
        commerce = f',"commerce":{{{named},"checkout_id":"{life.name("x")}","revenue":"{money(revenue)}"'
        _checkout(life, time_ms, Checkout(visit, paying, commerce, tuple(lines), revenue))


def _offer(life: Life, time_ms: int, origin: Origin, at: str, kind: str, accept: float) -> tuple[int, bool]:
    """(when it was decided, whether it was accepted)."""
    offer = f'{at},"value_level":"personal","offer":{{"offer_id":"{life.name("f")}","kind":"{kind}"}}'
    life.emit(origin, "offer.presented", time_ms, offer)
    time_ms += 2_000 + int(life.exponential(9_000))
    if life.draw() >= accept:
        return time_ms, False
    life.emit(origin, "offer.accepted", time_ms, offer)
    return time_ms + 1_000, True


def _checkout(life: Life, time_ms: int, checkout: Checkout) -> None:
    draw, origin, commerce = life.draw, checkout.origin, checkout.commerce + "}"
    life.tally["checkouts"] += 1
    gives_up_at = int(draw() * len(STEPS)) if draw() < GIVE_UP_SHARE else len(STEPS)
    life.emit(origin, "checkout.started", time_ms, commerce)
    completed = False
    for number, step in enumerate(STEPS):
        time_ms += 800 + int(life.exponential(12_000))
        at = f',"step":"{step}"{commerce}'
        life.emit(origin, "checkout.step_viewed", time_ms, at)
        if number == gives_up_at:
            break
        time_ms += 2_000 + int(life.exponential(25_000))
        if draw() < FORM_ERROR_SHARE:
            time_ms = _form_error(life, time_ms, origin, at, life.pick(FRICTION_FIELDS), "invalid")
        if _broken(life, time_ms, checkout.visit, step) and draw() < BROKEN_SHARE:
            for _ in range(3 + int(life.exponential(1))):
                time_ms = _form_error(life, time_ms, origin, at, "postcode", "cannot_submit")
            if draw() < BROKEN_GIVE_UP_SHARE:
                break
        kind = "payment.info_entered" if step == "payment" else "checkout.step_completed"
        life.emit(origin, kind, time_ms, at)
    else:
        completed, time_ms = _pay(life, time_ms, checkout)
    if not completed:
        life.tally["given_up"] += 1
        if draw() >= COME_BACK_SHARE:
            return
        life.tally["came_back"] += 1
        time_ms += CHECKOUT_DEADLINE_MS + MINUTE + int(life.exponential(2 * HOUR))
    _order(life, time_ms, checkout)


def _broken(life: Life, time_ms: int, visit: Visit, step: str) -> bool:
    if not life.troubled or visit.platform not in MOBILE:
        return False
    return life.struck("broken-mobile-step", time_ms, {"step": step, "platform": visit.platform, "region": visit.person.region})


def _form_error(life: Life, time_ms: int, origin: Origin, at: str, field: str, code: str) -> int:
    friction = f',"friction":{{"kind":"form_error","field":"{field}","code":"{code}","element_id":"{field}-input"}}'
    life.emit(origin, "form.error", time_ms, at + friction)
    return time_ms + 3_000 + int(life.exponential(10_000))


def _pay(life: Life, time_ms: int, checkout: Checkout) -> tuple[bool, int]:
    """(whether the payment succeeded, when the customer was done)."""
    where = {"platform": checkout.visit.platform, "region": checkout.visit.person.region}
    while True:
        time_ms += 1_500 + int(life.exponential(3_000))
        outage = life.struck("payment-outage", time_ms, where)
        if life.draw() >= (OUTAGE_FAILURE_SHARE if outage else PAYMENT_FAILURE_SHARE):
            return True, time_ms
        code = "provider_unavailable" if outage else "card_declined"
        friction = f'}},"step":"payment","friction":{{"kind":"payment_error","code":"{code}"}}'
        life.emit(checkout.origin, "payment.failed", time_ms, checkout.commerce + friction)
        life.tally["outage_failures"] += outage
        if life.draw() < (OUTAGE_GIVE_UP_SHARE if outage else GIVE_UP_AFTER_FAILURE_SHARE):
            return False, time_ms
        time_ms += 5_000 + int(life.exponential(20_000))


def _order(life: Life, time_ms: int, checkout: Checkout) -> None:
    draw, origin = life.draw, checkout.origin
    order_id = life.name("o")
    shipping = 0 if checkout.revenue >= FREE_SHIPPING_FROM else SHIPPING
    total = checkout.revenue + shipping
    lines = ",".join([one.json() for one in checkout.lines])
    category = f',"product_category":"{checkout.lines[0].product.category}"'
    amounts = f'"total":"{money(total)}","tax":"{money(total // TAX_DIVISOR)}","shipping":"{money(shipping)}"'
    bought = f'{checkout.commerce},"order_id":"{order_id}",{amounts},"acquisition_source":"{life.pick(ACQUIRED_BY)}","lines":[{lines}]}}'
    level = ("functional", "functional", "functional", "personal", "personal", "catalytic")[int(draw() * 6)]
    life.emit(origin, "order.completed", time_ms, f'{bought}{category},"value_level":"{level}"')
    order = Order(order_id, checkout.lines, checkout.revenue, category)
    time_ms += 2 * MINUTE
    if draw() < UPDATE_SHARE:
        life.emit(origin, "order.updated", time_ms, f"{bought}{category}")
    if draw() < CANCEL_SHARE:
        life.emit(origin, "order.cancelled", time_ms + int(life.exponential(5 * MINUTE)), f"{order.commerce()}{category}")
        life.tally["orders_cancelled"] += 1
        return
    deliver(life, time_ms, checkout.visit.person, order)


def buy_in_store(life: Life, now_ms: int, customer: int) -> None:
    """A purchase at the till: an order without a checkout and without a shipment."""
    who = person(customer)
    origin = life.origin(who, "store", "affirm")
    lines = tuple(
        line(life, life.pick(("shoes", "outdoor", "kitchen", "audio", "toys")), first=True) for _ in range(1 + int(life.draw() * 2))
    )
    revenue = sum(one.cents * one.quantity for one in lines)
    told = ",".join([one.json() for one in lines])
    order = Order(life.name("o"), lines, revenue, f',"product_category":"{lines[0].product.category}"')
    more = f',"acquisition_source":"store","lines":[{told}]}}{order.category},"value_level":"functional"'
    life.emit(origin, "order.completed", now_ms, order.commerce()[:-1] + more)

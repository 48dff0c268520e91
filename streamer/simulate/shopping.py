"""Visits: browsing, carts, checkouts, payments, giving up and coming back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.simulate.life import HOUR, MINUTE, SOURCES
from streamer.simulate.scenario import CHECKOUT_DEADLINE_MS, PLATFORMS

if TYPE_CHECKING:
    from streamer.simulate.life import Life

ANONYMOUS_SHARE = 0.35  # of visits
CART_SHARE = 0.40  # of visits
CHECKOUT_SHARE = 0.46  # of carts; with the checkouts given up this leaves 67 % of carts without an order (Baymard: about 70 %)
GIVE_UP_SHARE = 0.27  # of checkouts, for no reason anybody can see
FORM_ERROR_SHARE = 0.04  # of steps
PAYMENT_FAILURE_SHARE, GIVE_UP_AFTER_FAILURE_SHARE = 0.05, 0.45  # of payments; of those
OUTAGE_FAILURE_SHARE, OUTAGE_GIVE_UP_SHARE = 0.92, 0.85  # the same during a payment outage
COME_BACK_SHARE = 0.08  # of checkouts given up: completed after the deadline

CATEGORIES: Final = ("shoes", "outdoor", "kitchen", "audio", "toys")
FRICTION_FIELDS: Final = ("postcode", "phone", "card_number", "email")
STEPS: Final = ("address", "delivery", "payment")


def visit(life: Life, now_ms: int, customer: int) -> None:
    """A visit: pages and products, perhaps a cart, perhaps a checkout."""
    draw = life.draw
    platform = life.pick(PLATFORMS)
    channel = "app" if platform in ("ios", "android") else "web"
    source = SOURCES[channel]
    key, who = life.who(customer, channel, platform, anonymous=draw() < ANONYMOUS_SHARE)
    who += f',"session_id":"{life.name("s")}"'
    category = life.pick(CATEGORIES)
    page = "screen.viewed" if channel == "app" else "page.viewed"
    time_ms = now_ms
    for _ in range(1 + int(life.exponential(4.5))):
        kind = page if draw() < 0.45 else "product.viewed"
        life.emit(key, source, kind, time_ms, who, f',"product_category":"{category}","step":"browse"')
        time_ms += 1_000 + int(life.exponential(18_000))
    if draw() >= CART_SHARE:
        return
    life.tally["carts"] += 1
    cart = f'"cart_id":"{life.name("k")}","currency":"EUR"'
    for _ in range(1 + int(draw() * 2.5)):
        life.emit(key, source, "cart.item_added", time_ms, who, f',"product_category":"{category}","commerce":{{{cart}}}')
        time_ms += 1_000 + int(life.exponential(15_000))
    if draw() < CHECKOUT_SHARE:
        _checkout(life, time_ms, (key, source, who), platform, cart)


def _checkout(life: Life, time_ms: int, origin: tuple[bytes, str, str], platform: str, cart: str) -> None:
    draw, (key, source, who) = life.draw, origin
    life.tally["checkouts"] += 1
    revenue = f"{8 + life.exponential(70):.2f}"
    checkout = f',"commerce":{{{cart},"checkout_id":"{life.name("x")}","revenue":"{revenue}"}}'
    gives_up_at = int(draw() * len(STEPS)) if draw() < GIVE_UP_SHARE else len(STEPS)
    life.emit(key, source, "checkout.started", time_ms, who, checkout)
    completed = gives_up_at == len(STEPS)
    for number, step in enumerate(STEPS):
        time_ms += 800 + int(life.exponential(12_000))
        at = f',"step":"{step}"{checkout}'
        life.emit(key, source, "checkout.step_viewed", time_ms, who, at)
        if number == gives_up_at:
            break
        time_ms += 2_000 + int(life.exponential(25_000))
        if draw() < FORM_ERROR_SHARE:
            friction = f',"friction":{{"kind":"form_error","field":"{life.pick(FRICTION_FIELDS)}","code":"invalid"}}'
            life.emit(key, source, "form.error", time_ms, who, at + friction)
            time_ms += 3_000 + int(life.exponential(10_000))
        kind = "payment.info_entered" if step == "payment" else "checkout.step_completed"
        life.emit(key, source, kind, time_ms, who, at)
    else:
        completed, time_ms = _pay(life, time_ms, origin, platform, checkout)
    if not completed:
        life.tally["given_up"] += 1
        if draw() >= COME_BACK_SHARE:
            return
        life.tally["came_back"] += 1
        time_ms += CHECKOUT_DEADLINE_MS + MINUTE + int(life.exponential(2 * HOUR))
    order = checkout.replace('"revenue"', f'"order_id":"{life.name("o")}","revenue"')
    life.emit(key, source, "order.completed", time_ms, who, order)


def _pay(life: Life, time_ms: int, origin: tuple[bytes, str, str], platform: str, checkout: str) -> tuple[bool, int]:
    """(whether the payment succeeded, when the customer was done)."""
    key, source, who = origin
    while True:
        time_ms += 1_500 + int(life.exponential(3_000))
        outage = any(i.platform == platform and i.start_ms <= time_ms < i.end_ms for i in life.scenario.incidents)
        if life.draw() >= (OUTAGE_FAILURE_SHARE if outage else PAYMENT_FAILURE_SHARE):
            return True, time_ms
        code = "provider_unavailable" if outage else "card_declined"
        friction = f',"step":"payment","friction":{{"kind":"payment_error","code":"{code}"}}'
        life.emit(key, source, "payment.failed", time_ms, who, checkout + friction)
        life.tally["outage_failures"] += outage
        if life.draw() < (OUTAGE_GIVE_UP_SHARE if outage else GIVE_UP_AFTER_FAILURE_SHARE):
            return False, time_ms
        time_ms += 5_000 + int(life.exponential(20_000))

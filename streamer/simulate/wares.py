"""What is sold: a small range of products with tiers and prices, and the lines of carts and orders. Money in cents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from streamer.simulate.life import Life

CATEGORIES: Final = ("shoes", "outdoor", "kitchen", "audio", "toys")
TIERS: Final = ("basic", "plus", "premium")
_TIER_FACTORS: Final = {"basic": 0.6, "plus": 1.0, "premium": 1.9}
_BASE_CENTS: Final = {"shoes": 5_900, "outdoor": 4_500, "kitchen": 2_900, "audio": 6_900, "toys": 1_900}

CROSS_SELL_SHARE = 0.22  # of further lines: of another category
SALE_SHARE, SALE_DISCOUNTS = 0.22, (0.9, 0.8, 0.7)  # of lines; what of the list price is paid
PREMIUM_SHARE, PREMIUM_FACTOR = 0.04, 1.08  # of lines: made to measure, above the list price
SECOND_ITEM_SHARE = 0.12  # of lines


class Product(NamedTuple):
    """One product. head: the first part of its line as JSON text."""

    category: str
    tier: str
    list_cents: int
    head: str


def _product(category: str, number: int) -> Product:
    tier = TIERS[number % len(TIERS)]
    cents = round(_BASE_CENTS[category] * _TIER_FACTORS[tier] * (0.7 + 0.15 * (number // len(TIERS))), -1) - 1
    head = f'{{"product_id":"p-{category}-{number}","category":"{category}","tier":"{tier}","list_price":"{money(round(cents))}"'
    return Product(category, tier, round(cents), head)


def money(cents: int) -> str:
    """The amount in major units."""
    return f"{cents // 100}.{cents % 100:02}"


RANGE: Final = {category: tuple(_product(category, number) for number in range(12)) for category in CATEGORIES}


class Line(NamedTuple):
    """A line of a cart. cents: of one unit."""

    product: Product
    cents: int
    quantity: int
    added_via: str

    def json(self) -> str:
        """As an order tells it."""
        return f'{self.product.head},"price":"{money(self.cents)}","quantity":{self.quantity},"added_via":"{self.added_via}"}}'


def line(life: Life, category: str, first: bool) -> Line:
    """What somebody who looks at a category puts into the cart."""
    draw = life.draw
    via = ("browse", "search", "recommendation")[int(draw() * 3)]
    if not first and draw() < CROSS_SELL_SHARE:
        category, via = CATEGORIES[(CATEGORIES.index(category) + 1 + int(draw() * 4)) % 5], "cross_sell"
    product = life.pick(RANGE[category])
    chance, cents = draw(), product.list_cents
    if chance < SALE_SHARE:
        cents = round(cents * life.pick(SALE_DISCOUNTS))
    elif chance < SALE_SHARE + PREMIUM_SHARE:
        cents = round(cents * PREMIUM_FACTOR)
    quantity = 2 + int(life.exponential(0.7)) if draw() < SECOND_ITEM_SHARE else 1
    return Line(product, cents, quantity, via)


def upgraded(one: Line) -> Line | None:
    """The same with the next tier; None if there is none."""
    if one.product.tier == TIERS[-1]:
        return None
    products = RANGE[one.product.category]
    higher = products[(products.index(one.product) + 1) % len(products)]
    return Line(higher, higher.list_cents, one.quantity, "upgrade")

"""Visits: pages, products, searches and clicks; now and then an impatient customer, a broken page or one that leads nowhere."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.simulate.people import person
from streamer.simulate.scenario import PLATFORMS
from streamer.simulate.shopping import cart
from streamer.simulate.wares import CATEGORIES

if TYPE_CHECKING:
    from streamer.simulate.life import Life, Origin
    from streamer.simulate.people import Person

ANONYMOUS_SHARE, LOGIN_SHARE = 0.37, 0.06  # of visits; of those: the visitor says who he is
CART_SHARE = 0.40  # of visits
PAGES_MEAN = 3.9  # after the first
PAGE_SHARE = 0.45  # of what is looked at; the rest are products
SEARCH_SHARE, NO_RESULT_SHARE = 0.16, 0.09  # of visits; of searches
CLICK_SHARE = 0.10  # of what is looked at
# Of visits each. A burst of clicks, of the same error, of the same page; a signal that the producer found itself; a single error.
RAGE_SHARE, ERROR_LOOP_SHARE, PAGE_LOOP_SHARE, SIGNAL_SHARE, ERROR_SHARE = 0.012, 0.008, 0.006, 0.012, 0.025

SIGNALS: Final = ("rage_click", "dead_click", "error_click", "quick_back", "page_loop")
ERRORS: Final = ("script_error", "timeout", "http_500", "image_missing")
ELEMENTS: Final = ("add-to-cart", "size-picker", "gallery-next", "menu", "filter-price", "show-more")
PAGES: Final = ("home", "category", "bestsellers", "sale", "stores", "size-guide")

# What comes after the origin's part of `data`, ready made: this is most of the stream.
_VIEWS: Final = {
    category: tuple(f',"product_category":"{category}","step":"browse","touchpoint":"{page}"' for page in PAGES) for category in CATEGORIES
}
_PRODUCTS: Final = {category: f',"product_category":"{category}","step":"product"' for category in CATEGORIES}
_CLICKS: Final = tuple(f',"step":"browse","friction":{{"element_id":"{element}"}}' for element in ELEMENTS)
_ERRORS: Final = tuple(f',"step":"browse","friction":{{"kind":"ui_error","code":"{code}"}}' for code in ERRORS)
_SIGNALS: Final = tuple(f',"step":"browse","friction":{{"kind":"{kind}","element_id":"menu"}}' for kind in SIGNALS)
_VIEWS_PER_CHANCE: Final = len(PAGES) / PAGE_SHARE


class Visit(NamedTuple):
    """Who is there and how. more: the part of `data` that says the platform and the session."""

    person: Person
    channel: str
    platform: str
    more: str
    category: str


def visit(life: Life, now_ms: int, customer: int) -> None:
    """A visit: pages and products, perhaps a cart, perhaps a checkout."""
    draw = life.draw
    platform = PLATFORMS[int(draw() * len(PLATFORMS))]
    channel, page = ("app", "screen.viewed") if platform in ("ios", "android") else ("web", "page.viewed")
    who = person(customer, anonymous=draw() < ANONYMOUS_SHARE)
    session = life.name("s")
    category = life.pick(CATEGORIES)
    here = Visit(who, channel, platform, f',"platform":"{platform}","session_id":"{session}"', category)
    origin = life.origin(who, channel, "consider", here.more)
    time_ms = now_ms
    if draw() < SEARCH_SHARE:
        results = 0 if draw() < NO_RESULT_SHARE else 1 + int(life.exponential(30))
        found = f'{_PRODUCTS[category]},"touchpoint":"search","search":{{"results":{results}}}'
        life.emit(life.origin(who, channel, "need", here.more), "product.searched", time_ms, found)
        time_ms += 2_000 + int(life.exponential(9_000))
    views, product = _VIEWS[category], _PRODUCTS[category]
    for _ in range(1 + int(life.exponential(PAGES_MEAN))):
        chance = draw()
        if chance < PAGE_SHARE:
            life.emit(origin, page, time_ms, views[int(chance * _VIEWS_PER_CHANCE)])
        else:
            life.emit(origin, "product.viewed", time_ms, product)
        if chance > 1 - CLICK_SHARE:
            life.emit(origin, "ui.clicked", time_ms + 700 + int(life.exponential(3_000)), life.pick(_CLICKS))
        time_ms += 1_000 + int(-log(1.0 - draw()) * 18_000)
    if (chance := draw()) < _ANNOYED_SHARE:
        time_ms = _annoyance(life, time_ms, chance, origin, page, views[0])
    if who.identity.startswith('"anon') and draw() < LOGIN_SHARE:
        here, time_ms = _login(life, time_ms, here, origin), time_ms + 1_000
    if draw() < CART_SHARE * who.persona.buys:
        cart(life, time_ms, here)


def _annoyance(life: Life, time_ms: int, chance: float, origin: Origin, page: str, view: str) -> int:
    """What makes visitors impatient; seldom. Returns when it was over."""
    for share, annoy in _ANNOYANCES:
        if chance < share:
            return annoy(life, time_ms, origin, page, view)
        chance -= share
    return time_ms


def _rage(life: Life, time_ms: int, origin: Origin, page: str, view: str) -> int:
    """At least three clicks on one element within a second."""
    click = life.pick(_CLICKS)
    for _ in range(3 + int(life.exponential(1.2))):
        life.emit(origin, "ui.clicked", time_ms, click)
        time_ms += 120 + int(life.draw() * 220)
    life.tally["rage_clicks"] += 1
    return time_ms + 2_000


def _error_loop(life: Life, time_ms: int, origin: Origin, page: str, view: str) -> int:
    """The same error at least three times within a minute."""
    error = life.pick(_ERRORS)
    for _ in range(3 + int(life.exponential(0.8))):
        life.emit(origin, "ui.error", time_ms, error)
        time_ms += 3_000 + int(life.draw() * 9_000)
    life.tally["error_loops"] += 1
    return time_ms


def _page_loop(life: Life, time_ms: int, origin: Origin, page: str, view: str) -> int:
    """The same page at least three times in 15 seconds."""
    for _ in range(3 + int(life.draw() * 2)):
        life.emit(origin, page, time_ms, view)
        time_ms += 1_500 + int(life.draw() * 2_000)
    life.tally["page_loops"] += 1
    return time_ms


def _signal(life: Life, time_ms: int, origin: Origin, page: str, view: str) -> int:
    life.emit(origin, "friction.signal", time_ms, life.pick(_SIGNALS))
    return time_ms + 1_000


def _error(life: Life, time_ms: int, origin: Origin, page: str, view: str) -> int:
    life.emit(origin, "ui.error", time_ms, life.pick(_ERRORS))
    return time_ms + 1_000


_ANNOYANCES: Final = (
    (RAGE_SHARE, _rage), (ERROR_LOOP_SHARE, _error_loop), (PAGE_LOOP_SHARE, _page_loop), (SIGNAL_SHARE, _signal), (ERROR_SHARE, _error),
)  # fmt: skip


_ANNOYED_SHARE: Final = sum(share for share, _ in _ANNOYANCES)


def _login(life: Life, time_ms: int, here: Visit, origin: Origin) -> Visit:
    """The visitor says who he is: what follows is his, under his own key; one in a hundred takes it back (a shared device)."""
    known = person(here.person.customer)
    link = f",{known.identity}"
    life.emit(origin, "identity.linked", time_ms, link)
    if life.draw() < 0.01:
        life.emit(origin, "identity.unlinked", time_ms + 60_000, link)
    return here._replace(person=known)

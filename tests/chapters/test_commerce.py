"""The chapter commerce: B3, B4, B6, B9, B10, F1, F2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.errors import DefinitionsError
from streamer.journeys.cells import COUNTER_BITS, COUNTER_MASK
from streamer.journeys.chapters.commerce import Commerce
from streamer.journeys.fold import Fold
from streamer.journeys.sinks import Aside
from streamer.journeys.state import Kept, State
from streamer.metrics.chapters.commerce import METRICS
from streamer.metrics.counters import Counter
from streamer.metrics.metric import counters_of
from streamer.touchpoints.touchpoint import Touchpoint
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    side_by_side,
    told,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE, Story
from tests.verify_support import counted, differing

if TYPE_CHECKING:
    from random import Random

RULES = """
[[rule]]
id = "good-customer"
on = "customer"
when = "orders >= 2 and lifetime_value > 100"
"""
DEFINITIONS = (
    SLICES
    + """
[[slice]]
by = ["product_category"]
[commerce]
margin_share = 0.5
horizon = "40m"
correct_within = "1h"
customer_for = "70m"
repeat_within = "20m"
retention_period = "25m"
offer_within = "45m"
attach = { bike = ["helmet", "lock"], sofa = ["lamp"] }
"""
    + RULES
)
AMOUNTS = [
    None, 0, "1.23", "5", "5.01", "9.5", "20", 35, 60.125, "100", "100.01", 300, 700, 1500, "3000", "9999.99", "10000.01", 1_000_000,
    "1000000.01", -3,
]  # fmt: skip


def order(random: Random, customer: str) -> dict[str, Any]:
    commerce: dict[str, Any] = {"order_id": f"{customer}-{random.randrange(4)}" if random.random() < 0.9 else None}
    if (revenue := random.choice(AMOUNTS)) is not None:
        commerce["revenue"] = revenue
    if currency := random.choice(["", "EUR", "EUR", "eur", "JPY", "USD"]):
        commerce["currency"] = currency
    return commerce


def line(random: Random) -> dict[str, Any]:
    told = {
        "category": random.choice(["bike", "helmet", "lock", "sofa", "lamp", "", None]),
        "price": random.choice([None, 0, "19.99", 20, -1, "9.999", 10**9]),
        "list_price": random.choice([None, 0, "24.99", 15, 10**9]),
        "quantity": random.choice([None, 0, 1, 3, 1_000_000]),
    }
    return {name: value for name, value in told.items() if value is not None}


def touchpoint(random: Random, customer: str, _time_ms: int) -> dict[str, Any]:
    kind = random.choice(
        ["order.completed"] * 8 + ["order.cancelled", "order.cancelled", "order.refunded", "order.refunded"] + ["offer"] * 3 + ["referral"]
    )
    if kind == "offer":
        offer = {
            "offer_id": random.choice([f"{customer}-o{random.randrange(2)}", ""]),
            "kind": random.choice(["upgrade", "upgrade", "discount"]),
        }
        return {"type": random.choice(["offer.presented", "offer.accepted"]), "offer": offer}
    if kind == "referral":
        return {"type": random.choice(["referral.sent", "referral.converted", "referral.other"])}
    commerce = order(random, customer)
    if kind == "order.completed":
        if source := random.choice(["", "referral", "search"]):
            commerce["acquisition_source"] = source
        if random.random() < 0.8:
            commerce["lines"] = [line(random) for _ in range(random.randrange(5))]
    return {"type": kind, "product_category": random.choice(["", "bike"]), "commerce": commerce}


HISTORIES = (Histories(DEFINITIONS, touchpoint),)


def test_the_recount_is_equal() -> None:
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)} - {"NPS_RELATIONSHIP_PROMOTERS"}  # of surveys
    assert_recount_is_equal(DEFINITIONS, touchpoint, RECOUNTED, expected)


@pytest.mark.parametrize("after_ms", [0, 500, 1000, 20 * MINUTE])
def test_the_recount_is_equal_wherever_the_log_ends(after_ms: int) -> None:
    assert_recount_is_equal(DEFINITIONS, touchpoint, range(4), set(), after_ms)


class Shop(Story):
    """A story of one customer in minutes."""

    def __init__(self, more: str = "", rules: str = "") -> None:
        super().__init__(SLICES + f'[commerce]\nhorizon = "40m"\ncorrect_within = "1h"\ncustomer_for = "2h"\n{more}\n{rules}')

    def order(self, name: str, minute: float, revenue: object = "10.00", **commerce: Any) -> int:
        return self.commerce("order.completed", name, minute, revenue=revenue, **commerce)

    def commerce(self, kind: str, name: str, minute: float, **commerce: Any) -> int:
        return self.event(kind, minute * 60, order_id=name, **commerce)

    def total(self, *counters: str) -> list[int]:
        return [self.run.total(counter) for counter in counters]


def test_a_cancel_takes_the_order_back_where_it_was_counted() -> None:
    shop = Shop()
    ordered = shop.order("a", 0)
    shop.order("b", 1, "30.00")
    assert shop.run.at("ORDERS_PLAIN", ordered) == 1
    shop.commerce("order.cancelled", "a", 30)
    assert shop.run.at("ORDERS_PLAIN", ordered) == shop.run.at("REVENUE_PLAIN", ordered) == shop.run.at("ORDER_SIZE_10", ordered) == 0
    assert shop.run.at("ORDERS_CANCELLED", ordered) == 1
    assert shop.total("REVENUE_PLAIN", "SQUARES_PLAIN", "ORDERS_PLAIN") == [3000, 900, 1]


@pytest.mark.parametrize(("minute", "cancelled"), [(59.99, 1), (60, 0)])
def test_an_order_can_be_cancelled_until_just_before_the_end_of_its_time(minute: float, cancelled: int) -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.commerce("order.cancelled", "a", minute)
    shop.commerce("order.cancelled", "a", minute)
    assert shop.total("ORDERS_CANCELLED", "ORDERS_PLAIN") == [cancelled, 1 - cancelled]


def test_an_order_told_twice_counts_once_and_cancelled_stays_cancelled() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.order("a", 1, "99.00")
    shop.commerce("order.cancelled", "a", 2)
    shop.order("a", 3)
    assert shop.total("ORDERS_PLAIN", "REVENUE_PLAIN", "ORDERS_CANCELLED") == [0, 0, 1]
    assert shop.run.processor.accounting["order_repeated"] == 2


def test_a_refund_counts_in_its_own_pane_and_a_cancel_takes_it_back() -> None:
    shop = Shop()
    ordered = shop.order("a", 0)
    refunded = shop.commerce("order.refunded", "a", 10, revenue="4.00")
    rest = shop.commerce("order.refunded", "a", 20)
    assert shop.run.at("REVENUE_PLAIN", ordered) == 1000
    assert [shop.run.at("REFUNDED", t) for t in (refunded, rest)] == [-400, -600]
    shop.commerce("order.cancelled", "a", 30)
    shop.commerce("order.refunded", "a", 40, revenue="10.00")
    assert shop.total("REVENUE_PLAIN", "REFUNDED") == [0, 0]


def test_nothing_is_left_of_an_order_of_which_more_was_given_back_than_paid() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.commerce("order.refunded", "a", 1, revenue="12.00")
    shop.commerce("order.refunded", "a", 2)
    assert shop.total("REFUNDED") == [-1200]


@pytest.mark.parametrize("refund", [{"revenue": "100.00"}, {"revenue": "100.00", "currency": "EUR"}, {}])
def test_nothing_goes_off_for_an_order_that_was_counted_apart(refund: dict[str, str]) -> None:
    shop = Shop("", RULES)
    shop.commerce("order.completed", "dollars", 0, revenue="100.00", currency="USD")
    shop.order("euros", 1, "150.00")
    shop.commerce("order.refunded", "dollars", 2, **refund)
    assert shop.total("ORDERS_APART", "REVENUE_PLAIN", "REFUNDED") == [1, 15000, 0]
    assert shop.run.processor.accounting["refund_apart"] == 1
    assert shop.states == ["firing"], "nor off what the customer is worth"


@pytest.mark.parametrize(("revenue", "square"), [("1.22", 1), ("1.23", 2), ("0.70", 0), ("0.71", 1), ("1000000.00", 10**12)])
def test_squares_are_rounded_to_whole_units_squared(revenue: str, square: int) -> None:
    shop = Shop()
    shop.order("a", 0, revenue)
    assert shop.total("SQUARES_PLAIN") == [square]


def test_a_refund_of_an_order_nobody_knows_counts_all_the_same_if_it_says_how_much() -> None:
    shop = Shop()
    shop.commerce("order.refunded", "z", 0, revenue="-4.00")
    shop.commerce("order.refunded", "z", 1)
    assert shop.total("REFUNDED") == [-400]


@pytest.mark.parametrize(
    ("commerce", "apart"),
    [
        ({"revenue": "100000.00"}, 0), ({"revenue": "100000.01"}, 1), ({"revenue": None}, 1),
        ({"revenue": "-0.01"}, 1), ({"revenue": 0}, 0),
        ({"currency": "USD"}, 1), ({"currency": "eur"}, 0),
    ],
)  # fmt: skip
def test_what_cannot_be_summed_is_counted_apart(commerce: dict[str, Any], apart: int) -> None:
    shop = Shop("largest_order = 100000")
    shop.order("a", 0, **({"revenue": "10.00"} | commerce))
    assert shop.total("ORDERS_APART", "ORDERS_PLAIN") == [apart, 1 - apart]
    shop.commerce("order.cancelled", "a", 1)
    assert shop.total("ORDERS_APART", "ORDERS_PLAIN", "ORDERS_CANCELLED") == [0, 0, 1]


@pytest.mark.parametrize(("currency", "revenue", "hundredths"), [("JPY", "1500", 150000), ("KWD", "1.005", 101), ("CLF", "1.0049", 100)])
def test_amounts_are_counted_in_hundredths_whatever_the_currency(currency: str, revenue: str, hundredths: int) -> None:
    shop = Shop(f'currency = "{currency}"')
    shop.order("a", 0, revenue, currency=currency)
    assert shop.total("REVENUE_PLAIN") == [hundredths]


def test_a_customer_has_come_back_only_if_he_orders_before_the_horizon() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.order("b", 40)
    assert shop.total("SECOND_ORDERS_DUE", "SECOND_ORDERS") == [1, 0]
    shop.order("c", 79.99)
    assert shop.total("THIRD_ORDERS_DUE", "THIRD_ORDERS") == [0, 0]
    end = shop.clock(80 * 60)
    assert shop.total("THIRD_ORDERS_DUE", "THIRD_ORDERS", "FOURTH_ORDERS_DUE") == [1, 1, 0]
    assert shop.run.at("THIRD_ORDERS_DUE", end) == 1


def test_who_is_observed_too_short_is_in_no_ladder() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.order("b", 1)
    shop.clock(40 * 60 - 1)
    assert shop.total("SECOND_ORDERS_DUE", "SECOND_ORDERS") == [0, 0]


def test_a_cancelled_order_is_no_rung() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.order("b", 10)
    shop.commerce("order.cancelled", "a", 20)
    shop.clock(60 * 60)
    assert shop.total("SECOND_ORDERS_DUE", "SECOND_ORDERS", "THIRD_ORDERS_DUE") == [1, 0, 0]


@pytest.mark.parametrize(("minute", "repeated"), [(119.99, 1), (120, 0)])
def test_a_customer_is_a_new_one_after_the_time_without_orders(minute: float, repeated: int) -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.order("b", minute)
    assert shop.total("ORDERS_REPEATED") == [repeated]


def test_rules_see_what_a_customer_is_worth() -> None:
    shop = Shop("margin_share = 0.5", RULES)
    shop.order("a", 0, "150.00")
    shop.order("b", 1, "60.00")
    assert [(alert.state, alert.metric.signals) for alert in shop.run.alerts] == [("firing", {"lifetime_value": 105.0, "orders": 2})]
    shop.commerce("order.refunded", "a", 2, revenue="10.00")
    assert shop.states == ["firing", "resolved"]


def test_a_customer_counts_once_where_his_latest_order_does() -> None:
    shop = Shop('repeat_within = "20m"')
    shop.order("a", 0, channel="phone")
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [1, 0]
    again = shop.order("b", 19.9)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [1, 1]
    assert shop.run.at("CUSTOMERS_ORDERED", again) == shop.run.at("CUSTOMERS_REPEATED", again) == 1
    assert shop.run.total("CUSTOMERS_ORDERED", channel="web") == 1
    shop.order("c", 39.9)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [1, 0]


def test_a_cancel_takes_the_customer_back_to_the_orders_that_stand() -> None:
    shop = Shop('repeat_within = "50m"')
    first = shop.order("a", 0)
    second = shop.order("b", 25)
    shop.order("c", 61)
    shop.clock(62 * 60)  # the first can no longer be cancelled
    shop.commerce("order.cancelled", "c", 63)
    assert shop.run.at("CUSTOMERS_REPEATED", second) == shop.run.at("CUSTOMERS_ORDERED", second) == 1
    shop.commerce("order.cancelled", "b", 64)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [1, 0]
    assert shop.run.at("CUSTOMERS_ORDERED", first) == 1
    shop.order("d", 65)
    shop.commerce("order.cancelled", "d", 66)
    assert shop.run.at("CUSTOMERS_ORDERED", first) == 1


def test_who_has_only_cancelled_orders_is_no_customer() -> None:
    shop = Shop()
    shop.order("a", 0)
    shop.commerce("order.cancelled", "a", 1)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [0, 0]


def test_a_customer_who_is_forgotten_counts_anew() -> None:
    shop = Shop('repeat_within = "9h"')
    shop.order("a", 0)
    shop.order("b", 1)
    shop.order("c", 122)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [2, 1]


def test_an_order_that_makes_room_still_tells_that_the_customer_ordered_before() -> None:
    shop = Shop("orders_per_customer = 1")
    for number in range(3):
        shop.order(str(number), number)
    assert shop.total("CUSTOMERS_ORDERED", "CUSTOMERS_REPEATED") == [1, 1]


def test_a_customer_of_a_row_of_an_older_build_counts_from_his_next_order_on() -> None:
    chapter = Fold(parse(SLICES + "[commerce]")).chapters["commerce"]
    assert isinstance(chapter, Commerce)
    kept, sink = Kept(), Aside(bytes(1 << COUNTER_BITS))

    def order(number: int) -> None:
        event = Touchpoint(BASE_MS + number * MINUTE, number, f"e{number}", "shop", "order.completed", "web")
        event.order_id, event.revenue_minor = f"o{number}", 900
        chapter.apply(kept, event, State(), sink)

    order(0)
    for name in ("settled", "gaps", "slips", "since", "periods"):  # what an older build has not kept
        kept.data.pop(name, None)
    sink.counts.clear()
    order(1)
    chapter.fire(kept, kept.due, State(), sink)
    counts = [(key & COUNTER_MASK, n) for counts in sink.counts.values() for key, n in counts.items()]
    for counter in (Counter.CUSTOMERS_ORDERED, Counter.CUSTOMERS_REPEATED):
        assert sum(n for counted, n in counts if counted == counter) == 1


SLIPPING = '[[rule]]\nid = "r"\non = "customer"\nwhen = "slipping"\n'


def test_a_customer_is_retained_who_orders_in_one_period_and_in_the_next() -> None:
    shop = Shop('retention_period = "10m"')
    shop.order("a", 0, channel="phone")
    shop.order("b", 9.9)
    shop.order("c", 19.9)
    shop.clock(19.999 * 60)
    assert shop.total("CUSTOMERS_PERIODS", "CUSTOMERS_RETAINED") == [0, 0], "the second period is not over"
    over = shop.clock(20 * 60)
    assert shop.run.at("CUSTOMERS_PERIODS", over) == shop.run.at("CUSTOMERS_RETAINED", over) == 1
    assert shop.run.total("CUSTOMERS_RETAINED", channel="phone") == 1, "as the first order of the period"
    over = shop.clock(30 * 60)
    assert shop.run.at("CUSTOMERS_PERIODS", over) == 1
    assert shop.total("CUSTOMERS_PERIODS", "CUSTOMERS_RETAINED") == [2, 1], "the third period had no order"


def test_an_order_at_the_very_end_of_a_period_is_of_the_next() -> None:
    shop = Shop('retention_period = "10m"')
    shop.order("a", 0)
    shop.order("b", 20)
    shop.clock(40 * 60)
    assert shop.total("CUSTOMERS_PERIODS", "CUSTOMERS_RETAINED") == [2, 0], "there was none in the second"


def test_a_cancelled_order_shows_that_the_customer_was_there() -> None:
    shop = Shop('retention_period = "10m"')
    shop.order("a", 0)
    shop.order("b", 10)
    shop.commerce("order.cancelled", "b", 11)
    shop.clock(20 * 60)
    assert shop.total("CUSTOMERS_PERIODS", "CUSTOMERS_RETAINED") == [1, 1]


def test_periods_of_a_customer_who_was_forgotten_are_not_those_of_the_one_who_comes_back() -> None:
    shop = Shop('retention_period = "70m"')  # he is forgotten after two hours, before his second period is over
    shop.order("a", 0)
    shop.order("b", 120)
    shop.clock(500 * 60)
    assert shop.total("CUSTOMERS_PERIODS", "CUSTOMERS_RETAINED") == [2, 0]


def test_a_customer_slips_when_twice_his_median_gap_has_passed_and_is_back_with_an_order() -> None:
    shop = Shop(rules=SLIPPING)
    for minute in (0, 10, 30, 35):  # gaps of 10, 20, 5
        shop.order(f"o{minute}", minute)
    shop.clock(55 * 60 - 0.001)
    assert shop.total("CUSTOMERS_SLIPPED") == [0]
    slipped = shop.clock(55 * 60)
    assert shop.run.at("CUSTOMERS_SLIPPED", slipped) == 1
    assert shop.states == ["firing"]
    shop.order("back", 60)
    assert shop.states == ["firing", "resolved"]
    shop.clock((60 + 30) * 60)  # gaps of 5, 10, 20, 25: the middle of 10 and 20
    assert shop.total("CUSTOMERS_SLIPPED") == [2]


@pytest.mark.parametrize(("minute", "slipped"), [(54.999, 0), (55, 1)])
def test_an_order_at_exactly_twice_the_gap_comes_after_it(minute: float, slipped: int) -> None:
    shop = Shop()
    for ordered in (0, 10, 30, 35):
        shop.order(f"o{ordered}", ordered)
    shop.order("back", minute)
    assert shop.total("CUSTOMERS_SLIPPED") == [slipped]


@pytest.mark.parametrize("minutes", [(0, 10, 20), (0, 0, 0, 0), (0, 60, 120, 180)])
def test_without_a_rhythm_nobody_slips(minutes: tuple[int, ...]) -> None:
    """Two gaps are too few, a median of 0 is none, and after two hours the customer is forgotten."""
    shop = Shop()
    for number, minute in enumerate(minutes):
        shop.order(f"o{number}", minute)
    shop.clock(9 * 3600)
    assert shop.total("CUSTOMERS_SLIPPED") == [0]


def gaps_of(shop: Shop) -> list[list[int]]:
    fold = shop.run.processor._folds[1]
    states = (fold.unpack(row.state) for row in shop.run.rows.values())
    return [state.kept["commerce"].data["gaps"] for state in states]


def test_only_the_latest_ten_gaps_count() -> None:
    shop = Shop()
    minute = 0
    for number, gap in enumerate([0, *[20] * 9, *[1] * 10]):
        minute += gap
        shop.order(str(number), minute)
    slipped = shop.clock((minute + 2) * 60)
    assert shop.run.at("CUSTOMERS_SLIPPED", slipped) == 1
    assert [len(gaps) for gaps in gaps_of(shop)] == [10]


def test_the_recount_knows_ten_gaps_and_what_comes_at_the_very_moment() -> None:
    minutes = [*range(0, 121, 20), *range(121, 126), 125 + 21]  # six gaps of 20, five of 1: the median of the latest ten is 10.5
    records = side_by_side([told(*((minute, "order.completed", {"commerce": {"revenue": "9.00"}}) for minute in minutes))])
    end_ms = records[-1].arrival + HOUR
    mine = counted(records, parse(DEFINITIONS), end_ms)
    assert differing(mine, records, parse(DEFINITIONS), end_ms) == {}
    assert sum(n for (counter, _, _), n in mine.sums.items() if counter == "CUSTOMERS_SLIPPED") == 2


def test_a_cancelled_order_still_belongs_to_the_rhythm() -> None:
    shop = Shop()
    for minute in (0, 10, 30, 35):
        shop.order(f"o{minute}", minute)
    shop.commerce("order.cancelled", "o35", 36)
    slipped = shop.clock(55 * 60)
    assert shop.run.at("CUSTOMERS_SLIPPED", slipped) == 1


def test_nothing_is_kept_of_a_customer_for_ever() -> None:
    shop = Shop('retention_period = "50m"')
    shop.order("a", 0)
    shop.event("page.viewed", 119 * 60, customer="c-2")
    assert b"c-1" in shop.run.rows
    shop.event("page.viewed", 131 * 60, customer="c-2")  # and nothing else is retained that long
    assert b"c-1" not in shop.run.rows


@pytest.mark.parametrize("wrong", ['horizon = "2h"\ncorrect_within = "1h"', 'currency = "euro"', "margin_share = 2", 'offer_within = "0s"'])
def test_settings_that_cannot_work_are_refused(wrong: str) -> None:
    with pytest.raises(DefinitionsError, match="commerce"):
        parse(f"revision = 1\n[commerce]\n{wrong}\n")


def test_bounds_cut_and_say_so() -> None:
    shop = Shop("orders_per_customer = 2")
    for number in range(3):
        shop.order(str(number), number)
    shop.commerce("order.cancelled", "0", 5)
    assert shop.run.processor.accounting["cut_orders"] == 1
    assert shop.total("ORDERS_PLAIN") == [3]

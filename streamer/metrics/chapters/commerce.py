"""Orders: how many, how large, of what, and whether customers come back (B3, B4, B6, B9, B10, F1, F2)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

ORDERS: Final = (C.ORDERS_PLAIN, C.ORDERS_CROSS_SOLD)
REVENUE: Final = (C.REVENUE_PLAIN, C.REVENUE_CROSS_SOLD)
# Amounts are counted in hundredths of the reporting currency's unit, their squares in whole units squared.
HUNDREDTHS: Final = 100
SQUARE: Final = HUNDREDTHS**2
_MONEY: Final = "reporting currency"

# An order belongs to the first bucket whose edge it does not exceed, in units of the currency.
EDGES: Final = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
BUCKETS: Final = (
    C.ORDER_SIZE_5, C.ORDER_SIZE_10, C.ORDER_SIZE_20, C.ORDER_SIZE_50, C.ORDER_SIZE_100, C.ORDER_SIZE_200, C.ORDER_SIZE_500,
    C.ORDER_SIZE_1000, C.ORDER_SIZE_2000, C.ORDER_SIZE_5000, C.ORDER_SIZE_10000, C.ORDER_SIZE_ABOVE,
)  # fmt: skip
# Of a customer's k-th order: (those whose horizon is over, those of them followed by another).
LADDER: Final = {
    1: (C.SECOND_ORDERS_DUE, C.SECOND_ORDERS),
    2: (C.THIRD_ORDERS_DUE, C.THIRD_ORDERS),
    3: (C.FOURTH_ORDERS_DUE, C.FOURTH_ORDERS),
}
REFERRAL: Final = "referral"
UPGRADE: Final = "upgrade"


def _count(id_: str, counters: tuple[Counter, ...], formula: str, source: str, *, leading: bool = True, money: bool = False) -> Metric:
    scale, unit = (HUNDREDTHS, _MONEY) if money else (1, "")
    return Metric(id_, "cx_" + id_, "count", counters, (), formula, leading, source, scale=scale, unit=unit)


def _ratio(
    id_: str, gauge: str, k: Counter, n: tuple[Counter, ...], formula: str, source: str, *, leading: bool = True
) -> Metric:  # fmt: skip
    return Metric(id_, gauge, "ratio", (k,), n, formula, leading, source)


def _amount(
    id_: str, total: tuple[Counter, ...], orders: tuple[Counter, ...], squares: tuple[Counter, ...] | None, formula: str, source: str
) -> Metric:
    return Metric(
        id_, "cx_" + id_, "mean", total, orders, formula, True, source, squares, HUNDREDTHS, unit=_MONEY, squares_unit=SQUARE
    )  # fmt: skip


def _size(id_: str, gauge: str, quantile: float, formula: str) -> Metric:
    return Metric(id_, gauge, "quantile", BUCKETS, (), formula, True, "B3", unit=_MONEY, edges=EDGES, quantile=quantile)


def _next(number: int, id_: str, gauge: str, ordinal: str) -> Metric:
    due, made = LADDER[number]
    formula = f"customers' {ordinal} orders followed by another within the horizon / those whose horizon ended in the window"
    return _ratio(id_, gauge, made, (due,), formula, "B6; only at the end of the horizon, so that nobody observed too short counts")


METRICS: Final = (
    _count("orders", ORDERS, "orders in the reporting currency, up to the largest, less those cancelled", "B3"),
    _count("orders_apart", (C.ORDERS_APART,), "orders in another currency, without an amount, or above the largest", "B3 [H]"),
    _count("revenue", REVENUE, "sum of the orders' revenue, less cancelled orders; in the reporting currency", "B3", money=True),
    _count(
        "revenue_net", (*REVENUE, C.REFUNDED), "revenue less the refunds of the window; in the reporting currency", "B3", money=True
    ),
    _count("units_ordered", (C.UNITS_ORDERED,), "sum of the quantities of the orders' lines", "F2"),
    _amount("aov", REVENUE, ORDERS, (C.SQUARES_PLAIN, C.SQUARES_CROSS_SOLD), "revenue / orders", "B3 average order value"),
    _amount("aov_net", (*REVENUE, C.REFUNDED), ORDERS, None, "(revenue less the refunds of the window) / orders", "B3"),
    _amount(
        "aov_cross_sold", (C.REVENUE_CROSS_SOLD,), (C.ORDERS_CROSS_SOLD,), (C.SQUARES_CROSS_SOLD,),
        "revenue / orders, of orders of at least two categories", "B4 lift, with",
    ),
    _amount(
        "aov_plain", (C.REVENUE_PLAIN,), (C.ORDERS_PLAIN,), (C.SQUARES_PLAIN,),
        "revenue / orders, of orders of at most one category", "B4 lift, without",
    ),
    Metric(
        "units_per_order", "cx_units_per_order", "mean", (C.UNITS_ORDERED,), ORDERS, "units ordered / orders", True, "B3 UPT", unit="units"
    ),
    _size("order_size_median", "cx_order_size_median", 0.5, "median of the orders' revenue, of a histogram"),
    _size("order_size_p90", "cx_order_size_ninth_decile", 0.9, "90th percentile of the orders' revenue, of a histogram"),
    _ratio(
        "cancel_rate", "cx_order_cancel_ratio", C.ORDERS_CANCELLED, (*ORDERS, C.ORDERS_APART, C.ORDERS_CANCELLED),
        "orders of the window cancelled since / orders, the cancelled ones included", "B3 [H]",
    ),
    _ratio(
        "cross_sell_rate", "cx_cross_sell_ratio", C.ORDERS_CROSS_SOLD, ORDERS, "orders of at least two categories / orders", "B4"
    ),
    _ratio(
        "attach_rate", "cx_attach_ratio", C.ATTACHED, (C.ATTACH_BASES,),
        "orders with a base category and one attached to it / orders with the base category; by product_category of each base", "B4",
    ),
    _ratio(
        "upsell_rate", "cx_upsell_ratio", C.UPGRADES_ACCEPTED, (C.UPGRADES_SHOWN,),
        "upgrades offered in the window and accepted since / upgrades offered", "B4",
    ),
    _next(1, "second_order_rate", "cx_second_order_ratio", "first"),
    _next(2, "third_order_rate", "cx_third_order_ratio", "second"),
    _next(3, "fourth_order_rate", "cx_fourth_order_ratio", "third"),
    _ratio(
        "repeat_order_share", "cx_repeat_order_ratio", C.ORDERS_REPEATED, ORDERS, "orders of customers who had ordered before / orders",
        "B6, F2 [H]",
    ),
    _ratio(
        "repeat_purchase_rate", "cx_repeat_purchase_ratio", C.CUSTOMERS_REPEATED, (C.CUSTOMERS_ORDERED,),
        "customers whose latest order, in the window, is within `repeat_within` (365 d) of the one before / customers with an order in it",
        "B6; each customer once, by his latest order [H]",
    ),
    _count(
        "customers_slipped", (C.CUSTOMERS_SLIPPED,),
        "customers for whom twice the median gap between their latest orders has passed without another, at that moment in the window",
        "F2; of at least 3 gaps and the latest 10 [H]",
    ),
    _ratio(
        "retention_rate", "cx_retention_ratio", C.CUSTOMERS_RETAINED, (C.CUSTOMERS_PERIODS,),
        "customers with an order in a period of theirs and in the next one / customers with an order in the period, at the end of the next",
        "B6 (E - N) / S; periods of `retention_period` (90 d) from each customer's first order [H]",
    ),
    _ratio("referral_share", "cx_referral_order_ratio", C.REFERRAL_ORDERS, ORDERS, "orders by referral / orders", "B9", leading=False),
    _count("referrals_sent", (C.REFERRALS_SENT,), "referrals sent in the window", "B9", leading=False),
    _count("referrals_converted", (C.REFERRALS_CONVERTED,), "referrals converted in the window", "B9", leading=False),
    Metric(
        "referrals_per_promoter", "cx_referrals_per_promoter", "mean", (C.REFERRALS_SENT,), (C.NPS_RELATIONSHIP_PROMOTERS,),
        "referrals sent in the window, by whomever / promoters among the customers' latest answers in it to relationship surveys", False,
        "B9; needs the chapter surveys [H]", unit="referrals",
    ),
    Metric(
        "price_premium", "cx_price_premium", "mean", (C.PRICE_PREMIUM,), (C.PRICE_REFERENCE,),
        "sum of (paid - list price) / sum of list prices, of the lines that tell both; its sample is that sum, in hundredths", False, "B10",
        unit="share",
    ),
)  # fmt: skip

SIGNALS: Final = {
    "orders": "orders of the customer that stand, as long as he is remembered",
    "lifetime_value": "revenue less refunds of these, times `margin_share`, in units of the reporting currency",
    "slipping": "whether twice the median gap between the customer's latest orders, of at least three, has passed since the last one",
}

"""F1, F2: what customers are worth. Historic: the margin to date. Predictive, simple: m * r / (1 + i - r) of margin, retention, discount;
by customer, from x, t_x, T and mean spend: `buying.py`.

Orders that stand, in one currency: one that was cancelled never was, a refund takes off its order, as `lifetime_value` of the rules has it.
A customer is observed from the first order on, so that order is in the margin and in no rate.

Years are each customer's own, from the first order on. r is measured on customers whose first two lie in the history, each once: the
first has an order, and stayed has who has one in the second, too. Who came later has not had his time yet, and has not stayed away.
"""

from __future__ import annotations

from math import fsum
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from streamer.analysis import buying, pictures
from streamer.analysis.history import DAY_MS
from streamer.analysis.report import Report, Table, between, counted, money, percent
from streamer.errors import InputError
from streamer.rollup.estimates import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

YEAR_DAYS: Final = 365
DECILES: Final = 10
# Of customers followed for two years: fewer say nothing of retention. [H]
FOLLOWED_MIN: Final = 30
_HUNDREDTHS: Final = 100
_LISTED: Final = 10
_POINTS_MAX: Final = 1_000

_WORTH: Final = """
CREATE TEMP TABLE worth AS
SELECT o.key, t, min(t) OVER (PARTITION BY o.key) AS first,
    hundredths - coalesce(back, 0) AS hundredths,
    list_sum([coalesce(fixed(line ->> '$.quantity', 0), 1) FOR line IN json_extract(details, '$.commerce.lines[*]')[1:100]]) AS units
FROM standing o LEFT JOIN (SELECT key, order_place, sum(hundredths) AS back FROM refunds GROUP BY ALL) r
    ON r.key = o.key AND r.order_place = o.place
WHERE currency = $currency
"""
# An order without lines is one unit, if the customer has others with lines.
_CUSTOMERS: Final = """
SELECT key, count(*), sum(hundredths)::BIGINT, min(t), max(t), CASE WHEN count(units) > 0 THEN sum(coalesce(units, 1))::BIGINT END
FROM worth GROUP BY key ORDER BY 3 DESC, key
"""
# Years from each customer's first order, those that are over by the end of the history.
_ACTIVE: Final = """
SELECT count(DISTINCT (key, (t - first) // $year)), coalesce(sum(hundredths), 0)::BIGINT
FROM worth WHERE first + ((t - first) // $year + 1) * $year <= $end
"""
_RETAINED: Final = """
SELECT count(DISTINCT key), count(DISTINCT key) FILTER ((t - first) // $year = 1) FROM worth WHERE first + 2 * $year <= $end
"""


class Customer(NamedTuple):
    """x: orders after the first; t_x, T: days from the first order to the last, and to the end of the history. What a BG/NBD fit takes.

    value: margin to date. mean_spend: of an order, less refunds. orders_per_year: x in the years of T, None on the first day. units: None
    if no order has lines. decile: 1 is the top.
    """

    key: str
    x: int
    t_x: float
    T: float
    mean_spend: float
    units: int | None
    value: float
    orders_per_year: float | None
    recency_days: float
    decile: int


class Decile(NamedTuple):
    """A tenth of the customers by value; `lowest` is the least of it. orders_per_year: their orders after the first by their years."""

    decile: int
    customers: int
    lowest: float
    margin_share: float
    orders_per_year: float | None
    mean_spend: float
    recency_days: float


class Prediction(NamedTuple):
    """m: margin of a year with an order, of `active_years` of them. r, r_low, r_high: stayed of followed. i: discount.

    value, low, high: m * r / (1 + i - r), of r and of the bounds of r.
    """

    m: float
    active_years: int
    followed: int
    stayed: int
    r: float
    r_low: float
    r_high: float
    i: float
    value: float
    low: float
    high: float


class Threshold(NamedTuple):
    """What a rule takes with `lifetime_value >= lifetime_value`: customers with as much are all in it, so it may be more than a tenth."""

    lifetime_value: float
    customers: int
    customer_share: float
    margin_share: float


def simple_value(m: float, r: float, i: float) -> float:
    """What a customer will bring in all later years: m each, if he stays, which is r a year; at a discount of i, above 0."""
    return m * r / (1 + i - r)


def ranked(rows: Sequence[tuple[str, int, int, int, int, int | None]], *, margin: float, end_ms: int) -> list[Customer]:
    """The customers with their deciles. rows, by falling revenue: key, orders, its hundredths, times of the first and last order, units."""
    found = []
    for rank, (key, orders, hundredths, first, last, units) in enumerate(rows):
        observed = (end_ms - first) / DAY_MS
        rate = (orders - 1) * YEAR_DAYS / observed if observed else None
        found.append(Customer(
            key, orders - 1, (last - first) / DAY_MS, observed, hundredths / _HUNDREDTHS / orders, units, hundredths / _HUNDREDTHS * margin,
            rate, (end_ms - last) / DAY_MS, rank * DECILES // len(rows) + 1,
        ))  # fmt: skip
    return found


def summary(number: int, part: Sequence[Customer], total: float) -> Decile:
    """Of customers by falling value; total: the margin of all."""
    orders, years = sum(one.x + 1 for one in part), fsum(one.T for one in part) / YEAR_DAYS
    return Decile(
        number, len(part), part[-1].value, fsum(one.value for one in part) / total, sum(one.x for one in part) / years if years else None,
        fsum(one.mean_spend * (one.x + 1) for one in part) / orders, median(one.recency_days for one in part),
    )  # fmt: skip


def threshold(customers: Sequence[Customer], total: float) -> Threshold:
    """The least value of the top decile, rounded down to hundredths so that a rule takes who has just that."""
    lowest = min(one.value for one in customers if one.decile == 1)
    bound = round(lowest, 2)
    bound = bound if bound <= lowest else round(bound - 0.01, 2)
    taken = [one.value for one in customers if one.value >= bound]
    return Threshold(bound, len(taken), len(taken) / len(customers), fsum(taken) / total)


def predict(log: Log, *, margin: float, discount: float) -> Prediction | None:
    """The simple prediction, of the table of orders; None if too few customers are followed for two years."""
    span = {"year": YEAR_DAYS * DAY_MS, "end": log.end_ms}
    ((followed, stayed),) = log.rows(_RETAINED, span)
    if followed < FOLLOWED_MIN:
        return None
    ((years, hundredths),) = log.rows(_ACTIVE, span)
    m, r, (low, high) = hundredths / _HUNDREDTHS * margin / years, stayed / followed, wilson(stayed, followed)
    values = [simple_value(m, rate, discount) for rate in (r, low, high)]
    return Prediction(m, years, followed, stayed, r, low, high, discount, *values)


def analyse(log: Log, *, currency: str | None, margin: float | None, discount: float, horizon_days: int = 90) -> Report:
    """Customers by what they are worth. Raises InputError if there is too little to say anything."""
    unit, left_out = log.currency(currency)
    settings = log.definitions.commerce
    share = margin if margin is not None else 1.0 if settings is None else float(settings.margin_share)
    log.rows(_WORTH, {"currency": unit})
    customers = ranked(log.rows(_CUSTOMERS), margin=share, end_ms=log.end_ms)
    if len(customers) < DECILES:
        raise InputError(f"tenths need at least {DECILES} customers with an order that stands, and this history has {len(customers)}")
    total = fsum(one.value for one in customers)
    if total <= 0:
        raise InputError("the orders less refunds, times the margin, come to nothing: there is no value to share out")
    deciles = [summary(n, [one for one in customers if one.decile == n], total) for n in range(1, DECILES + 1)]
    everybody = summary(0, customers, total)
    bound = threshold(customers, total)
    prediction = predict(log, margin=share, discount=discount)
    forecast = buying.forecast(customers, horizon_days=horizon_days, margin=share)
    told = [*_notes(bound, prediction), *buying.notes(forecast), *_scale_notes(log, unit, share, given=margin is not None)]
    notes = [*told, left_out] if left_out else told
    headline = (
        f"The top tenth of {counted(len(customers), 'customer')} brought {percent(deciles[0].margin_share)} of the margin: "
        f"lifetime_value >= {bound.lifetime_value:.2f}"
    )
    tables = [_deciles(deciles, everybody, unit), _most_valuable(customers[:_LISTED], unit)]
    if prediction:
        tables.append(_prediction(prediction, unit))
    if forecast.model:
        tables.append(buying.table(forecast, unit))
    return Report(
        headline,
        tables,
        notes,
        {
            "currency": unit, "margin": share, "total": total, "threshold": bound._asdict(), "deciles": [one._asdict() for one in deciles],
            "prediction": prediction._asdict() if prediction else None, "forecast": forecast.result(),
            "customers": [{**one._asdict(), **forecast.of(number)} for number, one in enumerate(customers)], "notes": notes,
        },
        lambda figure: _draw(figure, customers, total, bound, headline),
    )  # fmt: skip


def _notes(bound: Threshold, prediction: Prediction | None) -> list[str]:
    takes = f"{counted(bound.customers, 'customer')} ({percent(bound.customer_share)}) with {percent(bound.margin_share)} of the margin"
    notes = [
        f"A rule with lifetime_value >= {bound.lifetime_value:.2f} takes {takes}.",
        "x, t_x, T: orders after the first, days from the first to the last, and to the end of the history; --json has all customers.",
        "Orders per customer-year are those after the first, by the years since it: the first is what made somebody a customer.",
    ]
    if prediction is None:
        return [*notes, f"No prediction: fewer than {FOLLOWED_MIN} customers have two years of history after their first order."]
    return [
        *notes,
        f"r: of {prediction.followed:,} customers whose first two years lie in the history, those with an order in the second, too.",
        "The prediction takes m and r to be the same for everybody and to stay so. Its bounds are those of r alone.",
    ]


def _scale_notes(log: Log, unit: str, share: float, *, given: bool) -> list[str]:
    """Whether the threshold is on the scale of the rules' lifetime_value."""
    settings = log.definitions.commerce
    told = f"The margin is {percent(share)} of revenue ({'--margin' if given else 'margin_share of the definitions'})."
    if settings is None:
        return [told if given else "The margin is taken to be all of the revenue.", "Rules have no lifetime_value: [commerce] is off."]
    notes = [told]
    if float(settings.margin_share) != share:
        notes.append(f"The rules' margin_share is {float(settings.margin_share):g}: set it to {share:g}, or the threshold does not fit.")
    if unit not in ("", settings.currency):
        notes.append(f"The rules' lifetime_value is of orders in {settings.currency}: the threshold, in {unit}, does not fit.")
    return notes


def _deciles(deciles: Sequence[Decile], everybody: Decile, unit: str) -> Table:
    rows = [
        [
            "All" if one is everybody else f"{one.decile} (top)" if one.decile == 1 else str(one.decile), f"{one.customers:,}",
            money(one.lowest, unit), percent(one.margin_share), _rate(one.orders_per_year), money(one.mean_spend, unit),
            f"{one.recency_days:,.0f} d",
        ]
        for one in (*deciles, everybody)
    ]  # fmt: skip
    columns = ["Decile", "Customers", "Margin from", "Share of margin", "Orders per customer-year", "Mean spend", "Median recency"]
    return Table("Customers by margin to date", columns, rows)


def _most_valuable(customers: Sequence[Customer], unit: str) -> Table:
    rows = [
        [
            one.key, money(one.value, unit), f"{one.x:,}", f"{one.t_x:,.0f} d", f"{one.T:,.0f} d", money(one.mean_spend, unit),
            "-" if one.units is None else f"{one.units:,}", _rate(one.orders_per_year), f"{one.recency_days:,.0f} d",
        ]
        for one in customers
    ]  # fmt: skip
    columns = ["Customer", "Margin to date", "x", "t_x", "T", "Mean spend", "Units", "Orders per year", "Recency"]
    return Table(f"The {len(customers)} most valuable", columns, rows)


def _prediction(one: Prediction, unit: str) -> Table:
    rows = [
        ["m, margin of an active customer and year", f"{one.active_years:,} years", money(one.m, unit), ""],
        ["r, retention a year", f"{one.followed:,} customers", percent(one.r), f"{percent(one.r_low)} to {percent(one.r_high)}"],
        ["i, discount a year", "", percent(one.i), ""],
        ["Still to come, m r / (1 + i - r)", "", money(one.value, unit), between(one.low, one.high)],
    ]
    return Table("What a customer will bring, simply predicted", ["", "Of", "Estimate", "95 % interval"], rows)


def _rate(per_year: float | None) -> str:
    return "-" if per_year is None else f"{per_year:,.2f}"


def _draw(figure: Figure, customers: Sequence[Customer], total: float, bound: Threshold, headline: str) -> None:
    ax = figure.subplots()
    shares = 100 * np.concatenate([[0.0], np.cumsum([one.value for one in customers]) / total])
    places = np.unique(np.linspace(0, len(customers), min(len(customers), _POINTS_MAX) + 1).round().astype(int))
    x = 100 * places / len(customers)
    ax.fill_between(x, shares[places], x, color=pictures.BLUE, alpha=0.12, linewidth=0)
    ax.plot(x, shares[places], color=pictures.BLUE, linewidth=2.5)
    ax.plot([0, 100], [0, 100], color=pictures.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    top = sum(1 for one in customers if one.decile == 1)
    at = (100 * top / len(customers), float(shares[top]))
    ax.plot(*at, "o", color=pictures.RED, markersize=9)
    text = f"top tenth: {at[1]:.0f} % of the margin\nlifetime_value >= {bound.lifetime_value:.2f}"
    ax.annotate(text, at, xytext=(14, -4), textcoords="offset points", ha="left", va="top", fontweight="bold", bbox=pictures.PAPER)
    ax.set_xlim(0, 100)
    ax.set_ylim(0, max(102.0, float(shares.max()) * 1.02))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    ax.set_xlabel(f"Of {len(customers):,} customers, the most valuable first")
    ax.set_ylabel("Share of the margin to date")
    half = percent(int(np.argmax(shares >= 50)) / len(customers), 0)
    foot = f"Half comes from {half} of the customers. Dashed: if all were worth the same. Margin: of orders less cancellations and refunds."
    pictures.frame(figure, headline, foot)

"""F4: where customers' spend is heading, beside where their scores are, and who declines while he has reason to.

A customer's spend of each of the last complete calendar months (UTC), from the month after the first order on, and the least-squares line
through it; relative to the mean month, per quarter. The month of the first order has spend by what it is, so with it every line would
fall. The same of the scores, over time. Scores of employees, if given: `engagement.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from streamer.analysis import engagement, pictures
from streamer.analysis.report import Report, Table, between, counted, money, percent
from streamer.analysis.statistics import slope, slope_interval
from streamer.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log, Measure

MONTHS_MAX: Final = 12
MONTHS_MIN: Final = 3
# Of the mean month, per quarter. [H]
DECLINE: Final = -0.25
_MONTH_MS: Final = 30.4375 * 86_400_000
_LISTED: Final = 20

_MONTHLY: Final = """
SELECT key, date_diff('month', make_timestamp_ms($begin), date_trunc('month', make_timestamp_ms(t))) AS month, sum(amount)::DOUBLE,
    bool_or(is_order)
FROM spent WHERE currency = $currency AND t < $end
GROUP BY ALL ORDER BY key, month
"""
_SCORES: Final = """
SELECT key, t, score, band FROM answers
WHERE instrument = $instrument AND scope = $scope AND t >= $begin AND t < $end ORDER BY key, place
"""
_EFFORT: Final = """
SELECT DISTINCT key
FROM (SELECT issue, key, any_value(issue_begun) AS begun FROM issue_events GROUP BY ALL)
    JOIN (
        SELECT issue, sum(weight_tenths) AS tenths
        FROM (FROM signals UNION ALL FROM found_effort) JOIN weights USING (kind) GROUP BY issue
    ) USING (issue), settings
WHERE tenths > high_tenths AND begun >= $begin AND begun < $end
"""


class Customer(NamedTuple):
    """change: of spend per quarter, relative to the mean month; change_low, change_high: its 95 % interval, by the scatter of the months.

    score_change: per month, None with fewer than two answers. reasons: why a decline would not surprise: a bad latest score, an issue of
    high effort.
    """

    key: str
    mean: float
    change: float
    change_low: float
    change_high: float
    score_change: float | None
    reasons: tuple[str, ...]

    @property
    def declines_silently(self) -> bool:
        """Spends much less, which the scatter of the months does not explain, and has reason to."""
        return self.change <= DECLINE and self.change_high < 0 and bool(self.reasons)


def months_of(begin_ms: int, end_ms: int) -> list[int]:
    """The beginnings of the last complete calendar months of a history, at most `MONTHS_MAX`, and of the month after them."""
    begin, end = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (begin_ms, end_ms))
    last = end.year * 12 + end.month - 1
    starts = [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(last - MONTHS_MAX, last + 1)]
    return [round(start.timestamp() * 1000) for start in starts if start >= begin]


def analyse(log: Log, measure: Measure, *, currency: str | None, employees: engagement.Scores | None = None) -> Report:
    """Slopes of spend and scores; employees: of teams, to be laid beside them. Raises InputError if there is too little of either."""
    unit, left_out = log.currency(currency)
    months = months_of(log.begin_ms, log.end_ms)
    if len(months) <= MONTHS_MIN:
        raise InputError(f"a line needs at least {MONTHS_MIN} complete calendar months, and this history has {max(0, len(months) - 1)}")
    customers = _customers(log, measure, unit, months)
    if not customers:
        raise InputError(f"no customer has had {MONTHS_MIN} complete months after that of the first order, with spend in them")
    silent = sorted((one for one in customers if one.declines_silently), key=lambda one: one.change * one.mean)
    notes = [
        f"Of {counted(len(months) - 1, 'complete calendar month')} those after a customer's first order, if {MONTHS_MIN} with spend.",
        f"Silent decliners: less by {percent(-DECLINE)} of the mean month per quarter or more, and the slope's 95 % interval below 0.",
        "They have reason to: the latest score of these months is low, or an issue of theirs took high effort.",
        "Of customers whose spend is level about one in forty has such a line by chance: look at the orders before you call.",
    ]
    notes += log.off_scale(measure)
    if left_out:
        notes.append(left_out)
    tables = [_quadrants(customers), _decliners(silent, unit)]
    joined = engagement.join(log, measure, employees, customers, months[0], months[-1]) if employees else None
    if joined:
        tables.append(engagement.table(joined, measure))
        notes += engagement.notes(joined)
    headline = f"{counted(len(silent), 'silent decliner')} among {counted(len(customers), 'customer')}"
    return Report(
        headline,
        tables,
        notes,
        {
            "measure": measure._asdict(), "currency": unit, "causal": False, "months": len(months) - 1, "customers": len(customers),
            "quadrants": _counts(customers), "silent_decliners": [one._asdict() for one in silent], "notes": notes,
            **(engagement.result(joined) if joined else {}),
        },
        lambda figure: _draw(figure, customers, measure, headline),
    )  # fmt: skip


def _customers(log: Log, measure: Measure, unit: str, months: list[int]) -> list[Customer]:
    begin, end, count = months[0], months[-1], len(months) - 1
    spent: dict[str, dict[int, float]] = {}
    ordered: dict[str, int] = {}
    for key, month, amount, has_order in log.rows(_MONTHLY, {"begin": begin, "end": end, "currency": unit}):
        spent.setdefault(key, {})[month] = amount
        if has_order:
            ordered.setdefault(key, month)
    scores: dict[str, list[tuple[float, float]]] = {}
    latest: dict[str, int] = {}
    window = {"begin": begin, "end": end}
    for key, t, score, band in log.rows(_SCORES, {**window, "instrument": measure.instrument, "scope": measure.scope}):
        scores.setdefault(key, []).append((t / _MONTH_MS, float(score)))
        latest[key] = band
    laboured = {key for (key,) in log.rows(_EFFORT, window)}
    found = []
    for key, by_month in spent.items():
        first = max(0, ordered.get(key, count) + 1)
        monthly = np.array([by_month.get(month, 0.0) for month in range(first, count)])
        if len(monthly) < MONTHS_MIN or monthly.mean() <= 0:
            continue
        mean = float(monthly.mean())
        change, low, high = (3 * one / mean for one in slope_interval(np.arange(len(monthly), dtype=np.float64), monthly))
        answers = scores.get(key, [])
        reasons = (*(["low score"] if latest.get(key) == 0 else []), *(["high effort"] if key in laboured else []))
        found.append(Customer(key, mean, change, low, high, _score_slope(answers), reasons))
    return found


def _score_slope(answers: list[tuple[float, float]]) -> float | None:
    if len(answers) < 2:
        return None
    data = np.array(answers)
    return slope(data[:, 0], data[:, 1])


def _counts(customers: list[Customer]) -> dict[str, int]:
    names = {True: "up", False: "down"}
    counts = {f"spend_{spend}_score_{score}": 0 for spend in ("up", "down") for score in ("up", "down", "unknown")}
    for one in customers:
        score = "unknown" if one.score_change is None else names[one.score_change >= 0]
        counts[f"spend_{names[one.change >= 0]}_score_{score}"] += 1
    return counts


def _quadrants(customers: list[Customer]) -> Table:
    counts = _counts(customers)
    rows = [
        [f"Spend {spend}", *(f"{counts[f'spend_{spend}_score_{score}']:,}" for score in ("down", "up", "unknown"))]
        for spend in ("up", "down")
    ]
    return Table("Customers by where they are heading", ["", "Score down", "Score up or level", "Fewer than two answers"], rows)


def _decliners(silent: list[Customer], unit: str) -> Table:
    rows = [[one.key, money(one.mean, unit), percent(one.change), _points(one), ", ".join(one.reasons)] for one in silent[:_LISTED]]
    more = f", the {_LISTED} with most to lose" if len(silent) > _LISTED else ""
    return Table(f"Silent decliners{more}", ["Customer", "Mean month", "Change per quarter", "95 %", "Reason"], rows)


def _points(one: Customer) -> str:
    return between(100 * one.change_low, 100 * one.change_high, 0)


def _draw(figure: Figure, customers: list[Customer], measure: Measure, headline: str) -> None:
    ax = figure.subplots()
    told = [one for one in customers if one.score_change is not None]
    if not told:
        ax.hist(np.clip([100 * one.change for one in customers], -200, 200), bins=40, color=pictures.BLUE)
        ax.axvline(100 * DECLINE, color=pictures.RED, linewidth=1.5)
        ax.set_xlabel("Change of spend per quarter (% of the mean month)")
        ax.set_ylabel("Customers")
        pictures.frame(figure, headline, "No customer has two answers, so there is no line of scores. Red: the bound of a decline.")
        return
    limit = max(0.2, float(np.quantile([abs(one.score_change or 0) for one in told], 0.98)))
    for wanted, colour, label in ((False, pictures.BLUE, "Customer"), (True, pictures.RED, "Silent decliner")):
        part = [one for one in told if one.declines_silently == wanted]
        x = np.clip([one.score_change or 0.0 for one in part], -limit, limit)
        y = np.clip([100 * one.change for one in part], -150, 150)
        ax.scatter(x, y, s=26, color=colour, alpha=0.65, linewidths=0, label=f"{label} ({len(part):,})")
    ax.axhline(0, color=pictures.MUTED, linewidth=0.8)
    ax.axvline(0, color=pictures.MUTED, linewidth=0.8)
    ax.axhline(100 * DECLINE, color=pictures.RED, linewidth=0.8, linestyle=(0, (4, 3)))
    counts = _counts(customers)
    for (spend, score), (left, bottom, across, up) in {
        ("up", "down"): (0.01, 0.98, "left", "top"), ("up", "up"): (0.99, 0.98, "right", "top"),
        ("down", "down"): (0.01, 0.02, "left", "bottom"), ("down", "up"): (0.99, 0.02, "right", "bottom"),
    }.items():  # fmt: skip
        level = " or level" if score == "up" else ""
        text = f"spend {spend}, score {score}{level}: {counts[f'spend_{spend}_score_{score}']:,}"
        ax.text(left, bottom, text, transform=ax.transAxes, ha=across, va=up, color=pictures.MUTED, fontsize=9, bbox=pictures.PAPER)
    ax.set_xlabel(f"Change of {measure} per month, points")
    ax.set_ylabel("Change of spend per quarter (% of the mean month)")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.09 * (high - low), high + 0.09 * (high - low))  # room for the corners
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    pictures.frame(
        figure,
        headline,
        f"Shown: the {len(told):,} customers with two answers or more; the others have no line of scores. "
        "Dashed: the bound of a decline. What is far outside is at the edge.",
    )

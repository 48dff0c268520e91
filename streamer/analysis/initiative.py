"""F5: what an initiative has returned. (margin gained over the control group - cost) / cost.

Gained is the change of a customer's spend from the days before `initiative.started` to as many days after it, less the same change in
the control group: what would have come anyway. Without a control group that is not known, and the result is labelled `not_causal`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import scipy.stats  # type: ignore[import-untyped]
from matplotlib.ticker import MaxNLocator

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS
from streamer.analysis.report import Report, Table, between, counted, money, percent, signed
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

    Array = npt.NDArray[np.float64]

# The arms there are: who was helped, and whom they are compared with.
_ARMS: Final = ("treated", "control")
# Customers of each arm that a verdict takes. [H]
ARM_MIN: Final = 20
# Of one customer, in whole units: what is more is no cost. [H]
COST_MAX: Final = 1_000_000_000

_KNOWN: Final = """
SELECT details ->> '$.initiative.initiative_id', count(DISTINCT key) FROM events
WHERE type = 'initiative.started' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_AROUND: Final = """
WITH enrolled AS (
    SELECT key, min(t) AS t, min_by(coalesce(details ->> '$.initiative.arm', 'treated'), place) AS arm,
        min_by(coalesce(details ->> '$.initiative.cost', '0'), place) AS told_cost
    FROM events
    WHERE type = 'initiative.started' AND details ->> '$.initiative.initiative_id' = $initiative
    GROUP BY key
)
SELECT arm, CASE WHEN try_cast(told_cost AS DOUBLE) BETWEEN 0 AND $most THEN told_cost::DOUBLE END AS cost,
    e.t - $span >= $begin AND e.t + $span <= $end AS is_whole,
    coalesce(sum(amount) FILTER (s.t > e.t - $span AND s.t <= e.t), 0)::DOUBLE,
    coalesce(sum(amount) FILTER (s.t > e.t AND s.t <= e.t + $span), 0)::DOUBLE
FROM enrolled e LEFT JOIN (FROM spent WHERE currency = $currency) s USING (key)
GROUP BY e.key, arm, cost, is_whole
ORDER BY e.key
"""


class _Enrolled(NamedTuple):
    """A customer. cost: None if it is no amount. before, after: spend."""

    arm: str
    cost: float | None
    is_whole: bool
    before: float
    after: float


class Return(NamedTuple):
    """treated, control: customers. change_*: mean change of spend. gain: margin of all treated. Intervals are Welch's, 95 %.

    enough: whether there are customers enough on both sides for a verdict.
    """

    treated: int
    control: int
    change_treated: float
    change_control: float | None
    effect: float
    effect_interval: tuple[float, float]
    gain: float
    cost: float
    roi: float
    roi_interval: tuple[float, float]
    enough: bool


def measure(treated: Array, control: Array, *, margin: float, cost: float) -> Return:
    """The return of the changes of spend of two groups, two or more of the treated; `control` may be empty.

    The interval is Welch's, of groups that differ in how much spend varies and in how many they are.
    """
    compared, count = len(control) > 1, len(treated)
    effect = float(treated.mean()) - (float(control.mean()) if compared else 0.0)
    low, high = effect, effect
    if treated.std() > 0 or (compared and control.std() > 0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of an arm in which all change by the same
            test = scipy.stats.ttest_ind(treated, control, equal_var=False) if compared else scipy.stats.ttest_1samp(treated, 0.0)
            low, high = (float(limit) for limit in test.confidence_interval(0.95))
    roi, roi_low, roi_high = ((gained * count * margin - cost) / cost for gained in (effect, low, high))
    return Return(
        count, len(control) if compared else 0, float(treated.mean()), float(control.mean()) if compared else None, effect, (low, high),
        effect * count * margin, cost, roi, (roi_low, roi_high), min(count, len(control) if compared else count) >= ARM_MIN,
    )  # fmt: skip


def analyse(log: Log, initiative: str, *, currency: str | None, days: int, margin: float, cost: float | None) -> Report:
    """The return of one initiative. Raises InputError if it cannot be told."""
    if not all(isfinite(number) for number in (margin, cost or 0.0)):
        raise InputError("--margin and --cost take numbers")
    unit, left_out = log.currency(currency)
    rows = [_Enrolled(*row) for row in log.rows(_AROUND, {
        "initiative": initiative, "span": days * DAY_MS, "begin": log.begin_ms, "end": log.end_ms, "currency": unit,
        "most": COST_MAX,
    })]  # fmt: skip
    if not rows:
        known = ", ".join(f"{name} ({counted(n, 'customer')})" for name, n in log.rows(_KNOWN) if name)
        raise InputError(
            f"no initiative.started of {initiative!r} in this file; there {f'is {known}' if known else 'are none with an initiative_id'}"
        )
    arms = [[one for one in rows if one.arm == arm] for arm in _ARMS]
    whole = [[one for one in arm if one.is_whole] for arm in arms]
    treated, control = (np.array([one.after - one.before for one in arm], dtype=np.float64) for arm in whole)
    if len(treated) < 2:
        raise InputError(f"fewer than two treated customers have {days} days of history before and after: try a shorter --days")
    # The gain is that of the customers who can be followed, so the cost has to be theirs, too.
    spent = sum(one.cost or 0.0 for one in whole[0]) if cost is None else cost * len(treated) / len(arms[0])
    if spent <= 0:
        raise InputError("what the initiative cost is not in the events (initiative.cost): give the total with --cost")
    one = measure(treated, control, margin=margin, cost=spent)
    notes = [*_notes(one, days, rows, whole, cost), *([left_out] if left_out else [])]
    headline = _headline(initiative, one)
    label = "compared_with_control" if one.control else "not_causal"
    return Report(
        headline,
        [_table(one, unit, margin)],
        notes,
        {"initiative": initiative, "label": label, "days": days, "margin": margin, "currency": unit, **one._asdict(), "notes": notes},
        lambda figure: _draw(figure, one, headline, unit, days),
    )


def _notes(one: Return, days: int, rows: Sequence[_Enrolled], whole: Sequence[Sequence[_Enrolled]], total: float | None) -> list[str]:
    """What it rests on, and what was left out."""
    notes = [
        "Compared with the control group. That is an effect if chance decided who was in it, and only then."
        if one.control
        else "not_causal: there is no control group, so what would have come anyway counts as gained. Do not decide by this number."
    ]
    if len(whole[1]) == 1:
        notes.append("One customer of the control group can be followed, which is none to compare with.")
    if not one.enough:
        notes.append(f"No verdict: that takes {ARM_MIN} customers in each group, and a few large orders decide what fewer of them show.")
    others = Counter(row.arm for row in rows if row.arm not in _ARMS)
    for arm, n in sorted(others.items()):
        notes.append(f"{counted(n, 'customer')} of arm {arm!r} left out: arms are treated and control.")
    short = sum(1 for row in rows if row.arm in _ARMS and not row.is_whole)
    if short:
        notes.append(f"{counted(short, 'customer')} without {days} days of history on both sides left out.")
    everybody = sum(1 for row in rows if row.arm == _ARMS[0])
    if total is not None and one.treated < everybody:
        notes.append(f"The gain is of {one.treated:,} of {everybody:,} treated customers, and so much of the cost is set against it.")
    wrong = sum(1 for row in whole[0] if row.cost is None)
    if wrong and total is None:
        notes.append(f"{counted(wrong, 'treated customer')} with a cost that is none (no number from 0 to {COST_MAX:,}) counted with 0.")
    return notes


def _headline(initiative: str, one: Return) -> str:
    low, high = one.roi_interval
    if not one.enough:
        return f"{initiative}: too few customers for a verdict{'' if one.control else ', and none to compare with'}"
    says = "pays off" if low > 0 else "does not pay off" if high < 0 else "may pay off or not"
    told = f"return {signed(100 * one.roi)} %, between {signed(100 * low)} and {signed(100 * high)} %"
    return f"{initiative} {says}: {told}" if one.control else f"{initiative}, not causal: {told}"


def _table(one: Return, unit: str, margin: float) -> Table:
    rows = [
        ["Change of spend, treated", f"{one.treated:,}", money(one.change_treated, unit), ""],
        ["Change of spend, control", f"{one.control:,}", "-" if one.change_control is None else money(one.change_control, unit), ""],
        ["Effect per customer", "", money(one.effect, unit), between(*one.effect_interval)],
        [f"Gain at a margin of {percent(margin)}", "", money(one.gain, unit), ""],
        ["Cost", "", money(one.cost, unit), ""],
        ["Return", "", percent(one.roi), f"{percent(one.roi_interval[0])} to {percent(one.roi_interval[1])}"],
    ]
    return Table("Return on the initiative", ["", "Customers", "Amount", "95 % interval"], rows)


def _draw(figure: Figure, one: Return, headline: str, unit: str, days: int) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    names, values = [f"Treated\nn = {one.treated:,}"], [one.change_treated]
    if one.change_control is not None:
        names.append(f"Control\nn = {one.control:,}")
        values.append(one.change_control)
    left.bar(range(len(values)), values, color=[pictures.BLUE, pictures.GREY][: len(values)], width=0.55)
    for at, value in enumerate(values):
        left.annotate(
            signed(value, 1), (at, value), xytext=(0, 5 if value >= 0 else -5), textcoords="offset points", ha="center",
            va="bottom" if value >= 0 else "top", fontweight="bold",
        )  # fmt: skip
    left.axhline(0, color=pictures.MUTED, linewidth=0.8)
    left.set_xticks(range(len(values)), names)
    left.margins(y=0.18)
    left.set_xlim(-0.7, len(values) - 0.3)
    left.set_title(f"Change of spend per customer{f', {unit}' if unit else ''}", loc="left")
    right.grid(visible=False)
    low, high = (100 * limit for limit in one.roi_interval)
    right.plot([low, high], [0, 0], color=pictures.BLUE, linewidth=6, alpha=0.35, solid_capstyle="round")
    right.plot([100 * one.roi], [0], "o", color=pictures.BLUE, markersize=11)
    right.annotate(
        f"{signed(100 * one.roi)} %", (100 * one.roi, 0), xytext=(0, 14), textcoords="offset points", ha="center", fontweight="bold",
        fontsize=13,
    )  # fmt: skip
    right.axvline(0, color=pictures.MUTED, linewidth=0.8, ymax=0.86)
    right.annotate("break-even", (0, 0.56), ha="center", color=pictures.MUTED, fontsize=9)
    right.set_ylim(-0.7, 0.7)
    right.set_yticks([])
    right.margins(x=0.25)
    right.xaxis.set_major_locator(MaxNLocator(5))
    right.xaxis.set_major_formatter(lambda value, _: f"{signed(value)} %")
    right.set_title("Return, with its 95 % interval", loc="left")
    foot = "Less the control group's change: an effect if chance decided who was in it." if one.control else "No control group: not causal."
    pictures.frame(figure, headline, f"{days} days after the start, less as many before. {foot}")

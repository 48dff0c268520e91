"""F5: what an initiative has returned. (margin gained over the control group - cost) / cost.

Gained is the change of a customer's spend from the days before `initiative.started` to as many days after it, less the same change in
the control group: what would have come anyway. Without a control group that is not known, and the result is labelled `not_causal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS
from streamer.analysis.report import Report, Table, between, counted, money, percent, signed
from streamer.analysis.statistics import bootstrap
from streamer.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

    Array = npt.NDArray[np.float64]

_KNOWN: Final = """
SELECT details ->> '$.initiative.initiative_id', count(DISTINCT key) FROM events
WHERE type = 'initiative.started' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_AROUND: Final = """
WITH enrolled AS (
    SELECT key, min(t) AS t, min_by(coalesce(details ->> '$.initiative.arm', 'treated'), place) AS arm,
        min_by(coalesce(try_cast(details ->> '$.initiative.cost' AS DOUBLE), 0), place) AS cost
    FROM events
    WHERE type = 'initiative.started' AND details ->> '$.initiative.initiative_id' = $initiative
    GROUP BY key
)
SELECT arm, cost, e.t - $span >= $begin AND e.t + $span <= $end AS is_whole,
    coalesce(sum(amount) FILTER (s.t > e.t - $span AND s.t <= e.t), 0)::DOUBLE,
    coalesce(sum(amount) FILTER (s.t > e.t AND s.t <= e.t + $span), 0)::DOUBLE
FROM enrolled e LEFT JOIN (FROM spent WHERE currency = $currency) s USING (key)
GROUP BY e.key, arm, cost, is_whole
ORDER BY e.key
"""


class Return(NamedTuple):
    """treated, control: customers. change_*: mean change of spend. gain: margin of all treated. Intervals are bootstrapped, 95 %."""

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


def measure(treated: Array, control: Array, *, margin: float, cost: float, seed: int) -> Return:
    """The return of the changes of spend of two groups; `control` may be empty."""
    compared = len(control) > 0
    count = len(treated)

    def figures(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp] | None = None) -> Array:
        effect = treated[first].mean() - (control[second].mean() if second is not None else 0.0)
        return np.array([effect, (effect * count * margin - cost) / cost])

    sizes = [count, len(control)] if compared else [count]
    effect, roi = figures(*(np.arange(size) for size in sizes))
    limits = bootstrap(sizes, figures, seed)
    return Return(
        count, len(control), float(treated.mean()), float(control.mean()) if compared else None, float(effect), _pair(limits[0]),
        float(effect) * count * margin, cost, float(roi), _pair(limits[1]),
    )  # fmt: skip


def analyse(log: Log, initiative: str, *, currency: str | None, days: int, margin: float, cost: float | None, seed: int) -> Report:
    """The return of one initiative. Raises InputError if it cannot be told."""
    unit, left_out = log.currency(currency)
    rows = log.rows(_AROUND, {
        "initiative": initiative, "span": days * DAY_MS, "begin": log.begin_ms, "end": log.end_ms, "currency": unit,
    })  # fmt: skip
    if not rows:
        known = ", ".join(f"{name} ({n} customers)" for name, n in log.rows(_KNOWN) if name)
        raise InputError(
            f"no initiative.started of {initiative!r} in this file; {f'there is {known}' if known else 'there is none at all'}"
        )
    whole = [row for row in rows if row[2]]
    treated, control = (np.array([after - before for arm_, _, _, before, after in whole if arm_ == arm]) for arm in ("treated", "control"))
    if len(treated) < 2:
        raise InputError(f"fewer than two treated customers have {days} days of history before and after: try a shorter --days")
    everybody = sum(1 for row in rows if row[0] == "treated")
    # The gain is that of the customers who can be followed, so the cost has to be theirs, too.
    spent = sum(row[1] for row in whole if row[0] == "treated") if cost is None else cost * len(treated) / everybody
    if spent <= 0:
        raise InputError("what the initiative cost is not in the events (initiative.cost): give the total with --cost")
    one = measure(treated, control, margin=margin, cost=spent, seed=seed)
    label = "compared_with_control" if one.control else "not_causal"
    notes = [
        "Compared with the control group. That is an effect if chance decided who was in it, and only then."
        if one.control
        else "not_causal: there is no control group, so what would have come anyway counts as gained. Do not decide by this number.",
        f"{counted(len(rows) - len(whole), 'customer')} without {days} days of history on both sides left out.",
    ]
    if cost is not None and len(treated) < everybody:
        notes.append(f"The gain is of {len(treated):,} of {everybody:,} treated customers, and so much of the cost is set against it.")
    if left_out:
        notes.append(left_out)
    headline = _headline(initiative, one)
    return Report(
        headline,
        [_table(one, unit, margin)],
        notes,
        {"initiative": initiative, "label": label, "days": days, "margin": margin, "currency": unit, **one._asdict(), "notes": notes},
        lambda figure: _draw(figure, one, headline, unit, days),
    )


def _headline(initiative: str, one: Return) -> str:
    low, high = one.roi_interval
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


def _pair(limits: Array) -> tuple[float, float]:
    return float(limits[0]), float(limits[1])

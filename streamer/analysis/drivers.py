"""D1: which operational measures go with a score, and how much of it each explains. Johnson's relative weights.

What customers go through comes in bundles (who is transferred also repeats himself), so single correlations all look alike and
regression coefficients jump. Relative weights share out R² among measures that overlap. Each customer counts once, with the latest answer.

Any measure explains something by chance, and no bootstrap of a weight, which is never below 0, says how much. Permutations do: a measure
goes with the score beyond chance if the greatest weight of a shuffled score, of whatever measure, seldom is as great.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from matplotlib.patches import Patch

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS
from streamer.analysis.report import Report, Table, between, counted, percent
from streamer.analysis.statistics import RESAMPLES, bootstrap, chance, correlation, permuted_weights, r_squared, relative_weights
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log, Measure

    Array = npt.NDArray[np.float64]

# What a customer has gone through before an answer, by the counters that say so; in pane and deadline as the counters have it.
MEASURES: Final = {
    "contacts": "CONTACTS", "repeat_contacts": "REPEAT_CONTACTS", "transfers": "TRANSFERS", "cold_transfers": "COLD_TRANSFERS",
    "channel_switches": "CHANNEL_SWITCHES", "abandoned_journeys": "ABANDONED", "completed_journeys": "COMPLETED",
    "journeys_with_friction": "FRICTION_INSTANCES", "handoffs": "HANDOFFS", "ping_pongs": "PING_PONGS",
}  # fmt: skip
# Answers for each measure. [H]
ANSWERS_MIN: Final = 10
SIGNIFICANT: Final = 0.05
# Journey instances with friction count when the first of it comes, not in the pane of their start as the counter does: what comes after an
# answer does not go before it.
_BEFORE: Final = """
WITH gone_through AS (
    SELECT key, counter, n, changes.t AS happened FROM changes JOIN events USING (event)
    UNION ALL
    SELECT key, 'FRICTION_INSTANCES', 1, min(events.t)
    FROM friction JOIN named USING (event) JOIN events USING (event, key)
    WHERE named_after IS NOT NULL GROUP BY key, journey_no, named_after
), latest AS (
    SELECT key, max(t) AS t, max_by(score, place) AS score FROM answers
    WHERE instrument = $instrument AND scope = $scope AND t - $span >= $begin
    GROUP BY key
)
SELECT key, score, map_from_entries(list((counter, n)) FILTER (counter IS NOT NULL))
FROM (
    SELECT latest.key, score, counter, sum(n)::DOUBLE AS n
    FROM latest LEFT JOIN gone_through c ON c.key = latest.key AND c.happened > latest.t - $span AND c.happened <= latest.t
    GROUP BY ALL
)
GROUP BY ALL ORDER BY key
"""


class Driver(NamedTuple):
    """weight: the part of R². p: how often chance gives any measure as much. share: of all of R². r: the correlation, for its sign."""

    name: str
    weight: float
    low: float
    high: float
    p: float
    share: float
    r: float


class Drivers(NamedTuple):
    """customers: one answer each. r2: of the score's variance explained by all measures; adjusted: less what chance explains.

    p: how often chance explains as much. constant: measures that do not vary.
    """

    customers: int
    r2: float
    adjusted: float
    p: float
    drivers: list[Driver]
    constant: list[str]


def rank(predictors: Array, outcome: Array, names: Sequence[str], seed: int) -> Drivers:
    """The drivers, the strongest first."""
    constant = [name for name, column in zip(names, predictors.T, strict=True) if column.min() == column.max()]
    kept = [n for n, name in enumerate(names) if name not in constant]
    x = predictors[:, kept]

    def weights(drawn: npt.NDArray[np.intp]) -> Array:
        return relative_weights(x[drawn], outcome[drawn])

    limits = bootstrap([len(outcome)], weights, seed)
    found, r2 = relative_weights(x, outcome), r_squared(x, outcome)
    by_chance = permuted_weights(x, outcome, seed)
    greatest = by_chance.max(axis=1, initial=0.0)
    drivers = [
        Driver(
            names[column], float(found[n]), float(limits[n][0]), float(limits[n][1]), chance(float(found[n]), greatest),
            float(found[n] / r2) if r2 > 0 else 0.0, correlation(x[:, n], outcome) or 0.0,
        )
        for n, column in enumerate(kept)
    ]  # fmt: skip
    drivers.sort(key=lambda driver: (-driver.weight, driver.name))
    free = len(outcome) - 1 - (int(np.linalg.matrix_rank(x - x.mean(axis=0))) if kept else 0)
    adjusted = 1 - (1 - r2) * (len(outcome) - 1) / free if free > 0 else 0.0
    return Drivers(len(outcome), r2, adjusted, chance(float(found.sum()), by_chance.sum(axis=1)), drivers, constant)


def analyse(log: Log, measure: Measure, *, days: int, only: Sequence[str], seed: int) -> Report:
    """What goes with a score. Raises InputError if there are too few answers, or nothing varies."""
    log.check(measure)
    names = list(only) or list(MEASURES)
    for name in names:
        if name not in MEASURES:
            raise InputError(f"--measure {name!r}: there is no such measure; known are {', '.join(MEASURES)}")
    rows = log.rows(_BEFORE, {
        "instrument": measure.instrument, "scope": measure.scope, "span": days * DAY_MS, "begin": log.begin_ms,
    })  # fmt: skip
    counts = [before or {} for _, _, before in rows]
    predictors = np.array([[before.get(MEASURES[name], 0.0) for name in names] for before in counts], dtype=np.float64)
    varied = sum(1 for column in predictors.T if len(set(column)) > 1) if len(rows) else 0
    if len(rows) < ANSWERS_MIN * max(1, varied):
        raise InputError(
            f"{counted(len(rows), 'customer')} answered {measure} with {days} days of history before: too few for "
            f"{counted(max(1, varied), 'measure')}, each of which takes {ANSWERS_MIN} answers; choose with --measure"
        )
    outcome = np.array([score for _, score, _ in rows], dtype=np.float64)
    if outcome.min() == outcome.max():
        raise InputError(f"every answer to {measure} is the same: there is nothing to explain")
    found = rank(predictors, outcome, names, seed)
    if not found.drivers:
        raise InputError(f"nothing that is measured happened to anybody in the {days} days before an answer")
    notes = ["An association: a measure may stand for something that is not measured. It says where to look first, not what will help."]
    notes += log.off_scale(measure)
    if found.constant:
        notes.append(f"Left out, because the same for everybody: {', '.join(found.constant)}.")
    notes.append(
        f"p: how often a shuffled score gives any measure as great a weight, of {RESAMPLES:,} times; below {SIGNIFICANT:g} is beyond it. "
        "The interval says how sure a weight is, not whether it is more than chance."
    )
    headline = _headline(found, measure)
    return Report(
        headline,
        [_table(found, measure)],
        notes,
        {
            "measure": measure._asdict(), "days": days, "causal": False, **found._asdict(),
            "drivers": [driver._asdict() for driver in found.drivers], "notes": notes,
        },
        lambda figure: _draw(figure, found, headline, measure, days),
    )  # fmt: skip


def _headline(found: Drivers, measure: Measure) -> str:
    first = found.drivers[0]
    if found.p >= SIGNIFICANT:
        return f"Nothing that is measured goes with {measure} beyond chance"
    if first.p >= SIGNIFICANT:
        return f"No measure by itself goes with {measure} beyond chance, only all of them together"
    return f"{_title(first.name)} go most with {measure}: {percent(first.share, 0)} of what is explained"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _table(found: Drivers, measure: Measure) -> Table:
    rows = [
        [_title(one.name), f"{one.weight:.4f}", between(one.low, one.high, 4), _p(one.p), percent(one.share), f"{one.r:+.3f}"]
        for one in found.drivers
    ]
    rows.append(["All (R²)", f"{found.r2:.4f}", "", _p(found.p), "", ""])
    rows.append(["Adjusted for chance", f"{found.adjusted:.4f}", "", "", "", ""])
    return Table(
        f"What goes with {measure}, of {counted(found.customers, 'customer')}",
        ["Measure", "Relative weight", "95 % interval", "p", "Share", "Correlation"],
        rows,
    )


def _draw(figure: Figure, found: Drivers, headline: str, measure: Measure, days: int) -> None:
    pictures.rows(figure, len(found.drivers))
    ax = figure.subplots()
    shown = found.drivers[::-1]
    at = np.arange(len(shown))
    colours = [pictures.GREY if max(one.p, found.p) >= SIGNIFICANT else pictures.RED if one.r < 0 else pictures.BLUE for one in shown]
    ax.barh(at, [100 * one.weight for one in shown], color=colours, height=0.62)
    # The interval is drawn by itself: with few answers the weight may lie outside of it, and then that is to be seen.
    middle, half = ([50 * (one.high + sign * one.low) for one in shown] for sign in (1, -1))
    ax.errorbar(middle, at, xerr=half, fmt="none", ecolor=pictures.INK, elinewidth=1.2, capsize=3)
    for row, one in enumerate(shown):
        ax.annotate(
            percent(one.share, 0), (100 * max(one.high, one.weight), row), xytext=(7, 0), textcoords="offset points", va="center",
            fontweight="bold",
        )  # fmt: skip
    ax.set_yticks(at, [_title(one.name) for one in shown], color=pictures.INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 100 * max(max(one.high, one.weight) for one in shown) * 1.12)
    ax.set_xlabel(f"Points of R² (all together {100 * found.r2:.0f} of 100, {100 * max(0.0, found.adjusted):.0f} beyond chance)")
    meanings = {pictures.RED: "more of it, lower score", pictures.BLUE: "more of it, higher score", pictures.GREY: "no more than chance"}
    handles = [Patch(color=colour, label=label) for colour, label in meanings.items() if colour in colours]
    ax.legend(handles=handles, loc="lower right")
    pictures.frame(
        figure, headline,
        f"Relative weights (Johnson) of what happened in the {days} days before {found.customers:,} answers to {measure}. "
        "Bold: share of R². Lines: 95 % bootstrap.",
    )  # fmt: skip

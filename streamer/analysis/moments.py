"""J6: pivotal moments, where friction goes with another outcome. House computation [H] of what the field calls moments of truth.

For each touchpoint of a journey (the step, or the event's type if it has none): the instances that passed it, those with friction there
beside those without, and the difference of their outcome rates. Pivotal if Newcombe's interval, by customer, excludes 0, with enough
customers on both sides; of the touchpoints that are judged, one in twenty may be a false find (Benjamini and Hochberg 1995).

Whoever gives up is known later than whoever completes. So only instances count that began so long before the end of the history that either
would be known.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import scipy.stats  # type: ignore[import-untyped]

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS, Measure
from streamer.analysis.report import Report, Table, between, counted, percent, signed
from streamer.analysis.statistics import clustered_difference
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

    Array = npt.NDArray[np.float64]

# Customers with friction, and without.
LEAST: Final = 100
# Of a score that is to agree: fewer customers who answered on a side say nothing.
_VOICES_MIN: Final = 30
_SHOWN: Final = 12
# The share of a journey's completions that are as quick as what is taken for the time to complete. [H]
_COMPLETED_SHARE: Final = 0.95
# Of the touchpoints that are called pivotal, how many may be none.
_FALSE_SHARE: Final = 0.05

OUTCOMES: Final = {
    "completion": "the journey was completed, of those that have ended",
    "repeat": "another order within {days} days of the journey's end",
    "promoter": "9 or 10 in the next NPS answer ({scope}) within {days} days of the journey's end",
}

# Each instance of a journey with its end, how it ended, and the band of the answer that the customer gave next. An answer belongs to the
# last instance that had ended before it: to no other does it come next.
_ENDED: Final = """
CREATE TABLE ended AS
WITH last AS (
    SELECT key, journey_no, instance, journey, role, CASE WHEN role IN ('start', 'activity') THEN t + deadline ELSE t END AS t,
        CASE WHEN role IN ('complete', 'late completion') THEN true
             WHEN role = 'fail' OR (role IN ('start', 'activity') AND t + deadline <= $end) THEN false END AS completed
    FROM lives WHERE is_last
), known_until AS (
    SELECT journey_no, deadline + $after + coalesce(taken, 0) AS takes
    FROM journeys LEFT JOIN (
        SELECT journey_no, quantile_cont(lives.t - begun, $share)::BIGINT AS taken
        FROM lives JOIN instances USING (key, journey_no, instance)
        WHERE is_last AND role IN ('complete', 'late completion') GROUP BY journey_no
    ) USING (journey_no)
), heard AS (
    SELECT key, journey_no, instance, arg_min(band, place) AS next_band
    FROM (
        SELECT a.band, a.place, last.key, last.journey_no, last.instance,
            row_number() OVER (PARTITION BY a.key, a.place ORDER BY last.t DESC, last.journey_no, last.instance DESC) AS nth
        FROM answers a JOIN last ON last.key = a.key AND a.t >= last.t AND a.t <= last.t + $span
        WHERE instrument = 'nps' AND scope = $scope AND completed IS NOT NULL
    )
    WHERE nth = 1 GROUP BY ALL
)
SELECT last.* EXCLUDE (role), next_band, begun + takes <= $end AS in_time
FROM last JOIN instances USING (key, journey_no, instance) JOIN known_until USING (journey_no)
    LEFT JOIN heard USING (key, journey_no, instance)
WHERE role <> 'linked'
"""
# Friction happens at the step it names, else at the last one that the instance had passed.
_PASSED: Final = """
CREATE TABLE passed_touchpoints AS
WITH signals_of AS (
    SELECT DISTINCT event FROM friction
), visits AS (
    SELECT m.key, m.journey_no, m.instance, e.place, coalesce(nullif(e.step, ''), CASE WHEN s.event IS NULL THEN e.type END) AS touchpoint,
        s.event IS NOT NULL AS is_friction
    FROM members m JOIN events e USING (event) LEFT JOIN signals_of s USING (event)
    WHERE role IN ('start', 'activity', 'complete', 'fail')
    UNION ALL
    SELECT n.key, n.journey_no, n.named_after, e.place, nullif(e.step, ''), true
    FROM named n JOIN events e USING (event) JOIN signals_of USING (event)
    WHERE named_after IS NOT NULL AND (n.event, n.journey_no) NOT IN (SELECT (event, journey_no) FROM members)
)
SELECT key, journey_no, instance, touchpoint, bool_or(is_friction) AS friction
FROM (
    SELECT * REPLACE (coalesce(touchpoint, last_value(touchpoint IGNORE NULLS) OVER (
        PARTITION BY key, journey_no, instance ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) AS touchpoint)
    FROM visits
)
WHERE touchpoint IS NOT NULL
GROUP BY ALL
"""
_COUNTED: Final = """
SELECT journey, touchpoint,
    count(*) FILTER (friction), count(*) FILTER (friction AND outcome),
    count(*) FILTER (NOT friction), count(*) FILTER (NOT friction AND outcome),
    count(next_band) FILTER (friction), count(*) FILTER (friction AND next_band = 2),
    count(next_band) FILTER (NOT friction), count(*) FILTER (NOT friction AND next_band = 2)
FROM (
    SELECT ended.*, touchpoint, friction, CASE $outcome
        WHEN 'completion' THEN completed
        WHEN 'promoter' THEN next_band = 2
        ELSE CASE WHEN ended.t + $span <= $end
                  THEN EXISTS (FROM spent WHERE is_order AND spent.key = ended.key AND spent.t > ended.t AND spent.t <= ended.t + $span) END
        END AS outcome
    FROM (FROM ended WHERE in_time AND completed IS NOT NULL) ended JOIN passed_touchpoints USING (key, journey_no, instance)
)
WHERE outcome IS NOT NULL
GROUP BY journey, touchpoint, key ORDER BY journey, touchpoint, key
"""


class Moment(NamedTuple):
    """friction, smooth: instances with friction and without, and whose. difference: of the outcome rates, with friction less without.

    impact: |difference| times the instances with friction.

    p, adjusted: of the test of equal rates; adjusted for all touchpoints that are judged, None if this one is not. validated: whether the
    share of promoters afterwards differs in the same direction, its interval without 0; None with few answers, or if it is the outcome.
    """

    journey: str
    touchpoint: str
    friction: int
    friction_customers: int
    rate_friction: float
    smooth: int
    smooth_customers: int
    rate_smooth: float
    difference: float
    low: float
    high: float
    impact: float
    p: float
    adjusted: float | None
    pivotal: bool
    validated: bool | None


class Arms(NamedTuple):
    """By customer: instances with friction and without, and with the outcome of each; NPS answers afterwards, and promoters among them."""

    friction: Array
    friction_hits: Array
    smooth: Array
    smooth_hits: Array
    friction_voices: Array
    friction_promoters: Array
    smooth_voices: Array
    smooth_promoters: Array


def compare(journey: str, touchpoint: str, arms: Arms) -> Moment:
    """A touchpoint of at least one instance on each side, not judged yet; by customer, whose instances are alike."""
    low, high, p = clustered_difference([arms.friction_hits, arms.smooth_hits], [arms.friction, arms.smooth])
    rates = [float(hits.sum() / n.sum()) for hits, n in ((arms.friction_hits, arms.friction), (arms.smooth_hits, arms.smooth))]
    difference = rates[0] - rates[1]
    validated = None
    if min(_customers(arms.friction_voices), _customers(arms.smooth_voices)) >= _VOICES_MIN:
        promoters = [arms.friction_promoters, arms.smooth_promoters]
        less, more, _ = clustered_difference(promoters, [arms.friction_voices, arms.smooth_voices])
        validated = more < 0 if difference < 0 else less > 0
    counts = _customers(arms.friction), _customers(arms.smooth)
    friction = int(arms.friction.sum())
    return Moment(
        journey, touchpoint, friction, counts[0], rates[0], int(arms.smooth.sum()), counts[1], rates[1], difference, low, high,
        abs(difference) * friction, p, None, False, validated,
    )  # fmt: skip


def judge(moments: Sequence[Moment], least: int = LEAST) -> list[Moment]:
    """Which are pivotal, of those with customers enough; the greatest impact first, and first of all those that are."""
    enough: list[Moment] = []
    others: list[Moment] = []
    for one in moments:
        (enough if min(one.friction_customers, one.smooth_customers) >= least else others).append(one)
    adjusted = scipy.stats.false_discovery_control([one.p for one in enough]) if enough else []
    judged = [
        one._replace(adjusted=float(p), pivotal=bool(p <= _FALSE_SHARE) and (one.low > 0 or one.high < 0))
        for one, p in zip(enough, adjusted, strict=True)
    ]
    return sorted([*judged, *others], key=lambda one: (not one.pivotal, -one.impact, one.journey, one.touchpoint))


def _customers(instances: Array) -> int:
    return int((instances > 0).sum())


def _arms(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, str, Arms]]:
    """Of touchpoints with instances on both sides; rows by journey, touchpoint and customer."""
    for (journey, touchpoint), part in groupby(rows, lambda row: row[:2]):
        arms = Arms(*np.array([counts for _, _, *counts in part], dtype=np.float64).T)
        if arms.friction.any() and arms.smooth.any():
            yield journey, touchpoint, arms


def analyse(log: Log, outcome: str, *, scope: str, days: int, least: int) -> Report:
    """The touchpoints by impact; scope: of the scores. Raises InputError if none has both kinds of instances."""
    words = OUTCOMES[outcome].format(days=days, scope=scope)
    parameters = {"end": log.end_ms, "span": days * DAY_MS}
    if outcome == "promoter":
        log.check(Measure("nps", scope))
    after = 0 if outcome == "completion" else days * DAY_MS
    log.rows(_ENDED, {**parameters, "scope": scope, "after": after, "share": _COMPLETED_SHARE})
    log.rows(_PASSED)
    rows = log.rows(_COUNTED, {**parameters, "outcome": outcome})
    moments = judge([compare(journey, touchpoint, arms) for journey, touchpoint, arms in _arms(rows)], least)
    if not moments:
        raise InputError(
            "no touchpoint has ended journeys both with friction and without: are there events of a journey in the definitions?"
        )
    if outcome == "promoter":  # the scores would agree with themselves
        moments = [one._replace(validated=None) for one in moments]
    pivotal = [one for one in moments if one.pivotal]
    small = sum(1 for one in moments if one.adjusted is None)
    notes = [
        f"Outcome: {words}. Pivotal: the interval excludes 0, with at least {least:,} customers on each side.",
        "An association: friction and the outcome may both come of something else.",
        f"Of those that are called pivotal {percent(_FALSE_SHARE, 0)} may be so by chance, however many are looked at.",
    ]
    ((late,),) = log.rows("SELECT count(*) FROM ended WHERE NOT in_time")
    if late:
        notes.append(f"{counted(late, 'instance')} left out, because begun too late for either outcome to be known by the history's end.")
    if small:
        notes.append(f"{counted(small, 'touchpoint')} with fewer customers on a side cannot be judged.")
    notes += log.off_scale(Measure("nps", scope))
    headline = _headline(pivotal, outcome)
    return Report(
        headline,
        [_table(moments, outcome)],
        notes,
        {
            "outcome": outcome, "scope": scope, "days": days, "least": least, "causal": False, "pivotal": len(pivotal),
            "moments": [one._asdict() for one in moments], "notes": notes,
        },
        lambda figure: _draw(figure, moments, headline, words),
    )  # fmt: skip


def _headline(pivotal: Sequence[Moment], outcome: str) -> str:
    if not pivotal:
        return f"No touchpoint is pivotal for {outcome}"
    first = pivotal[0]
    points = f"{abs(100 * first.difference):.0f} points {'less' if first.difference < 0 else 'more'} {outcome}"
    return f"Friction at {first.touchpoint} ({first.journey}) goes with {points}"


def _table(moments: Sequence[Moment], outcome: str) -> Table:
    says = {True: "yes", False: "no", None: "-"}
    rows = [
        [
            f"{one.journey}: {one.touchpoint}" + (" (pivotal)" if one.pivotal else ""),
            f"{percent(one.rate_friction)} of {one.friction:,}", f"{percent(one.rate_smooth)} of {one.smooth:,}",
            signed(100 * one.difference, 1), between(100 * one.low, 100 * one.high, 1), f"{one.impact:,.0f}", says[one.validated],
        ]
        for one in moments
    ]  # fmt: skip
    return Table(
        f"Touchpoints by what friction there goes with ({outcome})",
        ["Touchpoint", "With friction", "Without", "Points", "95 %", "Impact", "Scores agree"],
        rows,
    )


def _draw(figure: Figure, moments: Sequence[Moment], headline: str, words: str) -> None:
    shown = list(moments[:_SHOWN])[::-1]
    pictures.rows(figure, len(shown))
    ax = figure.subplots()
    for row, one in enumerate(shown):
        colour = pictures.GREY if not one.pivotal else pictures.RED if one.difference < 0 else pictures.BLUE
        ax.plot([100 * one.low, 100 * one.high], [row, row], color=colour, linewidth=6, alpha=0.4, solid_capstyle="round")
        ax.plot([100 * one.difference], [row], "o", color=colour, markersize=9)
        ax.annotate(
            f"{signed(100 * one.difference)}   n = {one.friction:,} / {one.smooth:,}", (100 * one.difference, row), xytext=(0, 9),
            textcoords="offset points", ha="center", fontsize=9, color=pictures.INK if one.pivotal else pictures.MUTED,
        )  # fmt: skip
    ax.axvline(0, color=pictures.MUTED, linewidth=0.8)
    ax.set_yticks(range(len(shown)), [f"{one.journey}: {one.touchpoint}" for one in shown], color=pictures.INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.set_ylim(-0.6, len(shown) - 0.2)
    low, high = min(0.0, *(100 * one.low for one in shown)), max(0.0, *(100 * one.high for one in shown))
    ax.set_xlim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    ax.xaxis.set_major_formatter(lambda value, _: signed(value))
    ax.set_xlabel("Difference of the outcome rate in percentage points, with friction less without")
    pictures.frame(
        figure,
        headline,
        f"Outcome: {words}. Bars: 95 % interval; grey is not pivotal. n: with friction / without. Not a cause.",
    )

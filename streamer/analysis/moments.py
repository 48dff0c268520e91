"""J6: pivotal moments, where friction goes with another outcome. House computation [H] of what the field calls moments of truth.

For each touchpoint of a journey (the step, or the event's type if it has none): the instances that passed it, those with friction there
beside those without, and the difference of their outcome rates. Pivotal if Newcombe's interval excludes 0, with enough instances on both
sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS, Measure
from streamer.analysis.report import Report, Table, between, counted, percent, signed
from streamer.analysis.statistics import difference_interval
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

LEAST: Final = 100
# Of a score that is to agree: fewer answers on a side say nothing.
_VOICES_MIN: Final = 30
_SHOWN: Final = 12

OUTCOMES: Final = {
    "completion": "the journey was completed, of those that have ended",
    "repeat": "another order within {days} days of the journey's end",
    "promoter": "9 or 10 in the next NPS answer ({scope}) within {days} days of the journey's end",
}

# Each instance of a journey with its end, how it ended, and the score that the customer gave next.
_ENDED: Final = """
CREATE TABLE ended AS
WITH last AS (
    SELECT key, journey_no, instance, journey, role, CASE WHEN role IN ('start', 'activity') THEN t + deadline ELSE t END AS t,
        CASE WHEN role IN ('complete', 'late completion') THEN true
             WHEN role = 'fail' OR (role IN ('start', 'activity') AND t + deadline <= $end) THEN false END AS completed
    FROM lives WHERE is_last
)
SELECT last.* EXCLUDE (role), arg_min(a.score, a.t) AS next_score
FROM last LEFT JOIN (FROM answers WHERE instrument = 'nps' AND scope = $scope) a
    ON a.key = last.key AND a.t >= last.t AND a.t <= last.t + $span
WHERE completed IS NOT NULL
GROUP BY ALL
"""
# Friction happens at the step it names, else at the last one that the instance had passed.
_PASSED: Final = """
CREATE TABLE passed_touchpoints AS
WITH signals_of AS (
    SELECT DISTINCT event FROM events WHERE type IN ('payment.failed', 'form.error', 'friction.signal')
    UNION SELECT event FROM signals
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
    count(next_score) FILTER (friction), count(*) FILTER (friction AND next_score >= 9),
    count(next_score) FILTER (NOT friction), count(*) FILTER (NOT friction AND next_score >= 9)
FROM (
    SELECT ended.*, touchpoint, friction, CASE $outcome
        WHEN 'completion' THEN completed
        WHEN 'promoter' THEN next_score >= 9
        ELSE CASE WHEN ended.t + $span <= $end
                  THEN EXISTS (FROM spent WHERE is_order AND spent.key = ended.key AND spent.t > ended.t AND spent.t <= ended.t + $span) END
        END AS outcome
    FROM ended JOIN passed_touchpoints USING (key, journey_no, instance)
)
WHERE outcome IS NOT NULL
GROUP BY ALL ORDER BY 1, 2
"""


class Moment(NamedTuple):
    """difference: of the outcome rates, with friction less without. impact: |difference| times the instances with friction.

    validated: whether the share of promoters afterwards differs in the same direction, its interval without 0; None with few answers.
    """

    journey: str
    touchpoint: str
    friction: int
    rate_friction: float
    smooth: int
    rate_smooth: float
    difference: float
    low: float
    high: float
    impact: float
    pivotal: bool
    validated: bool | None


class Arms(NamedTuple):
    """Instances with friction and without, and with the outcome of each; NPS answers afterwards, and promoters among them."""

    friction: int
    friction_hits: int
    smooth: int
    smooth_hits: int
    friction_voices: int = 0
    friction_promoters: int = 0
    smooth_voices: int = 0
    smooth_promoters: int = 0


def compare(journey: str, touchpoint: str, arms: Arms, least: int = LEAST) -> Moment:
    """A touchpoint of at least one instance on each side."""
    low, high = difference_interval(arms.friction_hits, arms.friction, arms.smooth_hits, arms.smooth)
    with_friction, without = arms.friction_hits / arms.friction, arms.smooth_hits / arms.smooth
    difference = with_friction - without
    validated = None
    if min(arms.friction_voices, arms.smooth_voices) >= _VOICES_MIN:
        voices = difference_interval(arms.friction_promoters, arms.friction_voices, arms.smooth_promoters, arms.smooth_voices)
        validated = voices[1] < 0 if difference < 0 else voices[0] > 0
    pivotal = min(arms.friction, arms.smooth) >= least and (low > 0 or high < 0)
    return Moment(
        journey, touchpoint, arms.friction, with_friction, arms.smooth, without, difference, low, high, abs(difference) * arms.friction,
        pivotal, validated,
    )  # fmt: skip


def analyse(log: Log, outcome: str, *, scope: str, days: int, least: int) -> Report:
    """The touchpoints by impact; scope: of the scores. Raises InputError if none has both kinds of instances."""
    words = OUTCOMES[outcome].format(days=days, scope=scope)
    parameters = {"end": log.end_ms, "span": days * DAY_MS}
    if outcome == "promoter":
        log.check(Measure("nps", scope))
    log.rows(_ENDED, {**parameters, "scope": scope})
    log.rows(_PASSED)
    rows = log.rows(_COUNTED, {**parameters, "outcome": outcome})
    moments = [compare(journey, touchpoint, Arms(*counts), least) for journey, touchpoint, *counts in rows if counts[0] and counts[2]]
    if not moments:
        raise InputError(
            "no touchpoint has ended journeys both with friction and without: are there events of a journey in the definitions?"
        )
    moments.sort(key=lambda one: (not one.pivotal, -one.impact, one.journey, one.touchpoint))
    pivotal = [one for one in moments if one.pivotal]
    small = sum(1 for one in moments if min(one.friction, one.smooth) < least)
    notes = [
        f"Outcome: {words}. Pivotal: the interval excludes 0, with at least {least:,} instances on each side.",
        "An association: friction and the outcome may both come of something else.",
        "Of many touchpoints looked at, one in twenty stands out by chance.",
    ]
    if small:
        notes.append(f"{counted(small, 'touchpoint')} with fewer instances on a side cannot be judged.")
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
        figure, headline, f"Outcome: {words}. Bars: Newcombe's 95 % interval; grey is not pivotal. n: with friction / without. Not a cause."
    )

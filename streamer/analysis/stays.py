"""J3: how long instances stay on their steps, and the `stall_after` to set by it: the greater of what is set and the P95 of the stays.

Of the stays that have ended, as the chapter `steps` has them, exact instead of by buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.analysis import pictures
from streamer.analysis.report import Report, Table, percent
from streamer.durations import Duration, written
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from streamer.analysis.history import Log

# Stays that a P95 takes: of fewer than 59 the greatest is as likely as not below it with 95 % confidence. [H]
STAYS_MIN: Final = 100
# Below so much, rounded up to whole these.
_ROUNDING: Final = ((120_000, 10_000), (7_200_000, 60_000), (172_800_000, 3_600_000))
_DAY_MS: Final = 86_400_000
_SHOWN: Final = 20
_LEAST_DRAWN: Final = 1.0  # seconds, on a logarithmic axis

_STAYS: Final = """
SELECT v.journey, v.step, count(*), quantile_cont(ended - v.t, [0.5, 0.9, 0.95]), count(*) FILTER (ended - v.t > stall_after)
FROM (
    SELECT v.*, coalesce(v.left_at, w.t) AS ended
    FROM visits v LEFT JOIN (FROM last_words WHERE ends_the_stay) w USING (key, journey_no, instance)
) v JOIN journeys USING (journey_no)
WHERE ended IS NOT NULL GROUP BY v.journey, v.step ORDER BY v.journey, 3 DESC, v.step
"""


class Step(NamedTuple):
    """Times in seconds. longer: the share of stays longer than the journey's `stall_after`. judged: with stays enough for a P95."""

    journey: str
    step: str
    stays: int
    median: float
    p90: float
    p95: float
    longer: float
    judged: bool


class Proposal(NamedTuple):
    """step: the slowest of those judged. now, proposed: `stall_after` as the file has it."""

    journey: str
    step: str
    now: str
    proposed: str
    raised: bool


def rounded_up(ms: float) -> Duration:
    """To what a person would write: whole 10 s, minutes, hours or days."""
    whole = next((unit for below, unit in _ROUNDING if ms < below), _DAY_MS)
    return Duration(-(-round(ms) // whole) * whole)


def analyse(log: Log) -> Report:
    """The steps of every journey. Raises InputError if no stay has ended."""
    log.run("61_steps.sql")
    steps = [
        Step(journey, step, n, median / 1_000, p90 / 1_000, p95 / 1_000, longer / n, n >= STAYS_MIN)
        for journey, step, n, (median, p90, p95), longer in log.rows(_STAYS)
    ]
    if not steps:
        raise InputError("no instance has left a step: are there events with a `step`, of a journey in the definitions?")
    proposals = _proposals(log, steps)
    raised = [one for one in proposals if one.raised]
    headline = (
        "; ".join(f"{one.journey}: stall_after = \"{one.proposed}\"" for one in raised)
        if raised
        else "Every stall_after is above the P95 of its journey's steps"
        if proposals
        else f"No step has {STAYS_MIN} stays, which a P95 takes"
    )  # fmt: skip
    notes = [
        f"Proposed: the greater of the stall_after there is and the P95 of the journey's slowest step with {STAYS_MIN} stays, rounded up.",
        "A journey has one stall_after for all of its steps, so a quick step can be slow for long before it is a stall.",
        "Of a history in which something went wrong the P95 is too long: what is usual is to be seen in quiet weeks.",
    ]
    return Report(
        headline,
        [_table(steps), _proposed(proposals)] if proposals else [_table(steps)],
        notes,
        {"steps": [one._asdict() for one in steps], "proposals": [one._asdict() for one in proposals], "notes": notes},
        lambda figure: _draw(figure, steps, headline),
    )


def _proposals(log: Log, steps: Sequence[Step]) -> list[Proposal]:
    found = []
    for journey in log.definitions.journey:
        mine = [one for one in steps if one.journey == journey.id and one.judged]
        if not mine:
            continue
        slowest, now = max(mine, key=lambda one: one.p95), Duration(log.definitions.stall_after_ms(journey))
        raised = slowest.p95 * 1_000 > now
        found.append(Proposal(journey.id, slowest.step, written(now), written(rounded_up(slowest.p95 * 1_000) if raised else now), raised))
    return found


def _table(steps: Sequence[Step]) -> Table:
    rows = [
        [
            f"{one.journey}: {one.step}", f"{one.stays:,}", _span(one.median), _span(one.p90), _span(one.p95) if one.judged else "-",
            percent(one.longer),
        ]
        for one in steps
    ]  # fmt: skip
    return Table("How long instances stay on a step", ["Step", "Stays", "Median", "P90", "P95", "Above stall_after"], rows)


def _proposed(proposals: Sequence[Proposal]) -> Table:
    rows = [[one.journey, one.step, one.now, one.proposed if one.raised else "as it is"] for one in proposals]
    return Table("What stall_after is to be", ["Journey", "Slowest step", "Now", "Proposed"], rows)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def _draw(figure: Figure, steps: Sequence[Step], headline: str) -> None:
    shown = sorted(steps, key=lambda one: one.stays)[-_SHOWN:]
    shown.sort(key=lambda one: (one.journey, one.p90), reverse=True)
    pictures.rows(figure, len(shown))
    ax = figure.subplots()
    for row, one in enumerate(shown):
        median, p90, p95 = (max(seconds, _LEAST_DRAWN) / 60 for seconds in (one.median, one.p90, one.p95))
        ax.plot([median, p95], [row, row], color=pictures.BLUE, linewidth=6, alpha=0.3, solid_capstyle="round")
        ax.plot([median], [row], "o", color=pictures.BLUE, markersize=8)
        ax.plot([p90], [row], "|", color=pictures.INK, markersize=12)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_yticks(range(len(shown)), [f"{one.journey}: {one.step}" for one in shown], color=pictures.INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Minutes on the step, logarithmic")
    pictures.frame(figure, headline, "Point: median. Stroke: P90. Bar: to the P95. Stays that have ended.")

"""F4, the employees' side: how engaged teams are by month, beside what the customers say and spend whom they served.

A file of rows `team`, `month` (2026-01) and `score`, of whatever survey of employees there is. A customer was served by a team in a month
(UTC) if an event of his names it as `actor.team` then.
"""

from __future__ import annotations

import re
from math import isfinite
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from streamer.analysis.report import Table, percent, signed
from streamer.analysis.statistics import slope, spearman
from streamer.errors import InputError
from streamer.replay.sources import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from streamer.analysis.history import Log, Measure
    from streamer.analysis.trajectory import Customer

# Answers that make a team's month say something of its customers, and months that make a correlation. [H]
ANSWERS_MIN: Final = 5
MONTHS_MIN: Final = 10
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_COLUMNS: Final = ("team", "month", "score")

_MONTH_OF: Final = "year(make_timestamp_ms(t)) * 12 + month(make_timestamp_ms(t)) - 1"
_SERVED: Final = f"SELECT DISTINCT team, {_MONTH_OF}, key FROM events WHERE team <> '' AND t >= $begin AND t < $end"  # noqa: S608
_ANSWERS: Final = f"""
SELECT key, {_MONTH_OF}, score FROM answers WHERE instrument = $instrument AND scope = $scope AND t >= $begin AND t < $end ORDER BY place
"""  # noqa: S608

Scores = dict[tuple[str, int], float]  # by team and month, counted from year 0


class Team(NamedTuple):
    """months: with a score of the team and customers served. engagement, change: their mean, and the slope per month.

    customers: served in these months. score: mean of the answers that they gave in the month in which they were served, of `answers`.
    spend_change: median over those of them who have a line of spend, per quarter, relative to the mean month.
    """

    team: str
    months: int
    engagement: float
    change: float | None
    customers: int
    answers: int
    score: float | None
    spend_change: float | None


class Joined(NamedTuple):
    """rho: Spearman's, of a team's engagement and its customers' mean score in a month, over `pairs` months; None of too few."""

    teams: Sequence[Team]
    rho: float | None
    pairs: int


def read(path: Path) -> Scores:
    """The file. Raises InputError with the row that cannot be used."""
    found: Scores = {}
    for row in read_rows(path):
        missing = [name for name in _COLUMNS if name not in row.columns]
        if missing:
            raise InputError(f"{row.place}: has no {' and no '.join(missing)}; expected {', '.join(_COLUMNS)}")
        team, month, score = (row.columns[name].strip() for name in _COLUMNS)
        match = _MONTH.fullmatch(month)
        if match is None:
            raise InputError(f"{row.place}: expected a month such as 2026-01")
        at = (team, int(match[1]) * 12 + int(match[2]) - 1)
        if at in found:
            raise InputError(f"{row.place}: there is a score of {team} in {month} already")
        found[at] = _number(row.place, score)
    if not found:
        raise InputError(f"{path}: has no scores")
    return found


def _number(place: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise InputError(f"{place}: expected a number as score")
    return number


def join(log: Log, measure: Measure, scores: Scores, customers: Sequence[Customer], begin_ms: int, end_ms: int) -> Joined:
    """The teams, by their customers' change of spend. Raises InputError if no team served anybody in a month with a score."""
    window = {"begin": begin_ms, "end": end_ms}
    served: dict[tuple[str, int], set[str]] = {}
    for team, month, key in log.rows(_SERVED, window):
        served.setdefault((team, month), set()).add(key)
    months = {at: served[at] for at in sorted(scores.keys() & served.keys())}
    if not months:
        there = ", ".join(sorted({team for team, _ in served})) or "none"
        raise InputError(f"no team has a score in a month in which it served customers; teams of this history: {there}")
    answers: dict[tuple[str, int], list[float]] = {}
    for key, month, score in log.rows(_ANSWERS, {**window, "instrument": measure.instrument, "scope": measure.scope}):
        answers.setdefault((key, month), []).append(score)
    given = {(team, month): [one for key in keys for one in answers.get((key, month), ())] for (team, month), keys in months.items()}
    pairs = [(scores[at], fmean(told)) for at, told in given.items() if len(told) >= ANSWERS_MIN]
    changes = {one.key: one.change for one in customers}
    teams = [_team(team, scores, months, given, changes) for team in sorted({team for team, _ in months})]
    rho = spearman(*np.array(pairs).T) if len(pairs) >= MONTHS_MIN else None
    return Joined(sorted(teams, key=lambda one: (one.spend_change is None, one.spend_change, one.team)), rho, len(pairs))


def _team(
    team: str,
    scores: Scores,
    months: Mapping[tuple[str, int], set[str]],
    given: Mapping[tuple[str, int], list[float]],
    changes: Mapping[str, float],
) -> Team:
    mine = [at for at in months if at[0] == team]
    keys = set().union(*(months[at] for at in mine))
    told = [score for at in mine for score in given[at]]
    engagement = np.array([scores[at] for at in mine])
    return Team(
        team,
        len(mine),
        float(engagement.mean()),
        slope(np.array([float(month) for _, month in mine]), engagement),
        len(keys),
        len(told),
        fmean(told) if told else None,
        median(changes[key] for key in keys if key in changes) if keys & changes.keys() else None,
    )


def table(joined: Joined, measure: Measure) -> Table:
    """For people."""
    rows = [
        [
            one.team, f"{one.months:,}", f"{one.engagement:,.2f}", "-" if one.change is None else signed(one.change, 2),
            f"{one.customers:,}", "-" if one.score is None else f"{one.score:,.2f} ({one.answers:,})",
            "-" if one.spend_change is None else percent(one.spend_change),
        ]
        for one in joined.teams
    ]  # fmt: skip
    columns = ["Team", "Months", "Engagement", "A month", "Customers", f"{measure}, of answers", "Spend per quarter, median"]
    return Table("Teams, those first whose customers' spend falls most", columns, rows)


def notes(joined: Joined) -> list[str]:
    """What the correlation is, and what it is not."""
    least = f"at least {ANSWERS_MIN} answers"
    if joined.rho is None:
        told = f"No correlation of engagement and scores: {joined.pairs} months of teams have {least}, and it takes {MONTHS_MIN}."
    else:
        told = f"Engagement and customers' scores: Spearman's rho {signed(joined.rho, 2)} over {joined.pairs} months of teams with {least}."
    return [told, "A customer served by several teams counts with each. Teams differ in what they are asked, too: this is no cause."]


def result(joined: Joined) -> dict[str, Any]:
    """The JSON."""
    return {"teams": [one._asdict() for one in joined.teams], "engagement_rho": joined.rho, "engagement_months": joined.pairs}

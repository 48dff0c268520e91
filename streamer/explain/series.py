"""An aggregate rule on its series: the estimate in each window over time, and which window fails by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from streamer.deltas import TICK_MS
from streamer.explain.verdicts import nearest_first
from streamer.replay.pipeline import Run
from streamer.rules.explain import Condition, Explainer
from streamer.rules.language import AGGREGATE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.alerts.alert import Alert
    from streamer.definitions import Definitions, Rule
    from streamer.replay.pipeline import Piece, Shape
    from streamer.rollup.decisions import Decisions
    from streamer.rollup.estimates import Estimate
    from streamer.rollup.plans import Case
    from streamer.rules.evaluate import Outcome, Status
    from streamer.rules.language import Value

# A piece of a log is folded at once: what waits is bounded by it.
_HELD_MAX = 1 << 60
# Entries of a series' timeline; the oldest go.
MOMENTS_MAX = 500


class Reading(NamedTuple):
    """A window of a rule: its number, what that means, and what the expression names."""

    window: str
    estimate: Estimate
    outcome: Outcome
    names: Mapping[str, Value]


class Moment(NamedTuple):
    """A series whose state, or the outcome in some window, has just changed."""

    time_ms: int
    status: Status
    readings: Sequence[Reading]


class SeriesVerdict(NamedTuple):
    """A rule on one series. windows: each with its conditions, the nearest first. moments: how it came there."""

    rule: Rule
    series: Mapping[str, str]
    status: Status
    as_of_ms: int
    since_ms: int | None
    min_n: int | None
    windows: Sequence[tuple[Reading, Sequence[Condition]]]
    counterfactual: str
    moments: Sequence[Moment]
    order: tuple[float | str, ...]


class RuleStory:
    """Takes a whole log in and watches one aggregate rule up to `until_ms`.

    labels: only series that have these, which are some of a group's alert, or one; None is all that their labels do not exclude.
    """

    def __init__(
        self, definitions: Definitions, shape: Shape, rule: Rule, labels: Mapping[str, str] | None = None, until_ms: int | None = None
    ) -> None:
        self.told: list[Alert] = []
        self._rule = rule
        self._labels = labels
        self._until_ms = until_ms
        alone = replace(definitions, rule=(rule,))  # what the others decide has no influence
        self._run = Run(alone, shape._replace(held_max=_HELD_MAX), build="explain", keep_sums=False, observe=self._observe)
        self._moments: dict[tuple[str, ...], list[Moment]] = {}
        self._latest: dict[tuple[str, ...], tuple[Case, Moment, int]] = {}
        self._min_n: int | None = None
        self._excluded: set[tuple[str, ...]] = set()

    def take(self, piece: Piece) -> None:
        """The next piece of the log, by partition."""
        self._run.fold_piece(piece)
        self.told += [told for told in self._run.take_alerts() if told.series is not None and self._wanted(told.series)]

    def finish(self, clock_ms: int | None) -> None:
        """Close every partition at this time."""
        if clock_ms is not None:
            self._run.control("end", clock_ms)
            self.take({})

    @property
    def excluded(self) -> int:
        """Series that by their labels alone never meet the condition; they are not among the verdicts unless asked for."""
        return len(self._excluded)

    def verdicts(self) -> list[SeriesVerdict]:
        """Of each series, what fires first and then the nearest."""
        text = self._rule.when if self._min_n is None else f"n >= {self._min_n} and ({self._rule.when})"
        explainer = Explainer(text, AGGREGATE_NAMES)
        found = [self._verdict(explainer, values, *latest) for values, latest in self._latest.items()]
        return sorted(found, key=lambda verdict: verdict.order)

    def _verdict(self, explainer: Explainer, values: tuple[str, ...], case: Case, moment: Moment, since: int) -> SeriesVerdict:
        windows = {reading.window: reading.names for reading in moment.readings}
        failing = [names for names in windows.values() if not explainer.holds(names)]
        changes = [explainer.nearest(names) for names in failing]
        size = max((change.size for change in changes if change is not None), default=(0.0, 0.0))
        return SeriesVerdict(
            self._rule,
            case.series,
            moment.status,
            moment.time_ms,
            since if moment.status in ("firing", "pending") else None,
            self._min_n,
            [(reading, nearest_first(explainer.conditions(reading.names))) for reading in moment.readings],
            explainer.counterfactual_over(windows),
            self._moments.get(values, ()),
            (moment.status != "firing", len(failing), any(change is None for change in changes), *size, *values),
        )

    def _wanted(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name) == value for name, value in (self._labels or {}).items())

    def _observe(self, decisions: Decisions, tick: int) -> None:
        now_ms = tick * TICK_MS
        if self._until_ms is not None and now_ms > self._until_ms:
            return
        for case in decisions.cases():
            if not self._wanted(case.series):
                continue
            if case.excluded and self._labels is None:
                self._excluded.add(case.values)
            else:
                self._note(decisions, case, now_ms)

    def _note(self, decisions: Decisions, case: Case, now_ms: int) -> None:
        self._min_n = case.plan.min_n
        looked = zip(case.plan.rule.windows, decisions.look(case), strict=True)
        moment = Moment(now_ms, case.episode.status, [Reading(window, *found) for window, found in looked])
        before = self._latest.get(case.values)
        if before is None or _kind(before[1]) != _kind(moment):
            moments = self._moments.setdefault(case.values, [])
            moments.append(moment)
            del moments[:-MOMENTS_MAX]
        since = now_ms if before is None or before[1].status != moment.status else before[2]
        self._latest[case.values] = (case, moment, since)


def _kind(moment: Moment) -> tuple[object, ...]:
    return (moment.status, *(reading.outcome for reading in moment.readings))

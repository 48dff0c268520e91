"""Aggregate rules on series: evaluated when a number they look at changes or when time alone decides, told as alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from streamer.alerts import alert, identity
from streamer.alerts.times import rfc3339
from streamer.definitions import Definitions, Rule
from streamer.deltas import PANE_MS
from streamer.durations import parse_duration
from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import LIFETIME, METRIC_BY_ID
from streamer.metrics.counters import DIMENSIONS, DIMENSIONS_OF
from streamer.metrics.metric import SAMPLED, Metric
from streamer.metrics.readings import RuleReading
from streamer.rollup.estimates import COUNTER_BITS, Estimate, counters_of, estimate
from streamer.rollup.panes import TICK_MS, granularity_ms
from streamer.rollup.series import Series
from streamer.rollup.sums import WindowSums
from streamer.rules import language
from streamer.rules.evaluate import Episode, Outcome, Policy, Transition, idle, step

# When a consumer may forget an episode of which nobody said that it ended [H]; every episode here ends by itself sooner,
# unless the condition goes on holding.
EXPIRES_AFTER_MS: Final = 7 * 86_400_000

_NO_LABELS: Final[dict[str, language.Value]] = dict.fromkeys(DIMENSIONS, "")


class Plan:
    """A rule, compiled. `windows`: (name, length in milliseconds), in the rule's order; `sums`: where each one's numbers are."""

    def __init__(self, index: int, rule: Rule, metric: Metric) -> None:
        for counter in counters_of(metric):
            if not set(rule.by) <= set(DIMENSIONS_OF[counter]):
                raise DefinitionsError(f"rule {rule.id!r}: {metric.id} is not broken down by {', '.join(rule.by)}")
        if not rule.windows:
            raise DefinitionsError(f"rule {rule.id!r} needs at least one of the file's windows")
        self.index = index
        self.rule = rule
        self.metric = metric
        self.windows = [(name, int(parse_duration(name))) for name in rule.windows]
        # A stock is summed for ever, whatever the windows say.
        self.sums = [LIFETIME if metric.kind == "stock" else name for name in rule.windows]
        self.longest = max(range(len(self.windows)), key=lambda i: self.windows[i][1])
        self.policy = Policy(
            for_ticks=_ticks(rule.for_),
            longest=self.longest,
            longest_ticks=_ticks(self.windows[self.longest][1]),
            pane_ticks=PANE_MS // TICK_MS,
        )
        self.holds = language.compile_expression(rule.when, language.AGGREGATE_NAMES)
        # A count is its own sample, and has no least one.
        self.min_n = max(rule.min_n, 1) if metric.kind in SAMPLED else None


class Case:
    """A rule on one series. `names`: what its expression may name, filled in at each evaluation."""

    __slots__ = ("dirty", "episode", "excluded", "index", "names", "number", "plan", "series", "values")

    def __init__(self, index: int, plan: Plan, number: int, values: tuple[str, ...]) -> None:
        self.index = index
        self.plan = plan
        self.number = number
        self.values = values
        self.series = dict(zip(plan.rule.by, values, strict=True))
        self.names: dict[str, language.Value] = {**_NO_LABELS, **self.series}
        self.episode = Episode()
        self.dirty = False
        self.excluded = self._excluded_by_labels()

    def _excluded_by_labels(self) -> bool:
        """Whether the labels alone decide that the condition never holds, as in `journey == 'checkout' and ...` elsewhere."""
        try:
            return not self.plan.holds(self.names)
        except (KeyError, ZeroDivisionError, TypeError):
            return False

    @property
    def identity(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """(rule id, by, values)."""
        return (self.plan.rule.id, self.plan.rule.by, self.values)


class Decisions:
    """All aggregate rules. windows: names they look at; counters: what they look at; watch: key -> cases that look at it."""

    def __init__(self, definitions: Definitions) -> None:
        self.plans = [
            Plan(index, rule, METRIC_BY_ID[rule.metric]) for index, rule in enumerate(definitions.rule) if rule.metric is not None
        ]
        self.windows = sorted({name for plan in self.plans for name, _ in plan.windows})
        self.counters = {int(counter) for plan in self.plans for counter in counters_of(plan.metric)}
        self.watch: dict[int, tuple[Case, ...]] = {}
        self.errors = 0
        self._cases: list[Case] = []
        self._by_identity: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Case] = {}
        self._timers: list[tuple[int, int]] = []
        self._sums: WindowSums = {}

    def look_at(self, sums: WindowSums) -> None:
        """Where the windows' sums are; the mappings stay the same objects."""
        self._sums = sums

    def add_series(self, number: int, series: Series) -> None:
        """Watch a new series."""
        for plan in self.plans:
            if plan.rule.by != series.by or series.slice < 0:
                continue
            case = Case(len(self._cases), plan, number, series.values)
            self._cases.append(case)
            self._by_identity[case.identity] = case
            for counter in counters_of(plan.metric):
                key = number << COUNTER_BITS | counter
                # An excluded case needs no evaluation, only its sums for the state it shows.
                self.watch[key] = (*self.watch.get(key, ()), *(() if case.excluded else (case,)))

    @property
    def next_due(self) -> int | None:
        """The earliest tick at which time alone may decide."""
        return self._timers[0][0] if self._timers else None

    def evaluate(self, tick: int, changed: Iterable[int]) -> list[alert.Alert]:
        """Decide every case that looks at a changed key or is due; in the order of rules and label values."""
        watch = self.watch
        cases = {case for key in changed for case in watch.get(key, ())}
        while self._timers and self._timers[0][0] <= tick:
            cases.add(self._cases[heappop(self._timers)[1]])
        if not cases:
            return []
        alerts = []
        for case in sorted(cases, key=lambda case: (case.plan.index, case.values)):
            told = self._decide(case, tick)
            if told is not None:
                alerts.append(told)
        return alerts

    def states(self) -> Iterator[RuleReading]:
        """For the exporter."""
        for case in self._cases:
            rule = case.plan.rule
            status = case.episode.status
            if case.excluded and status != "firing":
                status = idle(self._outcomes(case)[1])
            yield RuleReading(rule.id, rule.severity, rule.by, case.values, status)

    def take_dirty(self) -> list[Case]:
        """Cases whose state changed since the last call."""
        dirty = [case for case in self._cases if case.dirty]
        for case in dirty:
            case.dirty = False
        return dirty

    def cases(self) -> list[Case]:
        """All of them."""
        return self._cases

    def restore(self, rule_id: str, by: tuple[str, ...], values: tuple[str, ...], episode: Episode) -> None:
        """Put a case's state back, after its series; one the definitions no longer have rests in the changelog."""
        case = self._by_identity.get((rule_id, by, values))
        if case is not None:
            case.episode = episode

    def look_again(self, tick: int) -> None:
        """The definitions changed: what fires or is about to is evaluated anew at `tick`."""
        for case in self._cases:
            if case.episode.status in ("firing", "pending"):
                case.episode.due = tick
                case.dirty = True  # an owner who comes before `tick` is decided must know, too

    def rebuild(self) -> None:
        """Timers from states, after `restore`."""
        self._timers = [(case.episode.due, case.index) for case in self._cases if case.episode.due is not None]
        heapify(self._timers)

    def _decide(self, case: Case, tick: int) -> alert.Alert | None:
        estimates, outcomes = self._outcomes(case)
        episode = case.episode
        before = (episode.status, episode.since, episode.clean, episode.starved_since, episode.due)
        transition = step(episode, case.plan.policy, tick, outcomes)
        if before != (episode.status, episode.since, episode.clean, episode.starved_since, episode.due):
            case.dirty = True
            if episode.due is not None and episode.due != before[-1]:
                heappush(self._timers, (episode.due, case.index))
        return None if transition is None else _tell(case, transition, tick * TICK_MS, estimates)

    def look(self, case: Case) -> list[tuple[Estimate, Outcome, Mapping[str, language.Value]]]:
        """What each window of a case says as of now: the number, what it means for the rule, and what the expression names."""
        estimates, outcomes = self._outcomes(case)
        return [(found, outcome, dict(_named(case, found))) for found, outcome in zip(estimates, outcomes, strict=True)]

    def _outcomes(self, case: Case) -> tuple[list[Estimate], list[Outcome]]:
        estimates = [estimate(case.plan.metric, self._sums[name], case.number) for name in case.plan.sums]
        return estimates, [self._outcome(case, found) for found in estimates]

    def _outcome(self, case: Case, found: Estimate) -> Outcome:
        if found.value is None or (case.plan.min_n is not None and found.n < case.plan.min_n):
            return Outcome.INSUFFICIENT
        names = _named(case, found)
        try:
            return Outcome.HOLDS if case.plan.holds(names) else Outcome.FAILS
        except (ZeroDivisionError, TypeError):
            # Only the numbers show it: a division by a count of 0, or a label compared with a number.
            self.errors += 1
            return Outcome.FAILS


def _named(case: Case, found: Estimate) -> dict[str, language.Value]:
    """The case's names with the numbers of one window; of an empty sample only its size."""
    names = case.names
    if found.value is None:
        for name in ("value", "lower", "upper"):
            names.pop(name, None)
    else:
        names["value"] = found.value
        names["lower"] = found.value if found.lower is None else found.lower
        names["upper"] = found.value if found.upper is None else found.upper
    names["n"], names["k"] = found.n, found.k
    return names


def _ticks(duration_ms: int) -> int:
    return -(-duration_ms // TICK_MS)


def _tell(case: Case, transition: Transition, now_ms: int, estimates: list[Estimate]) -> alert.Alert:
    plan, rule, episode = case.plan, case.plan.rule, case.episode
    found = estimates[plan.longest]
    width_ms = plan.windows[plan.longest][1]
    granularity = granularity_ms(width_ms)
    fingerprint = identity.fingerprint_of(rule.id, *rule.by, *case.values)
    episode_id = identity.episode_id_of(fingerprint, episode.firings)
    return alert.Alert(
        alert_id=identity.alert_id_of(episode_id, episode.transitions),
        episode_id=episode_id,
        fingerprint=fingerprint,
        schema_version=alert.SCHEMA_VERSION,
        state=transition.state,
        severity=rule.severity,
        rule=alert.RuleRef(id=rule.id, version=rule.version, text=rule.when),
        slice=case.series,
        metric=alert.Measured(name=plan.metric.id, value=found.value, k=found.k, n=found.n, ci_low=found.lower, ci_high=found.upper),
        window=alert.Window(start=rfc3339(now_ms - now_ms % granularity - width_ms + granularity), end=rfc3339(now_ms)),
        why=_why(case, transition, estimates),
        suggested_action=rule.action,
        owner_team=rule.owner_team,
        runbook=rule.runbook,
        event_time=rfc3339(now_ms),
        detected_at=rfc3339(now_ms),
        expires_at=rfc3339(now_ms + EXPIRES_AFTER_MS),
    )


def _why(case: Case, transition: Transition, estimates: list[Estimate]) -> str:
    """One sentence with the numbers."""
    plan = case.plan
    where = ", ".join(f"{name} {value}" for name, value in case.series.items()) or "all"
    numbers = " and ".join(_number(plan.metric, found, name) for (name, _), found in zip(plan.windows, estimates, strict=True))
    sentence = f"{plan.metric.id} ({where}) is {numbers}"
    if transition.state == "firing":
        held = f" for {plan.policy.for_ticks} s" if plan.policy.for_ticks else ""
        return f"{sentence}: `{plan.rule.when}` held{held}."
    return f"{sentence}: `{plan.rule.when}` ended after {transition.reason}."


def _number(metric: Metric, found: Estimate, window: str) -> str:
    if found.value is None:
        return f"unknown over {window}"
    percent = metric.kind == "ratio"

    def show(value: float) -> str:
        return f"{value * 100:.1f} %" if percent else f"{value:.6g}"

    interval = "" if found.lower is None or found.upper is None else f"95 % interval {show(found.lower)} to {show(found.upper)}, "
    sample = f" ({interval}n = {found.n})" if metric.kind in SAMPLED else ""
    return f"{show(found.value)} over {window}{sample}"

"""Aggregate rules on series: evaluated when a number they look at changes or when time alone decides, told as alerts."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.alerts.alert import Alert
from streamer.definitions import Definitions, Rule
from streamer.deltas import TICK_MS
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.counters import ACCOUNT
from streamer.metrics.metric import counters_of
from streamer.metrics.readings import STATES, AccountsReading, RuleReading
from streamer.rollup import groups, telling
from streamer.rollup.baselines import HOUR_TICKS
from streamer.rollup.estimates import COUNTER_BITS, Estimate
from streamer.rollup.evidence import Evidence
from streamer.rollup.groups import Group
from streamer.rollup.learning import Learning
from streamer.rollup.plans import Case, Plan
from streamer.rollup.rows import Identity
from streamer.rollup.series import OTHER
from streamer.rules.evaluate import Episode, Outcome, Transition, idle, step
from streamer.rules.quiet import zone_of

if TYPE_CHECKING:
    from streamer.rollup.learning import Row
    from streamer.rollup.series import Series
    from streamer.rollup.sums import WindowSums
    from streamer.rules.language import Value

# What is usual changes with the time, at most by a sixtieth of the way from hour to hour in so long: a rule that compares with it is looked
# at as often though no number changes, or it would not see that everything has stopped. Only in hours in which it does change: a history
# may end with months of nothing.
LOOK_TICKS: Final = 60

_CHANGED_MODE = Transition("resolved", "a change of how the rule is told")


class Told(NamedTuple):
    """An alert; `muted` if nobody is to be told."""

    alert: Alert
    muted: bool


class Gone(NamedTuple):
    """A firing state whose rule or slice the definitions no longer have; `rule` as it was, as far as it is known."""

    identity: Identity
    episode: Episode
    rule: Rule


class Decisions:
    """All aggregate rules. windows: names they look at; counters: what they look at; watch: key -> cases that look at it."""

    def __init__(self, definitions: Definitions, topic: str = "") -> None:
        zone = zone_of(definitions.timezone)
        self.plans = [
            Plan(index, rule, METRIC_BY_ID[rule.metric], definitions.dashboard, zone)
            for index, rule in enumerate(definitions.rule)
            if rule.metric is not None and rule.mode != "off"
        ]
        self.windows = sorted({name for plan in self.plans for name, _ in plan.windows})
        self.counters = {int(counter) for plan in self.plans for counter in counters_of(plan.metric)}
        self.watch: dict[int, tuple[Case, ...]] = {}
        self.evidence = Evidence(definitions.limits, topic)
        self.errors = 0
        self.unlooked: set[str] = set()  # ids of rules of which everything is to be evaluated with the next tick
        self.looks = 0  # at ticks, and at rules on series, so far
        self._cases: list[Case] = []
        self._by_identity: dict[Identity, Case | Group] = {}
        self._groups: dict[tuple[int, tuple[str, ...]], Group] = {}
        self._gone: list[Gone] = []
        self._dirty_gone: list[Gone] = []
        self._timers: list[tuple[int, int]] = []
        self._sums: WindowSums = {}
        self._learning = Learning(self.plans, zone)
        self._usual: list[Case] = []  # compare with what is usual
        self._moving: list[Case] = []  # those of which that changes within the hour
        self._next_look: int | None = None
        # Groups that fire though none of their series does, or the other way round: the definitions put other series together now.
        self._regrouped: list[Group] = []
        self._tick = 0

    def look_at(self, sums: WindowSums) -> None:
        """Where the windows' sums are; the mappings stay the same objects."""
        self._sums = sums

    def add_series(self, number: int, series: Series, tick: int | None = None) -> None:
        """Watch a series. tick: when it has come, None if it is put back."""
        for plan in self.plans:
            # The accounts beyond the limit are nobody that could be called.
            if plan.by != series.by or series.slice < 0 or (plan.by == (ACCOUNT,) and series.values == (OTHER,)):
                continue
            case = Case(len(self._cases), plan, number, series.values)
            self._cases.append(case)
            self._by_identity[case.identity] = case
            if plan.rule.group_by is not None:
                self._join(case)
            if tick is not None:
                self._learning.met(case, tick)
            plan.series += not case.excluded
            if case.baseline is not None and not case.excluded:
                self._usual.append(case)
                if tick is not None and self._moves(case, tick):
                    self._moving.append(case)
            for counter in counters_of(plan.metric):
                key = number << COUNTER_BITS | counter
                # An excluded case needs no evaluation, only its sums for the state it shows.
                self.watch[key] = (*self.watch.get(key, ()), *(() if case.excluded else (case,)))
            self.evidence.watch(case)

    def _join(self, case: Case) -> None:
        values = groups.values_of(case)
        group = self._groups.get((case.plan.index, values))
        if group is None:
            group = self._groups[case.plan.index, values] = Group(case.plan, values)
            self._by_identity[group.identity] = group
        group.cases.append(case)

    @property
    def next_due(self) -> int | None:
        """The earliest tick at which time alone may decide."""
        due = [self._timers[0][0]] if self._timers else []
        if self._learning.hour_ends is not None:
            due.append(self._learning.hour_ends)
        if self._usual and self._next_look is not None:
            due.append(self._next_look)
        if self._gone or self._regrouped:
            due.append(self._tick)
        return min(due, default=None)

    def evaluate(self, tick: int, changed: Iterable[int]) -> list[Told]:
        """Decide every case that looks at a changed key or is due; in the order of rules and label values."""
        self._tick = tick
        self.unlooked.clear()
        told = self._end_gone(tick) if self._gone else []
        watch = self.watch
        cases = {case for key in changed for case in watch.get(key, ())}
        while self._timers and self._timers[0][0] <= tick:
            at, index = heappop(self._timers)
            if self._cases[index].episode.due == at:  # others are of a state that is no more, and a restore does not know them
                cases.add(self._cases[index])
        if tick % HOUR_TICKS == 0:
            self._find_moving(tick)
        if tick % LOOK_TICKS == 0:
            cases.update(self._moving)
        self._plan_look(tick + 1)
        self.looks += 1 + len(cases)
        touched = dict.fromkeys(self._regrouped)
        self._regrouped = []
        for case in sorted(cases, key=lambda case: (case.plan.index, case.values)):
            told += self._decide(case, tick, touched)
        for group in touched:
            told += self._decide_group(group, tick)
        if self._learning.is_over(tick):
            self._learning.learn(tick, self._cases, self._sums)
            self.looks += len(self._cases)
        return told

    def states(self) -> Iterator[RuleReading]:
        """For the exporter; without rules on accounts."""
        for case in self._cases:
            rule = case.plan.rule
            if rule.on == ACCOUNT:
                continue
            status = case.episode.status
            if case.excluded and status != "firing":
                status = idle(self._outcomes(case, self._tick)[1])
            yield RuleReading(rule.id, rule.severity, rule.by, case.values, status)

    def account_states(self) -> Iterator[AccountsReading]:
        """How many accounts each rule on accounts has in each state."""
        rules = [plan.rule for plan in self.plans if plan.rule.on == ACCOUNT]
        counts = Tally((case.plan.rule.id, case.episode.status) for case in self._cases) if rules else {}
        for rule in rules:
            for status in STATES:
                yield AccountsReading(rule.id, rule.severity, status, counts.get((rule.id, status), 0))

    def take_dirty(self) -> list[tuple[Identity, Episode]]:
        """States that changed since the last call."""
        dirty = []
        for case in self._cases:
            if case.dirty:
                case.dirty = False
                dirty.append((case.identity, case.episode))
        for group in self._groups.values():
            if group.dirty:
                group.dirty = False
                dirty.append((group.identity, group.episode))
        gone, self._dirty_gone = self._dirty_gone, []
        return dirty + [(one.identity, one.episode) for one in gone]

    def take_dirty_baselines(self) -> list[Row]:
        """What of the baselines changed since the last call."""
        return self._learning.take_dirty(self._cases)

    def all_states(self) -> list[tuple[Identity, Episode]]:
        """All of them."""
        return [
            *((case.identity, case.episode) for case in self._cases),
            *((group.identity, group.episode) for group in self._groups.values()),
            *((one.identity, one.episode) for one in self._gone),
        ]

    def all_baselines(self) -> list[Row]:
        """All of them."""
        return list(self._learning.all(self._cases))

    def cases(self) -> list[Case]:
        """Every rule on every series."""
        return self._cases

    def case_of(self, identity: Identity) -> Case | None:
        """The rule on the series, if the definitions still have both."""
        case = self._by_identity.get(identity)
        return case if isinstance(case, Case) else None

    def restore(self, identity: Identity, episode: Episode, rules: dict[str, Rule]) -> None:
        """Put a state back, after its series; one that fires and that the definitions no longer have ends at the next tick.

        rules: of the definitions that the state was of, as far as they are known.
        """
        known = self._by_identity.get(identity)
        if known is not None:
            known.episode = episode
        elif episode.status == "firing":
            rule = groups.rule_of(identity[0])
            self._gone.append(Gone(identity, episode, rules.get(rule) or Rule(id=rule, when="1 == 0", on="customer")))

    def restore_baseline(self, row: Row) -> None:
        """Put back what was usual at an hour of the week."""
        self._learning.restore(row, self.case_of(row[0]))

    def look_again(self, tick: int, rules: Mapping[str, Rule]) -> None:
        """The definitions changed: what fires or is about to, and all of the rules that are others now, is evaluated anew at `tick`.

        rules: those of before. A number may not change again; how long another condition has held does not count for this one; and what
        nobody was told of holds nothing back.
        """
        self.unlooked.update(plan.rule.id for plan in self.plans if rules.get(plan.rule.id) != plan.rule)
        for case in self._cases:
            episode, rule = case.episode, case.plan.rule
            is_on = episode.status in ("firing", "pending")
            if not is_on and (case.excluded or rule.id not in self.unlooked):
                continue
            before = rules.get(rule.id)
            if before is not None and episode.status == "pending" and _condition(before) != _condition(rule):
                episode.status = "ok"
            is_untold = episode.muted and not case.plan.untold
            if is_untold:
                episode.fired, episode.latest = 0, []
            episode.due = tick
            # An owner who comes before `tick` is decided must know, too; of the many in which nothing is on, `unlooked` tells.
            case.dirty = case.dirty or is_on or is_untold

    def rebuild(self, tick: int | None) -> None:
        """Timers from states, after `restore`; `tick` is the first that is not decided."""
        self._timers = [(case.episode.due, case.index) for case in self._cases if case.episode.due is not None]
        heapify(self._timers)
        self._regrouped = [group for group in self._groups.values() if (group.episode.status == "firing") != bool(group.firing())]
        if tick is not None:
            self._tick = tick
            self.begin(tick)

    def begin(self, tick: int) -> None:
        """`tick` is the first that is not decided: from there on time decides, too, if nothing has been decided before."""
        self._learning.begin(tick)
        if self._next_look is None:
            self._find_moving(tick)
            self._plan_look(tick)

    def _plan_look(self, tick: int) -> None:
        """The next look from this tick on."""
        every = LOOK_TICKS if self._moving else HOUR_TICKS
        self._next_look = -(-tick // every) * every

    def _find_moving(self, tick: int) -> None:
        hours = self._learning.hours_around(tick)
        self._moving = [case for case in self._usual if not self._learning.is_steady(case, hours) and self._moves(case, tick)]

    def _moves(self, case: Case, tick: int) -> bool:
        """Whether what is usual changes in the hour of a tick, its first moment included."""
        begin = tick - tick % HOUR_TICKS
        usual = [self._learning.usual(case, at) for at in (begin - 1, begin, begin + HOUR_TICKS - 1)]
        return usual.count(usual[0]) < len(usual)

    def _decide(self, case: Case, tick: int, touched: dict[Group, None]) -> list[Told]:
        estimates, outcomes = self._outcomes(case, tick)
        episode, plan = case.episode, case.plan
        before = (episode.status, episode.since, episode.clean, episode.starved_since, episode.due)
        told = []
        if episode.status == "firing" and episode.muted != plan.untold:
            episode.status, episode.transitions = idle(outcomes), episode.transitions + 1
            told.append(self._tell(case, _CHANGED_MODE, tick, estimates))
        transition = step(episode, plan.policy, tick, outcomes)
        if before != (episode.status, episode.since, episode.clean, episode.starved_since, episode.due):
            case.dirty = True
            if episode.due is not None and episode.due != before[-1]:
                heappush(self._timers, (episode.due, case.index))
        if transition is not None and transition.state == "firing":
            episode.muted, episode.severity = plan.untold, plan.rule.severity
        if plan.rule.group_by is not None:
            group = self._groups[plan.index, groups.values_of(case)]
            if transition is not None or group.is_of_another_mode:
                touched[group] = None
        elif transition is not None:
            told.append(self._tell(case, transition, tick, estimates))
        return told

    def look(self, case: Case) -> list[tuple[Estimate, Outcome, Mapping[str, Value]]]:
        """What each window of a case says as of now: the number, what it means for the rule, and what the expression names."""
        estimates, outcomes = self._outcomes(case, self._tick)
        usual = self._learning.usual(case, self._tick)
        return [(found, outcome, case.named(found, usual)) for found, outcome in zip(estimates, outcomes, strict=True)]

    def _decide_group(self, group: Group, tick: int) -> list[Told]:
        told = []
        if group.is_of_another_mode:
            group.step([], tick)
            told.append(self._tell_group(group, [], _CHANGED_MODE, tick))
        firing = group.firing()
        transition = group.step(firing, tick)
        if transition is not None:
            told.append(self._tell_group(group, firing, transition, tick))
        return told

    def _tell_group(self, group: Group, firing: list[Case], transition: Transition, tick: int) -> Told:
        numbers = [(case, case.estimates(self._sums), self._learning.usual(case, tick)) for case in firing]
        record = telling.of_group(group.plan, group.labels, group.episode, transition, tick * TICK_MS, numbers)
        record = self.evidence.put_into(record, firing, tick * TICK_MS, self._sums)
        return Told(record, group.episode.muted)

    def _tell(self, case: Case, transition: Transition, tick: int, estimates: list[Estimate]) -> Told:
        usual = self._learning.usual(case, tick)
        record = telling.of_case(case, transition, tick * TICK_MS, estimates, usual)
        return Told(self.evidence.put_into(record, [case], tick * TICK_MS, self._sums), case.episode.muted)

    def _outcomes(self, case: Case, tick: int) -> tuple[list[Estimate], list[Outcome]]:
        estimates = case.estimates(self._sums)
        usual = self._learning.usual(case, tick)
        outcomes = []
        for found in estimates:
            outcome, failed = case.outcome(found, usual)
            self.errors += failed
            outcomes.append(outcome)
        return estimates, outcomes

    def _end_gone(self, tick: int) -> list[Told]:
        told = []
        for (_, by, values), episode, rule in self._gone:
            episode.status, episode.transitions = "ok", episode.transitions + 1
            if not episode.muted:
                told.append(Told(telling.of_gone(rule, dict(zip(by, values, strict=True)), episode, tick * TICK_MS), muted=False))
        self._dirty_gone, self._gone = self._dirty_gone + self._gone, []
        return told


def _condition(rule: Rule) -> tuple[object, ...]:
    """What holds or does not."""
    return (rule.metric, rule.when, rule.windows, rule.min_n, rule.baseline, rule.baseline_weeks)

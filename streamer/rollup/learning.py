"""What the rules with a baseline by hour of the week learn of their series, hour by hour, and the rows it is kept as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.rollup.baselines import HOUR_TICKS, WEEK_TICKS, Baseline, Week, last_tick_of_hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

    from streamer.rollup.plans import Case, Plan
    from streamer.rollup.rows import Identity
    from streamer.rollup.sums import WindowSums

# (of which series, hour of the week, values); in place of an hour `WITHOUT`, of a series how many weeks there was none, of a rule since
# which tick it looks.
Row = tuple["Identity", int, list[float]]
WITHOUT: Final = -1
# Beside the rule's id, in the identity of what is known of the rule itself.
_MARK: Final = "\x1frule"


class Learning:
    """Of all rules. hour_ends: the last tick of the hour, None if no rule learns or no time is known yet.

    _since: of the rules on counts and stocks, when the first hour ended at which they looked.
    """

    def __init__(self, plans: Iterable[Plan], zone: ZoneInfo) -> None:
        self.hour_ends: int | None = None
        learning = [plan for plan in plans if plan.learns]
        self._learns = bool(learning)
        self._counts = {plan.rule.id for plan in learning if plan.min_n is None}
        self._week = Week(zone)
        self._since: dict[str, int] = {}
        self._dirty: set[str] = set()

    def usual(self, case: Case, tick: int) -> float | None:
        """The baseline of a case at a tick, None if the rule has none or nothing is known."""
        if case.baseline is None:
            return case.plan.target
        return case.baseline.between(*self._week.hours(tick), (tick % HOUR_TICKS + 1) / HOUR_TICKS)

    def hours_around(self, tick: int) -> tuple[int, int, int]:
        """The tick's hour as one of the week, after the two before it."""
        begin = tick - tick % HOUR_TICKS
        return self._week.hours(begin - 1)[0], *self._week.hours(begin)

    def is_steady(self, case: Case, hours: tuple[int, int, int]) -> bool:
        """Whether the same is usual in all these hours: then it is at every tick, which need not be reckoned."""
        baseline = case.baseline
        return baseline is None or baseline.at(hours[0]) == baseline.at(hours[1]) == baseline.at(hours[2])

    def met(self, case: Case, tick: int) -> None:
        """A series comes for the first time. Of a count it is known what was there before: nothing; a new cause must not wait for weeks."""
        since = self._since.get(case.plan.rule.id)
        if case.baseline is not None and since is not None and tick - since >= WEEK_TICKS:
            case.baseline.weeks_without = min((tick - since) // WEEK_TICKS, case.plan.rule.baseline_weeks)
            case.baseline.dirty.add(WITHOUT)

    def is_over(self, tick: int) -> bool:
        """Whether there is something to learn at this tick."""
        self.begin(tick)
        return self.hour_ends is not None and tick >= self.hour_ends

    def learn(self, tick: int, cases: Iterable[Case], sums: WindowSums) -> None:
        """An hour is over: what it was like will be usual."""
        hour = self._week.hour(tick)
        for case in cases:
            if case.baseline is None or case.excluded or case.episode.status in ("firing", "pending"):
                continue
            found = case.estimates(sums)[case.plan.longest]
            # A count has no least sample: an hour without any is as usual as another.
            if found.value is not None and (case.plan.min_n is None or found.n >= case.plan.min_n):
                case.baseline.learn(hour, found.value)
        for rule in sorted(self._counts - self._since.keys()):
            self._since[rule] = tick
            self._dirty.add(rule)
        self.hour_ends = last_tick_of_hour(tick + 1)

    def begin(self, tick: int) -> None:
        """`tick` is the first that is not decided, whether a state was restored or there is none."""
        if self._learns and self.hour_ends is None:
            self.hour_ends = last_tick_of_hour(tick)

    def take_dirty(self, cases: Iterable[Case]) -> list[Row]:
        """What changed since the last call."""
        found = [_of_rule(rule, self._since[rule]) for rule in sorted(self._dirty)]
        self._dirty.clear()
        for case in cases if self._learns else ():
            if case.baseline is not None and case.baseline.dirty:
                found += [(case.identity, hour, _kept(case.baseline, hour)) for hour in sorted(case.baseline.dirty)]
                case.baseline.dirty.clear()
        return found

    def all(self, cases: Iterable[Case]) -> Iterator[Row]:
        """All of it."""
        yield from (_of_rule(rule, since) for rule, since in self._since.items())
        for case in cases:
            if case.baseline is not None:
                hours = [WITHOUT] * (case.baseline.weeks_without > 0) + list(case.baseline.values)
                yield from ((case.identity, hour, _kept(case.baseline, hour)) for hour in hours)

    def restore(self, row: Row, case: Case | None) -> None:
        """Put a row back. case: of the row's series, None if there is none any more, or if it is of a rule."""
        (name, _, _), hour, values = row
        rule = rule_of(row[0])
        if rule != name and rule in self._counts:
            self._since[rule] = int(values[0])
        if case is None or case.baseline is None:
            return
        if hour == WITHOUT:
            case.baseline.weeks_without = int(values[0])
        else:
            case.baseline.load(hour, values)


def rule_of(identity: Identity) -> str:
    """The id of the rule that a row is of."""
    return identity[0].removesuffix(_MARK)


def _of_rule(rule: str, since: int) -> Row:
    return (rule + _MARK, (), ()), WITHOUT, [float(since)]


def _kept(baseline: Baseline, hour: int) -> list[float]:
    return [float(baseline.weeks_without)] if hour == WITHOUT else baseline.values[hour]

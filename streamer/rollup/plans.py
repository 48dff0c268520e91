"""An aggregate rule made ready, and the rule on one series: what its condition sees in each window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from streamer.deltas import PANE_MS, TICK_MS
from streamer.durations import parse_duration
from streamer.metrics.catalogue import LIFETIME
from streamer.metrics.counters import DIMENSIONS
from streamer.metrics.metric import SAMPLED, Metric
from streamer.rollup.baselines import Baseline
from streamer.rollup.estimates import COUNTER_BITS, Z99, Estimate, Z, estimate
from streamer.rollup.panes import granularity_ms
from streamer.rules import language
from streamer.rules.evaluate import Episode, Outcome, Policy
from streamer.rules.exemplars import evidence_of
from streamer.rules.quiet import QuietHours

if TYPE_CHECKING:
    from streamer.definitions import Rule
    from streamer.rollup.rows import Witness
    from streamer.rollup.sums import WindowSums

# With more series than this a rule looks at 99 % intervals: of 20 bounds at 95 % one is wrong on either side by chance.
SLICES_AT_95: Final = 20

UTC: Final = ZoneInfo("UTC")
_LABELS: Final = frozenset(DIMENSIONS)
_NO_LABELS: Final[dict[str, language.Value]] = dict.fromkeys(DIMENSIONS, "")


class Plan:
    """A rule, compiled. `windows`: (name, length in milliseconds), in the rule's order; `sums`: where each one's numbers are.

    by: the dimensions of its series; series: how many it looks at. untold: whether their alerts are told to nobody, by a draft or because
    a group tells them.
    """

    def __init__(self, index: int, rule: Rule, metric: Metric, dashboard: str = "", zone: ZoneInfo = UTC) -> None:
        self.index = index
        self.rule = rule
        self.metric = metric
        self.by = rule.series_by
        self.windows = [(name, int(parse_duration(name))) for name in rule.windows]
        # A level is summed for ever, whatever the windows say.
        self.is_level = metric.kind == "stock"
        self.sums = [LIFETIME if self.is_level else name for name in rule.windows]
        self.longest = max(range(len(self.windows)), key=lambda i: self.windows[i][1])
        self.policy = Policy(
            for_ticks=_ticks(rule.for_),
            longest=self.longest,
            longest_ticks=_ticks(self.windows[self.longest][1]),
            pane_ticks=PANE_MS // TICK_MS,
            cooldown_ms=int(rule.cooldown),
            max_per_day=rule.max_per_day,
            quiet=QuietHours(rule.quiet, zone) if rule.quiet else None,
        )
        self.holds = language.compile_expression(rule.when, language.AGGREGATE_NAMES)
        self.by_labels = language.foresee(rule.when, _LABELS)
        self.clears = language.compile_expression(rule.clear, language.AGGREGATE_NAMES) if rule.clear else None
        # A count is its own sample, and has no least one.
        self.min_n = max(rule.min_n, 1) if metric.kind in SAMPLED else None
        self.target = rule.baseline if isinstance(rule.baseline, float) else None
        self.learns = rule.baseline is not None and self.target is None
        self.untold = rule.mode == "draft" or rule.group_by is not None
        self.dashboard = rule.dashboard or dashboard
        self.evidenced = evidence_of(metric, rule.when)
        self.series = 0

    def window_at(self, now_ms: int) -> tuple[int, int]:
        """(begin, width) of the longest window as of a time, in milliseconds: the panes that begin in it, the last of which goes on."""
        longest_ms = self.windows[self.longest][1]
        granularity = granularity_ms(longest_ms)
        panes = -(-longest_ms // granularity)  # a window that is no multiple of them covers one more in part
        return now_ms - now_ms % granularity - (panes - 1) * granularity, panes * granularity

    @property
    def z(self) -> float:
        """How wide the intervals are that the condition sees."""
        return Z if self.series <= SLICES_AT_95 else Z99

    @property
    def confidence(self) -> float | None:
        """Of those intervals, if it is not 0.95."""
        return None if self.series <= SLICES_AT_95 else 0.99


class Case:
    """A rule on one series. `names`: what its expression may name, filled in at each evaluation. witnesses: the latest evidence."""

    __slots__ = (
        "baseline", "dirty", "episode", "excluded", "has_new_witnesses", "index", "names", "number", "plan", "series", "values",
        "witnesses",
    )  # fmt: skip

    def __init__(self, index: int, plan: Plan, number: int, values: tuple[str, ...]) -> None:
        self.index = index
        self.plan = plan
        self.number = number
        self.values = values
        self.series = dict(zip(plan.by, values, strict=True))
        self.names: dict[str, language.Value] = {**_NO_LABELS, **self.series}
        self.episode = Episode()
        self.dirty = self.has_new_witnesses = False
        self.witnesses: list[Witness] = []
        self.baseline = Baseline(plan.rule.baseline_weeks) if plan.learns else None
        self.excluded = self._excluded_by_labels()

    def _excluded_by_labels(self) -> bool:
        """Whether the labels alone decide that the condition never holds, as in `journey == 'checkout' and ...` elsewhere."""
        found = self.plan.by_labels(self.names)
        return found is not None and not found

    @property
    def identity(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """(rule id, by, values)."""
        return (self.plan.rule.id, self.plan.by, self.values)

    def estimates(self, sums: WindowSums) -> list[Estimate]:
        """The metric in each of the rule's windows."""
        return [estimate(self.plan.metric, sums[name], self.number, self.plan.z) for name in self.plan.sums]

    def evidence_count(self, sums: WindowSums) -> int | None:
        """How many changes of the longest window the evidence is of; None where the counters do not say how many they were."""
        metric, window = self.plan.metric, sums[self.plan.sums[self.plan.longest]]
        if metric.kind == "count" and metric.scale != 1:
            return None  # a sum of amounts
        if metric.kind == "mean" and metric.squares is None and metric.sample is None:
            return None  # the denominator may be a sum of weights
        base = self.number << COUNTER_BITS
        counted, but_not = (sum(window.get(base | counter, 0) for counter in some) for some in self.plan.evidenced)
        return max(counted - but_not, 0)

    def named(self, found: Estimate, usual: float | None) -> dict[str, language.Value]:
        """What the condition sees of one window; a value that is unknown is missing."""
        if found.value is None:
            return {**_NO_LABELS, **self.series, "n": found.n, "k": found.k}
        self._fill(found, found.value, usual)
        return dict(self.names)

    def _fill(self, found: Estimate, value: float, usual: float | None) -> None:
        names = self.names
        names["value"] = value
        names["lower"] = value if found.lower is None else found.lower
        names["upper"] = value if found.upper is None else found.upper
        names["n"], names["k"] = found.n, found.k
        if usual is not None:
            names["baseline"], names["delta"] = usual, value - usual

    def outcome(self, found: Estimate, usual: float | None) -> tuple[Outcome, bool]:
        """What the condition says of one window, and whether it could not be evaluated."""
        plan, names = self.plan, self.names
        if found.value is None or (plan.min_n is not None and found.n < plan.min_n) or (plan.learns and usual is None):
            return Outcome.INSUFFICIENT, False
        self._fill(found, found.value, usual)
        try:
            if plan.holds(names):
                return Outcome.HOLDS, False
            lingers = self.episode.status == "firing" and plan.clears is not None and not plan.clears(names)
            return Outcome.LINGERS if lingers else Outcome.FAILS, False
        except language.NO_VALUE:
            # Only the numbers show it: a division by a count of 0, or a label compared with a number.
            return Outcome.FAILS, True


def _ticks(duration_ms: int) -> int:
    return -(-duration_ms // TICK_MS)

"""Aggregate rules recounted: which of them fired and resolved at which tick, read off what was known until then.

Brute force: each second the sums of every window are added up from the panes, and whether a rule fires is read off the outcomes of
all seconds so far. Written from docs/reference/alerts.md ("Aggregate rules") and docs/reference/metrics.md; no code of the product.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from tests.oracle.plan import duration_ms
from tests.oracle.ticks import TICK_MS, Booking

PANE_MS = 10_000
PANE_TICKS = PANE_MS // TICK_MS
HOUR_MS = 3_600_000
CLEAN_BOUNDARIES = 3
Z = NormalDist().inv_cdf(0.975)
DEFAULT_MIN_N = 30

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"

# docs/reference/metrics.md: kind, numerator, denominator. Of a mean: sum, squares, sample, and in how many parts a point is counted.
RATIOS = {
    "abandon_rate": (["ABANDONED"], ["ABANDONED", "COMPLETED"]),
    "close_rate": (["COMPLETED"], ["COMPLETED", "ABANDONED", "FAILED"]),
    "friction_rate": (["FRICTION_INSTANCES"], ["STARTED"]),
    "repeat_rate": (["REPEAT_CONTACTS"], ["CONTACTS"]),
    "transfer_rate": (["CONTACTS_TRANSFERRED"], ["CONTACTS"]),
    "switch_rate": (["ISSUES_SWITCHED"], ["ISSUES"]),
}
MEANS = {"effort_mean": ("EFFORT_TENTHS", "EFFORT_TENTHS_SQUARED", "ISSUES", 10)}
COUNTS = {"touchpoints": "TOUCHPOINTS", "contacts": "CONTACTS", "journeys_started": "STARTED"}
STOCKS = {"journeys_open": "OPEN"}

Slice = tuple[tuple[str, str], ...]


class Measured(NamedTuple):
    """value: None for an empty sample. k, n: as in the alert record."""

    value: float | None
    k: int
    n: int
    lower: float | None = None
    upper: float | None = None


class Told(NamedTuple):
    """A transition: of which rule and slice, at which time, and with which numbers of the rule's longest window."""

    rule: str
    slice: Slice
    state: str
    time: int
    measured: Measured
    window_start: int


@dataclass
class Series:
    """A rule on one slice, second by second. outcomes: by tick, one per window."""

    outcomes: dict[int, list[str]] = field(default_factory=dict)
    fired: int | None = None
    ended: int = -1


def transitions(bookings: Iterable[Booking], definitions: Mapping[str, Any], until_tick: int) -> list[Told]:
    """Everything told of the ticks before `until_tick`, in their order."""
    by_tick: dict[int, list[Booking]] = defaultdict(list)
    for booking in bookings:
        by_tick[booking.tick].append(booking)
    rules = [rule for rule in definitions.get("rule", []) if "metric" in rule]
    sums: dict[str, dict[Slice, Counter[tuple[str, int]]]] = {rule["id"]: defaultdict(Counter) for rule in rules}
    states: dict[tuple[str, Slice], Series] = defaultdict(Series)
    told: list[Told] = []
    for tick in range(min(by_tick, default=until_tick), until_tick):
        for rule in rules:
            series = sums[rule["id"]]
            for booking in by_tick.get(tick, ()):
                values = dict(booking.cell)
                if booking.counter in _counters(rule["metric"]) and all(values.get(name) for name in rule.get("by", [])):
                    series[tuple((name, values[name]) for name in rule.get("by", []))][booking.counter, booking.pane] += booking.n
            for labels, panes in sorted(series.items()):
                told += _look(rule, labels, panes, states[rule["id"], labels], tick)
    return told


def _look(rule: Mapping[str, Any], labels: Slice, panes: Counter[tuple[str, int]], series: Series, tick: int) -> Iterator[Told]:
    widths = [duration_ms(window) for window in rule["windows"]]
    measured = [_measure(rule["metric"], panes, tick, width) for width in widths]
    series.outcomes[tick] = [_outcome(rule, labels, one) for one in measured]
    longest = widths.index(max(widths))
    state = _transition(series, tick, _ticks(duration_ms(rule.get("for", "0s"))), longest, _ticks(max(widths)))
    if state:
        start = _floor(tick, max(widths)) - max(widths) + _granularity(max(widths))
        yield Told(rule["id"], labels, state, tick * TICK_MS, measured[longest], start)


def _transition(series: Series, tick: int, for_ticks: int, longest: int, longest_ticks: int) -> str:
    outcomes = series.outcomes
    if series.fired is None:
        # It must have held in every second of `for`, all of them after the last end.
        span = range(tick - for_ticks, tick + 1)
        if span[0] > series.ended and all(t in outcomes and set(outcomes[t]) == {HOLDS} for t in span):
            series.fired = tick
            return "firing"
        return ""
    since = range(series.fired, tick + 1)
    held = max(t for t in since if set(outcomes[t]) == {HOLDS})
    contradicted = [t for t in range(held + 1, tick + 1) if FAILS in outcomes[t] and t % PANE_TICKS == 0]
    starved = range(tick - longest_ticks, tick + 1)
    is_starved = starved[0] > series.fired and all(outcomes[t][longest] == UNKNOWN for t in starved)
    if len(contradicted) >= CLEAN_BOUNDARIES or is_starved:
        series.fired, series.ended = None, tick
        return "resolved"
    return ""


def _outcome(rule: Mapping[str, Any], labels: Slice, found: Measured) -> str:
    has_sample = rule["metric"] in RATIOS or rule["metric"] in MEANS
    if found.value is None or (has_sample and found.n < max(1, rule.get("min_n", DEFAULT_MIN_N))):
        return UNKNOWN
    lower = found.value if found.lower is None else found.lower
    upper = found.value if found.upper is None else found.upper
    names = {**dict(labels), "value": found.value, "lower": lower, "upper": upper, "n": found.n, "k": found.k}
    return HOLDS if eval(rule["when"], {"__builtins__": {}}, names) else FAILS  # noqa: S307  the test's own definitions


def _counters(metric: str) -> Sequence[str]:
    if metric in RATIOS:
        return [*RATIOS[metric][0], *RATIOS[metric][1]]
    return MEANS[metric][:3] if metric in MEANS else [COUNTS.get(metric) or STOCKS[metric]]


def _measure(metric: str, panes: Mapping[tuple[str, int], int], tick: int, width: int) -> Measured:
    """Of one window: a metric is a function of the sums of its counters."""
    floor = _floor(tick, width)
    step = _granularity(width)

    def total(*counters: str) -> int:
        found = 0
        for (counter, pane), n in panes.items():
            start = pane * PANE_MS // step * step
            if counter in counters and (metric in STOCKS or floor - width < start <= floor):
                found += n
        return found

    if metric in COUNTS or metric in STOCKS:
        n = total(*_counters(metric))
        return Measured(float(n), n, n)
    if metric in RATIOS:
        k, n = (total(*counters) for counters in RATIOS[metric])
        return Measured(k / n, k, n, *wilson(k, n)) if n > 0 else Measured(None, k, n)
    of_sum, of_squares, of_sample, parts = MEANS[metric]
    whole, squares, n = total(of_sum), total(of_squares), total(of_sample)
    if n <= 0:
        return Measured(None, whole, n)
    mean = whole / n
    if n < 2:
        return Measured(mean / parts, whole, n)
    half = Z * ((squares - n * mean * mean) / (n - 1) / n) ** 0.5 if squares > n * mean * mean else 0.0
    return Measured(mean / parts, whole, n, (mean - half) / parts, (mean + half) / parts)


@cache
def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % bounds of Wilson's score interval, as statsmodels has them."""
    lower, upper = proportion_confint(k, n, alpha=0.05, method="wilson")
    return float(lower), float(upper)


def _granularity(width: int) -> int:
    """Panes of 10 s in windows of up to an hour; longer ones are not used here."""
    assert width <= HOUR_MS, "windows beyond an hour have wider panes"
    return PANE_MS


def _floor(tick: int, width: int) -> int:
    now = tick * TICK_MS
    return now - now % _granularity(width)


def _ticks(length_ms: int) -> int:
    return -(-length_ms // TICK_MS)

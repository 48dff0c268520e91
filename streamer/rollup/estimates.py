"""From counter sums to a number and how sure it is. Pure arithmetic; the definitions are in the metric catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final, NamedTuple

from streamer.metrics.catalogue import METRICS
from streamer.metrics.metric import Metric

# Quantiles of the standard normal distribution for a two-sided interval of 95 % and of 99 %.
Z: Final = 1.959963984540054
Z99: Final = 2.5758293035489004

# A key of the sums: the series' number and the counter in one integer. Counters stay below 1,024.
COUNTER_BITS: Final = 10
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1


class Estimate(NamedTuple):
    """value: None while undefined (empty sample). k: numerator, n: sample size.

    lower, upper: bounds, of 95 % unless asked otherwise, or None.
    """

    value: float | None
    lower: float | None
    upper: float | None
    k: int
    n: int


def wilson(k: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson score interval of the ratio k / n (Wilson 1927), 0 <= k <= n, n >= 1."""
    square = z * z
    share = k / n
    middle = share + square / (2 * n)
    half = z * sqrt(share * (1 - share) / n + square / (4 * n * n))
    scale = 1 + square / n
    # At the ends the bound is exact, only rounding would say otherwise.
    return (0.0 if k == 0 else (middle - half) / scale, 1.0 if k == n else (middle + half) / scale)


def mean_interval(total: int, squares: int, n: int, z: float = Z) -> tuple[float, float]:
    """Normal interval of the mean total / n from the sum of squares, n >= 2."""
    mean = total / n
    # n * squares - total^2 in integers: the difference of two large floats would lose the digits that matter.
    variance = max(0, n * squares - total * total) / (n * (n - 1))
    half = z * sqrt(variance / n)
    return (mean - half, mean + half)


def difference_interval(k: int, minus: int, n: int, z: float = Z) -> tuple[float, float]:
    """Normal interval of (k - minus) / n, two exclusive shares of one sample, as of NPS; n >= 1."""
    net = (k - minus) / n
    # The variance of a variable that is 1, 0 or -1.
    half = z * sqrt(max(0.0, (k + minus) / n - net * net) / n)
    return (max(-1.0, net - half), min(1.0, net + half))


def at_rank(buckets: Sequence[int], edges: Sequence[float], rank: float) -> float:
    """The value of a rank in a histogram, interpolated within its bucket; beyond the last edge that edge. A bucket's count is >= 0."""
    below, floor = 0, 0.0
    for count, edge in zip(buckets, edges, strict=False):
        if count > 0 and below + count >= rank:
            return floor + (edge - floor) * max(0.0, rank - below) / count
        below, floor = below + count, edge
    return floor


def quantile_estimate(buckets: Sequence[int], edges: Sequence[float], q: float, z: float = Z) -> Estimate:
    """The q-quantile, and the values of the ranks between which it lies (normal approximation of the binomial)."""
    n = sum(buckets)
    if n <= 0:
        return Estimate(None, None, None, n, n)
    half = z * sqrt(n * q * (1 - q))
    value, lower, upper = (at_rank(buckets, edges, min(max(rank, 0.0), n)) for rank in (q * n, q * n - half, q * n + half))
    return Estimate(value, lower, upper, n, n)


def estimate(metric: Metric, sums: Mapping[int, int], series: int, z: float = Z) -> Estimate:
    """The metric of one series; `sums` by `series << COUNTER_BITS | counter`, absent meaning 0. z: how wide the interval is."""
    base = series << COUNTER_BITS
    numerator, denominator, minus = _PARTS[metric.id]
    get = sums.get
    if metric.kind == "quantile":
        return quantile_estimate([get(base | counter, 0) for counter in numerator], metric.edges, metric.quantile, z)
    k = 0
    for counter in numerator:
        k += get(base | counter, 0)
    if metric.kind in ("count", "stock"):
        return Estimate(k / metric.scale, None, None, k, k)
    n = 0
    for counter in denominator:
        n += get(base | counter, 0)
    if metric.kind == "odds":
        return Estimate(k / n if n > 0 else None, None, None, k, k + n)
    if n <= 0:
        return Estimate(None, None, None, k, n)
    if metric.kind == "ratio":
        # k <= n holds by attribution; while a source is left out its other half may be missing.
        lower, upper = wilson(k if 0 <= k <= n else min(max(k, 0), n), n, z)
        return Estimate(k / n, lower, upper, k, n)
    if metric.kind == "difference":
        down = sum(get(base | counter, 0) for counter in minus)
        low, high = difference_interval(k, down, n, z)
        return Estimate((k - down) / n * metric.scale, low * metric.scale, high * metric.scale, k - down, n)
    if metric.sample is not None:
        return Estimate(k / n / metric.scale, None, None, k, get(base | metric.sample, 0))
    if metric.squares is None or n < 2:
        return Estimate(k / n / metric.scale, None, None, k, n)
    squares = 0
    for counter in _SQUARES[metric.id]:
        squares += get(base | counter, 0)
    lower, upper = mean_interval(k, squares * metric.squares_unit, n, z)
    return Estimate(k / n / metric.scale, lower / metric.scale, upper / metric.scale, k, n)


# Plain integers: on the hot path an enumeration's members cost twice.
_PARTS: Final = {
    metric.id: (
        tuple(int(counter) for counter in metric.numerator),
        tuple(int(counter) for counter in metric.denominator),
        tuple(int(counter) for counter in metric.minus),
    )
    for metric in METRICS
}
_SQUARES: Final = {metric.id: tuple(int(counter) for counter in metric.squares_counters) for metric in METRICS}

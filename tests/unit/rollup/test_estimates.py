from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]
from statsmodels.stats.weightstats import DescrStatsW  # type: ignore[import-untyped]

from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.counters import Counter
from streamer.rollup.estimates import (
    COUNTER_BITS,
    Z,
    at_rank,
    difference_interval,
    estimate,
    mean_interval,
    quantile_estimate,
    wilson,
)

SERIES = 3


def sums(**counters: int) -> dict[int, int]:
    return {SERIES << COUNTER_BITS | Counter[name.upper()]: n for name, n in counters.items()}


@pytest.mark.parametrize("n", [1, 2, 3, 10, 29, 30, 100, 1_000, 999_983, 10**9])
def test_wilson_agrees_with_statsmodels(n: int) -> None:
    for k in sorted({0, 1, n // 7, n // 2, n - 1, n}):
        expected = proportion_confint(k, n, alpha=0.05, method="wilson")
        assert wilson(k, n) == pytest.approx(expected, abs=1e-9)
        assert 0 <= wilson(k, n)[0] <= k / n <= wilson(k, n)[1] <= 1


def test_interval_of_a_mean_agrees_with_statsmodels() -> None:
    values = [0, 0, 5, 15, 30, 75, 10, 10]
    expected = DescrStatsW(values).zconfint_mean(alpha=0.05)
    assert mean_interval(sum(values), sum(v * v for v in values), len(values)) == pytest.approx(expected, abs=1e-9)


def test_interval_of_a_mean_of_equal_large_values_has_no_width() -> None:
    value, n = 10**9 + 1, 1000  # in floating point the difference of the squares would be noise
    assert mean_interval(value * n, value * value * n, n) == (value, value)


def test_squares_in_several_counters_and_another_unit_add_up() -> None:
    plain, cross_sold = [1000, 2500, 9000], [12000, 30000]  # hundredths; whole units squared are exact here
    counted = sums(
        orders_plain=3, orders_cross_sold=2, revenue_plain=sum(plain), revenue_cross_sold=sum(cross_sold),
        squares_plain=sum(v * v for v in plain) // 10_000, squares_cross_sold=sum(v * v for v in cross_sold) // 10_000,
    )  # fmt: skip
    found = estimate(METRIC_BY_ID["aov"], counted, SERIES)
    expected = DescrStatsW([value / 100 for value in plain + cross_sold]).zconfint_mean(alpha=0.05)
    assert (found.value, found.k, found.n) == (109, 54500, 5)
    assert (found.lower, found.upper) == pytest.approx(expected, abs=1e-9)


def test_ratio_divides_by_all_counters_of_its_denominator() -> None:
    found = estimate(METRIC_BY_ID["abandon_rate"], sums(abandoned=30, completed=70, failed=900), SERIES)
    assert (found.value, found.k, found.n) == (0.3, 30, 100)
    assert (found.lower, found.upper) == pytest.approx(proportion_confint(30, 100, method="wilson"), abs=1e-9)


def test_ratio_of_nothing_is_undefined() -> None:
    assert estimate(METRIC_BY_ID["abandon_rate"], {}, SERIES) == (None, None, None, 0, 0)


def test_ratio_beyond_its_bounds_keeps_an_interval_within_them() -> None:
    # Half of a pair of changes can be missing while a source is left out.
    found = estimate(METRIC_BY_ID["friction_rate"], sums(friction_instances=12, started=10), SERIES)
    assert found.value == 1.2
    assert found.upper == 1.0


def test_other_series_do_not_count() -> None:
    other = {(SERIES + 1) << COUNTER_BITS | Counter.STARTED: 5}
    assert estimate(METRIC_BY_ID["journeys_started"], other, SERIES).k == 0


def test_odds_have_both_sides_as_sample_and_are_undefined_without_a_loss() -> None:
    assert estimate(METRIC_BY_ID["close_odds"], sums(completed=6, abandoned=2, failed=1), SERIES) == (2.0, None, None, 6, 9)
    assert estimate(METRIC_BY_ID["close_odds"], sums(completed=6), SERIES) == (None, None, None, 6, 6)


def test_mean_is_scaled_to_its_unit_with_its_interval() -> None:
    tenths = [0, 15, 30, 75]
    found = estimate(
        METRIC_BY_ID["effort_mean"],
        sums(effort_tenths=sum(tenths), effort_tenths_squared=sum(t * t for t in tenths), issues=4),
        SERIES,
    )
    lower, upper = DescrStatsW([t / 10 for t in tenths]).zconfint_mean(alpha=0.05)
    assert (found.value, found.n) == (3.0, 4)
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=1e-9)


def test_mean_of_one_has_no_interval() -> None:
    assert estimate(METRIC_BY_ID["effort_mean"], sums(effort_tenths=25, effort_tenths_squared=625, issues=1), SERIES)[:3] == (
        2.5,
        None,
        None,
    )


def test_count_and_stock_are_their_own_sample() -> None:
    assert estimate(METRIC_BY_ID["journeys_open"], sums(open=4), SERIES) == (4.0, None, None, 4, 4)


@pytest.mark.parametrize(("promoters", "passives", "detractors"), [(7, 2, 1), (1, 0, 0), (0, 5, 0), (40, 30, 30), (0, 1, 3)])
def test_interval_of_a_score_agrees_with_numpy(promoters: int, passives: int, detractors: int) -> None:
    answers = np.repeat([1, 0, -1], [promoters, passives, detractors])
    half = Z * answers.std() / np.sqrt(answers.size)
    expected = (max(-1, answers.mean() - half), min(1, answers.mean() + half))
    assert difference_interval(promoters, detractors, answers.size) == pytest.approx(expected, abs=1e-9)


def test_a_score_is_in_points_and_its_numerator_may_be_negative() -> None:
    found = estimate(METRIC_BY_ID["nps_experience"], sums(nps_experience_answers=4, nps_experience_detractors=3), SERIES)
    assert (found.value, found.k, found.n) == (-75, -3, 4)
    assert found.lower == -100


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_a_quantile_is_that_of_the_histogram_and_its_interval_that_of_the_ranks(q: float) -> None:
    edges, buckets = (10.0, 20.0, 40.0, 80.0), (30, 50, 15, 5, 0)
    found = quantile_estimate(buckets, edges, q)
    cumulated = np.concatenate(([0], np.cumsum(buckets[:-1])))
    assert found.value == pytest.approx(np.interp(q * 100, cumulated, (0, *edges)), abs=1e-9)
    assert (found.k, found.n) == (100, 100)
    assert found.lower is not None
    assert found.upper is not None
    # At the normal approximation's ranks the exact binomial covers about as much.
    low, high = (np.interp(bound, (0, *edges), cumulated) for bound in (found.lower, found.upper))
    assert binom.cdf(high, 100, q) - binom.cdf(low, 100, q) == pytest.approx(0.95, abs=0.03)


def test_beyond_the_last_edge_a_quantile_is_that_edge() -> None:
    assert at_rank((0, 0, 7), (1.0, 2.0), 5) == 2.0
    assert quantile_estimate((0, 0), (1.0,), 0.5) == (None, None, None, 0, 0)

"""Our estimators against SciPy and statsmodels, and where there is a known answer, against that."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg  # type: ignore[import-untyped]
import scipy.stats  # type: ignore[import-untyped]
import statsmodels.api  # type: ignore[import-untyped]
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest  # type: ignore[import-untyped]

from streamer.analysis import statistics
from streamer.rollup.estimates import wilson

EXACT: dict[str, Any] = {"rel": 1e-9, "abs": 1e-12}
Array = npt.NDArray[np.float64]


def data(seed: int, n: int = 200) -> Array:
    """Columns that overlap, with ties."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(n, 4))
    base[:, 1] += 0.8 * base[:, 0]
    base[:, 2] = np.round(base[:, 2] + 0.4 * base[:, 1])
    return base


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_correlations_are_those_of_scipy(seed: int) -> None:
    x = data(seed)
    assert statistics.ranks(x[:, 2]) == pytest.approx(scipy.stats.rankdata(x[:, 2]), **EXACT)
    assert statistics.correlation(x[:, 0], x[:, 1]) == pytest.approx(scipy.stats.pearsonr(x[:, 0], x[:, 1]).statistic, **EXACT)
    assert statistics.spearman(x[:, 1], x[:, 2]) == pytest.approx(scipy.stats.spearmanr(x[:, 1], x[:, 2]).statistic, **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_a_slope_is_that_of_scipy(seed: int) -> None:
    x = data(seed, 12)
    assert statistics.slope(x[:, 0], x[:, 1]) == pytest.approx(scipy.stats.linregress(x[:, 0], x[:, 1]).slope, **EXACT)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_slope_is_that_of_statsmodels(seed: int) -> None:
    x = data(seed, 12)
    fit = statsmodels.api.OLS(x[:, 1], statsmodels.api.add_constant(x[:, 0])).fit()
    assert statistics.slope_interval(x[:, 0], x[:, 1]) == pytest.approx((fit.params[1], *fit.conf_int()[1]), **EXACT)


@pytest.mark.parametrize(
    ("k1", "n1", "k2", "n2"), [(56, 70, 48, 80), (9, 10, 3, 10), (10, 10, 0, 20), (0, 7, 0, 9), (184, 353, 1443, 1517)]
)
def test_the_interval_of_a_difference_is_that_of_statsmodels(k1: int, n1: int, k2: int, n2: int) -> None:
    theirs = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff")
    assert independent(k1, n1, k2, n2)[:2] == pytest.approx(theirs, **EXACT)


def independent(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float, float]:
    """The difference of k1 of n1 and k2 of n2, where each is a cluster of its own."""
    ones = [np.repeat([1.0, 0.0], [n1, n2]), np.repeat([0.0, 1.0], [n1, n2])]
    hits = [np.repeat([1.0, 0.0], [k1, n1 + n2 - k1]), np.repeat([0.0, 1.0, 0.0], [n1, k2, n2 - k2])]
    return statistics.clustered_difference(hits, ones)


def test_newcombes_own_example() -> None:
    """56/70 and 48/80: 0.0524 to 0.3339 (Newcombe 1998, table II, case a, method 10)."""
    low, high, p = independent(56, 70, 48, 80)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert p == pytest.approx(proportions_ztest([56, 48], [70, 80])[1], **EXACT)


def test_of_clusters_of_one_an_interval_is_wilsons() -> None:
    hits = np.repeat([1.0, 0.0], [19, 68])
    assert statistics.clustered_share(hits, np.ones(87)) == pytest.approx(wilson(19, 87), **EXACT)


@pytest.mark.parametrize("size", [3, 8])
def test_an_interval_of_clusters_covers(size: int) -> None:
    """60 clusters whose members are all alike; three of ten true."""
    random = np.random.default_rng(size)
    covered = 0
    for _ in range(400):
        hits = size * (random.random(60) < 0.3).astype(float)
        low, high = statistics.clustered_share(hits, np.full(60, float(size)))
        covered += low <= 0.3 <= high
    assert covered / 400 > 0.92


def test_clusters_that_say_one_thing_are_worth_their_number() -> None:
    assert statistics.clustered_share(np.zeros(20), np.full(20, 8.0))[1] > wilson(0, 20)[1]
    low, high = statistics.clustered_share(np.array([3.0]), np.array([10.0]))
    assert (low < wilson(3, 10)[0], high > wilson(3, 10)[1]) == (True, True)


@pytest.mark.parametrize(("hits", "sizes"), [([1, 1], [2, 2]), ([1, 1, 1], [2, 2, 2]), ([1, 2], [2, 4])])
def test_clusters_with_the_same_share_of_both_have_an_interval(hits: list[int], sizes: list[int]) -> None:
    low, high = statistics.clustered_share(np.array(hits, float), np.array(sizes, float))
    assert 0 <= low < 0.5 < high <= 1
    assert high - low >= wilson(sum(hits), sum(sizes))[1] - wilson(sum(hits), sum(sizes))[0] - 1e-9


def test_a_difference_of_clusters_is_seldom_found_where_there_is_none() -> None:
    """Customers differ in how often they have the one and how often the other, and the two have nothing to do with each other."""
    random, found = np.random.default_rng(1), 0
    for _ in range(400):
        p, f = random.beta(0.5, 0.5, 40), random.beta(0.5, 0.5, 40)
        first, hit = random.random((40, 10)) < f[:, None], random.random((40, 10)) < p[:, None]
        hits = [(part & hit).sum(axis=1).astype(float) for part in (first, ~first)]
        low, high, p_value = statistics.clustered_difference(hits, [part.sum(axis=1).astype(float) for part in (first, ~first)])
        found += low > 0 or high < 0 or p_value < 0.05
    assert found / 400 < 0.08


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (19, 87), (296, 560)])
def test_wilsons_interval_is_that_of_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_r_squared_is_that_of_statsmodels(seed: int) -> None:
    x = data(seed)
    fit = statsmodels.api.OLS(x[:, 3], statsmodels.api.add_constant(x[:, :3])).fit()
    assert statistics.r_squared(x[:, :3], x[:, 3]) == pytest.approx(fit.rsquared, **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_relative_weights_are_those_of_the_matrix_square_root_and_add_up_to_r_squared(seed: int) -> None:
    """Johnson's procedure again, by scipy.linalg.sqrtm and a regression on the orthogonal variables."""
    x = data(seed)
    predictors, outcome = x[:, :3], x[:, :3] @ [0.5, -1.0, 0.2] + x[:, 3]
    z = scipy.stats.zscore(predictors)
    root = np.real(scipy.linalg.sqrtm(np.corrcoef(predictors.T)))
    orthogonal = z @ np.linalg.inv(root)
    beta = np.linalg.lstsq(orthogonal, scipy.stats.zscore(outcome), rcond=None)[0]
    weights = statistics.relative_weights(predictors, outcome)
    assert weights == pytest.approx(root**2 @ beta**2, **EXACT)
    fit = statsmodels.api.OLS(outcome, statsmodels.api.add_constant(predictors)).fit()
    assert weights.sum() == pytest.approx(fit.rsquared, **EXACT)


def test_permuted_weights_are_those_of_shuffled_outcomes_and_a_p_value_is_uniform() -> None:
    x = data(4)
    weights = statistics.permuted_weights(x[:, :3], x[:, 3], 1, permutations=450)
    assert weights.shape == (450, 3)
    assert weights.tolist() == statistics.permuted_weights(x[:, :3], x[:, 3], 1, permutations=450).tolist()
    # Without any effect R² is beta distributed (Fisher).
    assert scipy.stats.kstest(weights.sum(axis=1), scipy.stats.beta(3 / 2, (200 - 4) / 2).cdf).pvalue > 0.01
    assert (statistics.chance(9.0, weights[:, 0]), statistics.chance(-1.0, weights[:, 0])) == (1 / 451, 1)


def test_weights_of_uncorrelated_predictors_are_their_squared_correlations() -> None:
    a, b = np.array([1.0, 1, -1, -1] * 25), np.array([1.0, -1, 1, -1] * 25)
    outcome = 3 * a + 4 * b
    assert statistics.relative_weights(np.column_stack([a, b]), outcome) == pytest.approx([9 / 25, 16 / 25], **EXACT)


def test_a_doubled_predictor_shares_its_weight() -> None:
    x = data(1)
    once, outcome = x[:, [0, 2]], x[:, 0] + x[:, 2] + x[:, 3]
    twice = statistics.relative_weights(x[:, [0, 0, 2]], outcome)
    assert twice[0] == pytest.approx(twice[1], **EXACT)
    assert twice.sum() == pytest.approx(statistics.r_squared(once, outcome), **EXACT)


def test_what_does_not_vary_has_no_weight() -> None:
    x = data(2)
    weights = statistics.relative_weights(np.column_stack([x[:, 0], np.full(len(x), 0.1)]), x[:, 0])
    assert weights == pytest.approx([1, 0], **EXACT)
    assert statistics.relative_weights(x[:, :2], np.ones(len(x))) == pytest.approx([0, 0])
    assert statistics.correlation(np.ones(5), np.arange(5.0)) is None
    assert statistics.slope(np.ones(5), np.arange(5.0)) is None


def test_a_bootstrap_is_what_its_seed_says_and_covers_the_mean() -> None:
    x = data(3)[:, 0]

    def mean(drawn: npt.NDArray[np.intp]) -> Array:
        return np.array([x[drawn].mean()])

    once, again, other = (statistics.bootstrap([len(x)], mean, seed) for seed in (1, 1, 2))
    assert once.tolist() == again.tolist() != other.tolist()
    half = 1.96 * x.std(ddof=1) / len(x) ** 0.5
    assert once[0] == pytest.approx([x.mean() - half, x.mean() + half], abs=0.02)


def test_a_resample_may_be_infinite_or_have_no_number() -> None:
    values = iter([np.array([n / 100 if n < 90 else np.inf, np.nan if n % 2 else 1.0, np.nan]) for n in range(100)])
    limits = statistics.bootstrap([1], lambda _: next(values), 1, resamples=100)
    assert limits[:2].tolist() == [[0.02, np.inf], [1, 1]]
    assert np.isnan(limits[2]).all()


def test_groups_are_drawn_by_themselves() -> None:
    sizes = []

    def seen(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Array:
        sizes.append((len(first), len(second), first.max() < 3, second.max() < 5))
        return np.array([0.0])

    statistics.bootstrap([3, 5], seen, 1, resamples=50)
    assert set(sizes) == {(3, 5, True, True)}

"""The estimators. Each is checked in the tests against SciPy, statsmodels, or a case with a known answer."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy.stats  # type: ignore[import-untyped]

from streamer.rollup.estimates import Z

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

RESAMPLES: Final = 2_000
# Shuffled outcomes that are in memory at a time.
_AT_ONCE: Final = 200
# Eigenvalues of a correlation matrix below this share of the greatest are rounding: the predictors are collinear.
_RANK_TOLERANCE: Final = 1e-10


def ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse].astype(np.float64)


def correlation(x: Array, y: Array) -> float | None:
    """Pearson's r; None if one of the two does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    scale = sqrt(float(dx @ dx) * float(dy @ dy))
    return None if scale == 0 else max(-1.0, min(1.0, float(dx @ dy) / scale))


def spearman(x: Array, y: Array) -> float | None:
    """Spearman's rho: Pearson's r of the ranks."""
    return correlation(ranks(x), ranks(y))


def slope(x: Array, y: Array) -> float | None:
    """The slope of the least-squares line; None if x does not vary."""
    dx = x - x.mean()
    spread = float(dx @ dx)
    return None if spread == 0 else float(dx @ (y - y.mean())) / spread


def slope_interval(x: Array, y: Array) -> tuple[float, float, float]:
    """The slope of the least-squares line of three points or more, and its 95 % interval by the scatter about the line."""
    line = scipy.stats.linregress(x, y)
    half = float(scipy.stats.t.ppf(0.975, len(x) - 2)) * float(line.stderr)
    return float(line.slope), float(line.slope) - half, float(line.slope) + half


def clustered_share(hits: Array, sizes: Array) -> tuple[float, float]:
    """95 % interval of sum(hits) / sum(sizes), of clusters that are independent of each other, and what is in them is not.

    Wilson's, of as many as the clusters are worth: their number by the design effect (Kish 1965), less for few clusters (Korn and Graubard
    1998).
    """
    share = float(hits.sum() / sizes.sum())
    return _wilson(share, _effective(sizes, _variance((hits - share * sizes) / sizes.sum()), share))


def clustered_difference(hits: Sequence[Array], sizes: Sequence[Array]) -> tuple[float, float, float]:
    """95 % interval and p-value of the difference of two shares, first less second, by clusters that may have some of either.

    Newcombe's of as many as the clusters are worth; p of the test of equal shares.
    """
    (p1, p2), (n1, n2) = (float(h.sum() / n.sum()) for h, n in zip(hits, sizes, strict=True)), (float(n.sum()) for n in sizes)
    both = [(h - p * n) / n.sum() for h, n, p in zip(hits, sizes, (p1, p2), strict=True)]
    independent = p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2
    # What the clusters have in common makes the difference surer, and that is left out where it would be surer than of independent ones.
    effect = max(1.0, _variance(both[0] - both[1]) / independent) if independent > 0 else 1.0
    e1, e2 = (_effective(n, effect * p * (1 - p) / n.sum(), p) for n, p in zip(sizes, (p1, p2), strict=True))
    (l1, u1), (l2, u2) = _wilson(p1, e1), _wilson(p2, e2)
    pooled = float((hits[0].sum() + hits[1].sum()) / (n1 + n2))
    error = sqrt(pooled * (1 - pooled) * (1 / e1 + 1 / e2))
    p_value = 2 * float(scipy.stats.norm.sf(abs(p1 - p2) / error)) if error > 0 else 1.0
    return p1 - p2 - sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2), p1 - p2 + sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2), p_value


def _variance(shares: Array) -> float:
    """Of a sum over clusters."""
    return float((shares**2).sum()) * len(shares) / max(1, len(shares) - 1)


def _effective(sizes: Array, variance: float, share: float) -> float:
    """How many independent ones the clusters are worth. Where all are alike, as many as if a cluster told one thing only."""
    sizes = sizes[sizes > 0]
    n, clusters = float(sizes.sum()), len(sizes)
    if clusters == n:  # nothing is in one with anything else
        return n
    if share in (0, 1) or clusters == 1:
        worth = n * n / float((sizes**2).sum())
    else:  # no variance: every cluster has the same share of both, and tells as much as independent ones
        worth = min(n, share * (1 - share) / variance) if variance > 0 else n
    few = (scipy.stats.t.ppf(0.975, max(1.0, n - 1)) / scipy.stats.t.ppf(0.975, max(1, clusters - 1))) ** 2
    return max(1.0, worth * float(few))


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval, of an n that need not be whole."""
    middle, half = share + Z**2 / (2 * n), Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n * n))
    scale = 1 + Z**2 / n
    return (0.0 if share == 0 else (middle - half) / scale, 1.0 if share == 1 else (middle + half) / scale)


def relative_weights(predictors: Array, outcome: Array) -> Array:
    """Johnson's relative weights (2000): each predictor's share of R², so that they add up to it. Columns are predictors.

    The predictors are replaced by the orthogonal variables nearest to them, whose shares are unambiguous, and these are led back. A column
    that does not vary has weight 0.
    """
    weights: Array = _weights(predictors, outcome[:, None])[:, 0]
    return weights


def permuted_weights(predictors: Array, outcome: Array, seed: int, permutations: int = RESAMPLES) -> Array:
    """Relative weights of outcomes that have been shuffled, a row each: what they are where nothing goes with anything."""
    random = np.random.default_rng(seed)
    parts = [min(_AT_ONCE, permutations - done) for done in range(0, permutations, _AT_ONCE)]
    shuffled = (random.permuted(np.tile(outcome[:, None], count), axis=0) for count in parts)
    return np.concatenate([_weights(predictors, outcomes).T for outcomes in shuffled])


def _weights(predictors: Array, outcomes: Array) -> Array:
    """A column of weights for each column of outcomes."""
    weights = np.zeros((predictors.shape[1], outcomes.shape[1]))
    spread = predictors.std(axis=0)
    vary = spread > 1e-12 * np.maximum(1.0, np.abs(predictors).max(axis=0, initial=0.0))
    moves = outcomes.std(axis=0)
    if not vary.any() or not moves.all():
        return weights
    x = (predictors[:, vary] - predictors[:, vary].mean(axis=0)) / spread[vary]
    y = (outcomes - outcomes.mean(axis=0)) / moves
    among, with_outcome = x.T @ x / len(y), x.T @ y / len(y)
    values, vectors = np.linalg.eigh(among)
    roots = np.sqrt(np.clip(values, 0, None))
    keep = values > _RANK_TOLERANCE * values.max()
    inverse_roots = np.where(keep, 1 / np.where(keep, roots, 1), 0)
    lambda_ = (vectors * roots) @ vectors.T
    beta = (vectors * inverse_roots) @ vectors.T @ with_outcome
    weights[vary] = lambda_**2 @ beta**2
    return weights


def chance(found: float, by_chance: Array) -> float:
    """How often chance does as well: the p-value of a permutation test, in which the data themselves count as one permutation."""
    return float(1 + (by_chance >= found * (1 - 1e-12)).sum()) / (len(by_chance) + 1)


def r_squared(predictors: Array, outcome: Array) -> float:
    """R² of the least-squares fit with an intercept."""
    design = np.column_stack([np.ones(len(outcome)), predictors])
    fitted = design @ np.linalg.lstsq(design, outcome, rcond=None)[0]
    total = float(((outcome - outcome.mean()) ** 2).sum())
    return 0.0 if total == 0 else 1 - float(((outcome - fitted) ** 2).sum()) / total


def bootstrap(sizes: Sequence[int], statistic: Callable[..., Array], seed: int, resamples: int = RESAMPLES) -> Array:
    """95 % percentile intervals, a row of (low, high) for each of the statistic's numbers.

    sizes: of the groups, each of which is drawn by itself. statistic: of the drawn members' indices, one array for each group.
    """
    random = np.random.default_rng(seed)
    drawn = np.array([statistic(*(random.integers(0, size, size) for size in sizes)) for _ in range(resamples)])
    # Resamples in their order, those without the number last. No means between two: one of them may be infinite.
    ordered, known = np.sort(drawn, axis=0), (~np.isnan(drawn)).sum(axis=0)
    places = np.floor(0.025 * (known - 1)), np.ceil(0.975 * (known - 1))
    limits: Array = np.array([np.take_along_axis(ordered, place.astype(np.intp)[None], axis=0)[0] for place in places]).T
    return limits

"""BG/NBD and Gamma-Gamma: the published fits to the CDNOW customers, integrals by brute force, and customers made by the model itself.

tests/data/cdnow.csv.gz: the 2,357 customers of the 1/10th sample of CDNOW's cohort of 1997 (Fader and Hardie, brucehardie.com, note 026),
in weeks and dollars, as the package lifetimes 0.11.3 (MIT) has them: repeat orders, their last, the end, and mean spend of repeat orders.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from scipy.stats import beta, gamma  # type: ignore[import-untyped]
from statsmodels.tools.numdiff import approx_hess  # type: ignore[import-untyped]

from streamer.analysis import models
from streamer.analysis.models import BgNbd, GammaGamma

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.analysis.models import Array

CDNOW: Final = Path(__file__).parents[2] / "data" / "cdnow.csv.gz"
MADE: Final = BgNbd(0.9, 30.0, 1.6, 2.5, 0.0, np.eye(4))


@cache
def cdnow() -> tuple[Array, Array, Array, Array]:
    with gzip.open(CDNOW, "rt", encoding="utf-8") as file:
        x, t_x, end, spend = np.loadtxt(file, delimiter=",", skiprows=1).T
    return x, t_x, end, spend


@cache
def fitted() -> BgNbd:
    found = models.fit_bgnbd(*cdnow()[:3])
    assert found is not None
    return found


def array(*values: float) -> Array:
    return np.array(values, dtype=np.float64)


def test_the_fit_to_cdnow_is_the_published_one() -> None:
    """Fader, Hardie and Lee 2005, table 2."""
    found = fitted()
    assert [round(value, 3) for value in found.parameters] == [0.243, 4.414, 0.793, 2.426]
    assert round(found.log_likelihood, 1) == -9582.4


def test_the_expectation_of_a_cdnow_customer_is_the_published_one() -> None:
    """The paper's first customer: 1.226 orders in the next 39 weeks."""
    assert models.expected_orders(fitted(), array(2), array(30.43), array(38.86), 39.0)[0] == pytest.approx(1.226, abs=5e-4)


def test_the_fit_of_spend_to_cdnow_is_the_published_one() -> None:
    """Fader and Hardie 2013: p 6.25, q 3.74, gamma 15.44, of the 946 who ordered again."""
    x, _, _, spend = cdnow()
    found = models.fit_gamma_gamma(x[x > 0], spend[x > 0])
    assert found is not None
    assert list(found[:3]) == pytest.approx([6.25, 3.74, 15.44], abs=1e-2)


def test_the_unit_of_time_and_of_money_is_the_users() -> None:
    x, t_x, end, spend = cdnow()
    in_days = models.fit_bgnbd(x, 7 * t_x, 7 * end)
    assert in_days is not None
    assert in_days.parameters == pytest.approx((fitted().r, 7 * fitted().alpha, fitted().a, fitted().b), rel=1e-4)
    in_cents, in_dollars = (models.fit_gamma_gamma(x[x > 0], unit * spend[x > 0]) for unit in (100, 1))
    assert in_cents is not None
    assert in_dollars is not None
    assert in_cents[:3] == pytest.approx((in_dollars.p, in_dollars.q, 100 * in_dollars.gamma), rel=1e-4)


def test_standard_errors_are_those_of_the_observed_information() -> None:
    found, (x, t_x, end, _) = fitted(), cdnow()

    def total(values: Array) -> float:
        r, alpha, a, b = values
        return float(models.bgnbd_log_likelihood((r, alpha, a, b), x, t_x, end).sum())

    information = -approx_hess(array(*found.parameters), total)
    assert found.errors == pytest.approx(np.sqrt(np.diag(np.linalg.inv(information))), rel=1e-2)


def integral(model: BgNbd, of: Callable[[Array, Array], Array]) -> float:
    """Over everybody's rate and chance of leaving, by Gauss-Legendre: with whole r, a and b there is nothing that is not smooth."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    rates, leaving = gamma(model.r, scale=1 / model.alpha), beta(model.a, model.b)
    most = rates.isf(1e-14)
    p, rate = ((nodes + 1) / 2)[:, None], ((nodes + 1) / 2 * most)[None, :]
    both = np.outer(weights / 2, weights / 2 * most)
    return float((both * of(rate, p) * rates.pdf(rate) * leaving.pdf(p)).sum())


CUSTOMERS: Final = ((0, 0.0, 20.0), (1, 5.0, 30.0), (4, 28.0, 30.0), (7, 10.0, 40.0))


@pytest.mark.parametrize(("x", "t_x", "end"), CUSTOMERS)
def test_likelihood_and_expectation_are_the_integrals_of_the_story(x: int, t_x: float, end: float) -> None:
    model, horizon = MADE._replace(r=2.0, a=3.0, b=4.0), 25.0

    def stayed(rate: Array, p: Array) -> Array:
        return np.asarray((1 - p) ** x * rate**x * np.exp(-rate * end))

    def left(rate: Array, p: Array) -> Array:
        return np.asarray(p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * t_x)) if x else 0 * rate * p

    def orders(rate: Array, p: Array) -> Array:
        return np.asarray(stayed(rate, p) * (1 - np.exp(-rate * p * horizon)) / p)

    likelihood = integral(model, lambda rate, p: stayed(rate, p) + left(rate, p))
    one = array(x), array(t_x), array(end)
    assert np.exp(models.bgnbd_log_likelihood(model.parameters, *one)[0]) == pytest.approx(likelihood, rel=1e-9)
    assert models.chance_to_stay(model, *one)[0] == pytest.approx(integral(model, stayed) / likelihood, rel=1e-9)
    assert models.expected_orders(model, *one, horizon)[0] == pytest.approx(integral(model, orders) / likelihood, rel=1e-9)


def test_the_expectation_goes_on_where_its_formula_is_nothing_divided_by_nothing() -> None:
    one = array(3), array(20), array(30)
    below, at, above = (models.expected_orders(MADE._replace(a=a), *one, 90.0)[0] for a in (0.999, 1.0, 1.001))
    assert below > at > above
    assert at == pytest.approx((below + above) / 2, rel=1e-5)


def test_many_orders_do_not_overflow() -> None:
    """Of so many the rate is known, and the chance of leaving nearly gamma distributed, which has a short integral."""
    one = array(5_000), array(999), array(1_000)
    rate, shape = (MADE.r + 5_000) / (MADE.alpha + 1_000), MADE.a - 1
    expected = rate * 1_000 * (1 - 2**-shape) / shape * models.chance_to_stay(MADE, *one)[0]
    assert models.expected_orders(MADE, *one, 1_000.0)[0] == pytest.approx(expected, rel=0.02)


def made(seed: int, customers: int, later: float = 0.0) -> tuple[Array, Array, Array, Array]:
    """x, t_x, T, and the orders within a span after T, of customers as the model tells of them."""
    random, rows = np.random.default_rng(seed), []
    for _ in range(customers):
        rate, p = random.gamma(MADE.r, 1 / MADE.alpha), random.beta(MADE.a, MADE.b)
        end, now, last, x, after = random.uniform(100, 365), 0.0, 0.0, 0, 0
        while (now := now + random.exponential(1 / rate)) < end + later:
            x, last, after = (x + 1, now, after) if now < end else (x, last, after + 1)
            if random.random() < p:
                break
        rows.append((x, last, end, after))
    x_, last_, end_, after_ = np.array(rows, dtype=np.float64).T
    return x_, last_, end_, after_


def test_parameters_are_recovered_and_later_orders_foretold() -> None:
    x, t_x, end, after = made(1, 6_000, 180)
    found = models.fit_bgnbd(x, t_x, end)
    assert found is not None
    away = [abs(mine - true) / error for mine, true, error in zip(found.parameters, MADE.parameters, found.errors, strict=True)]
    assert max(away) < 2.5
    assert max(error / value for error, value in zip(found.errors, found.parameters, strict=True)) < 0.25
    expected = models.expected_orders(found, x, t_x, end, 180.0)
    error = models.error_of(found, lambda other: float(models.expected_orders(other, x, t_x, end, 180.0).sum()))
    assert abs(after.sum() - expected.sum()) < 2.5 * np.hypot(error, np.sqrt(after.sum()))
    quiet = expected < np.quantile(expected, 0.5)
    assert after[quiet].sum() == pytest.approx(expected[quiet].sum(), rel=0.15), "of the half from whom less is expected"


def test_simulated_orders_are_about_what_is_expected_and_their_interval_covers_what_came() -> None:
    sure, covered = MADE._replace(covariance=np.eye(4) * 1e-12), 0
    for seed in range(30):
        x, t_x, end, after = made(seed, 100, 90)
        drawn = models.simulated_orders(sure, x, t_x, end, 90.0, seed=seed, draws=200)
        expected = models.expected_orders(sure, x, t_x, end, 90.0).sum()
        assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / np.sqrt(200))
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= after.sum() <= high
    assert covered >= 26
    x, t_x, end, _ = made(1, 100, 90)
    drawn = models.simulated_orders(sure, x, t_x, end, 90.0, seed=1, draws=200)
    vague = models.simulated_orders(MADE._replace(covariance=np.eye(4) * 0.04), x, t_x, end, 90.0, seed=1, draws=200)
    assert vague.std() > drawn.std()


def test_parameters_that_nobody_knows_give_numbers_all_the_same() -> None:
    x, t_x, end = np.array([0.0, 3.0]), np.array([0.0, 40.0]), np.array([60.0, 60.0])
    drawn = models.simulated_orders(MADE._replace(covariance=np.eye(4) * 200.0**2), x, t_x, end, 90.0, seed=1, draws=200)
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()


def test_spend_is_recovered_and_drawn_to_the_mean_of_all() -> None:
    true, random = GammaGamma(4.0, 3.0, 40.0, 0.0), np.random.default_rng(2)
    orders = random.integers(1, 9, 40_000).astype(np.float64)
    mean = random.gamma(true.p * orders) / (random.gamma(true.q, 1 / true.gamma, 40_000) * orders)
    found = models.fit_gamma_gamma(orders, mean)
    assert found is not None
    assert found[:3] == pytest.approx(true[:3], rel=0.1)
    everybody = true.p * true.gamma / (true.q - 1)
    one, many = models.expected_spend(true, array(1, 500), array(200, 200))
    assert everybody < one < many < 200
    assert many == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize(("orders", "mean"), [(1, 20.0), (6, 75.0)])
def test_likelihood_and_expectation_of_spend_are_the_integrals_of_the_story(orders: int, mean: float) -> None:
    """An order is gamma distributed with shape p and a rate of the customer's own, which is so with q and gamma."""
    model = GammaGamma(4.0, 3.0, 40.0, 0.0)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    most = gamma(model.q, scale=1 / model.gamma).isf(1e-15)
    rates = (nodes + 1) / 2 * most
    # The mean of the orders has the density of their sum, times their number.
    density = gamma.pdf(orders * mean, model.p * orders, scale=1 / rates) * orders
    known = weights / 2 * most * gamma.pdf(rates, model.q, scale=1 / model.gamma) * density
    likelihood = models.gamma_gamma_log_likelihood((model.p, model.q, model.gamma), array(orders), array(mean))[0]
    assert np.exp(likelihood) == pytest.approx(known.sum(), rel=1e-9)
    expected = models.expected_spend(model, array(orders), array(mean))[0]
    assert expected == pytest.approx((known * model.p / rates).sum() / known.sum(), rel=1e-9)


def test_what_does_not_tell_the_parameters_has_no_fit() -> None:
    nothing = np.zeros(50)
    assert models.fit_bgnbd(nothing, nothing, np.full(50, 100.0)) is None, "nobody has come back"
    assert models.fit_bgnbd(nothing, nothing, nothing) is None, "no time has passed"
    assert models.fit_gamma_gamma(np.full(50, 3.0), np.full(50, 20.0)) is None, "everybody spends the same"
    assert models.fit_gamma_gamma(array(), array()) is None

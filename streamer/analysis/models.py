"""Models of who buys again and for how much: BG/NBD (Fader, Hardie and Lee 2005) and Gamma-Gamma (Fader and Hardie 2013).

BG/NBD: a customer orders at a rate of his own, which is gamma distributed (r, alpha), and after every order leaves for good with a chance
of his own, which is beta distributed (a, b). Of a customer it takes x, t_x and T only; T is `end` here. Gamma-Gamma (p, q, gamma): orders
vary around a mean of the customer's own; how much he spends is taken to have nothing to do with how often.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import gammaln, hyp2f1  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# Parameters are looked for within these bounds, as logarithms, of time in units of the longest T and money in units of the mean. At a
# bound the likelihood has no maximum: the data do not tell the parameter.
_BOUND: Final = 9.0
_NEAR_BOUND: Final = 0.01
# As far as a parameter that is hardly known is drawn from its estimate, in logarithms: beyond it no number is left of it, or none but it.
_VAGUE: Final = 9.0
# Of the differences that stand in for derivatives of a likelihood, and of a mean.
_STEP: Final = 1e-3
_NO_CHANCE: Final = 1e-5
# Of one customer in a simulated horizon.
_ORDERS_MAX: Final = 1e6


class BgNbd(NamedTuple):
    """alpha: in the unit of T. covariance: of the logarithms of r, alpha, a and b."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    covariance: Array

    @property
    def parameters(self) -> tuple[float, float, float, float]:
        """r, alpha, a, b."""
        return self[:4]

    @property
    def errors(self) -> tuple[float, ...]:
        """Standard errors of r, alpha, a and b, by the delta method."""
        return tuple(value * float(error) for value, error in zip(self.parameters, np.sqrt(np.diag(self.covariance)), strict=True))


class GammaGamma(NamedTuple):
    """gamma: in the unit of spend."""

    p: float
    q: float
    gamma: float
    log_likelihood: float


def bgnbd_log_likelihood(parameters: tuple[float, float, float, float], x: Array, t_x: Array, end: Array) -> Array:
    """Of each customer, but for what has no parameter in it."""
    r, alpha, a, b = parameters
    rate = gammaln(r + x) - gammaln(r) + r * log(alpha)
    leaving = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    stayed = -(r + x) * np.log(alpha + end)
    left = np.where(x > 0, log(a) - np.log(np.maximum(b + x - 1, 1e-300)) - (r + x) * np.log(alpha + t_x), -np.inf)
    return np.asarray(rate + leaving + np.logaddexp(stayed, left))


def gamma_gamma_log_likelihood(parameters: tuple[float, float, float], orders: Array, mean: Array) -> Array:
    """Of each customer. mean: spend of an order, above 0."""
    p, q, gamma = parameters
    shape = p * orders
    found = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * log(gamma) + shape * np.log(orders)
    return np.asarray(found + (shape - 1) * np.log(mean) - (shape + q) * np.log(gamma + orders * mean))


def fit_bgnbd(x: Array, t_x: Array, end: Array) -> BgNbd | None:
    """By maximum likelihood; None if there is no maximum, or one so flat that it has no standard errors."""
    scale = float(end.max(initial=0.0))
    if scale <= 0:
        return None
    near, far = t_x / scale, end / scale

    def total(logs: Array) -> float:
        r, alpha, a, b = np.exp(logs)
        return float(bgnbd_log_likelihood((r, alpha, a, b), x, near, far).sum())

    logs = _maximum(total, 4)
    covariance = None if logs is None else _covariance(total, logs)
    if logs is None or covariance is None:
        return None
    r, alpha, a, b = (exp(value) for value in logs)
    return BgNbd(r, alpha * scale, a, b, total(logs) - float(x.sum()) * log(scale), covariance)


def fit_gamma_gamma(orders: Array, mean: Array) -> GammaGamma | None:
    """By maximum likelihood; None if there is no maximum, or if the mean over all customers would be infinite."""
    scale = float(mean.mean()) if len(mean) else 0.0
    if scale <= 0:
        return None

    def total(logs: Array) -> float:
        p, q, gamma = np.exp(logs)
        return float(gamma_gamma_log_likelihood((p, q, gamma), orders, mean / scale).sum())

    logs = _maximum(total, 3)
    if logs is None or logs[1] <= 0:
        return None
    p, q, gamma = (exp(value) for value in logs)
    return GammaGamma(p, q, gamma * scale, total(logs) - len(mean) * log(scale))


def chance_to_stay(model: BgNbd, x: Array, t_x: Array, end: Array) -> Array:
    """The probability that a customer has not left yet. Who has not ordered again has had no occasion to."""
    r, alpha, a, b = model.parameters
    odds = np.where(x > 0, a / np.maximum(b + x - 1, 1e-300) * ((alpha + end) / (alpha + t_x)) ** (r + x), 0.0)
    return np.asarray(1 / (1 + odds))


def expected_orders(model: BgNbd, x: Array, t_x: Array, end: Array, horizon: float) -> Array:
    """How often each customer will order within the horizon after the end.

    Formula 10 of the paper, by Euler's transformation of its 2F1, which stays in range for any x.
    """
    r, alpha, a, b = model.parameters
    a = a if abs(a - 1) > _NO_CHANCE else 1 + _NO_CHANCE  # at 1 the formula is 0 / 0, and its limit is near
    z = horizon / (alpha + end + horizon)
    series = (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
    return np.asarray((a + b + x - 1) / (a - 1) * (1 - series) * chance_to_stay(model, x, t_x, end))


def simulated_orders(model: BgNbd, x: Array, t_x: Array, end: Array, horizon: float, *, seed: int, draws: int) -> Array:
    """How many orders all of them make within the horizon, drawn so often: of parameters as sure as they are, customers, and chance.

    Of a customer who has not left the rate is gamma distributed (r + x, alpha + T), and the chance to leave after an order beta (a, b + x).
    """
    random = np.random.default_rng(seed)
    logs = random.multivariate_normal(np.zeros(4), model.covariance, size=draws)
    found = []
    for r, alpha, a, b in np.exp(np.log(model.parameters) + np.clip(logs, -_VAGUE, _VAGUE)):
        drawn = BgNbd(r, alpha, a, b, model.log_likelihood, model.covariance)
        with np.errstate(over="ignore"):  # odds beyond all numbers: he has left
            stays = random.random(len(x)) < chance_to_stay(drawn, x, t_x, end)
        wanted = random.poisson(np.minimum(random.gamma(r + x) / (alpha + end) * horizon, _ORDERS_MAX))
        last = random.geometric(np.clip(random.beta(a, b + x), 1e-12, 1))
        found.append(float(np.where(stays, np.minimum(wanted, last), 0).sum()))
    return np.array(found)


def error_of(model: BgNbd, statistic: Callable[[BgNbd], float]) -> float:
    """The standard error of what is made of the parameters, by the delta method."""
    logs = np.log(model.parameters)

    def at(where: Array) -> float:
        r, alpha, a, b = np.exp(where)
        return statistic(BgNbd(r, alpha, a, b, model.log_likelihood, model.covariance))

    gradient = np.array([(at(logs + step) - at(logs - step)) / (2 * _STEP) for step in np.eye(len(logs)) * _STEP])
    return float(np.sqrt(gradient @ model.covariance @ gradient))


def expected_spend(model: GammaGamma, orders: Array, mean: Array) -> Array:
    """What an order of each customer will bring: between his own mean and that of all."""
    p, q, gamma = model[:3]
    return np.asarray(p * (gamma + orders * mean) / (p * orders + q - 1))


def _maximum(total: Callable[[Array], float], count: int) -> Array | None:
    bounds = [(-_BOUND, _BOUND)] * count
    rough = minimize(lambda logs: -total(logs), np.zeros(count), method="L-BFGS-B", bounds=bounds)
    fine = minimize(
        lambda logs: -total(logs), rough.x, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4_000}
    )
    logs: Array = fine.x
    return logs if fine.success and bool((np.abs(logs) < _BOUND - _NEAR_BOUND).all()) else None


def _covariance(total: Callable[[Array], float], logs: Array) -> Array | None:
    """The inverse of the observed information; None if that is none."""
    steps = np.eye(len(logs)) * _STEP
    information = np.array([
        [
            (total(logs + one - other) + total(logs - one + other) - total(logs + one + other) - total(logs - one - other)) / (4 * _STEP**2)
            for other in steps
        ]
        for one in steps
    ])  # fmt: skip
    if not bool((np.linalg.eigvalsh(information) > 0).all()):
        return None
    return np.asarray(np.linalg.inv(information))

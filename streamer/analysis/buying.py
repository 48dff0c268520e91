"""F1, predicted: who orders again within a horizon, and what that brings, by BG/NBD and Gamma-Gamma on what is known of each customer."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from streamer.analysis import models
from streamer.analysis.report import Table, between, money

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from streamer.analysis.models import BgNbd, GammaGamma
    from streamer.analysis.value import Customer

    Array = npt.NDArray[np.float64]

# Customers who have ordered again: fewer say nothing of who does. [H]
REPEATED_MIN: Final = 30
_Z: Final = 1.96
# Futures that are simulated.
_SEED: Final = 1
_DRAWS: Final = 500


class Likely(NamedTuple):
    """Of one customer. orders: within the horizon; stays: the probability that he has not left; margin: None without a model of spend."""

    orders: float
    stays: float
    margin: float | None


class Forecast(NamedTuple):
    """horizon_days: from the end of the history. orders: of all customers, with the standard error of what is expected, and the 95 %
    interval of what comes. margin: None as above.

    customers: in the order of those given. why_not: what is missing, in a sentence, or an empty text.
    """

    horizon_days: int
    customers: Sequence[Likely]
    model: BgNbd | None
    spend: GammaGamma | None
    orders: float
    error: float
    interval: tuple[float, float]
    margin: float | None
    why_not: str

    def of(self, number: int) -> dict[str, Any]:
        """A customer's part of the JSON."""
        if self.model is None:
            return {"expected_orders": None, "stays": None, "expected_margin": None}
        one = self.customers[number]
        return {"expected_orders": one.orders, "stays": one.stays, "expected_margin": one.margin}

    def result(self) -> dict[str, Any] | None:
        """The JSON, times in days; None without a model."""
        if self.model is None:
            return None
        names = ("r", "alpha", "a", "b")
        return {
            "horizon_days": self.horizon_days, **dict(zip(names, self.model.parameters, strict=True)),
            "standard_errors": dict(zip(names, self.model.errors, strict=True)), "log_likelihood": self.model.log_likelihood,
            "gamma_gamma": self.spend._asdict() if self.spend else None,
            "expected_orders": self.orders, "expected_orders_error": self.error, "orders_interval": self.interval,
            "expected_margin": self.margin,
        }  # fmt: skip


def forecast(customers: Sequence[Customer], *, horizon_days: int, margin: float) -> Forecast:
    """The models, and what they say of each customer."""
    repeated = sum(1 for one in customers if one.x)
    if repeated < REPEATED_MIN:
        return _nothing(horizon_days, f"{repeated} customers have ordered again, and who does can be told from {REPEATED_MIN} on.")
    longest = max(one.T for one in customers)
    if longest < horizon_days:
        return _nothing(
            horizon_days, f"a forecast of {horizon_days} days needs as many of history, and the longest known has {longest:.0f}."
        )
    x, t_x, end = (np.array(values, dtype=np.float64) for values in zip(*((one.x, one.t_x, one.T) for one in customers), strict=True))
    model = models.fit_bgnbd(x, t_x, end)
    if model is None:
        return _nothing(horizon_days, "the likelihood has no clear maximum, so these orders fit many customers equally well.")
    orders, stays = models.expected_orders(model, x, t_x, end, horizon_days), models.chance_to_stay(model, x, t_x, end)
    means = np.maximum(0.0, [one.mean_spend for one in customers])
    spend = models.fit_gamma_gamma(x[means > 0] + 1, means[means > 0])
    margins = None if spend is None else orders * models.expected_spend(spend, x + 1, means) * margin
    return Forecast(
        horizon_days,
        [Likely(float(orders[n]), float(stays[n]), None if margins is None else float(margins[n])) for n in range(len(customers))],
        model,
        spend,
        fsum(orders),
        models.error_of(model, lambda other: float(models.expected_orders(other, x, t_x, end, horizon_days).sum())),
        _interval(models.simulated_orders(model, x, t_x, end, horizon_days, seed=_SEED, draws=_DRAWS)),
        None if margins is None else fsum(margins),
        "",
    )


def _interval(draws: Array) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _nothing(horizon_days: int, why: str) -> Forecast:
    return Forecast(horizon_days, [], None, None, 0.0, 0.0, (0.0, 0.0), None, f"No model of who orders again: {why}")


def notes(found: Forecast) -> list[str]:
    """What it rests on, or why there is none."""
    if found.model is None:
        return [found.why_not]
    told = [
        "BG/NBD: every customer orders at a steady rate until he leaves for good; seasons, campaigns and prices are not in it.",
        "The interval of the orders has the chance in what customers do in it. Hold it against a later history before you rely on it.",
    ]
    names = zip(("r", "alpha", "a", "b"), found.model.parameters, found.model.errors, strict=True)
    if vague := [name for name, value, error in names if error > value]:
        told.append(f"These orders hardly tell {', '.join(vague)}: do not read anything into what a single parameter is.")
    if found.spend is None:
        return [*told, "No model of spend (Gamma-Gamma): it has no clear maximum, so what the orders will bring is not predicted."]
    return [*told, "Gamma-Gamma: how much a customer spends on an order is taken to have nothing to do with how often he orders."]


def table(found: Forecast, unit: str) -> Table:
    """For people; only with a model."""
    assert found.model is not None  # noqa: S101  the caller has looked
    words = ("r, of the rates", "alpha, of the rates, days", "a, of leaving", "b, of leaving")
    rows = [
        [name, f"{value:,.3f}", between(max(0.0, value - _Z * error), value + _Z * error, 3)]
        for name, value, error in zip(words, found.model.parameters, found.model.errors, strict=True)
    ]
    rows.append([f"Orders of these customers in the next {found.horizon_days} days", f"{found.orders:,.1f}", between(*found.interval, 0)])
    if found.margin is not None:
        rows.append(["Their margin", money(found.margin, unit), ""])
    rows.append(["Customers who have not left", f"{fsum(one.stays for one in found.customers):,.0f} of {len(found.customers):,}", ""])
    return Table("Who will order again, by BG/NBD", ["", "Estimate", "95 % interval"], rows)

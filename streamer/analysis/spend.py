"""F3: what customers spend after they have told how they fare. Kriss (HBR 2014): experience at a point in time, then that person's spend.

Each customer counts once, with the first answer whose whole span after it lies in the history: an answer a week before its end has no year
of spend, and is no customer who spends little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from streamer.analysis import pictures
from streamer.analysis.history import DAY_MS
from streamer.analysis.report import Report, Table, between, counted, money
from streamer.analysis.statistics import bootstrap, spearman
from streamer.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from streamer.analysis.history import Log, Measure

    Array = npt.NDArray[np.float64]

# Customers of a band that its mean takes. [H]
BAND_MIN: Final = 10

_FORWARD: Final = """
SELECT score, band, coalesce(sum(amount) FILTER (spent.t > first.t AND spent.t <= first.t + $span), 0)::DOUBLE
FROM (
    SELECT key, min(t) AS t, min_by(score, place) AS score, min_by(band, place) AS band FROM answers
    WHERE instrument = $instrument AND scope = $scope AND t + $span <= $end
    GROUP BY key
) first LEFT JOIN (FROM spent WHERE currency = $currency) spent USING (key)
GROUP BY key, score, band
ORDER BY key
"""


class BandSpend(NamedTuple):
    """Customers of a band and what they spent, with the 95 % interval of the mean; None of fewer than `BAND_MIN`."""

    name: str
    customers: int
    mean: float | None
    low: float | None
    high: float | None


class Forward(NamedTuple):
    """Of one span of days. ratio: of the best band's mean to the worst band's, up to infinity; rho: Spearman's, of score and spend."""

    days: int
    customers: int
    bands: list[BandSpend]
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    rho: float | None
    rho_interval: tuple[float, float] | None


def forward(scores: Array, banded: Array, spend: Array, measure: Measure, days: int, seed: int) -> Forward:
    """What follows a score: scores, the numbers of their bands, and spend of the same customers."""
    masks = [banded == n for n in range(len(measure.bands))]

    def means(drawn: npt.NDArray[np.intp]) -> Array:
        found = [spend[drawn][mask[drawn]] for mask in masks]
        averages = [float(part.mean()) if len(part) else np.nan for part in found]
        ratio = _ratio(averages[-1], averages[0])
        rho = spearman(scores[drawn], spend[drawn])
        return np.array([*averages, ratio, np.nan if rho is None else rho])

    everybody = means(np.arange(len(scores)))
    limits = bootstrap([len(scores)], means, seed)
    bands = [
        BandSpend(band, int(mask.sum()), *((None,) * 3 if mask.sum() < BAND_MIN else map(_or_none, (value, *limits[n]))))
        for n, (band, mask, value) in enumerate(zip(measure.bands, masks, everybody, strict=False))
    ]
    ratio, rho = _or_none(everybody[-2]), _or_none(everybody[-1])
    if bands[0].mean is None or bands[-1].mean is None or ratio == np.inf:
        ratio = None
    return Forward(
        days, len(scores), bands, ratio, None if ratio is None else _pair(limits[-2]), rho, None if rho is None else _pair(limits[-1])
    )  # fmt: skip


def analyse(log: Log, measure: Measure, *, currency: str | None, days: tuple[int, ...], seed: int) -> Report:
    """Spend after a score, by its bands. Raises InputError if nothing can be said."""
    log.check(measure)
    unit, left_out = log.currency(currency)
    found: list[Forward] = []
    notes = ["An association: who fares better may differ in other ways too. It does not say what a better score would bring."]
    notes += log.off_scale(measure)
    for span in days:
        rows = log.rows(_FORWARD, {
            "span": span * DAY_MS, "end": log.end_ms, "instrument": measure.instrument, "scope": measure.scope, "currency": unit,
        })  # fmt: skip
        if len(rows) < 2:
            notes.append(f"{span} days: the history is too short to have so long a span after the answers of two customers.")
            continue
        data = np.array(rows, dtype=np.float64)
        found.append(forward(data[:, 0], data[:, 1], data[:, 2], measure, span, seed))
    if not found:
        raise InputError(
            f"no span of {' or '.join(str(span) for span in days)} days lies after two customers' answers: try a shorter --days"
        )
    if any(0 < band.customers < BAND_MIN for one in found for band in one.bands):
        notes.append(f"A band of fewer than {BAND_MIN} customers has no mean, and no ratio.")
    if left_out:
        notes.append(left_out)
    return Report(
        _headline(found[-1], measure),
        [_table(one, unit) for one in found],
        notes,
        {"measure": measure._asdict(), "currency": unit, "causal": False, "spans": [_json(one) for one in found], "notes": notes},
        lambda figure: _draw(figure, found, measure, unit),
    )


def _headline(one: Forward, measure: Measure) -> str:
    best, worst = one.bands[-1].name.partition(" (")[0], one.bands[0].name.partition(" (")[0].lower()
    if one.ratio is None or one.ratio_interval is None:
        return f"{counted(one.customers, 'customer')} followed for {one.days} days after {measure}"
    if one.ratio_interval[0] <= 1 <= one.ratio_interval[1]:
        return f"{best} do not surely spend more or less than {worst} in the {one.days} days after {measure}"
    return f"{best} spend {one.ratio:.1f} times what {worst} do in the {one.days} days after {measure}"


def _table(one: Forward, unit: str) -> Table:
    rows = [
        [
            band.name, f"{band.customers:,}", "-" if band.mean is None else money(band.mean, unit),
            "-" if band.low is None or band.high is None else between(band.low, band.high),
        ]
        for band in one.bands
    ]  # fmt: skip
    ratio = "-" if one.ratio is None or one.ratio_interval is None else f"{one.ratio:.2f} ({_span(*one.ratio_interval)})"
    rho = "-" if one.rho is None or one.rho_interval is None else f"{one.rho:+.3f} ({between(*one.rho_interval, 3)})"
    rows += [["Best / worst", "", ratio, ""], ["Spearman's rho", f"{one.customers:,}", rho, ""]]
    return Table(f"Spend in the {one.days} days after the answer", ["Band", "Customers", "Mean per customer", "95 % interval"], rows)


def _span(low: float, high: float) -> str:
    return f"from {low:,.2f}, no upper bound" if np.isinf(high) else between(low, high)


def _json(one: Forward) -> dict[str, object]:
    # JSON has no infinity.
    interval = one.ratio_interval and tuple(None if np.isinf(limit) else limit for limit in one.ratio_interval)
    return {**one._asdict(), "ratio_interval": interval, "bands": [band._asdict() for band in one.bands]}


def _draw(figure: Figure, found: list[Forward], measure: Measure, unit: str) -> None:
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for ax, one in zip(axes, found, strict=True):
        means = [band.mean or 0.0 for band in one.bands]
        below = [max(0.0, mean - (mean if band.low is None else band.low)) for mean, band in zip(means, one.bands, strict=True)]
        above = [max(0.0, (mean if band.high is None else band.high) - mean) for mean, band in zip(means, one.bands, strict=True)]
        ax.bar(range(len(means)), means, color=pictures.SCALE[: len(means)], width=0.62)
        ax.errorbar(range(len(means)), means, yerr=[below, above], fmt="none", ecolor=pictures.INK, elinewidth=1.2, capsize=4)
        for at, (mean, high, band) in enumerate(zip(means, above, one.bands, strict=True)):
            text = f"{mean:,.0f}" if band.mean is not None else "too few\nanswers" if band.customers else "no answers"
            weight = "normal" if band.mean is None else "bold"
            ax.annotate(text, (at, mean + high), xytext=(0, 5), textcoords="offset points", ha="center", fontweight=weight)
        ax.set_xticks(range(len(means)), [f"{band.name.replace(' (', chr(10) + '(')}\nn = {band.customers:,}" for band in one.bands])
        rho = "" if one.rho is None else f"   ρ = {one.rho:+.2f}"
        ax.set_title(f"{one.days} days after the answer{rho}", loc="left")
        bottom = min(0.0, *(mean - low for mean, low in zip(means, below, strict=True)))
        top = max(0.0, *(mean + high for mean, high in zip(means, above, strict=True))) or 1.0
        ax.set_ylim(1.05 * bottom, top + 0.15 * (top - bottom))
    axes[0].set_ylabel(f"Mean spend per customer{f' ({unit})' if unit else ''}")
    pictures.frame(figure, _headline(found[-1], measure), "Bars: mean. Lines: 95 % bootstrap interval. An association, not a cause.")


def _ratio(best: float, worst: float) -> float:
    """Of two means. Who spends nothing is infinitely less than who spends: without such a resample the ratio would look surer."""
    if np.isnan(best) or np.isnan(worst) or (worst <= 0 and best <= 0):
        return np.nan
    return best / worst if worst > 0 else np.inf


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _pair(limits: Array) -> tuple[float, float]:
    return float(limits[0]), float(limits[1])

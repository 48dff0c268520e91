"""PromQL over the business gauges, named through the metric catalogue so that a renamed metric breaks the build, not the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana.src.common import GREY, Properties, Query, colored, queries
from streamer.metrics.catalogue import LIFETIME, METRIC_BY_ID
from streamer.metrics.metric import SAMPLED
from streamer.metrics.readings import SHOW_MINIMUM

if TYPE_CHECKING:
    from streamer.metrics.metric import Metric

# A value no gauge has; panels map it to the word.
INSUFFICIENT_VALUE: Final = -1
TOO_FEW: Final = f" (insufficient: n < {SHOW_MINIMUM})"
INSUFFICIENT: Final = {str(INSUFFICIENT_VALUE): ("insufficient", GREY)}

# The selected journey; with a platform chosen, only there. `All` platforms stands for "no platform label".
JOURNEY: Final = 'slice=~"journey|journey,platform", journey=~"$journey", platform=~"$platform"'
EVERYBODY: Final = 'slice="all"'
BY_JOURNEY: Final = 'slice="journey"'
BY_PLATFORM: Final = 'slice="journey,platform", journey=~"$journey"'
BY_CHANNEL: Final = 'slice="journey,channel", journey=~"$journey"'
BY_TEAM: Final = 'slice="team"'


def gauge(metric_id: str, slice_: str, by: str = "", suffix: str = "") -> str:
    """The gauge of a metric over the chosen window (a stock has one window, its lifetime), one series per value of the labels `by`.

    The labels of the scrape go, so that a take-over by another worker continues the same line. suffix: `_lower`, `_upper`,
    `_sample_size` or `_insufficient`.
    """
    metric = METRIC_BY_ID[metric_id]
    window = LIFETIME if metric.kind == "stock" else "$window"
    how = f"max by ({by}) " if by else "max"
    return f'{how}({metric.gauge}{suffix}{{job=~"$job", window="{window}", {slice_}}})'


def known(metric_id: str, slice_: str, by: str = "", suffix: str = "") -> str:
    """The estimate (or a bound of it) where the sample is sufficient, else nothing."""
    return f"{gauge(metric_id, slice_, by, suffix)} and {gauge(metric_id, slice_, by, '_insufficient')} == 0"


def estimate(metric_id: str, slice_: str, by: str = "", suffix: str = "") -> str:
    """The estimate (or a bound of it) where the sample is sufficient, else `INSUFFICIENT_VALUE`."""
    return f"({known(metric_id, slice_, by, suffix)}) or {INSUFFICIENT_VALUE} * ({gauge(metric_id, slice_, by, '_insufficient')} == 1)"


def band(metric_id: str, slice_: str, name: str, by: str = "") -> list[Query]:
    """The estimate within its 95 % interval; an estimate from too small a sample is a series of its own that says so."""
    insufficient = gauge(metric_id, slice_, by, "_insufficient")
    return [
        Query(gauge(metric_id, slice_, by, "_upper"), f"{name} upper", ref="U"),
        Query(gauge(metric_id, slice_, by, "_lower"), f"{name} lower", ref="L"),
        Query(known(metric_id, slice_, by), name, ref="A"),
        Query(f"{gauge(metric_id, slice_, by)} and {insufficient} == 1", f"{name}{TOO_FEW}", ref="I"),
    ]


def queries_of(metric: Metric, *, interval: bool) -> list[Query]:
    """Over all customers: with the interval; without one, what has a sample still says if that is too small."""
    if not interval and metric.kind not in SAMPLED:
        return queries((gauge(metric.id, EVERYBODY), metric.title))
    return [one for one in band(metric.id, EVERYBODY, metric.title) if interval or one.ref not in ("U", "L")]


def band_style(name: str, color: str) -> dict[str, Properties]:
    """How `band` looks: the area between the bounds filled, the estimate a line, an insufficient one grey dots."""
    hidden = {"legend": True, "tooltip": False, "viz": False}
    bound: Properties = {"custom.lineWidth": 0, "custom.hideFrom": hidden}
    return {
        f"{name} upper": colored(color, **bound, **{"custom.fillBelowTo": f"{name} lower", "custom.fillOpacity": 20}),
        f"{name} lower": colored(color, **bound),
        name: colored(color),
        f"{name}{TOO_FEW}": colored(GREY, **{"custom.lineStyle": {"fill": "dash", "dash": [4, 6]}, "custom.lineWidth": 2}),
    }

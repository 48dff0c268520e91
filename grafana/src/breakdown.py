"""Where? Any metric by any slice of the definitions file: the row of *Catalogue* that answers what the runbooks ask first."""

from __future__ import annotations

from typing import Final

from grafana.src import common, frame, sdk
from grafana.src.business import INSUFFICIENT, INSUFFICIENT_VALUE
from grafana.src.common import Column
from grafana.src.sdk import models
from streamer.metrics.catalogue import LIFETIME, METRIC_BY_ID, METRICS
from streamer.metrics.counters import DIMENSIONS
from streamer.metrics.readings import SHOW_MINIMUM

# What the dashboard opens with: every chapter off, it is there.
OPENED: Final = METRIC_BY_ID["abandon_rate"]
# So many lines can be told apart.
LINES_MAX: Final = 15


def _of(suffix: str = "") -> str:
    """The chosen metric by the chosen slice, one series per combination of its dimensions, which `of` names; of a stock since ever."""
    joined = ", ".join(f'"{dimension}"' for dimension in DIMENSIONS)

    def over(window: str) -> str:
        return f'max by (of) (label_join(${{metric}}{suffix}{{job=~"$job", slice="$by", window="{window}"}}, "of", " ", {joined}))'

    return f"({over('$window')} or {over(LIFETIME)})"


def _sufficient(suffix: str = "") -> str:
    """Where the sample is sufficient, or the metric has none."""
    return f"({_of(suffix)} unless {_of('_insufficient')} == 1)"


def _shown(suffix: str = "") -> str:
    """For a table, which says so of a sample that is too small."""
    return f"{_sufficient(suffix)} or {INSUFFICIENT_VALUE} * ({_of('_insufficient')} == 1)"


def variables() -> list[object]:
    """Which metric, and by what."""
    options = [models.VariableOption(selected=one is OPENED, text=one.title, value=one.gauge) for one in METRICS]
    metric = (
        sdk.dashboard.CustomVariable("metric")
        .label("Metric")
        .description("What the row *Where?* breaks down.")
        .values(",".join(f"{one.title.replace(',', chr(92) + ',')} : {one.gauge}" for one in METRICS))
        .options(options)
        .current(next(option for option in options if option.selected))
    )
    slice_ = frame.variable(
        "by",
        "By",
        'label_values(${metric}{job=~"$job"}, slice)',
        description="A slice of the definitions file that the metric is counted in.",
        current="journey",
    )
    return [metric, slice_]


def row() -> frame.Row:
    """Row 150."""
    return frame.Row(
        150,
        "Where? The chosen metric by the chosen slice",
        [
            common.table(
                151,
                "Now",
                f"Each value of the slice, in the window; values beyond `label_values` are in `other`. Ratios are shares of 1. "
                f"Below a sample of {SHOW_MINIMUM} a rate is insufficient: neither good nor bad.",
                common.queries((_shown(), ""), (_shown("_lower"), ""), (_shown("_upper"), ""), (_of("_sample_size"), ""), instant=True),
                labels={"of": "Of"},
                columns=[
                    Column("A", "Value", "short", 3, INSUFFICIENT),
                    Column("B", "At least", "short", 3, INSUFFICIENT),
                    Column("C", "At most", "short", 3, INSUFFICIENT),
                    Column("D", "Out of", "short", 0),
                ],
                width=12,
                height=9,
                sort_by="Value",
            ),
            common.timeseries(
                152,
                "Over time",
                f"The {LINES_MAX} greatest with a sufficient sample.",
                common.queries((f"topk({LINES_MAX}, {_sufficient()})", "{{of}}")),
                unit="short",
                empty=common.NONE_SUFFICIENT,
                width=12,
                height=9,
                low=None,
            ),
        ],
    )

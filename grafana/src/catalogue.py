"""The dashboard *Catalogue*: every metric of every chapter that can be switched on, over all customers. Written from the declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana.src import breakdown, common, frame
from grafana.src.business import EVERYBODY, band_style, queries_of
from grafana.src.common import BLUE, GREEN, RED
from streamer.metrics.catalogue import CHAPTERS, CORE
from streamer.metrics.chapters.surveys import RESPONSE_RATE_LOW
from streamer.metrics.exporter import SURVEYS_LOW_CONFIDENCE
from streamer.metrics.metric import BOUNDED

if TYPE_CHECKING:
    from grafana.src import sdk
    from grafana.src.sdk import models
    from streamer.metrics.metric import Metric

# Panel ids of a chapter: its row's and those after it.
_IDS_PER_ROW: Final = 100
# Grafana's name of a unit; an amount has the currency of the definitions file, which Grafana does not know.
_UNITS: Final = {"": "short", "seconds": "s", "hours": "h", "days": "d"}


PURPOSE: Final = """\
**Every metric of the chapters that the definitions file switches on**, over all customers, in the rolling *Window* of event time.
The shaded area is the 95 % interval; grey and dashed is a sample too small to be relied on. *Where?* breaks the chosen *Metric*
down *By* a slice of the definitions file: journey and channel, step, team, cause. What each number is, with a worked
example: `docs/reference/catalogue.md`. **Owner:** customer experience · **Runbooks:** `docs/runbooks/checkout-abandonment.md` and
those named by the rules that fire."""


def _panel(panel_id: int, metric: Metric) -> sdk.timeseries.Panel:
    interval = metric.kind in BOUNDED and (metric.kind != "mean" or metric.squares is not None)
    return common.timeseries(
        panel_id,
        metric.title,
        f"{metric.formula}. {'Leading' if metric.leading else 'Lagging'}; {metric.source}.",
        queries_of(metric, interval=interval),
        unit="percentunit" if metric.kind == "ratio" else _UNITS.get(metric.unit, "short"),
        width=6,
        height=7,
        low=0 if metric.kind != "difference" else None,
        overrides=band_style(metric.title, BLUE) if interval else None,
        empty="no data: nothing counted yet, or the chapter is off",
    )


def _confidence(panel_id: int) -> sdk.stat.Panel:
    return common.stat(
        panel_id,
        "Confidence in surveys",
        f"Whether at least {RESPONSE_RATE_LOW:.0%} of the longest window's invitations were answered.",
        common.queries((f'max({SURVEYS_LOW_CONFIDENCE}{{job=~"$job", {EVERYBODY}}})', "")),
        unit="short",
        width=6,
        height=7,
        texts={"0": ("enough answer", GREEN), "1": ("low: few answer", RED)},
        missing="too few invited",
    )


def _row(number: int, chapter: str) -> frame.Row:
    first = _IDS_PER_ROW * (number + 2)
    panels: frame.Panels = [_panel(first + 1 + at, metric) for at, metric in enumerate(CHAPTERS[chapter])]
    if chapter == "surveys":
        panels.insert(0, _confidence(first + 1 + len(panels)))
    return frame.Row(first, chapter.capitalize(), panels)


_HOW: Final = frame.Row(100, "How to read this", [common.text(101, "How to read this", "What the dashboard is for.", PURPOSE, height=3)])


def build() -> models.Dashboard:
    """The dashboard's model."""
    return frame.dashboard(
        frame.CATALOGUE_UID,
        "Catalogue",
        "Every metric of the chapters that the definitions file switches on; definitions in docs/reference/catalogue.md.",
        ["catalogue"],
        [
            frame.datasource_variable(),
            frame.job_variable(),
            frame.variable(
                "window",
                "Window",
                'label_values(cx_touchpoints{job=~"$job"}, window)',
                description="Length of the rolling window, in event time. `lifetime` counts since the beginning.",
                current="1h",
            ),
            *breakdown.variables(),
        ],
        [_HOW, breakdown.row(), *(_row(number, chapter) for number, chapter in enumerate(name for name in CHAPTERS if name not in CORE))],
        since="now-24h",
    )

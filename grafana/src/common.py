"""Defaults every panel shares, so that like looks like like: datasource, legend, tooltip, colours, and what an empty panel says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grafana.src import sdk
from grafana.src.sdk import common_models, models

if TYPE_CHECKING:
    from collections.abc import Sequence

DATASOURCE: Final = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Said instead of an empty plot: silence must never look like good news. For the same reason a single number is asked for now: of a
# range Grafana would show the last value that there was, though nobody has exported one since.
NO_DATA: Final = "no data: is the worker running?"
# For breakdowns, which leave small samples out.
NONE_SUFFICIENT: Final = "no data, or no sample large enough in this window"

GREEN, YELLOW, RED, BLUE, GREY = "green", "#E0B400", "red", "blue", "#8E8E8E"

Step = tuple[float | None, str]
Properties = dict[str, object]


class Query(NamedTuple):
    """One PromQL expression of a panel.

    legend: Grafana's legend format. instant: only the value now; stats and bars always are. ref: the letter other parts of the panel use.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    ref: str = "A"


def queries(*pairs: tuple[str, str], instant: bool = False) -> list[Query]:
    """Queries A, B, C... of (expression, legend) pairs."""
    return [Query(expr, legend, instant, chr(ord("A") + index)) for index, (expr, legend) in enumerate(pairs)]


def _target(query: Query, *, table: bool = False) -> sdk.prometheus.Dataquery:
    target = sdk.prometheus.Dataquery().ref_id(query.ref).expr(query.expr).legend_format(query.legend).datasource(DATASOURCE)
    target = target.editor_mode(sdk.prometheus_models.QueryEditorMode.CODE)
    target = target.instant() if query.instant else target.range()
    return target.format(sdk.prometheus_models.PromQueryFormat.TABLE) if table else target


def _thresholds(steps: Sequence[Step]) -> sdk.dashboard.ThresholdsConfig:
    return (
        sdk.dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _properties(properties: Properties) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in properties.items()]


def _fixed(color: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": color}


def colored(color: str, **more: object) -> Properties:
    """Override properties of a series with a fixed colour."""
    return {"color": _fixed(color), **more}


def timeseries(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Query],
    *,
    unit: str,
    width: int = 8,
    height: int = 8,
    overrides: dict[str, Properties] | None = None,
    steps: Sequence[Step] = (),
    low: float | None = 0,
    empty: str = NO_DATA,
    high: float | None = None,
    decimals: int | None = None,
) -> sdk.timeseries.Panel:
    """Lines over time. `overrides`: series name (or /regular expression/) to properties; `steps`: thresholds drawn as dashed lines.

    empty: said instead of an empty plot.
    """
    panel = (
        sdk.timeseries.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .no_value(empty)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common_models.VisibilityMode.NEVER)
        .line_interpolation(common_models.LineInterpolation.LINEAR)
        .legend(
            sdk.common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
        )
        .tooltip(sdk.common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING))
    )
    for target in targets:
        panel = panel.with_target(_target(target))
    if low is not None:
        panel = panel.axis_soft_min(low)
    if high is not None:
        panel = panel.axis_soft_max(high)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if steps:
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(
            sdk.common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    for name, properties in (overrides or {}).items():
        override = panel.override_by_regexp if name.startswith("/") else panel.override_by_name
        panel = override(name, _properties(properties))
    return panel


def stat(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Query],
    *,
    unit: str,
    width: int = 4,
    height: int = 4,
    steps: Sequence[Step] = ((None, BLUE),),
    texts: dict[str, tuple[str, str]] | None = None,
    missing: str = "no data",
    decimals: int | None = None,
) -> sdk.stat.Panel:
    """The value now, large. `texts`: value to (text, colour) shown in its place; `missing`: said of a value that is not a number."""
    panel = (
        sdk.stat.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .no_value(NO_DATA)
        .thresholds(_thresholds(steps))
        .mappings(_mappings(texts or {}, missing))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .color_scheme(sdk.dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .justify_mode(common_models.BigValueJustifyMode.CENTER)
        .text(sdk.common.VizTextDisplayOptions().value_size(30))
        .reduce_options(sdk.common.ReduceDataOptions().calcs(["last"]))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    for target in targets:
        panel = panel.with_target(_target(target._replace(instant=True)))
    return panel


def _mappings(texts: dict[str, tuple[str, str]], missing: str) -> list[Any]:
    values = {
        value: models.ValueMappingResult(text=text, color=color, index=index) for index, (value, (text, color)) in enumerate(texts.items())
    }
    otherwise = models.SpecialValueMap(
        options=models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.NULL_AND_NAN, result=models.ValueMappingResult(text=missing, color=GREY, index=len(values))
        )
    )
    return [*([models.ValueMap(options=values)] if values else []), otherwise]


def bars(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Query],
    *,
    unit: str,
    width: int = 6,
    height: int = 8,
    steps: Sequence[Step] = ((None, BLUE),),
    high: float | None = None,
    empty: str = NO_DATA,
    decimals: int | None = None,
) -> sdk.bargauge.Panel:
    """The values now as horizontal bars on one axis."""
    panel = (
        sdk.bargauge.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .no_value(empty)
        .min(0)
        .thresholds(_thresholds(steps))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .name_placement(common_models.BarGaugeNamePlacement.TOP)
        .sizing(common_models.BarGaugeSizing.MANUAL)
        .max_viz_height(60)
        .color_scheme(sdk.dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .reduce_options(sdk.common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text(sdk.common.VizTextDisplayOptions().title_size(14).value_size(16))
    )
    if high is not None:
        panel = panel.max(high)
    if decimals is not None:
        panel = panel.decimals(decimals)
    for target in targets:
        panel = panel.with_target(_target(target._replace(instant=True)))
    return panel


class Column(NamedTuple):
    """A column of a table: the value of query `ref`, under this name, in this unit. texts: as for `stat`."""

    ref: str
    name: str
    unit: str
    decimals: int | None = None
    texts: dict[str, tuple[str, str]] | None = None


def table(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Query],
    *,
    labels: dict[str, str],
    columns: Sequence[Column],
    width: int = 12,
    height: int = 8,
    sort_by: str = "",
) -> sdk.table.Panel:
    """Instant queries joined on their labels. `labels`: label to column heading, in order; every other label must be aggregated away.

    sort_by: the column whose greatest value comes first.
    """
    names = {**labels, **{f"Value #{column.ref}": column.name for column in columns}}
    panel = (
        sdk.table.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
        .no_value("no data")
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {name: index for index, name in enumerate(names)},
                    "renameByName": names,
                },
            )
        )
    )
    for target in targets:
        panel = panel.with_target(_target(target, table=True))
    if sort_by:
        panel = panel.sort_by([sdk.common.TableSortByFieldState().display_name(sort_by).desc(True)])
    for column in columns:
        properties: Properties = {"unit": column.unit}
        if column.decimals is not None:
            properties["decimals"] = column.decimals
        if column.texts:
            properties["mappings"] = _mappings(column.texts, "no data")
        panel = panel.override_by_name(column.name, _properties(properties))
    return panel


def text(panel_id: int, title: str, description: str, markdown: str, *, height: int = 4, width: int = 24) -> sdk.text.Panel:
    """Words: what a dashboard is for, how to read it, whom to ask."""
    return (
        sdk.text.Panel()
        .id(panel_id)
        .title(title)
        .description(description)
        .span(width)
        .height(height)
        .mode(sdk.text_models.TextMode.MARKDOWN)
        .content(markdown)
    )

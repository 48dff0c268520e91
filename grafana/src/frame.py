"""What surrounds the panels: identity, variables, annotations, links, rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grafana.src import sdk
from grafana.src.common import DATASOURCE
from grafana.src.sdk import models

if TYPE_CHECKING:
    from collections.abc import Sequence

# Stable for ever: bookmarks, alerts and runbooks point at them.
CUSTOMER_EXPERIENCE_UID: Final = "cx-customer-experience"
PIPELINE_UID: Final = "cx-pipeline"
CATALOGUE_UID: Final = "cx-catalogue"
TAG: Final = "journey-streamer"

RUNBOOKS_URL: Final = "https://github.com/journey-streamer/journey-streamer/blob/main/docs/runbooks"


Panels = list[sdk.builder.Builder[models.Panel]]


class Row(NamedTuple):
    """A row of panels; panel ids are its id + 1, + 2, ..."""

    id: int
    title: str
    panels: Panels


def variable(
    name: str,
    label: str,
    query: str,
    *,
    description: str,
    current: str | None = None,
    all_value: str | None = None,
    multi: bool = False,
    regex: str = "",
    sort: models.VariableSort = models.VariableSort.NATURAL_ASC,
) -> sdk.dashboard.QueryVariable:
    """A variable whose values come from Prometheus. `all_value`: what `All` stands for; None: there is no `All`."""
    built = (
        sdk.dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(sort)
        .multi(multi)
        .regex(regex)
    )
    if all_value is not None:
        everything: str | list[str] = ["$__all"] if multi else "$__all"
        chosen = models.VariableOption(selected=True, text=["All"] if multi else "All", value=everything)
        return built.include_all(True).all_value(all_value).current(chosen)
    return built.include_all(False).current(models.VariableOption(selected=True, text=current or "", value=current or ""))


def datasource_variable() -> sdk.dashboard.DatasourceVariable:
    """Which Prometheus; every panel asks this one."""
    return (
        sdk.dashboard.DatasourceVariable("datasource")
        .label("Data Source")
        .description("The Prometheus that scrapes the workers.")
        .type("prometheus")
        .current(models.VariableOption(selected=True, text="Prometheus", value="cx-prometheus"))
    )


def job_variable() -> sdk.dashboard.QueryVariable:
    """Scrape jobs that are workers of this product."""
    return variable(
        "job", "Job", "label_values(streamer_build_info, job)", description="Scrape job of the workers.", all_value=".+", multi=True
    )


def _annotation(name: str, expr: str, title: str, color: str) -> sdk.dashboard.AnnotationQuery:
    return sdk.dashboard.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(color).expr(expr).title_format(title)


def changes() -> list[sdk.dashboard.AnnotationQuery]:
    """What was changed or happened while the lines moved: deploys, reloaded definitions, rebalances, alerts to operators."""
    return [
        # Asked of the process itself: between the scrapes of the one before and of this one, more than the interval may have passed.
        _annotation(
            "Process started",
            'time() - process_start_time_seconds{job=~"$job"} < 30 and on (job, instance) streamer_build_info{job=~"$job"}',
            "{{instance}} started",
            "blue",
        ),
        _annotation(
            "Definitions reloaded",
            'sum by (outcome) (increase(streamer_config_reloads_total{job=~"$job"}[$__rate_interval])) > 0',
            "definitions {{outcome}}",
            "purple",
        ),
        _annotation(
            "Rebalance",
            'sum by (role) (increase(streamer_rebalances_total{job=~"$job"}[$__rate_interval])) > 0',
            "{{role}}: partitions moved",
            "orange",
        ),
        # MissingGauges has no job: there is nobody to take it from.
        _annotation("Alert to operators", 'ALERTS{alertstate="firing", job=~"$job|"}', "{{alertname}} {{role}}", "red"),
    ]


def _link(title: str, uid: str, tooltip: str) -> sdk.dashboard.DashboardLink:
    return (
        sdk.dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{uid}")
        .icon("dashboard")
        .tooltip(tooltip)
        .keep_time(True)
        .include_vars(True)
    )


def dashboard(
    uid: str, title: str, description: str, tags: Sequence[str], variables: Sequence[Any], rows: Sequence[Row], *, since: str
) -> models.Dashboard:
    """A dashboard of rows, read-only in Grafana: its source is this package."""
    other = (
        _link("Pipeline", PIPELINE_UID, "Is it the customers, or is it us?")
        if uid == CUSTOMER_EXPERIENCE_UID
        else _link("Customer experience", CUSTOMER_EXPERIENCE_UID, "What the customers go through")
    )
    built = (
        sdk.dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, *tags])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .time(since, "now")
        .refresh("10s")
        .link(other)
    )
    if uid == CUSTOMER_EXPERIENCE_UID:
        built = built.link(_link("Catalogue", CATALOGUE_UID, "Every metric of every chapter"))
    for each in variables:
        built = built.with_variable(each)
    for note in changes():
        built = built.annotation(note)
    for row in rows:
        built = built.with_row(sdk.dashboard.Row(row.title).id(row.id))
        for panel in row.panels:
            built = built.with_panel(panel)
    return built.build()

"""The rules of grafana/dashboard-linter, and of this house, over the committed JSON (layer 2)."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

import promql_parser
import pytest

from tests.unit.grafana.dashboards import ANYTHING, FILES, ROOT, Json, Target, load, panels, substitute, targets, variables

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

# Of Grafana's value formats, those in use here.
UNITS = {"short", "percentunit", "s", "bytes", "eps", "ops"}
UIDS = {"catalogue.json": "cx-catalogue", "customer-experience.json": "cx-customer-experience", "pipeline.json": "cx-pipeline"}


def _cases(*types: str) -> list[ParameterSet]:
    """The panels of these types (all if none is given), named after dashboard, id and title."""
    return [
        pytest.param(panel, id=f"{name.removesuffix('.json')}-{panel['id']}-{panel['title']}")
        for name in FILES
        for panel in panels(load(name))
        if not types or panel["type"] in types
    ]


EVERY_TARGET = [pytest.param(target, id=str(target)) for target in targets()]


@pytest.fixture(params=FILES)
def model(request: pytest.FixtureRequest) -> Json:
    return load(request.param)


@pytest.mark.parametrize("name", FILES)
def test_uid_is_the_one_bookmarks_and_runbooks_use(name: str) -> None:
    assert load(name)["uid"] == UIDS[name]


def test_panel_ids_are_given_once_and_follow_their_row(model: Json) -> None:
    ids = [panel["id"] for panel in model["panels"]]
    assert len(ids) == len(set(ids))
    row = None
    for panel in model["panels"]:
        if panel["type"] == "row":
            row = panel["id"]
        else:
            assert row is not None
            assert row < panel["id"] < row + 100, panel["title"]


def test_panels_fill_the_grid_without_overlapping(model: Json) -> None:
    boxes = [(panel["title"], panel["gridPos"]) for panel in model["panels"]]
    for title, box in boxes:
        assert 0 <= box["x"] < box["x"] + box["w"] <= 24, title
    for (one, a), (two, b) in combinations(boxes, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, f"{one!r} and {two!r} overlap"


def test_dashboard_is_read_only_tagged_and_linked_to_others(model: Json) -> None:
    assert model["editable"] is False
    assert "journey-streamer" in model["tags"]
    assert model["links"]
    for link in model["links"]:
        assert link["url"].removeprefix("/d/") in set(UIDS.values()) - {model["uid"]}
        assert link["keepTime"] is True


def test_crosshair_is_shared_and_refresh_is_not_faster_than_the_panes(model: Json) -> None:
    assert model["graphTooltip"] == 1
    assert model["refresh"] == "10s"  # a pane is 10 s


def test_data_source_is_a_variable_named_so(model: Json) -> None:
    (source,) = [variable for variable in variables(model) if variable["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data Source", "prometheus")


def test_query_variables_are_labelled_templated_and_refreshed_with_the_time_range(model: Json) -> None:
    for variable in variables(model):
        if variable["type"] == "query":
            assert variable["label"], variable["name"]
            assert variable["description"], variable["name"]
            assert variable["refresh"] == 2, variable["name"]
            assert variable["datasource"]["uid"] == "${datasource}", variable["name"]


def test_every_variable_is_used(model: Json) -> None:
    text = str(model["panels"]) + str([variable.get("query") for variable in variables(model)])
    for variable in variables(model):
        name = variable["name"]
        assert re.search(rf"\$\{{?{name}\b", text), f"{name} is used nowhere"


def test_dashboard_says_what_it_is_for_who_owns_it_and_where_the_runbook_is(model: Json) -> None:
    (words,) = [panel for panel in panels(model) if panel["type"] == "text"]
    assert "**Owner:**" in words["options"]["content"]
    assert "**Runbook" in words["options"]["content"]


@pytest.mark.parametrize("panel", _cases())
def test_panel_has_a_title_and_a_description(panel: Json) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 15


@pytest.mark.parametrize("panel", _cases("timeseries", "stat", "bargauge", "table"))
def test_panel_has_a_known_unit_says_when_it_has_no_data_and_asks_the_chosen_source(panel: Json) -> None:
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    units = {defaults.get("unit")} | {p["value"] for each in overrides for p in each["properties"] if p["id"] == "unit"}
    assert units - {None}
    assert units - {None} <= UNITS
    assert "no data" in defaults["noValue"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize("panel", _cases("timeseries"))
def test_panel_does_not_stack_so_that_lines_can_be_compared(panel: Json) -> None:
    assert "stacking" not in panel["fieldConfig"]["defaults"].get("custom", {})


@pytest.mark.parametrize("panel", _cases())
def test_overrides_by_name_name_a_series_of_the_panel(panel: Json) -> None:
    legends = {target["legendFormat"] for target in panel.get("targets", [])}
    columns = {
        name for each in panel.get("transformations", []) if each["id"] == "organize" for name in each["options"]["renameByName"].values()
    }
    templated = any("{{" in legend for legend in legends)
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        if override["matcher"]["id"] == "byName" and not templated:
            assert override["matcher"]["options"] in legends | columns


@pytest.mark.parametrize("target", EVERY_TARGET)
def test_expression_matches_the_chosen_job(target: Target) -> None:
    for selector in re.findall(r"\b[a-z_]+\{[^}]*\}", target.expr):
        assert 'job=~"$job"' in selector, selector
        if target.dashboard == "Pipeline" and target.panel != "annotations":
            assert 'instance=~"$instance"' in selector, selector


@pytest.mark.parametrize("target", EVERY_TARGET)
def test_rates_are_over_the_rate_interval(target: Target) -> None:
    ranges = re.findall(r"\[([^\]]+)\]", target.expr)
    assert set(ranges) <= {"$__rate_interval"}


@pytest.mark.parametrize("target", EVERY_TARGET)
def test_counters_are_rated_before_they_are_added_up(target: Target) -> None:
    assert not re.search(r"rate\(\s*(sum|max|min|avg)", target.expr)


@pytest.mark.parametrize("target", EVERY_TARGET)
def test_expression_is_valid_promql(target: Target) -> None:
    promql_parser.parse(substitute(target.expr, ANYTHING))


@pytest.mark.parametrize("name", FILES)
def test_pages_named_in_texts_exist(name: str) -> None:
    words = " ".join(panel["options"]["content"] for panel in panels(load(name)) if panel["type"] == "text")
    for page in re.findall(r"`(docs/[^`]+)`", words):
        assert (ROOT / page).exists(), page

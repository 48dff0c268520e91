"""Dashboards and metric declarations mean the same names (layer 3): no panel asks for what nobody exports, no gauge is left unseen."""

from __future__ import annotations

from typing import Final

import promql_parser
import pytest

from streamer.metrics.catalogue import METRICS
from streamer.metrics.exporter import exported_names
from streamer.metrics.families import FAMILIES, PROCESS_NAMES
from tests.unit.grafana.dashboards import Target, substitute, targets, variable_queries

NAMES: Final = ["job", "journey", "window", "platform", "instance"]
# What a scrape adds.
SCRAPE_LABELS: Final = {"job", "instance"}
# For the eyes of a developer with a question, not for a panel; each with its reason.
DIAGNOSTIC: Final = {
    "streamer_notes_total": "by which id instances were told apart, out-of-order events: for the author of a definitions file",
    "streamer_label_overflow_total": "guards against a mistake in the code; customers' labels are cx_label_overflow_total",
    "cx_source_silence_seconds": "the least of streamer_source_silence_seconds, which is on the panel by partition",
    "cx_source_high_timestamp_seconds": "streamer_high_timestamp_seconds is on the panel",
}


def _business() -> dict[str, set[str]]:
    return {name: set(labels) for name, labels in exported_names().items()}


def _telemetry() -> dict[str, set[str]]:
    return {name: {*family.labels, *({"le"} if name.endswith("_bucket") else set())} for family in FAMILIES for name in family.sample_names}


DECLARED: Final = {**_business(), **_telemetry(), **{name: set[str]() for name in PROCESS_NAMES}}
EVERY: Final = [pytest.param(target, id=str(target)) for target in [*targets(), *variable_queries()]]


class Reading:
    """The selectors of an expression, and the labels that its operators name."""

    def __init__(self, expr: str) -> None:
        self.selectors: list[tuple[str, set[str]]] = []
        self.labels: set[str] = set()
        promql_parser.walk(promql_parser.parse(substitute(expr, dict.fromkeys(NAMES, ".+"))), self._visit)

    def _visit(self, node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name
            self.selectors.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            self.labels |= set(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            if node.modifier.matching:
                self.labels |= set(node.modifier.matching.labels)
            self.labels |= set(node.modifier.group_labels or ())


@pytest.mark.parametrize("target", EVERY)
def test_metrics_and_labels_of_an_expression_are_declared(target: Target) -> None:
    reading = Reading(target.expr)
    assert reading.selectors
    known = set(SCRAPE_LABELS)
    for name, matched in reading.selectors:
        assert name in DECLARED, f"nobody exports {name}"
        assert matched <= DECLARED[name] | SCRAPE_LABELS, f"{name} has no label {matched - DECLARED[name] - SCRAPE_LABELS}"
        known |= DECLARED[name]
    assert reading.labels <= known, f"no metric here has {reading.labels - known}"


@pytest.mark.parametrize("target", variable_queries(), ids=str)
def test_variables_list_values_of_a_label_that_exists(target: Target) -> None:
    ((name, _),) = Reading(target.expr).selectors
    assert target.ref in DECLARED[name] | SCRAPE_LABELS


def test_every_gauge_of_the_catalogue_is_on_a_panel_or_marked_diagnostic() -> None:
    shown = {name for target in targets(annotations=False) for name, _ in Reading(target.expr).selectors}
    unseen = {metric.gauge for metric in METRICS} - shown - DIAGNOSTIC.keys()
    assert unseen == set()


def test_every_other_metric_is_on_a_panel_or_marked_diagnostic() -> None:
    shown = {name for target in targets() for name, _ in Reading(target.expr).selectors}
    gauges = tuple(metric.gauge for metric in METRICS)
    others = {name for name in exported_names() if not name.startswith(gauges)}
    unseen = {family.name for family in FAMILIES if not shown & set(family.sample_names)} | (others - shown)
    unseen -= DIAGNOSTIC.keys()
    assert unseen == set()


def test_what_is_marked_diagnostic_exists_and_is_on_no_panel() -> None:
    shown = {name for target in targets() for name, _ in Reading(target.expr).selectors}
    for name in DIAGNOSTIC:
        assert name in DECLARED
        assert name not in shown


def test_bounds_and_sufficiency_are_on_a_panel_of_every_rate_and_mean() -> None:
    shown = {name for target in targets() for name, _ in Reading(target.expr).selectors}
    for metric in METRICS:
        if metric.kind in {"ratio", "mean"}:
            assert {metric.gauge + suffix for suffix in ("_lower", "_upper", "_insufficient")} <= shown, metric.id

"""Dashboards and metric declarations mean the same names (layer 3): no panel asks for what nobody exports, no gauge is left unseen."""

from __future__ import annotations

from typing import Final

import pytest

from streamer.metrics.catalogue import METRICS
from streamer.metrics.exporter import exported_names, suffixes_of
from streamer.metrics.families import FAMILIES
from tests.promql_support import DECLARED, SCRAPE_LABELS, Reading
from tests.unit.grafana.dashboards import ANYTHING, Target, substitute, targets, variable_queries

# For the eyes of a developer with a question, not for a panel; each with its reason.
DIAGNOSTIC: Final = {
    "streamer_notes_total": "by which id instances were told apart, out-of-order events: for the author of a definitions file",
    "streamer_label_overflow_total": "guards against a mistake in the code; customers' labels are cx_label_overflow_total",
    "cx_source_silence_seconds": "the least of streamer_source_silence_seconds, which is on the panel by partition",
    "cx_source_high_timestamp_seconds": "streamer_high_timestamp_seconds is on the panel",
}
EVERY: Final = [pytest.param(target, id=str(target)) for target in [*targets(), *variable_queries()]]


def reading(target: Target) -> Reading:
    """What an expression selects, whatever the variables hold."""
    return Reading(substitute(target.expr, ANYTHING))


@pytest.mark.parametrize("target", EVERY)
def test_metrics_and_labels_of_an_expression_are_declared(target: Target) -> None:
    reading(target).check()


@pytest.mark.parametrize("target", variable_queries(), ids=str)
def test_variables_list_values_of_a_label_that_exists(target: Target) -> None:
    ((name, _),) = reading(target).selectors
    assert target.ref in DECLARED[name] | SCRAPE_LABELS


def test_every_gauge_of_the_catalogue_is_on_a_panel_or_marked_diagnostic() -> None:
    shown = {name for target in targets(annotations=False) for name, _ in reading(target).selectors}
    unseen = {metric.gauge for metric in METRICS} - shown - DIAGNOSTIC.keys()
    assert unseen == set()


def test_every_other_metric_is_on_a_panel_or_marked_diagnostic() -> None:
    shown = {name for target in targets() for name, _ in reading(target).selectors}
    gauges = tuple(metric.gauge for metric in METRICS)
    others = {name for name in exported_names() if not name.startswith(gauges)}
    unseen = {family.name for family in FAMILIES if not shown & set(family.sample_names)} | (others - shown)
    unseen -= DIAGNOSTIC.keys()
    assert unseen == set()


def test_what_is_marked_diagnostic_exists_and_is_on_no_panel() -> None:
    shown = {name for target in targets() for name, _ in reading(target).selectors}
    for name in DIAGNOSTIC:
        assert name in DECLARED
        assert name not in shown


def test_bounds_and_sufficiency_are_on_a_panel_of_every_rate_and_mean_that_has_bounds() -> None:
    shown = {name for target in targets() for name, _ in reading(target).selectors}
    for metric in METRICS:
        if metric.kind in {"ratio", "mean"}:
            suffixes = set(suffixes_of(metric)) & {"_lower", "_upper", "_insufficient"}
            assert {metric.gauge + suffix for suffix in suffixes} <= shown, metric.id

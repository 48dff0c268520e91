from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamer.journeys import cells
from streamer.metrics import reference
from streamer.metrics.catalogue import METRIC_BY_ID, METRICS
from streamer.metrics.counters import DIMENSIONS, DIMENSIONS_OF, STOCKS, Counter
from streamer.metrics.metric import Metric, counters_of
from streamer.rollup.estimates import COUNTER_MASK
from streamer.rules.language import AGGREGATE_NAMES

ROOT = Path(__file__).parents[3]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.id)


def test_the_reference_page_is_what_the_catalogue_says() -> None:
    written = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), "run python -m streamer.metrics.reference > docs/reference/metrics.md"


def test_ids_and_gauges_are_unique() -> None:
    assert len(METRIC_BY_ID) == len(METRICS)
    assert len({metric.gauge for metric in METRICS}) == len(METRICS)


@each_metric
def test_a_gauge_follows_the_naming_rules(metric: Metric) -> None:
    assert re.fullmatch(r"cx_[a-z]+(_[a-z0-9]+)*", metric.gauge)
    assert not metric.gauge.endswith(("_total", "_lower", "_upper", "_sample_size", "_insufficient", "_count", "_sum", "_bucket"))
    assert metric.gauge.endswith("_ratio") == (metric.kind == "ratio")


@each_metric
def test_a_metric_has_the_parts_its_kind_needs(metric: Metric) -> None:
    assert metric.numerator
    assert bool(metric.denominator) == (metric.kind in ("ratio", "odds", "mean", "difference"))
    assert metric.squares is None or metric.kind == "mean"
    assert bool(metric.minus) == (metric.kind == "difference")
    assert len(metric.edges) == (len(metric.numerator) - 1 if metric.kind == "quantile" else 0)
    assert 0 < metric.quantile < 1 if metric.kind == "quantile" else not metric.quantile
    assert all((counter in STOCKS) == (metric.kind == "stock") for counter in metric.numerator)


@each_metric
def test_numerator_and_denominator_are_broken_down_alike(metric: Metric) -> None:
    # Otherwise a slice would divide what it has by what it has not.
    assert len({DIMENSIONS_OF[counter] for counter in counters_of(metric)}) == 1


def test_dimensions_are_the_ones_rules_may_name() -> None:
    assert set(DIMENSIONS) < AGGREGATE_NAMES
    assert all(set(names) <= set(DIMENSIONS) for names in DIMENSIONS_OF.values())


def test_counters_fit_their_place_in_keys() -> None:
    # Ten bits in the packed keys of the journeys and in those of the rollup.
    assert all(0 < counter <= COUNTER_MASK == cells.COUNTER_MASK == 1023 for counter in Counter)


@pytest.mark.parametrize("forbidden", ["customer", "order", "session", "case_id", "email", "anonymous"])
def test_no_dimension_can_name_a_person(forbidden: str) -> None:
    assert not [name for name in DIMENSIONS if forbidden in name]

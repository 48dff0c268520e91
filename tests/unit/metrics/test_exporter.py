from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamer import definitions, deltas
from streamer.metrics.catalogue import CHAPTERS, CORE
from streamer.metrics.counters import DIMENSIONS, Counter
from streamer.metrics.exporter import METRIC_LABELS, BusinessCollector, exported_names
from streamer.processor import LogRecord
from streamer.rollup.processor import RollupProcessor

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

T = 1_790_000_000
ALL_CHAPTERS = "\n".join(f"[{chapter}]" for chapter in CHAPTERS if chapter not in CORE)
DEFINITIONS = definitions.parse(
    """
revision = 1
windows = ["5m", "1h"]
[limits]
label_values = 5
[[slice]]
by = []
[[slice]]
by = ["journey"]
[[slice]]
by = ["team"]
[[rule]]
id = "abandonment"
metric = "abandon_rate"
by = ["journey"]
windows = ["5m"]
when = "lower > 0.5"
severity = "critical"
[[rule]]
id = "busy"
on = "account"
metric = "contacts"
windows = ["1h"]
when = "value > 100"
"""
    + ALL_CHAPTERS
)
ALL = [int(counter) for counter in Counter]


def rollup(*cells: tuple[str, str], sources: int = 1, n: int = 20) -> RollupProcessor:
    made = RollupProcessor(DEFINITIONS, partition=0, partitions=1, build="test")
    flat = [value for index in range(len(cells)) for counter in ALL for value in (T // 10, index, counter, n)]
    batch = deltas.DeltaBatch(1, 0, sources, T + 1, T * 1000 + 250, T * 1000 + 500, ["journey", "team"], list(cells), [(T, flat)])
    made.process([LogRecord(0, 0, None, deltas.encode(batch))], 1)
    return made


def of(changes: list[int]) -> RollupProcessor:
    """A rollup that has heard of these changes: pane, cell, counter, n of each."""
    made = RollupProcessor(DEFINITIONS, partition=0, partitions=1, build="test")
    batch = deltas.DeltaBatch(1, 0, 1, T + 1, T * 1000 + 250, T * 1000 + 500, ["journey", "team"], [("", "")], [(T, changes)])
    made.process([LogRecord(0, 0, None, deltas.encode(batch))], 1)
    return made


def scrape(*readers: RollupProcessor) -> list[Sample]:
    registry = CollectorRegistry()
    registry.register(BusinessCollector(lambda: readers))
    text = generate_latest(registry).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def one(samples: list[Sample], name: str, **labels: str) -> float:
    (found,) = [s for s in samples if s.name == name and all(s.labels.get(key, "") == value for key, value in labels.items())]
    return found.value


def test_every_name_and_label_exported_is_declared() -> None:
    samples = scrape(rollup(("checkout", "t1")))
    declared = exported_names()
    declared.pop("cx_label_overflow_total")  # nothing overflowed
    assert {s.name for s in samples} == set(declared)
    assert [s for s in samples if not s.labels.keys() <= set(declared[s.name])] == []


def test_a_ratio_goes_out_with_its_bounds_and_sample() -> None:
    samples = scrape(rollup(("checkout", "")))
    labels = {"slice": "journey", "window": "5m", "journey": "checkout", "metric_version": "1"}
    assert one(samples, "cx_abandon_ratio", **labels) == 0.5
    assert one(samples, "cx_abandon_ratio_lower", **labels) == pytest.approx(0.3520, abs=1e-4)
    assert one(samples, "cx_abandon_ratio_upper", **labels) == pytest.approx(0.6480, abs=1e-4)
    assert one(samples, "cx_abandon_ratio_sample_size", **labels) == 40
    assert one(samples, "cx_abandon_ratio_insufficient", **labels) == 0


def test_an_empty_sample_has_a_size_and_no_value() -> None:
    samples = scrape(rollup(("checkout", ""), n=0))
    assert one(samples, "cx_abandon_ratio_sample_size", slice="all", window="5m") == 0
    assert one(samples, "cx_abandon_ratio_insufficient", slice="all", window="5m") == 1
    assert not [s for s in samples if s.name in ("cx_abandon_ratio", "cx_abandon_ratio_lower", "cx_abandon_ratio_upper")]


@pytest.mark.parametrize(("answered", "low"), [(4, 1), (5, 0)])
def test_surveys_that_few_answer_are_marked_by_the_longest_window(answered: int, low: int) -> None:
    earlier = T // 10 - 3 * 60  # half an hour: not in the window of 5 minutes
    counts = [earlier, 0, int(Counter.INVITATIONS), 100, earlier, 0, int(Counter.INVITATIONS_ANSWERED), answered]
    samples = scrape(of(counts))
    assert one(samples, "cx_surveys_low_confidence", slice="all") == low
    few = [T // 10, 0, int(Counter.INVITATIONS), 9]
    assert not [s for s in scrape(of(few)) if s.name == "cx_surveys_low_confidence"], "too few were invited"


def test_slices_are_told_apart_and_other_dimensions_are_not_there() -> None:
    samples = scrape(rollup(("checkout", "t1"), ("delivery", "t2")))
    assert one(samples, "cx_contacts", slice="all", window="1h") == 40
    assert one(samples, "cx_contacts", slice="team", window="1h", team="t2", journey="") == 20
    always = {"slice", "window", "metric_version"}
    assert always < set(METRIC_LABELS)
    found = {tuple(sorted(s.labels.keys() - always)) for s in samples if s.name == "cx_contacts"}
    assert found == {(), ("journey",), ("team",)}
    assert "" not in {value for s in samples for value in s.labels.values()}
    # Journey counters have no team.
    assert {s.labels["slice"] for s in samples if s.name == "cx_journeys_started"} == {"all", "journey"}


def test_freshness_tells_how_far_each_source_and_the_rollup_are() -> None:
    samples = scrape(rollup(("checkout", "")))
    assert one(samples, "cx_source_high_timestamp_seconds", source_partition="0") == T + 0.25
    assert one(samples, "cx_source_clock_timestamp_seconds", source_partition="0") == T + 0.5
    assert one(samples, "cx_source_silence_seconds", rollup_partition="0") == 0.25
    assert one(samples, "cx_rollup_clock_timestamp_seconds", rollup_partition="0") == T + 1
    assert one(samples, "cx_rollup_partial", rollup_partition="0") == 0
    assert one(samples, "cx_rollup_held_deltas", rollup_partition="0") == 0


def test_two_rollup_partitions_of_one_process_give_no_series_twice() -> None:
    parts = [RollupProcessor(DEFINITIONS, partition=number, partitions=2, build="test") for number in range(2)]
    for place, part in enumerate(parts):
        until = T + 1 + place  # both hear of each source, one later than the other
        cells: list[tuple[str, ...]] = [(f"journey-{number}", "a") for number in range(10)]  # more than may be told apart
        flat = [value for index in range(len(cells)) for counter in ALL for value in (T // 10, index, counter, 20)]
        batch = deltas.DeltaBatch(1, 0, 1, until, until * 1000, until * 1000, ["journey", "team"], cells, [(T, flat)])
        part.process([LogRecord(0, 0, None, deltas.encode(batch))], 1)
    samples = scrape(*parts)
    assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)
    assert {s.labels["slice"] for s in samples if s.name == "cx_contacts"} == {"all", "journey", "team"}
    assert one(samples, "cx_source_high_timestamp_seconds", source_partition="0") == T + 2


def test_before_all_sources_were_heard_there_is_freshness_but_no_number() -> None:
    samples = scrape(rollup(("checkout", ""), sources=2))
    assert {s.name for s in samples} == {
        "cx_source_high_timestamp_seconds", "cx_source_clock_timestamp_seconds", "cx_source_silence_seconds",
        "cx_rollup_partial", "cx_rollup_held_deltas", "cx_rule_accounts",
    }  # fmt: skip
    assert one(samples, "cx_rollup_held_deltas") == len(ALL)


def test_a_rule_is_in_one_state_per_series() -> None:
    samples = scrape(rollup(("checkout", ""), ("delivery", "")))
    states = {s.labels["state"]: s.value for s in samples if s.name == "cx_rule_state" and s.labels["journey"] == "delivery"}
    assert states == {"insufficient": 0, "ok": 1, "pending": 0, "firing": 0}
    assert {(s.labels["rule"], s.labels["severity"], s.labels["slice"]) for s in samples if s.name == "cx_rule_state"} == {
        ("abandonment", "critical", "journey")
    }


def test_hostile_label_values_are_escaped_bounded_and_counted() -> None:
    cells = [(f'j"\\\n# HELP {i}', "\x00\u2028é") for i in range(1_000)]
    samples = scrape(rollup(*cells))
    journeys = {s.labels["journey"] for s in samples if s.name == "cx_journeys_started" and s.labels["slice"] == "journey"}
    assert len(journeys) == 6
    assert "other" in journeys
    assert {'j"\\\n# HELP 0'} < journeys
    assert one(samples, "cx_label_overflow_total", dimension="journey") == 995 * len(ALL)


def test_names_are_for_series_of_the_bounded_dimensions_only() -> None:
    known = {
        *DIMENSIONS,
        "slice",
        "window",
        "metric_version",
        "rule",
        "severity",
        "state",
        "source_partition",
        "rollup_partition",
        "dimension",
    }
    assert {label for labels in exported_names().values() for label in labels} == known


def test_a_worker_without_partitions_exports_nothing() -> None:
    assert scrape() == []

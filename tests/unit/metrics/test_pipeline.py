from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streamer import topics
from streamer.metrics.families import FAMILIES, PROCESS_NAMES, ROLES
from streamer.metrics.pipeline import LABEL_VALUES_MAX, Pipeline
from streamer.processor import Output
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ACCOUNTING = {"consumed": 10, "applied": 6, "duplicate": 1, "late": 1, "dead_lettered": 1, "ignored": 1}


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """(name, sorted label=value...) -> value, as a scraper reads the text."""
    return {
        (sample.name, *sorted(f"{key}={value}" for key, value in sample.labels.items())): sample.value
        for family in parse_text(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_names_have_the_prefix_base_units_and_the_suffix_of_their_kind() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"streamer_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert not re.search(r"_(ms|millis|milliseconds|kb|mb|minutes|percent)(_|$)", family.name)
        assert family.kind != "histogram" or (
            family.name.endswith(("_seconds", "_bytes")) and family.buckets == tuple(sorted(family.buckets))
        )


def test_at_most_60_families_each_named_once() -> None:
    assert len(FAMILIES) <= 60
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_every_family_starts_with_the_role_label_and_no_label_can_name_a_person() -> None:
    for family in FAMILIES:
        assert family.labels[0] == "role"
        assert not {"customer", "order", "session", "entity", "key", "fingerprint"} & set(family.labels)


@pytest.mark.parametrize("role", ROLES)
def test_the_exposition_parses_in_both_formats(role: str) -> None:
    pipeline = Pipeline(role)
    pipeline.open_partition(0, {}).times(high_ms=1, watermark_ms=1, clock_ms=1)
    assert samples(pipeline.registry)
    assert list(parse_openmetrics(generate_openmetrics(pipeline.registry).decode()))  # type: ignore[no-untyped-call]


def test_counters_start_at_zero_for_an_opened_partition_and_count_what_this_process_did() -> None:
    pipeline = Pipeline("journeys")
    part = pipeline.open_partition(3, ACCOUNTING)
    assert samples(pipeline.registry)["streamer_events_consumed_total", "partition=3", "role=journeys"] == 0
    part.account({**ACCOUNTING, "consumed": 15, "applied": 10, "late": 2})
    seen = samples(pipeline.registry)
    assert seen["streamer_events_consumed_total", "partition=3", "role=journeys"] == 5
    assert seen["streamer_events_total", "outcome=applied", "partition=3", "role=journeys"] == 4
    assert seen["streamer_events_total", "outcome=late", "partition=3", "role=journeys"] == 1


def test_what_seldom_happens_counts_from_zero_so_that_the_first_time_is_an_increase() -> None:
    seen = samples(Pipeline("journeys").registry)
    for reason in ("invalid_json", "wrong_type", "oversize"):
        assert seen["streamer_dead_letters_total", f"reason={reason}", "role=journeys"] == 0
    for role in ("journeys", "rollup", "publisher"):
        assert samples(Pipeline(role).registry)["streamer_rebalances_total", f"role={role}"] == 0
    assert not [key for key in samples(Pipeline("supervisor").registry) if key[0] == "streamer_rebalances_total"]


def test_the_accounted_total_survives_a_restart_because_it_is_the_processors() -> None:
    pipeline = Pipeline("journeys")
    pipeline.open_partition(3, ACCOUNTING)
    assert samples(pipeline.registry)["streamer_accounted_events", "outcome=consumed", "partition=3", "role=journeys"] == 10


def test_outcomes_add_up_to_consumed() -> None:
    pipeline = Pipeline("journeys")
    noted = {"cut_events": 7, "label_overflow": 2, "out_of_order": 3, "dead_not_json": 1, "draft:firing:my-rule": 4}
    pipeline.open_partition(0, {}).account({**ACCOUNTING, **noted})
    seen = samples(pipeline.registry)
    total = sum(value for key, value in seen.items() if key[0] == "streamer_events_total")
    assert total == seen["streamer_events_consumed_total", "partition=0", "role=journeys"] == 10
    assert seen["streamer_limit_cuts_total", "limit=events", "partition=0", "role=journeys"] == 7
    assert seen["streamer_limit_cuts_total", "limit=label_overflow", "partition=0", "role=journeys"] == 2
    assert seen["streamer_notes_total", "note=out_of_order", "partition=0", "role=journeys"] == 3
    assert seen["streamer_rule_drafts_total", "partition=0", "role=journeys", "rule=my-rule", "transition=firing"] == 4


OUTPUTS = [
    Output(topics.DELTAS, None, b"packed"),
    Output(topics.ALERTS, b"f", b'{"alert_id": "1", "state": "firing"}'),
    Output(topics.AGGREGATE_ALERTS, b"f", b'{"state": "resolved", "severity": "warning", "rule": {"id": "r"}}'),
    Output(topics.DEAD_LETTERS, b"k", b"{", [("reason", b"not_json"), ("detail", b"...")]),
]


def test_alerts_and_dead_letters_count_once_committed_and_not_before() -> None:
    pipeline = Pipeline("journeys")
    part = pipeline.open_partition(0, {})
    part.drained(OUTPUTS)  # this checkpoint is never committed
    part.drained(OUTPUTS)
    before = samples(pipeline.registry)
    assert before["streamer_alerts_written_total", "role=journeys", "transition=firing"] == 0
    part.checkpointed(duration_seconds=0.01, size_bytes=10)
    part.checkpointed(duration_seconds=0.01, size_bytes=10)
    seen = samples(pipeline.registry)
    assert seen["streamer_alerts_written_total", "role=journeys", "transition=firing"] == 1
    assert seen["streamer_alerts_written_total", "role=journeys", "transition=resolved"] == 1
    assert seen["streamer_rule_alerts_total", "role=journeys", "rule=r", "severity=warning", "transition=resolved"] == 1
    assert seen["streamer_dead_letters_total", "reason=not_json", "role=journeys"] == 1


def test_lost_records_are_counted_as_cut_by_retention() -> None:
    pipeline = Pipeline("journeys")
    pipeline.data_lost(12)
    assert samples(pipeline.registry)["streamer_limit_cuts_total", "limit=retention", "partition=", "role=journeys"] == 12


def test_an_accounting_that_steps_back_never_lowers_a_counter() -> None:
    pipeline = Pipeline("journeys")
    part = pipeline.open_partition(0, {"consumed": 10})
    part.account({"consumed": 4})
    part.account({"consumed": 6})
    assert samples(pipeline.registry)["streamer_events_consumed_total", "partition=0", "role=journeys"] == 2


def test_a_closed_partition_leaves_no_gauge_behind_and_can_be_opened_again() -> None:
    pipeline = Pipeline("rollup")
    gauges = {family.name for family in FAMILIES if family.kind == "gauge" and "partition" in family.labels}
    for _ in range(2):
        part = pipeline.open_partition(1, ACCOUNTING)
        part.times(high_ms=1000, watermark_ms=1000, clock_ms=1000)
        part.lag(3)
        part.silence(1)
        part.entries(5)
        assert {key[0] for key in samples(pipeline.registry)} >= gauges - {"streamer_publish_lag_records"}
        part.close()
        part.close()  # an owner that is given up twice
        assert not gauges & {key[0] for key in samples(pipeline.registry)}
    assert samples(pipeline.registry)["streamer_partitions_owned", "role=rollup"] == 0


def test_an_instant_nobody_set_is_absent_and_does_not_read_as_1970() -> None:
    pipeline = Pipeline("journeys")
    pipeline.open_partition(0, {})
    for key, value in samples(pipeline.registry).items():
        assert not key[0].endswith("_timestamp_seconds") or value > 1e9


def test_hostile_values_of_an_open_label_stay_within_the_ceiling_and_are_counted() -> None:
    pipeline = Pipeline("journeys")
    for n in range(1_000):
        pipeline.dead_letter(f'x"\n# HELP evil {n}\\')
    assert len([key for key in samples(pipeline.registry) if key[0] == "streamer_dead_letters_total"]) == LABEL_VALUES_MAX + 1
    seen = samples(pipeline.registry)
    overflow = 1_000 - (LABEL_VALUES_MAX - len(Reason))  # those that a journeys role can have are there from the start
    assert seen["streamer_dead_letters_total", "reason=other", "role=journeys"] == overflow
    assert seen["streamer_label_overflow_total", "label=reason", "role=journeys"] == overflow


def test_each_rule_of_a_long_file_speaks_for_itself() -> None:
    pipeline = Pipeline("publisher")
    rules = [f"rule-{number}" for number in range(2 * LABEL_VALUES_MAX)]
    for number, rule in enumerate(rules):
        pipeline.rule_outcomes(rule, outcomes={"saved": number}, precision=None, saved=None, noisy=number == 70, seconds_to_acknowledge={})
    seen = samples(pipeline.registry)
    assert [seen["streamer_rule_noisy", "role=publisher", f"rule={rule}"] for rule in rules] == [float(n == 70) for n in range(len(rules))]
    assert seen["streamer_rule_outcomes", "outcome=saved", "role=publisher", "rule=rule-99"] == 99


def test_only_the_definitions_in_force_are_named() -> None:
    pipeline = Pipeline("journeys")
    pipeline.reloaded("accepted", revision=1, digest="aa")
    pipeline.reloaded("rejected", revision=1, digest="aa")
    pipeline.reloaded("accepted", revision=2, digest="bb")
    seen = samples(pipeline.registry)
    assert [key for key in seen if key[0] == "streamer_definitions_info"] == [
        ("streamer_definitions_info", "digest=bb", "revision=2", "role=journeys")
    ]
    assert seen["streamer_config_reloads_total", "outcome=accepted", "role=journeys"] == 2
    assert seen["streamer_config_reloads_total", "outcome=rejected", "role=journeys"] == 1


def test_failures_exist_at_zero_before_the_first_one() -> None:
    seen = samples(Pipeline("publisher").registry)
    assert seen["streamer_alerts_delivered_total", "outcome=failed", "role=publisher"] == 0
    assert samples(Pipeline("rollup").registry)["streamer_checkpoints_total", "outcome=fenced", "role=rollup"] == 0


def test_histograms_are_in_seconds_and_bytes() -> None:
    pipeline = Pipeline("journeys")
    part = pipeline.open_partition(0, {})
    part.checkpointed(duration_seconds=0.02, size_bytes=2048)
    seen = samples(pipeline.registry)
    assert seen["streamer_checkpoint_duration_seconds_bucket", "le=0.025", "role=journeys"] == 1
    assert seen["streamer_checkpoint_duration_seconds_bucket", "le=0.01", "role=journeys"] == 0
    assert seen["streamer_checkpoint_size_bytes_bucket", "le=4096.0", "role=journeys"] == 1
    assert seen["streamer_checkpoints_total", "outcome=committed", "role=journeys"] == 1


def test_sample_names_are_what_queries_may_use() -> None:
    pipeline = Pipeline("journeys")
    part = pipeline.open_partition(0, {})
    part.checkpointed(duration_seconds=0.02, size_bytes=2048)
    allowed = {name for family in FAMILIES for name in family.sample_names}
    assert {key[0] for key in samples(pipeline.registry)} <= allowed | set(PROCESS_NAMES)


def test_the_process_itself_is_measured() -> None:
    measured = samples(Pipeline("journeys").registry)
    assert {key[0] for key in measured} >= set(PROCESS_NAMES)
    assert measured[("process_resident_memory_bytes",)] > 1e6

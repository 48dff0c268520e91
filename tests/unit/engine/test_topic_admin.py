from __future__ import annotations

from typing import Any

import pytest

from streamer.engine.topic_admin import Deviation, Observed, deviations, specs
from streamer.settings import Settings

SETTINGS = Settings(app="shop", topic_prefix="t.", partitions=4, rollup_partitions=2)
SOURCE, CHANGELOG, JOURNAL = "t.touchpoints.v1", "shop-journeys-changelog", "shop-journeys-journal"


def as_wanted() -> dict[str, Observed]:
    retention = {"retention.ms": "604800000", "retention.bytes": "-1"}
    return {spec.name: Observed(spec.partitions, {**retention, **spec.config}) for spec in specs(SETTINGS)}


def deviating(name: str, partitions: int | None = None, **config: str) -> list[Deviation]:
    found = as_wanted()
    before = found[name]
    found[name] = Observed(partitions or before.partitions, {**before.config, **{k.replace("_", "."): v for k, v in config.items()}})
    return deviations(specs(SETTINGS), found)


def test_topics_have_the_shapes_of_the_design() -> None:
    shapes = {spec.name: (spec.partitions, spec.config["cleanup.policy"], spec.config.get("retention.ms")) for spec in specs(SETTINGS)}
    month = str(30 * 24 * 3600 * 1000)
    assert shapes == {
        "t.touchpoints.v1": (4, "delete", None),
        "t.deltas.v1": (2, "delete", None),
        "t.alerts.v1": (4, "delete", month),
        "t.dead-letters.v1": (4, "delete", month),
        "t.late.v1": (4, "delete", month),
        "t.aggregate-alerts.v1": (2, "delete", month),
        "shop-journeys-changelog": (4, "compact", None),
        "shop-journeys-journal": (4, "delete", None),
        "shop-rollup-changelog": (2, "compact", None),
        "shop-rollup-journal": (2, "delete", None),
    }
    by_name = {spec.name: spec.config for spec in specs(SETTINGS)}
    assert by_name[SOURCE]["message.timestamp.type"] == "LogAppendTime"
    assert by_name[SOURCE]["max.message.bytes"] == "4194304"
    assert (by_name[CHANGELOG]["segment.bytes"], by_name[CHANGELOG]["min.cleanable.dirty.ratio"]) == ("67108864", "0.1")


def test_a_source_record_of_the_greatest_size_fits_into_the_dead_letters_with_its_headers() -> None:
    by_name = {spec.name: int(spec.config["max.message.bytes"]) for spec in specs(SETTINGS)}
    assert by_name["t.dead-letters.v1"] > by_name[SOURCE]
    assert by_name["t.late.v1"] > by_name[SOURCE]


def test_with_three_replicas_two_must_have_an_acknowledged_write() -> None:
    assert all(spec.config["min.insync.replicas"] == "2" for spec in specs(Settings(replication_factor=3)))
    assert not any("min.insync.replicas" in spec.config for spec in specs(SETTINGS))


def test_as_wanted_nothing_deviates() -> None:
    assert deviations(specs(SETTINGS), as_wanted()) == []


def test_a_missing_topic_names_the_command() -> None:
    found = as_wanted()
    del found[JOURNAL]
    (only,) = deviations(specs(SETTINGS), found)
    assert (only.topic, only.what, only.fatal) == (JOURNAL, "does not exist", True)
    assert "streamer topics create" in only.fix


@pytest.mark.parametrize("name", [SOURCE, CHANGELOG, "t.alerts.v1", "shop-rollup-changelog"])
def test_a_changed_partition_count_is_fatal_and_names_the_way_to_grow(name: str) -> None:
    (only,) = deviating(name, partitions=8)
    assert only.fatal
    assert "has 8 partitions instead of" in only.what
    assert "create new topics" in only.fix
    assert "`streamer topics refill`" in only.fix


def test_create_time_is_fatal_unless_accepted() -> None:
    found = as_wanted()
    found[SOURCE] = Observed(4, {**found[SOURCE].config, "message.timestamp.type": "CreateTime"})
    (only,) = deviations(specs(SETTINGS), found)
    assert only.fatal
    (accepted,) = deviations(specs(SETTINGS), found, accept_create_time=True)
    assert not accepted.fatal


@pytest.mark.parametrize(("name", "policy"), [(CHANGELOG, "delete"), (SOURCE, "compact"), (SOURCE, "compact,delete")])
def test_a_wrong_cleanup_policy_is_fatal(name: str, policy: str) -> None:
    (only,) = deviating(name, cleanup_policy=policy)
    assert only.fatal
    assert "--add-config cleanup.policy=" in only.fix


@pytest.mark.parametrize(
    "config", [{"segment_bytes": "1073741824"}, {"min_cleanable_dirty_ratio": "0.5"}, {"max_message_bytes": "1048588"}]
)
def test_other_deviations_are_told_and_do_not_stop_a_worker(config: dict[str, Any]) -> None:
    (only,) = deviating(CHANGELOG, **config)
    assert not only.fatal


@pytest.mark.parametrize(("own", "deviates"), [("604799999", True), ("604800000", False), ("604800001", False), ("-1", False)])
def test_a_journal_lives_as_long_as_its_source(own: str, deviates: bool) -> None:
    assert bool(deviating(JOURNAL, retention_ms=own)) is deviates


def test_a_source_kept_for_ever_needs_a_journal_kept_for_ever() -> None:
    found = as_wanted()
    found[SOURCE] = Observed(4, {**found[SOURCE].config, "retention.ms": "-1"})
    assert {deviation.topic for deviation in deviations(specs(SETTINGS), found)} == {JOURNAL, "t.deltas.v1"}

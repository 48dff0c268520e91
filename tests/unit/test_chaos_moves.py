"""What the chaos suite makes of scraped metrics: as Prometheus would, and that a metric that did not move is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamer.metrics.families import FAMILIES, PROCESS_NAMES
from streamer.metrics.pipeline import Pipeline
from tests.chaos.faults import FAULTS
from tests.chaos.moves import MOVES, Move, chosen, every, moved
from tests.chaos.scrape import STARTED, Sample, changes, highest, increase, oldest, parse, totals

ROOT = Path(__file__).parents[2]
RESTARTS = "streamer_child_restarts_total"
LAG = "streamer_publish_lag_records"


def sample(at: float, *, place: str = "journeys-0", began: float = 1.0, **values: float) -> Sample:
    """Of series without labels."""
    made = {(name, frozenset[tuple[str, str]]()): value for name, value in {**values, STARTED: began}.items()}
    return Sample(at, place, place.split("-")[0], began, made)


def test_what_a_process_shows_is_read_without_buckets() -> None:
    metrics = Pipeline("publisher", CollectorRegistry())
    metrics.redis_command("error", 3)
    metrics.published(0.2)
    found = parse(generate_latest(metrics.registry).decode(), 5.0, "publisher-1", "publisher")
    assert found.values["streamer_redis_commands_total", frozenset({("role", "publisher"), ("outcome", "error")})] == 3
    assert found.began > 1_000_000_000
    assert not [name for name, _ in found.values if name.endswith("_bucket")]
    assert ("streamer_publish_duration_seconds_count", frozenset({("role", "publisher")})) in found.values


def test_a_counter_rises_through_restarts_and_at_places_that_are_new() -> None:
    looks = [
        sample(1, streamer_child_restarts_total=5),
        sample(2, streamer_child_restarts_total=7),
        sample(3, began=2.5, streamer_child_restarts_total=6),  # another process, which began at 0
        sample(3, place="journeys-1", streamer_child_restarts_total=40),  # was there before: what it had is no rise
        sample(4, place="journeys-1", streamer_child_restarts_total=41),
    ]
    assert increase(looks, RESTARTS) == 2 + 6 + 1
    assert increase(looks, RESTARTS, "rollup") == 0


def test_a_series_that_appears_later_rose_from_nothing() -> None:
    assert increase([sample(1), sample(2, streamer_child_restarts_total=2)], RESTARTS) == 2


def test_a_gauge_is_read_by_its_peak_its_changes_and_its_age() -> None:
    looks = [sample(at, streamer_publish_lag_records=lag) for at, lag in ((10, 0), (11, 7), (12, 7), (13, 1))]
    assert highest(looks, LAG) == 7
    assert changes(looks, LAG) == 2
    assert oldest(looks, LAG) == 12  # at 13 it says 1


def test_another_process_at_a_place_is_a_change_of_its_start() -> None:
    assert changes([sample(1), sample(2)], STARTED, "journeys") == 0
    assert changes([sample(1), sample(2, began=1.5)], STARTED, "journeys") == 1


def test_a_gauge_of_another_process_is_another_value_though_it_is_the_same_number() -> None:
    assert changes([sample(1, streamer_publish_lag_records=2), sample(2, began=1.5, streamer_publish_lag_records=2)], LAG) == 1
    assert changes([sample(1, streamer_publish_lag_records=2), sample(2, began=1.5)], LAG) == 0


def test_totals_are_of_the_latest_values() -> None:
    def labelled(at: float, partition: str, n: float) -> Sample:
        return sample(at)._replace(values={("streamer_accounted_events", frozenset({("partition", partition), ("outcome", "late")})): n})

    looks = [labelled(1, "0", 3), labelled(2, "0", 4), labelled(2, "1", 10)]
    assert totals(looks, "streamer_accounted_events", "journeys", "outcome") == {"late": 14}


@pytest.mark.parametrize(("after", "enough"), [(0, False), (1, True)])
def test_a_metric_that_did_not_move_is_not_enough(after: int, enough: bool) -> None:
    (found,) = moved(
        [Move(RESTARTS, increase, 1)], [sample(1, streamer_child_restarts_total=0), sample(2, streamer_child_restarts_total=after)], 1.0
    )
    assert found.is_enough is enough


def test_a_fault_that_lasted_longer_must_move_an_age_further() -> None:
    move = Move("streamer_checkpoint_timestamp_seconds", oldest, 0.5, by_length=True)
    looks = [sample(10, streamer_checkpoint_timestamp_seconds=7)]
    assert [one.is_enough for seconds in (6, 7) for one in moved([move], looks, seconds)] == [True, False]


def test_a_restart_stands_for_an_age_that_nobody_lived_to_show_and_nothing_else_does() -> None:
    look = [sample(10, streamer_checkpoint_timestamp_seconds=9.5)]
    (move,) = chosen(MOVES["broker-killed"], None)
    assert [one.is_enough for one in moved([move], look, 5.0)] == [False]
    (found,) = moved([move], [*look, sample(16, began=12, streamer_checkpoint_timestamp_seconds=15.5)], 5.0)
    assert found.is_enough
    assert found.title == f"changes of {STARTED}"


def test_a_death_is_looked_for_where_it_was() -> None:
    assert {move.role for move in chosen(MOVES["kill-at-random"], "publisher")} == {"publisher"}
    assert list(chosen(MOVES["kill-at-random"], None)) == []


def test_every_kind_of_fault_has_a_metric_and_every_metric_is_documented() -> None:
    assert MOVES.keys() == FAULTS.keys()
    known = {name for family in FAMILIES for name in family.sample_names} | set(PROCESS_NAMES)
    for kind, moves in MOVES.items():
        assert every(moves), kind
        assert {move.name for move in every(moves)} <= known


def test_the_page_says_of_each_kind_which_metrics_it_moves() -> None:
    page = (ROOT / "docs/explanation/chaos.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for kind, moves in MOVES.items():
        told = "".join(row for row in rows if re.search(rf"`{kind}`", row) or (kind.startswith("kill-") and "`kill-<point>`" in row))
        for name in {re.sub("_(count|sum)$", "", move.name) for move in every(moves)}:
            assert name in told, f"{kind}: {name}"

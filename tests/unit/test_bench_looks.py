"""How `bench.looks` counts what a rule sees by chance, and how `bench.weeks` judges weeks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.looks import RULES, Looked, bounds, false_per_week, firings, seen_share
from bench.weeks import outage_begin, report_of
from streamer.definitions import default
from streamer.rollup.estimates import difference_interval, wilson

RULE = Looked("r", "upper < 0.6", 60, (0.9, 0.0), (0.1, 0.0), 0.6, 0.5, 30)


@pytest.mark.parametrize(("up", "down", "n"), [(12, 0, 40), (30, 0, 30), (10, 25, 40)])
def test_its_bounds_are_those_of_the_rollup(up: int, down: int, n: int) -> None:
    lower, upper = bounds(*(np.array([float(number)]) for number in (up, down, n)), share=down == 0)
    expected = difference_interval(up, down, n) if down else wilson(up, n)
    assert (lower[0], upper[0]) == pytest.approx(expected)


def test_an_incident_is_one_firing_that_ends_before_the_next() -> None:
    chance = np.random.default_rng(3)
    found = firings(RULE, 12, (2, 4), chance)
    assert len(found) == 1
    assert 2 < found[0] < 4
    assert (false_per_week(RULE, 2), seen_share(RULE, 20)) == (0.0, 1.0)


def test_too_few_answers_say_nothing_and_a_threshold_at_what_is_usual_is_wrong_all_the_time() -> None:
    assert seen_share(RULE._replace(per_hour=5), 20) == 0.0
    assert false_per_week(RULE._replace(threshold=0.95), 2) > 10


def test_the_thresholds_counted_are_those_of_the_default_file() -> None:
    conditions = {(rule.id, rule.when, rule.min_n) for rule in default().rule}
    for rule in {looked.rule for looked in RULES}:
        first = next(looked for looked in RULES if looked.rule == rule)
        assert (rule, first.condition, first.min_n) in conditions


def test_weeks_are_right_if_every_rule_that_learns_saw_the_outage_and_nothing_else_fired() -> None:
    def fired(rule: str, *, explained: bool) -> dict[str, Any]:
        return {"rule": rule, "about": {}, "time": "", "minutes_after": 1.0, "explained": explained}

    both = [fired("repeating-cause", explained=True), fired("stalled-step", explained=True)]
    report = report_of(both, 1, 5, 0.5)
    assert (report["missed_by"], report["false"]) == ([], [])
    report = report_of([both[0], fired("stalled-step", explained=False)], 1, 5, 0.5)
    assert report["missed_by"] == ["stalled-step"]
    assert [one["rule"] for one in report["false"]] == ["stalled-step"]
    assert divmod(outage_begin(5), 24) == (33, 19)

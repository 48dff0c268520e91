"""What outcomes say of rules."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.alerts.verdicts import WINDOW, Outcome, by_rule


def outcome(n: int, verdict: str | None, **changes: Any) -> Outcome:
    """The n-th outcome of a rule: fired at second n, acknowledged 10 s later, judged at once."""
    fields: dict[str, Any] = {
        "episode_id": f"e{n:06}", "fingerprint": f"f{n}", "rule": "slow", "severity": "warning", "fired_ms": n * 1000,
        "acknowledged_by": "ann", "acknowledged_ms": n * 1000 + 10_000, "outcome": verdict, "judged_ms": n * 1000 + 10_000,
    }  # fmt: skip
    return Outcome(**{**fields, **changes})


def judged(*verdicts: str | None) -> list[Outcome]:
    return [outcome(n, verdict) for n, verdict in enumerate(verdicts)]


def test_precision_is_who_was_in_trouble_of_those_judged_and_saved_is_who_was_helped_of_those_in_trouble() -> None:
    [verdict] = by_rule(judged("saved", "lost", "lost", "lost", "false-alarm", None))
    assert verdict.precision == pytest.approx(4 / 5)
    assert verdict.saved == pytest.approx(1 / 4)
    assert (verdict.acknowledged, verdict.judged) == (6, {"saved": 1, "lost": 3, "false-alarm": 1})


def test_nothing_judged_is_no_precision_and_nobody_in_trouble_no_saved_share() -> None:
    [verdict] = by_rule(judged(None))
    assert (verdict.precision, verdict.saved, verdict.noisy) == (None, None, False)
    [verdict] = by_rule(judged("false-alarm"))
    assert (verdict.precision, verdict.saved) == (0.0, None)


@pytest.mark.parametrize(
    ("right", "wrong", "noisy"),
    [(9, 41, True), (10, 40, False), (0, 50, True), (0, 49, False), (50, 0, False)],
    ids=["18-percent-of-50", "exactly-20-percent", "none-of-50", "too-few", "all-right"],
)
def test_a_rule_below_20_percent_over_50_judged_alerts_is_noisy(right: int, wrong: int, *, noisy: bool) -> None:
    [verdict] = by_rule(judged(*["saved"] * right, *["false-alarm"] * wrong))
    assert verdict.noisy is noisy


def test_unjudged_acknowledgements_do_not_count_towards_the_50() -> None:
    [verdict] = by_rule(judged(*["false-alarm"] * 49, *[None] * 20))
    assert not verdict.noisy


def test_a_mended_rule_is_judged_by_its_latest_50() -> None:
    [verdict] = by_rule(judged(*["false-alarm"] * 500, *["saved"] * 50))
    assert (verdict.precision, verdict.noisy) == (1.0, False)
    assert verdict.judged == {"saved": 50, "lost": 0, "false-alarm": 500}


def test_the_latest_are_those_judged_last_not_those_acknowledged_last() -> None:
    early = [outcome(n, "false-alarm", judged_ms=10_000_000 + n) for n in range(WINDOW)]
    late = [outcome(1000 + n, "saved", judged_ms=n) for n in range(WINDOW)]
    [verdict] = by_rule([*early, *late])
    assert verdict.precision == 0.0


def test_the_time_to_acknowledge_is_from_the_firing_and_leaves_out_what_is_not_known() -> None:
    told = [outcome(n, None, acknowledged_ms=n * 1000 + seconds * 1000) for n, seconds in enumerate([1, 2, 3, 4, 100])]
    told.append(outcome(9, None, fired_ms=None))
    told.append(outcome(10, None, acknowledged_ms=9_000))  # of a machine whose clock is behind
    [verdict] = by_rule(told)
    assert verdict.seconds_to_acknowledge == {0.5: 2.0, 0.9: 100.0}
    [verdict] = by_rule([outcome(9, None, fired_ms=None)])
    assert verdict.seconds_to_acknowledge == {}


VERDICTS = st.sampled_from(["saved", "lost", "false-alarm", None])


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), VERDICTS, st.integers(0, 5)), max_size=150), st.randoms(use_true_random=False))
def test_any_order_of_the_outcomes_gives_the_same_and_rules_do_not_mix(rows: list[tuple[str, Any, int]], chance: random.Random) -> None:
    told = [outcome(n, verdict, rule=rule, judged_ms=moment) for n, (rule, verdict, moment) in enumerate(rows)]
    shuffled = list(told)
    chance.shuffle(shuffled)
    found = by_rule(shuffled)
    assert found == by_rule(told)
    assert [verdict.rule for verdict in found] == sorted({rule for rule, _, _ in rows})
    for verdict in found:
        mine = [entry for entry in told if entry.rule == verdict.rule]
        assert by_rule(mine) == [verdict]
        assert verdict.acknowledged == len(mine)
        assert sum(verdict.judged.values()) == sum(entry.outcome is not None for entry in mine)
        if sum(verdict.judged.values()) <= WINDOW and verdict.precision is not None:
            assert verdict.precision == pytest.approx(1 - verdict.judged["false-alarm"] / sum(verdict.judged.values()))

"""What labels say of firings: incidents explain those of their metric, time and slice; outcomes judge single alerts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.backtest.firings import Firing
from streamer.backtest.labels import Labels, judged, outcome_of, read, told_of
from streamer.errors import InputError

HOUR = 3_600_000
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z
OUTAGE = {
    "incident": "outage", "start": "2026-01-01T01:00:00Z", "end": "2026-01-01T02:00:00Z", "slice": {"platform": "ios"},
    "metrics": [{"metric": "abandon_rate", "slice": {"journey": "checkout", "platform": "ios"}, "until": "2026-01-01T02:30:00Z"}],
}  # fmt: skip


def labels(*lines: dict[str, Any]) -> Labels:
    return read(enumerate((json.dumps(line).encode() for line in lines), 1), "labels.jsonl")


def firing(hours: float, rule: str = "r", metric: str | None = "abandon_rate", n: int = 1, **about: str) -> Firing:
    start = T0 + round(hours * HOUR)
    return Firing(rule, "warning", f"f{n}", f"e{n}", about, metric, start, start, None, None, "", (f"a{n}", f"b{n}"))


@pytest.mark.parametrize(
    ("found", "explained"),
    [
        (firing(1, journey="checkout", platform="ios"), True),
        (firing(2.5, journey="checkout"), True),  # a coarser slice has it in it
        (firing(1.5), True),
        (firing(0.99, journey="checkout", platform="ios"), False),  # before it began
        (firing(2.51, journey="checkout", platform="ios"), False),  # after it must have moved
        (firing(1.5, journey="checkout", platform="android"), False),  # elsewhere
        (firing(1.5, metric="contacts"), False),
        (firing(1.5, metric=None, customer="c"), False),
    ],
)
def test_an_incident_explains_what_began_in_it_in_its_metric_and_slice(found: Firing, explained: bool) -> None:
    assert labels(OUTAGE).incidents[0].explains(found) is explained


def test_rules_that_a_label_names_may_fire_for_it_until_its_effects_are_over() -> None:
    known = labels(OUTAGE | {"also": ["r"], "effects_until": "2026-01-01T04:00:00Z"}).incidents[0]
    assert known.explains(firing(3.99, metric="csat_t2b_experience"))
    assert not known.explains(firing(4.01, metric="csat_t2b_experience"))
    assert not known.explains(firing(0.99, metric="csat_t2b_experience"))
    assert not known.explains(firing(1.5, "other", metric="csat_t2b_experience"))
    assert not known.explains(firing(1.5, metric=None, customer="c")), "incidents judge no single customers"
    without_an_end = labels(OUTAGE | {"also": ["r"]}).incidents[0]
    assert without_an_end.explains(firing(2, metric="contacts"))
    assert not without_an_end.explains(firing(2.01, metric="contacts"))


def test_precision_is_of_the_firings_and_lead_time_from_the_incidents_start_to_the_first() -> None:
    firings = [
        firing(1.25, n=1),
        firing(1.75, n=2),
        firing(5, n=3),
        firing(1.5, "other", "contacts", n=4),
        firing(1.5, "person", None, n=5),
    ]
    found = judged(firings, labels(OUTAGE))
    assert set(found) == {"r"}, "no label says anything of contacts, and incidents judge no single customers"
    assert (found["r"].right, found["r"].judged, found["r"].share) == (2, 3, 2 / 3)
    assert found["r"].lead_ms == [HOUR // 4]


def test_an_incident_without_metrics_is_about_every_aggregate_rule_in_its_slice() -> None:
    plain = {"start": "2026-01-01T01:00:00Z", "end": "2026-01-01T02:00:00Z", "slice": {"platform": "ios"}}
    found = judged([firing(1.5, metric="contacts", platform="ios"), firing(1.5, metric="contacts", n=2, platform="web")], labels(plain))
    assert (found["r"].right, found["r"].judged) == (1, 2)


def test_outcomes_judge_by_alert_episode_or_fingerprint_and_come_before_incidents() -> None:
    known = labels(
        {"alert_id": "b1", "outcome": "saved"}, {"episode_id": "e2", "outcome": "lost"}, {"fingerprint": "f3", "outcome": "false-alarm"},
        {"alert_id": "a4", "outcome": None, "acked_by": "somebody"}, OUTAGE,
    )  # fmt: skip
    firings = [firing(1, "person", None, n=n) for n in range(1, 6)]
    results = [outcome.result if (outcome := outcome_of(one, known)) else None for one in firings]
    assert results == ["saved", "lost", "false-alarm", None, None]
    assert (judged(firings, known)["person"].right, judged(firings, known)["person"].judged) == (2, 3)


def test_an_outcome_with_a_time_says_how_long_before_it_a_right_alert_fired() -> None:
    known = labels(
        {"alert_id": "a1", "outcome": "lost", "time": "2026-01-01T03:00:00Z"},
        {"alert_id": "a2", "outcome": "false-alarm", "time": "2026-01-01T03:00:00Z"},
        {"alert_id": "a3", "outcome": "saved"},
    )
    found = judged([firing(1, "person", None, n=n) for n in (1, 2, 3)], known)["person"]
    assert (found.right, found.judged, list(found.before_ms)) == (2, 3, [2 * HOUR])


def test_of_an_incident_every_rule_that_fired_in_it_is_told_and_by_what() -> None:
    firings = [firing(1.5, "person", None, n=1), firing(1.25, n=2), firing(1.75, n=3), firing(3, "late", None, n=4)]
    assert told_of(labels(OUTAGE).incidents[0], firings) == [
        {"rule": "r", "firings": 2, "first_ms": T0 + HOUR * 5 // 4, "lead_ms": HOUR // 4, "by": "metric"},
        {"rule": "person", "firings": 1, "first_ms": T0 + HOUR * 3 // 2, "lead_ms": HOUR // 2, "by": "time"},
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"hello": 1}, r"labels.jsonl:1: is neither an incident"),
        ({"alert_id": "a", "outcome": "fine"}, "saved, lost, false-alarm"),
        ({"start": "2026-01-01T02:00:00Z", "end": "2026-01-01T01:00:00Z"}, "ends before it starts"),
        ({"start": "soon", "end": "later"}, "labels.jsonl:1: "),
        ({"start": 5, "end": 6}, "labels.jsonl:1: "),
    ],
)
def test_a_line_that_is_no_label_is_refused_with_its_place(line: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        labels(line)

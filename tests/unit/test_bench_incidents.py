"""How `bench.incidents` judges a day: which incident a firing belongs to, and which are false."""

from __future__ import annotations

from typing import Any

from bench.incidents import INCIDENTS, Day, judged, report_of
from streamer.simulate.incidents import KINDS


def firing(rule: str, time: str) -> dict[str, Any]:
    return {"rule": rule, "time": f"2026-01-01T{time}:00.000Z", "about": {}}


OUTAGE = {
    "incident": "payment-outage", "start": "2026-01-01T02:00:00.000Z", "end": "2026-01-01T03:00:00.000Z",
    "effects_until": "2026-01-01T04:00:00.000Z", "rules": ["checkout-friction", "checkout-abandonment"], "also": ["csat-drop"],
}  # fmt: skip


def test_the_first_expected_rule_that_fires_in_an_incident_or_its_aftermath_has_seen_it() -> None:
    firings = [firing("checkout-friction", "02:30"), firing("checkout-abandonment", "03:59")]
    assert judged(1, firings, [OUTAGE]) == Day(1, {"payment-outage": ("checkout-friction", 1800.0)}, [], 2)


def test_what_may_fire_beside_is_neither_false_nor_has_it_seen_the_incident() -> None:
    assert judged(1, [firing("csat-drop", "03:30")], [OUTAGE]) == Day(1, {}, [], 1)


def test_what_fires_before_after_or_elsewhere_is_false() -> None:
    firings = [firing("checkout-friction", "01:59"), firing("many-transfers", "02:30"), firing("checkout-friction", "04:01")]
    day = judged(1, firings, [OUTAGE])
    assert (day.leads, day.false) == ({}, firings)


def test_the_report_counts_false_alerts_by_simulated_week() -> None:
    days = [Day(seed, {"payment-outage": ("checkout-friction", 60.0 * seed)}, [firing("nps-drop", "09:00")], 2) for seed in (1, 2, 3)]
    report = report_of(days)
    assert report["false_per_week"] == round(3 / (3 * 26 / 168), 2)
    outage = report["incidents"]["payment-outage"]
    assert (outage["seen"], outage["lead_seconds_median"], outage["lead_seconds_max"]) == (3, 120.0, 180.0)
    assert report["incidents"]["survey-drop"]["missed_in_seeds"] == [1, 2, 3]


def test_every_kind_is_in_the_day() -> None:
    assert INCIDENTS.keys() == KINDS.keys()

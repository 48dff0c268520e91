"""The chapter service: E2, E3, E6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.journeys.chapters.service import FIELDS_MAX, TEMPLATES_MAX, WAITING_MAX
from streamer.journeys.state import NEVER
from streamer.metrics.chapters.service import METRICS
from streamer.rollup.estimates import counters_of
from tests.chapters.support import (
    SLICES,
    assert_crashes_change_nothing,
    assert_order_changes_nothing,
    assert_recount_is_equal,
    single_pass,
    told,
)

if TYPE_CHECKING:
    from random import Random

    from tests.journeys_support import Run

DEFINITIONS = (
    SLICES
    + """
[[journey]]
id = "service_case"
start = ["case.opened"]
complete = ["case.resolved"]
activity = ["info.captured"]
identified_by = ["case_id"]
deadline = "3h"
[contacts]
window = "30m"
[service]
template_within = "20m"
response_within = "10m"
resolution_within = "50m"
[[rule]]
id = "asked-again"
on = "customer"
when = "captures_of_field >= 3"
show = ["info_repeats"]
[[rule]]
id = "bot"
on = "customer"
when = "bot_fallbacks >= 2"
[[rule]]
id = "friction"
on = "journey"
when = "friction >= 1"
"""
)
SEEDS = range(12)


def service(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    """Contacts, transfers, answers and what is asked, with and without names of the issue."""
    event: dict[str, Any] = {
        "type": random.choice([
            "contact.started", "contact.started", "contact.handled", "contact.handled", "contact.transferred", "contact.ended",
            "case.opened", "case.resolved", "case.reopened", "handoff.accepted", "info.captured", "info.captured", "auth.verified",
            "auth.verified", "message.sent", "page.viewed",
        ]),
        "issue": random.choice([{}, {}, {"case_id": "k"}, {"issue_id": "i"}, {"reason": "billing"}]),
        "actor": {"initiator": random.choice(["", "customer", "company", "system"])},
        "info": {"field": random.choice(["", "account", "address"])},
    }  # fmt: skip
    if random.random() < 0.5:
        event["handoff"] = {"kind": random.choice(["", "warm", "cold"]), "context_passed": random.choice([[], ["x"], None])}
    if random.random() < 0.5:
        event["handling"] = {
            "bot_fallbacks": random.choice([None, 0, 0, 1, 3]), "profile_viewed": random.choice([None, True, True, False]),
            "template_id": random.choice([None, "t", "t"]), "tag": random.choice([None, "generic", "other"]),
        }  # fmt: skip
    if random.random() < 0.2:
        event["message"] = {"human": random.choice([True, False])}
    if random.random() < 0.2:
        event["issue"] = {**event["issue"], "resolved": random.choice([True, False])}
    return event


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_and_batches_change_nothing(seed: int) -> None:
    assert_crashes_change_nothing(DEFINITIONS, service, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    assert_order_changes_nothing(DEFINITIONS, service, seed)


def test_the_recount_is_equal() -> None:
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)} | {"FRICTION_INSTANCES"}
    assert_recount_is_equal(DEFINITIONS, service, range(20), expected)


def test_the_recount_is_equal_while_contacts_wait() -> None:
    assert_recount_is_equal(DEFINITIONS, service, range(20, 26), set(), after_ms=0)

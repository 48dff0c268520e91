"""The chapter digital: section 2 and the customer's side of H4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.journeys.chapters.digital import HELP_MAX, RUNS_MAX, SESSIONS_MAX
from streamer.journeys.state import NEVER
from streamer.metrics.chapters.digital import METRICS
from streamer.rollup.estimates import counters_of
from tests.chapters.support import (
    SLICES,
    assert_crashes_change_nothing,
    assert_order_changes_nothing,
    assert_recount_is_equal,
    history,
    single_pass,
    told,
)

if TYPE_CHECKING:
    from random import Random

    from tests.journeys_support import Run

DEFINITIONS = (
    SLICES
    + """
[[slice]]
by = ["cause"]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
activity = ["page.viewed"]
identified_by = ["checkout_id", "session"]
deadline = "3h"
[digital]
session_gap = "40m"
rage_within = "20m"
error_within = "21m"
page_within = "22m"
field_within = "30m"
help_within = "15m"
ignore_elements = ["next"]
ignore_kinds = ["quick_back"]
[[rule]]
id = "rage"
on = "customer"
when = "rage_clicks + error_loops + page_loops + step_ping_pongs + confusions + digital_signals >= 3"
[[rule]]
id = "friction"
on = "journey"
when = "friction >= 1"
"""
)
SEEDS = range(12)


def screen(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    """What happens at a screen, in few sessions, elements, pages and steps, so that much comes again."""
    return {
        "type": random.choice([
            "ui.clicked", "ui.clicked", "ui.clicked", "ui.error", "ui.error", "form.error", "page.viewed", "page.viewed", "screen.viewed",
            "checkout.step_viewed", "checkout.step_viewed", "journey.step_entered", "friction.signal", "knowledge.searched",
            "contact.started", "checkout.started", "order.completed", "product.viewed",
        ]),
        "session_id": random.choice(["s", "s", "s", ""]),
        "touchpoint": random.choice(["", "cart", "help/delivery", "cart"]),
        "step": random.choice(["", "a", "b", "a", "b", "c"]),
        "journey": random.choice(["", "", "", "checkout"]),
        "friction": {
            "kind": random.choice(["", "rage_click", "dead_click", "quick_back", "page_loop", "error_loop"]),
            "element_id": random.choice(["", "buy", "buy", "next-page"]), "code": random.choice(["", "500", "500"]),
            "field": random.choice(["", "iban", "iban"]),
        },
        "search": {"results": random.choice([None, 0, 3])},
        "issue": {"reason": random.choice(["", "delivery", "billing"])},
        "actor": {"initiator": random.choice(["", "customer", "company"])},
    }  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_and_batches_change_nothing(seed: int) -> None:
    assert_crashes_change_nothing(DEFINITIONS, screen, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    assert_order_changes_nothing(DEFINITIONS, screen, seed)


def test_the_recount_is_equal() -> None:
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)} | {"FRICTION_INSTANCES"}
    assert_recount_is_equal(DEFINITIONS, screen, range(20), expected)

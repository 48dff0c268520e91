"""The chapter steps: B2 per step, J1-J4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.errors import DefinitionsError
from streamer.journeys.state import NEVER
from streamer.metrics.chapters.steps import METRICS, STAYS
from streamer.metrics.metric import counters_of
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    in_seconds,
)
from tests.journeys_support import HOUR, MINUTE, Story

if TYPE_CHECKING:
    from random import Random

_JOURNEY = """
[[slice]]
by = ["journey", "step"]
[[slice]]
by = ["journey", "previous_step", "step"]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
fail = ["order.cancelled"]
activity = ["checkout.*", "payment.*"]
identified_by = ["checkout_id", "session"]
deadline = "10m"
recoverable_for = "30m"
steps = ["cart", "address", "payment"]
[[journey]]
id = "onboarding"
start = ["journey.started"]
complete = ["journey.completed"]
fail = ["journey.failed"]
activity = ["journey.*"]
identified_by = ["journey_id"]
deadline = "20m"
recoverable_for = "10m"
stall_after = "5m"
"""
_RULES = """
[[rule]]
id = "stalled"
on = "customer"
when = "stalled >= 1"
"""
DEFINITIONS = SLICES + _JOURNEY + '[steps]\nstall_after = "4m"\n' + _RULES
# Of random histories: instances that live long enough to come back to a step, and others that are abandoned before they stall.
RANDOM = (
    DEFINITIONS.replace('deadline = "20m"', 'deadline = "8m"')
    .replace('deadline = "10m"', 'deadline = "25m"')
    .replace('stall_after = "5m"', 'stall_after = "15m"')
)
# The second meets deadlines at the very moment.
COUNTERS = {counter.name for metric in METRICS for counter in counters_of(metric)}
# Stays longer than any that the deadlines of these tests let end, in minutes and in seconds.
LONG = {counter.name for counter in STAYS[-4:]}
NOT_SHORT = {counter.name for counter in STAYS[3:]}


def event(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    """Most instances go back and forth for a while before they end."""
    if random.random() < 0.02:
        return {"type": "identity.linked"}
    if random.random() < 0.2:
        kind = random.choices(["started", "step_entered", "completed", "failed"], [3, 8, 1, 1])[0]
        fields: dict[str, Any] = {"type": f"journey.{kind}", "journey": "onboarding", "journey_id": random.choice(["j1", "j1", "j2"])}
    else:
        ends = ["order.completed", "order.cancelled"]
        kinds = ["checkout.started", "checkout.step_viewed", "payment.failed", "form.error", "contact.started", *ends]
        fields = {"type": random.choices(kinds, [6, 16, 2, 2, 1, 1, 1])[0]}
        if random.random() < 0.8:
            fields["commerce"] = {"checkout_id": random.choice(["k1", "k1", "k2"])}
    if step := random.choice(["", "", "cart", "address", "payment", "help", "address"]):
        fields["step"] = step
    return fields


HISTORIES = (Histories(RANDOM, event, HOUR), Histories(in_seconds(RANDOM), event, MINUTE))


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(RANDOM, event, RECOUNTED, COUNTERS - LONG - {"STEP_TIME_10S"}, span_ms=HOUR)


def test_the_recount_is_equal_while_much_is_open() -> None:
    assert_recount_is_equal(RANDOM, event, RECOUNTED, {"STEPS_ABANDONED"}, after_ms=7 * MINUTE + 500, span_ms=2 * HOUR)


@pytest.mark.parametrize("after_ms", [3_500, HOUR])
def test_the_recount_is_equal_where_moments_collide(after_ms: int) -> None:
    assert_recount_is_equal(in_seconds(RANDOM), event, RECOUNTED, COUNTERS - NOT_SHORT, after_ms, span_ms=MINUTE)


def story() -> Story:
    return Story(DEFINITIONS)


def begin(one: Story, seconds: float = 0, step: str = "cart", **fields: Any) -> int:
    return one.event("checkout.started", seconds, step=step, checkout_id="k1", **fields)


def view(one: Story, seconds: float, step: str = "", **fields: Any) -> int:
    return one.event("checkout.step_viewed", seconds, step=step or None, checkout_id="k1", **fields)


def test_an_abandonment_is_counted_when_it_comes_with_the_step_it_is_on() -> None:
    one = story()
    begin(one)
    view(one, 60, "address")
    view(one, 120, "address")
    assert one.run.total("STEPS_ABANDONED") == 0
    abandoned = one.clock(120 + 600)
    assert one.run.at("STEPS_ABANDONED", abandoned) == 1
    assert one.run.total("STEPS_REACHED", step="address") == one.run.total("STEPS_ABANDONED", step="address") == 1
    assert one.run.total("STEPS_ABANDONED") == 1


def test_of_a_step_visited_again_the_dimensions_of_the_first_coming_count() -> None:
    one = story()
    begin(one, segment="new")
    view(one, 60, "address")
    view(one, 120, "cart", segment="known")
    one.clock(1000)
    assert one.run.total("STEPS_REACHED", step="cart") == 1
    assert one.run.total("STEPS_ABANDONED", segment="new") == one.run.total("STEPS_ABANDONED") == 1


def test_recovery_and_reopening_take_the_abandonment_of_the_step_back() -> None:
    one = story()
    begin(one)
    one.clock(600)
    assert one.run.total("STEPS_ABANDONED", step="cart") == 1
    view(one, 700)
    assert one.run.total("STEPS_ABANDONED") == 0
    one.clock(1300)
    assert one.run.total("STEPS_ABANDONED", step="cart") == 1
    one.event("order.completed", 1400, checkout_id="k1")
    assert one.run.total("STEPS_ABANDONED") == 0


def test_a_late_completion_takes_it_back_and_is_no_touchpoint() -> None:
    one = story()
    begin(one)
    one.clock(600)
    one.event("page.viewed", 1500)
    one.event("order.completed", 300, checkout_id="k1")
    assert one.run.processor.accounting["late"] == 1
    assert one.run.total("STEPS_ABANDONED") == 0
    assert one.run.total("JOURNEY_TOUCHPOINTS") == 1
    assert one.run.total("JOURNEY_PROGRESS") == 1000


def test_failing_while_abandoned_leaves_it_abandoned_and_ends_no_stay() -> None:
    one = story()
    begin(one)
    one.clock(600)
    one.event("order.cancelled", 700, checkout_id="k1")
    one.clock(9000)
    assert one.run.total("STEPS_ABANDONED", step="cart") == 1
    assert sum(one.run.total(counter.name) for counter in STAYS) == 0


def test_touchpoints_are_counted_with_their_squares_at_the_start() -> None:
    one = story()
    started = begin(one)
    view(one, 60, "address")
    view(one, 70)
    one.event("order.completed", 80, checkout_id="k1")
    assert one.run.at("JOURNEY_TOUCHPOINTS", started) == 4
    assert one.run.at("JOURNEY_TOUCHPOINTS_SQUARED", started) == 16


def test_progress_is_what_lies_behind_the_furthest_named_step() -> None:
    one = story()
    begin(one, step="address")
    assert one.run.total("JOURNEY_PROGRESS") == 333
    view(one, 60, "help")
    view(one, 70, "cart")
    assert one.run.total("JOURNEY_PROGRESS") == 333
    view(one, 80, "payment")
    assert one.run.total("JOURNEY_PROGRESS") == 666
    assert one.run.total("JOURNEY_PROGRESS_SQUARED") == 666 * 666
    one.event("order.cancelled", 90, checkout_id="k1")
    assert one.run.total("JOURNEY_PROGRESS") == 666


def test_a_journey_without_named_steps_has_no_progress() -> None:
    one = story()
    one.event("journey.started", 0, journey="onboarding", journey_id="j", step="cart")
    one.event("journey.completed", 10, journey="onboarding", journey_id="j")
    assert one.run.total("JOURNEYS_WALKED") == 1
    assert one.run.total("JOURNEYS_WITH_STEPS") == one.run.total("JOURNEY_PROGRESS") == 0


def test_a_transition_is_a_change_of_step_and_carries_both() -> None:
    one = story()
    begin(one)
    view(one, 10, "cart")
    view(one, 20)
    view(one, 30, "payment")
    assert one.run.total("STEP_TRANSITIONS") == 1
    assert one.run.total("STEP_TRANSITIONS", previous_step="cart", step="payment", journey="checkout") == 1


def test_a_stay_ends_with_the_next_step_or_the_instance() -> None:
    one = story()
    begin(one)
    at = view(one, 10, "address")
    assert one.run.at("STEP_TIME_10S", at) == one.run.total("STEP_TIME_10S", step="cart") == 1
    view(one, 30.001, "payment")
    assert one.run.total("STEP_TIME_30S", step="address") == 1
    one.event("order.completed", 100, checkout_id="k1")
    assert one.run.total("STEP_TIME_2M", step="payment") == 1


def test_an_instance_stalls_at_exactly_the_deadline_unless_it_has_gone_on_before() -> None:
    one = story()
    begin(one)
    view(one, 239.999, "address")
    stalled = view(one, 239.999 + 240, "payment")
    assert one.run.total("STEP_STALLS") == 1, "an event at exactly the deadline comes after it"
    assert one.run.at("STEP_STALLS", stalled) == one.run.total("STEP_STALLS", step="address") == 1


def test_the_alert_on_a_stall_is_resolved_by_the_next_step() -> None:
    one = story()
    begin(one)
    one.clock(240)
    assert one.states == ["firing"]
    assert one.run.alerts[0].metric.signals == {"stalled": 1}
    view(one, 250, "cart")
    assert one.states == ["firing"], "still on the same step"
    view(one, 260, "address")
    assert one.states == ["firing", "resolved"]


def test_an_abandoned_instance_does_not_stall_and_a_reopened_one_has_its_time_again() -> None:
    one = story()
    begin(one)
    one.event("journey.started", 0, journey="onboarding", journey_id="j", step="x")
    one.clock(300)
    assert one.run.total("STEP_STALLS") == 2
    one.clock(600)
    assert one.states == ["firing", "amended", "amended"], "the checkout is abandoned, the other is not"
    view(one, 700)
    one.clock(700 + 239)
    assert one.run.total("STEP_STALLS", journey="checkout") == 1
    one.clock(700 + 240)
    assert one.run.total("STEP_STALLS", journey="checkout") == 2


def test_where_abandonment_and_stall_fall_together_abandonment_comes_first() -> None:
    one = Story(DEFINITIONS.replace('"4m"', '"10m"'))
    begin(one)
    one.clock(5000)
    assert one.run.total("STEPS_ABANDONED") == 1
    assert one.run.total("STEP_STALLS") == 0


def test_friction_is_of_the_step_the_instance_is_on_and_counts_once() -> None:
    one = story()
    came = begin(one)
    for seconds in (10, 20):
        one.event("form.error", seconds, checkout_id="k1")
    view(one, 30, "payment")
    one.event("payment.failed", 40, checkout_id="k1", step="address")
    assert one.run.at("STEPS_FRICTION", came) == 1
    assert one.run.total("STEPS_FRICTION", step="cart") == one.run.total("STEPS_FRICTION", step="address") == 1
    assert one.run.total("STEPS_FRICTION", step="payment") == 0


def test_before_its_first_step_an_instance_is_nowhere() -> None:
    one = story()
    begin(one, step="")
    one.event("form.error", 10, checkout_id="k1")
    one.clock(5000)
    assert one.run.total("STEPS_REACHED") == one.run.total("STEPS_ABANDONED") == one.run.total("STEPS_FRICTION") == 0
    assert one.run.total("JOURNEYS_WALKED") == 1


def test_a_linked_instance_leaves_nothing_to_wait_for() -> None:
    one = story()
    begin(one)
    one.event("identity.linked", 10)
    one.clock(5000)
    assert one.run.total("STEP_STALLS") == one.run.total("STEPS_ABANDONED") == 0
    assert one.states == []
    assert {row.due for row in one.run.rows.values()} == {NEVER}


def test_an_instance_that_makes_room_is_forgotten() -> None:
    one = Story(DEFINITIONS + "[limits]\njourneys_per_customer = 1\n")
    begin(one)
    one.event("checkout.started", 10, step="cart", checkout_id="k2")
    one.clock(300)
    assert one.run.total("STEP_STALLS") == 1


def test_beyond_the_limit_new_steps_are_not_looked_at() -> None:
    one = Story(DEFINITIONS.replace('stall_after = "4m"\n', "steps_per_instance = 2\n", 1))
    begin(one)
    view(one, 10, "address")
    view(one, 20, "payment")
    view(one, 30, "cart")
    assert one.run.processor.accounting["cut_steps"] == 1
    assert one.run.total("STEPS_REACHED") == 2
    assert one.run.total("STEP_TRANSITIONS", previous_step="address", step="cart") == 1


def test_instances_begun_before_the_chapter_was_on_are_not_followed() -> None:
    one = Story(SLICES + _JOURNEY)
    begin(one)
    one.run.upgrade(DEFINITIONS.replace("revision = 1", "revision = 2"))
    view(one, 10, "address")
    one.event("form.error", 20, checkout_id="k1")
    one.clock(5000)
    assert one.run.total("ABANDONED") == 1
    assert not {counter for counter, _, _ in one.run.sums} & COUNTERS


def test_the_chapter_can_be_switched_off_and_on_while_an_instance_is_open() -> None:
    one = story()
    begin(one)
    for revision, text in ((2, SLICES + _JOURNEY), (3, DEFINITIONS)):
        one.run.upgrade(text.replace("revision = 1", f"revision = {revision}"))
        view(one, 10 * revision, "address")
    one.clock(5000)
    assert one.run.total("STEPS_REACHED") == 1
    assert one.run.total("STEPS_ABANDONED") == 0


def test_steps_must_have_names_of_their_own() -> None:
    with pytest.raises(DefinitionsError, match="names a step twice"):
        parse(SLICES + '[[journey]]\nid = "a"\nstart = ["x"]\ncomplete = ["y"]\nsteps = ["one", "one"]\n')


def test_a_rule_on_stalls_needs_the_chapter() -> None:
    with pytest.raises(DefinitionsError, match=r"needs the chapter `steps`"):
        parse(SLICES + _JOURNEY + _RULES)

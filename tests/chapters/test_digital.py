"""The chapter digital: section 2 and the customer's side of H4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.alerts.times import milliseconds
from streamer.definitions import parse
from streamer.journeys.chapters.digital import HELP_MAX, RUNS_MAX, SESSIONS_MAX
from streamer.journeys.state import NEVER
from streamer.metrics.chapters.digital import METRICS
from streamer.metrics.metric import counters_of
from streamer.verify.raw_log import Record
from tests.chapters.support import (
    SLICES,
    Histories,
    assert_recount_is_equal,
    assert_rules_are_recounted_equal,
    in_seconds,
    single_pass,
    told,
)
from tests.journeys_support import BASE_MS, MINUTE
from tests.verify_support import counted, differing

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
deadline = "180m"
[digital]
session_gap = "10m"
rage_within = "3m"
error_within = "4m"
page_within = "5m"
field_within = "15m"
help_within = "7m"
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
show = ["effort_index"]
[[rule]]
id = "effort"
on = "issue"
when = "effort_index >= 1"
"""
)
SPAN_MS = 45 * MINUTE


# What each customer mostly does, so that much comes again.
TYPES: dict[str, list[str]] = {
    "c-0": ["ui.clicked", "ui.error", "form.error", "friction.signal"],
    "c-1": ["checkout.step_viewed", "journey.step_entered", "checkout.step_viewed", "page.viewed"],
    "c-2": ["page.viewed", "screen.viewed", "knowledge.searched", "contact.started", "product.viewed"],
}


def screen(random: Random, customer: str, _time_ms: int) -> dict[str, Any]:
    """What happens at a screen, in few sessions, elements, pages and steps."""
    types = random.choice([TYPES[customer], TYPES[customer], TYPES[customer], sum(TYPES.values(), ["checkout.started", "order.completed"])])
    return {
        "type": random.choice(types),
        "session_id": random.choice(["s", "s", "s", ""]),
        "touchpoint": random.choice(["", "cart", "help/delivery", "cart"]),
        "step": random.choice(["", "a", "b", "a", "b", "a", "b", "c"]),
        "journey": random.choice(["", "", "", "", "", "checkout"]),
        "friction": {
            "kind": random.choice(["", "rage_click", "dead_click", "quick_back", "page_loop", "error_loop"]),
            "element_id": random.choice(["", "buy", "buy", "next-page"]), "code": random.choice(["", "500", "500"]),
            "field": random.choice(["", "iban", "iban"]),
        },
        "search": {"results": random.choice([None, 0, 3])},
        "issue": {"reason": random.choice(["", "delivery", "billing"])},
        "actor": {"initiator": random.choice(["", "customer", "company", "", "system"])},
    }  # fmt: skip


HISTORIES = (Histories(DEFINITIONS, screen, SPAN_MS), Histories(in_seconds(DEFINITIONS), screen, SPAN_MS // 60, range(5)))


def test_the_recount_is_equal_where_moments_collide() -> None:
    assert_recount_is_equal(in_seconds(DEFINITIONS), screen, range(8), set(), span_ms=SPAN_MS // 60)


def test_the_recount_is_equal() -> None:
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)} | {"FRICTION_INSTANCES"}
    assert_recount_is_equal(DEFINITIONS, screen, range(20), expected, span_ms=SPAN_MS)


def test_friction_of_journeys_is_recounted_equal() -> None:
    assert_rules_are_recounted_equal(DEFINITIONS, screen, range(4), span_ms=SPAN_MS)


Event = tuple[float, str, dict[str, Any]]
PRESET = DEFINITIONS[: DEFINITIONS.index("[digital]")] + "[digital]\n" + DEFINITIONS[DEFINITIONS.index("[[rule]]") :]


def clicks(*seconds: float, element: str = "buy", session: str = "s") -> list[Event]:
    return [(at / 60, "ui.clicked", {"session_id": session, "friction": {"element_id": element}}) for at in seconds]


def viewed(*seconds: float, page: str = "cart") -> list[Event]:
    return [(at / 60, "page.viewed", {"session_id": "s", "touchpoint": page}) for at in seconds]


def errors(*seconds: float, code: str = "500") -> list[Event]:
    return [(at / 60, "ui.error", {"session_id": "s", "friction": {"code": code}}) for at in seconds]


def stepped(steps: str) -> list[Event]:
    return [(at, "checkout.step_viewed", {"session_id": "s", "step": step}) for at, step in enumerate(steps)]


def folded(*events: Event, definitions: str = PRESET) -> Run:
    """Events of one customer, at minutes after the beginning, and then four hours."""
    return single_pass(definitions, told(*sorted(events, key=lambda event: event[0])), 4 * 60 * MINUTE)


def signals(run: Run) -> dict[str, int]:
    """How many of each kind."""
    found: dict[str, int] = {}
    for (counter, cell, _), n in run.sums.items():
        if counter == "DIGITAL_SIGNALS":
            cause = dict(cell)["cause"]
            found[cause] = found.get(cause, 0) + n
    return found


def test_three_clicks_on_one_element_in_a_second_are_a_rage_click_once_per_burst() -> None:
    assert signals(folded(*clicks(0, 0.5, 1))) == {"rage_click": 1}
    assert signals(folded(*clicks(0, 0, 1))) == {"rage_click": 1}, "a pause of a second is none"
    assert signals(folded(*clicks(0, 0.5, 1.001))) == {}
    assert signals(folded(*clicks(0, 0.5, 1, 1.5, 2, 2.5))) == {"rage_click": 1}, "it goes on"
    assert signals(folded(*clicks(0, 0.5, 1, 2.001, 2.4, 2.8))) == {"rage_click": 2}, "a pause of more than a second"
    assert signals(folded(*clicks(0, 0.9, 1.8, 2.2, 2.6))) == {"rage_click": 1}, "slow first"
    assert signals(folded(*clicks(0, 0.5), *clicks(1, element="sell"))) == {}
    assert signals(folded(*clicks(0, 0.5), *clicks(1, session="t"))) == {}
    assert (
        signals(
            folded(*clicks(0, 0.1, 0.2, element="")),
        )
        == {}
    )
    assert signals(folded(*clicks(0, 0.1, 0.2, element="cart-quantity-stepper"))) == {}, "is clicked often for good reason"


def test_a_preset_of_four_clicks() -> None:
    preset = PRESET.replace("[digital]", '[digital]\nrage_clicks = 4\nrage_within = "750ms"')
    assert signals(folded(*clicks(0, 0.25, 0.5, 0.75), definitions=preset)) == {"rage_click": 1}
    assert signals(folded(*clicks(0, 0.25, 0.5), definitions=preset)) == {}


def test_one_error_or_one_page_again_and_again_is_a_loop() -> None:
    assert signals(folded(*errors(0, 30, 60))) == {"error_loop": 1}
    assert signals(folded(*errors(0, 30, 61))) == {}
    assert signals(folded(*errors(0, 30), *errors(40, code="404"))) == {}
    assert signals(folded(*viewed(0, 7, 15))) == {"page_loop": 1}
    assert signals(folded(*viewed(0, 7, 16))) == {}
    assert signals(folded(*viewed(0, 7), *viewed(9, page="shop"))) == {}


def test_three_errors_in_one_field_are_trouble() -> None:
    def of_field(*minutes: float, field: str = "iban") -> list[Event]:
        return [(at, "form.error", {"friction": {"field": field}}) for at in minutes]

    assert signals(folded(*of_field(0, 5, 10))) == {"field_trouble": 1}
    assert signals(folded(*of_field(0, 5, 10.1))) == {}
    assert signals(folded(*of_field(0, 5), *of_field(6, field="bic"))) == {}


@pytest.mark.parametrize(
    ("steps", "n"), [("aba", 0), ("abab", 1), ("ababab", 1), ("abcab", 0), ("aabbaabb", 1), ("ababcabab", 2), ("abacaba", 0)]
)
def test_steps_to_and_fro(steps: str, n: int) -> None:
    assert signals(folded(*stepped(steps))).get("step_ping_pong", 0) == n


def test_help_and_then_a_contact_on_its_topic_is_a_sign_that_it_did_not_help() -> None:
    def search(at: float, topic: str = "", results: int = 2) -> Event:
        return at, "knowledge.searched", {"session_id": "s", "issue": {"reason": topic}, "search": {"results": results}}

    def contact(at: float, topic: str = "billing", initiator: str = "customer") -> Event:
        return at, "contact.started", {"channel": "phone", "issue": {"reason": topic}, "actor": {"initiator": initiator}}

    assert signals(folded(search(0, "billing"), contact(29.99))) == {"help_then_contact": 1}
    assert signals(folded(search(0, "billing"), contact(30))) == {}
    assert signals(folded(search(0, "delivery"), contact(5))) == {}, "another topic"
    assert signals(folded(search(0), contact(5))) == {"help_then_contact": 1}, "of no topic: it may have been this one"
    assert signals(folded(search(0, "billing"), contact(5, ""))) == {"help_then_contact": 1}
    assert signals(folded(search(0), contact(5, initiator="company"))) == {}
    assert signals(folded(search(0), contact(5), contact(6))) == {"help_then_contact": 1}, "the second contact had no help before it"
    assert signals(folded(*viewed(0, page="help/payments"), contact(5))) == {"help_then_contact": 1}
    assert signals(folded(*viewed(0, page="shop"), contact(5))) == {}
    assert signals(folded(search(0, results=0))) == {"no_results": 1}


@pytest.mark.parametrize("initiator", ["company", "system"])
def test_what_our_own_people_look_up_is_no_confusion_of_the_customer(initiator: str) -> None:
    searched = {"session_id": "s", "search": {"results": 0}}
    by_staff: Event = (0, "knowledge.searched", {**searched, "actor": {"initiator": initiator}})
    called: Event = (5, "contact.started", {"channel": "phone"})
    wide = PRESET.replace("[digital]", '[digital]\nactivity = ["knowledge.*"]')
    for definitions in (PRESET, wide):
        run = folded(by_staff, called, definitions=definitions)
        assert signals(run) == {}
        assert run.total("DIGITAL_SESSIONS") == run.total("SESSIONS_CONFUSED") == 0
    by_both = folded((0, "knowledge.searched", searched), (20, *by_staff[1:]), (31, "knowledge.searched", searched))
    assert by_both.total("DIGITAL_SESSIONS") == 2, "nor does it keep a session open"


def test_what_clients_say_counts_by_its_kind_unless_it_is_ignored() -> None:
    def said(kind: str, element: str = "buy") -> Event:
        return 0, "friction.signal", {"friction": {"kind": kind, "element_id": element}}

    run = folded(said("rage_click"), said("dead_click"), said("dead_click", "carousel-2"), said("page_loop"), said(""))
    assert signals(run) == {"rage_click": 1, "dead_click": 1, "page_loop": 1}
    assert run.total("SESSIONS_RAGE_CLICK") == run.total("SESSIONS_PAGE_LOOP") == run.total("SESSIONS_CONFUSED") == 1
    ignoring = PRESET.replace("[digital]", '[digital]\nignore_kinds = ["dead_click", "rage_click"]')
    assert signals(folded(said("dead_click"), *clicks(0, 0.1, 0.2), definitions=ignoring)) == {}


def test_a_session_counts_once_for_each_kind_in_the_pane_of_its_start() -> None:
    run = folded(*clicks(0, 0.1, 0.2), *clicks(300, 300.1, 300.2), *viewed(600, 601, 602))
    assert (run.total("DIGITAL_SESSIONS"), run.total("SESSIONS_RAGE_CLICK"), run.total("DIGITAL_SIGNALS")) == (1, 1, 3)
    assert run.at("SESSIONS_PAGE_LOOP", BASE_MS) == run.at("SESSIONS_CONFUSED", BASE_MS) == 1
    assert folded(*clicks(0, 1799.999)).total("DIGITAL_SESSIONS") == 1
    assert folded(*clicks(0, 1800)).total("DIGITAL_SESSIONS") == 2


def test_what_is_seen_in_raw_events_is_friction_of_the_journey_it_names() -> None:
    begun: Event = (0, "checkout.started", {"session_id": "s"})
    assert folded(begun, *clicks(60, 60.1)).total("FRICTION_INSTANCES") == 0
    run = folded(begun, *clicks(60, 60.1, 60.2))
    assert run.total("FRICTION_INSTANCES") == 1
    assert [alert.rule.id for alert in run.alerts if alert.state == "firing"] == ["friction"]
    assert folded(begun, *clicks(60, 60.1, 60.2, session="t")).total("FRICTION_INSTANCES") == 0
    said: Event = (1, "friction.signal", {"session_id": "s", "friction": {"kind": "rage_click"}})
    told_last = folded(begun, said).alerts[-1].metric.signals
    assert told_last == {"friction": 1, "effort_index": 0.0}, "what a client says is one signal, not two"
    searched: Event = (1, "knowledge.searched", {"session_id": "s", "search": {"results": 0}})
    assert folded(begun, searched).total("FRICTION_INSTANCES") == 0, "a search without results is none"


def test_an_error_loop_is_effort_of_the_issue_and_the_journey_that_it_names() -> None:
    def failing(*seconds: float, reason: str = "delivery") -> list[Event]:
        return [(at, kind, {**fields, "issue": {"reason": reason}}) for at, kind, fields in errors(*seconds)]

    called: Event = (0, "contact.started", {"issue": {"reason": "delivery"}})
    begun: Event = (0, "checkout.started", {"session_id": "s"})
    assert folded(called, *failing(60, 70)).total("EFFORT_TENTHS") == 0
    assert folded(called, *failing(60, 70, 80, 90)).total("EFFORT_TENTHS") == 10, "once per burst"
    assert folded(called, *failing(60, 70, 80, reason="billing")).total("EFFORT_TENTHS") == 0
    said: Event = (1, "friction.signal", {"session_id": "s", "friction": {"kind": "error_loop"}, "issue": {"reason": "delivery"}})
    assert folded(called, said).total("EFFORT_TENTHS") == 10, "whoever has seen it"
    assert folded(begun, *failing(60, 70, 80)).alerts[0].metric.signals == {"friction": 1, "effort_index": 1.0}


def test_the_signals_of_open_sessions_are_an_alert_with_only_them_as_evidence() -> None:
    run = folded(*viewed(0, page="shop"), *clicks(5, 5.1, 5.2), *clicks(60, 60.1, 60.2))
    assert [alert.state for alert in run.alerts if alert.rule.id == "rage"] == ["firing", "resolved"]
    assert [evidence.type for evidence in run.alerts[0].evidence] == ["ui.clicked", "ui.clicked"]
    assert run.alerts[0].metric.signals["rage_clicks"] == 2


def test_an_alert_about_a_session_that_has_to_make_room_ends_then() -> None:
    others = (event for n in range(SESSIONS_MAX) for event in clicks(100 + n, session=f"s-{n}"))
    run = folded(*clicks(5, 5.1, 5.2), *clicks(60, 60.1, 60.2), *others)
    fired, ended = [alert for alert in run.alerts if alert.rule.id == "rage"]
    assert (fired.state, ended.state) == ("firing", "resolved")
    assert milliseconds(ended.event_time) - milliseconds(fired.event_time) == round((100 + SESSIONS_MAX - 1 - 60.2) * 1000)


def test_what_is_kept_of_a_customer_is_bounded_and_forgotten() -> None:
    run = folded(
        *(event for n in range(SESSIONS_MAX + 2) for event in clicks(n, session=f"s-{n}")),
        *(event for n in range(RUNS_MAX + 3) for event in viewed(100 + n / 100, page=f"p-{n}")),
        *((5 + n / 60, "knowledge.searched", {"session_id": "s", "issue": {"reason": f"r-{n}"}}) for n in range(HELP_MAX + 4)),
    )
    cut = run.processor.accounting
    assert cut["cut_digital_sessions"] == 3
    assert cut["cut_bursts"] == 3
    assert cut["cut_help"] == 4
    run.advance(run.processor.clock_ms + 10 * 24 * 60 * MINUTE)
    run.drain()
    assert [row.due for row in run.rows.values()] == [NEVER]


def test_bursts_that_have_ended_make_room_without_a_cut() -> None:
    events = [event for n in range(RUNS_MAX + 3) for event in viewed(n * 16, page=f"p-{n}")]
    assert "cut_bursts" not in folded(*events).processor.accounting


def test_a_limit_that_cut_is_named_by_the_recount_and_is_no_mismatch() -> None:
    events = [event for n in range(RUNS_MAX + 5) for event in viewed(n / 10, page=f"p-{n}")]
    events += [event for n in range(3) for event in viewed(6 + n / 10, page="p-0")]
    log = [Record(0, one.offset, one.timestamp, one.key, one.value) for one in told(*events)]
    wanted = parse(PRESET.replace("[digital]", "[digital]\nloop_pages = 4"))
    end_ms = log[-1].arrival + 60 * MINUTE
    found = differing(counted(log, wanted, end_ms), log, wanted, end_ms)
    assert {verdict.status for verdict in found.values()} == {"not verified"}
    assert "cut_bursts" in found["SESSIONS_PAGE_LOOP"].reason

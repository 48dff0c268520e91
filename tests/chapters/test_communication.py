"""The chapter communication: H5, H6."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.metrics.chapters.communication import METRICS
from streamer.metrics.metric import counters_of
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    in_seconds,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE, SECOND, Story

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[communication]
opened = ["case.opened", "case.reopened", "journey.started"]
closed = ["case.resolved", "case.closed", "journey.completed"]
status_reasons = ["status", "where_is_it"]
silent_after = "40m"
silent_after_high = "10m"
owner_within = "15m"
notice_within = "20m"
forget_after = "70m"
[[rule]]
id = "silent"
on = "customer"
when = "silent_cases >= 1"
[[rule]]
id = "nobody"
on = "customer"
when = "unowned_cases >= 1"
[[rule]]
id = "overdue"
on = "customer"
when = "overdue_cases >= 1"
"""
)
# The second meets deadlines at the very moment.
COUNTERS = {counter.name for metric in METRICS for counter in counters_of(metric)}


def event(random: Random, _customer: str, time_ms: int) -> dict[str, Any]:
    kinds = ["case.opened"] * 3 + ["case.updated"] * 4 + ["message.sent"] * 2 + ["case.reopened", "case.closed", "handoff.accepted"]
    kinds += ["contact.started"] * 2 + ["journey.started", "journey.completed", "contact.ended"]
    fields: dict[str, Any] = {"type": random.choice(kinds)}
    issue: dict[str, Any] = {}
    if named := random.choice(["", "case_id", "case_id", "case_id", "issue_id"]):
        issue[named] = random.choice(["k1", "k2"])
    if severity := random.choice(["", "", "low", "high"]):
        issue["severity"] = severity
    if reason := random.choice(["", "status", "where_is_it", "billing"]):
        issue["reason"] = reason
    if random.random() < 0.3:
        issue["due_at"] = at(time_ms + random.choice([-5, 0, 5, 20, 20, 300, 900, 1200, 3000]) * SECOND)
    if issue:
        fields["issue"] = issue
    if random.random() < 0.2 or fields["type"].startswith("journey."):
        fields["journey_id"] = random.choice(["k1", "j1"])
    actor = {}
    if owner := random.choice(["", "", "ann", "bob"]):
        actor["owner"] = owner
    if team := random.choice(["", "", "", "desk"]):
        actor["team"] = team
    if initiator := random.choice(["", "customer", "company", "system"]):
        actor["initiator"] = initiator
    if actor:
        fields["actor"] = actor
    return fields


def at(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


HISTORIES = (Histories(DEFINITIONS, event), Histories(in_seconds(DEFINITIONS), event, 4 * MINUTE))


@pytest.mark.parametrize("after_ms", [5 * MINUTE, 3 * HOUR])
def test_the_recount_is_equal(after_ms: int) -> None:
    assert_recount_is_equal(DEFINITIONS, event, RECOUNTED, COUNTERS, after_ms)


@pytest.mark.parametrize("after_ms", [3_500, HOUR])
def test_the_recount_is_equal_where_moments_collide(after_ms: int) -> None:
    assert_recount_is_equal(in_seconds(DEFINITIONS), event, RECOUNTED, COUNTERS, after_ms, span_ms=4 * MINUTE)


def opened(one: Story, seconds: float = 0, **fields: Any) -> int:
    return one.event("case.opened", seconds, **{"case_id": "k1", "owner": "ann", **fields})


def test_a_case_is_silent_at_the_deadline_and_again_after_a_message() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    assert one.run.total("CASES_ANSWER_DUE") == 0, "it is not known yet"
    silent = one.clock(2400)
    assert [one.run.at(counter, silent) for counter in ("SILENCES", "CASES_SILENT", "CASES_ANSWER_DUE")] == [1, 1, 1]
    assert one.states == ["firing"]
    one.event("message.sent", 2500, case_id="k1")
    assert one.states == ["firing", "resolved"]
    one.clock(2500 + 2400)
    assert one.run.total("SILENCES") == 2
    assert one.run.total("CASES_SILENT") == 1
    one.event("case.closed", 5000, case_id="k1")
    assert one.run.total("CASES_ANSWER_DUE") == 1


@pytest.mark.parametrize(("seconds", "silences"), [(2399.999, 0), (2400, 1)])
def test_a_message_at_exactly_the_deadline_comes_after_it(seconds: float, silences: int) -> None:
    one = Story(DEFINITIONS)
    opened(one)
    one.event("message.sent", seconds, case_id="k1")
    assert one.run.total("SILENCES") == silences


def test_a_message_without_a_case_is_to_every_case_and_one_of_another_case_to_none_else() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    opened(one, 10, case_id="k2")
    one.event("message.sent", 1000, case_id="k2")
    one.clock(2401)
    assert one.run.total("SILENCES") == 1
    one.event("message.sent", 2500)
    one.clock(4890)
    assert one.run.total("SILENCES") == 1


def test_a_contact_by_the_company_is_heard_one_by_the_customer_is_not() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    one.event("contact.started", 1200, case_id="k1", initiator="company")
    one.event("contact.started", 1300, case_id="k1", initiator="customer")
    one.clock(1200 + 2399)
    assert one.run.total("SILENCES") == 0
    one.clock(1200 + 2400)
    assert one.run.total("SILENCES") == 1


def test_a_closed_case_is_not_silent() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    closed = one.event("case.closed", 2000, case_id="k1")
    one.clock(9000)
    assert one.run.total("SILENCES") == 0
    assert one.run.at("CASES_ANSWER_DUE", closed) == one.run.total("CASES_ANSWER_DUE") == 1


def test_of_high_severity_it_is_silent_sooner() -> None:
    one = Story(DEFINITIONS)
    opened(one, severity="high")
    one.clock(600)
    assert one.run.total("SILENCES") == 1


def test_a_severity_raised_too_late_makes_it_silent_at_once() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    raised = one.event("case.updated", 1200, case_id="k1", severity="high")
    assert one.run.at("SILENCES", raised) == 1
    assert one.states == ["firing"]


def test_a_severity_lowered_in_time_gives_it_longer() -> None:
    one = Story(DEFINITIONS)
    opened(one, severity="high")
    one.event("case.updated", 500, case_id="k1", severity="low")
    one.clock(2399)
    assert one.run.total("SILENCES") == 0
    one.clock(2400)
    assert one.run.total("SILENCES") == 1


def test_a_case_without_owner_has_nobody_at_the_deadline() -> None:
    one = Story(DEFINITIONS)
    opened(one, owner=None)
    deadline = one.clock(900)
    assert one.run.at("CASES_UNOWNED", deadline) == one.run.at("CASES_OWNER_DUE", deadline) == 1
    assert one.states == ["firing"]
    one.event("case.updated", 1000, case_id="k1", owner="ann")
    assert one.states == ["firing", "resolved"]
    one.event("case.closed", 1100, case_id="k1")
    assert one.run.total("CASES_OWNER_DUE") == 1
    assert one.run.total("OWNER_CHANGES_DUE") == 0, "the first owner is no change"


@pytest.mark.parametrize("in_time", [("case.updated", {"owner": "ann"}), ("case.closed", {})])
def test_a_case_that_has_an_owner_in_time_or_is_closed_before_counts_then(in_time: tuple[str, dict[str, Any]]) -> None:
    one = Story(DEFINITIONS)
    opened(one, owner=None)
    then = one.event(in_time[0], 500, case_id="k1", **in_time[1])
    one.clock(9000)
    assert (one.run.at("CASES_OWNER_DUE", then), one.run.total("CASES_OWNER_DUE"), one.run.total("CASES_UNOWNED")) == (1, 1, 0)


@pytest.mark.parametrize(("seconds", "unowned"), [(899.999, 0), (900, 1)])
def test_an_owner_at_exactly_the_deadline_comes_after_it(seconds: float, unowned: int) -> None:
    one = Story(DEFINITIONS)
    opened(one, owner=None)
    one.event("case.updated", seconds, case_id="k1", team="desk")
    one.clock(9000)
    assert one.run.total("CASES_UNOWNED") == unowned


def test_a_change_of_owner_counts_when_it_is_told_or_the_time_for_that_is_over() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    one.event("case.updated", 100, case_id="k1", owner="bob")
    one.event("case.updated", 150, case_id="k1", owner="bob")
    over = one.clock(1300)
    one.event("case.updated", 1310, case_id="k1", owner="ann")
    told = one.event("message.sent", 1310 + 1199, case_id="k1")
    one.clock(9000)
    assert one.run.at("OWNER_CHANGES_DUE", over) == one.run.at("OWNER_CHANGES_DUE", told) == 1
    assert one.run.at("OWNER_CHANGES_UNTOLD", over) == one.run.total("OWNER_CHANGES_UNTOLD") == 1


def test_a_case_closed_before_the_notice_is_due_needs_none() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    one.event("case.updated", 100, case_id="k1", owner="bob")
    closed = one.event("case.closed", 200, case_id="k1")
    one.clock(9000)
    assert one.run.at("OWNER_CHANGES_DUE", closed) == one.run.total("OWNER_CHANGES_DUE") == 1
    assert one.run.total("OWNER_CHANGES_UNTOLD") == 0


def promised(one: Story, seconds: float = 0, due: float = 600, **fields: Any) -> int:
    return opened(one, seconds, due_at=at(BASE_MS + round(due * SECOND)), **fields)


def due_dates(one: Story) -> list[int]:
    return [one.run.total("DUE_DATES"), one.run.total("DUE_DATES_MISSED")]


def test_a_due_date_that_passes_without_the_owner_doing_anything_counts_at_its_moment() -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.clock(599.999)
    assert due_dates(one) == [0, 0]
    due = one.clock(600)
    assert one.run.at("DUE_DATES", due) == one.run.at("DUE_DATES_MISSED", due) == 1
    assert one.states == ["firing"]
    one.event("case.updated", 700, case_id="k1", owner="ann")
    assert one.states == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("kind", "fields", "missed"),
    [
        ("case.updated", {"owner": "ann"}, 0),
        ("case.updated", {"owner": "bob"}, 1),
        ("case.updated", {}, 1),
        ("case.updated", {"owner": "ann", "initiator": "system"}, 1),
        ("message.sent", {}, 0),
        ("message.sent", {"case_id": None}, 1),
        ("message.sent", {"initiator": "system"}, 1),
        ("contact.started", {"initiator": "company"}, 0),
        ("contact.started", {"initiator": "customer"}, 1),
        ("contact.started", {"initiator": "customer", "owner": "ann"}, 1),
    ],
)
def test_the_owner_does_something_by_naming_himself_again_and_by_what_the_customer_hears(
    kind: str, fields: dict[str, Any], missed: int
) -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.event(kind, 100, **{"case_id": "k1", **fields})
    one.clock(600)
    assert due_dates(one) == [1, missed]


def test_a_change_of_owner_is_nothing_done_but_what_the_new_one_does_is() -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.event("case.updated", 100, case_id="k1", owner="bob")
    one.event("case.updated", 200, case_id="k1", owner="bob")
    one.clock(600)
    assert due_dates(one) == [1, 0]


@pytest.mark.parametrize(("seconds", "missed"), [(599.999, 0), (600, 1)])
def test_what_is_done_at_exactly_the_due_date_comes_after_it(seconds: float, missed: int) -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.event("case.updated", seconds, case_id="k1", owner="ann")
    one.clock(700)
    assert due_dates(one) == [1, missed]


def test_a_case_closed_before_its_due_date_has_met_it_then() -> None:
    one = Story(DEFINITIONS)
    promised(one)
    closed = one.event("case.closed", 100, case_id="k1")
    assert one.run.at("DUE_DATES", closed) == 1
    one.clock(9000)
    assert due_dates(one) == [1, 0]


def test_another_due_date_takes_the_place_of_the_one_before_and_needs_something_done_anew() -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.event("case.updated", 100, case_id="k1", owner="ann", due_at=at(BASE_MS + 900 * SECOND))
    one.clock(600)
    assert due_dates(one) == [0, 0]
    due = one.clock(900)
    assert one.run.at("DUE_DATES_MISSED", due) == 1
    one.event("case.updated", 1000, case_id="k1", due_at=at(BASE_MS + 1200 * SECOND))
    assert one.states == ["firing", "resolved"]
    one.clock(1200)
    assert due_dates(one) == [2, 2]


def test_a_due_date_told_again_changes_nothing() -> None:
    one = Story(DEFINITIONS)
    promised(one)
    one.event("case.updated", 100, case_id="k1", owner="ann", due_at=at(BASE_MS + 600 * SECOND))
    one.event("case.updated", 200, case_id="k1", due_at=at(BASE_MS + 600 * SECOND))
    one.clock(600)
    one.event("case.updated", 700, case_id="k1", due_at=at(BASE_MS + 600 * SECOND))
    one.clock(900)
    assert due_dates(one) == [1, 0]


def test_a_due_date_that_is_over_when_it_is_told_is_none() -> None:
    one = Story(DEFINITIONS)
    promised(one, 700, due=700)
    one.clock(1500)
    assert due_dates(one) == [0, 0]


def test_a_case_kept_by_an_older_build_has_no_due_date() -> None:
    one = Story(DEFINITIONS)
    opened(one, owner=None)
    ((_, row),) = [(key, kept) for key, kept in one.run.rows.items() if key == b"c-1"]
    assert b"due_date" not in row.state, "what nobody has told costs nothing"
    one.restart()
    one.event("case.updated", 100, case_id="k1", owner="ann")
    one.clock(900)
    assert due_dates(one) == [0, 0]


def test_contacts_of_customers_about_the_state_of_things() -> None:
    one = Story(DEFINITIONS)
    one.event("contact.started", 0, reason="status")
    one.event("contact.started", 1, reason="billing")
    one.event("contact.started", 2, reason="status", initiator="company")
    assert one.run.total("CONTACTS_ASKING") == 2
    assert one.run.total("CONTACTS_ABOUT_STATUS") == 1


def test_a_case_of_which_nothing_is_heard_is_forgotten_and_its_alert_ends() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    one.clock(70 * 60 - 1)
    assert one.states == ["firing"]
    one.clock(70 * 60)
    assert one.states == ["firing", "resolved"]
    opened(one, 70 * 60 + 1)
    one.clock(70 * 60 + 1 + 2400)
    assert one.run.total("CASES_SILENT") == 2, "another case"


def test_a_case_opened_twice_is_one() -> None:
    one = Story(DEFINITIONS)
    opened(one)
    opened(one, 10)
    one.event("case.closed", 20, case_id="k1")
    assert one.run.total("CASES_ANSWER_DUE") == 1


def test_the_case_longest_untouched_makes_room() -> None:
    one = Story(DEFINITIONS + "[limits]\ncases_per_customer = 1\n")
    opened(one)
    opened(one, 10, case_id="k2")
    one.clock(9000)
    assert one.run.total("SILENCES") == 1
    assert one.run.processor.accounting["cut_communication"] == 1


def test_a_finished_history_is_waited_for_until_the_last_deadline() -> None:
    assert parse(DEFINITIONS.replace('"20m"', '"4000h"')).longest_deadline_ms == 4000 * HOUR + 2 * 7 * 24 * HOUR

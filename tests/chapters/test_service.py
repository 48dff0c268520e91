"""The chapter service: E2, E3, E6; E5 is in `test_first_contact.py`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.journeys.cells import COUNTER_BITS, COUNTER_MASK
from streamer.journeys.chapters.service import FIELDS_MAX, TEMPLATES_MAX, WAITING_MAX, Service
from streamer.journeys.fold import Fold
from streamer.journeys.sinks import Aside
from streamer.journeys.state import NEVER, Kept, State
from streamer.metrics.chapters.service import FIRST_RESPONSES, METRICS, QUEUE_WAITS, RESOLUTIONS
from streamer.metrics.counters import Counter
from streamer.metrics.metric import counters_of
from streamer.touchpoints.touchpoint import Touchpoint
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    assert_rules_are_recounted_equal,
    in_seconds,
    single_pass,
    told,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE

if TYPE_CHECKING:
    from random import Random

    from tests.journeys_support import Run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "chapters" / "service.md"
DEFINITIONS = (
    SLICES
    + """
[[journey]]
id = "service_case"
start = ["case.opened"]
complete = ["case.resolved"]
activity = ["info.captured"]
identified_by = ["case_id"]
deadline = "180m"
[contacts]
window = "70m"
repeat_within = "50m"
[service]
template_within = "40m"
response_within = "30m"
resolution_within = "90m"
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
show = ["effort_index"]
[[rule]]
id = "effort-of-issue"
on = "issue"
when = "effort_index >= 2"
[[rule]]
id = "effort-of-customer"
on = "customer"
when = "effort_index >= 4"
"""
)
WAITS = (0, "9.9", 10, 10.0004, 15, 29.5, 45, 100, 250, 599.9995, "601", 1500, 3_600, 3_600.001, 1e5)


def service(random: Random, _customer: str, time_ms: int) -> dict[str, Any]:
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
        event["handoff"]["from_team"] = "ivr" if time_ms // 7_000 % 9 == 0 else "front"
    if random.random() < 0.5:
        event["handling"] = {
            "bot_fallbacks": random.choice([None, 0, 0, 1, 3]), "profile_viewed": random.choice([None, True, True, False]),
            "template_id": random.choice([None, "t", "t"]), "tag": random.choice([None, "generic", "other"]),
        }  # fmt: skip
    if time_ms // 1_000 % 2:
        event.setdefault("handling", {})["wait_seconds"] = WAITS[time_ms // 2_000 % len(WAITS)]
    if random.random() < 0.2:
        event["message"] = {"human": random.choice([True, False])}
    if random.random() < 0.2:
        event["issue"] = {**event["issue"], "resolved": random.choice([True, False])}
    return event


HISTORIES = (Histories(DEFINITIONS, service), Histories(in_seconds(DEFINITIONS), service, 4 * MINUTE, range(5)))


def test_the_recount_is_equal_where_moments_collide() -> None:
    first_responses = {f"FIRST_RESPONSE_{name}" for name in ("30S", "1M", "2M")}
    assert_recount_is_equal(in_seconds(DEFINITIONS), service, range(8), first_responses, span_ms=4 * MINUTE)


def test_the_recount_is_equal() -> None:
    rates = {counter.name for metric in METRICS if metric.kind == "ratio" for counter in counters_of(metric)}
    first_responses = {f"FIRST_RESPONSE_{name}" for name in ("5M", "10M", "15M", "30M", "1H", "4H")}
    resolutions = {f"RESOLUTION_{name}" for name in ("5M", "15M", "30M", "1H", "2H", "4H")}
    waits = {counter.name for counter in QUEUE_WAITS}
    assert_recount_is_equal(DEFINITIONS, service, range(20), rates | first_responses | resolutions | waits | {"FRICTION_INSTANCES"})


def test_the_recount_is_equal_where_answers_take_days() -> None:
    in_days = re.sub(r'(window|response_within|resolution_within) = "(\d+)m"', r'\1 = "\2d"', DEFINITIONS)
    first_responses = {f"FIRST_RESPONSE_{name}" for name in ("1D", "3D", "LONGER")}
    resolutions = {f"RESOLUTION_{name}" for name in ("8H", "1D", "2D", "3D", "7D", "14D", "LONGER")}
    assert_recount_is_equal(in_days, service, range(12), first_responses | resolutions, span_ms=60 * 24 * HOUR)


@pytest.mark.parametrize("scope", ["journey", "customer"])
def test_the_recount_is_equal_whatever_effort_belongs_to(scope: str) -> None:
    definitions = DEFINITIONS.replace("[contacts]\n", f'[contacts]\nscope = "{scope}"\n')
    # What is asked again begins and ends instances, too: the effort is of the one that was there before.
    for old, new in {"case.opened": "contact.*", "case.resolved": "auth.verified"}.items():
        definitions = definitions.replace(f'"{old}"', f'"{new}"')
    assert_recount_is_equal(definitions, service, RECOUNTED, {"EFFORT_TENTHS", "ISSUES_EFFORT_HIGH"})


def test_the_recount_is_equal_while_contacts_wait() -> None:
    assert_recount_is_equal(DEFINITIONS, service, range(20, 26), set(), after_ms=0)


def test_friction_of_journeys_is_recounted_equal() -> None:
    assert_rules_are_recounted_equal(DEFINITIONS, service, range(4))


Event = tuple[float, str, dict[str, Any]]


def of_issue(at: float, kind: str, issue: str = "i-1", **fields: Any) -> Event:
    return at, kind, {"issue": {"issue_id": issue} if issue else {}, **fields}


def started(at: float, issue: str = "i-1", initiator: str = "customer") -> Event:
    return of_issue(at, "contact.started", issue, actor={"initiator": initiator})


def captured(at: float, field: str = "account", issue: str = "i-1") -> Event:
    return of_issue(at, "info.captured", issue, info={"field": field})


def handled(at: float, issue: str = "i-1", **handling: Any) -> Event:
    return of_issue(at, "contact.handled", issue, handling=handling)


def folded(*events: Event, definitions: str = DEFINITIONS, after_ms: int = 4 * HOUR) -> Run:
    """Events of one customer, at minutes after the beginning, and then some hours."""
    return single_pass(definitions, told(*events), after_ms)


def repeating(*events: Event) -> tuple[int, int]:
    run = folded(*events)
    return run.total("CONTACTS_REPEATING"), run.total("CONTACTS_INFORMED")


def test_a_first_contact_can_repeat_nothing_that_is_known() -> None:
    assert repeating(started(0), captured(1), captured(2)) == (0, 0)


def test_a_field_captured_again_in_a_later_contact_is_a_repetition() -> None:
    assert repeating(started(0), captured(1), started(10), captured(11)) == (1, 1)
    assert repeating(started(0), captured(1), started(10), captured(11, "address")) == (0, 1), "another field"
    assert repeating(started(0), captured(1), started(10, "i-2"), captured(11, issue="i-2")) == (0, 0), "another issue"
    assert repeating(started(0), captured(1), started(10), captured(11), captured(12), captured(13)) == (1, 1), "once per contact"


def test_a_transfer_makes_of_a_contact_one_in_which_something_is_known() -> None:
    transfer = of_issue(3, "contact.transferred", handoff={"kind": "warm"})
    assert repeating(started(0), captured(1), transfer, captured(4)) == (1, 1)
    assert repeating(started(0), captured(1), captured(2), transfer) == (1, 1), "what was repeated before it counts from then on"
    run = folded(started(0), transfer)
    assert run.at("CONTACTS_INFORMED", BASE_MS) == 1, "in the pane of the contact's start"


def test_a_cold_transfer_is_a_repetition_and_a_warm_one_is_none() -> None:
    assert repeating(started(0), of_issue(1, "contact.transferred", handoff={"kind": "cold"})) == (1, 1)
    assert repeating(started(0), of_issue(1, "contact.transferred", handoff={"context_passed": []})) == (1, 1)
    assert repeating(started(0), of_issue(1, "contact.transferred", handoff={"kind": "warm", "context_passed": []})) == (0, 1)
    assert repeating(started(0), of_issue(1, "handoff.accepted", handoff={"kind": "cold"})) == (1, 1)


def test_an_identity_check_is_a_repetition_only_if_people_changed_since_the_last() -> None:
    check = [of_issue(at, "auth.verified") for at in (1, 5, 6)]
    moved = of_issue(3, "handoff.accepted", handoff={"kind": "warm"})
    assert repeating(started(0), check[0], moved, check[1]) == (1, 1)
    assert repeating(started(0), moved, check[1], check[2]) == (0, 1), "there was no check before"
    assert repeating(started(0), check[0], started(4), check[1]) == (0, 1), "another contact has a right to ask"
    run = folded(started(0), check[0], moved, check[1], check[2])
    assert run.total("CONTACTS_REPEATING") == 1


def test_an_issue_ends_after_its_window_and_what_was_said_in_it_is_forgotten() -> None:
    assert repeating(started(0), captured(1), started(70.9), captured(70.95)) == (1, 1)
    assert repeating(started(0), captured(1), started(71), captured(72)) == (0, 0), "at the end of the window it has ended"


def test_what_names_no_issue_goes_on_with_the_last_one() -> None:
    assert repeating(started(0), captured(1, issue=""), started(10), captured(11, issue="")) == (1, 1)
    assert repeating(started(0, ""), captured(1, issue=""), started(10, ""), captured(11, issue="")) == (1, 1)
    assert repeating(started(0), captured(1), started(10), started(11, "i-2"), captured(12, issue="")) == (0, 1)


@pytest.mark.parametrize(
    ("handling", "generic"),
    [
        ({"bot_fallbacks": 1}, 1),
        ({"bot_fallbacks": 0}, 0),
        ({"profile_viewed": False}, 1),
        ({"profile_viewed": True, "personalised": False}, 0),
        ({"tag": "generic"}, 1),
        ({"tag": "other"}, 0),
        ({"template_id": "t"}, 0),
        ({}, 0),
    ],
)
def test_a_contact_is_handled_in_a_generic_way(handling: dict[str, Any], generic: int) -> None:
    run = folded(started(0), handled(1, **handling))
    assert (run.total("CONTACTS_HANDLED"), run.total("CONTACTS_GENERIC")) == (1, generic)


def test_a_template_is_generic_if_the_customer_comes_again_within_the_span() -> None:
    run = folded(started(0), handled(1, template_id="t"), started(41))
    assert run.at("CONTACTS_GENERIC", BASE_MS + MINUTE) == 1, "in the pane of the handling"
    assert folded(started(0), handled(1, template_id="t"), started(41 + 1 / 60)).total("CONTACTS_GENERIC") == 0
    assert folded(started(0), handled(1, template_id="t"), started(5, "i-2")).total("CONTACTS_GENERIC") == 0, "about something else"
    assert folded(started(0), handled(1, template_id="t"), started(5, initiator="company")).total("CONTACTS_GENERIC") == 0
    run = folded(started(0), handled(1, template_id="t", tag="generic"), started(5), started(6))
    assert run.total("CONTACTS_GENERIC") == 1, "once"


def in_time(*events: Event) -> tuple[int, int, int, int]:
    run = folded(*events)
    answered, due = run.total("CONTACTS_ANSWERED_IN_TIME"), run.total("CONTACTS_RESPONSE_DUE")
    return answered, due, run.total("CONTACTS_RESOLVED_IN_TIME"), run.total("CONTACTS_RESOLUTION_DUE")


def test_a_contact_is_in_time_before_its_deadline_and_late_at_it() -> None:
    assert in_time(started(0), handled(29.99)) == (1, 1, 0, 1)
    assert in_time(started(0), handled(30)) == (0, 1, 0, 1)
    assert in_time(started(0), of_issue(89.99, "contact.ended")) == (0, 1, 1, 1)
    assert in_time(started(0), of_issue(90, "contact.ended")) == (0, 1, 0, 1)
    assert in_time(started(0), (1, "contact.ended", {"issue": {"issue_id": "i-1", "resolved": False}})) == (0, 1, 0, 1)
    assert folded(started(0), after_ms=29 * MINUTE).total("CONTACTS_RESPONSE_DUE") == 0, "nobody knows yet"


def test_every_waiting_contact_of_the_issue_is_answered_by_people_only() -> None:
    assert in_time(started(0), started(5), handled(6)) == (2, 2, 0, 2)
    assert in_time(started(0), started(5, "i-2"), handled(6)) == (1, 2, 0, 2)
    assert in_time(started(0), of_issue(1, "message.sent", message={"human": False})) == (0, 1, 0, 1)
    assert in_time(started(0), of_issue(1, "message.sent", actor={"initiator": "system"})) == (0, 1, 0, 1)
    assert in_time(started(0), of_issue(1, "message.sent")) == (1, 1, 0, 1)
    assert in_time(started(0), started(1, initiator="company")) == (1, 1, 0, 1), "called back"


def times(*events: Event) -> dict[str, int]:
    """How often a time of each length was counted."""
    run = folded(*events)
    names = [counter.name for counter in (*FIRST_RESPONSES, *RESOLUTIONS)]
    return {name: run.total(name) for name in names if run.total(name)}


def test_the_time_until_a_contact_is_answered_or_resolved_counts_when_it_is() -> None:
    assert times(started(0), handled(15)) == {"FIRST_RESPONSE_15M": 1}, "the upper bound is within"
    assert times(started(0), handled(15 + 1 / 60)) == {"FIRST_RESPONSE_30M": 1}
    assert times(started(0), handled(0)) == {"FIRST_RESPONSE_30S": 1}
    assert times(started(0), started(10), handled(12), handled(13)) == {"FIRST_RESPONSE_15M": 1, "FIRST_RESPONSE_2M": 1}, "once each"
    assert times(started(0), of_issue(5, "contact.ended"), of_issue(6, "contact.ended")) == {"RESOLUTION_5M": 1}
    run = folded(started(0), handled(12), of_issue(14, "contact.ended"))
    assert (run.at("FIRST_RESPONSE_15M", BASE_MS + 12 * MINUTE), run.at("RESOLUTION_15M", BASE_MS + 14 * MINUTE)) == (1, 1)


def test_a_late_answer_counts_as_long_as_the_issue_is_open() -> None:
    run = folded(started(0), handled(45))
    assert run.at("FIRST_RESPONSE_1H", BASE_MS + 45 * MINUTE) == 1, "in the pane of the response"
    assert in_time(started(0), handled(45)) == (0, 1, 0, 1), "and is late all the same"
    assert times(started(0), handled(69.99)) == {"FIRST_RESPONSE_4H": 1}
    assert times(started(0), handled(70)) == {}, "the issue has ended"
    assert times(started(0), captured(60), handled(129)) == {"FIRST_RESPONSE_4H": 1}, "it goes on with whatever belongs to it"
    assert times(started(0), handled(45, "i-2")) == {}, "another issue"
    assert times(started(0), handled(45), handled(50)) == {"FIRST_RESPONSE_1H": 1}, "once"


def test_in_time_counts_though_the_issue_has_ended_and_late_only_in_the_issue_of_the_contact() -> None:
    assert times(started(0), of_issue(80, "contact.ended")) == {"RESOLUTION_2H": 1}, "in time after the issue's end"
    assert times(started(0), captured(65), of_issue(95, "contact.ended")) == {"RESOLUTION_2H": 1}
    assert times(started(0), captured(75), of_issue(95, "contact.ended")) == {}, "by then another issue of the same name"


def waits(*events: Event) -> dict[str, int]:
    run = folded(*events)
    return {counter.name: n for counter in QUEUE_WAITS if (n := run.total(counter.name))}


def test_the_wait_in_a_queue_is_as_the_end_of_it_tells() -> None:
    assert waits(started(0), handled(1, wait_seconds=10)) == {"QUEUE_WAIT_10S": 1}, "the upper bound is within"
    assert waits(handled(1, wait_seconds="10.001")) == {"QUEUE_WAIT_20S": 1}
    assert waits(handled(1, wait_seconds=7_200), handled(2, wait_seconds=0)) == {"QUEUE_WAIT_LONGER": 1, "QUEUE_WAIT_10S": 1}
    gave_up = of_issue(5, "contact.ended", handling={"wait_seconds": 299})
    assert waits(started(0), gave_up) == {"QUEUE_WAIT_5M": 1}, "who gives up has waited"
    assert folded(started(0), gave_up).at("QUEUE_WAIT_5M", BASE_MS + 5 * MINUTE) == 1, "in the pane of the event that tells"
    assert waits(of_issue(5, "contact.started", handling={"wait_seconds": 1})) == {}, "at its beginning nobody knows"
    assert waits(started(0), handled(1), of_issue(2, "contact.ended")) == {}, "what is not told is not guessed"
    assert waits(handled(1, wait_seconds=-1), handled(2, wait_seconds="long")) == {}, "rejected"


def test_the_rules_that_the_page_gives_are_right() -> None:
    resolution, queue = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    text = f'revision = 1\nwindows = ["5m", "24h"]\n[service]\n[[slice]]\nby = []\n[[slice]]\nby = ["team"]\n{resolution}{queue}'
    first, second = parse(text).rule
    assert (first.metric, first.by) == ("fcr", ("team",))
    assert (second.metric, int(second.for_)) == ("queue_wait_p90", 10 * MINUTE)


def test_asking_again_and_bots_that_do_not_understand_are_alerts_with_their_evidence() -> None:
    run = folded(started(0), captured(1), captured(2), captured(3))
    fired, ended = [alert for alert in run.alerts if not alert.rule.id.startswith("effort-")]
    assert (fired.rule.id, fired.state, ended.rule.id, ended.state) == ("asked-again", "firing", "asked-again", "resolved")
    assert fired.metric.signals == {"captures_of_field": 3, "info_repeats": 2}
    assert [evidence.type for evidence in fired.evidence][-3:] == ["info.captured"] * 3
    run = folded(started(0), handled(1, bot_fallbacks=2))
    assert [(alert.rule.id, alert.state) for alert in run.alerts] == [("bot", "firing"), ("bot", "resolved")]
    run = folded(started(0), handled(1, bot_fallbacks=1), handled(2, bot_fallbacks=1))
    assert {alert.rule.id for alert in run.alerts} == {"effort-of-issue"}, "in one contact, not in all"


def test_asking_again_is_friction_of_the_case_that_it_names() -> None:
    def of_case(at: float, kind: str, **fields: Any) -> Event:
        return at, kind, {"issue": {"case_id": "k-1"}, **fields}

    asked = [of_case(at, "info.captured", info={"field": "account"}) for at in (1, 2)]
    assert folded(of_case(0, "case.opened"), asked[0]).total("FRICTION_INSTANCES") == 0
    assert folded(of_case(0, "case.opened"), *asked).total("FRICTION_INSTANCES") == 1


def effort(*events: Event) -> int:
    """In tenths of a point, of all issues."""
    return folded(*events).total("EFFORT_TENTHS")


def test_asking_again_and_generic_service_are_effort_of_the_open_issue() -> None:
    verified = (of_issue(2, "auth.verified"), of_issue(3, "handoff.accepted"), of_issue(4, "auth.verified"))
    assert effort(started(0), captured(1), captured(2)) == 20
    assert effort(started(0), captured(1), captured(2), captured(3)) == 40
    assert effort(started(0), *verified) == 20, "an identity check by other people"
    assert effort(started(0), handled(1, bot_fallbacks=2), handled(2, tag="generic")) == 20
    assert effort(started(0), handled(1, template_id="t"), started(5)) == 10, "a template that was no help"
    assert effort(started(0), captured(1), captured(2, issue="i-2"), captured(3, issue="i-2")) == 0, "of an issue that no contact began"
    assert effort(started(0), captured(60), captured(69.9)) == 20
    assert effort(started(0), captured(60), captured(70)) == 0, "the issue is over"


def test_effort_that_the_chapter_finds_is_an_alert_with_the_events_behind_it() -> None:
    run = folded(started(0), captured(1), captured(2), captured(3))
    fired = [alert for alert in run.alerts if alert.rule.id == "effort-of-issue" and alert.state != "resolved"]
    assert [(alert.state, alert.metric.signals) for alert in fired] == [
        ("firing", {"effort_index": 2.0}),
        ("amended", {"effort_index": 4.0}),
    ]
    assert [evidence.type for evidence in fired[-1].evidence] == ["contact.started", "info.captured", "info.captured"]
    of_customer = [alert for alert in run.alerts if alert.rule.id == "effort-of-customer"]
    assert [alert.state for alert in of_customer] == ["firing", "resolved"]


def test_effort_that_the_chapter_finds_is_of_the_journey_that_the_event_names() -> None:
    def of_case(at: float, kind: str, **fields: Any) -> Event:
        return at, kind, {"issue": {"case_id": "k-1"}, **fields}

    asked = [of_case(at, "info.captured", info={"field": "account"}) for at in (1, 2, 3)]
    alerts = [alert for alert in folded(of_case(0, "case.opened"), *asked).alerts if alert.rule.id == "friction"]
    assert [alert.metric.signals["effort_index"] for alert in alerts[:2]] == [2.0, 4.0]


def test_what_is_kept_of_a_customer_is_bounded_and_forgotten() -> None:
    run = folded(
        *(started(n / 60) for n in range(WAITING_MAX + 2)),
        *(captured(1, f"f-{n}") for n in range(FIELDS_MAX + 1)),
        *(handled(2 + n / 60, template_id="t") for n in range(TEMPLATES_MAX + 3)),
        *(captured(10, issue=f"other-{n}") for n in range(50)),
    )
    cut = run.processor.accounting
    assert cut["cut_waiting_contacts"] == 2 * 2
    assert cut["cut_info_fields"] == 1
    assert cut["cut_templates"] == 3
    assert cut["cut_service_issues"] == 1
    assert [row.due for row in run.rows.values()] == [NEVER]


def test_of_contacts_that_are_late_the_latest_are_kept() -> None:
    many = [started(n / 60) for n in range(WAITING_MAX)]
    run = folded(*many, started(32), started(32), handled(64))
    assert run.processor.accounting["cut_late_contacts"] == 2
    assert (run.total("FIRST_RESPONSE_4H"), run.total("FIRST_RESPONSE_1H")) == (WAITING_MAX - 2, 2)
    assert [row.due for row in run.rows.values()] == [NEVER]


def test_an_issue_that_makes_room_takes_its_late_contacts_along() -> None:
    others = [captured(35, issue=f"other-{n}") for n in range(50)]
    run = folded(started(0), *others, handled(40))
    assert run.processor.accounting["cut_service_issues"] == 2
    assert run.total("FIRST_RESPONSE_1H") == 0


def test_contacts_that_wait_in_a_row_of_an_older_build_are_timed() -> None:
    chapter = Fold(parse(DEFINITIONS)).chapters["service"]
    assert isinstance(chapter, Service)
    kept, sink = Kept(), Aside(bytes(1 << COUNTER_BITS))

    def event(minute: int, kind: str) -> None:
        touchpoint = Touchpoint(BASE_MS + minute * MINUTE, minute, f"e{minute}", "/test", kind, "web")
        touchpoint.issue_id = "i"
        while kept.due <= touchpoint.time:
            chapter.fire(kept, kept.due, State(), sink)
        chapter.apply(kept, touchpoint, State(), sink)

    event(0, "contact.started")
    for issue in kept.data["issues"].values():
        del issue["begun"]  # what an older build has not kept
    event(45, "contact.handled")
    counted = {key & COUNTER_MASK: n for counts in sink.counts.values() for key, n in counts.items()}
    assert counted == {Counter.CONTACTS_RESPONSE_DUE: 1, Counter.FIRST_RESPONSE_1H: 1, Counter.CONTACTS_HANDLED: 1}
    assert not kept.data.keys() & {"unanswered", "unanswered_late"}

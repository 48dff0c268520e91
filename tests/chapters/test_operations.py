"""The chapter operations: O1-O4."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.errors import DefinitionsError
from streamer.journeys.cells import Cells
from streamer.journeys.chapters.operations import ASKED_MAX, Operations
from streamer.journeys.state import Kept
from streamer.metrics.chapters.operations import METRICS
from streamer.metrics.counters import Counter
from streamer.metrics.metric import counters_of
from streamer.processor import LogRecord
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    event_at,
    single_pass,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE, Story

if TYPE_CHECKING:
    from random import Random

CHAPTER = """
[operations]
keep_for = "2h"
cadence = "30m"
per_customer = "40m"
opened_within = "30m"
"""
RULES = """
[[rule]]
id = "overdue"
on = "customer"
when = "overdue_shipments >= 1"
[[rule]]
id = "unheard"
on = "customer"
when = "contact_overdue"
"""
DEFINITIONS = SLICES + CHAPTER + '[contacts]\nwindow = "1h"\n' + RULES
TYPES = ["shipment.created", "shipment.shipped", "shipment.delivered", "shipment.delayed"]


def moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def about(random: Random) -> dict[str, Any]:
    """What a contact or a case is about, by one id or another."""
    ids: list[dict[str, str]] = [
        {},
        {"case_id": "1"},
        {"contact_id": "1"},
        {"issue_id": "2", "case_id": "1"},
        {"issue_id": "1", "case_id": "2"},
    ]
    return {"issue": {"reason": "billing", **random.choice(ids)}}


def dispatch(random: Random, _customer: str, time_ms: int) -> dict[str, Any]:
    match random.randrange(12):
        case 0:
            return {"type": "order.cancelled", "commerce": {"order_id": random.choice("AB")}}
        case 1 | 4 | 5:
            kind = random.choice(["information", "information", "status"])
            sent: dict[str, Any] = {"kind": kind, "message_id": random.choice(["m1", "m1", "m2", ""])}
            return {"type": "message.sent", "message": sent | random.choice([{}, {"opened": True}, {"opened": False}])}
        case 2 | 6:
            return {"type": "message.opened", "message": {"message_id": random.choice(["m1", "m2", "m3", ""])}}
        case 3 | 7:
            actor = {"initiator": random.choice(["company", "company", "customer"])}
            mores: list[dict[str, Any]] = [{}, {"message": {"human": False}}, {"message": {"human": True}}, {"channel": "bot"}]
            more = random.choice(mores)
            return {"type": "contact.started", "actor": actor, **more, **about(random)}
        case 8 if random.random() < 0.5:
            actor = {"initiator": random.choice(["", "customer", "system", "company"])}
            return {"type": random.choice(["case.opened", "case.reopened", "case.updated"]), "actor": actor, **about(random)}
    fulfilment = {
        name: moment(time_ms + random.choice([-3 * HOUR, -MINUTE, 0, 1000, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR]))
        for name in ("requested_at", "promised_at", "committed_at", "shipped_at", "delivered_at")
        if random.random() < 0.4
    }
    fulfilment |= {"service": random.choice(["", "standard", "expedited"]), "requested_by": random.choice(["", "customer", "company"])}
    fulfilment["shipment_id"] = random.choice(["s1", "s2", "", ""])
    return {
        "type": random.choice([*TYPES, "order.completed", "order.updated"]),
        "fulfilment": fulfilment,
        "commerce": {"order_id": random.choice(["A", "B", ""])},
    }


HISTORIES = (Histories(DEFINITIONS, dispatch),)


@pytest.mark.parametrize("on_time", ["delivered", "shipped"])
@pytest.mark.parametrize("after_ms", [2 * HOUR, 0, 20 * MINUTE])
def test_the_recount_is_equal(on_time: str, after_ms: int) -> None:
    definitions = DEFINITIONS.replace("[operations]", f'[operations]\non_time = "{on_time}"')
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)}
    assert_recount_is_equal(definitions, dispatch, RECOUNTED, expected, after_ms=after_ms + 10 * MINUTE)


def totals(*events: tuple[int, str, dict[str, Any]], after_ms: int = 3 * HOUR, more: str = "") -> dict[str, int]:
    """Sums of the counters of one customer's events, each at so many minutes."""
    log = [
        LogRecord(n, BASE_MS + at * MINUTE, b"c", event_at(BASE_MS + at * MINUTE, "c", n, {"type": type_, **fields}))
        for n, (at, type_, fields) in enumerate(events)
    ]
    run = single_pass(SLICES + CHAPTER + more, log, after_ms)
    found: dict[str, int] = {}
    for (counter, _, _), n in run.sums.items():
        found[counter] = found.get(counter, 0) + n
    return {name.lower(): n for name, n in found.items() if n and name != "TOUCHPOINTS"}


def shipment(**times: int | str) -> dict[str, Any]:
    """`promised=10`: ten minutes after the beginning; texts as they are."""
    named = {
        (f"{name}_at" if isinstance(value, int) else name): moment(BASE_MS + value * MINUTE) if isinstance(value, int) else value
        for name, value in times.items()
    }
    return {"fulfilment": {"shipment_id": "s", **named}, "commerce": {"order_id": "o"}}


def test_what_is_there_at_exactly_its_target_is_on_time() -> None:
    told = totals((0, "shipment.created", shipment(promised=30)), (30, "shipment.delivered", shipment()))
    assert told == {"shipments": 1, "due_promised": 1, "on_time_promised": 1}


def test_what_comes_a_minute_after_its_target_is_late() -> None:
    told = totals((0, "shipment.created", shipment(promised=30)), (31, "shipment.delivered", shipment()))
    assert told == {"shipments": 1, "due_promised": 1}


def test_what_was_there_in_time_is_on_time_though_it_is_told_late() -> None:
    told = totals((0, "shipment.created", shipment(promised=30)), (50, "shipment.delivered", shipment(delivered=29)))
    assert told == {"shipments": 1, "due_promised": 1, "on_time_promised": 1}


def test_what_was_there_at_exactly_its_target_is_on_time_though_it_is_told_late() -> None:
    told = totals((0, "shipment.created", shipment(promised=30)), (50, "shipment.delivered", shipment(delivered=30)))
    assert told == {"shipments": 1, "due_promised": 1, "on_time_promised": 1}


def test_an_opening_is_of_the_latest_message_of_its_id() -> None:
    told = totals(
        (0, "message.sent", {"message": {"kind": "information", "message_id": "m"}}),
        (1, "message.sent", {"message": {"kind": "information", "message_id": "m", "opened": True}}),
        (2, "message.opened", {"message": {"message_id": "m"}}),
    )
    assert told == {"information": 2, "information_opened": 1, "customers_informed": 1}


def ordered(order: str = "o", **times: int) -> dict[str, Any]:
    """What an order promises: `promised=10`, ten minutes after the beginning."""
    return {"fulfilment": {f"{name}_at": moment(BASE_MS + at * MINUTE) for name, at in times.items()}, "commerce": {"order_id": order}}


def another(**times: int | str) -> dict[str, Any]:
    return shipment(shipment_id="t", **times)


@pytest.mark.parametrize("kind", ["order.completed", "order.updated"])
def test_what_is_promised_with_the_order_is_promised_first(kind: str) -> None:
    events = (0, kind, ordered(promised=30)), (5, "shipment.created", shipment(promised=60)), (45, "shipment.delivered", shipment())
    told = totals(*events)
    assert told == {"shipments": 1, "due_promised": 1}, "late for the promise that came with the order"
    assert totals(*events[1:]) == {"shipments": 1, "due_promised": 1, "on_time_promised": 1}
    assert totals(events[0], events[1], (20, "shipment.delivered", shipment())) == {
        "shipments": 1,
        "due_promised": 1,
        "on_time_promised": 1,
    }


def test_an_order_without_a_shipment_is_late_at_its_promise() -> None:
    assert totals((0, "order.completed", ordered(promised=30, requested=20))) == {"due_promised": 1, "due_requested": 1}
    assert totals((0, "order.completed", ordered("", promised=30))) == {}, "nobody can say which order this is"
    assert totals((0, "order.completed", ordered(promised=120))) == {}, "too far away"


@pytest.mark.parametrize(("delivered", "on_time"), [(30, {"on_time_promised": 1}), (31, {})])
def test_the_first_shipment_of_an_order_that_was_late_stands_for_it(delivered: int, on_time: dict[str, int]) -> None:
    told = totals((0, "order.completed", ordered(promised=30)), (40, "shipment.delivered", shipment(promised=60, delivered=delivered)))
    assert told == {"shipments": 1, "due_promised": 1, **on_time}


def test_each_shipment_of_an_order_is_late_by_itself() -> None:
    events = (0, "order.completed", ordered(promised=30)), (5, "shipment.created", shipment()), (6, "shipment.created", another())
    assert totals(*events, (29, "shipment.delivered", shipment())) == {"shipments": 2, "due_promised": 2, "on_time_promised": 1}
    late = (40, "shipment.delivered", shipment(delivered=20)), (41, "shipment.delivered", another(delivered=20))
    assert totals(events[0], *late) == {"shipments": 2, "due_promised": 2, "on_time_promised": 2}, "the second is due as well"


def test_what_comes_with_the_order_after_its_shipment_is_told_of_that() -> None:
    begun = (0, "shipment.created", shipment())
    assert totals(begun, (1, "order.completed", ordered(promised=30))) == {"shipments": 1, "due_promised": 1}
    there = (20, "shipment.delivered", shipment())
    assert totals(begun, (1, "order.completed", ordered(promised=30)), there)["on_time_promised"] == 1
    moved = (0, "order.completed", ordered(requested=30)), (1, "shipment.created", shipment()), (2, "order.updated", ordered(requested=50))
    assert totals(*moved, (40, "shipment.delivered", shipment())) == {"shipments": 1, "due_requested": 1, "on_time_requested": 1}


def test_a_shipment_that_names_no_order_is_not_of_it() -> None:
    nameless = {"fulfilment": {"shipment_id": "s"}}
    told = totals((0, "order.completed", ordered(promised=30)), (5, "shipment.created", nameless), (20, "shipment.delivered", nameless))
    assert told == {"shipments": 1, "due_promised": 1}
    named = totals((0, "order.completed", ordered(promised=30)), (5, "shipment.created", nameless), (20, "shipment.delivered", shipment()))
    assert named == {"shipments": 1, "due_promised": 1, "on_time_promised": 1}, "as soon as it does"


def test_a_cancelled_order_is_not_due_but_stays_late_and_one_that_is_paid_back_is_due() -> None:
    begun, named = (0, "order.completed", ordered(promised=30)), {"commerce": {"order_id": "o"}}
    assert totals(begun, (20, "order.cancelled", named)) == {}
    assert totals(begun, (40, "order.cancelled", named)) == {"due_promised": 1}
    assert totals(begun, (20, "order.refunded", named)) == {"due_promised": 1}
    again = (20, "order.cancelled", named), (21, "shipment.created", shipment())
    assert totals(begun, *again) == {"shipments": 1}, "what was promised is forgotten"


def test_an_order_is_overdue_until_its_shipment_is_there() -> None:
    story = Story(DEFINITIONS)
    story.event("order.completed", 0, **ordered(promised=30))
    story.clock(30 * 60)
    assert not story.run.in_force
    story.restart()
    story.clock(30 * 60 + 0.001)
    [alert] = story.run.in_force
    assert (alert.metric.signals, [one.type for one in alert.evidence]) == ({"overdue_shipments": 1}, ["order.completed"])
    story.event("shipment.created", 40 * 60, **shipment(promised=60))
    assert len(story.run.in_force) == 1
    story.restart()
    story.event("shipment.delivered", 50 * 60, **shipment())
    assert not story.run.in_force
    story.clock(4 * 3600)
    [row] = story.run.rows.values()
    assert b"orders" not in row.state, "and forgotten"


def test_beyond_the_limit_an_order_whose_shipment_is_known_makes_room_first() -> None:
    orders = [(n, "order.completed", ordered(f"o-{n}", promised=30)) for n in range(2)]
    of_first = {"fulfilment": {"shipment_id": "s"}, "commerce": {"order_id": "o-0"}}
    events = [orders[0], (0, "shipment.created", of_first), orders[1], (2, "order.completed", ordered("o-2", promised=30))]
    assert totals(*events, more="shipments_per_customer = 2") == {"shipments": 1, "due_promised": 3}
    assert totals(*orders, more="shipments_per_customer = 1") == {"due_promised": 1}


def test_a_delivery_cannot_be_told_ahead() -> None:
    told = totals((0, "shipment.created", shipment(promised=5)), (10, "shipment.delivered", shipment(delivered=3)))
    assert told["on_time_promised"] == 1
    assert totals((10, "shipment.delivered", shipment(promised=5, delivered=60))) == {"shipments": 1, "due_promised": 1}


def test_nothing_is_due_before_its_time() -> None:
    told = totals((0, "shipment.created", shipment(promised=30)), (1, "shipment.delivered", shipment()), after_ms=10 * MINUTE)
    assert told == {"shipments": 1}


def test_the_first_promise_counts_and_the_latest_commitment() -> None:
    told = totals(
        (0, "shipment.created", shipment(promised=30, committed=30, requested=10)),
        (5, "shipment.delayed", shipment(promised=60, committed=60, requested=50)),
        (45, "shipment.delivered", shipment()),
    )
    assert told == {
        "shipments": 1, "due_promised": 1, "due_committed": 1, "on_time_committed": 1, "due_requested": 1, "on_time_requested": 1,
    }  # fmt: skip


def test_a_commitment_that_was_missed_is_not_mended_by_a_new_one() -> None:
    told = totals(
        (0, "shipment.created", shipment(committed=30)),
        (40, "shipment.delayed", shipment(committed=60)),
        (50, "shipment.delivered", shipment()),
    )
    assert told == {"shipments": 1, "due_committed": 1}


def test_a_cancelled_order_is_not_due_any_more_but_what_was_late_stays_late() -> None:
    cancelled = {"commerce": {"order_id": "o"}}
    assert totals((0, "shipment.created", shipment(promised=30)), (29, "order.cancelled", cancelled)) == {"shipments": 1}
    told = totals(
        (0, "shipment.created", shipment(promised=30)), (31, "order.cancelled", cancelled), (32, "shipment.delivered", shipment())
    )
    assert told == {"shipments": 1, "due_promised": 1}


def test_a_target_too_far_away_is_none() -> None:
    assert totals((0, "shipment.created", shipment(promised=120))) == {"shipments": 1}
    assert totals((0, "shipment.created", shipment(promised=119))) == {"shipments": 1, "due_promised": 1}


def test_a_shipment_is_expedited_once_by_whoever_wanted_it_first() -> None:
    told = totals(
        (0, "shipment.created", shipment(service="standard", requested_by="customer")),
        (1, "shipment.delayed", shipment(service="expedited", requested_by="company")),
        (2, "shipment.shipped", shipment(service="expedited", requested_by="customer")),
    )
    assert told == {"shipments": 1, "shipments_expedited": 1, "shipments_expedited_company": 1}


def test_an_opening_counts_once_and_only_for_what_informs() -> None:
    told = totals(
        (0, "message.sent", {"message": {"kind": "information", "message_id": "m"}}),
        (1, "message.opened", {"message": {"message_id": "m"}}),
        (2, "message.opened", {"message": {"message_id": "m"}}),
        (3, "message.sent", {"message": {"kind": "status", "message_id": "n"}}),
        (4, "message.opened", {"message": {"message_id": "n"}}),
    )
    assert told == {"information": 1, "information_opened": 1, "customers_informed": 1}


def test_a_customer_counts_once_however_often_we_call() -> None:
    call = {"actor": {"initiator": "company"}, "channel": "phone"}
    assert totals(*((at, "contact.started", call) for at in (0, 39, 40))) == {"proactive_contacts": 3, "customers_contacted": 1}
    assert totals(*((at, "contact.started", call) for at in (0, 40))) == {"proactive_contacts": 2, "customers_contacted": 2}


@pytest.mark.parametrize(
    ("asked", "called", "proactive"),
    [
        ({"issue_id": "i"}, {"issue_id": "i"}, 0),
        ({"issue_id": "i", "case_id": "k"}, {"case_id": "k"}, 0),
        ({"contact_id": "n"}, {"contact_id": "n", "issue_id": "i"}, 0),
        ({"issue_id": "i"}, {"issue_id": "j"}, 1),
        ({"issue_id": "i"}, {"case_id": "i"}, 1),
        ({"reason": "billing"}, {"reason": "billing"}, 1),
        ({}, {}, 1),
    ],
)
def test_who_calls_back_does_not_call_of_our_own_accord(asked: dict[str, str], called: dict[str, str], proactive: int) -> None:
    by_us = {"actor": {"initiator": "company"}, "channel": "phone", "issue": called}
    told = totals(
        (0, "contact.started", {"channel": "phone", "issue": asked}), (5, "contact.started", by_us), (6, "contact.started", by_us)
    )
    assert told.get("proactive_contacts", 0) == 2 * proactive
    assert told.get("customers_contacted", 0) == proactive


@pytest.mark.parametrize(
    ("kind", "fields", "minutes", "proactive"),
    [
        ("contact.started", {}, 29, 0),
        ("contact.started", {}, 30, 1),
        ("case.opened", {}, 29, 0),
        ("case.reopened", {"actor": {"initiator": "customer"}}, 29, 0),
        ("case.updated", {}, 29, 1),
        ("case.opened", {"actor": {"initiator": "system"}}, 29, 1),
    ],
)
def test_a_call_back_is_about_what_the_customer_has_asked_within_the_window(
    kind: str, fields: dict[str, Any], minutes: int, proactive: int
) -> None:
    named = {"issue": {"case_id": "k"}}
    by_us = {"actor": {"initiator": "company"}, "channel": "phone", **named}
    told = totals((0, kind, {**named, **fields}), (minutes, "contact.started", by_us), more='[contacts]\nwindow = "30m"')
    assert told.get("proactive_contacts", 0) == proactive


def test_a_call_back_is_a_contact_after_which_the_next_one_is_due_anew() -> None:
    def contact(initiator: str) -> dict[str, Any]:
        return {"channel": "phone", "issue": {"issue_id": "i"}, "actor": {"initiator": initiator}}

    story = Story(DEFINITIONS)
    story.event("contact.started", 0, **contact("company"))
    story.event("contact.started", 40 * 60, **contact("customer"))
    story.event("contact.started", 44 * 60, **contact("company"))
    story.restart()
    story.clock(89 * 60 - 0.001)
    assert not story.run.in_force
    story.clock(89 * 60)
    assert len(story.run.in_force) == 1
    story.event("contact.started", 90 * 60, **contact("company"))
    assert not story.run.in_force
    assert story.run.total("PROACTIVE_CONTACTS") == 1
    assert story.run.at("CUSTOMERS_CONTACTED", BASE_MS) == 1, "he counts where we last called of our own accord"


def test_a_row_from_before_call_backs_were_told_apart_is_read() -> None:
    definitions = parse(DEFINITIONS)
    chapter, kept = Operations(definitions, Cells(()), bytes(len(Counter))), Kept()
    kept.data["contact"] = [BASE_MS, b"", False]
    chapter.set_due(kept)
    assert kept.due == BASE_MS + 45 * MINUTE


def test_what_customers_ask_is_bounded_and_forgotten() -> None:
    story = Story(DEFINITIONS)
    for n in range(ASKED_MAX + 2):
        story.event("contact.started", n, issue={"issue_id": str(n)})
    assert story.run.processor.accounting["cut_asked"] == 2
    story.clock(73 * 3600)
    [row] = story.run.rows.values()
    assert b"asked" not in row.state


def test_beyond_its_limit_the_oldest_shipment_goes_and_is_counted() -> None:
    more = "shipments_per_customer = 1"
    first = shipment(promised=30)
    second = {"fulfilment": {"shipment_id": "t", "promised_at": moment(BASE_MS + 40 * MINUTE)}}
    told = totals((0, "shipment.created", first), (1, "shipment.created", second), more=more)
    assert told == {"shipments": 2, "due_promised": 1}


def fired(*events: tuple[int, str, dict[str, Any]], after_ms: int) -> list[tuple[str, str]]:
    log = [
        LogRecord(n, BASE_MS + at * MINUTE, b"c", event_at(BASE_MS + at * MINUTE, "c", n, {"type": type_, **fields}))
        for n, (at, type_, fields) in enumerate(events)
    ]
    run = single_pass(DEFINITIONS, log, after_ms)
    return [(alert.rule.id, alert.state) for alert in run.alerts]


def test_an_alert_when_the_promise_passes_and_its_end_when_the_shipment_comes() -> None:
    promised = (0, "shipment.created", shipment(promised=30))
    assert fired(promised, after_ms=30 * MINUTE) == []
    assert fired(promised, after_ms=31 * MINUTE) == [("overdue", "firing")]
    assert fired(promised, (45, "shipment.delivered", shipment()), after_ms=0) == [("overdue", "firing"), ("overdue", "resolved")]


def test_an_alert_when_a_customer_has_not_heard_from_us_for_one_and_a_half_times_the_cadence() -> None:
    call = (0, "contact.started", {"actor": {"initiator": "company"}, "channel": "phone"})
    assert fired(call, after_ms=44 * MINUTE) == []
    assert fired(call, after_ms=46 * MINUTE) == [("unheard", "firing")]
    assert fired(call, after_ms=3 * HOUR) == [("unheard", "firing"), ("unheard", "resolved")]


def test_what_must_be_kept_longer_is_refused() -> None:
    with pytest.raises(DefinitionsError, match="keep_for must be longer"):
        parse(SLICES + '[operations]\nkeep_for = "45m"\ncadence = "30m"\nper_customer = "1m"')

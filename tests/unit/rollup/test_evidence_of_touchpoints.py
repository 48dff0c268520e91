"""The evidence of aggregate alerts from touchpoints on: which events it names, and when it no longer does."""

from __future__ import annotations

import json

import pytest

from streamer import definitions
from streamer.alerts import alert
from streamer.alerts.times import milliseconds
from streamer.definitions import default_text
from streamer.journeys import exemplars
from streamer.metrics.counters import Counter
from streamer.replay.pipeline import Arrival, run_history
from tests.journeys_support import BASE_MS, MINUTE, wire
from tests.unit.rollup.test_evidence import rule

CHECKOUT = """
[[journey]]
id = "checkout"
start = ["checkout.started"]
activity = ["checkout.step"]
complete = ["order.completed"]
fail = []
identified_by = ["checkout_id"]
deadline = "30m"
recoverable_for = "24h"
"""
Happening = tuple[int, str, str]  # minute, customer, type


def fired(text: str, happenings: list[Happening], partitions: int = 1) -> alert.Alert:
    """The first aggregate alert of what arrives in this order; id of an event: its type and minute."""
    latest, arrivals = 0, []
    for minute, customer, type_ in happenings:
        latest = max(latest, minute)
        event = {"id": f"{type_}-{minute}", "type": type_, "customer": customer, "channel": "web", "checkout_id": f"k-{customer}"}
        event["time"] = BASE_MS + minute * MINUTE  # type: ignore[assignment]
        arrivals.append(Arrival(BASE_MS + latest * MINUTE, customer.encode(), wire({"source": "shop", **event})))
    found = run_history(arrivals, definitions.parse(text), partitions=partitions, end_ms=BASE_MS + (latest + 60) * MINUTE)
    return next(one for one in found.alerts if one.rule.id == "r" and one.state == "firing")


def test_the_evidence_of_an_abandonment_is_the_last_thing_the_customer_did() -> None:
    steps = [(n, f"c{n}", "checkout.started") for n in range(3)] + [(n, f"c{n}", "checkout.step") for n in range(3, 6)]
    record = fired(rule("lower > 0.2", "min_n = 4", windows='["1h"]') + CHECKOUT, [(0, "c3", "checkout.started"), *steps])
    assert [(event.event_id, event.type) for event in record.evidence] == [
        ("checkout.started-0", "checkout.started"),
        ("checkout.started-1", "checkout.started"),
        ("checkout.started-2", "checkout.started"),
        ("checkout.step-3", "checkout.step"),
    ]
    assert record.evidence_count == 4


def test_who_came_back_is_no_evidence() -> None:
    away = [(0, "a", "checkout.started"), (1, "b", "checkout.started"), (50, "a", "order.completed")]
    later = [(100, "c", "checkout.started"), (101, "d", "checkout.started")]
    record = fired(rule("lower > 0.2", "min_n = 4", windows='["24h"]') + CHECKOUT, away + later)
    assert [event.event_id for event in record.evidence] == ["checkout.started-1", "checkout.started-100", "checkout.started-101"]


def test_an_event_out_of_order_that_moves_an_abandonment_moves_its_evidence() -> None:
    text = rule("lower > 0.2", "min_n = 2", windows='["1h"]') + CHECKOUT
    steps = [(0, "a", "checkout.started"), (31, "b", "checkout.started"), (29, "a", "checkout.step")]
    record = fired(text, steps)
    assert sorted(event.event_id for event in record.evidence) == ["checkout.started-31", "checkout.step-29"]


def test_in_how_many_partitions_the_events_lie_does_not_change_which_are_evidence() -> None:
    steps = [(n, f"c{n % 7}", "checkout.started") for n in range(12)]
    one, four = (fired(rule("lower > 0.2", windows='["1h"]') + CHECKOUT, steps, partitions) for partitions in (1, 4))
    assert {event.event_id for event in one.evidence} == {event.event_id for event in four.evidence} != set()


def test_events_of_a_rule_that_is_off_are_not_carried() -> None:
    on, off = (exemplars.evidenced_by(definitions.parse(rule("lower > 0.2", f'mode = "{mode}"'))) for mode in ("draft", "off"))
    assert (on[Counter.ABANDONED], off[Counter.ABANDONED], any(off)) == (1, 0, False)


# --- Taken back by chapters, and never told -------------------------------------------------------------------------------------------

HEAD = default_text()[: default_text().index("[[rule]]")]


def of_default(metric: str, when: str, min_n: int, events: list[dict[str, object]]) -> list[alert.Alert]:
    """The alerts of one rule with the default definitions; `minute` and `customer` of an event, the rest as it is written."""
    text = f'{HEAD}\n[[rule]]\nid = "r"\nmetric = "{metric}"\nwindows = ["24h"]\nmin_n = {min_n}\nwhen = "{when}"\n'
    text += '[[rule]]\nid = "other"\nmetric = "handoff_failure_rate"\nwindows = ["24h"]\nwhen = "lower > 0.99"\n'
    arrivals = []
    for number, given in enumerate(events):
        event = {"source": "shop", "channel": "web", "id": f"e{number}"} | given
        time_ms = BASE_MS + event.pop("minute") * MINUTE  # type: ignore[operator]
        survey = event.pop("survey", None)
        value = json.loads(wire({**event, "time": time_ms})) | ({"survey": survey} if survey else {})
        arrivals.append(Arrival(time_ms, str(event["customer"]).encode(), json.dumps(value).encode()))
    found = run_history(arrivals, definitions.parse(text), partitions=1, end_ms=arrivals[-1].arrival_ms + 26 * 60 * MINUTE)
    return [one for one in found.alerts if one.rule.id == "r"]


def ids_of(record: alert.Alert) -> list[str]:
    return [event.event_id for event in record.evidence]


def test_who_came_back_to_a_step_is_no_evidence_of_its_abandonment() -> None:
    step = {"type": "checkout.step", "step": "payment"}
    begun = [{"minute": n, "customer": f"c{n}", "type": "checkout.started", "checkout_id": f"k{n}"} for n in range(6)]
    on = [{"minute": 6, "customer": f"c{n}", "checkout_id": f"k{n}", **step} for n in range(6)]
    back = [{"minute": 50, "customer": f"c{n}", "checkout_id": f"k{n}", "type": "order.completed"} for n in range(3)]
    again = [{"minute": 55, "customer": f"d{n}", "checkout_id": f"l{n}", "type": "checkout.started"} for n in range(3)]
    on_again = [{"minute": 56, "customer": f"d{n}", "checkout_id": f"l{n}", **step} for n in range(3)]
    firing = of_default("abandoned_at_step", "lower > 0.3", 9, begun + on + back + again + on_again)[0]
    # Of the six abandoned in one second the first four were carried, and three of these came back.
    assert ids_of(firing) == ["e9", "e18", "e19", "e20"]
    assert firing.evidence_count == 6


def test_an_answer_that_was_changed_is_no_evidence_and_the_new_one_may_be() -> None:
    def answer(minute: int, customer: str, score: int) -> dict[str, object]:
        return {"minute": minute, "customer": customer, "type": "survey.responded", "survey": {"instrument": "nps", "score": score}}

    events = [answer(n, f"c{n}", 0) for n in range(4)] + [answer(10 + n, f"c{n}", 10) for n in range(2)] + [answer(20, "d", 0)]
    first, *_ = of_default("nps_experience", "value < 25", 5, events)
    assert ids_of(first) == ["e2", "e3", "e6"]
    assert first.evidence_count == 3


def test_a_cancelled_order_is_no_evidence_of_orders() -> None:
    def order(minute: int, number: int, type_: str = "order.completed") -> dict[str, object]:
        return {
            "minute": minute, "customer": f"c{number}", "type": type_, "order_id": f"o{number}", "revenue": "20.00", "currency": "EUR",
        }  # fmt: skip

    (record, *_) = of_default(
        "orders", "value >= 4", 1, [order(n, n) for n in range(3)] + [order(5, 0, "order.cancelled"), order(7, 3), order(8, 4)]
    )
    assert ids_of(record) == ["e1", "e2", "e4", "e5"]
    assert record.evidence_count == 4


def test_who_slips_is_told_by_the_order_he_has_been_waited_for_since() -> None:
    ordered = {"customer": "c", "type": "order.completed", "revenue": "9.00"}
    orders: list[dict[str, object]] = [{"minute": n, "order_id": f"o{n}", **ordered} for n in (0, 20, 40, 60)]
    (record, *_) = of_default("customers_slipped", "value >= 1", 1, orders)
    assert (ids_of(record), record.evidence_count) == (["e3"], 1)


def test_a_repeat_customer_is_told_by_the_latest_order_that_stands() -> None:
    def order(minute: int, customer: str, type_: str = "order.completed", number: int | None = None) -> dict[str, object]:
        return {"minute": minute, "customer": customer, "type": type_, "order_id": f"o{number or minute}", "revenue": "9.00"}

    events = [order(n, f"c{n % 2}") for n in range(6)] + [order(7, "c1", "order.cancelled", 5), order(8, "c2"), order(9, "c2")]
    firing = of_default("repeat_purchase_rate", "lower > 0.4", 3, events)[0]
    assert (ids_of(firing), firing.evidence_count) == (["e3", "e4", "e8"], 3)


def test_who_refuses_analytics_is_counted_and_not_named() -> None:
    refused = {"type": "checkout.started", "analytics_consent": False}
    events = [{"minute": n, "customer": f"c{n}", "checkout_id": f"k{n}", **refused} for n in range(3)]
    events += [{"minute": 3, "customer": "d", "checkout_id": "k", "type": "checkout.started"}]
    record = of_default("abandon_rate", "lower > 0.2", 4, events)[0]
    assert ids_of(record) == ["e3"]
    assert record.evidence_count == 4


def test_deadlines_that_coincide_have_each_its_own_event_or_none() -> None:
    handoff = {"customer": "c", "type": "handoff.initiated", "to_team": "b", "channel": "phone"}
    events = [
        {"minute": 0, "contact_id": "s", **handoff},
        {"minute": 1, "customer": "c", "type": "case.opened", "case_id": "k", "owner": "a"},
        {"minute": 24 * 60 - 14, "contact_id": "t", **handoff},
    ]
    (record, *_) = of_default("silences", "value >= 1", 1, events)
    assert (ids_of(record), record.evidence_count) == (["e1"], 1)


def test_a_customer_is_evidence_of_a_cause_by_the_event_with_which_it_began_until_it_is_past() -> None:
    def failed(minute: int, customer: str) -> dict[str, object]:
        return {"minute": minute, "customer": customer, "type": "payment.failed", "step": "payment"}

    again = [failed(0, "again"), failed(1, "gone"), failed(59, "again"), failed(100, "again")]  # the one never out of it for an hour
    others = [failed(110, "c1"), failed(111, "c2")]
    (record, *_) = of_default("cause_customers_hour", "value >= 3", 1, again + others)
    assert ids_of(record) == ["e0", "e4", "e5"]
    assert record.evidence_count == 3


def test_open_journeys_are_told_by_what_began_them() -> None:
    begun = [{"minute": n, "customer": f"c{n}", "checkout_id": f"k{n}", "type": "checkout.started"} for n in range(4)]
    over = [
        {"minute": 4, "customer": "c1", "checkout_id": "k1", "type": "order.completed"},
        {"minute": 5, "customer": "c2", "checkout_id": "k2", "type": "checkout.step", "step": "payment"},
    ]
    later = [{"minute": 32, "customer": f"d{n}", "checkout_id": f"l{n}", "type": "checkout.started"} for n in range(4)]
    (record, *_) = of_default("journeys_open", "value >= 5", 1, begun + over + later)
    assert ids_of(record) == ["e2", "e3", "e6", "e7", "e8", "e9"]  # one left, one bought
    assert record.evidence_count == 6


DUE = "2026-11-21T10:45:00Z"


# --- Deadlines of chapters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "when", "event", "minutes"),
    [
        ("response_in_time_rate", "upper < 0.9", {"type": "contact.started", "channel": "phone", "reason": "bill"}, 15),
        ("handoff_failure_rate", "lower > 0.3", {"type": "handoff.initiated", "channel": "phone", "case_id": "k", "to_team": "b"}, 15),
        ("on_time_promised_rate", "upper < 0.9", {"type": "shipment.created", "channel": "logistics", "order_id": "o"}, 30),
        ("step_stalls", "value >= 3", {"type": "checkout.started", "channel": "web", "checkout_id": "k", "step": "address"}, 10),
        ("silences", "value >= 3", {"type": "case.opened", "channel": "phone", "case_id": "k", "owner": "a"}, 24 * 60),
        ("silent_case_rate", "lower > 0.3", {"type": "case.opened", "channel": "phone", "case_id": "k", "severity": "high"}, 2 * 60),
        ("unowned_case_rate", "lower > 0.3", {"type": "case.opened", "channel": "phone", "case_id": "k"}, 30),
        ("missed_due_date_rate", "lower > 0.3", {"type": "case.opened", "channel": "phone", "case_id": "k", "due_at": DUE}, 30),
        ("renewal_rate", "upper < 0.9", {"type": "contract.due", "channel": "email", "contract_id": "c"}, 0),
    ],
)
def test_what_a_chapters_deadline_counts_has_the_event_it_waited_after(metric: str, when: str, event: dict[str, str], minutes: int) -> None:
    text = f'{HEAD}\n[[rule]]\nid = "r"\nmetric = "{metric}"\nby = []\nwindows = ["24h"]\nmin_n = 3\nwhen = "{when}"\n'
    arrivals = []
    for n in range(3):
        body = {"source": "shop", "id": f"e{n}", "customer": f"c{n}", "time": BASE_MS + n * MINUTE, **event}
        value = json.loads(wire(body))
        if metric == "on_time_promised_rate":
            value["fulfilment"] = {"shipment_id": f"s{n}", "promised_at": "2026-11-21T10:45:00Z"}
        arrivals.append(Arrival(BASE_MS + n * MINUTE, f"c{n}".encode(), json.dumps(value).encode()))
    end_ms = BASE_MS + 26 * 60 * MINUTE
    found = run_history(arrivals, definitions.parse(text.replace('grace = "30d"', 'grace = "12h"')), partitions=1, end_ms=end_ms)
    record = next(one for one in found.alerts if one.rule.id == "r")
    assert [one.event_id for one in record.evidence] == ["e0", "e1", "e2"]
    assert milliseconds(record.event_time) >= BASE_MS + minutes * MINUTE


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        ("fcr", {"type": "contact.ended", "issue_id": "i"}, {"type": "contact.started", "issue_id": "i"}),
        ("renewal_rate", {"type": "contract.due", "contract_id": "c"}, {"type": "contract.cancelled", "contract_id": "c"}),
    ],
)
def test_what_is_decided_long_before_it_counts_has_its_event_then(metric: str, before: dict[str, str], after: dict[str, str]) -> None:
    """Others come between; of the witnesses of a rule only so many are carried, and these must be those of the window."""
    text = f'{HEAD}\n[limits]\nevidence_per_alert = 5\n[[rule]]\nid = "r"\nmetric = "{metric}"\nby = []\nwindows = ["24h"]\nmin_n = 3\n'
    text = text.replace('grace = "30d"', 'grace = "12h"').replace('repeat_within = "7d"', 'repeat_within = "12h"')
    arrivals = []
    for n in range(40):
        for number, event in enumerate((before, after)):
            time_ms = BASE_MS + (20 * n + 10 * number) * MINUTE
            body = {"source": "shop", "channel": "phone", "id": f"e{2 * n + number}", "customer": f"c{n}", "time": time_ms, **event}
            arrivals.append(Arrival(time_ms, f"c{n}".encode(), wire(body)))
    found = run_history(arrivals, definitions.parse(text + 'when = "upper < 0.9"\n'), partitions=1, end_ms=BASE_MS + 26 * 60 * MINUTE)
    record = next(one for one in found.alerts if one.rule.id == "r")
    wanted = 1 if metric == "fcr" else 0
    assert [one.event_id for one in record.evidence] == [f"e{2 * n + wanted}" for n in range(3)]
    assert record.evidence_count == 3

"""Logs of few customers with times that collide with each other and with deadlines; everything follows from a `random.Random`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from streamer.processor import LogRecord
from streamer.touchpoints.control import encode_control
from tests.journeys_support import BASE_MS, wire
from tests.simulation.definitions import LATENESS_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Fields = dict[str, Any]


class Sent(NamedTuple):
    """One record of a source partition; `time_ms` is the event's. A `copy` is a duplicate, `poison` is for the dead letters."""

    record: LogRecord
    time_ms: int
    kind: Literal["event", "copy", "poison", "control"]


_CHECKOUT: Final = (
    "checkout.started", "checkout.started", "checkout.step_viewed", "payment.failed", "order.completed", "order.cancelled", "form.error",
    "friction.signal", "identity.linked", "page.viewed",
)  # fmt: skip
_CONTACT: Final = (
    "contact.started", "contact.started", "contact.ended", "contact.transferred", "knowledge.searched", "case.reopened", "case.resolved",
)  # fmt: skip
_CASE: Final = (
    "case.opened", "case.updated", "handoff.accepted", "handoff.accepted", "case.closed", "case.reopened", "message.sent",
)  # fmt: skip
_JOURNEY: Final = ("journey.started", "journey.started", "journey.step_entered", "journey.completed", "journey.failed")
_SHIPMENT: Final = ("shipment.created", "shipment.created", "shipment.delayed", "shipment.delivered")
_NARROW: Final = ("checkout.started", "checkout.step_viewed", "payment.failed", "order.completed", "contact.started", "contact.started")

_CHANNELS: Final = ("web", "web", "app", "phone", "ivr", "chat")
_JITTERS_MS: Final = (0, 0, 0, 0, -1, 1, 5_000)
_DELAYS_MS: Final = (0, 0, 0, 1, 9_999, 10_000, 30_000, 59_999, 60_000, -1, -20_000)
_LATE_DELAYS_MS: Final = (70_000, 130_000)


def _checkout(r: Random) -> Fields:
    return {
        "type": r.choice(_CHECKOUT),
        "checkout_id": r.choice(("", "", "k1", "k2")),
        "order_id": r.choice(("", "", "o1")),
        "session_id": r.choice(("", "s1", "s1", "s2")),
    }


def _issue(r: Random) -> Fields:
    return {
        "issue_id": r.choice(("", "i1", "i2")),
        "reason": r.choice(("", "r1", "r1", "r2")),
        "owner": r.choice(("", "A", "B", "C")),
        "team": r.choice(("", "A", "B")),
        "to_team": r.choice(("", "", "B")),
        "initiator": r.choice(("", "", "customer", "company", "system")),
        "handoff_kind": r.choice((None, "cold", "warm", "escalation")),
        "context_passed": r.choice((None, [], ["history"])),
        "resolved": r.choice((None, None, True, False)),
    }


def _contact(r: Random) -> Fields:
    fields = {**_issue(r), "type": r.choice(_CONTACT), "case_id": r.choice(("", "", "q1"))}
    # Told by what else is drawn: a further draw would change all logs that were found to have something in them.
    told = (fields["owner"], fields["to_team"])
    return {**fields, "contact_id": {("A", ""): "x1", ("B", ""): "x1", ("C", ""): "x2"}.get(told, "")}


def _case(r: Random) -> Fields:
    return {**_issue(r), "type": r.choice(_CASE), "case_id": r.choice(("q1", "q1", "q2", ""))}


def _journey(r: Random) -> Fields:
    return {
        "type": r.choice(_JOURNEY),
        "journey": r.choice(("onboarding", "onboarding", "loan_application", "")),
        "journey_id": r.choice(("", "j1", "j2")),
        "session_id": r.choice(("", "s1")),
    }


def _shipment(r: Random) -> Fields:
    return {"type": r.choice(_SHIPMENT), "order_id": r.choice(("o1", "o1", "o2", ""))}


def _narrow(r: Random) -> Fields:
    """One instance and one issue: abandoned, taken back, reopened, abandoned again."""
    return {"type": r.choice(_NARROW), "checkout_id": "k1", "issue_id": "i1"}


_FAMILIES: Final[tuple[Callable[[Random], Fields], ...]] = (_checkout, _checkout, _contact, _contact, _case, _journey, _shipment, _narrow)


def make_log(r: Random, size: int, *, orderly: bool, late_completions: bool = False) -> list[Sent]:
    """A log of about `size` records, offset gaps included. orderly: nothing late, nothing that moves time by itself.

    late_completions: some checkouts are completed in time, and that is heard of late. Of unrelated draws that hardly ever comes.
    """
    stretch = r.choice((1, 1, 1, 3, 8))  # events leave the retained ones, and customers are forgotten
    families = _FAMILIES if r.random() < 0.7 else (r.choice(_FAMILIES),)
    customers = ("c-1", "c-1", "c-1", "c-2", "c-3") if r.random() < 0.7 else ("c-1",)
    drawn: list[tuple[int, Sent]] = []
    for number in range(size):
        drawn += _drawn(r, number, r.choice(families), customers, stretch, orderly=orderly)
        if late_completions and not orderly and r.random() < 0.05:
            drawn += _completed_late(r, number, r.choice(customers), stretch)
    drawn.sort(key=lambda one: one[0])  # stable: equal arrivals as drawn
    log, offset = [], r.choice((0, 0, 7))
    for arrival, sent in drawn:
        log.append(sent._replace(record=sent.record._replace(offset=offset, timestamp=arrival)))
        offset += r.choice((1, 1, 1, 2))
    return log


def _completed_late(r: Random, number: int, customer: str, stretch: int) -> list[tuple[int, Sent]]:
    """(arrival, record) of a checkout that begins, and of its completion."""
    begun = BASE_MS + r.randrange(19) * 10_000 * stretch
    done = begun + r.choice((0, 1, 5_000))
    found = []
    for time, delay, type_ in ((begun, 0, "checkout.started"), (done, r.choice(_LATE_DELAYS_MS), "order.completed")):
        event = {
            "type": type_, "id": f"e{number}-{type_}", "source": "/test", "time": time, "customer": customer, "channel": "web",
            "checkout_id": f"k{number}",
        }  # fmt: skip
        found.append((time + delay, Sent(LogRecord(0, 0, customer.encode(), wire(event)), time, "event")))
    return found


def _drawn(
    r: Random, number: int, family: Callable[[Random], Fields], customers: Sequence[str], stretch: int, *, orderly: bool
) -> list[tuple[int, Sent]]:
    """(arrival, record) of one draw: an event and perhaps its copy, or what is no event."""
    time = BASE_MS + r.randrange(19) * 10_000 * stretch + r.choice(_JITTERS_MS)
    delay = r.choice(_DELAYS_MS)
    if not orderly and r.random() < 0.1:
        delay += r.choice(_LATE_DELAYS_MS)
    customer = r.choice(customers)
    what = r.random()
    if what < 0.06:
        return [(time + delay, _poison(r, time, customer, number))]
    if what < 0.08 and not orderly:
        value, headers = encode_control(r.choice(("begin", "end")), time)
        return [(time + delay, Sent(LogRecord(0, 0, None, value, headers), time, "control"))]
    event = {
        **family(r), "id": f"e{number}", "source": "/test", "time": time, "customer": customer, "channel": r.choice(_CHANNELS),
        "platform": r.choice(("", "", "ios", "android")),
        "analytics_consent": r.choice((True, False)) if r.random() < 0.08 else None,
    }  # fmt: skip
    record = LogRecord(0, 0, customer.encode(), wire(event))
    sent = [(time + delay, Sent(record, time, "event"))]
    if r.random() < 0.12:
        again = max(time + delay, time) + r.choice((0, 5_000))
        sent.append((min(again, time + LATENESS_MS) if orderly else again, Sent(record, time, "copy")))
    return sent


def _poison(r: Random, time: int, customer: str, number: int) -> Sent:
    event = {"type": "page.viewed", "id": f"p{number}", "source": "/test", "channel": "web", "time": time, "customer": customer}
    key, value = customer.encode(), wire(event)
    record = r.choice((
        LogRecord(0, 0, key, b"{"),
        LogRecord(0, 0, key, None),
        LogRecord(0, 0, None, value),
        LogRecord(0, 0, b"somebody else", value),
        LogRecord(0, 0, key, wire({**event, "time": time + 3_600_000})),
        LogRecord(0, 0, key, b"[]", [("cx-control", b"middle")]),
    ))  # fmt: skip
    return Sent(record, time, "poison")

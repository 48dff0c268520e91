"""Small histories for the journeys processor: few customers, ids and types, and times that collide with each other and with deadlines."""

from __future__ import annotations

import os
import tomllib
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from tests.journeys_support import BASE_MS

# Short, and multiples of 10 s like the times below, so that events often fall exactly on a deadline.
DEFINITIONS = """
revision = 1
allowed_lateness = "60s"

[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
fail = ["order.cancelled"]
activity = ["checkout.*", "payment.*", "form.error", "friction.signal"]
identified_by = ["checkout_id", "order_id", "session"]
deadline = "30s"
recoverable_for = "40s"

[[journey]]
id = "service_case"
start = ["case.opened"]
complete = ["case.resolved", "case.closed"]
activity = ["case.*", "contact.*", "handoff.*"]
identified_by = ["case_id"]
deadline = "50s"
recoverable_for = "30s"

[[journey]]
id = "onboarding"
start = ["journey.started"]
complete = ["journey.completed"]
fail = ["journey.failed"]
activity = ["journey.*"]
identified_by = ["journey_id", "session"]
deadline = "20s"
recoverable_for = "10s"

[contacts]
window = "60s"
repeat_within = "50s"

[contacts.channel_groups]
web = "self_service"
app = "self_service"
phone = "phone"
ivr = "phone"

[cases]
retention = "40s"

[[slice]]
by = []

[[slice]]
by = ["journey", "channel"]

[[slice]]
by = ["team"]

[[rule]]
id = "friction"
on = "journey"
when = "journey == 'checkout' and abandoned and friction >= 1"
cooldown = "50s"

[[rule]]
id = "any-abandoned"
on = "journey"
when = "abandoned or effort_index >= 1"

[[rule]]
id = "switching"
on = "issue"
when = "channel_switches >= 1"
cooldown = "120s"

[[rule]]
id = "effort"
on = "issue"
when = "effort_index >= 3 and contacts >= 2"

[[rule]]
id = "repeats"
on = "customer"
when = "repeat_contacts >= 1"
cooldown = "90s"

[[rule]]
id = "moved-around"
on = "customer"
when = "handoffs + transfers >= 2 or ping_pongs >= 1"
show = ["ping_pongs_of_case"]
"""
# The next revision: other deadlines, rules and break-downs.
DEFINITIONS_2 = (
    DEFINITIONS.replace("revision = 1", "revision = 2")
    .replace('deadline = "30s"', 'deadline = "20s"')
    .replace('by = ["team"]', 'by = ["platform"]')
    .replace('id = "any-abandoned"', 'id = "new-rule"')
    .replace('window = "60s"', 'window = "30s"')
)
PLAIN: dict[str, Any] = tomllib.loads(DEFINITIONS)

# The same examples at every run; PROPERTY_EXAMPLES=5000 looks for more, other ones each time.
_SOUGHT = os.environ.get("PROPERTY_EXAMPLES")
EXAMPLES = settings(max_examples=int(_SOUGHT or 80), derandomize=_SOUGHT is None, deadline=None, database=None)
FEW_EXAMPLES = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 5)

CHECKOUT = [
    "checkout.started", "checkout.started", "checkout.step_viewed", "payment.failed", "order.completed", "order.cancelled", "form.error",
    "identity.linked", "page.viewed", "page.viewed",
]  # fmt: skip
CONTACT = [
    "contact.started", "contact.started", "contact.ended", "contact.transferred", "knowledge.searched", "case.reopened", "case.resolved",
]  # fmt: skip
CASE = [
    "case.opened", "case.updated", "case.updated", "handoff.accepted", "handoff.accepted", "case.closed", "case.reopened",
    "contact.transferred", "contact.started",
]  # fmt: skip
ONBOARDING = ["journey.started", "journey.step_entered", "journey.completed", "journey.failed"]

_maybe = st.sampled_from
times = st.builds(lambda tens, ms: BASE_MS + tens * 10_000 + ms, st.integers(0, 18), st.sampled_from([0, 0, 0, 0, -1, 1, 5_000]))
delays = st.sampled_from([0, 0, 0, 1, 9_999, 10_000, 30_000, 59_999, 60_000, -1, -20_000])
channels = st.sampled_from(["web", "web", "app", "phone", "ivr", "chat"])
consents = st.sampled_from([None] * 12 + [True, False])


def _events(kinds: list[str], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "type": st.sampled_from(kinds),
            "time": times,
            "delay": delays,
            "channel": channels,
            "analytics_consent": consents,
            "customer": st.sampled_from(["c-1", "c-1", "c-1", "c-2"]),
            **fields,
        }
    )


_checkout_ids = {
    "checkout_id": _maybe(["", "", "k1", "k2"]),
    "order_id": _maybe(["", "", "o1"]),
    "session_id": _maybe(["", "s1", "s1", "s2"]),
}
_issue_ids = {
    "issue_id": _maybe(["", "i1", "i2"]),
    "case_id": _maybe(["", "", "q1"]),
    "reason": _maybe(["", "r1", "r1", "r2"]),
    "contact_id": _maybe(["", "", "x1", "x1", "x2"]),
}
_actors = {
    "owner": _maybe(["", "A", "A", "B", "B", "C"]),
    "team": _maybe(["", "A", "B"]),
    "to_team": _maybe(["", "", "B"]),
    "initiator": _maybe(["", "", "customer", "company", "system"]),
    "handoff_kind": _maybe(["", "cold", "warm", "escalation"]),
    "from_team": _maybe(["", "", "B", "ivr"]),
    "context_passed": _maybe([None, [], ["history"]]),
    "resolved": _maybe([None, None, True, False]),
}
checkout_events = _events(CHECKOUT, **_checkout_ids)
contact_events = _events(CONTACT, **_issue_ids, **_actors, session_id=_maybe(["", "", "s1"]))
_case_ids = {**_issue_ids, "case_id": _maybe(["q1", "q1", "q1", "q2", ""]), "issue_id": _maybe(["", "", "i1"])}
case_events = _events(CASE, **_case_ids, **_actors)
onboarding_events = _events(
    ONBOARDING,
    journey=_maybe(["onboarding", "onboarding", "", "other"]),
    journey_id=_maybe(["", "j1", "j2"]),
    session_id=_maybe(["", "s1"]),
)
# One instance, one issue, one customer: abandoned, taken back, reopened, abandoned again.
narrow_events = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["checkout.started", "checkout.step_viewed", "checkout.step_viewed", "payment.failed", "order.completed"]
            ),
            "time": times,
            "delay": st.sampled_from([0, 0, 30_000, 45_000, 60_000]),
            "channel": st.just("web"),
            "customer": st.just("c-1"),
            "checkout_id": st.just("k1"),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["contact.started", "contact.started", "contact.ended", "case.reopened"]),
            "time": times,
            "delay": st.sampled_from([0, 0, 30_000, 45_000, 60_000]),
            "channel": st.sampled_from(["web", "phone"]),
            "customer": st.just("c-1"),
            "issue_id": st.just("i1"),
        }
    ),
)
any_events = st.one_of(
    checkout_events, contact_events, case_events, onboarding_events, _events(CHECKOUT + CONTACT, **_checkout_ids, **_issue_ids, **_actors)
)


class Step(NamedTuple):
    """What an owner does next. kind: `records` (n of them), `advance` (n milliseconds past the latest arrival), `drain`, `crash`."""

    kind: str
    n: int = 0


def log_of(drawn: list[tuple[dict[str, Any], int | None]]) -> list[dict[str, Any]]:
    """Events with id, arrival and offset, in the order of arrival; a number after an event sends it again that much later."""
    events: list[dict[str, Any]] = []
    for number, (spec, again) in enumerate(drawn):
        event = {**spec, "id": f"e{number}", "source": "/test"}
        arrival = event["time"] + event.pop("delay")
        events.append({**event, "arrival": arrival})
        if again is not None:
            events.append({**event, "arrival": min(max(arrival, event["time"]) + again, event["time"] + 60_000)})
    events.sort(key=lambda event: event["arrival"])  # stable: equal arrivals as drawn
    return [{**event, "offset": offset} for offset, event in enumerate(events)]


def logs(events: st.SearchStrategy[dict[str, Any]], *, size: int = 10, least: int = 1) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Logs of up to `size` events, all within the allowed lateness, some of them sent twice."""
    again = st.sampled_from([None] * 8 + [0, 5_000])
    return st.lists(st.tuples(events, again), min_size=least, max_size=size).map(log_of)


def delayed(event: dict[str, Any], more: int) -> dict[str, Any]:
    return {**event, "delay": event["delay"] + more}


# Some too late for their panes.
late_events = st.builds(delayed, st.one_of(any_events, narrow_events), st.sampled_from([0] * 8 + [70_000, 130_000]))


def spread(log: list[dict[str, Any]], factor: int) -> list[dict[str, Any]]:
    """The same log over `factor` times the time, each event as long under way as before: events leave the retained ones meanwhile."""
    moved = []
    for event in log:
        time = BASE_MS + (event["time"] - BASE_MS) * factor
        moved.append({**event, "time": time, "arrival": time + event["arrival"] - event["time"]})
    moved.sort(key=lambda event: event["arrival"])
    return [{**event, "offset": offset} for offset, event in enumerate(moved)]


advances = st.sampled_from([0, 1, 10_000, 20_000, 30_000, 40_000, 60_000, 100_000])
steps = st.lists(
    st.one_of(
        st.builds(Step, st.just("records"), st.integers(1, 4)),
        st.builds(Step, st.just("records"), st.integers(1, 4)),
        st.builds(Step, st.just("advance"), advances),
        st.builds(Step, st.just("drain")),
        st.builds(Step, st.just("crash")),
    ),
    max_size=14,
)
ends = st.sampled_from([0, 1, 10_000, 29_999, 30_000, 50_000, 90_000, 200_000])


def high_of(log: list[dict[str, Any]]) -> int:
    return max(int(min(event["time"], event["arrival"])) for event in log)

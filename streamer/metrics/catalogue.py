"""Every number by name: the counters the processors add up, and the metrics that are functions of them.

A counter change is `(counter, dimensions, pane) += n`; so partitions, windows and corrections just add. *Flow* counters are summed
over a window of event-time panes, *stock* counters for ever. A rate is attributed so that each member of its numerator is a
member of its denominator in the same pane: k <= n holds in every window.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, NamedTuple

# Order is part of the wire format of deltas only through the names that travel with each batch.
DIMENSIONS: Final = (
    "journey", "channel", "stage", "step", "segment", "persona", "product_category", "team", "partner", "region", "platform",
)  # fmt: skip


class Counter(IntEnum):
    """What is counted. Numbers are wire format: never reuse one.

    The pane of each: `*` at the event, `start` at the first event of the instance, contact, issue or case it belongs to.
    """

    TOUCHPOINTS = 1  # * applied touchpoints
    STARTED = 10  # * journey instances begun
    OPEN = 11  # stock: instances neither completed, failed nor abandoned
    COMPLETED = 12  # * completed
    ABANDONED = 13  # at the deadline; taken back by recovery, reopening and retraction
    RECOVERED = 14  # * completed after having been abandoned
    FAILED = 15  # * cancelled or failed
    FRICTION_INSTANCES = 16  # start: instances with at least one friction signal
    SUPPRESSED = 17  # * open instances ended by identity.linked
    CONTACTS = 20  # * customer-initiated contacts
    REPEAT_CONTACTS = 21  # * of these: same reason within the repeat window of another issue's resolution, or the issue reopened
    CONTACTS_TRANSFERRED = 22  # contact's start: contacts with at least one transfer
    TRANSFERS = 23  # * transfers between agents or teams
    COLD_TRANSFERS = 24  # * of these without context passed
    ISSUES = 30  # * issues begun
    ISSUES_SWITCHED = 31  # start: issues with at least one channel switch
    CHANNEL_SWITCHES = 32  # * customer-initiated contacts on another channel group than the one before
    WEB_TO_PHONE = 33  # * of these from self-service to phone
    ISSUES_EFFORT_MEDIUM = 34  # start: issues whose effort index is in the medium band
    ISSUES_EFFORT_HIGH = 35  # start: issues whose effort index is in the high band
    EFFORT_TENTHS = 36  # start: sum of effort indices, in tenths of a point
    EFFORT_TENTHS_SQUARED = 37  # start: sum of their squares
    CASES = 40  # * cases seen with an owner
    CASES_HANDED_OFF = 41  # start: cases with at least one handoff
    HANDOFFS = 42  # * changes between consecutive distinct owners
    CASES_PING_PONG = 43  # start: cases with at least one owner sequence A, B, A
    PING_PONGS = 44  # * owner sequences A, B, A


STOCKS: Final = frozenset({Counter.OPEN})

JOURNEY_DIMENSIONS: Final = ("journey", "channel", "segment", "persona", "product_category", "region", "platform")
CONTACT_DIMENSIONS: Final = ("journey", "channel", "segment", "persona", "product_category", "region", "platform", "team")
CASE_DIMENSIONS: Final = ("journey", "channel", "segment", "product_category", "region", "team", "partner")

# Which dimensions a counter's cells carry; the others are empty. A slice applies to a counter when it has all the slice's dimensions.
DIMENSIONS_OF: Final[dict[Counter, tuple[str, ...]]] = {
    counter: (JOURNEY_DIMENSIONS if counter < 20 else CONTACT_DIMENSIONS if counter < 40 else CASE_DIMENSIONS) for counter in Counter
}


class Metric(NamedTuple):
    """One metric: a function of counters.

    id: the name rules use. gauge: the Prometheus name. kind: `ratio` = k / n with a Wilson 95 % interval; `odds` = k / n without
    bound; `mean` = sum / n (then `squares` gives its standard error) divided by `scale`; `count` = sum in the window;
    `stock` = sum for ever. source: where the definition comes from, [H] if it is ours.
    """

    id: str
    gauge: str
    kind: Literal["ratio", "odds", "mean", "count", "stock"]
    numerator: tuple[Counter, ...]
    denominator: tuple[Counter, ...]
    formula: str
    leading: bool
    source: str
    squares: Counter | None = None
    scale: int = 1
    version: int = 1


C = Counter
METRICS: Final = (
    Metric(
        "abandon_rate",
        "cx_abandon_ratio",
        "ratio",
        (C.ABANDONED,),
        (C.ABANDONED, C.COMPLETED),
        "abandoned / (abandoned + completed), among instances whose deadline has passed or which completed",
        True,
        "B2; GA4's 30 min session default as deadline",
    ),
    Metric(
        "close_rate",
        "cx_close_ratio",
        "ratio",
        (C.COMPLETED,),
        (C.COMPLETED, C.ABANDONED, C.FAILED),
        "won / (won + lost), open excluded; lost = abandoned or failed",
        False,
        "B1",
    ),
    Metric("close_odds", "cx_close_odds", "odds", (C.COMPLETED,), (C.ABANDONED, C.FAILED), "won / lost", False, "B1, as odds"),
    Metric("journeys_started", "cx_journeys_started", "count", (C.STARTED,), (), "journey instances begun in the window", True, "J1"),
    Metric("journeys_open", "cx_journeys_open", "stock", (C.OPEN,), (), "instances open now", True, "B2"),
    Metric("journeys_completed", "cx_journeys_completed", "count", (C.COMPLETED,), (), "instances completed in the window", False, "B1"),
    Metric(
        "journeys_abandoned",
        "cx_journeys_abandoned",
        "count",
        (C.ABANDONED,),
        (),
        "deadlines passed in the window and not taken back",
        True,
        "B2",
    ),
    Metric(
        "journeys_recovered", "cx_journeys_recovered", "count", (C.RECOVERED,), (), "completed after abandonment, in the window", True, "B2"
    ),
    Metric(
        "friction_rate",
        "cx_friction_ratio",
        "ratio",
        (C.FRICTION_INSTANCES,),
        (C.STARTED,),
        "instances begun in the window with at least one friction signal / begun",
        True,
        "J4 [H]",
    ),
    Metric("touchpoints", "cx_touchpoints", "count", (C.TOUCHPOINTS,), (), "touchpoints in the window", True, "J1"),
    Metric("contacts", "cx_contacts", "count", (C.CONTACTS,), (), "customer-initiated contacts in the window", True, "E5"),
    Metric(
        "repeat_rate", "cx_repeat_contact_ratio", "ratio", (C.REPEAT_CONTACTS,), (C.CONTACTS,), "repeated contacts / contacts", True, "E5"
    ),
    Metric(
        "transfer_rate",
        "cx_transfer_ratio",
        "ratio",
        (C.CONTACTS_TRANSFERRED,),
        (C.CONTACTS,),
        "contacts with a transfer / contacts",
        True,
        "E4",
    ),
    Metric(
        "cold_transfer_share",
        "cx_cold_transfer_ratio",
        "ratio",
        (C.COLD_TRANSFERS,),
        (C.TRANSFERS,),
        "transfers without context / transfers",
        True,
        "E4",
    ),
    Metric(
        "switch_rate",
        "cx_channel_switch_ratio",
        "ratio",
        (C.ISSUES_SWITCHED,),
        (C.ISSUES,),
        "issues begun in the window with at least one channel switch / issues begun",
        True,
        "E1",
    ),
    Metric("channel_switches", "cx_channel_switches", "count", (C.CHANNEL_SWITCHES,), (), "channel switches in the window", True, "E1"),
    Metric(
        "web_to_phone",
        "cx_web_to_phone_switches",
        "count",
        (C.WEB_TO_PHONE,),
        (),
        "switches from self-service to phone in the window",
        True,
        "E1",
    ),
    Metric(
        "high_effort_rate",
        "cx_high_effort_ratio",
        "ratio",
        (C.ISSUES_EFFORT_HIGH,),
        (C.ISSUES,),
        "issues begun in the window with effort above the high band's bound / issues begun",
        True,
        "E7 [H]",
    ),
    Metric(
        "effort_mean",
        "cx_effort_points",
        "mean",
        (C.EFFORT_TENTHS,),
        (C.ISSUES,),
        "mean effort index of the issues begun in the window",
        True,
        "E7 [H]",
        C.EFFORT_TENTHS_SQUARED,
        10,
    ),
    Metric("cases", "cx_cases", "count", (C.CASES,), (), "cases begun in the window", True, "H2"),
    Metric("handoffs", "cx_handoffs", "count", (C.HANDOFFS,), (), "owner changes in the window", True, "H2"),
    Metric(
        "handoff_rate",
        "cx_handoff_ratio",
        "ratio",
        (C.CASES_HANDED_OFF,),
        (C.CASES,),
        "cases begun in the window that changed owner / cases begun",
        True,
        "H1",
    ),
    Metric(
        "ping_pong_rate",
        "cx_ping_pong_ratio",
        "ratio",
        (C.CASES_PING_PONG,),
        (C.CASES,),
        "cases begun in the window whose owners went A, B, A / cases begun",
        True,
        "H2",
    ),
)

METRIC_BY_ID: Final = {metric.id: metric for metric in METRICS}

# A window of the whole life of the counters, beside the rolling ones; what a recount of a finished history is compared with.
LIFETIME: Final = "lifetime"

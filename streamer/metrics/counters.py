"""The counters that the processors add up; every metric is a function of their sums in a window.

A counter change is `(counter, dimensions, pane) += n`; so partitions, windows and corrections just add. *Flow* counters are summed
over a window of event-time panes, *stock* counters for ever. A rate is attributed so that each member of its numerator is a
member of its denominator in the same pane: k <= n holds in every window.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

# Order is part of the wire format of deltas only through the names that travel with each batch.
DIMENSIONS: Final = (
    "journey", "channel", "stage", "step", "segment", "persona", "product_category", "team", "partner", "region", "platform",
    "previous_step", "cause",
)  # fmt: skip
# Not of the event itself: a chapter works them out. previous_step: the step before; cause: what went wrong, see the chapter `causes`.
DERIVED_DIMENSIONS: Final = ("previous_step", "cause")


class Counter(IntEnum):
    """What is counted. Numbers are wire format and below 256: never reuse one. Each chapter has a range of its own.

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
    # 50-89 commerce
    # 90-139 surveys
    NPS_EXPERIENCE_ANSWERS = 90  # * the customer's latest answer
    NPS_EXPERIENCE_PROMOTERS = 91  # * of these 9-10
    NPS_EXPERIENCE_DETRACTORS = 92  # * of these 0-6
    NPS_RELATIONSHIP_ANSWERS = 93  # * as above
    NPS_RELATIONSHIP_PROMOTERS = 94  # *
    NPS_RELATIONSHIP_DETRACTORS = 95  # *
    NPS_BENCHMARK_ANSWERS = 96  # * as above
    NPS_BENCHMARK_PROMOTERS = 97  # *
    NPS_BENCHMARK_DETRACTORS = 98  # *
    # 140-147 effort, 148-155 digital, 156-183 steps, 184-193 handoffs, 194-203 communication
    # 204-219 value
    PREFERENCES = 204  # * statements of what was wanted and what was received
    SACRIFICE_WEIGHTED = 205  # * sum of weight times distance, in millionths
    SACRIFICE_WEIGHT = 206  # * sum of weights, in thousandths
    SACRIFICE = 207  # * sum of distances, in thousandths
    SACRIFICE_SQUARED = 208  # * sum of their squares
    FUNCTIONAL_TOUCHPOINTS = 209  # * touchpoints tagged so
    PERSONAL_TOUCHPOINTS = 210  # * as above
    CATALYTIC_TOUCHPOINTS = 211  # * as above
    JOURNEYS = 212  # start: journey instances begun; carries the dimensions of journeys, like the next three
    FUNCTIONAL_JOURNEYS = 213  # start: of these with at least one touchpoint tagged so
    PERSONAL_JOURNEYS = 214  # start: as above
    CATALYTIC_JOURNEYS = 215  # start: as above
    GOALS = 216  # * goals set
    GOALS_PROGRESSED = 217  # pane of the goal's setting: of these with progress, or reached
    GOALS_REACHED = 218  # pane of the goal's setting: of these reached
    # 220-239 operations
    SHIPMENTS = 220  # * shipments seen for the first time
    SHIPMENTS_EXPEDITED = 221  # pane of the shipment's first event: of these expedited
    SHIPMENTS_EXPEDITED_CUSTOMER = 222  # the same: of the expedited, as the customer wanted
    SHIPMENTS_EXPEDITED_COMPANY = 223  # the same: of the expedited, as we wanted
    DUE_REQUESTED = 224  # pane of the due time: shipments whose requested time has passed
    ON_TIME_REQUESTED = 225  # the same: of these on time, however late it is told
    DUE_PROMISED = 226  # as above, of the time promised first
    ON_TIME_PROMISED = 227  # the same
    DUE_COMMITTED = 228  # as above, of the time committed to last
    ON_TIME_COMMITTED = 229  # the same
    PROACTIVE_CONTACTS = 230  # * contacts by a person of ours that the customer did not begin
    CUSTOMERS_CONTACTED = 231  # * each customer's latest of them
    INFORMATION = 232  # * messages that inform
    INFORMATION_OPENED = 233  # pane of the sending: of these opened
    CUSTOMERS_INFORMED = 234  # * each customer's latest of them
    # 240-249 causes


STOCKS: Final = frozenset({Counter.OPEN})

# The first numbers of the ranges, and the dimensions their counters carry.
JOURNEY_DIMENSIONS: Final = ("journey", "channel", "segment", "persona", "product_category", "region", "platform")
CONTACT_DIMENSIONS: Final = ("journey", "channel", "segment", "persona", "product_category", "region", "platform", "team")
CASE_DIMENSIONS: Final = ("journey", "channel", "segment", "product_category", "region", "team", "partner")

# Of the chapters that are not about journeys, contacts or cases alone: everything the event says.
EVENT_DIMENSIONS: Final = DIMENSIONS

FIRST_CONTACTS: Final = 20
FIRST_CASES: Final = 40
FIRST_CHAPTERS: Final = 50


def dimensions_of(counter: int) -> tuple[str, ...]:
    """Which dimensions a counter's cells carry; the others are empty. A slice applies if the counter has all of the slice's."""
    if counter < FIRST_CONTACTS:
        return JOURNEY_DIMENSIONS
    if counter < FIRST_CASES:
        return CONTACT_DIMENSIONS
    return CASE_DIMENSIONS if counter < FIRST_CHAPTERS else EVENT_DIMENSIONS


DIMENSIONS_OF: Final[dict[Counter, tuple[str, ...]]] = {counter: dimensions_of(counter) for counter in Counter}

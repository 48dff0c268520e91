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
    # 156-178 steps: of a journey instance; `step` the first time the instance came to the step
    STEPS_REACHED = 156  # step: instances that came to the step
    STEPS_ABANDONED = 157  # step: of these abandoned on it; taken back by recovery, reopening and retraction
    STEPS_FRICTION = 158  # step: of these with at least one friction signal while on it
    JOURNEYS_WALKED = 159  # start: instances begun
    JOURNEY_TOUCHPOINTS = 160  # start: their events
    JOURNEY_TOUCHPOINTS_SQUARED = 161  # start: sum of the squares per instance
    JOURNEYS_WITH_STEPS = 162  # start: instances begun of journeys whose definition names their steps
    JOURNEY_PROGRESS = 163  # start: their progress in thousandths
    JOURNEY_PROGRESS_SQUARED = 164  # start: sum of the squares per instance
    STEP_TRANSITIONS = 165  # * goings from one step (`previous_step`) to another (`step`)
    STEP_STALLS = 166  # at the deadline: instances that have stayed open on one step for too long
    STEP_TIME_10S = 167  # at the end of the stay: stays on a step of up to 10 s
    STEP_TIME_30S = 168  # as above, and so on
    STEP_TIME_1M = 169
    STEP_TIME_2M = 170
    STEP_TIME_5M = 171
    STEP_TIME_10M = 172
    STEP_TIME_30M = 173
    STEP_TIME_1H = 174
    STEP_TIME_6H = 175
    STEP_TIME_1D = 176
    STEP_TIME_7D = 177
    STEP_TIME_LONGER = 178
    # 179-193 handoffs: `*` at the initiation
    HANDOFF_TIME_30S = 179  # at the acceptance: handoffs accepted within 30 s
    HANDOFF_TIME_1M = 180  # as above, and so on
    HANDOFF_TIME_2M = 181
    HANDOFF_TIME_5M = 182
    HANDOFF_TIME_15M = 183
    HANDOFFS_INITIATED = 184  # *
    HANDOFFS_FAILED = 185  # * of these not accepted in time, rejected, or initiated again before
    HANDOFFS_COLD = 186  # * of these without context
    HANDOFFS_REQUIRING = 187  # * of these that say which context they need
    HANDOFFS_COMPLETE = 188  # * of these with all of it
    HANDOFF_TIME_1H = 189
    HANDOFF_TIME_4H = 190
    HANDOFF_TIME_1D = 191
    HANDOFF_TIME_3D = 192
    HANDOFF_TIME_LONGER = 193
    # 194-203 communication
    CASES_TO_ANSWER = 194  # * cases opened
    CASES_SILENT = 195  # start: of these that have been silent for too long at least once
    SILENCES = 196  # at the deadline: a case has been silent for too long
    CONTACTS_ASKING = 197  # * contacts by which a customer asks for something
    CONTACTS_ABOUT_STATUS = 198  # * of these about how things stand
    CASES_UNOWNED = 199  # start: cases that had no owner for too long
    OWNER_CHANGES = 200  # * another owner of an open case
    OWNER_CHANGES_UNTOLD = 201  # * of these not told to the customer in time
    # 240-249 causes
    CAUSES = 240  # * friction signals with their `cause`
    CAUSE_CUSTOMERS_HOUR = 241  # stock: customers with the cause within the last hour; leave by a timer
    CAUSE_CUSTOMERS_DAY = 242  # stock: the same within the last day
    # 140-147 effort, 148-155 digital, 204-219 value, 220-239 operations


STOCKS: Final = frozenset({Counter.OPEN, Counter.CAUSE_CUSTOMERS_HOUR, Counter.CAUSE_CUSTOMERS_DAY})

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

"""The counters that the processors add up; every metric is a function of their sums in a window.

A counter change is `(counter, dimensions, pane) += n`; so partitions, windows and corrections just add. *Flow* counters are summed
over a window of event-time panes, *stock* counters for ever. A rate is attributed so that each member of its numerator is a
member of its denominator in the same pane: k <= n holds in every window.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

# Order is part of the wire format of deltas only through the names that travel with each batch.
DIMENSIONS: Final = (
    "journey", "channel", "stage", "step", "segment", "persona", "product_category", "team", "partner", "region", "platform",
    "previous_step", "cause",
)  # fmt: skip
# Not of the event itself: a chapter works them out. previous_step: the step before; cause: what went wrong, see the chapter `causes`.
DERIVED_DIMENSIONS: Final = ("previous_step", "cause")
# Beside those: whose company a customer is of. Rules on accounts look at it, and nothing else: it is customer data, so no slice of a file
# is by it and no gauge has it. Every counter has it, if the event has.
ACCOUNT: Final = "account"
CELL_DIMENSIONS: Final = (*DIMENSIONS, ACCOUNT)


@unique
class Counter(IntEnum):
    """What is counted. Numbers are wire format and below 1,024: never reuse one. Each chapter has a range of its own.

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
    SUPPRESSED = 17  # * open instances ended by identity.linked, or because the definitions no longer have their journey
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
    # 50-89 and 250-255 commerce, browsing and wallet. `order`: at the order, where a cancel takes it back; all in hundredths of the
    # reporting currency's unit, of the orders in that currency and not above the largest: those of at most one category, and the others.
    ORDERS_PLAIN = 50  # order: orders of at most one category
    ORDERS_CROSS_SOLD = 51  # order: orders of at least two categories
    REVENUE_PLAIN = 52  # order: hundredths
    REVENUE_CROSS_SOLD = 53  # order: hundredths
    SQUARES_PLAIN = 54  # order: squares of the amounts, in whole units squared
    SQUARES_CROSS_SOLD = 55  # order: as above
    UNITS_ORDERED = 56  # order: sum of quantities
    ORDERS_APART = 57  # order: orders in another currency, without an amount, or above the largest
    ORDERS_CANCELLED = 58  # order: known orders cancelled later
    REFUNDED = 59  # * refunds in hundredths, negative; with a cancel of their order taken back
    ORDER_SIZE_5 = 60  # order: orders of up to 5 units of the currency
    ORDER_SIZE_10 = 61  # order: of more than that and up to 10, and so on
    ORDER_SIZE_20 = 62
    ORDER_SIZE_50 = 63
    ORDER_SIZE_100 = 64
    ORDER_SIZE_200 = 65
    ORDER_SIZE_500 = 66
    ORDER_SIZE_1000 = 67
    ORDER_SIZE_2000 = 68
    ORDER_SIZE_5000 = 69
    ORDER_SIZE_10000 = 70
    ORDER_SIZE_ABOVE = 71  # order: of more than 10000
    UPGRADES_SHOWN = 72  # * offers of an upgrade
    UPGRADES_ACCEPTED = 73  # at the offer: of these accepted
    ATTACH_BASES = 74  # order: orders with a category that others are attached to, once for each such category
    ATTACHED = 75  # order: of these with one of the categories attached to it
    ORDERS_REPEATED = 76  # order: orders of customers who had ordered before
    REFERRAL_ORDERS = 77  # order: orders by referral
    REFERRALS_SENT = 78  # * referrals sent
    REFERRALS_CONVERTED = 79  # * referrals converted
    PRICE_PREMIUM = 80  # order: paid less list prices, of the lines that tell both, in hundredths
    PRICE_REFERENCE = 81  # order: list prices of these lines, in hundredths
    SECOND_ORDERS_DUE = 82  # at the horizon: customers' first orders whose horizon is over
    SECOND_ORDERS = 83  # at the horizon: of these followed by another order within it
    THIRD_ORDERS_DUE = 84  # as above, of second orders
    THIRD_ORDERS = 85
    FOURTH_ORDERS_DUE = 86  # as above, of third orders
    FOURTH_ORDERS = 87
    SESSIONS_BROWSED = 88  # at the session's end: sessions with a product viewed
    SESSIONS_HESITATED = 89  # at the session's end: of these with much looked at, and nothing put into the cart
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
    # CSAT: every answer counts, of its scope.
    CSAT_EXPERIENCE_ANSWERS = 99  # * answers on any scale
    CSAT_EXPERIENCE_SATISFIED = 100  # * of these satisfied: 4 or 5 of 1-5, `satisfied_share` of another scale
    CSAT_EXPERIENCE_RATED = 101  # * of these on 1-5
    CSAT_EXPERIENCE_POINTS = 102  # * sum of the scores on 1-5, in hundredths
    CSAT_EXPERIENCE_POINTS_SQUARED = 103  # * sum of their squares
    CSAT_RELATIONSHIP_ANSWERS = 104  # * as above
    CSAT_RELATIONSHIP_SATISFIED = 105  # *
    CSAT_RELATIONSHIP_RATED = 106  # *
    CSAT_RELATIONSHIP_POINTS = 107  # *
    CSAT_RELATIONSHIP_POINTS_SQUARED = 108  # *
    CSAT_BENCHMARK_ANSWERS = 109  # * as above
    CSAT_BENCHMARK_SATISFIED = 110  # *
    CSAT_BENCHMARK_RATED = 111  # *
    CSAT_BENCHMARK_POINTS = 112  # *
    CSAT_BENCHMARK_POINTS_SQUARED = 113  # *
    # CES 2.0 (1-7, high is good): every answer counts, of its scope.
    CES_EXPERIENCE_ANSWERS = 114  # * answers
    CES_EXPERIENCE_AGREED = 115  # * of these 5 or more
    CES_EXPERIENCE_POINTS = 116  # * sum of the scores, in hundredths
    CES_EXPERIENCE_POINTS_SQUARED = 117  # * sum of their squares
    CES_RELATIONSHIP_ANSWERS = 118  # * as above
    CES_RELATIONSHIP_AGREED = 119  # *
    CES_RELATIONSHIP_POINTS = 120  # *
    CES_RELATIONSHIP_POINTS_SQUARED = 121  # *
    CES_BENCHMARK_ANSWERS = 122  # * as above
    CES_BENCHMARK_AGREED = 123  # *
    CES_BENCHMARK_POINTS = 124  # *
    CES_BENCHMARK_POINTS_SQUARED = 125  # *
    # CES 1.0 (1-5, low is good).
    CES1_EXPERIENCE_ANSWERS = 126  # * answers
    CES1_EXPERIENCE_EASY = 127  # * of these 2 or less
    CES1_EXPERIENCE_POINTS = 128  # * sum of the scores, in hundredths
    CES1_RELATIONSHIP_ANSWERS = 129  # * as above
    CES1_RELATIONSHIP_EASY = 130  # *
    CES1_RELATIONSHIP_POINTS = 131  # *
    CES1_BENCHMARK_ANSWERS = 132  # * as above
    CES1_BENCHMARK_EASY = 133  # *
    CES1_BENCHMARK_POINTS = 134  # *
    LOYALTY_ANSWERS = 135  # * answers to a question of the loyalty index
    LOYALTY_POINTS = 136  # * sum of the answers rescaled to 0-100, in hundredths
    LOYALTY_POINTS_SQUARED = 137  # * sum of their squares
    INVITATIONS = 138  # * invitations to a survey
    INVITATIONS_ANSWERED = 139  # invitation: of these answered
    # 140-147 service
    CONTACTS_INFORMED = 140  # contact's start: contacts with a contact or a transfer before or in them, so that something is known
    CONTACTS_REPEATING = 141  # contact's start: of these with information asked for again
    CONTACTS_HANDLED = 142  # * contacts handled
    CONTACTS_GENERIC = 143  # handling: of these not using what is known of the customer
    CONTACTS_RESPONSE_DUE = 144  # when that is certain: contacts answered in time, or not by the deadline
    CONTACTS_ANSWERED_IN_TIME = 145  # at the response: of these answered in time
    CONTACTS_RESOLUTION_DUE = 146  # when that is certain: contacts resolved in time, or not by the deadline
    CONTACTS_RESOLVED_IN_TIME = 147  # at the resolution: of these resolved in time
    # 148-155 digital
    DIGITAL_SESSIONS = 148  # session's start: sessions begun
    SESSIONS_RAGE_CLICK = 149  # session's start: of these with a rage click
    SESSIONS_ERROR_LOOP = 150  # session's start: of these with one error again and again
    SESSIONS_PAGE_LOOP = 151  # session's start: of these with one page again and again
    SESSIONS_STEP_PING_PONG = 152  # session's start: of these with steps to and fro
    SESSIONS_FIELD_TROUBLE = 153  # session's start: of these with errors in one field again and again
    SESSIONS_CONFUSED = 154  # session's start: of these with any sign of confusing or missing instructions
    DIGITAL_SIGNALS = 155  # * signals of whatever kind, which is the dimension `cause`
    # 156-178 steps: of a journey instance; `step` the first time the instance came to the step
    STEPS_REACHED = 156  # step: instances that came to the step
    STEPS_ABANDONED = 157  # at the deadline: instances abandoned on the step; taken back by recovery, reopening and retraction
    STEPS_FRICTION = 158  # step: of those that came to it with at least one friction signal while on it
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
    HANDOFFS_FAILED = 185  # when that is certain: not accepted in time, rejected, or initiated again before
    HANDOFFS_COLD = 186  # * of those initiated without context
    HANDOFFS_REQUIRING = 187  # * of those initiated that say which context they need
    HANDOFFS_COMPLETE = 188  # * of these with all of it
    HANDOFF_TIME_1H = 189
    HANDOFF_TIME_4H = 190
    HANDOFF_TIME_1D = 191
    HANDOFF_TIME_3D = 192
    HANDOFF_TIME_LONGER = 193
    # 194-203 communication
    CASES_ANSWER_DUE = 194  # when that is certain: cases that fell silent for the first time, or were closed without ever having
    CASES_SILENT = 195  # the same: of these that fell silent
    SILENCES = 196  # at the deadline: a case has been silent for too long
    CONTACTS_ASKING = 197  # * contacts by which a customer asks for something
    CONTACTS_ABOUT_STATUS = 198  # * of these about how things stand
    CASES_UNOWNED = 199  # at the deadline: cases that have had no owner for too long
    OWNER_CHANGES_DUE = 200  # when that is certain: changes of owner of an open case that were told in time, or not
    OWNER_CHANGES_UNTOLD = 201  # the same: of these not told to the customer in time
    DUE_DATES = 202  # at the due date, or at the end of the case before it: due dates of cases
    DUE_DATES_MISSED = 203  # at the due date: of these without anything done by the owner since the date was told
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
    # `order`, with the level as `cause`: once for each level of value on which a journey of the order has been touched
    LEVEL_ORDERS = 219  # order: orders
    LEVEL_REFERRAL_ORDERS = 237  # order: of these by referral
    LEVEL_PRICE_PREMIUM = 238  # order: their PRICE_PREMIUM
    LEVEL_PRICE_REFERENCE = 239  # order: their PRICE_REFERENCE
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
    # 235-236 contracts
    CONTRACTS_DUE = 235  # pane in which the grace ends: due dates that are decided
    CONTRACTS_RENEWED = 236  # the same: of these renewed
    # 240-249 causes
    CAUSES = 240  # * friction signals with their `cause`
    CAUSE_CUSTOMERS_HOUR = 241  # stock: customers with the cause within the last hour; leave by a timer
    CAUSE_CUSTOMERS_DAY = 242  # stock: the same within the last day
    # 243-245 commerce again
    CUSTOMERS_SLIPPED = 243  # at the deadline: customers whose latest order is twice their usual gap ago
    CUSTOMERS_ORDERED = 244  # order: each customer's latest order
    CUSTOMERS_REPEATED = 245  # order: of these not long after the one before
    WALLETS_DECLARED = 250  # * customers' latest declarations of what they spend with us and with others
    WALLET_DECLARED = 251  # * sum of our shares in them, in ten-thousandths
    WALLET_DECLARED_SQUARES = 252  # * sum of their squares
    WALLETS_RANKED = 253  # * customers' latest ranks of us among the brands they use
    WALLET_RANKED = 254  # * sum of our shares by the Wallet Allocation Rule, in ten-thousandths
    WALLET_RANKED_SQUARES = 255  # * sum of their squares
    # 256-291 service again
    FIRST_RESPONSE_30S = 256  # at the response: contacts answered within 30 s
    FIRST_RESPONSE_1M = 257  # as above, and so on
    FIRST_RESPONSE_2M = 258
    FIRST_RESPONSE_5M = 259
    FIRST_RESPONSE_10M = 260
    FIRST_RESPONSE_15M = 261
    FIRST_RESPONSE_30M = 262
    FIRST_RESPONSE_1H = 263
    FIRST_RESPONSE_4H = 264
    FIRST_RESPONSE_1D = 265
    FIRST_RESPONSE_3D = 266
    FIRST_RESPONSE_LONGER = 267
    RESOLUTION_5M = 268  # at the resolution: contacts resolved within 5 min
    RESOLUTION_15M = 269  # as above, and so on
    RESOLUTION_30M = 270
    RESOLUTION_1H = 271
    RESOLUTION_2H = 272
    RESOLUTION_4H = 273
    RESOLUTION_8H = 274
    RESOLUTION_1D = 275
    RESOLUTION_2D = 276
    RESOLUTION_3D = 277
    RESOLUTION_7D = 278
    RESOLUTION_14D = 279
    RESOLUTION_LONGER = 280
    QUEUE_WAIT_10S = 281  # * contacts that tell how long they waited in a queue: up to 10 s
    QUEUE_WAIT_20S = 282  # as above, and so on
    QUEUE_WAIT_30S = 283
    QUEUE_WAIT_1M = 284
    QUEUE_WAIT_2M = 285
    QUEUE_WAIT_5M = 286
    QUEUE_WAIT_10M = 287
    QUEUE_WAIT_20M = 288
    QUEUE_WAIT_30M = 289
    QUEUE_WAIT_1H = 290
    QUEUE_WAIT_LONGER = 291
    # 292-293 communication and handoffs again
    CASES_OWNER_DUE = 292  # when that is certain: cases that had an owner in time, were closed before, or had none for too long
    HANDOFFS_DECIDED = 293  # when that is certain: handoffs accepted in time, or failed
    # 294-297 service again
    RESOLUTIONS = 294  # * what a contact or case ended about, resolved or not, once until the customer comes back about it
    RESOLUTIONS_STANDING = 295  # that end: of these, what was resolved and he has not come back about; taken back if he does
    FIRST_CONTACTS_DUE = 296  # `repeat_within` after the end: what ended
    FIRST_CONTACTS_RESOLVED = 297  # the same: of these, what was resolved and he has not come back about by then
    # 298-299 commerce again
    CUSTOMERS_PERIODS = 298  # end of the customer's next period: those of his periods in which he has ordered
    CUSTOMERS_RETAINED = 299  # the same: of these, after which he has ordered in the next one, too


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

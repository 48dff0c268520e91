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


@unique
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
    # 140-147 effort, 148-155 digital, 156-183 steps, 184-193 handoffs, 194-203 communication, 204-219 value, 220-239 operations,
    # 240-249 causes
    WALLETS_DECLARED = 250  # * customers' latest declarations of what they spend with us and with others
    WALLET_DECLARED = 251  # * sum of our shares in them, in ten-thousandths
    WALLET_DECLARED_SQUARES = 252  # * sum of their squares
    WALLETS_RANKED = 253  # * customers' latest ranks of us among the brands they use
    WALLET_RANKED = 254  # * sum of our shares by the Wallet Allocation Rule, in ten-thousandths
    WALLET_RANKED_SQUARES = 255  # * sum of their squares


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

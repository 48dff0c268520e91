"""The chapters of the catalogue in the definitions file: a chapter is on if its table is there, even an empty one.

What is not written has the value given here; [H] marks a house default where the field has no standard.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streamer.durations import Duration, Part

Times = Annotated[int, msgspec.Meta(ge=2, le=20)]

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]

_SECOND: int = 1_000
_MINUTE: int = 60 * _SECOND
_HOUR: int = 60 * _MINUTE
_DAY: int = 24 * _HOUR


class Surveys(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers to surveys (S0-S4).

    attribute_to: an answer that names no journey is about the last touchpoint of these types, no older than attribute_within [H].
    latest_within: of a customer's NPS answers of one scope only the latest of so long counts, and rules see an answer for so long.
    invitation_within: an answer later than this answers no invitation [H]. satisfied_share: an answer on another scale than 1-5 is
    satisfied from this share of the scale upwards, in at most three digits; 0.75 is 4 of 1-5. loyalty_questions: the question_id of
    the items of the loyalty index; loyalty_scope: of the surveys that ask them [H].
    """

    attribute_to: tuple[str, ...] = ("order.completed", "contact.*", "case.*", "shipment.delivered", "journey.completed")
    attribute_within: Duration = Duration(72 * _HOUR)
    latest_within: Duration = Duration(28 * _DAY)
    invitation_within: Duration = Duration(28 * _DAY)
    satisfied_share: float = 0.75
    loyalty_questions: tuple[str, ...] = ("satisfaction", "repurchase", "recommend")
    loyalty_scope: Literal["experience", "relationship", "benchmark"] = "relationship"

    def __post_init__(self) -> None:
        if not 0 < self.satisfied_share <= 1 or round(self.satisfied_share, 3) != self.satisfied_share:
            raise ValueError(f"satisfied_share is a share of the scale with at most three digits, got {self.satisfied_share}")


class Service(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Effort in service beside the switches, transfers and repetitions of [contacts] (E2, E3, E6).

    handed_over: types that move an issue to other people, beside `contacts.transferred`. template_within: a template followed by
    another contact within this was no help. responded: types that answer a waiting customer, unless a machine sent them.
    response_within, resolution_within: what a contact is measured against [H].
    """

    handed_over: tuple[str, ...] = ("handoff.accepted",)
    template_within: Duration = Duration(24 * _HOUR)
    responded: tuple[str, ...] = ("contact.handled", "contact.started", "message.sent")
    response_within: Duration = Duration(15 * _MINUTE)
    resolution_within: Duration = Duration(24 * _HOUR)


class Digital(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frustration at a screen (section 2 and H4): what clients send as `friction.signal`, and what raw events show.

    session_gap: a session ends so long after its last event. activity: types that belong to a session beside those looked for.
    Each kind is `times` within a span, counted once per burst: clicks on one element, errors of one code, views of one page, errors of
    one field [H]. step_returns: returns in a row to the step before the last. help_pages: what a help page's name begins with;
    help_within: a contact on its topic within this is a sign that it did not help. ignore_elements: words in the id of an element
    whose clicks mean nothing [H]; ignore_kinds: signals not counted.
    """

    session_gap: Duration = Duration(30 * _MINUTE)
    activity: tuple[str, ...] = ("product.*", "cart.*", "checkout.*", "payment.*")
    rage_clicks: Times = 3
    rage_within: Duration = Duration(_SECOND)
    loop_errors: Times = 3
    error_within: Duration = Duration(60 * _SECOND)
    loop_pages: Times = 3
    page_within: Duration = Duration(15 * _SECOND)
    field_errors: Times = 3
    field_within: Duration = Duration(10 * _MINUTE)
    step_returns: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    help_pages: tuple[str, ...] = ("help", "faq", "support")
    help_within: Duration = Duration(30 * _MINUTE)
    ignore_elements: tuple[str, ...] = ("stepper", "pagination", "pager", "toggle", "carousel", "slider")
    ignore_kinds: tuple[str, ...] = ()


class Steps(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where on the way (B2 per step, J1-J4). The names of a journey's steps, and a `stall_after` of its own, stand in [[journey]].

    stall_after: an open instance that is longer than this in one step has stalled [H]. steps_per_instance: beyond, new steps of an
    instance are not looked at.
    """

    stall_after: Duration = Duration(_HOUR)
    steps_per_instance: AtLeastOne = 50


class Handoffs(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Handing a customer over (H1, H3).

    accept_within: a handoff not accepted by then has failed; partner_accept_within: the same if a partner is named (a day for the
    catalogue's business day). forget_after: an answer later than this after that moment is not looked at any more [H].
    """

    accept_within: Duration = Duration(15 * _MINUTE)
    partner_accept_within: Duration = Duration(_DAY)
    forget_after: Duration = Duration(7 * _DAY)


class Communication(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Silence, questions about the state of things, and cases that nobody answers for (H5, H6).

    opened, closed: types that open and close a case; messages: types by which the customer hears from us. silent_after,
    silent_after_high: a case without such a message for longer is silent, the latter of severity `high`. status_reasons: reasons of
    contacts that ask how things stand. owner_within: a case without an owner for longer has nobody responsible. notice_within: a new
    owner is told to the customer by then [H]. forget_after: an open case without any event for longer is not looked at any more [H].
    """

    opened: tuple[str, ...] = ("case.opened", "case.reopened")
    closed: tuple[str, ...] = ("case.resolved", "case.closed")
    messages: tuple[str, ...] = ("message.sent",)
    silent_after: Duration = Duration(_DAY)
    silent_after_high: Duration = Duration(2 * _HOUR)
    status_reasons: tuple[str, ...] = ("status",)
    owner_within: Duration = Duration(30 * _MINUTE)
    notice_within: Duration = Duration(_DAY)
    forget_after: Duration = Duration(90 * _DAY)


class Causes(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong again and again (J5).

    types: events that have a cause. causes_per_customer: beyond, the one that is longest ago makes room.
    """

    types: tuple[str, ...] = ("payment.failed", "form.error", "friction.signal")
    causes_per_customer: AtLeastOne = 50


class Commerce(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders, offers and referrals (B3, B4, B6, B9, B10, F1, F2).

    currency: the reporting currency; orders in others are counted apart, and not summed [H]. largest_order: in its units; larger orders
    are counted apart, so that no sum can overflow [H]. margin_share: what of the revenue is margin [H]. horizon: a customer has come back
    if the next order comes within it [H]. correct_within: an order can be cancelled for so long [H]. customer_for: after so long without
    an order a customer is a new one [H]. repeat_within: who orders again within it is a repeat customer. retention_period: of a
    customer's time from his first order on [H]. offer_within: an offer can be accepted for so long [H]. attach: base category -> the
    categories that are attached to it.
    """

    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "EUR"
    largest_order: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 1_000_000
    margin_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    horizon: Duration = Duration(30 * _DAY)
    correct_within: Duration = Duration(90 * _DAY)
    customer_for: Duration = Duration(730 * _DAY)
    repeat_within: Duration = Duration(365 * _DAY)
    retention_period: Duration = Duration(90 * _DAY)
    offer_within: Duration = Duration(7 * _DAY)
    orders_per_customer: Annotated[int, msgspec.Meta(ge=1)] = 50
    offers_per_customer: Annotated[int, msgspec.Meta(ge=1)] = 50
    attach: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        # An order is kept for `correct_within`, and what is known of a customer must not be forgotten before.
        if not 0 < self.horizon <= self.correct_within <= self.customer_for or not (self.offer_within and self.retention_period):
            raise ValueError("commerce: needs 0 < horizon <= correct_within <= customer_for, and offer_within and retention_period above 0")


class Browsing(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sessions of product views and carts (B8) [H].

    gap: a session ends so long after its last event. views, dwell: a session hesitates from so many products viewed, or from so long
    between its first and last event, if nothing was put into the cart.
    """

    gap: Duration = Duration(_HOUR // 2)
    views: Annotated[int, msgspec.Meta(ge=1)] = 5
    dwell: Duration = Duration(_HOUR // 6)
    sessions_per_customer: Annotated[int, msgspec.Meta(ge=1)] = 20

    def __post_init__(self) -> None:
        if not self.gap:
            raise ValueError("browsing: gap must be above 0")


class Wallet(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Share of wallet (B5). latest_within: of a customer's answers of one kind only the latest of so long counts [H]."""

    latest_within: Duration = Duration(90 * _DAY)


class Operations(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was promised, shipped and said without being asked (O1-O4).

    on_time: what must happen by the target. target: which one `overdue_shipments` looks at. keep_for: a shipment or an order is forgotten
    so long after its last event, and a target farther away from the event that tells it is none [H]. cadence: how often a customer is to
    hear from a person of ours; after one and a half times as long `contact_overdue` holds, until the contact is forgotten after `keep_for`.
    per_customer: numbers per customer count each customer once in so long; windows beyond it count some twice. opened_within: an opening
    counts for a message no older [H]. shipments_per_customer, messages_per_customer: beyond, the oldest goes and is counted.
    """

    on_time: Literal["delivered", "shipped"] = "delivered"
    target: Literal["requested", "promised", "committed"] = "promised"
    keep_for: Duration = Duration(90 * _DAY)
    cadence: Duration = Duration(30 * _DAY)
    per_customer: Duration = Duration(30 * _DAY)
    opened_within: Duration = Duration(30 * _DAY)
    shipments_per_customer: AtLeastOne = 50
    messages_per_customer: AtLeastOne = 50

    def __post_init__(self) -> None:
        if self.keep_for <= max(self.per_customer, self.cadence * 3 // 2):
            raise ValueError("operations: keep_for must be longer than per_customer and than one and a half times cadence")


class Value(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What customers wanted and what they settled for (C1), which value a touchpoint has (V1-V3), and goals.

    sacrifice_within: the customer's own index is of what was stated no longer ago [H]. goal_within: a goal is forgotten so long after its
    last event [H]. preferences_per_customer, goals_per_customer: beyond, the oldest goes and is counted.
    """

    sacrifice_within: Duration = Duration(90 * _DAY)
    goal_within: Duration = Duration(90 * _DAY)
    preferences_per_customer: AtLeastOne = 50
    goals_per_customer: AtLeastOne = 20


class Contracts(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Renewals (B7). grace: a contract can still be renewed so long after its due date [H]. ahead: a due date farther away is none [H].
    early: one that is renewed before its due date has been told is, if that is no later than so long after the renewal [H]. due_soon:
    `contracts_due_soon` counts a contract from so long before its due date on [H].
    """

    grace: Duration = Duration(30 * _DAY)
    ahead: Duration = Duration(400 * _DAY)
    early: Duration = Duration(30 * _DAY)
    due_soon: Duration = Duration(30 * _DAY)
    contracts_per_customer: AtLeastOne = 50

    def __post_init__(self) -> None:
        if not self.grace or not self.ahead:
            raise ValueError("contracts: grace and ahead must be above 0")

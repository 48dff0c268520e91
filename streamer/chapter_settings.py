"""The chapters of the catalogue in the definitions file: a chapter is on if its table is there, even an empty one.

What is not written has the value given here; [H] marks a house default where the field has no standard.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from streamer.durations import Duration, Part

_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]

_MINUTE: int = 60_000
_HOUR: int = 60 * _MINUTE
_DAY: int = 24 * _HOUR


class Surveys(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers to surveys (S0-S4).

    attribute_within: an answer that names nothing belongs to the last touchpoint no older than this [H]. latest_within: of a customer's
    answers to one instrument and scope only the latest of so long counts. satisfied_share: an answer on another scale than 1-5 is
    satisfied from this share of the scale upwards; 0.75 is 4 of 1-5.
    """

    attribute_within: Duration = Duration(72 * _HOUR)
    latest_within: Duration = Duration(28 * _DAY)
    satisfied_share: float = 0.75


class Steps(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where on the way (B2 per step, J1-J4). The names of a journey's steps, and a `stall_after` of its own, stand in [[journey]].

    stall_after: an open instance that is longer than this in one step has stalled [H]. steps_per_instance: beyond, new steps of an
    instance are not looked at.
    """

    stall_after: Duration = Duration(_HOUR)
    steps_per_instance: _AtLeastOne = 50


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
    causes_per_customer: _AtLeastOne = 50

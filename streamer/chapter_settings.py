"""The chapters of the catalogue in the definitions file: a chapter is on if its table is there, even an empty one.

What is not written has the value given here; [H] marks a house default where the field has no standard.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streamer.durations import Duration, Part

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]

_HOUR: int = 3_600_000
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


class Operations(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was promised, shipped and said without being asked (O1-O4).

    on_time: what must happen by the target. target: which one `overdue_shipments` looks at. keep_for: a shipment is forgotten so long
    after its last event, and a target farther away from the event that tells it is none [H]. cadence: how often a customer is to hear from
    a person of ours; after one and a half times as long `contact_overdue` holds, until the contact is forgotten after `keep_for`.
    per_customer: numbers per customer count each customer once in so long; windows beyond it count some twice. opened_within: an
    opening counts for a message no older [H]. shipments_per_customer, messages_per_customer: beyond, the oldest goes and is counted.
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

"""The chapters of the catalogue in the definitions file: a chapter is on if its table is there, even an empty one.

What is not written has the value given here; [H] marks a house default where the field has no standard.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from streamer.durations import Duration, Part

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


class Commerce(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders, offers and referrals (B3, B4, B6, B9, B10, F1, F2).

    currency: the reporting currency; orders in others are counted apart, and not summed [H]. largest_order: in its units; larger orders
    are counted apart, so that no sum can overflow [H]. margin_share: what of the revenue is margin [H]. horizon: a customer has come back
    if the next order comes within it [H]. correct_within: an order can be cancelled for so long [H]. customer_for: after so long without
    an order a customer is a new one [H]. offer_within: an offer can be accepted for so long [H]. attach: base category -> the categories
    that are attached to it.
    """

    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "EUR"
    largest_order: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 1_000_000
    margin_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    horizon: Duration = Duration(30 * _DAY)
    correct_within: Duration = Duration(90 * _DAY)
    customer_for: Duration = Duration(730 * _DAY)
    offer_within: Duration = Duration(7 * _DAY)
    orders_per_customer: Annotated[int, msgspec.Meta(ge=1)] = 50
    offers_per_customer: Annotated[int, msgspec.Meta(ge=1)] = 50
    attach: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        # An order is kept for `correct_within`, and what is known of a customer must not be forgotten before.
        if not 0 < self.horizon <= self.correct_within <= self.customer_for or not self.offer_within:
            raise ValueError("commerce: needs 0 < horizon <= correct_within <= customer_for, and offer_within above 0")


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

"""What only some types of event carry: survey answers, order lines, promises, offers. Flat and typed, money in minor units.

Kept with a retained event, so that it is bounded: long lists are cut, texts clipped (`decode_details.py`).
"""

from __future__ import annotations

from typing import Final

import msgspec

# Scores, weights and distances are decimal numbers: hundredths and thousandths keep them exact.
SCORE_DIGITS: Final = 2
SHARE_DIGITS: Final = 3


class OrderLine(msgspec.Struct, array_like=True, gc=False):
    """price_minor, list_price_minor: of one unit; None if not told."""

    category: str
    tier: str
    added_via: str
    price_minor: int | None
    list_price_minor: int | None
    quantity: int


class Details(msgspec.Struct, omit_defaults=True, gc=False):
    """Fields by what they are about; an empty text or None is absent. Scores in hundredths, shares in thousandths, moments in
    milliseconds since the epoch.
    """

    # surveys
    instrument: str = ""
    ces_version: str = ""
    scope: str = ""
    question: str = ""
    score: int | None = None
    scale_min: int | None = None
    scale_max: int | None = None
    brands: int | None = None
    rank: int | None = None
    # orders
    lines: list[OrderLine] = []
    acquisition_source: str = ""
    own_minor: int | None = None
    competitors_minor: int | None = None
    offer_id: str = ""
    offer_kind: str = ""
    contract_id: str = ""
    due_ms: int | None = None
    # shipments
    shipment_id: str = ""
    requested_ms: int | None = None
    promised_ms: int | None = None
    committed_ms: int | None = None
    shipped_ms: int | None = None
    delivered_ms: int | None = None
    service: str = ""
    requested_by: str = ""
    # contacts, handoffs, messages
    profile_viewed: bool | None = None
    template_id: str = ""
    bot_fallbacks: int = 0
    personalised: bool | None = None
    tag: str = ""
    context_complete: bool | None = None  # of a handoff: whether everything required went along
    info_field: str = ""
    message_kind: str = ""
    human: bool | None = None
    opened: bool | None = None
    # pages and preferences
    page: str = ""
    element_id: str = ""
    results: int | None = None
    attribute: str = ""
    distance: int | None = None
    weight: int | None = None
    # what a survey is about
    about_journey_id: str = ""
    about_case_id: str = ""
    about_order_id: str = ""
    message_id: str = ""
    goal_id: str = ""
    wait_ms: int | None = None  # of a contact: in a queue

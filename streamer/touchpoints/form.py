"""The wire forms of an event as msgspec structures: only the fields in use, everything else is skipped undecoded.

`null` means absent. Groups and fields are those of the domain catalogue 4.2.
"""

from __future__ import annotations

import msgspec

ABSENT = msgspec.Raw(b"")  # msgspec puts this very object where the field is missing


class Issue(msgspec.Struct, gc=False):
    """What a contact is about."""

    issue_id: str | None = None
    case_id: str | None = None
    contact_id: str | None = None
    reason: str | None = None
    severity: str | None = None
    resolved: bool | None = None


class Actor(msgspec.Struct, gc=False):
    """Who acted."""

    team: str | None = None
    partner: str | None = None
    owner: str | None = None
    initiator: str | None = None


class Handoff(msgspec.Struct, gc=False):
    """Who handed over to whom, and whether the context went along."""

    from_team: str | None = None
    to_team: str | None = None
    partner: str | None = None
    kind: str | None = None
    context_passed: list[str] | bool | None = None


class Commerce(msgspec.Struct, gc=False):
    """Cart, checkout and order; `revenue` in major units as its JSON text."""

    checkout_id: str | None = None
    order_id: str | None = None
    cart_id: str | None = None
    currency: str | None = None
    revenue: msgspec.Raw = ABSENT


class Friction(msgspec.Struct, gc=False):
    """What went wrong for the customer."""

    kind: str | None = None
    code: str | None = None
    field: str | None = None


class Categories(msgspec.Struct, gc=False):
    """Consent by category of use."""

    analytics: bool | None = None


class Consent(msgspec.Struct, gc=False):
    """What the customer agreed to."""

    categories: Categories | None = None


class Data(msgspec.Struct, gc=False):
    """The event proper: `data` of a CloudEvent, or the top level of the flat form."""

    channel: str | None = None
    customer_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    journey: str | None = None
    journey_id: str | None = None
    stage: str | None = None
    step: str | None = None
    platform: str | None = None
    segment: str | None = None
    region: str | None = None
    persona: str | None = None
    product_category: str | None = None
    issue: Issue | None = None
    actor: Actor | None = None
    handoff: Handoff | None = None
    commerce: Commerce | None = None
    friction: Friction | None = None
    consent: Consent | None = None


class Event(Data, gc=False):
    """Flat form or structured CloudEvent: `data` or `specversion` tells the second."""

    type: str | None = None
    time: str | None = None
    id: str | None = None
    source: str | None = None
    specversion: str | None = None
    data: Data | None = None

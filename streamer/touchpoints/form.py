"""The wire forms of an event as msgspec structures: only the fields in use, everything else is skipped undecoded.

`null` means absent. Groups and fields are those of the domain catalogue 4.2.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

# As amounts: what is decoded has to fit into a row of the changelog, whose integers have 64 bits.
WHOLE_MAX: Final = 10**15
_BOUNDS: Final = msgspec.Meta(ge=-WHOLE_MAX, le=WHOLE_MAX)
# A whole number is one also as 3.0, as which columns that may be empty are often written.
Whole = Annotated[int, _BOUNDS] | Annotated[float, _BOUNDS, msgspec.Meta(multiple_of=1)]

ABSENT = msgspec.Raw(b"")  # msgspec puts this very object where the field is missing


class Issue(msgspec.Struct, gc=False):
    """What a contact is about."""

    issue_id: str | None = None
    case_id: str | None = None
    contact_id: str | None = None
    reason: str | None = None
    severity: str | None = None
    resolved: bool | None = None
    due_at: str | None = None


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
    required_context: list[str] | None = None


class Line(msgspec.Struct, gc=False):
    """A line of an order; prices in major units and the quantity as their JSON text."""

    category: str | None = None
    tier: str | None = None
    added_via: str | None = None
    price: msgspec.Raw = ABSENT
    list_price: msgspec.Raw = ABSENT
    quantity: msgspec.Raw = ABSENT


class Commerce(msgspec.Struct, gc=False):
    """Cart, checkout and order; `revenue` in major units as its JSON text."""

    checkout_id: str | None = None
    order_id: str | None = None
    cart_id: str | None = None
    currency: str | None = None
    revenue: msgspec.Raw = ABSENT
    acquisition_source: str | None = None
    lines: list[Line] | None = None


class Friction(msgspec.Struct, gc=False):
    """What went wrong for the customer."""

    kind: str | None = None
    code: str | None = None
    field: str | None = None
    element_id: str | None = None


class Fulfilment(msgspec.Struct, gc=False):
    """A shipment and its promises; moments as RFC 3339."""

    shipment_id: str | None = None
    requested_at: str | None = None
    promised_at: str | None = None
    committed_at: str | None = None
    shipped_at: str | None = None
    delivered_at: str | None = None
    service: str | None = None
    requested_by: str | None = None


class About(msgspec.Struct, gc=False):
    """What a survey is about, by an id."""

    journey_id: str | None = None
    case_id: str | None = None
    order_id: str | None = None


class Survey(msgspec.Struct, gc=False):
    """A survey and its answer; numbers as their JSON text. brands, rank: of a question about the brands a customer uses."""

    instrument: str | None = None
    ces_version: str | None = None
    scope: str | None = None
    question_id: str | None = None
    score: msgspec.Raw = ABSENT
    scale_min: msgspec.Raw = ABSENT
    scale_max: msgspec.Raw = ABSENT
    about: About | None = None
    brands: Whole | None = None
    rank: Whole | None = None


class Handling(msgspec.Struct, gc=False):
    """How a contact was handled."""

    profile_viewed: bool | None = None
    template_id: str | None = None
    bot_fallbacks: Whole | None = None
    personalised: bool | None = None
    tag: str | None = None
    wait_seconds: msgspec.Raw = ABSENT


class Offer(msgspec.Struct, gc=False):
    """An offer; kind `upgrade` is a higher tier or price of the base item."""

    offer_id: str | None = None
    kind: str | None = None


class Message(msgspec.Struct, gc=False):
    """A message; kind e.g. `information`, `status`. human: a person wrote or spoke it; opened: it was read."""

    message_id: str | None = None
    kind: str | None = None
    human: bool | None = None
    opened: bool | None = None


class Contract(msgspec.Struct, gc=False):
    """A contract and when it is due, as RFC 3339."""

    contract_id: str | None = None
    due_at: str | None = None


class Wallet(msgspec.Struct, gc=False):
    """Declared spend in major units as JSON text: with us, and with competitors."""

    own: msgspec.Raw = ABSENT
    competitors: msgspec.Raw = ABSENT


class Preference(msgspec.Struct, gc=False):
    """What a customer wanted and got, as JSON text, or how far apart they are (0-1)."""

    attribute: str | None = None
    ideal: msgspec.Raw = ABSENT
    received: msgspec.Raw = ABSENT
    distance: msgspec.Raw = ABSENT
    weight: msgspec.Raw = ABSENT


class Search(msgspec.Struct, gc=False):
    """What a search has found."""

    results: Whole | None = None


class Info(msgspec.Struct, gc=False):
    """A piece of information the customer had to give, by the name of its field."""

    field: str | None = None


class Goal(msgspec.Struct, gc=False):
    """A goal of the customer."""

    goal_id: str | None = None


class Categories(msgspec.Struct, gc=False):
    """Consent by category of use."""

    analytics: bool | None = None


class Consent(msgspec.Struct, gc=False):
    """What the customer agreed to."""

    categories: Categories | None = None


class Data(msgspec.Struct, gc=False):
    """The event proper: `data` of a CloudEvent, or the top level of the flat form; `decode.py` takes it apart in this order."""

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
    account_id: str | None = None
    touchpoint: str | None = None
    value_level: str | None = None
    fulfilment: Fulfilment | None = None
    survey: Survey | None = None
    handling: Handling | None = None
    offer: Offer | None = None
    message: Message | None = None
    contract: Contract | None = None
    wallet: Wallet | None = None
    preference: Preference | None = None
    search: Search | None = None
    info: Info | None = None
    goal: Goal | None = None


class Event(Data, gc=False):
    """Flat form or structured CloudEvent: `data` or `specversion` tells the second."""

    type: str | None = None
    time: str | None = None
    id: str | None = None
    source: str | None = None
    specversion: str | None = None
    data: Data | None = None

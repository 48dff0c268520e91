"""The canonical event in full, as producers should write it: the one place the JSON Schema and the strict check come from.

The decoder (`form.py`) is lenient and reads only what is in use; this model is closed, so that a misspelt field is found at
the producer instead of being skipped in production. Source of the fields: domain catalogue 4.2.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamer.touchpoints.decode_details import QUANTITY_MAX
from streamer.touchpoints.details import SHARE_DIGITS
from streamer.touchpoints.form import WHOLE_MAX
from streamer.touchpoints.money import AMOUNT_PATTERN, LIMIT_MINOR

Id = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=128)]
Dimension = Annotated[str, Meta(max_length=64)]
Key = Annotated[str, Meta(min_length=1, max_length=128)]
Moment = Annotated[datetime, Meta(tz=True)]
AmountText = Annotated[str, Meta(pattern=f"^{AMOUNT_PATTERN}$")]
_LIMITS = Meta(ge=-LIMIT_MINOR, le=LIMIT_MINOR)
Amount = AmountText | Annotated[int, _LIMITS] | Annotated[float, _LIMITS]
_NOT_NEGATIVE = Meta(ge=0, le=LIMIT_MINOR // 10**SHARE_DIGITS)
Seconds = (
    Annotated[str, Meta(pattern=f"^{AMOUNT_PATTERN.removeprefix('-?')}$")] | Annotated[int, _NOT_NEGATIVE] | Annotated[float, _NOT_NEGATIVE]
)
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 code")]
Channel = Literal[
    "web", "app", "email", "chat", "bot", "phone", "ivr", "sms", "social", "store", "field", "partner", "mail", "other"
]  # fmt: skip
Stage = Literal["need", "consider", "demonstrate", "affirm", "prove", "anticipate"]


class Closed(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A structure without fields of its own making."""


class Issue(Closed):
    """What a contact is about; `due_at`: by when the case, or the step it is in, is to be done."""

    issue_id: Id | None = None
    case_id: Id | None = None
    contact_id: Id | None = None
    reason: Dimension | None = None
    severity: Dimension | None = None
    resolved: bool | None = None
    due_at: Moment | None = None


class Actor(Closed):
    """Who acted."""

    team: Dimension | None = None
    partner: Dimension | None = None
    agent_id: Id | None = None
    owner: Dimension | None = None
    initiator: Literal["customer", "company", "system"] | None = None


class Handoff(Closed):
    """Who handed over to whom; `context_passed` names what went along, and an empty list is a cold handoff."""

    from_team: Dimension | None = None
    to_team: Dimension | None = None
    partner: Dimension | None = None
    kind: Literal["warm", "cold", "escalation"] | None = None
    context_passed: list[Text] | bool | None = None
    required_context: list[Text] | None = None


class Line(Closed):
    """A line of a cart or an order."""

    product_id: Id | None = None
    sku: Id | None = None
    name: Text | None = None
    category: Dimension | None = None
    tier: Dimension | None = None
    price: Amount | None = None
    list_price: Amount | None = None
    quantity: Annotated[int, Meta(ge=0, le=QUANTITY_MAX)] | None = None
    added_via: Dimension | None = None


class Commerce(Closed):
    """Cart, checkout, order. Amounts are decimal strings or numbers in major units; `revenue` is without shipping and tax."""

    order_id: Id | None = None
    checkout_id: Id | None = None
    cart_id: Id | None = None
    currency: Currency | None = None
    revenue: Amount | None = None
    total: Amount | None = None
    tax: Amount | None = None
    shipping: Amount | None = None
    discount: Amount | None = None
    coupon: Text | None = None
    acquisition_source: Dimension | None = None
    lines: list[Line] | None = None


class Fulfilment(Closed):
    """A shipment and its promises."""

    shipment_id: Id | None = None
    requested_at: Moment | None = None
    promised_at: Moment | None = None
    committed_at: Moment | None = None
    shipped_at: Moment | None = None
    delivered_at: Moment | None = None
    service: Dimension | None = None
    requested_by: Dimension | None = None


class About(Closed):
    """What a survey is about: the journey instance, the case, the order; the touchpoint is not used."""

    touchpoint: Dimension | None = None
    journey_id: Id | None = None
    case_id: Id | None = None
    order_id: Id | None = None


class Survey(Closed):
    """A survey and its answer; `ces_version` is required for CES because 1.0 and 2.0 have opposite polarity."""

    instrument: Literal["nps", "csat", "ces", "other"] | None = None
    ces_version: Literal["1.0", "2.0"] | None = None
    scope: Literal["experience", "relationship", "benchmark"] | None = None
    question_id: Id | None = None
    score: Amount | None = None
    scale_min: Amount | None = None
    scale_max: Amount | None = None
    comment_ref: Text | None = None
    about: About | None = None
    brands: Annotated[int, Meta(ge=1, le=WHOLE_MAX, description="how many brands the customer uses")] | None = None
    rank: Annotated[int, Meta(ge=1, le=WHOLE_MAX, description="ours among them, 1 is the first")] | None = None


class Friction(Closed):
    """What went wrong for the customer; `detail` must not be free text of the customer."""

    kind: Dimension | None = None
    code: Dimension | None = None
    element_id: Text | None = None
    field: Dimension | None = None
    count: int | None = None
    detail: Text | None = None


class Preference(Closed):
    """What the customer wanted and what was received."""

    attribute: Dimension | None = None
    ideal: Any = None
    received: Any = None
    distance: Annotated[Amount | None, Meta(description="how far apart they are, 0-1, if they are not to be compared as such")] = None
    weight: Amount | None = None


class Handling(Closed):
    """How a contact was handled; `tag` is that of quality assurance, e.g. `generic`; `wait_seconds`: in the queue, until somebody took the
    contact or the customer gave up.
    """

    profile_viewed: bool | None = None
    template_id: Id | None = None
    bot_fallbacks: Annotated[int, Meta(ge=0, le=WHOLE_MAX)] | None = None
    personalised: bool | None = None
    tag: Dimension | None = None
    wait_seconds: Seconds | None = None


class Offer(Closed):
    """An offer; kind `upgrade` is a higher tier or price of the base item."""

    offer_id: Id | None = None
    kind: Dimension | None = None


class Message(Closed):
    """A message to or from the customer. `human`: a person wrote it; `opened`: it was read; `message_id` tells which one was opened."""

    message_id: Id | None = None
    kind: Dimension | None = None
    human: bool | None = None
    opened: bool | None = None


class Contract(Closed):
    """A contract and when it is due."""

    contract_id: Id | None = None
    due_at: Moment | None = None


class Wallet(Closed):
    """What the customer says to spend, with us and with competitors, in the currency of `commerce`."""

    own: Amount | None = None
    competitors: Amount | None = None


class Search(Closed):
    """What a search has found."""

    results: Annotated[int, Meta(ge=0, le=WHOLE_MAX)] | None = None


class Info(Closed):
    """A piece of information that the customer had to give, by the name of its field, never its content."""

    field: Dimension | None = None


class Goal(Closed):
    """A goal of the customer, which touchpoints may bring nearer."""

    goal_id: Id | None = None


class Initiative(Closed):
    """What was done for a customer to improve the experience, or left undone to compare (`control`); what it cost for this one."""

    initiative_id: Dimension | None = None
    arm: Literal["treated", "control"] | None = None
    cost: Amount | None = None


class Consent(Closed):
    """What the customer agreed to. With `categories.analytics` false only aggregates are made, no personal alert."""

    categories: dict[str, bool] | None = None
    policy_version: Text | None = None


class Data(Closed, kw_only=True):
    """The event proper: `data` of a CloudEvent, the whole value in binary mode. Needs `customer_id` or `anonymous_id`."""

    channel: Channel
    customer_id: Key | None = None
    anonymous_id: Key | None = None
    account_id: Id | None = None
    session_id: Id | None = None
    touchpoint: Dimension | None = None
    journey: Dimension | None = None
    journey_id: Id | None = None
    stage: Stage | None = None
    step: Dimension | None = None
    step_index: int | None = None
    outcome: Literal["success", "failure", "neutral"] | None = None
    issue: Issue | None = None
    actor: Actor | None = None
    handoff: Handoff | None = None
    commerce: Commerce | None = None
    fulfilment: Fulfilment | None = None
    survey: Survey | None = None
    friction: Friction | None = None
    preference: Preference | None = None
    handling: Handling | None = None
    offer: Offer | None = None
    message: Message | None = None
    contract: Contract | None = None
    wallet: Wallet | None = None
    search: Search | None = None
    info: Info | None = None
    goal: Goal | None = None
    initiative: Initiative | None = None
    segment: Dimension | None = None
    persona: Dimension | None = None
    region: Dimension | None = None
    platform: Dimension | None = None
    product_category: Dimension | None = None
    value_level: Literal["functional", "personal", "catalytic"] | None = None
    consent: Consent | None = None
    props: dict[str, Any] | None = None


_TYPE = Annotated[str, Meta(min_length=1, max_length=128, description="a type of the catalogue, with or without a reverse-DNS prefix")]
_TIME = Annotated[
    str,
    Meta(min_length=1, description="when it happened: RFC 3339 with an offset", extra_json_schema={"format": "date-time"}),
]


class FlatEvent(Data, kw_only=True):
    """The flat form: the fields of `data` beside `type` and `time`."""

    type: _TYPE
    time: _TIME
    id: Key | None = None
    source: Text | None = None
    dataschema: str | None = None
    partitionkey: str | None = None
    sent_at: Moment | None = None
    received_at: Moment | None = None
    sequence: int | None = None


class CloudEvent(Closed, kw_only=True):
    """The structured form: a CloudEvent 1.0 in JSON. `id` and `source` together identify the event; `specversion` may be left out."""

    specversion: Literal["1.0"] = "1.0"
    id: Key
    source: Annotated[str, Meta(min_length=1, max_length=128)]
    type: _TYPE
    time: _TIME
    data: Data
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    partitionkey: str | None = None
    sent_at: Moment | None = None
    received_at: Moment | None = None
    sequence: int | None = None
    traceparent: str | None = None
    tracestate: str | None = None

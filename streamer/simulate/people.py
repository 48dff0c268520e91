"""Who the customers are: segment, region, persona and consent follow from a customer's number, the same in every episode."""

from __future__ import annotations

from typing import Final, NamedTuple

CONSENT_REFUSED_EVERY: Final = 37  # every n-th customer refuses analytics
SEGMENTS: Final = ("new", "regular", "regular", "vip", "new", "regular", "business", "regular")
REGIONS: Final = ("eu-west", "eu-central", "eu-north", "us-east")
ACCOUNT_CUSTOMERS: Final = 24  # neighbouring numbers of one company; the business customers among them share its account


class Persona(NamedTuple):
    """What somebody is like. buys: how much likelier than others a cart is. mood: the chance that a score is better; below 0: worse."""

    name: str
    buys: float
    mood: float


PERSONAS: Final = (
    Persona("explorer", 0.85, 0.0),
    Persona("bargain-hunter", 1.0, -0.15),
    Persona("loyalist", 1.25, 0.2),
    Persona("busy-parent", 1.05, -0.1),
    Persona("expert", 0.85, 0.0),
)


class Person(NamedTuple):
    """A customer, or the anonymous visitor he is before he says who he is.

    key: of his records. identity, traits: parts of `data` as JSON text; traits begin with a comma.
    """

    customer: int
    key: bytes
    identity: str
    traits: str
    region: str
    persona: Persona


# Traits, region and persona of customers 0 to 159; they come again every 160.
_EVERY: Final = len(SEGMENTS) * len(REGIONS) * len(PERSONAS)


def _kind(number: int) -> tuple[str, str, Persona, bool]:
    segment, region, persona = SEGMENTS[number & 7], REGIONS[number >> 3 & 3], PERSONAS[(number >> 5) % len(PERSONAS)]
    traits = f',"segment":"{segment}","region":"{region}","persona":"{persona.name}"'
    return traits, region, persona, segment == "business"


_KINDS: Final = tuple(_kind(number) for number in range(_EVERY))


def person(customer: int, *, anonymous: bool = False) -> Person:
    """The customer of this number."""
    traits, region, persona, business = _KINDS[customer % _EVERY]
    if business:
        traits += f',"account_id":"acct-{customer // ACCOUNT_CUSTOMERS:06d}"'
    if customer % CONSENT_REFUSED_EVERY == 0:
        traits += ',"consent":{"categories":{"analytics":false}}'
    name, field = (f"anon-{customer:08d}", "anonymous_id") if anonymous else (f"cust-{customer:08d}", "customer_id")
    return Person(customer, name.encode(), f'"{field}":"{name}"', traits, region, persona)

"""The events of the comparison: bursty sessions with a bounded disorder, rendered as flat touchpoints of about 250 bytes.

Every engine reads the same bytes. The six fields of job A and B come first, so that an engine with a streaming parser may stop
there; `timestamp` is the time as an integer for the rivals, `time` the same for the product.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.job import CHECKOUT, CONTACT, DISORDER_MS, PURCHASE
from streamer.alerts.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS: Final = ("web", "app", "phone", "chat", "email", "store")
SEGMENTS: Final = ("buy", "support", "returns", "onboard")
TYPES: Final = ("page.viewed", "product.searched", "cart.item_added", CHECKOUT, PURCHASE, CONTACT, "contact.transferred")
WEIGHTS: Final = (42, 18, 14, 8, 6, 8, 4)
SESSION_EVENTS: Final = 13
SWITCH_PROBABILITY: Final = 0.10
SEED: Final = 7
HOUR_MS: Final = 3_600_000
# Of the base size: so many events per customer and per session at a time, over so many hours.
EVENTS_PER_CUSTOMER: Final = 40
EVENTS_PER_ACTIVE: Final = 250
BASE_HOURS: Final = 3
_TYPES_DRAWN: Final = 4096


class Shape(NamedTuple):
    """How events are spread. active: sessions at a time; begin_ms: event time of the first."""

    events: int
    customers: int
    active: int
    span_ms: int
    begin_ms: int


def begin_of(times: int, now_ms: int) -> int:
    """When a history of `times` base spans begins so that it lies in the past: nothing may be ahead of its arrival."""
    return now_ms // HOUR_MS * HOUR_MS - (BASE_HOURS * times + 1) * HOUR_MS


def shape_of(base: int, times: int, begin_ms: int) -> Shape:
    """`times` times the base size at the same density."""
    return Shape(base * times, base // EVENTS_PER_CUSTOMER, base // EVENTS_PER_ACTIVE, BASE_HOURS * times * HOUR_MS, begin_ms)


class Made(NamedTuple):
    """One event: its key, its time, and its bytes but for the time, which goes between `head` and `tail`."""

    key: bytes
    time_ms: int
    head: str
    tail: str

    def value(self, time_ms: int) -> bytes:
        """The event's bytes, with this time."""
        return f"{self.head}{time_fields(time_ms)}{self.tail}".encode()


def time_fields(time_ms: int) -> str:
    """The part of an event between its head and its tail."""
    return f'"timestamp":{time_ms},"time":"{rfc3339(time_ms)}",'


class _Session:
    __slots__ = ("channel", "customer", "name", "segment")

    def __init__(self, customer: int, channel: str, segment: str, name: str) -> None:
        self.customer, self.channel, self.segment, self.name = customer, channel, segment, name


def events(shape: Shape, seed: int = SEED) -> Iterator[Made]:
    """The events in the order of their sending. The larger of two shapes begins like the smaller if both begin at the same time."""
    draw = random.Random(seed)
    uniform, below, pick = draw.random, draw.randrange, draw.choice
    busy: set[int] = set()
    begun = 0

    def begin() -> _Session:
        nonlocal begun
        customer = below(shape.customers)
        while customer in busy:
            customer = below(shape.customers)
        busy.add(customer)
        begun += 1
        return _Session(customer, pick(CHANNELS), pick(SEGMENTS), f"s-{begun:07d}")

    sessions = [begin() for _ in range(shape.active)]
    kinds = draw.choices(TYPES, WEIGHTS, k=_TYPES_DRAWN)
    for number in range(shape.events):
        at = below(shape.active)
        session = sessions[at]
        if uniform() < 1 / SESSION_EVENTS:
            busy.discard(session.customer)
            session = sessions[at] = begin()
        elif uniform() < SWITCH_PROBABILITY:
            session.channel = pick(CHANNELS)
        time_ms = shape.begin_ms + shape.span_ms * number // shape.events - below(DISORDER_MS + 1)
        customer = f"c-{session.customer:07d}"
        head = (
            f'{{"id":"e{number:09d}","customer_id":"{customer}","channel":"{session.channel}",'
            f'"type":"{kinds[below(_TYPES_DRAWN)]}","segment":"{session.segment}",'
        )
        tail = (
            f'"session_id":"{session.name}",'
            f'"props":{{"page":"/product/{below(99_999):05d}","referrer":"search","value":{round(uniform() * 100, 2)}}}}}'
        )
        yield Made(customer.encode(), time_ms, head, tail)

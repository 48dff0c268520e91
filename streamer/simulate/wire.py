"""Rendering of simulated events: CloudEvents in structured JSON, about 400 bytes, and the poison of `--poison`.

Written with f-strings: this is the simulator's hot path, and the texts put in are its own and need no escaping.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.touchpoints.decode import VALUE_SIZE_MAX_BYTES
from streamer.touchpoints.touchpoint import Reason

# What the values of a file can be rejected for; the others depend on a record's key or its arrival.
OF_VALUES: Final = tuple(reason for reason in Reason if reason not in (Reason.UNKEYED, Reason.MISROUTED, Reason.FUTURE))
# Poison from the future: ahead of its arrival also when it is part of a past that is sent now. Ten years.
FAR_AHEAD_MS: Final = 10 * 365 * 86_400_000

HEADERS: Final = [("content-type", b"application/cloudevents+json")]


class Sent(NamedTuple):
    """One record. sent_ms: when it is sent, milliseconds since the epoch; its event time lies before it. key None: unkeyed."""

    sent_ms: int
    number: int
    key: bytes | None
    value: bytes


def head_of(source: str) -> str:
    """The beginning of an event of a source, up to its id. What comes after the id is written where events are made, see `Life.emit`."""
    return f'{{"specversion":"1.0","source":"{source}","id":"'


def poisoned(reason: Reason, number: int, id_: str, sent_ms: int, customer: str) -> Sent:
    """A record that must end as a dead letter with this reason."""
    key: bytes | None = customer.encode()
    who, time_ms = f'"customer_id":"{customer}","channel":"web"', sent_ms
    if reason is Reason.WRONG_TYPE:
        who = f'"customer_id":"{customer}","channel":17'
    elif reason is Reason.MISSING_FIELD:
        who = f'"customer_id":"{customer}"'
    elif reason is Reason.MISSING_CUSTOMER:
        who = '"channel":"web"'
    elif reason is Reason.UNKEYED:
        key = None
    elif reason is Reason.MISROUTED:
        key = b"someone-else"
    elif reason is Reason.FUTURE:
        time_ms = sent_ms + FAR_AHEAD_MS
    what = f',"props":{{"padding":"{"x" * VALUE_SIZE_MAX_BYTES}"}}' if reason is Reason.OVERSIZE else ""
    event = f'{head_of("/simulated/poison")}{id_}","type":"page.viewed","time":"{rfc3339(time_ms)}","data":{{{who}{what}}}}}'
    value = event.encode()
    if reason is Reason.INVALID_JSON:
        value = value[:-9]
    elif reason is Reason.INVALID_TIME:
        value = value.replace(b'"time":"', b'"time":"yesterday ')
    return Sent(sent_ms, number, key, value)

"""Rendering of simulated events: CloudEvents in structured JSON, about 350 bytes, and the poison of `--poison`.

Written with f-strings: this is the simulator's hot path, and the texts put in are its own and need no escaping.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.touchpoints.decode import VALUE_SIZE_MAX_BYTES
from streamer.touchpoints.touchpoint import Reason

# Poison from the future: ahead of its arrival also when it is part of a past that is sent now. Ten years.
FAR_AHEAD_MS: Final = 10 * 365 * 86_400_000

HEADERS: Final = [("content-type", b"application/cloudevents+json")]


class Sent(NamedTuple):
    """One record. sent_ms: when it is sent, milliseconds since the epoch; its event time lies before it. key None: unkeyed."""

    sent_ms: int
    number: int
    key: bytes | None
    value: bytes


def render(number: int, source: str, kind: str, time_ms: int, who: str, what: str) -> bytes:
    """The bytes of one event. who, what: parts of the `data` object as JSON text; `what` begins with a comma if it is not empty."""
    return (
        f'{{"specversion":"1.0","id":"{number:016x}","source":"{source}","type":"{kind}","time":"{rfc3339(time_ms)}",'
        f'"datacontenttype":"application/json","data":{{{who}{what}}}}}'
    ).encode()


def poisoned(reason: Reason, number: int, sent_ms: int, customer: str) -> Sent:
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
    value = render(number, "/simulated/poison", "page.viewed", time_ms, who, what)
    if reason is Reason.INVALID_JSON:
        value = value[:-9]
    elif reason is Reason.INVALID_TIME:
        value = value.replace(b'"time":"2', b'"time":"yesterday ')
    return Sent(sent_ms, number, key, value)

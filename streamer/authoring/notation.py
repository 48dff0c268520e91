"""Events as people write them in tests and examples: `10:00:00 c-1 checkout.started {"checkout_id": "k1"}`.

A line is the time, the customer, the type and, as JSON, what else the event has. The time is of the day `DAY` unless a date is
written, in UTC; `10:00:00@10:20:00` is an event that arrived only later. `c-{1..40}` makes forty events of one line; the same
range elsewhere in the line is the same number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from streamer.alerts.times import rfc3339
from streamer.replay.pipeline import Arrival
from streamer.touchpoints.times import milliseconds

DAY: Final = "2026-11-21"
# Events that one line may stand for.
RANGE_MAX: Final = 10_000
_LINE: Final = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s*(\{.*\})?", re.DOTALL)
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_FORM: Final = "`time customer type {...}`"


def arrivals(lines: Iterable[str]) -> list[Arrival]:
    """The events of all lines, in the order in which they arrive. Raises ValueError naming what is wrong with a line."""
    texts = (text for line in lines for text in _expanded(line))
    return sorted((_arrival(number, text) for number, text in enumerate(texts)), key=lambda one: one.arrival_ms)


def time_ms(text: str) -> int:
    """Milliseconds since the epoch of `10:00:00` or `2026-11-21T10:00:00`. Raises ValueError."""
    try:
        return milliseconds(_instant(text))
    except ValueError as exc:
        raise ValueError(f"expected a time such as 10:00:00 or {DAY}T10:00:00, got {text!r}") from exc


def shown(ms: int) -> str:
    """A time as it would be written here."""
    text = rfc3339(ms).removesuffix("Z").removesuffix(".000")
    return text.removeprefix(f"{DAY}T")


def _instant(text: str) -> str:
    return (text if "T" in text else f"{DAY}T{text}").removesuffix("Z") + "Z"


def _expanded(line: str) -> Iterator[str]:
    """The line for each number of its ranges; ranges that differ are combined."""
    match = _RANGE.search(line)
    if match is None:
        yield line
        return
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < RANGE_MAX:
        raise ValueError(f"{match[0]} is no range of 1 to {RANGE_MAX} numbers")
    for number in range(first, last + 1):
        yield from _expanded(line.replace(match[0], str(number)))


def _arrival(number: int, line: str) -> Arrival:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"expected {_FORM}, got {line!r}")
    happened, _, arrived = match[1].partition("@")
    try:
        fields = json.loads(match[4] or "{}")
    except ValueError as exc:
        raise ValueError(f"expected {_FORM}, but {match[4]!r} is no JSON: {exc}") from exc
    # The event's id is its place among all of them.
    event = {
        "id": f"e{number}",
        "source": "/example",
        "channel": "web",
        "customer_id": match[2],
        "type": match[3],
        "time": _instant(happened),
    }
    return Arrival(time_ms(arrived or happened), match[2].encode(), json.dumps(event | fields).encode())

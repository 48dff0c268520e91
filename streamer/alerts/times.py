"""The times of alert records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final


def milliseconds(rfc3339: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time. Raises ValueError for one that is malformed or has no offset."""
    moment = datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None:
        raise ValueError(f"{rfc3339} has no offset from UTC")
    return round(moment.timestamp() * 1000)


def rfc3339(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, of milliseconds since the epoch."""
    minute = time_ms // 60_000
    text = _MINUTES.get(minute)
    if text is None:
        if len(_MINUTES) >= _MINUTES_KEPT:
            _MINUTES.clear()
        text = _MINUTES[minute] = datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:").rjust(17, "0")
    second, milli = divmod(time_ms - minute * 60_000, 1000)
    return text + _SECONDS[second] + _MILLIS[milli]


# An alert has up to twenty-three times, and those of neighbouring alerts lie in the same minutes; a day has 1,440 of them.
_MINUTES: dict[int, str] = {}
_MINUTES_KEPT: Final = 1 << 12
_SECONDS: Final = [f"{second:02}." for second in range(60)]
_MILLIS: Final = [f"{milli:03}Z" for milli in range(1000)]

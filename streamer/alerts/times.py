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
    second = time_ms // 1000
    text = _SECONDS.get(second)
    if text is None:
        if len(_SECONDS) >= _SECONDS_KEPT:
            _SECONDS.clear()
        text = _SECONDS[second] = datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()
    return text + _MILLIS[time_ms - second * 1000]


# An alert has up to twenty-three times, and those of neighbouring alerts lie in the same minutes.
_SECONDS: dict[int, str] = {}
_SECONDS_KEPT: Final = 1 << 12
_MILLIS: Final = [f".{milli:03}Z" for milli in range(1000)]

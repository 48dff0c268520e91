"""The times of alert records."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def milliseconds(rfc3339: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time. Raises ValueError for one that is malformed or has no offset."""
    moment = datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None:
        raise ValueError(f"{rfc3339} has no offset from UTC")
    return round(moment.timestamp() * 1000)


def rfc3339(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, of milliseconds since the epoch."""
    second, milli = divmod(time_ms, 1000)
    return f"{_second(second)}.{milli:03}Z"


# An alert has up to twenty-three times, and those of neighbouring alerts lie in the same minutes.
@lru_cache(maxsize=1 << 14)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()

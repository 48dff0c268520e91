"""The times of alert records."""

from __future__ import annotations

from datetime import UTC, datetime


def milliseconds(rfc3339: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time. Raises ValueError for one that is malformed or has no offset."""
    moment = datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None:
        raise ValueError(f"{rfc3339} has no offset from UTC")
    return round(moment.timestamp() * 1000)


def rfc3339(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, of milliseconds since the epoch."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

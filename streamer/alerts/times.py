"""The times of alert records."""

from __future__ import annotations

from datetime import datetime


def milliseconds(rfc3339: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time. Raises ValueError for one that is malformed or has no offset."""
    moment = datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None:
        raise ValueError(f"{rfc3339} has no offset from UTC")
    return round(moment.timestamp() * 1000)

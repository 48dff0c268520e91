"""RFC 3339 timestamps as integer milliseconds since the epoch, on the hot path of every event."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

# RFC 3339 section 5.6, with its notes: lower-case t and z, and a space for the T; the offset is required.
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_LENGTH_MAX: Final = 64

# The first and the last millisecond that RFC 3339 can write, of the years 1 and 9999 in UTC.
TIME_MIN_MS: Final = -62_135_596_800_000
TIME_MAX_MS: Final = 253_402_300_799_999

# The usual form `2026-11-21T10:15:03.120Z` is three look-ups, of the minute (filled as they come), the second and the rest. Events of
# neighbouring records lie in the same few minutes, which stay in the processor's cache; all seconds of the last hours would not.
_MINUTES: dict[str, int] = {}
_MINUTES_KEPT: Final = 1 << 12
_IN_MINUTE: Final = {f":{second:02}": second * 1000 for second in range(60)}
_IN_SECOND: Final = {f".{milli:03}Z": milli for milli in range(1000)}


def milliseconds(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 timestamp with offset, finer parts floored; ValueError otherwise."""
    try:
        return _MINUTES[text[:16]] + _IN_MINUTE[text[16:19]] + _IN_SECOND[text[19:]]
    except KeyError:
        return _parse(text)


def _parse(text: str) -> int:
    match = _TIMESTAMP.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None:
        raise ValueError("expected RFC 3339 with an offset, as in 2026-11-21T10:15:03.120Z")
    second_ms = int(match[6]) * 1000
    if second_ms > 60_000:  # 60 is a leap second: as in POSIX, the same instant as the next minute's 00
        raise ValueError("the second is out of range")
    minute_ms = _MINUTES.get(text[:16])
    if minute_ms is None:
        minute_ms = _minute(match)
        if len(_MINUTES) >= _MINUTES_KEPT:
            _MINUTES.clear()
        _MINUTES[text[:16]] = minute_ms
    offset_ms = 0
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            raise ValueError("the offset is out of range")
        offset_ms = (hours * 60 + minutes) * (-60_000 if match[8] == "-" else 60_000)
    time_ms = minute_ms + second_ms + int((match[7] or "0")[:3].ljust(3, "0")) - offset_ms
    if not TIME_MIN_MS <= time_ms <= TIME_MAX_MS:
        raise ValueError("in UTC it is not within the years 1 to 9999")
    return time_ms


def _minute(match: re.Match[str]) -> int:
    try:
        minute = datetime(int(match[1]), int(match[2]), int(match[3]), int(match[4]), int(match[5]), tzinfo=UTC)
    except ValueError:
        raise ValueError("the date or time of day does not exist") from None
    return int(minute.timestamp()) * 1000

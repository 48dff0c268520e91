"""What holds a firing back: the cooldown, the daily maximum, and quiet hours in the time zone of the definitions file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streamer.errors import DefinitionsError
from streamer.suggestions import quoted

_SPAN: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES: Final = 24 * 60
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = _DAY_MINUTES * _MINUTE_MS


class Span(NamedTuple):
    """From `begin` to `end`, minutes of the day; over midnight if `end` is not later."""

    begin: int
    end: int


def parse_span(text: str) -> Span:
    """The span written as `22:00-07:00`. Raises DefinitionsError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise DefinitionsError(f"quiet hours are written as 22:00-07:00, got {text!r}")
    hours = [int(part) for part in found.groups()]
    span = Span(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])
    if span.begin == span.end:
        raise DefinitionsError(f'quiet hours {text!r} are a whole day: set the rule\'s mode to "off" or "draft" instead')
    return span


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises DefinitionsError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise DefinitionsError(f"unknown time zone {quoted(name)}: use an IANA name such as Europe/Berlin") from exc


class QuietHours:
    """Says when it is quiet. Raises DefinitionsError if the spans leave no minute of the day."""

    def __init__(self, spans: Iterable[str], zone: ZoneInfo) -> None:
        self._spans = [parse_span(text) for text in spans]
        self._zone = zone
        quiet = {minute % _DAY_MINUTES for span in self._spans for minute in range(span.begin, span.begin + _length(span))}
        if len(quiet) == _DAY_MINUTES:
            raise DefinitionsError("quiet hours cover the whole day: nothing could ever fire")

    def until(self, time_ms: int) -> int:
        """When it is not quiet any more: the time itself unless it is quiet.

        By the clock on the wall: what comes twice when it is put back is quiet twice, and what is left out when it is put forward is over.
        """
        while minutes := self._left(time_ms):
            # No further than to where the clock is put forward or back.
            offset = self._offset(time_ms)
            while minutes > 1 and self._offset(time_ms + minutes * _MINUTE_MS) != offset:
                minutes //= 2
            time_ms = (time_ms // _MINUTE_MS + minutes) * _MINUTE_MS
        return time_ms

    def _left(self, time_ms: int) -> int:
        """Minutes until the end of a span, by what the clock shows; 0 if it is not quiet."""
        local = datetime.fromtimestamp(time_ms // 1000, self._zone)
        for span in self._spans:
            since = (local.hour * 60 + local.minute - span.begin) % _DAY_MINUTES
            if since < _length(span):
                return _length(span) - since
        return 0

    def _offset(self, time_ms: int) -> timedelta | None:
        return datetime.fromtimestamp(time_ms // 1000, self._zone).utcoffset()


def held_until(time_ms: int, cooldown_until_ms: int, fired_ms: Sequence[int], max_per_day: int, quiet: QuietHours | None) -> int:
    """When a condition that holds at `time_ms` may fire: then, or later. fired_ms: the latest firings; max_per_day: 0 for no maximum."""
    allowed = max(time_ms, cooldown_until_ms)
    if max_per_day and len(fired_ms) >= max_per_day:
        allowed = max(allowed, fired_ms[-max_per_day] + _DAY_MS)
    if quiet is not None and allowed == time_ms:
        allowed = quiet.until(time_ms)
    return allowed


def _length(span: Span) -> int:
    return (span.end - span.begin) % _DAY_MINUTES

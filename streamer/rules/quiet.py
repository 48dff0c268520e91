"""What holds a firing back: the cooldown, the daily maximum, and quiet hours in the time zone of the definitions file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streamer.errors import DefinitionsError

_SPAN: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES: Final = 24 * 60
_DAY_MS: Final = _DAY_MINUTES * 60_000


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
        raise DefinitionsError(f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin") from exc


class QuietHours:
    """Says when it is quiet. Raises DefinitionsError if the spans leave no minute of the day."""

    def __init__(self, spans: Iterable[str], zone: ZoneInfo) -> None:
        self._spans = [parse_span(text) for text in spans]
        self._zone = zone
        quiet = {minute % _DAY_MINUTES for span in self._spans for minute in range(span.begin, span.begin + _length(span))}
        if len(quiet) == _DAY_MINUTES:
            raise DefinitionsError("quiet hours cover the whole day: nothing could ever fire")

    def until(self, time_ms: int) -> int:
        """When it is not quiet any more: the time itself unless it is quiet."""
        moved = True
        while moved:  # spans may join
            moved = False
            for span in self._spans:
                end = self._end(span, time_ms)
                if end > time_ms:
                    time_ms, moved = end, True
        return time_ms

    def _end(self, span: Span, time_ms: int) -> int:
        local = datetime.fromtimestamp(time_ms // 1000, self._zone)
        since = (local.hour * 60 + local.minute - span.begin) % _DAY_MINUTES
        if since >= _length(span):
            return time_ms
        # The wall clock's end, whatever the offset is by then.
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if span.end <= local.hour * 60 + local.minute:
            midnight += timedelta(days=1)
        return int(midnight.replace(hour=span.end // 60, minute=span.end % 60).timestamp()) * 1000


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

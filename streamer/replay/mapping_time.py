"""The time of a row: how a mapping file says that its column is read."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from streamer.errors import DefinitionsError
from streamer.rules.quiet import zone_of
from streamer.suggestions import quoted
from streamer.touchpoints.times import TIME_MIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
LAST_MS: Final = (datetime(9000, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]{1,30}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][+-]?[0-9]{1,2})?\s*")


class Time(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The event time's column. format: `iso` (RFC 3339), `epoch_s`, `epoch_ms` or a strptime pattern; zone: of times without offset."""

    column: str
    format: str = "iso"
    zone: str | None = None


def time_parser(time: Time) -> Callable[[str], int]:
    """From a column's text to milliseconds since the epoch. Raises ValueError for a `time` that can read nothing; so does what it gives."""
    if time.format in ("epoch_s", "epoch_ms"):
        factor = 1000 if time.format == "epoch_s" else 1
        return lambda text: _writable(_epoch_ms(text, factor))
    try:
        zone = zone_of(time.zone) if time.zone else None
    except DefinitionsError as exc:
        raise ValueError(f"time: {exc}") from exc
    pattern = time.format
    _check_pattern(pattern)

    def parse(text: str) -> int:
        moment = datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)
        if moment.tzinfo is None:
            if zone is None:
                raise ValueError("it has no offset, and the mapping names no `zone`")
            moment = moment.replace(tzinfo=zone)
        return _writable((moment - _EPOCH) // _MILLISECOND)

    return parse


def _epoch_ms(text: str, factor: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("it is not a number")
    return math.floor(Decimal(text) * factor)


def _check_pattern(pattern: str) -> None:
    """Raises ValueError for a `strptime` pattern that can read nothing, or reads what it does not tell."""
    if pattern == "iso":
        return
    if "%Z" in pattern.replace("%%", ""):
        raise ValueError("time: `format` has %Z, which reads the name of a zone and forgets it: use %z, or `zone`")
    try:
        datetime.strptime(datetime(2026, 11, 21, tzinfo=UTC).strftime(pattern), pattern)
    except (ValueError, re.error) as exc:
        raise ValueError(f"time: `format` {quoted(pattern)} is no pattern that can be read: {exc}") from exc


def _writable(time_ms: int) -> int:
    """A time that RFC 3339 can write, with room for the longest deadline. Raises ValueError for others."""
    if not TIME_MIN_MS <= time_ms <= LAST_MS:
        raise ValueError("it is not within the years 1 to 9000: are its units those of `format`?")
    return time_ms

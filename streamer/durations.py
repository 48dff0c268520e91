"""Durations as they are written in the definitions file, and the closed structures that the file consists of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from streamer.suggestions import quoted

# Ten years: far beyond any deadline, and dates stay printable.
DURATION_MAX_MS: Final = 3_650 * 86_400_000
_DIGITS_MAX: Final = 15  # beyond, any unit is too long, and Python refuses to read thousands of digits
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Duration(int):
    """Milliseconds, written as a number and a unit (ms, s, m, h, d)."""


def parse_duration(text: str) -> Duration:
    """Milliseconds of e.g. `"30m"`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    if not match:
        raise ValueError(f"expected a duration such as 30s, 30m, 24h or 7d, got {quoted(text)}")
    number = match[1].lstrip("0") or "0"
    duration = Duration(int(number[:_DIGITS_MAX]) * _UNITS_MS[match[2]])
    if duration > DURATION_MAX_MS or len(number) > _DIGITS_MAX:
        raise ValueError(f"{quoted(text)} is longer than {DURATION_MAX_MS // 86_400_000} days")
    return duration


def written(duration: Duration) -> str:
    """A duration as the file has it, in the largest unit that needs no fraction."""
    for unit, length_ms in reversed(_UNITS_MS.items()):
        if duration and duration % length_ms == 0:
            return f"{duration // length_ms}{unit}"
    return "0s"


class Part(msgspec.Struct, frozen=True):
    """A part of the file: closed, so that a misspelt key is an error."""


def durations_in(part: Part) -> Iterator[Duration]:
    """Every duration of a part of the file and of the parts in it."""
    for name in part.__struct_fields__:
        value = getattr(part, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Duration):
                yield one
            elif isinstance(one, Part):
                yield from durations_in(one)

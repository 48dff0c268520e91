"""Times in the options of commands."""

from __future__ import annotations

from streamer.errors import InputError
from streamer.touchpoints.times import milliseconds


def time_option(option: str, text: str | None) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 time, None if the option is not given. Raises InputError."""
    if text is None:
        return None
    try:
        return milliseconds(text)
    except ValueError as exc:
        raise InputError(f"{option} {text!r}: {exc}") from exc

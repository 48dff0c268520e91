"""Times in the options of commands."""

from __future__ import annotations

from streamer.alerts.times import rfc3339
from streamer.errors import InputError
from streamer.replay.mapping_time import LAST_MS
from streamer.touchpoints.times import milliseconds


def time_option(option: str, text: str | None) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 time, None if the option is not given. Raises InputError."""
    if text is None:
        return None
    try:
        time_ms = milliseconds(text)
    except ValueError as exc:
        raise InputError(f"{option} {text!r}: {exc}") from exc
    if time_ms > LAST_MS:
        raise InputError(f"{option} {text!r}: is later than any event may be, which is {rfc3339(LAST_MS)}")
    return time_ms


def range_options(begin: str | None, end: str | None) -> tuple[int | None, int | None]:
    """--from and --to in milliseconds since the epoch, None where one is not given. Raises InputError."""
    from_ms, to_ms = time_option("--from", begin), time_option("--to", end)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise InputError("--from is not before --to")
    return from_ms, to_ms


def nothing_between(log_begin: str, log_end: str) -> InputError:
    """The error for a range in which there is nothing."""
    return InputError(f"between --from and --to there is nothing: the log is from {log_begin} to {log_end}")

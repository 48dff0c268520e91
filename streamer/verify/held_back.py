"""What holds a firing back: docs/reference/journeys.md (Entity alerts, Held back)."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streamer.definitions import Rule

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MINUTE_MS
# What is held back walks on from minute to minute, for each entity the same ones: some days of several rules.
_MINUTES_KEPT: Final = 1 << 14


class Run(NamedTuple):
    """From the moment at which a condition comes true until that at which it no longer holds, None if that has not come.

    looked_at: the last time at which it is found to hold, of an end: that of the deadline before it, or its own if it is an event's,
    because what waits is looked at before the events of its time. signals: at its end, None if nothing was looked at then.
    """

    begin: int
    end: int | None
    looked_at: int
    signals: dict[str, Any] | None = None


def firings(runs: Iterable[Run], rule: Rule, timezone: str, clock_ms: int) -> Iterator[tuple[int, Run]]:
    """When a rule begins to fire for one entity, and in which run: at the first moment of each that nothing holds back.

    What was held back is looked at again with the deadlines of the moment that allows it, at last after all of them, and before its
    events. The clock of the log ends at clock_ms.
    """
    fired: list[int] = []
    zone = ZoneInfo(timezone)
    for run in sorted(runs, key=lambda run: run.begin):
        at = _allowed(run.begin, fired, rule, zone)
        holds = run.end is None or at < run.end or at == run.looked_at
        if at == run.begin or (holds and at <= clock_ms):
            yield at, run
            fired.append(at)


def _allowed(time_ms: int, fired: Sequence[int], rule: Rule, zone: ZoneInfo) -> int:
    """The first moment from then on that is past the cooldown, with less firings than the maximum in the 24 hours before, and not quiet."""
    allowed = max(time_ms, fired[-1] + rule.cooldown) if fired else time_ms
    if rule.max_per_day and len(fired) >= rule.max_per_day:
        allowed = max(allowed, fired[-rule.max_per_day] + _DAY_MS)
    while _is_quiet(allowed // _MINUTE_MS, rule.quiet, zone):
        allowed = (allowed // _MINUTE_MS + 1) * _MINUTE_MS
    return allowed


@lru_cache(_MINUTES_KEPT)
def _is_quiet(minute: int, spans: tuple[str, ...], zone: ZoneInfo) -> bool:
    """By what the clock on the wall says then, be it that it has been put forward or back meanwhile."""
    wall = datetime.fromtimestamp(minute * _MINUTE_MS // 1000, zone).strftime("%H:%M")
    pairs = (span.split("-") for span in spans)
    return any(begin <= wall < end if begin < end else wall >= begin or wall < end for begin, end in pairs)

"""Quiet hours by the clock on the wall, also when it is put forward or back: against a walk from minute to minute."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from streamer.rules.quiet import QuietHours, zone_of

MINUTE_MS = 60_000
# The day on which clocks are put forward and back; in the last, by half an hour.
CHANGES = [
    ("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"), ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"), ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"),
]  # fmt: skip


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def walked(time_ms: int, spans: list[str], zone: str) -> int:
    """The first minute whose hour and minute on the wall are in none of the spans."""
    while True:
        wall = f"{datetime.fromtimestamp(time_ms / 1_000, zone_of(zone)):%H:%M}"
        pairs = [span.split("-") for span in spans]
        if not any(begin <= wall < end or (end <= begin and not end <= wall < begin) for begin, end in pairs):
            return time_ms
        time_ms = (time_ms // MINUTE_MS + 1) * MINUTE_MS


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_nothing_begins_while_the_clock_on_the_wall_is_in_a_span(zone: str, day: str) -> None:
    r = Random(day)
    for _ in range(40):
        spans = []
        for _ in range(r.choice((1, 1, 2))):
            begin, length = r.choice((r.randrange(0, 300), r.randrange(1440))), r.choice((r.randrange(1, 120), r.randrange(1, 700)))
            spans.append("-".join(f"{minute % 1440 // 60:02}:{minute % 60:02}" for minute in (begin, begin + length)))
        quiet = QuietHours(spans, zone_of(zone))
        for _ in range(10):
            time_ms = at(day) + r.randrange(-14 * 60, 24 * 60) * MINUTE_MS + r.choice((0, 0, 1, 30_000, 59_999))
            assert quiet.until(time_ms) == walked(time_ms, spans, zone), (spans, time_ms)


@pytest.mark.parametrize(("span", "time", "until"), [
    # 03:00 summer time is 02:00 winter time: a quarter past two comes twice, the second time at 01:15 UTC.
    ("01:30-02:30", "2026-10-25T01:15", "2026-10-25T01:30"),
    ("01:30-02:30", "2026-10-25T00:30", "2026-10-25T00:30"),
    # 02:00 winter time is 03:00 summer time: half past two is left out.
    ("01:30-02:30", "2026-03-29T00:45", "2026-03-29T01:00"),
    ("22:00-07:00", "2026-03-28T21:00", "2026-03-29T05:00"),
])  # fmt: skip
def test_what_comes_twice_is_quiet_twice_and_what_is_left_out_is_over(span: str, time: str, until: str) -> None:
    assert QuietHours([span], zone_of("Europe/Berlin")).until(at(time)) == at(until)

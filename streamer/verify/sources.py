"""Where a raw log comes from."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING

from streamer.verify.raw_log import Record

if TYPE_CHECKING:
    from streamer.replay.history import History


def records_of(history: History, *, as_written: bool = False, shuffle_ms: int = 0, seed: int | None = None) -> list[Record]:
    """A history as one partition: each event arrives the moment it happened.

    as_written: in the file's order instead, each when it happened or with the latest one before it. seed: each up to `shuffle_ms`
    later than it happened; so shuffled, none is later than an allowed lateness of that.
    """
    events = history.events
    if as_written:
        events = sorted(events, key=lambda event: event.order)
    chance = random.Random(seed)
    arrivals = [event.time_ms if seed is None else event.time_ms + chance.randint(0, shuffle_ms) for event in events]
    if as_written:
        arrivals = list(accumulate(arrivals, max))
    order = sorted(range(len(arrivals)), key=arrivals.__getitem__)
    return [Record(0, off, arrivals[i], events[i].key, events[i].value) for off, i in enumerate(order)]

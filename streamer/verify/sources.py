"""Where a raw log comes from."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from streamer.verify.raw_log import Record

if TYPE_CHECKING:
    from streamer.replay.history import History


def records_of(history: History, *, shuffle_ms: int = 0, seed: int | None = None) -> list[Record]:
    """A history as one partition. Each event arrives the moment it happened, or, with a seed, up to `shuffle_ms` later.

    So shuffled, everything is within an allowed lateness of `shuffle_ms`; offsets are in the order of arrival.
    """
    chance = random.Random(seed)
    arrivals = [event.time_ms if seed is None else event.time_ms + chance.randint(0, shuffle_ms) for event in history.events]
    order = sorted(range(len(arrivals)), key=arrivals.__getitem__)
    return [Record(0, off, arrivals[i], history.events[i].key, history.events[i].value) for off, i in enumerate(order)]

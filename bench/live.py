"""A steady rate of live events of the comparison, as a process of its own: `python -m bench.live RATE SECONDS [SPEED CUSTOMERS]`.

With a SPEED above 1 event time runs that much faster than the clock, beginning in the past so that it reaches now at the end.
Settings come from the environment, as for the product. Prints a line when it begins, and at the end one JSON object: how many were sent,
and how far it fell behind. What is sent first is made before it begins: the engine under measurement has the same CPUs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.events import SEED, Shape, events, time_fields
from streamer import settings
from streamer.engine.ingest import Sender, sender

if TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOMERS: Final = 50_000
# Sessions at a time per event and second: more events come from more customers, each with one every 0.4 s, and not from busier ones.
ACTIVE_PER_RATE: Final = 0.4
TICK_SECONDS: Final = 0.005
DISORDER_MS: Final = 200
# As many are made beforehand: a minute at 50,000 per second. 1.5 GB.
READY_MAX: Final = 3_000_000


class _Ready(NamedTuple):
    """An event but for its time."""

    partition: int
    key: bytes
    head: bytes
    tail: bytes


def _made(opened: Sender, rate: float, customers: int) -> Iterator[_Ready]:
    active = max(1, round(rate * ACTIVE_PER_RATE))
    made = events(Shape(1 << 40, max(customers, 2 * active), active, 1, 0), seed=SEED + 1)
    for number, event in enumerate(made):
        yield _Ready(opened.partition(event.key, number), event.key, event.head.encode(), event.tail.encode())


async def _send(opened: Sender, rate: float, seconds: float, speed: float, customers: int) -> dict[str, float]:
    made = _made(opened, rate, customers)
    ready = list(islice(made, min(READY_MAX, int(rate * seconds))))
    ready.reverse()
    gc.freeze()
    print("begins", flush=True)
    begun = time.monotonic()
    sent, behind = 0, 0.0
    while (passed := time.monotonic() - begun) < seconds:
        due = int(passed * rate)
        behind = max(behind, (due - sent) / rate)
        behind_now_ms = round(max(0.0, seconds - passed) * (speed - 1) * 1000)
        while sent < due:
            partition, key, head, tail = ready.pop() if ready else next(made)
            now_ms = time.time_ns() // 1_000_000 - behind_now_ms
            value = head + time_fields(now_ms - sent * 7919 % DISORDER_MS).encode() + tail
            if not opened.put(partition, key, value):
                await opened.flush(partition)
                opened.put(partition, key, value)
            sent += 1
        await opened.flush_all()
        await asyncio.sleep(TICK_SECONDS)
    return {"sent": sent, "seconds": round(time.monotonic() - begun, 2), "behind_max_seconds": round(behind, 3)}


async def _main(rate: float, seconds: float, speed: float = 1, customers: float = CUSTOMERS) -> None:
    async with sender(settings.load()) as opened:
        print(json.dumps(await _send(opened, rate, seconds, speed, round(customers))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*map(float, sys.argv[1:])))

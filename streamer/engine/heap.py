"""The heap, looked after by the clock: cycles are collected, and large pages are asked for.

State is millions of containers that refer to each other in one direction. By the count of new containers the cycle collector looks again
and again at customers that come into use and are packed: 23.5 us per event in place of 18.3 where 250,000 customers of a partition are in
a session at a time. But cycles there are, from connections, and a process without traffic creates hardly anything else; so it looks by
the clock.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Final

from streamer.engine import large_pages

log = logging.getLogger(__name__)

# A look takes as long as what is new since the last one: at most 0.1 s, if all the customers in use are.
LOOK_SECONDS: Final = 10.0
# Those that live through a look are looked at again with every 20th, those that live through that one with every 400th, hourly.
LOOKS_PER_OLDER: Final = 20
# Beyond this many new containers it looks at once. With the whole catalogue a million came every few seconds of a replay, and looking at
# them took 4 % of the CPU.
ALLOCATIONS: Final = 10_000_000
# Large pages are asked for when there may be new memory; while there is more than fits into the time that events can wait, soon again.
PAGES_SECONDS: Final = 2.0
PAGES_WORK_SECONDS: Final = 0.02
PAGES_PAUSE_SECONDS: Final = 0.2


async def collect_forever() -> None:
    """Look for cycles from now on."""
    gc.set_threshold(ALLOCATIONS, LOOKS_PER_OLDER, LOOKS_PER_OLDER)
    looks = 0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        looks += 1
        gc.collect(generation(looks))


def generation(looks: int) -> int:
    """How old what is looked at may be, as the collector counts: 2 is everything."""
    return 2 if looks % LOOKS_PER_OLDER**2 == 0 else 1 if looks % LOOKS_PER_OLDER == 0 else 0


async def ask_for_large_pages_forever() -> None:
    """Keep the heap in large pages from now on, where the kernel has them; whatever is in the way of that ends nothing else."""
    try:
        while large_pages.are_to_be_had():
            is_all = large_pages.ask_for(PAGES_WORK_SECONDS)
            await asyncio.sleep(PAGES_SECONDS if is_all else PAGES_PAUSE_SECONDS)
    except Exception as exc:
        log.warning("the heap stays in small pages, which is slower: %r", exc, extra={"action": "heap.small_pages"})

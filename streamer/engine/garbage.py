"""When cycles of references are looked for.

State is hundreds of thousands of long-lived objects that refer to each other in one direction: looking for cycles among them at the
default thresholds took a fifth of the fold's CPU (22.0 against 17.5 us per event). Cycles come from connections only, in the time that
passes and not with the events: so they are looked for by the clock, among what has come since the last look.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

# In this time the cycles of a busy connection come to some megabytes; a look takes about 50 ms per million new objects.
LOOK_SECONDS: Final = 10.0
_YOUNG_AND_MIDDLE: Final = 1
# Net allocations of containers before the interpreter looks by itself: so many within ten seconds are a restore.
_ALLOCATIONS: Final = 1_000_000


def prepare() -> None:
    """Leave alone what is there, and most of what comes."""
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 100)


async def look_forever() -> None:
    """Collect cycles until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        gc.collect(_YOUNG_AND_MIDDLE)

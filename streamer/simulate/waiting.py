"""Records that wait for their turn to be sent: those of the next seconds in a heap, the others by the seconds they are due in.

One heap of everything would be slow: deliveries and surveys follow hours after what they come from, so that thousands wait.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.simulate.wire import Sent

SLOT_BITS: Final = 12  # of milliseconds: about four seconds


class Waiting:
    """What waits. Everything pushed is due at or after what was taken last. far: what is due at or after `near_ms`, by slot."""

    def __init__(self, now_ms: int) -> None:
        self._slot = now_ms >> SLOT_BITS
        self.near_ms = self._slot + 1 << SLOT_BITS
        self._near: list[Sent] = []
        self.far: defaultdict[int, list[Sent]] = defaultdict(list)

    def push(self, record: Sent) -> None:
        """Add one."""
        if record[0] >= self.near_ms:
            self.far[record[0] >> SLOT_BITS].append(record)
        else:
            heappush(self._near, record)

    def until(self, limit_ms: float) -> Iterator[Sent]:
        """Take what is due before `limit_ms`, in order."""
        near = self._near
        while True:
            while near and near[0][0] < limit_ms:
                yield heappop(near)
            if self.near_ms > limit_ms:
                return
            self._slot += 1
            self.near_ms += 1 << SLOT_BITS
            if found := self.far.pop(self._slot, None):
                near = self._near = found
                near.sort()

"""A small deterministic machine for tests of the engine: it counts events per key, and says what it did.

Each event makes one output, `{"key", "count", "partition", "offset"}`, to the topic of deltas. Keys beginning with `alert`
wait as alerts; the key `poison` raises, `stall` blocks the event loop, `miscount` is not accounted for. As a program it is a
worker; see `main`. SIGUSR1 renews its partitions.
`TOY_RESTORE_SECONDS` is how long a restore takes; with `TOY_STOP_HANGS` Faust's stop never returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson

from streamer import topics
from streamer.engine.app import Machine, MachineApp, run
from streamer.processor import MARKER_KEY, ROW_PREFIX, Drained, Output, Pending
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from streamer.engine.tables import StateTable
    from streamer.processor import Record

MACHINE = "toy"


class Counter:
    """Counts per key. The marker row has next_offset, high, its arrival, the clock and the number of events."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.counts: dict[bytes, int] = {}
        self._next: int | None = None
        self._high = self._arrival = self._clock = 0
        self._consumed = 0
        self._dirty: set[bytes] = set()
        self._outputs: list[Output] = []
        self._journal: list[bytes] = []
        self._events = self._alerts = 0
        self._miscounted = 0

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        time.sleep(float(os.environ.get("TOY_RESTORE_SECONDS", "0")))
        for key, value in rows:
            if key == MARKER_KEY:
                marker = orjson.loads(value)
                self._next, self._high, self._arrival = marker["next"], marker["high"], marker["arrival"]
                self._clock, self._consumed = marker["clock"], marker["consumed"]
            else:
                self.counts[key.removeprefix(ROW_PREFIX)] = int(value)

    def process(self, records: Sequence[Record], end: int) -> None:
        for record in records:
            assert self._next is not None
            assert record.offset >= self._next, (record.offset, self._next)
            key = record.key or b""
            if key == b"poison":
                raise ValueError("poison")
            if key == b"stall":
                time.sleep(3600)
            self._miscounted += key == b"miscount"
            count = self.counts[key] = self.counts.get(key, 0) + 1
            self._dirty.add(key)
            said = {"key": key.decode(), "count": count, "partition": self.partition, "offset": record.offset}
            self._outputs.append(Output(topics.DELTAS, key, orjson.dumps(said)))
            self._high, self._arrival = max(self._high, record.timestamp), record.timestamp
            self._clock = max(self._clock, self._high)
            self._alerts += key.startswith(b"alert")
            self._next = record.offset + 1
        self._events += len(records)
        self._consumed += len(records)
        self._next = end

    def advance(self, clock_ms: int) -> None:
        if clock_ms > self._clock:
            self._clock = clock_ms
            self._journal.append(orjson.dumps({"after": self._next, "clock": clock_ms}))

    def drain(self) -> Drained:
        assert self._next is not None
        marker = {"next": self._next, "high": self._high, "arrival": self._arrival, "clock": self._clock, "consumed": self._consumed}
        rows: list[tuple[bytes, bytes | None]] = [(ROW_PREFIX + key, b"%d" % self.counts[key]) for key in sorted(self._dirty)]
        rows.append((MARKER_KEY, orjson.dumps(marker)))
        drained = Drained(rows, self._outputs, self._journal, self._next)
        self._dirty, self._outputs, self._journal, self._events, self._alerts = set(), [], [], 0, 0
        return drained

    @property
    def next_offset(self) -> int | None:
        return self._next

    @property
    def clock_ms(self) -> int:
        return self._clock

    @property
    def high_ms(self) -> int:
        return self.reference[0]

    @property
    def reference(self) -> tuple[int, int]:
        return self._high, self._arrival

    @property
    def pending(self) -> Pending:
        return Pending(self._events, self._alerts, 80 * len(self._outputs))

    @property
    def accounting(self) -> Mapping[str, int]:
        return {"consumed": self._consumed, "applied": self._consumed - self._miscounted}

    def rows(self) -> Mapping[bytes, bytes]:
        return {ROW_PREFIX + key: b"%d" % count for key, count in self.counts.items()}


@contextlib.asynccontextmanager
async def report(app: MachineApp) -> AsyncIterator[None]:
    """Keep a file up to date with what this worker owns: `{"owned", "consumed", "rows", "table"}`, empty until ready."""
    path = Path(os.environ["TOY_REPORT"])
    if "TOY_STOP_HANGS" in os.environ:
        app.stop = threading.Event().wait  # type: ignore[method-assign, assignment]  # blocks the loop: nothing on it can end this
    # As if the definitions had changed: every partition is opened anew.
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: app.partitions.renew())
    stopped = threading.Event()

    def write() -> None:
        while not stopped.wait(0.05):
            if app.ready() is None:
                owners = dict(app.owners())
                said = {
                    "owned": sorted(owners),
                    "consumed": sum(owner.accounting["consumed"] for owner in owners.values()),
                    "rows": sum(len(owner.rows()) for owner in owners.values()),
                    "table": len(cast("StateTable", app.tables[MACHINE])),
                }
            else:
                said = {}
            path.with_suffix(".new").write_bytes(orjson.dumps(said))
            path.with_suffix(".new").rename(path)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield
    stopped.set()


def main() -> int:
    """A worker with settings from the environment (`STREAMER_...`)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    settings = Settings()
    machine = Machine(MACHINE, topics.TOUCHPOINTS, settings.partitions, Counter)
    return run(machine, settings, beside=report if "TOY_REPORT" in os.environ else None)


if __name__ == "__main__":
    sys.exit(main())

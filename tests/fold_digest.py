"""Folds a simulated history and prints what came of it as one digest; for comparing builds. Arguments: events, seed."""

from __future__ import annotations

import hashlib
import sys

from streamer import definitions
from streamer.journeys import fold
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario

BEGIN_MS = 1_795_256_100_000
HOUR_MS = 3_600_000


def main() -> None:
    events, seed = int(sys.argv[1]), int(sys.argv[2])
    hours = 12
    scenario = Scenario(seed, events // 20, BEGIN_MS, BEGIN_MS + hours * HOUR_MS, ((BEGIN_MS, events / (hours * 3600)),), poison=True)
    log = [LogRecord(offset, sent.sent_ms, sent.key, sent.value) for offset, sent in enumerate(Simulation(scenario).sent())]
    processor = JourneysProcessor(definitions.default(), partition=0, partitions=1, replay_events=1_000, rows_per_drain=16)
    processor.restore(())
    seen = hashlib.sha256()
    for start in range(0, len(log), 500):
        batch = log[start : start + 500]
        processor.process(batch, batch[-1].offset + 1)
        processor.advance(batch[-1].timestamp + 700)
        seen.update(repr(processor.drain()).encode())
    print(fold.__file__.rsplit(".", 1)[1], len(log), dict(processor.accounting), seen.hexdigest())


if __name__ == "__main__":
    main()

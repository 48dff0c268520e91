"""Folds a simulated history and prints what came of it as one digest; for comparing builds. Arguments: events, seed."""

from __future__ import annotations

import hashlib
import sys

from streamer import definitions, topics
from streamer.journeys import fold
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.write_behind import Behind
from streamer.processor import LogRecord
from streamer.rollup import panes
from streamer.rollup.processor import RollupProcessor
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario
from streamer.touchpoints.touchpoint import Reason

BEGIN_MS = 1_795_256_100_000
HOUR_MS = 3_600_000


def main() -> None:
    events, seed = int(sys.argv[1]), int(sys.argv[2])
    hours = 12
    scenario = Scenario(
        seed, events // 20, BEGIN_MS, BEGIN_MS + hours * HOUR_MS, ((BEGIN_MS, events / (hours * 3600)),), poison=tuple(Reason)
    )
    log = [LogRecord(offset, sent.sent_ms, sent.key, sent.value) for offset, sent in enumerate(Simulation(scenario).sent())]
    processor = JourneysProcessor(definitions.default(), partition=0, partitions=1, behind=Behind(16, 1_000, 100))
    rollup = RollupProcessor(definitions.default(), partition=0, partitions=1, build="")
    for machine in (processor, rollup):
        machine.restore(())
    seen = hashlib.sha256()
    for start in range(0, len(log), 500):
        batch = log[start : start + 500]
        processor.process(batch, batch[-1].offset + 1)
        processor.advance(batch[-1].timestamp + 700)
        drained = processor.drain()
        values = [output.value for output in drained.outputs if output.topic == topics.DELTAS]
        rollup.process([LogRecord(start + n, batch[-1].timestamp, None, value) for n, value in enumerate(values)], start + len(batch))
        seen.update(repr((drained, rollup.drain(), list(rollup.gauges()))).encode())
    print(fold.__file__.rsplit(".", 1)[1], panes.__file__.rsplit(".", 1)[1], len(log), dict(processor.accounting), seen.hexdigest())


if __name__ == "__main__":
    main()

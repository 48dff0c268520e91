"""Jobs A and B on Bytewax, recovery on.

Its timers are of system time and its watermarks per key: a passed deadline is noticed when the same customer comes back, and never
if he does not. Its windows are slow, so B's panes are kept by hand in a second stateful step, closed `LAG_MS` behind the newest
event of their cell, because in a replay the source's partitions are minutes apart.

Arguments: bootstrap, topic, run, recovery directory, epoch in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main
from confluent_kafka import OFFSET_BEGINNING

from bench.job import COUNTERS, PANE_MS, Alert, Customer, pane_record

LAG_MS = 600_000
Counts = tuple[int, int, int, int, int]
Change = tuple[int, Counts]  # of a cell: time, counters

decode = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode
progress: dict[str, float] = {"events": 0, "late": 0, "begun": 0.0, "begun_cpu": 0.0}


class JobA(StatefulBatchLogic):
    """One customer: events to alerts, and to changes of panes as (cell, change)."""

    def __init__(self, packed: list[Any] | None) -> None:
        self.customer = Customer.unpacked(packed) if packed else Customer()

    def on_batch(self, values: list[dict[str, Any]]) -> tuple[list[Any], bool]:
        made: list[Any] = []
        customer = self.customer
        for event in values:
            alerts: list[Alert] = []
            at, segment, channel = event["timestamp"], event["segment"], event["channel"]
            done = customer.step(event["customer_id"], event["id"], channel, event["type"], segment, at, alerts)
            for alert in alerts:
                made.append(alert)
                if not alert.cause:
                    made.append((f"{alert.segment}|{alert.channel}", (alert.time, (0, 0, 0, 0, 1))))
            made.append((f"{segment}|{channel}", (at, (1, done[0], done[1], 0, 0))))
            if done[2]:
                made.append((f"{customer.segment}|{customer.checkout_channel}", (at, (0, 0, 0, 1, 0))))
        return made, StatefulBatchLogic.RETAIN

    def snapshot(self) -> list[Any]:
        return [list(value) if isinstance(value, list) else value for value in self.customer.packed()]


class JobB(StatefulBatchLogic):
    """One cell: changes to closed panes."""

    def __init__(self, packed: tuple[dict[int, list[int]], int, int] | None) -> None:
        self.panes, self.newest, self.closed = packed or ({}, 0, 0)

    def on_batch(self, values: list[Change]) -> tuple[list[Any], bool]:
        for at, counts in values:
            pane = at // PANE_MS
            if pane < self.closed:
                progress["late"] += 1
                continue
            kept = self.panes.setdefault(pane, [0] * COUNTERS)
            for place, n in enumerate(counts):
                kept[place] += n
            self.newest = max(self.newest, at)
        self.closed = max(self.closed, (self.newest - LAG_MS) // PANE_MS)
        complete = [pane for pane in self.panes if pane < self.closed]
        return [(pane, self.panes.pop(pane)) for pane in complete], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Any], bool]:
        return list(self.panes.items()), StatefulBatchLogic.DISCARD

    def snapshot(self) -> tuple[dict[int, list[int]], int, int]:
        return {pane: list(counts) for pane, counts in self.panes.items()}, self.newest, self.closed


def parse(messages: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Events by customer."""
    if not progress["begun"]:
        progress["begun"], progress["begun_cpu"] = time.monotonic(), time.process_time()
    progress["events"] += len(messages)
    parsed = [decode(message.value) for message in messages]
    return [(event["customer_id"], event) for event in parsed]


def alerts_of(made: list[Any]) -> list[KafkaSinkMessage]:
    """The alerts among what A made."""
    return [KafkaSinkMessage(key.encode(), encode(one._asdict())) for key, one in made if isinstance(one, Alert)]


def changes_of(made: list[Any]) -> list[tuple[str, Change]]:
    """The changes of panes among what A made."""
    return [one for _, one in made if not isinstance(one, Alert)]


def rendered(closed: tuple[str, tuple[int, list[int]]]) -> KafkaSinkMessage:
    """A pane for the output topic."""
    segment, _, channel = closed[0].partition("|")
    pane, counts = closed[1]
    return KafkaSinkMessage(None, encode(pane_record((pane, segment, channel), counts)))


def flow_of(bootstrap: str, topic: str, run: str) -> Dataflow:
    """The data flow."""
    flow = Dataflow("bench")
    source = KafkaSource(
        [bootstrap], [topic], starting_offset=OFFSET_BEGINNING, tail=False, batch_size=5000,
        add_config={"queued.min.messages": "200000"},
    )  # fmt: skip
    events = op.flat_map_batch("parse", op.input("events", flow, source), parse)
    made = op.stateful_batch("job-a", events, JobA)
    op.output("alerts", op.flat_map_batch("alerts-of", made, alerts_of), KafkaSink([bootstrap], f"{run}-alerts"))
    panes = op.stateful_batch("job-b", op.flat_map_batch("changes-of", made, changes_of), JobB)
    op.output("panes", op.map("rendered", panes, rendered), KafkaSink([bootstrap], f"{run}-panes"))
    return flow


def main() -> None:
    bootstrap, topic, run, recovery, epoch = sys.argv[1:6]
    directory = Path(recovery)
    directory.mkdir(parents=True, exist_ok=True)
    init_db_dir(directory, 1)
    interval = timedelta(seconds=float(epoch))
    cluster_main(flow_of(bootstrap, topic, run), [], 0, epoch_interval=interval, recovery_config=RecoveryConfig(str(directory)))
    used = {
        "wall_seconds": round(time.monotonic() - progress["begun"], 2), "cpu_seconds": round(time.process_time() - progress["begun_cpu"], 2)
    }  # fmt: skip
    print(json.dumps({"events": int(progress["events"]), "late": int(progress["late"]), **used}), flush=True)


if __name__ == "__main__":
    main()

"""Jobs A and B on stock Faust: an agent, two tables in memory with changelogs, at least once.

It has no event-time timers: deadlines are in a heap per partition, moved by that partition's events.

Arguments: bootstrap, topic, run, number of events, data directory; then Faust's own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from heapq import heappop, heappush
from typing import Any

import faust

from bench.job import CLOSED, COUNTERS, DISORDER_MS, EVENTS, LOST, OPENED, PANE_MS, SWITCHES, Alert, Customer

PARTITIONS = 4

BOOTSTRAP, TOPIC, RUN, TOTAL, DIRECTORY = sys.argv[1:6]
sys.argv = sys.argv[:1] + sys.argv[6:]

app = faust.App(
    RUN, broker=f"kafka://{BOOTSTRAP}", store="memory://", topic_partitions=PARTITIONS, topic_replication_factor=1, web_enabled=False,
    datadir=DIRECTORY, value_serializer="json", key_serializer="raw", broker_max_poll_records=1000, topic_disable_leader=True,
)  # fmt: skip
source = app.topic(TOPIC, value_type=None, value_serializer="json", key_serializer="raw", partitions=PARTITIONS)
alerts_out = app.topic(f"{RUN}-alerts", value_serializer="json", key_serializer="raw", partitions=PARTITIONS)
panes_out = app.topic(f"{RUN}-panes", value_serializer="json", key_serializer="raw", partitions=PARTITIONS)
customers = app.Table("customers", partitions=PARTITIONS)
panes = app.Table("panes", partitions=PARTITIONS)


class Partition:
    """What the tables cannot do: which deadline is next, and which panes are open."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.timers: list[tuple[int, str]] = []
        self.open_panes: set[str] = set()
        self.high = self.closed = 0

    def count(self, at: int, segment: str, channel: str, places: dict[int, int]) -> None:
        """Add to a pane."""
        key = f"{self.number}|{at // PANE_MS}|{segment}|{channel}"
        self.open_panes.add(key)
        counts = list(panes.get(key) or [0] * COUNTERS)
        for place, n in places.items():
            counts[place] += n
        panes[key] = counts

    async def tell(self, alert: Alert) -> None:
        """Send an alert."""
        if not alert.cause:
            self.count(alert.time, alert.segment, alert.channel, {LOST: 1})
        _ = await alerts_out.send(key=alert.customer_id, value=alert._asdict())

    async def apply(self, event: dict[str, Any]) -> None:
        """One event, then what time has come for."""
        key, at = event["customer_id"], event["timestamp"]
        packed = customers.get(key)
        customer = Customer.unpacked(packed) if packed else Customer()
        alerts: list[Alert] = []
        switched, opened, closed = customer.step(key, event["id"], event["channel"], event["type"], event["segment"], at, alerts)
        if customer.open and not customer.armed:
            customer.armed = True
            heappush(self.timers, (customer.deadline, key))
        customers[key] = customer.packed()
        for alert in alerts:
            await self.tell(alert)
        self.count(at, event["segment"], event["channel"], {EVENTS: 1, SWITCHES: switched, OPENED: opened})
        if closed:
            self.count(at, customer.segment, customer.checkout_channel, {CLOSED: 1})
        if at > self.high:
            self.high = at
            await self.fire(at - DISORDER_MS)
            await self.close((at - DISORDER_MS) // PANE_MS)

    async def fire(self, until: int) -> None:
        """Abandon what is due."""
        while self.timers and self.timers[0][0] <= until:
            key = heappop(self.timers)[1]
            customer = Customer.unpacked(customers[key])
            if customer.open and customer.deadline > until:
                heappush(self.timers, (customer.deadline, key))
                continue
            customer.armed = False
            alert = customer.abandon(key) if customer.open else None
            customers[key] = customer.packed()
            if alert:
                await self.tell(alert)

    async def close(self, end: int) -> None:
        """Send the panes before `end`."""
        if end <= self.closed:
            return
        self.closed = end
        for key in [key for key in self.open_panes if int(key.split("|")[1]) < end]:
            _, pane, segment, channel = key.split("|")
            _ = await panes_out.send(key=key, value={"pane": int(pane), "segment": segment, "channel": channel, "counts": panes[key]})
            del panes[key]
            self.open_panes.discard(key)


parts = [Partition(number) for number in range(PARTITIONS)]


@app.agent(source)
async def job(stream: Any) -> None:
    """All of it."""
    seen, begun, begun_cpu = 0, 0.0, 0.0
    async for event in stream.events():
        if not seen:
            begun, begun_cpu = time.monotonic(), time.process_time()
        seen += 1
        await parts[event.message.partition].apply(event.value)
        if seen == int(TOTAL):
            used = {"wall_seconds": round(time.monotonic() - begun, 2), "cpu_seconds": round(time.process_time() - begun_cpu, 2)}
            await app.producer.flush()
            await app.consumer.commit()
            print(json.dumps({"events": seen, **used}), flush=True)
            os._exit(0)  # stock Faust has no way to stop an application from within


if __name__ == "__main__":
    app.main()

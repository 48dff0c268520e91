"""The plain loop: one process, the fastest client and parser Python has, state in dictionaries, nothing durable.

What an engine costs is what it needs beyond this. Arguments: bootstrap, topic, run, number of events.
"""

from __future__ import annotations

import sys
import time

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.job import DISORDER_MS, Alert, Customer, Panes, Timers

PARTITIONS = 4
BATCH = 10_000


class Event(msgspec.Struct, gc=False):
    """The fields of the job."""

    id: str
    customer_id: str
    channel: str
    type: str
    segment: str
    timestamp: int


class Partition:
    """State of one partition."""

    def __init__(self, customers: dict[str, Customer]) -> None:
        self.timers = Timers(customers)
        self.panes = Panes()
        self.high = 0


def main() -> None:
    bootstrap, topic, run, total = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    decode = msgspec.json.Decoder(Event).decode
    encode = msgspec.json.Encoder().encode
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": run, "enable.auto.commit": False, "auto.offset.reset": "earliest",
         "queued.min.messages": 200_000, "fetch.wait.max.ms": 20}
    )  # fmt: skip
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    customers: dict[str, Customer] = {}
    parts = [Partition(customers) for _ in range(PARTITIONS)]
    seen, begun, begun_cpu = 0, 0.0, 0.0
    while seen < total:
        messages = consumer.consume(BATCH, 0.5)
        if not begun and messages:
            begun, begun_cpu = time.monotonic(), time.process_time()
        seen += len(messages)
        alerts: list[Alert] = []
        for message in messages:
            event = decode(message.value())
            part, key, at = parts[message.partition()], event.customer_id, event.timestamp
            customer = customers.get(key)
            if customer is None:
                customer = customers[key] = Customer()
            before = len(alerts)
            done = customer.step(key, event.id, event.channel, event.type, event.segment, at, alerts)
            part.panes.add(at, event.segment, event.channel, done, customer)
            if len(alerts) > before and not alerts[before].cause:
                part.panes.lose(alerts[before])
            if customer.open and not customer.armed:
                part.timers.arm(key, customer)
            if at > part.high:
                part.high = at
        for part in parts:
            for alert in part.timers.due(part.high - DISORDER_MS):
                part.panes.lose(alert)
                alerts.append(alert)
            for pane in part.panes.close(part.high - DISORDER_MS):
                producer.produce(run + "-panes", encode(pane))
        for alert in alerts:
            producer.produce(run + "-alerts", encode(alert._asdict()), key=alert.customer_id)
        producer.poll(0)
    producer.flush(60)
    used = {"wall_seconds": round(time.monotonic() - begun, 2), "cpu_seconds": round(time.process_time() - begun_cpu, 2)}
    print(encode({"events": seen, **used}).decode())


if __name__ == "__main__":
    main()

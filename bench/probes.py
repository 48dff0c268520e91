"""Probes through the running chain: how long an event takes to an alert in Redis and to a gauge.

The start of both is the broker's timestamp (LogAppendTime); broker, worker and this process share one machine's clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import redis.asyncio
from aiokafka import AIOKafkaProducer

if TYPE_CHECKING:
    from bench.worker import Worker

ALERT_PROBES_PER_SECOND: Final = 20
GAUGE_PROBES_PER_SECOND: Final = 2
GAUGE_PROBES_MAX: Final = 80  # each is a team of its own, and a dimension has 100 values
GAUGE_POLL_SECONDS: Final = 0.1
SETTLE_SECONDS: Final = 15  # before the first probe: the simulated customers have to get going
DRAIN_SECONDS: Final = 10  # after the last
TOPIC: Final = "bench.touchpoints.v1"


class Latencies(NamedTuple):
    """p50, p99, max and n of each, in milliseconds; events_per_second: what the worker read meanwhile."""

    alert: dict[str, int]
    gauge: dict[str, int]
    events_per_second: float


def _quantiles(milliseconds: list[float]) -> dict[str, int]:
    if not milliseconds:
        raise RuntimeError("no probe came through")
    ordered = sorted(milliseconds)
    pick = {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}
    return {**{name: round(value) for name, value in pick.items()}, "n": len(ordered)}


def _contact(customer: str, number: int, channel: str, team: str = "first-line") -> tuple[bytes, bytes]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {
        "type": "contact.started", "time": now, "id": f"{customer}-{number}", "source": "/bench", "customer_id": customer,
        "channel": channel, "issue": {"issue_id": f"i-{customer}", "reason": "probe"}, "actor": {"initiator": "customer", "team": team},
    }  # fmt: skip
    return customer.encode(), json.dumps(event).encode()


async def measure(environment: dict[str, str], redis_url: str, worker: Worker, seconds: float) -> Latencies:
    """Probe for `seconds`."""
    alert_found: list[float] = []
    gauge_sent: dict[str, float] = {}
    gauge_found: list[float] = []
    async with AIOKafkaProducer(bootstrap_servers=environment["STREAMER_KAFKA_BOOTSTRAP"]) as producer:
        readers = [
            asyncio.create_task(_read_alerts(redis_url, alert_found)),
            asyncio.create_task(_poll_gauges(worker.rollup_metrics_url, gauge_sent, gauge_found)),
        ]
        await asyncio.sleep(SETTLE_SECONDS)
        before, begun = await asyncio.to_thread(worker.events_consumed), time.monotonic()
        await asyncio.gather(_send_alert_probes(producer, seconds), _send_gauge_probes(producer, seconds, gauge_sent))
        consumed = (await asyncio.to_thread(worker.events_consumed) - before) / (time.monotonic() - begun)
        await asyncio.sleep(DRAIN_SECONDS)
        for reader in readers:
            if reader.done():
                reader.result()
            reader.cancel()
    expected = int(seconds * ALERT_PROBES_PER_SECOND)
    if len(alert_found) < expected or gauge_sent:
        raise RuntimeError(f"{len(alert_found)} of {expected} alert probes came through, {len(gauge_sent)} gauge probes did not")
    return Latencies(_quantiles(alert_found), _quantiles(gauge_found), consumed)


async def _send_alert_probes(producer: AIOKafkaProducer, seconds: float) -> None:
    """Three contacts on three channels each: the third makes two channel switches, which is an alert."""
    begun = time.monotonic()
    for number in range(int(seconds * ALERT_PROBES_PER_SECOND)):
        await asyncio.sleep(max(0.0, begun + number / ALERT_PROBES_PER_SECOND - time.monotonic()))
        for step, channel in enumerate(("web", "phone", "email")):
            key, value = _contact(f"probe-{number:06}", step, channel)
            await producer.send(TOPIC, value, key)


async def _send_gauge_probes(producer: AIOKafkaProducer, seconds: float, sent: dict[str, float]) -> None:
    begun = time.monotonic()
    for number in range(min(GAUGE_PROBES_MAX, int(seconds * GAUGE_PROBES_PER_SECOND))):
        await asyncio.sleep(max(0.0, begun + number / GAUGE_PROBES_PER_SECOND - time.monotonic()))
        team = f"bench-{number:03}"
        key, value = _contact(f"gauge-{number:06}", 0, "phone", team)
        sent[team] = (await producer.send_and_wait(TOPIC, value, key)).timestamp


async def _read_alerts(redis_url: str, found: list[float]) -> None:
    """Every probe's alert as it becomes readable; `detected_at` is the arrival of the event that caused it."""
    client = redis.asyncio.Redis.from_url(redis_url)
    last = f"{time.time_ns() // 1_000_000}-0"
    try:
        while True:
            answer: Any = await client.xread({"cx:alerts": last}, block=1000)
            now_ms = time.time() * 1000
            for _, entries in answer or []:
                last = entries[-1][0]
                for _, fields in entries:
                    alert = json.loads(fields[b"alert"])
                    if alert.get("entity", {}).get("canonical_id", "").startswith("probe-") and alert["state"] == "firing":
                        found.append(now_ms - datetime.fromisoformat(alert["detected_at"]).timestamp() * 1000)
    finally:
        await client.aclose()


async def _poll_gauges(url: str, sent: dict[str, float], found: list[float]) -> None:
    """Look at the endpoint until each sent team is there."""
    async with aiohttp.ClientSession() as session:
        while True:
            if sent:
                async with session.get(url) as answer:
                    text = await answer.text()
                now_ms = time.time() * 1000
                found.extend([now_ms - sent.pop(team) for team in list(sent) if f'team="{team}"' in text])
            await asyncio.sleep(GAUGE_POLL_SECONDS)

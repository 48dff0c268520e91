"""Scenarios and streams for the tests of the simulator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from streamer.alerts.times import milliseconds
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint

T0 = 1_767_225_600_000
MINUTE = 60_000
HOUR = 3_600_000
DAY_HOURS, DAY_RATE = 16, 2


def scenario(*, seed: int = 1, hours: float = 0.5, rate: float = 20, **options: Any) -> Scenario:
    return Scenario(seed, 5_000, T0, T0 + int(hours * HOUR), ((T0, rate),), **options)


@cache
def a_day() -> tuple[Simulation, list[dict[str, Any]], list[int]]:
    """Simulation, its events as JSON, and when each was sent: long, so that few episodes are cut off."""
    simulation = Simulation(scenario(hours=DAY_HOURS, rate=DAY_RATE))
    sent = list(simulation.sent())
    return simulation, [json.loads(record.value) for record in sent], [record.sent_ms for record in sent]


@cache
def a_days_touchpoints() -> list[Touchpoint]:
    return [touchpoint(event) for event in a_day()[1]]


def time_ms(value: bytes) -> int:
    """When an event happened, without reading the rest of it."""
    return milliseconds(value.split(b'"time":"', 1)[1].split(b'"', 1)[0].decode())


def touchpoint(event: dict[str, Any]) -> Touchpoint:
    data = event["data"]
    key = (data.get("customer_id") or data["anonymous_id"]).encode()
    decoded = decode(0, 1 << 60, key, json.dumps(event).encode(), ())
    assert isinstance(decoded, Touchpoint), decoded
    return decoded

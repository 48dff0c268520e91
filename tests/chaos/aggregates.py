"""Aggregate alerts against the recount: from the source log and the journal alone, tick by tick, to the numbers that each alert carries.

What `refold.py` compares is folded by the product's own code; here nothing is shared with the rollup, its rules or its windows.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tests.chaos import wire
from tests.chaos.cluster import DEFINITIONS
from tests.chaos.oracle import outcomes
from tests.oracle.aggregates import Told, transitions
from tests.oracle.plan import duration_ms
from tests.oracle.ticks import TICK_MS, Booking, Known, bookings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka.structs import ConsumerRecord

    from tests.chaos.oracle import Verdict
    from tests.chaos.reading import World

# Of figures that are worked out in another way.
TOLERANCE: Final = 1e-9

Key = tuple[str, tuple[tuple[str, str], ...], int, str]  # rule, slice, time, state


def compare(verdict: Verdict, world: World, recounted: Iterable[Told]) -> None:
    """Note every transition that should have been told and was not, was told and should not have been, or has other numbers."""
    expected = {_key(told): told for told in recounted}
    found: dict[Key, dict[str, Any]] = {}
    for record in (record for records in world.logs["aggregate-alerts"].values() for record in records):
        alert = json.loads(record.value)
        found[alert["rule"]["id"], tuple(sorted(alert.get("slice", {}).items())), _ms(alert["event_time"]), alert["state"]] = alert
    verdict.aggregate_alerts = len(expected)
    sources = {(partition, one.offset): one for partition, records in world.logs["touchpoints"].items() for one in records}
    for key in sorted(expected.keys() - found.keys()):
        verdict.note("missing_alerts", f"{_said(key)} was never told: {expected[key].measured}")
    for key in sorted(found.keys() - expected.keys()):
        verdict.note("phantom_alerts", f"{_said(key)} was told and should not have been: {found[key]['why']}")
    for key in sorted(found.keys() & expected.keys()):
        for name, (told, right) in _numbers(found[key], expected[key]).items():
            if told != right and not (
                isinstance(told, float) and isinstance(right, float) and math.isclose(told, right, abs_tol=TOLERANCE)
            ):
                verdict.note("phantom_alerts", f"{_said(key)} was told with {name} {told} instead of {right}")
        for reason in _wrong_evidence(found[key], sources):
            verdict.note("phantom_alerts", f"{_said(key)} was told with {reason}")


def _wrong_evidence(alert: Mapping[str, Any], sources: Mapping[tuple[int, int], ConsumerRecord]) -> Iterable[str]:
    """What is wrong with the events that an alert names: each must be in the source where it says, no more of them than there are."""
    evidence = alert.get("evidence", [])
    if len(evidence) > max(alert.get("evidence_count", 0), 0):
        yield f"{len(evidence)} events of {alert.get('evidence_count', 0)}"
    if alert["state"] == "firing" and alert["metric"]["name"] == "abandon_rate" and not evidence:
        yield "no event"
    for one in evidence:
        source = sources.get((one["partition"], one["offset"]))
        event = {} if source is None else wire.decode(source.value)
        is_after = _ms(one["time"]) >= _ms(alert["event_time"]) + TICK_MS
        if (event.get("id"), event.get("type")) != (one["event_id"], one["type"]) or is_after:
            yield f"{one['type']} {one['event_id']} of {one['time']}, where there is {event.get('type')} {event.get('id')}"


def expect(world: World) -> list[Told]:
    """The transitions that a finished run must have told, by the recount."""
    definitions = tomllib.loads(DEFINITIONS.read_text())
    lateness_ms = duration_ms(definitions["allowed_lateness"])
    found: list[Booking] = []
    clocks: list[int] = []
    for partition, source in world.logs["touchpoints"].items():
        journal = world.logs["journeys-journal"][partition]
        due = outcomes(source, journal, lateness_ms)
        clocks.append(due.clock)
        at = _clocks(source, journal)
        by_customer: dict[str, list[Known]] = defaultdict(list)
        for event in due.applied:
            by_customer[event["customer"]].append(Known(event, at[event["offset"]]))
        for history in by_customer.values():
            found += bookings(history, definitions, due.clock)
    # A tick is decided once every partition has passed it.
    return transitions(found, definitions, min(clocks) // TICK_MS)


def _clocks(source: Iterable[ConsumerRecord], journal: Iterable[ConsumerRecord]) -> dict[int, int]:
    """The partition's clock at each record: the greatest min(event time, arrival), and the idle clock journalled before."""
    idle = sorted((entry["after"], entry["clock"]) for entry in map(json.loads, (r.value for r in journal)) if "clock" in entry)
    clock = -1
    found: dict[int, int] = {}
    for record in source:
        while idle and idle[0][0] < record.offset:
            clock = max(clock, idle.pop(0)[1])
        if wire.POISON not in record.headers:
            clock = max(clock, min(wire.decode(record.value)["time"], record.timestamp))
        found[record.offset] = clock
    return found


def _key(told: Told) -> Key:
    return told.rule, tuple(sorted(told.slice)), told.time, told.state


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _said(key: Key) -> str:
    rule, labels, time, state = key
    return f"{state} of {rule} ({', '.join(value for _, value in labels) or 'all'}) at tick {time // TICK_MS}"


def _numbers(alert: Mapping[str, Any], told: Told) -> dict[str, tuple[Any, Any]]:
    metric, right = alert["metric"], told.measured
    return {
        "value": (metric.get("value"), right.value),
        "k": (metric.get("k", 0), right.k),
        "n": (metric.get("n", 0), right.n),
        "lower bound": (metric.get("ci_low"), right.lower),
        "upper bound": (metric.get("ci_high"), right.upper),
        "window's start": (_ms(alert["window"]["start"]), told.window_start),
        "window's end": (_ms(alert["window"]["end"]), told.time),
    }

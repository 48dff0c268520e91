"""The same log folded again in one go, without servers and faults: every alert must come out to the byte, in the same order.

This shares its code with the product, so it proves nothing of the fold itself; it shows that no crash, rebalance or restore has
changed a decision. What is right is the recount's to say (`oracle.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from streamer import topics
from streamer.definitions import parse
from streamer.journeys.processor import JourneysProcessor
from streamer.rollup.processor import RollupProcessor
from tests.chaos import wire
from tests.chaos.cluster import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aiokafka.structs import ConsumerRecord

    from streamer.processor import Processor
    from streamer.settings import Settings
    from tests.chaos.oracle import Verdict
    from tests.chaos.reading import World

BATCH_RECORDS = 500


def compare(verdict: Verdict, world: World, settings: Settings, *, with_rollup: bool) -> None:
    """Note each alert that a fold without faults would not have told, or would have."""
    definitions = parse(DEFINITIONS.read_text(), DEFINITIONS.name)
    for partition, records in world.logs["touchpoints"].items():
        journeys = JourneysProcessor(
            definitions, partition=partition, partitions=settings.partitions, rollup_partitions=settings.rollup_partitions,
            topic=settings.topic(topics.TOUCHPOINTS),
        )  # fmt: skip
        told = _fold(journeys, records, world.logs["journeys-journal"][partition], topics.ALERTS)
        _differences(verdict, f"partition {partition}", told, world.logs["alerts"][partition])
    if not with_rollup:
        return
    for partition, records in world.logs["deltas"].items():
        topic = settings.topic(topics.TOUCHPOINTS)
        rollup = RollupProcessor(definitions, partition=partition, partitions=settings.rollup_partitions, build="", topic=topic)
        told = _fold(rollup, records, (), topics.AGGREGATE_ALERTS)
        _differences(verdict, f"rollup partition {partition}", told, world.logs["aggregate-alerts"][partition])


def _fold(processor: Processor, records: Sequence[ConsumerRecord], journal: Iterable[ConsumerRecord], topic: str) -> list[bytes]:
    told: list[bytes] = []

    def process(part: Sequence[ConsumerRecord]) -> None:
        for start in range(0, len(part), BATCH_RECORDS):
            batch = part[start : start + BATCH_RECORDS]
            processor.process(batch, batch[-1].offset + 1)
            told.extend(output.value or b"" for output in processor.drain().outputs if output.topic == topic)

    clocks: dict[int, int] = {}
    for entry in map(json.loads, (record.value for record in journal)):
        if "clock" in entry:
            clocks[entry["after"]] = max(entry["clock"], clocks.get(entry["after"], 0))
    at = 0
    for after, clock in sorted(clocks.items()):
        first = at
        while at < len(records) and records[at].offset <= after:
            at += 1
        process(records[first:at])
        processor.advance(clock)
    process(records[at:])
    told.extend(output.value or b"" for output in processor.drain().outputs if output.topic == topic)
    return told


def _differences(verdict: Verdict, where: str, right: list[bytes], found: Sequence[ConsumerRecord]) -> None:
    for number, value in enumerate(right):
        if number >= len(found):
            verdict.note(
                "missing_alerts", f"{where}: {len(right) - number} of {len(right)} transitions, from {value!r}", len(right) - number
            )
            return
        if found[number].value != value:
            verdict.note("phantom_alerts", f"{where}, transition {number}: {found[number].value!r} instead of {value!r}")
            return
    if len(found) > len(right):
        verdict.note("phantom_alerts", f"{where}: {len(found) - len(right)} transitions too many", len(found) - len(right))


def event_ids(records: Iterable[ConsumerRecord]) -> Iterator[str]:
    """Ids of the events that are no poison."""
    for record in records:
        if wire.POISON not in record.headers:
            event: dict[str, Any] = wire.decode(record.value)
            yield event["id"]

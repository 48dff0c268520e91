"""Reading what an engine has written, and comparing it with the oracle record by record."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_type_hints

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.job import ABANDONED, COUNTERS, DISORDER_MS, PANE_MS, SWITCHED, Alert
from bench.worker import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from bench.oracle import Truth

# What is this near to the end of the event time depends on how an engine treats the end of its input.
END_MARGIN_MS: Final = DISORDER_MS + 3_000
END_MARGIN_PANES: Final = 2
FETCH_MS: Final = 500
EXAMPLES: Final = 3

PaneKey = tuple[int, str, str]
_RIVAL_ALERT: Final = msgspec.defstruct("_RivalAlert", list(get_type_hints(Alert).items()))


class Kept(NamedTuple):
    """One record as it was read. appended_ms: the broker's time for a LogAppendTime topic."""

    partition: int
    offset: int
    appended_ms: int
    value: bytes


async def read(bootstrap: str, topic: str) -> AsyncIterator[list[Kept]]:
    """Everything committed in the topic so far, in batches of one partition each."""
    consumer = AIOKafkaConsumer(  # without a group: all partitions are ours
        topic, bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = sorted(consumer.assignment())
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        left = {place for place in places if await consumer.position(place) < ends[place]}
        while left:
            for place, records in (await consumer.getmany(timeout_ms=FETCH_MS, max_records=20_000)).items():
                yield [Kept(place.partition, record.offset, record.timestamp, record.value) for record in records]
            left = {place for place in left if await consumer.position(place) < ends[place]}
    finally:
        await consumer.stop()


async def create(bootstrap: str, names: Sequence[str]) -> None:
    """Make topics for an engine's output."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        configuration = {"retention.ms": "-1"}  # some engines give their output event time, which is in the past
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=configuration) for name in names])
    finally:
        await admin.close()


async def remove(bootstrap: str, names: Sequence[str]) -> None:
    """Delete them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()


def rival_alert(value: bytes) -> Alert:
    """An alert as the rivals write it: an object with the job's fields."""
    return Alert(*msgspec.structs.astuple(msgspec.json.decode(value, type=_RIVAL_ALERT)))


def rival_panes(values: Iterable[bytes]) -> dict[PaneKey, list[int]]:
    """Panes as the rivals write them; an engine that closes panes per partition writes several records for one, which add up."""
    panes: dict[PaneKey, list[int]] = {}
    for value in values:
        record: dict[str, Any] = msgspec.json.decode(value)
        add(panes, (record["pane"], record["segment"], record["channel"]), record["counts"])
    return panes


def add(panes: dict[PaneKey, list[int]], key: PaneKey, counts: Sequence[int]) -> None:
    """Add counts to a pane."""
    kept = panes.setdefault(key, [0] * COUNTERS)
    for place, n in enumerate(counts):
        kept[place] += n


def compared(
    truth: Truth, alerts: Sequence[Alert], panes: Mapping[PaneKey, list[int]] | None, *, fields: int = len(Alert._fields)
) -> dict[str, Any]:
    """Expected and found of each kind of alert as multisets of records, and of panes with all their counters.

    fields: compare so many of an alert's fields, for an engine whose alerts do not carry all of them. panes: None if it makes none.
    """
    end = truth.end_ms - END_MARGIN_MS
    report: dict[str, Any] = {}
    for kind in (ABANDONED, SWITCHED):
        expected = Counter(alert[:fields] for alert in truth.alerts if alert.kind == kind and alert.time <= end)
        found = Counter(alert[:fields] for alert in alerts if alert.kind == kind and alert.time <= end)
        report[kind] = _difference(expected, found)
    if panes is not None:
        last = end // PANE_MS - END_MARGIN_PANES
        wanted = {key: counts for key, counts in truth.panes.items() if key[0] <= last and any(counts)}
        made = {key: counts for key, counts in panes.items() if key[0] <= last and any(counts)}
        differ = [key for key in wanted.keys() | made.keys() if wanted.get(key) != made.get(key)]
        report["panes"] = {
            "expected": len(wanted), "found": len(made), "differ": len(differ), "sums_expected": _sums(wanted), "sums_found": _sums(made),
            "examples": [[list(key), wanted.get(key), made.get(key)] for key in sorted(differ)[:EXAMPLES]],
        }  # fmt: skip
    return report


def _difference(expected: Counter[Any], found: Counter[Any]) -> dict[str, Any]:
    missing, extra = expected - found, found - expected
    return {
        "expected": expected.total(), "found": found.total(), "missing": missing.total(), "extra": extra.total(),
        "examples": {"missing": sorted(missing)[:EXAMPLES], "extra": sorted(extra)[:EXAMPLES]},
    }  # fmt: skip


def _sums(panes: Mapping[PaneKey, list[int]]) -> list[int]:
    return [sum(counts[place] for counts in panes.values()) for place in range(COUNTERS)]


def exact(report: Mapping[str, Any]) -> bool:
    """Whether nothing is missing, extra or different."""
    kinds = [report[kind] for kind in (ABANDONED, SWITCHED) if report[kind]]
    alerts = all(kind["missing"] == kind["extra"] == 0 for kind in kinds)
    return alerts and report.get("panes", {"differ": 0})["differ"] == 0

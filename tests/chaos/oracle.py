"""The recount: what a finished run must have written, from the source log and the journal alone, and how that differs from what it wrote.

Counts and alerts in force come from `tests/oracle`, a brute-force reading of docs/reference/journeys.md that shares no code with the
processors. What is read here of the product's is its catalogue of counter numbers.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from streamer.metrics.catalogue import METRICS
from streamer.metrics.counters import Counter as Numbered
from tests.chaos import wire
from tests.chaos.cluster import DEFINITIONS
from tests.oracle.journeys import recount
from tests.oracle.plan import duration_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka.structs import ConsumerRecord

    from tests.chaos.reading import Logs, World

Booking = tuple[str, tuple[tuple[str, str], ...], int]  # counter, cell, pane
Entity = tuple[str, str, str, str]  # customer, rule, journey, id

SAMPLES_PER_KIND: Final = 4
MARKER: Final = b"m"
ACCOUNTED: Final = ("consumed", "applied", "duplicate", "late", "dead_lettered", "ignored")
# A record whose `expires_at` is this near may or may not be in Redis' active set.
EXPIRY_SECONDS: Final = 5.0


@dataclass
class Verdict:
    """What is wrong; nothing but the first three should be above 0. samples: some of it, in words.

    aggregate_alerts: transitions of aggregate rules that the recount expects.
    """

    events: int = 0
    alerts: int = 0
    aggregate_alerts: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong_counters: int = 0
    phantom_alerts: int = 0
    missing_alerts: int = 0
    wrong_accounting: int = 0
    samples: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, int]:
        """How many of each kind that there should be none of."""
        return {name: n for name, n in asdict(self).items() if n and name not in ("events", "alerts", "aggregate_alerts", "samples")}

    @property
    def is_clean(self) -> bool:
        return not self.wrong

    def note(self, kind: str, what: str, n: int = 1) -> None:
        """Count something that is wrong."""
        setattr(self, kind, getattr(self, kind) + n)
        if sum(sample.startswith(kind) for sample in self.samples) < SAMPLES_PER_KIND:
            self.samples.append(f"{kind}: {what}")


class Outcomes(NamedTuple):
    """What must have become of a partition's records. put_aside: duplicates of what may have been forgotten, or late."""

    applied: list[dict[str, Any]]
    dead: list[ConsumerRecord]
    duplicates: int
    late: int
    either: int
    clock: int
    next_offset: int


class Expected(NamedTuple):
    """Of the whole run."""

    sums: Counter[Booking]
    in_force: dict[Entity, dict[str, Any]]
    partitions: dict[int, Outcomes]


def outcomes(source: Iterable[ConsumerRecord], journal: Iterable[ConsumerRecord], lateness_ms: int) -> Outcomes:
    """Sort a partition's records into what must have become of them, by the rules of docs/reference/journeys.md."""
    applied: list[dict[str, Any]] = []
    dead: list[ConsumerRecord] = []
    seen: set[tuple[str, str]] = set()
    duplicates = late = either = 0
    high, following = -1, 0
    for record in source:
        following = record.offset + 1
        if wire.POISON in record.headers:
            dead.append(record)
            continue
        event = wire.decode(record.value)
        high = max(high, min(event["time"], record.timestamp))
        identity, is_old = (event["customer"], event["id"]), event["time"] < high - lateness_ms
        if identity in seen:
            duplicates += not is_old
            either += is_old
        elif is_old:
            late += 1
        else:
            seen.add(identity)
            applied.append({**event, "offset": record.offset})
    clocks = [json.loads(record.value).get("clock", -1) for record in journal]
    return Outcomes(applied, dead, duplicates, late, either, max([high, *clocks]), following)


def expect(world: World) -> Expected:
    """Recount the run."""
    definitions = tomllib.loads(DEFINITIONS.read_text())
    lateness_ms = duration_ms(definitions["allowed_lateness"])
    sums: Counter[Booking] = Counter()
    in_force: dict[Entity, dict[str, Any]] = {}
    partitions = {}
    for partition, source in world.logs["touchpoints"].items():
        found = partitions[partition] = outcomes(source, world.logs["journeys-journal"][partition], lateness_ms)
        by_customer: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in found.applied:
            by_customer[event["customer"]].append(event)
        for customer, events in by_customer.items():
            counted = recount(events, definitions, found.clock)
            sums.update(counted.sums)
            for (rule, _, journey, name), signals in counted.in_force.items():
                in_force[customer, rule, journey, name] = signals
    return Expected(sums, in_force, partitions)


def judge(world: World, stream: list[dict[str, Any]] | None, gauges: Mapping[str, float] | None) -> Verdict:
    """Compare everything that there is.

    stream: the alerts that were ever in the Redis stream, in its order; None without a publisher. gauges: lifetime values of the
    rollup; None without one.
    """
    expected = expect(world)
    verdict = Verdict(events=sum(map(len, world.logs["touchpoints"].values())))
    _compare_sums(verdict, expected.sums, sums_of(world.logs["deltas"]))
    _compare_accounting(verdict, world, expected)
    told = {**in_force_of(verdict, world.logs["alerts"]), **in_force_of(verdict, world.logs["aggregate-alerts"])}
    _compare_in_force(verdict, expected.in_force, told)
    if stream is not None:
        _compare_redis(verdict, world, stream, told)
    if gauges is not None:
        _compare_gauges(verdict, expected.sums, gauges)
    return verdict


def sums_of(logs: Logs) -> Counter[Booking]:
    """Net sums of the committed counter changes, from their bytes."""
    sums: Counter[Booking] = Counter()
    for record in (record for records in logs.values() for record in records):
        _, _, _, _, _, _, dimensions, cells, ticks, *_ = msgspec.msgpack.decode(record.value)
        named = [tuple((name, value) for name, value in zip(dimensions, cell, strict=True) if value) for cell in cells]
        for _, flat in ticks:
            for pane, cell, number, n in zip(*[iter(flat)] * 4, strict=True):
                sums[Numbered(number).name, named[cell], pane] += n
    return sums


def _compare_sums(verdict: Verdict, expected: Counter[Booking], found: Counter[Booking]) -> None:
    for booking in expected.keys() | found.keys():
        n = found[booking] - expected[booking]
        if not n:
            continue
        verdict.note("wrong_counters", f"{booking}: {found[booking]} instead of {expected[booking]}")
        if booking[0] == "TOUCHPOINTS":
            verdict.note("duplicated" if n > 0 else "lost", f"{abs(n)} touchpoints in pane {booking[2]}", abs(n))


def _compare_accounting(verdict: Verdict, world: World, expected: Expected) -> None:
    """Invariant I5, and that everything put aside is there with its original bytes."""
    for partition, due in expected.partitions.items():
        rows = [record for record in world.logs["journeys-changelog"][partition] if record.key == MARKER]
        marker: dict[str, Any] = json.loads(rows[-1].value) if rows else {"accounting": {}, "next_offset": 0, "clock": -1}
        counted: Counter[str] = Counter(marker["accounting"])
        put_aside = sorted(record.value or b"" for record in world.logs["dead-letters"][partition])
        consumed = len(world.logs["touchpoints"][partition])
        facts = {
            "consumed": (counted["consumed"], consumed),
            "applied": (counted["applied"], len(due.applied)),
            "dead_lettered": (counted["dead_lettered"], len(due.dead)),
            "duplicate and late": (counted["duplicate"] + counted["late"], due.duplicates + due.late + due.either),
            "all outcomes": (sum(counted[k] for k in ("applied", "duplicate", "late", "dead_lettered", "ignored")), consumed),
            "dead letters": (put_aside, sorted(record.value or b"" for record in due.dead)),
            "late events": (len(world.logs["late"][partition]), counted["late"]),
            "clock": (marker["clock"], due.clock),
            "position beyond the last record": (marker["next_offset"] >= due.next_offset, True),
        }  # fmt: skip
        for name, (found, right) in facts.items():
            if found != right:
                verdict.note("wrong_accounting", f"{name} of partition {partition}: {str(found)[:200]} instead of {str(right)[:200]}")
        if not due.duplicates <= counted["duplicate"] <= due.duplicates + due.either:
            verdict.note("wrong_accounting", f"{counted['duplicate']} duplicates in partition {partition}, {due.duplicates} expected")


def compare_accounted(verdict: Verdict, world: World, shown: Mapping[str, float]) -> None:
    """What the endpoints showed in the end of what became of the records is what the state says, which was compared above."""
    counted: Counter[str] = Counter()
    for rows in world.logs["journeys-changelog"].values():
        markers = [record for record in rows if record.key == MARKER]
        counted.update({kind: n for kind, n in json.loads(markers[-1].value)["accounting"].items() if kind in ACCOUNTED} if markers else {})
    for kind in ACCOUNTED:
        if shown.get(kind, 0) != counted[kind]:
            verdict.note("wrong_accounting", f"the endpoints show {shown.get(kind, 0):g} events as {kind} instead of {counted[kind]}")


def in_force_of(verdict: Verdict, logs: Logs) -> dict[str, dict[str, Any]]:
    """fingerprint -> last record of what is in force. Transitions out of turn are phantoms."""
    held: dict[str, dict[str, Any]] = {}
    last: dict[str, str] = {}
    ids: set[str] = set()
    for record in (record for records in logs.values() for record in records):
        alert = json.loads(record.value)
        fingerprint, state = alert["fingerprint"], alert["state"]
        verdict.alerts += 1
        if alert["alert_id"] in ids:
            verdict.note("phantom_alerts", f"{alert['alert_id']} is in the topic twice: {alert['why']}")
        ids.add(alert["alert_id"])
        has_ended = state == "retracted" and last.get(fingerprint) == "resolved"  # and, as a late event showed, never began
        if (fingerprint in held) != (state != "firing") and not has_ended:
            verdict.note("phantom_alerts", f"{state} out of turn: {alert['why']}")
        if state in ("firing", "amended"):
            held[fingerprint] = alert
        else:
            held.pop(fingerprint, None)
        last[fingerprint] = state
    return held


def _compare_in_force(verdict: Verdict, expected: dict[Entity, dict[str, Any]], told: dict[str, dict[str, Any]]) -> None:
    found = {}
    for alert in told.values():
        if "entity" in alert:
            entity = alert["entity"]
            name = entity.get("journey_id") or entity.get("issue_id", "")
            found[entity["canonical_id"], alert["rule"]["id"], entity.get("journey", ""), name] = alert["metric"].get("signals", {})
    for key in expected.keys() - found.keys():
        verdict.note("missing_alerts", f"{key} is in force with {expected[key]}")
    for key in found.keys() - expected.keys():
        verdict.note("phantom_alerts", f"{key} is not in force")
    for key in found.keys() & expected.keys():
        if found[key] != expected[key]:
            verdict.note("phantom_alerts", f"{key} is in force with {expected[key]}, not {found[key]}")


def _compare_redis(verdict: Verdict, world: World, stream: list[dict[str, Any]], told: dict[str, dict[str, Any]]) -> None:
    """Each transition once in the stream, those of a fingerprint in order; what is in force is in the active set."""
    written: dict[str, list[str]] = defaultdict(list)
    for name in ("alerts", "aggregate-alerts"):
        for record in (record for records in world.logs[name].values() for record in records):
            alert = json.loads(record.value)
            written[alert["fingerprint"]].append(alert["alert_id"])
    delivered: dict[str, list[str]] = defaultdict(list)
    for alert in stream:
        delivered[alert["fingerprint"]].append(alert["alert_id"])
    for fingerprint in written.keys() | delivered.keys():
        right, found = written[fingerprint], delivered[fingerprint]
        missing, extra = Counter(right) - Counter(found), Counter(found) - Counter(right)
        if missing:
            verdict.note("missing_alerts", f"{dict(missing)} of {fingerprint} never came to the Redis stream", missing.total())
        if extra:
            verdict.note("phantom_alerts", f"{dict(extra)} of {fingerprint} came once too often to the Redis stream", extra.total())
        if right != found and not missing and not extra:
            verdict.note("phantom_alerts", f"the transitions of {fingerprint} came in another order to the Redis stream")
    now = time.time()

    def lasting(records: Mapping[str, dict[str, Any]], seconds: float) -> dict[str, str]:
        return {f: r["alert_id"] for f, r in records.items() if datetime.fromisoformat(r["expires_at"]).timestamp() > now + seconds}

    for fingerprint, alert_id in lasting(told, EXPIRY_SECONDS).items():
        if world.active.get(fingerprint, {}).get("alert_id") != alert_id:
            verdict.note("missing_alerts", f"{fingerprint} is in force with {alert_id} and not in Redis' active set")
    for fingerprint in lasting(world.active, 0).keys() - told.keys():
        verdict.note("phantom_alerts", f"{fingerprint} is in Redis' active set and not in force")


def _compare_gauges(verdict: Verdict, sums: Counter[Booking], gauges: Mapping[str, float]) -> None:
    totals: Counter[str] = Counter()
    for (counter, _, _), n in sums.items():
        totals[counter] += n
    for metric in METRICS:
        if metric.kind in ("count", "stock") and metric.gauge in gauges:
            right = sum(totals[counter.name] for counter in metric.numerator)
            if gauges[metric.gauge] != right:
                verdict.note("wrong_counters", f"{metric.gauge} shows {gauges[metric.gauge]:.0f} instead of {right}")

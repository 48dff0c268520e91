"""This product as one of the engines: its worker with all roles, on a source topic that is already filled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter as Tally
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from bench import outputs, processes
from bench.job import ABANDONED, CLOSED, CONTACT, DEADLINE_MS, EVENTS, LOST, OPENED, SWITCHED, SWITCHES, Alert
from bench.oracle import Event, decode
from bench.worker import COMMAND, PARTITIONS, ROLES_IN_GROUPS, Worker, compiled_environment, environment_of, metrics_port
from deploy.local.process import await_condition
from streamer import deltas, settings, topics
from streamer.alerts import alert
from streamer.engine import topic_admin
from streamer.metrics.counters import Counter
from streamer.metrics.families import ROLES
from streamer.touchpoints.times import milliseconds

if TYPE_CHECKING:
    from bench.oracle import Truth
    from deploy.local.stack import Stack

DEFINITIONS_AB: Final = Path(__file__).with_name("definitions-ab.toml")
PLACES: Final = {
    int(Counter.TOUCHPOINTS): EVENTS, int(Counter.CHANNEL_SWITCHES): SWITCHES, int(Counter.STARTED): OPENED,
    int(Counter.COMPLETED): CLOSED, int(Counter.ABANDONED): LOST,
}  # fmt: skip
DELETED_SECONDS: Final = 30.0


class Row(NamedTuple):
    """One row of the product. definitions: None is the documented default; is_compiled: with the compiled copy of the hot path;
    workers: of all roles, as if each had a machine.
    """

    id: str
    title: str
    definitions: Path | None
    is_compiled: bool = True
    workers: int = 1


ROWS: Final = (
    Row("product", "this product", DEFINITIONS_AB),
    Row("product-cores", "this product, a worker for each core", DEFINITIONS_AB, workers=os.cpu_count() or 1),
    Row("product-all", "this product, everything on", None),
    Row("product-source", "this product, not compiled", DEFINITIONS_AB, is_compiled=False),
)


def environment(stack: Stack, row: Row, prefix: str) -> dict[str, str]:
    """The worker's environment for a row on the topics of a prefix."""
    made = environment_of(stack, app=f"{row.id}-{prefix.rstrip('.')}", prefix=prefix)
    made["STREAMER_REDIS_PREFIX"] = f"{row.id}:{prefix}"
    if row.definitions is not None:
        made["STREAMER_DEFINITIONS"] = str(row.definitions)
    return made | compiled_environment() if row.is_compiled else made


def config_of(environment: dict[str, str]) -> settings.Settings:
    """The settings a worker has in that environment."""
    names = {"app", "topic_prefix", "partitions", "kafka_bootstrap", "redis_url"}
    given: dict[str, Any] = {name: environment[f"{settings.PREFIX}{name.upper()}"] for name in names}
    return settings.Settings(**given)


def create_topics(environment: dict[str, str]) -> None:
    """As a user would."""
    subprocess.run([sys.executable, "-m", "streamer", "topics", "create"], env=environment, check=True, stdout=subprocess.DEVNULL)


def fresh_topics(environment: dict[str, str]) -> None:
    """Everything but the source anew: rows share the source, and with it the prefix of what they write."""
    config = config_of(environment)
    others = [spec.name for spec in topic_admin.specs(config) if spec.name != config.topic(topics.TOUCHPOINTS)]
    asyncio.run(_delete(config.kafka_bootstrap, others))
    create_topics(environment)


async def _delete(bootstrap: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name for name in names if name in await admin.list_topics()])
    finally:
        await admin.close()
    if not await asyncio.to_thread(await_condition, lambda: not asyncio.run(_existing(bootstrap, names)), DELETED_SECONDS):
        raise RuntimeError(f"these topics were deleted and are still there: {', '.join(names)}")


async def _existing(bootstrap: str, names: list[str]) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(names) & set(await admin.list_topics())
    finally:
        await admin.close()


def run(stack: Stack, row: Row, prefix: str, log: Path) -> tuple[processes.Usage, dict[str, Any]]:
    """Start the workers, wait until all is folded, committed, rolled up and delivered, and stop them; usage, and CPU by role."""
    made = environment(stack, row, prefix)
    fresh_topics(made)
    roles: Tally[str] = Tally()
    with ExitStack() as started:
        workers, runs = [], []
        for number in range(row.workers):
            own = made | {"STREAMER_METRICS_PORT": str(metrics_port())}
            lines = log.with_name(f"{number}-{log.name}")
            measured = processes.measured(COMMAND, broker_pid=stack.kafka.pid, log=lines, environment=own, directory=log.parent)
            runs.append(started.enter_context(measured))
            # Which of several publishers rebuilds the active set, and says so, is a matter of chance.
            workers.append(Worker(own, lines, wanted=ROLES if row.workers == 1 else ROLES_IN_GROUPS))
        for worker, running in zip(workers, runs, strict=True):
            worker.attach(running.process)
        for worker in workers:
            worker.until_done()
        for worker, running in zip(workers, runs, strict=True):
            running.finished()
            roles.update(worker.cpu_seconds(since_start=True))
        for running in runs:
            running.tell()
    return processes.together([running.usage for running in runs]), {
        "cpu_seconds_by_role": {role: round(seconds, 2) for role, seconds in roles.items()}
    }


async def found(bootstrap: str, prefix: str) -> tuple[list[Alert], dict[outputs.PaneKey, list[int]], int]:
    """What the worker has written: alerts that stand, panes as the sums of committed deltas; how many alerts were taken back."""
    panes: dict[outputs.PaneKey, list[int]] = {}
    async for batch in outputs.read(bootstrap, f"{prefix}deltas.v1"):
        for kept in batch:
            add_deltas(panes, deltas.decode(kept.value))
    records: list[alert.Alert] = []
    async for batch in outputs.read(bootstrap, f"{prefix}alerts.v1"):
        records.extend(alert.decode(kept.value) for kept in batch)
    stand, taken_back = standing(records)
    causes = await _causes(bootstrap, f"{prefix}touchpoints.v1", stand)
    return [alert_of(record, causes) for record in stand], panes, taken_back


def standing(records: list[alert.Alert]) -> tuple[list[alert.Alert], int]:
    """The latest transition of each alert that was not retracted (one that has ended stands), and how many were."""
    latest: dict[str, alert.Alert] = {}
    for record in records:
        if record.state != "resolved":
            latest[record.episode_id] = record
    stand = [record for record in latest.values() if record.state != "retracted"]
    return stand, len(latest) - len(stand)


def add_deltas(panes: dict[outputs.PaneKey, list[int]], batch: deltas.DeltaBatch) -> None:
    """Add the job's counters of a batch to the panes."""
    segment, channel = batch.dimensions.index("segment"), batch.dimensions.index("channel")
    for _, flat in batch.ticks:
        for at in range(0, len(flat), 4):
            pane, cell, counter, n = flat[at : at + 4]
            place = PLACES.get(counter)
            if place is not None:
                counts = [0] * len(PLACES)
                counts[place] = n
                outputs.add(panes, (pane, batch.cells[cell][segment], batch.cells[cell][channel]), counts)


async def _causes(bootstrap: str, topic: str, records: list[alert.Alert]) -> dict[tuple[int, int], Event]:
    """The source events that made alerts about switches, by partition and offset."""
    wanted = {_cause(record) for record in records if record.rule.id == SWITCHED}
    events: dict[tuple[int, int], Event] = {}
    if wanted:
        async for batch in outputs.read(bootstrap, topic):
            for kept in batch:
                if (kept.partition, kept.offset) in wanted:
                    events[kept.partition, kept.offset] = decode(kept.value)
    return events


def _cause(record: alert.Alert) -> tuple[int, int]:
    return record.evidence[-1].partition, record.evidence[-1].offset


def alert_of(record: alert.Alert, causes: dict[tuple[int, int], Event]) -> Alert:
    """The product's alert in the terms of the job. The numbers shown are -1 where the definitions do not show them."""
    customer = record.entity.canonical_id if record.entity else ""
    signals = record.metric.signals
    switches = int(signals.get("channel_switches", signals.get("customer_switches", -1)))
    contacts = int(signals.get("contacts", signals.get("customer_contacts", -1)))
    if record.rule.id == SWITCHED:
        event = causes[_cause(record)]
        # The job counts a contact after its channel, the product before.
        before = contacts - (event.type == CONTACT)
        return Alert(SWITCHED, customer, event.timestamp, event.segment, event.channel, switches, before, event.id)
    at = max(milliseconds(evidence.time) for evidence in record.evidence) + DEADLINE_MS
    return Alert(ABANDONED, customer, at, str(signals["segment"]), str(signals["channel"]), switches, contacts, "")


def compared(truth: Truth, alerts: list[Alert], panes: dict[outputs.PaneKey, list[int]]) -> dict[str, Any]:
    """The comparison, of the fields that the definitions make alerts show; a kind of alert they do not make is left out."""
    fields = len(Alert._fields) if all(one.switches >= 0 for one in alerts) else Alert._fields.index("switches")
    report = outputs.compared(truth, alerts, panes, fields=fields)
    report["fields"] = list(Alert._fields[:fields])
    if not any(one.kind == SWITCHED for one in alerts):
        report[SWITCHED] = None
        return report
    # The product does not tell an alert that had ended before the event came that shows it: what must be exact are the customers
    # whose events came in order.
    report["switched_of_all"] = report[SWITCHED]
    in_order = msgspec.structs.replace(truth, alerts=[one for one in truth.alerts if one.customer_id not in truth.disordered])
    told = [one for one in alerts if one.customer_id not in truth.disordered]
    report[SWITCHED] = outputs.compared(in_order, told, None, fields=fields)[SWITCHED]
    return report


__all__ = ["PARTITIONS", "ROWS", "Row", "compared", "environment", "found", "run"]

"""Runs the journeys processor over a log in memory, keeping what a changelog, the topics and the journal would keep."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from streamer import deltas, topics
from streamer.alerts.alert import Alert
from streamer.alerts.alert import decode as decode_alert
from streamer.definitions import parse
from streamer.journeys.customer import Customer
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.row import Emitted
from streamer.journeys.write_behind import Behind
from streamer.metrics.counters import Counter as Name
from streamer.processor import MARKER_KEY, ROW_PREFIX, LogRecord, Output

# The default definitions without chapters.
CORE_DEFINITIONS = Path(__file__).parents[1] / "bench" / "definitions-core.toml"

BASE_MS = 1_795_256_100_000  # 2026-11-21T10:15:00Z, the beginning of a pane
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

Cell = tuple[tuple[str, str], ...]
Booking = tuple[str, Cell, int]  # counter, dimensions, pane


def raised(text: str) -> str:
    """Definitions under the next revision."""
    return re.sub(r"^revision = (\d+)", lambda found: f"revision = {int(found[1]) + 1}", text, count=1, flags=re.MULTILINE)


_GROUPS = {
    "issue": ("issue_id", "case_id", "contact_id", "reason", "severity", "resolved", "due_at"),
    "actor": ("team", "partner", "owner", "initiator"),
    "handoff": ("from_team", "to_team", "handoff_kind", "context_passed"),
    "commerce": ("checkout_id", "order_id", "cart_id", "currency", "revenue"),
}


def wire(event: Mapping[str, Any]) -> bytes:
    """The flat form of an event dict; `time` is milliseconds after the epoch."""
    grouped = {name for names in _GROUPS.values() for name in names}
    skipped = {"time", "offset", "customer", "arrival", "analytics_consent"} | grouped
    body = {name: value for name, value in event.items() if name not in skipped and value is not None}
    for group, names in _GROUPS.items():
        part = {name.removeprefix("handoff_"): event[name] for name in names if event.get(name) is not None}
        if part:
            body[group] = part
    if event.get("analytics_consent") is not None:
        body["consent"] = {"categories": {"analytics": event["analytics_consent"]}}
    body["customer_id"] = event["customer"]
    body["time"] = datetime.fromtimestamp(event["time"] / 1000, UTC).isoformat(timespec="milliseconds")
    return json.dumps(body).encode()


def record(event: Mapping[str, Any]) -> LogRecord:
    return LogRecord(event["offset"], event["arrival"], event["customer"].encode(), wire(event))


class Journalled(NamedTuple):
    """After the record with offset `after`, the idle clock was `clock`."""

    after: int
    clock: int


WRITE_AT_ONCE = Behind(1_000_000, 1_000_000, 1_000_000)


class Meaning(NamedTuple):
    """What a customer's row says, however much of it is packed as a state and however much as events."""

    due: int
    quiet_at: int
    born: int
    revision: int
    last_time: int
    state: bytes
    events: list[int]
    in_force: dict[str, Emitted]


def meaning_of(processor: JourneysProcessor, key: bytes, packed: bytes) -> Meaning:
    """What a row of the processor's customer says."""
    customer = Customer.of_row(key, packed)
    fold = processor._folds[customer.revision]
    watermark = processor.high_ms - fold.definitions.allowed_lateness
    state = customer.folded(fold, customer.events(), processor.clock_ms)
    return Meaning(
        customer.due,
        customer.quiet_at,
        customer.born,
        customer.revision,
        customer.last_time,
        fold.pack(state),
        [event.offset for event in customer.events() if event.time >= watermark],
        {key: told for key, told in customer.emitted.items() if told.in_force},
    )


class Run:
    """One owner after the other of one partition, and what they left on the topics. `crash` loses what was not drained."""

    def __init__(self, definitions: str, behind: Behind = WRITE_AT_ONCE) -> None:
        self._definitions = parse(definitions)
        self._behind = behind
        self.log: list[LogRecord] = []
        self.refolded = 0
        self.changelog: dict[bytes, bytes] = {}
        self.writes: Counter[bytes] = Counter()  # of each changelog key, tombstones not counted
        self.alerts: list[Alert] = []
        self.alert_bytes: list[bytes] = []
        self.ticks: Counter[tuple[Booking, int]] = Counter()
        self.journal: list[Journalled] = []
        self.put_aside: list[Output] = []
        self.next_offset = 0
        self.processor = self._opened()

    def _opened(self) -> JourneysProcessor:
        processor = JourneysProcessor(
            self._definitions,
            partition=0,
            partitions=1,
            rollup_partitions=1,
            build="test",
            behind=self._behind,
        )
        processor.restore(list(self.changelog.items()))
        start, end = processor.replay_from, processor.next_offset or 0
        if start is not None:
            missing = [one for one in self.log if start <= one.offset < end]
            self.refolded += len(missing)
            half = len(missing) // 2
            if half:
                processor.refold(missing[:half], missing[half - 1].offset + 1)
            processor.refold(missing[half:], end)
        assert processor.replay_from is None
        return processor

    def process(self, records: Sequence[LogRecord]) -> None:
        if records:
            known = self.log[-1].offset if self.log else -1
            self.log += [one for one in records if one.offset > known]
            self.processor.process(records, records[-1].offset + 1)

    def advance(self, clock_ms: int) -> None:
        self.processor.advance(clock_ms)

    def drain(self) -> None:
        rows, outputs, journal, self.next_offset = self.processor.drain()
        assert rows, "a drain without its marker"
        assert rows[-1][0] == MARKER_KEY
        for key, row in rows:
            if row is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = row
                self.writes[key] += 1
        for output in outputs:
            if output.topic == topics.ALERTS:
                self.alert_bytes.append(output.value or b"")
                self.alerts.append(decode_alert(output.value or b""))
            elif output.topic == topics.DELTAS:
                self._book(deltas.decode(output.value or b""))
            else:
                self.put_aside.append(output)
        for entry in map(json.loads, journal):
            if "clock" in entry:
                self.journal.append(Journalled(entry["after"], entry["clock"]))
        self.check_accounting()

    def crash(self) -> None:
        """The next owner goes on from the last drain; the caller sends again from `next_offset`."""
        self.processor = self._opened()
        assert (self.processor.next_offset or 0) == self.next_offset

    def upgrade(self, definitions: str) -> None:
        """The next owner has other definitions."""
        self._definitions = parse(definitions)
        self.crash()

    @property
    def rows(self) -> dict[bytes, Meaning]:
        """What the state's rows mean."""
        return {key: meaning_of(self.processor, key, row) for key, row in self.processor.rows().items()}

    @property
    def written_rows(self) -> dict[bytes, Meaning | bytes]:
        """What the changelog means once everything is written."""
        self.processor.write_all()
        self.drain()
        return {key: meaning_of(self.processor, key[1:], row) if key[:1] == ROW_PREFIX else row for key, row in self.changelog.items()}

    def check_accounting(self) -> None:
        """Invariant I5."""
        a = self.processor.accounting
        parts = ("applied", "duplicate", "late", "dead_lettered", "ignored")
        assert a["consumed"] == sum(a[part] for part in parts), dict(a)

    @property
    def sums(self) -> dict[Booking, int]:
        """Net counts over all ticks, without those that cancel out."""
        sums: Counter[Booking] = Counter()
        for (booking, _), n in self.ticks.items():
            sums[booking] += n
        return {booking: n for booking, n in sums.items() if n}

    @property
    def tick_sums(self) -> dict[tuple[Booking, int], int]:
        return {key: n for key, n in self.ticks.items() if n}

    def total(self, counter: str, **dimensions: str) -> int:
        """Net count over all panes of the cells that have these dimensions."""
        return sum(n for (name, cell, _), n in self.sums.items() if name == counter and dimensions.items() <= dict(cell).items())

    def at(self, counter: str, time_ms: int) -> int:
        """Net count in the pane of an event time."""
        pane = time_ms // deltas.PANE_MS
        return sum(n for (name, _, where), n in self.sums.items() if name == counter and where == pane)

    @property
    def in_force(self) -> list[Alert]:
        """What a consumer holds in force: the last transition of each episode that has not ended."""
        held: dict[str, Alert] = {}
        last: dict[str, str] = {}
        for alert in self.alerts:
            if alert.state in ("firing", "amended"):
                assert (alert.fingerprint in held) == (alert.state == "amended"), alert
                held[alert.fingerprint] = alert
            else:
                ended = held.pop(alert.fingerprint, None)
                assert ended is not None or (alert.state == "retracted" and last[alert.fingerprint] == "resolved"), alert
            last[alert.fingerprint] = alert.state
        return list(held.values())

    def _book(self, batch: deltas.DeltaBatch) -> None:
        cells = [tuple((d, v) for d, v in zip(batch.dimensions, values, strict=True) if v) for values in batch.cells]
        for tick, flat in batch.ticks:
            for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                self.ticks[(Name(counter).name, cells[cell], pane), tick] += n


class Story:
    """A hand-written history of one customer, event by event, for tests that say what happens at each step."""

    def __init__(self, definitions: str, customer: str = "c-1") -> None:
        self.run = Run(definitions)
        self.customer = customer
        self.offset = 0
        self.arrival = BASE_MS

    def event(self, kind: str, seconds: float, *, delay: float = 0, **fields: Any) -> int:
        """An event `seconds` after the beginning that arrives `delay` seconds later, or with the record before it. Gives its time."""
        time = BASE_MS + round(seconds * 1000)
        self.arrival = max(self.arrival, time + round(delay * 1000))
        fields = {"id": f"e{self.offset}", "source": "/test", "channel": "web", "customer": self.customer, **fields}
        self.send([record({"type": kind, "time": time, "offset": self.offset, "arrival": self.arrival, **fields})])
        return time

    def send(self, records: Iterable[LogRecord]) -> None:
        for one in records:
            self.run.process([one])
            self.offset = one.offset + 1
        self.run.drain()

    def clock(self, seconds: float) -> int:
        """Let time pass without an event. Gives the clock."""
        clock = BASE_MS + round(seconds * 1000)
        self.run.advance(clock)
        self.run.drain()
        return clock

    def restart(self) -> None:
        self.run.crash()

    @property
    def states(self) -> list[str]:
        return [alert.state for alert in self.run.alerts]

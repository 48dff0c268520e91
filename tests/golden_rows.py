"""State rows as each version of the program wrote them, which every later version must read.

`python -m tests.golden_rows` writes the file of this version's schema into tests/data/rows, once: a file that is there stays as
it is, whatever becomes of the code. A file has the log before the rows, the rows, and the log after them.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamer import definitions, topics
from streamer.journeys import marker
from streamer.journeys import row as rows_of
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord
from streamer.rollup import rows as rollup_rows
from streamer.rollup.processor import RollupProcessor
from tests.journeys_support import BASE_MS, record
from tests.property.journeys_histories import CASE, CHECKOUT, CONTACT, DEFINITIONS, ONBOARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.processor import Output, Processor

FOLDER: Final = Path(__file__).with_name("data") / "rows"
CUSTOMERS: Final = 12
EVENTS: Final = 240
SURVEY_EVERY: Final = 8
CHAPTERS: Final = "\n[surveys]\n"
# With it, answers are kept with the events that are evidence.
SURVEY_RULE: Final = """
[[slice]]
by = []
[[rule]]
id = "nps"
metric = "nps_experience"
windows = ["1h"]
when = "upper < 0"
"""
AGGREGATE_RULE: Final = """
[[slice]]
by = ["journey"]
[[rule]]
id = "abandonment"
metric = "abandon_rate"
by = ["journey"]
windows = ["5m"]
when = "value > 0.1"
min_n = 3
for = "5s"
"""


class Entry(msgspec.Struct, array_like=True):
    """A record of the log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


class Golden(msgspec.Struct):
    """One machine's rows after `before`; `rows`: (key, value)."""

    machine: str
    definitions: str
    before: list[Entry]
    rows: list[tuple[bytes, bytes]]
    after: list[Entry]


def schema(machine: str) -> str:
    """This version's: of journeys the marker's and the customer rows'."""
    return f"{marker.MARKER_SCHEMA}.{rows_of.ROW_SCHEMA}" if machine == "journeys" else str(rollup_rows.SCHEMA)


def file_of(machine: str) -> Path:
    """Where the rows of this version's schema are."""
    return FOLDER / f"{machine}-{schema(machine)}.json"


def load(file: Path) -> Golden:
    return msgspec.json.decode(file.read_bytes(), type=Golden)


def make(golden: Golden) -> Processor:
    """An empty processor of a file's machine and definitions."""
    parsed = definitions.parse(golden.definitions)
    if golden.machine == "journeys":
        return JourneysProcessor(parsed, partition=0, partitions=1, rollup_partitions=1, build="golden")
    return RollupProcessor(parsed, partition=0, partitions=1, build="golden")


def feed(processor: Processor, entries: Sequence[Entry]) -> list[Output]:
    """Fold records one batch each ten; returns the outputs."""
    outputs: list[Output] = []
    for first in range(0, len(entries), 10):
        batch = [LogRecord(entry.offset, entry.timestamp, entry.key, entry.value) for entry in entries[first : first + 10]]
        processor.process(batch, batch[-1].offset + 1)
        outputs += processor.drain().outputs
    return outputs


def state_after(processor: Processor, entries: Sequence[Entry]) -> list[tuple[bytes, bytes]]:
    """The changelog's latest rows after folding these."""
    kept: dict[bytes, bytes] = {}
    for first in range(0, len(entries), 10):
        batch = [LogRecord(entry.offset, entry.timestamp, entry.key, entry.value) for entry in entries[first : first + 10]]
        processor.process(batch, batch[-1].offset + 1)
        for key, row in processor.drain().rows:
            if row is None:
                kept.pop(key, None)
            else:
                kept[key] = row
    return sorted(kept.items())


def touchpoints() -> list[Entry]:
    """Journeys, issues, cases and answers of a few customers, a third of the events out of order, all within three minutes."""
    rng = random.Random(20_261_128)
    log: list[dict[str, Any]] = []
    for n in range(EVENTS):
        who = rng.randrange(CUSTOMERS)
        kind = rng.choice(rng.choice([CHECKOUT, CONTACT, CASE, ONBOARDING]))
        arrival = BASE_MS + n * 750
        event = {
            "id": f"e{n}", "source": "/golden", "type": kind, "time": arrival - rng.choice([0, 0, 5_000]),
            "channel": rng.choice(["web", "app", "phone"]),
            "customer": f"c{who}", "arrival": arrival, "offset": n, "checkout_id": f"k{who}" if kind in CHECKOUT else None,
            "case_id": f"s{who}" if kind in CASE else None, "issue_id": f"i{who}", "team": rng.choice(["a", "b"]) if kind in CASE else None,
            "journey_id": f"j{who}" if kind in ONBOARDING else None, "contact_id": f"t{n}" if kind in CONTACT else None,
            "account_id": f"a{who % 3}",
        }  # fmt: skip
        if n % SURVEY_EVERY == 0:
            event |= {"type": "survey.responded", "survey": {"instrument": "nps", "score": n // SURVEY_EVERY % 11}}
        log.append(event)
    return [Entry(r.offset, r.timestamp, r.key, r.value or b"") for r in map(record, log)]


def delta_records(outputs: Iterable[Output]) -> list[Entry]:
    """What journeys sent to the rollup, as its log."""
    values = [output.value or b"" for output in outputs if output.topic == topics.DELTAS]
    return [Entry(offset, BASE_MS + offset, None, value) for offset, value in enumerate(values)]


def write(machine: str, text: str, log: list[Entry]) -> None:
    """Write the file of this version's schema unless it is there."""
    half = len(log) * 2 // 3
    golden = Golden(machine, text, log[:half], [], log[half:])
    golden.rows = state_after(make(golden), golden.before)
    file = file_of(machine)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1) + b"\n")


def main() -> None:
    """Write what is missing."""
    log = touchpoints()
    write("journeys", DEFINITIONS + CHAPTERS + AGGREGATE_RULE + SURVEY_RULE, log)
    text = DEFINITIONS + AGGREGATE_RULE
    write("rollup", text, delta_records(feed(make(Golden("journeys", text, log, [], [])), log)))


if __name__ == "__main__":
    main()

"""The worked examples of the documentation: a few events, and what the metric is afterwards."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

from streamer.authoring import notation
from streamer.definitions import Definitions, parse
from streamer.metrics.catalogue import CHAPTER_OF, CORE
from streamer.verify.counted import count
from streamer.verify.raw_log import Record
from streamer.verify.tables import used_dimensions

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference" / "examples"
HOUR_MS: Final = 3_600_000
_DEFINITIONS: Final = """
revision = 1
windows = ["1h"]
[[slice]]
by = []
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
fail = ["order.cancelled"]
activity = ["checkout.*", "payment.*", "form.error", "friction.signal"]
identified_by = ["checkout_id", "order_id", "cart_id", "session"]
[[journey]]
id = "service_case"
start = ["case.opened"]
complete = ["case.resolved", "case.closed"]
activity = ["case.*", "contact.*", "handoff.*"]
identified_by = ["case_id"]
deadline = "7d"
recoverable_for = "7d"
[contacts.channel_groups]
web = "self_service"
app = "self_service"
phone = "phone"
"""


class Example(NamedTuple):
    """text: what happens, for people. log: the events. end_ms: the clock at the end. wanted: k, n, value as far as they are given."""

    text: str
    definitions: Definitions
    log: list[Record]
    end_ms: int
    wanted: dict[str, float]


def load(metric_id: str) -> Example:
    """The example of a metric."""
    raw = tomllib.loads((FOLDER / f"{metric_id}.toml").read_text(encoding="utf-8"))
    assert raw.keys() <= {"text", "settings", "events", "until", "k", "n", "value"}, raw.keys()
    chapter = CHAPTER_OF[metric_id]
    table = "" if chapter in CORE else f"[{chapter}]\n"
    arrivals = notation.arrivals(raw["events"])
    log = [Record(0, offset, one.arrival_ms, one.key, one.value) for offset, one in enumerate(arrivals)]
    end_ms = notation.time_ms(raw["until"]) if "until" in raw else log[-1].arrival + HOUR_MS
    wanted: dict[str, float] = {name: raw[name] for name in ("k", "n", "value") if name in raw}
    return Example(raw["text"], parse(_DEFINITIONS + table + raw.get("settings", "")), log, end_ms, wanted)


def measured(example: Example, metric_id: str) -> dict[str, Any]:
    """What the processors make of it: over all customers, in the window `lifetime`."""
    dimensions = used_dimensions(example.definitions)
    found = count(example.log, example.definitions, dimensions, begin_ms=example.log[0].arrival, end_ms=example.end_ms)
    assert found.records == {"applied": len(example.log)}, found.records
    return found.metrics[metric_id, (), (), "lifetime"]._asdict()

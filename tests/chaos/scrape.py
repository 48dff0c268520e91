"""The metrics of all processes, scraped from their real endpoints all the time, and what Prometheus would make of them.

A place is what Prometheus calls an instance: it outlives its processes. A process that dies takes its numbers with it, so what a
death moves has to show on those who are left and on the one who comes after.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.watch import ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.cluster import Cluster, Slot

LOOK_SECONDS: Final = 1.0
# A frozen process takes the connection and does not answer.
ANSWER_SECONDS: Final = 1.0
STARTED: Final = "process_start_time_seconds"
# Of the pipeline itself; buckets of histograms are most of the text, and nothing here looks at them.
_WANTED: Final = re.compile(rf"^(?:# TYPE )?(?:streamer_|{STARTED})")

Series = tuple[str, frozenset[tuple[str, str]]]


class Sample(NamedTuple):
    """What an endpoint said. at: Unix time. place: where. began: start of the process that answered, Unix time."""

    at: float
    place: str
    role: str
    began: float
    values: dict[Series, float]


def parse(text: str, at: float, place: str, role: str) -> Sample:
    """A sample of an exposition."""
    lines = [line for line in text.splitlines() if _WANTED.match(line) and "_bucket{" not in line]
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    values = {
        (sample.name, frozenset(sample.labels.items())): float(sample.value) for family in families for sample in family.samples
    }  # fmt: skip
    return Sample(at, place, role, values.get((STARTED, frozenset()), 0.0), values)


Line = list[tuple[Sample, float]]


class Scraper:
    """Scrapes all the time. samples: since the last `begin`, oldest first; the first of each place is from before."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.samples: list[Sample] = []

    async def run(self) -> None:
        while not ends():
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Scrape everybody who answers."""
        found = await asyncio.gather(*(asyncio.to_thread(scrape, slot) for slot in self._cluster.slots if slot.runs))
        self.samples += [sample for sample in found if sample is not None]

    async def begin(self) -> None:
        """Forget what was; what is now is what things move from."""
        self.samples.clear()
        await self.look()


def scrape(slot: Slot) -> Sample | None:
    """One look at one process; None if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{slot.port}/metrics", timeout=ANSWER_SECONDS) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return parse(text, time.time(), slot.name, slot.role)


def _lines(samples: Iterable[Sample], name: str, role: str, labels: Mapping[str, str]) -> list[tuple[Series, Line]]:
    """The values over time of each series of that name with these labels, place by place. role: of the process; empty for any."""
    lines: dict[tuple[str, Series], Line] = {}
    for sample in samples:
        if role and sample.role != role:
            continue
        for series, value in sample.values.items():
            if series[0] == name and labels.items() <= dict(series[1]).items():
                lines.setdefault((sample.place, series), []).append((sample, value))
    return [(series, line) for (_, series), line in lines.items()]


def totals(samples: Iterable[Sample], name: str, role: str, label: str) -> dict[str, float]:
    """Sums of the latest values by the values of a label."""
    found: dict[str, float] = {}
    for (_, labels), line in _lines(samples, name, role, {}):
        of = dict(labels)[label]
        found[of] = found.get(of, 0.0) + line[-1][1]
    return found


def increase(samples: list[Sample], name: str, role: str = "", **labels: str) -> float:
    """How far counters rose together; a new process begins at 0, as does a series that was not there before."""
    first_seen = {place: sample.at for sample in reversed(samples) for place in [sample.place]}
    total = 0.0
    for _, line in _lines(samples, name, role, labels):
        first, value = line[0]
        if first.at > first_seen[first.place]:
            total += value
        for (before, low), (after, high) in pairwise(line):
            total += high if after.began != before.began else max(0.0, high - low)
    return total


def changes(samples: list[Sample], name: str, role: str = "", **labels: str) -> float:
    """How often values changed, at whatever place; what another process says is another value."""
    pairs = [pair for _, line in _lines(samples, name, role, labels) for pair in pairwise(line)]
    return float(sum(low != high or before.began != after.began for (before, low), (after, high) in pairs))


def highest(samples: list[Sample], name: str, role: str = "", **labels: str) -> float:
    """The highest that one gauge went."""
    return max((value for _, line in _lines(samples, name, role, labels) for _, value in line), default=0.0)


def oldest(samples: list[Sample], name: str, role: str = "", **labels: str) -> float:
    """The greatest age of a timestamp in seconds, at the moment it was looked at."""
    return max((sample.at - value for _, line in _lines(samples, name, role, labels) for sample, value in line), default=0.0)

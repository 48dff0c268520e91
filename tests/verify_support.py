"""Logs for the recount: adversarial ones of many customers, and what the processors make of them."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING

from streamer.definitions import Definitions, parse
from streamer.verify import compare
from streamer.verify.counted import Counted, count
from streamer.verify.raw_log import Record
from streamer.verify.recount import recount
from streamer.verify.tables import used_dimensions
from tests.simulation import definitions as simulation
from tests.simulation.events import make_log

if TYPE_CHECKING:
    from collections.abc import Sequence

# Beyond every deadline of the definitions, so that nothing is open at the end.
AFTER_MS = 700_000
_BREAK_DOWN = '\n[[slice]]\nby = ["channel", "platform"]\n'


@cache
def definitions(scope: str = "issue") -> Definitions:
    """Deadlines of seconds, which small logs reach, and effort that belongs to `scope`."""
    return parse(simulation._TEXT.replace("[contacts]", f'[contacts]\nscope = "{scope}"') + _BREAK_DOWN)


@cache
def adversarial_log(histories: int, *, orderly: bool, first: int = 0) -> list[Record]:
    """Histories of colliding times, ids and deadlines, each with customers of its own, in one partition."""
    arrived = []
    for seed in range(first, first + histories):
        for record, _, kind in make_log(Random(seed), 30, orderly=orderly):
            if kind == "control" or any(name == "cx-control" for name, _ in record.headers):
                continue
            key, value = record.key, record.value
            if key and value:
                key, value = b"%d-" % seed + key, value.replace(b'"customer_id": "', b'"customer_id": "%d-' % seed)
            arrived.append((record.timestamp, key, value))
    arrived.sort(key=lambda one: one[0])
    return [Record(0, offset, arrival, key, value) for offset, (arrival, key, value) in enumerate(arrived)]


def counted(log: Sequence[Record], wanted: Definitions, end_ms: int) -> Counted:
    """What the processors make of a log."""
    return count(log, wanted, used_dimensions(wanted), begin_ms=log[0].arrival, end_ms=end_ms)


def differing(
    mine: Counted, log: Sequence[Record], wanted: Definitions, end_ms: int, sql: Sequence[str] | None = None
) -> dict[str, compare.Verdict]:
    """The counters, metrics and outcomes whose recount differs."""
    theirs = recount(log, wanted, end_ms, sql)
    everything = [
        compare.records(mine, theirs),
        *compare.counters(mine, theirs, compare.Range(), 5),
        *compare.metrics(mine, theirs, wanted, compare.Range(), 5),
    ]
    return {verdict.name: verdict for verdict in everything if verdict.status != "equal"}

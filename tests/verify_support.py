"""Logs for the recount: adversarial ones of many customers, and what the processors make of them."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from streamer.definitions import Definitions, parse
from streamer.verify import compare
from streamer.verify.counted import Counted, count
from streamer.verify.ranges import WHOLE, Range
from streamer.verify.raw_log import Clocks, Record
from streamer.verify.recount import recount
from streamer.verify.tables import used_dimensions
from tests.journeys_support import BASE_MS, wire
from tests.simulation import definitions as simulation
from tests.simulation.events import make_log

if TYPE_CHECKING:
    from collections.abc import Sequence

# Beyond every deadline of the definitions, so that nothing is open at the end.
AFTER_MS = 700_000
_MORE = """
[[slice]]
by = ["channel", "platform"]

[[rule]]
id = "all-of-journeys"
on = "journey"
when = "friction + channel_switches + repeat_contacts + transfers + cold_transfers >= 1"
show = ["step", "value", "customer_contacts", "customer_switches", "abandoned", "channel", "platform", "effort_index"]

[[rule]]
id = "all-of-issues"
on = "issue"
when = "contacts + transfers >= 1 and not channel == 'ivr'"
show = ["severity", "reason", "channel_switches", "repeat_contacts", "cold_transfers", "effort_index", "platform"]

[[rule]]
id = "all-of-customers"
on = "customer"
when = "contacts + repeat_contacts + handoffs >= 2 or effort_index / 2 > 1 - 0.5"
show = ["channel_switches", "transfers", "cold_transfers", "ping_pongs", "ping_pongs_of_case"]
"""


@cache
def definitions(scope: str = "issue") -> Definitions:
    """Deadlines of seconds, which small logs reach, rules that name every signal, and effort that belongs to `scope`."""
    return parse(simulation._TEXT.replace("[contacts]", f'[contacts]\nscope = "{scope}"') + _MORE)


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
    if not orderly:
        arrived += _late_completions()
    arrived.sort(key=lambda one: one[0])
    return [Record(0, offset, arrival, key, value) for offset, (arrival, key, value) in enumerate(arrived)]


def _late_completions() -> list[tuple[int, bytes, bytes]]:
    """A late completion that recovers what began before it, and one that does not what began after it: hardly any drawn history has one."""
    arrived = []
    for customer, began in (("recovers", 1), ("began-after", 3)):
        for kind, second, arrives in (("checkout.started", began, began), ("page.viewed", 66, 66), ("order.completed", 2, 66)):
            time, arrival = BASE_MS + second * 1_000, BASE_MS + arrives * 1_000
            body = {"type": kind, "id": kind, "source": "/test", "channel": "web", "time": time, "customer": customer, "cart_id": "k1"}
            arrived.append((arrival, customer.encode(), wire(body)))
    return arrived


def in_order(log: Sequence[Record]) -> list[Record]:
    """The usable events of a log as if each had arrived the moment it happened."""
    events = []
    for record in log:
        try:
            time = datetime.fromisoformat(json.loads(record.value or b"")["time"])
        except (ValueError, TypeError):
            continue
        events.append(record._replace(arrival=round(time.timestamp() * 1000)))
    events.sort(key=lambda record: (record.arrival, record.off))
    return [record._replace(off=off) for off, record in enumerate(events)]


def counted(log: Sequence[Record], wanted: Definitions, end_ms: int, within: Range = WHOLE) -> Counted:
    """What the processors make of a log."""
    return count(log, wanted, used_dimensions(wanted), begin_ms=log[0].arrival, end_ms=end_ms, within=within)


def differing(
    mine: Counted,
    log: Sequence[Record],
    wanted: Definitions,
    end_ms: int,
    sql: Sequence[str] | None = None,
    *,
    rules: bool = False,
) -> dict[str, compare.Verdict]:
    """The counters, metrics and outcomes whose recount differs; rules: and the entity rules, of a log in order."""
    theirs = recount(log, wanted, Clocks({0: end_ms}), sql, signals=rules)
    everything = [
        compare.records(mine.records, theirs.records, mine.cut),
        *compare.counters(mine, theirs, WHOLE, 5),
        *compare.metrics(mine, theirs, wanted, WHOLE, 5),
        *(compare.rules(mine, theirs, wanted, WHOLE, 5, in_order=True) if rules else ()),
    ]
    return {verdict.name: verdict for verdict in everything if verdict.status != "equal"}

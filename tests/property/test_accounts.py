"""Numbers by account are what a plain loop over the events counts, whatever the partitions, batches and order of arrival."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.alerts.times import rfc3339
from streamer.definitions import parse
from streamer.replay.pipeline import Arrival, Run, Shape

if TYPE_CHECKING:
    from streamer.rollup.decisions import Decisions

BEGIN_MS = 1_795_256_100_000
THRESHOLD = 3
# A metric of each family of cells, and the type of event that each counts one of.
METRICS = {"contacts": "contact.started", "journeys_started": "checkout.started", "cases": "case.opened", "goals_set": "goal.set"}
RULES = "".join(
    f'[[rule]]\nid = "{metric}"\non = "account"\nmetric = "{metric}"\nwindows = ["1h"]\nwhen = "value >= {THRESHOLD}"\n'
    for metric in METRICS
)
DEFINITIONS = parse(f"""
revision = 1
allowed_lateness = "5m"
windows = ["1h"]
[value]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
identified_by = ["checkout_id"]
{RULES}
""")


class Happening(NamedTuple):
    """second: after the beginning; late: how many seconds later it arrives."""

    second: int
    late: int
    customer: int
    kind: str
    account: str


happenings = st.lists(
    st.builds(
        Happening, st.integers(0, 600), st.integers(0, 60), st.integers(0, 7), st.sampled_from(sorted(METRICS.values())),
        st.sampled_from(["", "acme", "acme", "globex", "initech"]),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def arrival(number: int, one: Happening) -> Arrival:
    fields: dict[str, Any] = {
        "type": one.kind, "time": rfc3339(BEGIN_MS + one.second * 1000), "id": f"e{number}", "channel": "web",
        "customer_id": f"c{one.customer}",
        "commerce": {"checkout_id": f"k{number}"}, "issue": {"issue_id": f"i{number}", "case_id": f"s{number}"}, "actor": {"owner": "a"},
        "goal": {"goal_id": f"g{number}"},
    }  # fmt: skip
    if one.account:
        fields["account_id"] = one.account
    return Arrival(BEGIN_MS + (one.second + one.late) * 1000, f"c{one.customer}".encode(), json.dumps(fields).encode())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_sums_by_account_are_those_of_a_plain_loop(data: st.DataObject) -> None:
    events = data.draw(happenings)
    arrivals = sorted((arrival(number, one) for number, one in enumerate(events)), key=lambda one: one.arrival_ms)
    counted: dict[tuple[str, str], int] = {}

    def look(decisions: Decisions, _tick: int) -> None:
        for case in decisions.cases():
            counted[case.plan.rule.id, case.values[0]] = decisions.look(case)[0][0].k

    shape = Shape(partitions=data.draw(st.integers(1, 4)), rollup_partitions=data.draw(st.integers(1, 3)))
    run = Run(DEFINITIONS, shape, observe=look)
    run.control("begin", BEGIN_MS)
    left = [*arrivals, *data.draw(st.lists(st.sampled_from(arrivals), max_size=3))]  # some arrive twice
    while left:
        size = data.draw(st.integers(1, 10))
        run.fold(left[:size])
        left = left[size:]
    run.end(None)

    expected: Counter[tuple[str, str]] = Counter()
    by_type = {kind: metric for metric, kind in METRICS.items()}
    for one in events:
        if one.account:
            expected[by_type[one.kind], one.account] += 1
    assert {key: n for key, n in counted.items() if n} == dict(expected)

    firing: dict[str, set[str]] = defaultdict(set)
    for alert in run.take_alerts():
        assert alert.entity is not None
        assert alert.state == "firing"
        assert alert.entity.account_id not in firing[alert.rule.id], "one firing each"
        firing[alert.rule.id].add(alert.entity.account_id)
    assert {(rule, account) for rule, accounts in firing.items() for account in accounts} == {
        key for key, n in expected.items() if n >= THRESHOLD
    }

"""The default rules see what goes wrong, and nothing else: one simulated day with every kind of incident, as `make incidents` has many."""

from __future__ import annotations

import gc
import json
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bench.incidents import CUSTOMERS, HOURS, INCIDENTS, RATE, Day, judged
from streamer import definitions
from streamer.alerts.times import rfc3339
from streamer.backtest.firings import Span
from streamer.backtest.labels import read
from streamer.backtest.runs import Backtest
from streamer.replay.history import History
from streamer.replay.mapping import Event
from streamer.replay.pipeline import Shape
from streamer.simulate.customers import Simulation
from streamer.simulate.incidents import KINDS, Incident, parse_incident
from streamer.simulate.scenario import Scenario
from tests.unit.simulate.support import HOUR, T0, time_ms

if TYPE_CHECKING:
    from streamer.backtest.firings import Firing

SEED = 1001
END = T0 + HOURS * HOUR
# Three quarters of a minute of one processor; a loaded one takes longer.
pytestmark = pytest.mark.timeout(300)


def incidents() -> tuple[Incident, ...]:
    return tuple(parse_incident(f"{kind}@+{begin}h,{hours}h", start_ms=T0, now_ms=T0) for kind, (begin, hours) in INCIDENTS.items())


def labels() -> list[dict[str, Any]]:
    return [incident.label() for incident in incidents()]


def history() -> History:
    """The day, each event as if it had arrived when it happened."""
    records = Simulation(Scenario(SEED, CUSTOMERS, T0, END, ((T0, RATE),), incidents())).sent()
    events = []
    for number, record in enumerate(records):
        assert record.key is not None
        events.append(Event(time_ms(record.value), (number, 0), record.key, record.value))
    events.sort(key=lambda event: (event.time_ms, event.order))
    return History(events, len(events), 0)


@cache
def aggregate_firings() -> list[Firing]:
    default = definitions.default()
    aggregate = msgspec.structs.replace(default, rule=[rule for rule in default.rule if rule.metric])
    backtest = Backtest([aggregate], Shape(4))
    gc.disable()  # it would look through all that is kept again and again, a third of the time
    try:
        backtest.fold_history(history(), END, lambda _: None)
    finally:
        gc.enable()
    (version,) = backtest.versions(Span())
    return list(version.firings)


@cache
def day() -> Day:
    firings = [{"rule": one.rule, "time": rfc3339(one.start_ms), "about": dict(one.about)} for one in aggregate_firings()]
    return judged(SEED, firings, labels())


def test_the_day_has_every_kind_of_incident_with_calm_between_them() -> None:
    assert INCIDENTS.keys() == KINDS.keys()
    ends = sorted((incident.start_ms, incident.end_ms) for incident in incidents())
    calm_ms = sum(max(0, begin - end) for (_, end), (begin, _) in pairwise(ends))
    assert calm_ms > 6 * HOUR


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_that_is_to_see_the_incident_fires_in_it(kind: str) -> None:
    rule, lead_s = day().leads[kind]
    assert rule in KINDS[kind].rules
    assert 0 < lead_s <= (INCIDENTS[kind][1] * HOUR + KINDS[kind].effects_ms) / 1_000


def test_no_other_aggregate_rule_fires_in_any_of_them_nor_outside() -> None:
    assert day().false == []
    assert len(KINDS) <= day().firings


def test_a_backtest_with_the_labels_calls_no_firing_wrong() -> None:
    known = read(((number, json.dumps(label).encode()) for number, label in enumerate(labels(), 1)), "labels").incidents
    assert [one.rule for one in aggregate_firings() if not any(incident.explains(one) for incident in known)] == []

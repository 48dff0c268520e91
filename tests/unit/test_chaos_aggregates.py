"""The recount of aggregate alerts: clean on what the product says of a history, and able to fail in every way it should."""

from __future__ import annotations

import ast
import heapq
import json
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from streamer import topics
from streamer.definitions import parse
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import Drained
from streamer.rollup.processor import RollupProcessor
from streamer.rules import evaluate
from tests.chaos import aggregates, wire
from tests.chaos.cluster import DEFINITIONS
from tests.chaos.oracle import Verdict
from tests.chaos.reading import World
from tests.chaos.traffic import Customer
from tests.oracle.aggregates import Told, transitions, wilson
from tests.oracle.ticks import Booking

ROOT = Path(__file__).parents[2]
NOW = 1_795_256_100_000
PARTITIONS = 2
EVENTS = 2_500


def record(offset: int, value: bytes | None, key: bytes | None = None, timestamp: int = NOW) -> Any:
    return SimpleNamespace(offset=offset, value=value, key=key, timestamp=timestamp, headers=[])


def sent(seed: int) -> list[tuple[int, dict[str, Any]]]:
    """(arrival, event): busy for a while, quiet for a while, some of it out of order and some of it twice."""
    random = Random(seed)
    customers = [Customer(number, random) for number in range(25)]
    found: list[tuple[int, int, dict[str, Any]]] = []
    now = NOW
    for number in range(EVENTS):
        now += random.choice((0, 20, 60, 120)) if number % 700 else 45_000
        at = random.randrange(len(customers))
        event = customers[at].act(random, now, number)
        if not customers[at].left:
            customers[at] = Customer(1_000 + number, random)
        heapq.heappush(found, (now, number, event))
        if random.random() < 0.05:
            heapq.heappush(found, (now + random.randrange(3_000), EVENTS + number, event))
    return [(arrival, event) for arrival, _, event in (heapq.heappop(found) for _ in range(len(found)))]


@cache
def told(seed: int, clean: int = evaluate.CLEAN_EVALUATIONS) -> World:
    """What the product's processors make of a history, in batches and with an idle clock that is journalled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "CLEAN_EVALUATIONS", clean)
        return _told(seed)


def _told(seed: int) -> World:
    definitions = parse(DEFINITIONS.read_text(), DEFINITIONS.name)
    folds = [
        JourneysProcessor(definitions, partition=p, partitions=PARTITIONS, rollup_partitions=1, topic=topics.TOUCHPOINTS)
        for p in range(PARTITIONS)
    ]
    rollup = RollupProcessor(definitions, partition=0, partitions=1, build="")
    logs: dict[str, Any] = {name: {p: [] for p in range(PARTITIONS)} for name in ("touchpoints", "journeys-journal")}
    logs["aggregate-alerts"] = {0: []}
    deltas: list[Any] = []

    def take(partition: int, drained: Drained) -> None:
        logs["journeys-journal"][partition] += [record(0, entry) for entry in drained.journal]
        deltas.extend(record(len(deltas), out.value) for out in drained.outputs if out.topic == topics.DELTAS)

    random, drained_at = Random(seed), NOW
    for arrival, event in sent(seed):
        key = event["customer"].encode()
        partition = sum(key) % PARTITIONS
        log = logs["touchpoints"][partition]
        log.append(record(len(log), wire.encode(event), key, arrival))
        folds[partition].process(log[-1:], len(log))
        if arrival - drained_at > 1_000:
            for number, fold in enumerate(folds):
                if random.random() < 0.5:
                    fold.advance(arrival - random.randrange(500))
                take(number, fold.drain())
            drained_at = arrival
    for number, fold in enumerate(folds):
        fold.advance(arrival + 120_000)
        take(number, fold.drain())
    rollup.process(deltas, len(deltas))
    outputs = [out for out in rollup.drain().outputs if out.topic == topics.AGGREGATE_ALERTS]
    logs["aggregate-alerts"][0] = [record(n, out.value) for n, out in enumerate(outputs)]
    return World(logs, {})


@cache
def recounted(seed: int) -> list[Told]:
    return aggregates.expect(told(seed))


def judged(world: World, right: list[Told]) -> Verdict:
    verdict = Verdict()
    aggregates.compare(verdict, world, right)
    return verdict


@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_product_says_of_a_history_is_what_the_recount_says(seed: int) -> None:
    verdict = judged(told(seed), recounted(seed))
    assert verdict.wrong == {}, verdict.samples
    assert verdict.aggregate_alerts > 10


def test_every_kind_of_rule_fires_and_resolves_in_what_is_compared() -> None:
    rules = {rule["id"] for rule in tomllib.loads(DEFINITIONS.read_text())["rule"] if "metric" in rule}
    seen = {(t.rule, t.state) for seed in (1, 2) for t in recounted(seed)}
    assert seen == {(rule, state) for rule in rules for state in ("firing", "resolved")}


Alerts = list[dict[str, Any]]


def without_one(alerts: Alerts) -> None:
    del alerts[7]


def with_one_more(alerts: Alerts) -> None:
    alerts.insert(8, {**alerts[7], "event_time": "2026-11-21T09:10:01Z"})


def a_tick_late(alerts: Alerts) -> None:
    alerts[7]["event_time"] = alerts[7]["event_time"].replace("Z", "+00:01")


def of_another_slice(alerts: Alerts) -> None:
    alerts[7]["slice"] = {"journey": "checkout", "channel": "fax"}


def resolved_instead_of_firing(alerts: Alerts) -> None:
    alerts[0]["state"] = "resolved"


def with_another_bound(alerts: Alerts) -> None:
    found = next(alert for alert in alerts if "ci_low" in alert["metric"])
    found["metric"]["ci_low"] += 1e-6


def with_another_sample(alerts: Alerts) -> None:
    alerts[7]["metric"]["n"] += 1


def of_another_window(alerts: Alerts) -> None:
    alerts[7]["window"]["start"] = alerts[8]["window"]["end"]


def with_an_event_that_is_elsewhere(alerts: Alerts) -> None:
    found = next(alert for alert in alerts if alert.get("evidence"))
    found["evidence"][0]["offset"] += 1


def without_evidence(alerts: Alerts) -> None:
    found = next(alert for alert in alerts if alert["metric"]["name"] == "abandon_rate" and alert["state"] == "firing")
    del found["evidence"]


@pytest.mark.parametrize(
    ("doctor", "wrong"),
    [
        (without_one, {"missing_alerts": 1}),
        (with_one_more, {"phantom_alerts": 1}),
        (a_tick_late, {"missing_alerts": 1, "phantom_alerts": 1}),
        (of_another_slice, {"missing_alerts": 1, "phantom_alerts": 1}),
        (resolved_instead_of_firing, {"missing_alerts": 1, "phantom_alerts": 1}),
        (with_another_bound, {"phantom_alerts": 1}),
        (with_another_sample, {"phantom_alerts": 1}),
        (of_another_window, {"phantom_alerts": 1}),
        (with_an_event_that_is_elsewhere, {"phantom_alerts": 1}),
        (without_evidence, {"phantom_alerts": 1}),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_a_doctored_alert_is_told(doctor: Callable[[Alerts], None], wrong: dict[str, int]) -> None:
    world = told(1)
    alerts = [json.loads(one.value) for one in world.logs["aggregate-alerts"][0]]
    doctor(alerts)
    doctored = {0: [record(n, json.dumps(alert).encode()) for n, alert in enumerate(alerts)]}
    assert judged(World({**world.logs, "aggregate-alerts": doctored}, {}), recounted(1)).wrong == wrong


def test_a_mistake_in_the_product_that_folding_again_would_repeat_is_told() -> None:
    assert judged(told(1, clean=2), recounted(1)).wrong.keys() == {"missing_alerts", "phantom_alerts"}


def test_an_event_that_nobody_counted_changes_what_is_expected() -> None:
    world = told(1)
    lost = {**world.logs["touchpoints"], 0: [one for one in world.logs["touchpoints"][0] if one.offset % 50]}
    right = aggregates.expect(World({**world.logs, "touchpoints": lost}, {}))
    assert judged(world, right).wrong.keys() & {"missing_alerts", "phantom_alerts"}


def test_the_recount_shares_no_code_with_the_product() -> None:
    sources = [ast.parse(path.read_text()) for path in (ROOT / "tests/oracle").glob("*.py")]
    imported = {node.module or "" for tree in sources for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "tests.oracle.plan" in imported
    assert not [name for name in imported if name.split(".")[0] in ("streamer", "bench", "deploy")]


# -- the recount by itself, against numbers worked out by hand

CHECKOUTS = (("journey", "checkout"),)
RULE = {"id": "r", "metric": "abandon_rate", "by": ["journey"], "windows": ["1m"], "when": "value > 0.6", "min_n": 5}


def counted(*changes: tuple[int, str, int]) -> list[Booking]:
    """(tick, counter, n), each in the pane of its tick."""
    return [Booking(tick, counter, CHECKOUTS, tick // 10, n) for tick, counter, n in changes]


def said(rule: dict[str, Any], until: int, *changes: tuple[int, str, int]) -> list[tuple[str, int]]:
    return [(told.state, told.time // 1_000) for told in transitions(counted(*changes), {"rule": [rule]}, until)]


def test_it_fires_with_the_sample_that_is_enough_and_not_before() -> None:
    assert said(RULE, 1_010, (1_001, "ABANDONED", 4), (1_005, "COMPLETED", 1)) == [("firing", 1_005)]
    assert said(RULE, 1_010, (1_001, "ABANDONED", 4)) == []


def test_it_ends_at_the_third_boundary_of_a_pane_at_which_it_does_not_hold() -> None:
    changes = ((1_001, "ABANDONED", 5), (1_012, "COMPLETED", 5))
    assert said(RULE, 1_040, *changes) == [("firing", 1_001)]
    assert said(RULE, 1_041, *changes) == [("firing", 1_001), ("resolved", 1_040)]


def test_holding_again_starts_the_count_anew() -> None:
    changes = ((1_001, "ABANDONED", 5), (1_012, "COMPLETED", 5), (1_035, "ABANDONED", 4), (1_037, "ABANDONED", -4))
    assert said(RULE, 1_061, *changes) == [("firing", 1_001), ("resolved", 1_060)]


def test_it_ends_when_the_sample_has_been_too_small_for_as_long_as_the_window_is() -> None:
    # The pane that begins at 1,000 leaves a window of a minute at 1,060.
    assert said(RULE, 1_121, (1_001, "ABANDONED", 5)) == [("firing", 1_001), ("resolved", 1_120)]
    assert said(RULE, 1_120, (1_001, "ABANDONED", 5)) == [("firing", 1_001)]


def test_it_fires_only_after_it_has_held_for_as_long_as_the_rule_says() -> None:
    rule = {**RULE, "for": "5s"}
    broken = ((1_001, "ABANDONED", 5), (1_004, "COMPLETED", 5), (1_005, "COMPLETED", -5))
    assert said(rule, 1_007, (1_001, "ABANDONED", 5)) == [("firing", 1_006)]
    assert said(rule, 1_020, *broken) == [("firing", 1_010)]


def test_every_window_must_hold() -> None:
    # Of five minutes the first hundred are remembered, of one they are not.
    changes = ((900, "COMPLETED", 100), (1_001, "ABANDONED", 5))
    assert said(RULE, 1_005, *changes) == [("firing", 1_001)]
    assert said({**RULE, "windows": ["1m", "5m"]}, 1_005, *changes) == []


def test_a_stock_is_summed_for_ever_and_a_mean_has_the_interval_of_its_sample() -> None:
    stock = {"id": "s", "metric": "journeys_open", "by": ["journey"], "windows": ["1m"], "when": "value >= 2"}
    assert said(stock, 1_300, (1_000, "OPEN", 1), (1_200, "OPEN", 1)) == [("firing", 1_200)]
    mean = {"id": "m", "metric": "effort_mean", "by": ["journey"], "windows": ["1m"], "when": "lower > 0", "min_n": 2}
    changes = ((1_000, "ISSUES", 2), (1_000, "EFFORT_TENTHS", 40), (1_000, "EFFORT_TENTHS_SQUARED", 1_000))
    (told,) = transitions(counted(*changes), {"rule": [mean]}, 1_001)
    # 10 and 30 tenths: mean 20, standard error 10 tenths.
    assert (told.measured.value, told.measured.n) == (2.0, 2)
    assert told.measured.lower == pytest.approx(2 - 1.959964, abs=1e-6)


def test_the_bounds_are_those_of_the_literature() -> None:
    # Newcombe (1998), table I, method 3.
    assert [round(bound, 4) for bound in wilson(81, 263)] == [0.2553, 0.3662]
    assert [round(bound, 4) for bound in wilson(15, 148)] == [0.0624, 0.1605]
    assert [round(bound, 4) for bound in wilson(0, 20)] == [0.0, 0.1611]
    assert [round(bound, 4) for bound in wilson(1, 29)] == [0.0061, 0.1718]

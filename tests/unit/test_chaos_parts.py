"""The parts of the chaos suite that need no servers: the schedule, the wire, and what the comparison finds in doctored logs."""

from __future__ import annotations

import json
import time
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.chaos import wire
from tests.chaos.oracle import Verdict, expect, in_force_of, judge, outcomes
from tests.chaos.reading import World
from tests.chaos.report import Report
from tests.chaos.schedule import schedule
from tests.chaos.traffic import Customer, poison

NOW = 1_795_256_100_000
KINDS = ["a", "b", "c", "d"]


def record(offset: int, value: bytes | None, *, key: bytes | None = None, timestamp: int = NOW, headers: tuple[Any, ...] = ()) -> Any:
    return SimpleNamespace(offset=offset, value=value, key=key, timestamp=timestamp, headers=headers)


def page(number: int, *, at: int = NOW, **fields: Any) -> dict[str, Any]:
    event = {"id": f"e{number}", "source": "/chaos", "type": "page.viewed", "channel": "web", "customer": "c1", "time": at}
    return {**event, **fields}


def deltas(*flat: int) -> bytes:
    """Touchpoints on the web."""
    return msgspec.msgpack.encode([1, 0, 1, 0, 0, 0, ["channel"], [["web"]], [[0, list(flat)]]])


def world(source: list[Any], counted: list[bytes], **accounting: int) -> World:
    marker = {"accounting": {"consumed": len(source), "applied": len(source), **accounting}, "next_offset": len(source), "clock": NOW}
    logs: dict[str, Any] = {"touchpoints": {0: source}, "deltas": {0: [record(n, value) for n, value in enumerate(counted)]}}
    logs |= {name: {0: []} for name in ("journeys-journal", "alerts", "aggregate-alerts", "dead-letters", "late")}
    logs["journeys-changelog"] = {0: [record(0, json.dumps(marker).encode(), key=b"m")]}
    return World(logs, {})


def found(counted: list[bytes], **accounting: int) -> Verdict:
    """Of two page views."""
    return judge(world([record(n, wire.encode(page(n))) for n in range(2)], counted, **accounting), None, None)


def test_a_seed_gives_the_same_faults_and_choices_and_another_seed_others() -> None:
    once, again, other = ([(c.kind, c.random.random()) for c in schedule(KINDS, 40, seed)] for seed in (7, 7, 8))
    assert once == again
    assert once != other


def test_every_kind_of_fault_comes_once_before_any_comes_twice() -> None:
    kinds = [cycle.kind for cycle in schedule(KINDS, 8, 1)]
    assert sorted(kinds[:4]) == sorted(kinds[4:]) == KINDS


def test_a_longer_run_begins_as_the_shorter_one_does() -> None:
    short, long = ([(c.kind, c.random.random()) for c in schedule(KINDS, n, 3)] for n in (5, 12))
    assert long[:5] == short


def test_events_come_back_from_the_wire_as_they_were_sent() -> None:
    random = Random(1)
    for number in range(300):
        event = Customer(number, random).act(random, NOW, number)
        assert wire.decode(wire.encode(event)) == event


def test_what_is_poisoned_on_purpose_is_never_what_was_meant() -> None:
    random = Random(2)
    for number in range(200):
        event = Customer(number, random).act(random, NOW, number)
        assert poison(event, random) != (event["customer"].encode(), wire.encode(event))


def test_the_right_sums_and_accounting_are_clean() -> None:
    pane = NOW // 10_000
    assert found([deltas(pane, 0, 1, 2)]).wrong == {}
    assert found([deltas(pane, 0, 1, 3), deltas(pane, 0, 1, -1)]).wrong == {}


@pytest.mark.parametrize(("n", "kind"), [(1, "lost"), (3, "duplicated")])
def test_a_touchpoint_too_few_or_too_many_is_told(n: int, kind: str) -> None:
    assert found([deltas(NOW // 10_000, 0, 1, n)]).wrong == {"wrong_counters": 1, kind: 1}


def test_a_touchpoint_in_the_wrong_pane_is_both_lost_and_doubled() -> None:
    assert found([deltas(NOW // 10_000, 0, 1, 1, NOW // 10_000 + 1, 0, 1, 1)]).wrong == {"wrong_counters": 2, "lost": 1, "duplicated": 1}


def test_accounting_that_does_not_add_up_is_told() -> None:
    assert found([deltas(NOW // 10_000, 0, 1, 2)], applied=1).wrong["wrong_accounting"] == 2  # applied, and the sum of all outcomes


def test_records_are_sorted_into_what_must_have_become_of_them() -> None:
    first, old = page(1), page(2, at=NOW - 40_000)
    source = [
        record(0, wire.encode(first)),
        record(1, wire.encode(first)),
        record(2, wire.encode(old)),
        record(3, b"{nonsense", headers=(wire.POISON,)),
        record(7, wire.encode(page(4))),
    ]
    journal = [record(0, json.dumps({"after": 7, "clock": NOW + 5_000}).encode())]
    result = outcomes(source, journal, 30_000)
    assert [event["offset"] for event in result.applied] == [0, 7]
    assert (result.duplicates, result.late, len(result.dead), result.clock, result.next_offset) == (1, 1, 1, NOW + 5_000, 8)


def alert(state: str, alert_id: str) -> Any:
    return record(0, json.dumps({"fingerprint": "f", "state": state, "alert_id": alert_id, "why": "", "rule": {"id": "r"}}).encode())


@pytest.mark.parametrize(
    ("states", "phantoms"),
    [
        (["firing", "amended", "resolved", "firing"], 0),
        (["firing", "firing"], 1),
        (["resolved"], 1),
        (["firing", "resolved", "amended"], 1),
    ],
)
def test_transitions_out_of_turn_are_told(states: list[str], phantoms: int) -> None:
    verdict = Verdict()
    in_force_of(verdict, {0: [alert(state, f"a{n}") for n, state in enumerate(states)]})
    assert verdict.phantom_alerts == phantoms


def test_the_same_transition_twice_is_told() -> None:
    verdict = Verdict()
    in_force_of(verdict, {0: [alert("firing", "a"), alert("amended", "a")]})
    assert verdict.phantom_alerts == 1


def fired(alert_id: str) -> dict[str, Any]:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    return {
        "fingerprint": "f", "state": "firing", "alert_id": alert_id, "why": "", "rule": {"id": "r"}, "expires_at": expires, "slice": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "active", "wrong"),
    [
        (["a"], {"f": "a"}, {}),
        ([], {"f": "a"}, {"missing_alerts": 1}),
        (["a", "a"], {"f": "a"}, {"phantom_alerts": 1}),
        (["a"], {}, {"missing_alerts": 1}),
        (["a"], {"f": "a", "g": "b"}, {"phantom_alerts": 1}),
    ],
    ids=["as-it-should-be", "never-delivered", "delivered-twice", "not-in-the-active-set", "in-the-active-set-for-no-reason"],
)
def test_redis_is_compared_with_the_topics(stream: list[str], active: dict[str, str], wrong: dict[str, int]) -> None:
    given = world([], [])
    given.logs["aggregate-alerts"][0].append(record(0, json.dumps(fired("a")).encode()))
    given.logs["journeys-changelog"][0][0].value = json.dumps({"accounting": {}, "next_offset": 0, "clock": -1}).encode()
    held = {fingerprint: fired(alert_id) for fingerprint, alert_id in active.items()}
    assert judge(given._replace(active=held), [fired(alert_id) for alert_id in stream], None).wrong == wrong


def test_an_alert_that_the_log_does_not_explain_and_one_that_is_missing_are_told() -> None:
    events = [page(n, at=NOW - 30_000 + n, type=kind, checkout_id="k1") for n, kind in enumerate(["checkout.started", "payment.failed"])]
    given = world([record(n, wire.encode(event)) for n, event in enumerate(events)], [])
    given.logs["journeys-journal"][0].append(record(0, json.dumps({"after": 1, "clock": NOW}).encode()))
    rules = {rule for _, rule, _, _ in expect(given).in_force}
    assert rules == {"friction", "any-abandoned"}
    assert judge(given, None, None).missing_alerts == 2


def test_a_run_is_clean_only_with_a_verdict_and_nothing_broken() -> None:
    report = Report(1, 1, "make chaos")
    assert not report.is_clean
    report.verdict = Verdict(events=5)
    assert report.is_clean
    report.broken.append("a zombie lives on")
    assert not report.is_clean
    assert json.loads(report.json())["clean"] is False


def test_a_process_that_ended_unexpectedly_is_told_with_its_last_words() -> None:
    report = Report(1, 1, "make chaos", Verdict(events=5), crashed=["journeys-0: KeyError: 'a'"])
    assert report.is_clean, "the next owner carries on"
    assert "  ended unexpectedly: journeys-0: KeyError: 'a'" in report.lines()

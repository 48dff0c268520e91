"""Invariants I4 and I5: whatever the order of arrival, the result is that of the sorted history, recounted independently."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journeys_support import BASE_MS, Run, record
from tests.oracle.journeys import Recount, recount
from tests.property import journeys_histories as histories
from tests.property.journeys_histories import DEFINITIONS, PLAIN, Step


def run_log(log: list[dict[str, Any]], steps: list[Step], end: int, definitions: str = DEFINITIONS) -> Run:
    """Send everything, with the steps in between as far as the log reaches, and let the clock end `end` ms after the last arrival."""
    run = Run(definitions)
    sent = 0
    for step in steps:
        if step.kind == "records":
            run.process([record(event) for event in log[sent : sent + step.n]])
            sent = min(sent + step.n, len(log))
        elif step.kind == "advance":
            run.advance((log[sent - 1]["arrival"] if sent else BASE_MS - 60_000) + step.n)
        elif step.kind == "drain":
            run.drain()
    run.process([record(event) for event in log[sent:]])
    run.advance(log[-1]["arrival"] + end)
    run.drain()
    return run


def clock_after(log: list[dict[str, Any]], steps: list[Step], end: int) -> int:
    """The clock by its definition: the greatest of high and the idle clocks."""
    clocks: list[int] = [histories.high_of(log), log[-1]["arrival"] + end]
    sent = 0
    for step in steps:
        if step.kind == "records":
            sent = min(sent + step.n, len(log))
        elif step.kind == "advance":
            clocks.append((log[sent - 1]["arrival"] if sent else BASE_MS - 60_000) + step.n)
    return max(clocks)


def recounts(log: list[dict[str, Any]], clock: int, definitions: dict[str, Any] = PLAIN) -> dict[str, Recount]:
    customers = sorted({event["customer"] for event in log})
    return {c: recount([event for event in log if event["customer"] == c], definitions, clock) for c in customers}


def expected_sums(found: dict[str, Recount]) -> dict[Any, int]:
    sums: dict[Any, int] = {}
    for one in found.values():
        for key, n in one.sums.items():
            sums[key] = sums.get(key, 0) + n
    return {key: n for key, n in sums.items() if n}


def in_force(run: Run) -> dict[Any, dict[str, Any]]:
    held = {}
    for alert in run.in_force:
        assert alert.entity is not None
        entity = alert.entity
        key = (entity.canonical_id, alert.rule.id, entity.journey, entity.journey_id or entity.issue_id)
        assert key not in held
        held[key] = alert.metric.signals
    return held


def expected_in_force(found: dict[str, Recount]) -> dict[Any, dict[str, Any]]:
    return {
        (customer, rule, journey, name): signals
        for customer, one in found.items()
        for (rule, _, journey, name), signals in one.in_force.items()
    }


def check(log: list[dict[str, Any]], steps: list[Step], end: int) -> None:
    run = run_log(log, steps, end)
    clock = clock_after(log, steps, end)
    assert run.processor.clock_ms == clock
    found = recounts(log, clock)
    assert run.sums == expected_sums(found)
    assert in_force(run) == expected_in_force(found)
    accounting = run.processor.accounting
    copies = len(log) - len({event["id"] for event in log})
    assert (accounting["consumed"], accounting["duplicate"], accounting["applied"]) == (len(log), copies, len(log) - copies)
    assert sum(n for (name, _, _), n in run.sums.items() if name == "OPEN") == sum(one.open_instances for one in found.values())


FAMILIES = {
    "checkout": histories.checkout_events,
    "contacts": histories.contact_events,
    "cases": histories.case_events,
    "onboarding": histories.onboarding_events,
    "everything": histories.any_events,
    "narrow": histories.narrow_events,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_any_order_of_arrival_gives_what_the_sorted_history_counts(family: str) -> None:
    @histories.EXAMPLES
    @given(histories.logs(FAMILIES[family]), histories.steps, histories.ends)
    def holds(log: list[dict[str, Any]], steps: list[Step], end: int) -> None:
        check(log, steps, end)

    holds()


@histories.FEW_EXAMPLES
@given(histories.logs(histories.any_events, size=40, least=25), st.sampled_from([1, 3, 10]), histories.steps, histories.ends)
def test_long_histories_count_the_same_though_events_are_folded_away(
    log: list[dict[str, Any]], factor: int, steps: list[Step], end: int
) -> None:
    check(histories.spread([{**event, "customer": "c-1"} for event in log], factor), steps, end)


@histories.EXAMPLES
@given(histories.logs(histories.any_events, size=8), st.randoms(use_true_random=False), histories.ends)
def test_two_orders_of_arrival_end_alike(log: list[dict[str, Any]], random: Any, end: int) -> None:
    """Offsets break ties between equal times, so both orders are of events with distinct times."""
    by_time = {event["time"]: event for event in log}
    one = [dict(event, offset=i) for i, event in enumerate(sorted(by_time.values(), key=lambda e: e["arrival"]))]
    last = max(one[-1]["arrival"], max(by_time))
    shuffled = list(by_time.values())
    random.shuffle(shuffled)
    start = min(by_time)
    if last - start > 60_000:
        return
    other = [dict(event, offset=i, arrival=last) for i, event in enumerate(shuffled)]
    runs = [run_log(one, [], last + end - one[-1]["arrival"]), run_log(other, [], end)]
    assert runs[0].sums == runs[1].sums
    assert in_force(runs[0]) == in_force(runs[1])

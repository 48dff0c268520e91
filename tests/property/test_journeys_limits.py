"""Invariant I6 over random histories: with tiny limits nothing outgrows them, cuts are counted, and the sums stay whole."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.processor import ROW_PREFIX
from tests.journeys_support import Run, record
from tests.property import journeys_histories as histories
from tests.property.journeys_histories import DEFINITIONS, Step

EVENTS, JOURNEYS, ISSUES, CASES, EVIDENCE = 3, 2, 2, 1, 2
CHUNK = 16  # the retained events go in chunks of this many
TINY = f"""{DEFINITIONS}
[limits]
events_per_customer = {EVENTS}
journeys_per_customer = {JOURNEYS}
issues_per_customer = {ISSUES}
cases_per_customer = {CASES}
evidence_per_alert = {EVIDENCE}
"""
# A hundred values of one id: the worst a producer can do to what is kept by id.
many_ids = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["checkout.started", "payment.failed", "order.completed", "contact.started", "contact.ended", "case.opened"]
        ),
        "time": histories.times,
        "delay": histories.delays,
        "channel": histories.channels,
        "customer": st.just("c-1"),
        "checkout_id": st.integers(0, 9).map("k{}".format),
        "issue_id": st.integers(0, 9).map("i{}".format),
        "case_id": st.integers(0, 9).map("q{}".format),
        "owner": st.sampled_from("AB"),
        "reason": st.integers(0, 9).map("r{}".format),
    }
)


def numbers(name: str, run: Run) -> list[int]:
    return [n for (counter, _, _), n in run.sums.items() if counter == name]


@histories.EXAMPLES
@given(histories.logs(st.one_of(many_ids, histories.any_events), size=30, least=5), histories.steps, histories.ends)
def test_nothing_outgrows_its_limit_and_the_stock_is_what_is_open(log: list[dict[str, Any]], steps: list[Step], end: int) -> None:
    run = Run(TINY)
    clock = 0
    for event in log:
        run.process([record(event)])
        run.drain()
        for customer in {event["customer"] for event in log}:
            packed = run.changelog.get(ROW_PREFIX + customer.encode())
            if packed is not None:
                check_row(run, customer.encode())
        clock = max(clock, event["arrival"])
    assert sum(numbers("OPEN", run)) == open_instances(run)
    run.advance(clock + 24 * 3_600_000)
    run.drain()
    check_whole(run)


def state_of(run: Run, customer: bytes) -> Any:
    """The live state, which the processor keeps for a customer in use."""
    kept = run.processor._customers.get(customer)
    assert kept is not None
    return kept.live(run.processor._fold, run.processor.clock_ms)


def check_row(run: Run, customer: bytes) -> None:
    kept = run.processor._customers.get(customer)
    assert kept is not None
    assert kept.count <= max(EVENTS, CHUNK)
    state = state_of(run, customer)
    assert len(state.instances) <= JOURNEYS
    assert len(state.issues) <= ISSUES
    assert len(state.cases) <= CASES
    assert len(state.resolved) <= 2 * ISSUES  # by its reason and by its id: docs/reference/journeys.md, what is bounded
    assert len(state.repeats) <= EVENTS
    for part in (*state.instances, *state.issues.values()):
        assert len(part.causes) <= EVIDENCE + 1
    assert len(msgspec.msgpack.encode(kept.row())) < 16_000


def open_instances(run: Run) -> int:
    return sum(not instance.abandoned_at for customer in run.processor.rows() for instance in state_of(run, customer).instances)


def check_whole(run: Run) -> None:
    """After everything has ended: the stock is empty, and what began has ended in one way or was cut."""
    totals = Counter[str]()
    for (counter, _, _), n in run.sums.items():
        totals[counter] += n
    assert totals["OPEN"] == 0
    ended = totals["COMPLETED"] + totals["FAILED"] + totals["ABANDONED"] + totals["SUPPRESSED"]
    lost = totals["STARTED"] - ended
    accounting = run.processor.accounting
    assert 0 <= lost <= accounting.get("cut_journeys", 0)
    for part, whole in (("REPEAT_CONTACTS", "CONTACTS"), ("CONTACTS_TRANSFERRED", "CONTACTS"), ("ISSUES_SWITCHED", "ISSUES")):
        assert 0 <= totals[part] <= totals[whole]
    assert run.in_force == []

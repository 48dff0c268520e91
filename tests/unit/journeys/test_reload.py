"""New definitions in the middle of a history: what is under way goes on under them, as if nobody had been restarted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamer.processor import LogRecord
from tests.chapters.support import SLICES, event_at
from tests.journeys_support import BASE_MS, MINUTE, Run


class History:
    """The events of one customer; times are minutes."""

    def __init__(self, text: str) -> None:
        self.run = Run(text)
        self._offset = 0
        self._arrival_ms = BASE_MS

    def event(self, minutes: float, kind: str, *, arrives: float | None = None, customer: str = "c-1", **fields: Any) -> None:
        time_ms = BASE_MS + round(minutes * MINUTE)
        self._arrival_ms = max(self._arrival_ms, BASE_MS + round((minutes if arrives is None else arrives) * MINUTE))
        value = event_at(time_ms, customer, self._offset, {"type": kind, **fields})
        self.run.process([LogRecord(self._offset, self._arrival_ms, customer.encode(), value)])
        self._offset += 1
        self.run.drain()

    def clock(self, minutes: float) -> None:
        self.run.advance(BASE_MS + round(minutes * MINUTE))
        self.run.drain()

    def reload(self, text: str, revision: int = 2) -> None:
        self.run.upgrade(revised(text, revision))
        self.run.drain()

    def totals(self, *names: str) -> list[int]:
        return [self.run.total(name) for name in names]


def revised(text: str, revision: int) -> str:
    return re.sub(r"^revision = \d+", f"revision = {revision}", text, count=1, flags=re.MULTILINE)


SERVICE = SLICES + '[service]\nresponse_within = "{}"\n[contacts]\n'


@pytest.mark.parametrize("looked_at", [False, True], ids=["nothing else", "another issue"])
def test_a_shorter_span_reaches_who_waits_whatever_else_happens(*, looked_at: bool) -> None:
    history = History(SERVICE.format("24h"))
    history.event(0, "contact.started", issue={"id": "i1"})
    history.reload(SERVICE.format("15m"))
    if looked_at:
        history.event(299, "info.captured", info={"field": "x"}, issue={"id": "i9"})
    history.event(300, "contact.handled", issue={"id": "i1"})
    assert history.totals("CONTACTS_RESPONSE_DUE", "CONTACTS_ANSWERED_IN_TIME") == [1, 0]


COMMUNICATION = SLICES + '[communication]\nforget_after = "{}"\nsilent_after = "10d"\nowner_within = "3d"\n'


@pytest.mark.parametrize("crash_at", [None, 101, 102])
def test_a_crash_after_a_shorter_span_changes_no_count(crash_at: int | None) -> None:
    history = History(COMMUNICATION.format("100m"))
    history.event(0, "case.opened", issue={"case_id": "q1"}, actor={"owner": "A"})
    history.reload(COMMUNICATION.format("80m"))
    history.event(1, "page.viewed")
    history.clock(100)
    if crash_at == 101:
        history.run.crash()
    history.event(93, "case.opened", arrives=101, issue={"case_id": "q1"}, actor={"owner": "B"})
    if crash_at == 102:
        history.run.crash()
    history.event(102, "case.closed", issue={"case_id": "q1"})
    history.event(103, "page.viewed")
    assert history.totals("CASES_ANSWER_DUE", "CASES_OWNER_DUE", "OWNER_CHANGES_DUE") == [1, 2, 0]


JOURNEY = SLICES + (
    '[[journey]]\nid = "{}"\nstart = ["checkout.started"]\ncomplete = ["order.completed"]\nidentified_by = ["checkout_id"]\n'
    '[[rule]]\nid = "left"\non = "journey"\nwhen = "abandoned"\n'
)


def test_a_journey_that_is_gone_from_the_file_looks_abandoned_to_nobody() -> None:
    history = History(JOURNEY.format("checkout"))
    history.event(0, "checkout.started", commerce={"checkout_id": "k1"})
    history.reload(JOURNEY.format("purchase"))
    history.event(5, "order.completed", commerce={"checkout_id": "k1"})
    history.clock(120)
    assert history.totals("STARTED", "OPEN", "COMPLETED", "ABANDONED", "SUPPRESSED") == [1, 0, 0, 0, 1]
    assert history.run.alerts == []


BANDS = SLICES + "[effort]\nmedium = {}\nhigh = {}\nrepeat_contact = 3\n[contacts]\n"


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(("before", "after", "bands"), [
    ((4, 10), (2, 5), ([1, 0], [0, 1])), ((1, 5), (4, 20), ([0, 0], [1, 0])), ((1, 2), (1, 20), ([1, 0], [1, 0])),
    ((1, 2), (30, 40), ([0, 0], [0, 0])), ((30, 40), (1, 2), ([0, 1], [0, 1])),
])  # fmt: skip
def test_an_open_issue_is_in_one_band_of_effort(
    before: tuple[int, int], after: tuple[int, int], bands: tuple[list[int], list[int]], *, more: bool
) -> None:
    history = History(BANDS.format(*before))
    history.event(0, "contact.started", issue={"id": "i1"}, channel="web")
    history.event(1, "case.reopened", issue={"id": "i1"}, channel="web")
    history.reload(BANDS.format(*after))
    history.event(2, "page.viewed")
    if more:
        history.event(3, "case.reopened", issue={"id": "i1"}, channel="web")
    assert history.totals("ISSUES_EFFORT_MEDIUM", "ISSUES_EFFORT_HIGH") == bands[more]


CONTRACTS = SLICES + '[contracts]\ngrace = "{}"\n'


@pytest.mark.parametrize("grace", ["30d", "40d", "20d"])
def test_a_reminder_of_a_renewed_contract_is_one_whatever_the_grace_is_now(grace: str) -> None:
    history = History(CONTRACTS.format("30d"))
    contract = {"contract_id": "k1", "due_at": "2026-12-21T10:15:00Z"}
    history.event(0, "contract.due", contract=contract)
    history.event(10, "contract.renewed", contract=contract)
    history.reload(CONTRACTS.format(grace))
    history.event(20, "contract.due", contract=contract)
    history.clock(200 * 24 * 60)
    assert history.totals("CONTRACTS_DUE", "CONTRACTS_RENEWED") == [1, 1]


RULE = SLICES + '[contacts]\n[[rule]]\nid = "{}"\non = "customer"\nwhen = "{}"\nowner_team = "{}"\n'


@pytest.mark.parametrize("restart", [False, True])
def test_what_ends_because_its_rule_is_gone_says_what_the_customer_was_told(*, restart: bool) -> None:
    history = History(RULE.format("r", "contacts >= 1", "care"))
    history.event(0, "contact.started", issue={"id": "i1"})
    history.event(0, "contact.started", customer="c-2", issue={"id": "i1"})
    history.reload(RULE.format("r", "transfers >= 5", "logistics"))
    history.event(1, "page.viewed", customer="c-2")
    if restart:
        history.run.crash()
    history.reload(RULE.format("other", "contacts >= 100", "x"), revision=3)
    history.event(2, "page.viewed")
    last = history.run.alerts[-1]
    assert (last.state, last.entity and last.entity.canonical_id) == ("resolved", "c-1")
    assert (last.rule.text, last.owner_team) == ("contacts >= 1", "care")


HELD = SLICES + '[contacts]\nwindow = "20h"\n[[rule]]\nid = "r"\non = "customer"\nwhen = "contacts == 1 or contacts == 3"\n{}\n'


@pytest.mark.parametrize(("before", "after"), [
    ('cooldown = "30h"', 'cooldown = "2h"'), ('mode = "draft"\ncooldown = "30h"', 'cooldown = "30h"'), ("max_per_day = 1", ""),
])  # fmt: skip
def test_what_ends_with_the_deadline_that_brings_new_definitions_is_not_told_before(before: str, after: str) -> None:
    """The third contact waits; nothing else happens to the customer until the window is over."""
    history = History(HELD.format(before))
    for minutes in range(3):
        history.event(minutes, "contact.started", issue={"id": "i1"})
    told = [alert.state for alert in history.run.alerts]
    history.reload(HELD.format(after))
    for hours in range(1, 50):
        history.clock(hours * 60)
    assert [alert.state for alert in history.run.alerts] == told


OPERATIONS = SLICES + (
    '[operations]\ncadence = "{}"\nkeep_for = "{}"\nper_customer = "5d"\n[contacts]\n'
    '[[rule]]\nid = "r"\non = "customer"\nwhen = "contact_overdue"\n'
)


def test_nothing_ends_before_it_began() -> None:
    """By the shorter spans what was overdue had been forgotten before it was."""
    day = 24 * 60
    history = History(OPERATIONS.format("10d", "60d"))
    history.event(0, "contact.started", actor={"initiator": "company"})
    history.clock(20 * day)
    history.reload(OPERATIONS.format("4d", "13d"))
    history.event(20 * day + 1, "page.viewed")
    history.clock(20 * day + 10)
    fired, resolved = history.run.alerts
    assert (fired.state, resolved.state) == ("firing", "resolved")
    assert resolved.event_time >= fired.event_time

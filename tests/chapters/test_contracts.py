"""The chapter contracts: B7."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.journeys.cells import Cells
from streamer.journeys.chapters.contracts import Contracts
from streamer.journeys.state import Kept
from streamer.metrics.chapters.contracts import METRICS
from streamer.metrics.counters import Counter
from streamer.metrics.metric import counters_of
from streamer.verify.recount import statements
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    history,
    side_by_side,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE, Story
from tests.verify_support import counted, differing

if TYPE_CHECKING:
    from random import Random

    from tests.chapters.support import Maker

DEFINITIONS = (
    SLICES
    + """
[contracts]
grace = "30m"
ahead = "2h"
early = "50m"
due_soon = "20m"
[[rule]]
id = "undecided"
on = "customer"
when = "contracts_undecided >= 1"
"""
)
SOON = DEFINITIONS.replace("contracts_undecided >= 1", "contracts_due_soon >= 1")


def at(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def event(random: Random, _customer: str, time_ms: int) -> dict[str, Any]:
    kind = random.choice(["due", "due", "renewed", "cancelled"])
    contract: dict[str, Any] = {"contract_id": random.choice(["k1", "k2"])} if random.random() < 0.9 else {}
    if kind == "due" and random.random() < 0.8:
        contract["due_at"] = at(time_ms + random.choice([-40, -30, -29, 0, 10, 60, 120, 121]) * MINUTE)
    return {"type": f"contract.{kind}", "contract": contract}


def with_reminders(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
    """Half of the notices are of one of a few dates, which others tell as well, before and after it is decided."""
    made = event(random, customer, time_ms)
    if made["type"] == "contract.due" and random.random() < 0.5:
        hour = (time_ms - BASE_MS) // HOUR + random.choice([1, 1, 2])
        made["contract"]["due_at"] = at(BASE_MS + hour * HOUR)
    return made


HISTORIES = (Histories(DEFINITIONS, event), Histories(DEFINITIONS, with_reminders))


@pytest.mark.parametrize("make", [event, with_reminders])
@pytest.mark.parametrize("after_ms", [MINUTE, 3 * HOUR])
def test_the_recount_is_equal(after_ms: int, make: Maker) -> None:
    expected = {counter.name for metric in METRICS for counter in counters_of(metric)}
    assert_recount_is_equal(DEFINITIONS, make, RECOUNTED, expected, after_ms=after_ms)


def told(story: Story, kind: str, minutes: float, **contract: str) -> int:
    return story.event(f"contract.{kind}", 60 * minutes, contract={"contract_id": "k1", **contract})


def test_a_renewal_counts_where_the_grace_after_the_due_date_ends_and_ends_the_alert_at_once() -> None:
    story = Story(DEFINITIONS)
    due = told(story, "due", 0) + HOUR
    told(story, "due", 1, due_at=at(due))  # a new date takes the place of the old one
    assert len(story.run.in_force) == 1
    told(story, "renewed", 2)
    assert not story.run.in_force
    assert story.run.total("CONTRACTS_DUE") == 0
    known = story.clock(90 * 60)
    assert known == due + HOUR // 2
    assert (story.run.at("CONTRACTS_DUE", known), story.run.total("CONTRACTS_DUE")) == (1, 1)
    assert story.run.at("CONTRACTS_RENEWED", known) == 1


@pytest.mark.parametrize(("minutes", "renewed"), [(50, 1), (50.001, 0)])
def test_a_renewal_before_the_due_date_is_told_is_for_that_date_if_it_is_soon_enough(minutes: float, renewed: int) -> None:
    story = Story(DEFINITIONS)
    told(story, "renewed", 0)
    noted = told(story, "due", 10, due_at=at(BASE_MS + round(minutes * MINUTE)))
    assert len(story.run.in_force) == 1 - renewed
    story.clock(3 * 3600)
    known = BASE_MS + round((minutes + 30) * MINUTE)
    assert (story.run.at("CONTRACTS_DUE", known), story.run.total("CONTRACTS_RENEWED")) == (1, renewed)
    assert noted < known


def test_a_renewal_is_for_one_due_date_only_and_a_cancellation_takes_it_back() -> None:
    story = Story(DEFINITIONS)
    told(story, "renewed", 0)
    told(story, "due", 1)
    told(story, "due", 2)
    assert len(story.run.in_force) == 1, "the second waits for a renewal of its own"
    told(story, "cancelled", 3)
    story.event("contract.renewed", 4 * 60, contract={"contract_id": "k2"})
    story.event("contract.cancelled", 5 * 60, contract={"contract_id": "k2"})
    story.event("contract.due", 6 * 60, contract={"contract_id": "k2"})
    story.clock(3600)
    assert (story.run.total("CONTRACTS_DUE"), story.run.total("CONTRACTS_RENEWED")) == (3, 1)


def test_a_renewal_that_is_told_twice_is_not_for_the_next_due_date() -> None:
    story = Story(DEFINITIONS)
    told(story, "due", 0)
    told(story, "renewed", 1)
    told(story, "renewed", 2)
    told(story, "due", 10)
    assert len(story.run.in_force) == 1
    story.clock(3600)
    assert (story.run.total("CONTRACTS_DUE"), story.run.total("CONTRACTS_RENEWED")) == (2, 1)


@pytest.mark.parametrize(("early", "decision", "renewed"), [(False, "renewed", 1), (False, "cancelled", 0), (True, "renewed", 1)])
def test_a_reminder_of_a_due_date_that_is_decided_says_nothing(early: bool, decision: str, renewed: int) -> None:
    story = Story(DEFINITIONS)
    due = at(BASE_MS + HOUR // 2)
    if early:
        told(story, decision, 0)
        told(story, "due", 1, due_at=due)
    else:
        told(story, "due", 0, due_at=due)
        told(story, decision, 1)
    alerts = len(story.run.alerts)
    told(story, "due", 20, due_at=due)
    told(story, "due", 45, due_at=due)
    assert len(story.run.alerts) == alerts
    story.clock(5 * 3600)
    assert (story.run.total("CONTRACTS_DUE"), story.run.total("CONTRACTS_RENEWED")) == (1, renewed)


def test_a_reminder_of_a_date_that_is_decided_leaves_the_next_date_of_the_contract_open() -> None:
    story = Story(DEFINITIONS)
    first, second = at(BASE_MS + HOUR // 2), at(BASE_MS + 2 * HOUR)
    told(story, "due", 0, due_at=first)
    told(story, "renewed", 1)
    told(story, "due", 2, due_at=second)
    told(story, "due", 3, due_at=first)
    assert len(story.run.in_force) == 1
    told(story, "renewed", 4)
    story.clock(5 * 3600)
    assert (story.run.at("CONTRACTS_RENEWED", BASE_MS + HOUR), story.run.at("CONTRACTS_RENEWED", BASE_MS + 5 * HOUR // 2)) == (1, 1)
    assert story.run.total("CONTRACTS_DUE") == 2


def test_a_reminder_of_a_date_that_is_still_open_keeps_it_open() -> None:
    story = Story(DEFINITIONS)
    due = at(BASE_MS + HOUR // 2)
    told(story, "due", 0, due_at=due)
    told(story, "due", 1, due_at=due)
    told(story, "renewed", 2)
    story.event("contract.due", 180, contract={"contract_id": "k2", "due_at": due})  # the same moment, another contract
    assert len(story.run.in_force) == 1
    story.clock(5 * 3600)
    assert (story.run.total("CONTRACTS_DUE"), story.run.total("CONTRACTS_RENEWED")) == (2, 1)


def test_the_histories_have_reminders_of_decided_dates_that_a_recount_must_leave_out() -> None:
    wanted, log = parse(DEFINITIONS), side_by_side([history(seed, with_reminders) for seed in RECOUNTED])
    end_ms = log[-1].arrival + 3 * HOUR
    clause = "list_contains(w.settled, e.due + e.grace)"
    before = statements(wanted)
    other = [part.replace(clause, "false") for part in before]
    assert other != before
    assert differing(counted(log, wanted, end_ms), log, wanted, end_ms, other).keys() >= {"CONTRACTS_DUE", "CONTRACTS_RENEWED"}


def test_a_due_date_that_was_renewed_early_makes_no_other_go() -> None:
    story = Story(DEFINITIONS.replace('ahead = "2h"', 'ahead = "2h"\ncontracts_per_customer = 1'))
    story.event("contract.renewed", 0, contract={"contract_id": "k2"})
    told(story, "due", 1)
    story.event("contract.due", 120, contract={"contract_id": "k2"})
    assert "cut_contracts" not in story.run.processor.accounting


def test_a_contract_is_due_soon_from_exactly_so_long_before_its_due_date_on_without_an_event() -> None:
    story = Story(SOON)
    due = at(BASE_MS + 60 * MINUTE)
    told(story, "due", 0, due_at=due)
    story.event("contract.due", 60, contract={"contract_id": "k2", "due_at": at(BASE_MS + 100 * MINUTE)})
    story.clock(40 * 60 - 0.001)
    assert not story.run.alerts
    story.restart()
    story.clock(40 * 60)
    [alert] = story.run.in_force
    assert alert.metric.signals == {"contracts_due_soon": 1}
    told(story, "renewed", 50)
    assert not story.run.in_force, "the other one has time"
    story.clock(80 * 60)
    assert len(story.run.in_force) == 1
    story.clock(129 * 60)
    assert len(story.run.in_force) == 1, "its date has passed, the grace has not"
    story.clock(130 * 60)
    assert not story.run.in_force


def test_a_new_date_and_one_that_is_told_late_are_looked_at_anew() -> None:
    story = Story(SOON)
    told(story, "due", 0, due_at=at(BASE_MS + 10 * MINUTE))
    assert len(story.run.in_force) == 1, "due soon when it is told"
    told(story, "due", 1, due_at=at(BASE_MS + 90 * MINUTE))
    assert not story.run.in_force


def test_a_row_from_before_there_were_contracts_due_soon_is_read() -> None:
    chapter = Contracts(parse(SOON), Cells(()), bytes(len(Counter)))
    due, kept = BASE_MS + HOUR, Kept()
    kept.data["contracts"] = {"k1": [due, b""]}
    assert chapter.signal(kept, "contracts_due_soon") == 0
    chapter.set_due(kept)
    assert kept.due == due - 20 * MINUTE


def test_a_renewal_is_forgotten_when_it_is_too_old_for_a_due_date() -> None:
    story = Story(DEFINITIONS)
    told(story, "renewed", 0)
    story.clock(50 * 60)
    [row] = story.run.rows.values()
    assert b"contracts" not in row.state
    told(story, "due", 50, due_at=at(BASE_MS + 21 * MINUTE))
    assert story.run.total("CONTRACTS_RENEWED") == 0


def test_at_the_very_end_of_the_grace_it_is_too_late() -> None:
    story = Story(DEFINITIONS)
    told(story, "due", 0)
    told(story, "renewed", 30)
    assert (story.run.total("CONTRACTS_DUE"), story.run.total("CONTRACTS_RENEWED")) == (1, 0)


def test_a_renewal_a_moment_before_the_end_of_the_grace_counts() -> None:
    story = Story(DEFINITIONS)
    told(story, "due", 0)
    told(story, "renewed", 30 - 1 / 60)
    story.clock(30 * 60)
    assert story.run.total("CONTRACTS_RENEWED") == 1


def test_beyond_the_limit_the_contract_due_first_makes_room_and_is_counted() -> None:
    story = Story(DEFINITIONS.replace('ahead = "2h"', 'ahead = "2h"\ncontracts_per_customer = 1'))
    told(story, "due", 0)
    story.event("contract.due", 60, contract={"contract_id": "k2"})
    assert story.run.processor.accounting["cut_contracts"] == 1
    told(story, "renewed", 2)
    assert story.run.total("CONTRACTS_DUE") == 0

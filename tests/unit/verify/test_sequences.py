"""What customers do one after the other, as entity rules name it: bursts of channel switches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from streamer.journeys import contacts
from tests.chapters.support import SLICES, history
from tests.journeys_support import MINUTE
from tests.unit.verify.test_signals import Case, case_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SEEDS: Final = range(6)
BURSTS: Final = """
[contacts]
window = "20s"
switch_within = "{within}"
switch_burst = {burst}
[[rule]]
id = "of-an-issue"
on = "issue"
when = "recent_switches >= 1 and contacts >= 0"
[[rule]]
id = "of-a-customer"
on = "customer"
when = "recent_switches >= 2"
"""


def contact(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    """Three issues, which end while others are open."""
    return {"type": random.choice(["contact.started", "knowledge.searched"]), "issue": {"issue_id": random.choice("abbc")}}


def bursts(burst: int, within: str, other: Sequence[tuple[str, str]] = ()) -> Case:
    """Switches at nearly every second."""
    logs = [history(seed, contact, events=80, customers=1, span_ms=2 * MINUTE) for seed in SEEDS]
    return case_of(SLICES + BURSTS.format(burst=burst, within=within), logs, other)


@pytest.mark.parametrize(("burst", "within"), [(1, "30s"), (2, "9s"), (3, "10s"), (5, "10m")])
def test_every_burst_of_switches_is_recounted_equal(burst: int, within: str) -> None:
    case = bursts(burst, within)
    assert case.differing() == {}
    told = [one.holding.signals["recent_switches"] for one in case.counts.told if one.rule == "of-an-issue"]
    assert set(told) == set(range(1, burst + 1))
    assert any(one.rule == "of-a-customer" for one in case.counts.told)


def test_without_bursts_no_switch_is_recent() -> None:
    case = bursts(0, "1m")
    assert case.differing() == {}
    assert not case.counts.told


@pytest.mark.parametrize(
    ("clause", "other"),
    [
        ("AND before.t > now.t - switch_within", "AND before.t >= now.t - switch_within"),
        ("first.t > last.t - switch_within", "first.t >= last.t - switch_within"),
        ("WHERE reached.first > ended.last", "WHERE reached.last > ended.last"),
        ("coalesce(last_value(recent IGNORE NULLS) OVER so_far, 0)", "coalesce(recent, 0)"),
    ],
)
def test_a_burst_that_means_something_else_is_a_difference(clause: str, other: str) -> None:
    assert bursts(3, "10s", [(clause, other)]).differing().keys() == {"of-an-issue", "of-a-customer"}


def test_a_processor_that_forgets_where_a_burst_began_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    def count_recent(self: Any, recent: list[int], time_ms: int) -> None:
        del recent[: max(0, len(recent) - self._burst + 1)]
        recent.append(time_ms)

    monkeypatch.setattr(contacts.ContactFold, "_count_recent", count_recent)
    assert bursts(3, "10s").differing().keys() == {"of-an-issue", "of-a-customer"}

"""What customers do one after the other, as entity rules name it: bursts of channel switches, and patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from streamer.journeys import contacts, patterns
from tests.chapters.support import SLICES, history, told
from tests.journeys_support import HOUR, MINUTE
from tests.unit.verify.test_signals import Case, case_of, with_consents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SEEDS: Final = range(4)
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


@pytest.mark.parametrize(("burst", "within"), [(2, "9s"), (5, "10m")])
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


A, B, X = "payment.failed", "checkout.step_viewed", "order.completed"
# Its events, within how many seconds, and more about it; each has a rule that fires at every match.
PATTERNS: Final[dict[str, tuple[str, int, str]]] = {
    "one": (f'"{A}"', 1, 'counts_for = "7s"'),
    "two": (f'"{A}", "{B}"', 9, 'counts_for = "1m"'),
    "same_type": (f'"{A}", "{A}", "{A}"', 20, 'same = "checkout_id"'),
    "repeated": (f'"{A}", "checkout.*", "{A}", "{B}"', 20, 'counts_for = "20s"'),
    "lost": (f'"{A}"', 9, f'without = ["{X}", "page.*"]\nsame = "session_id"'),
    "lost_pair": (f'"{A}", "payment.*"', 9, f'without = ["{X}"]\nabsent_for = "4s"\ncounts_for = "30s"'),
    "silent": (f'"{A}"', 9, f'without = ["{A}"]\nabsent_for = "3s"'),
    "of_issue": (f'"{B}", "{A}"', 9, f'without = ["{B}"]\nabsent_for = "10s"\nsame = "issue_id"'),
}


def touchpoint(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    return {
        "type": random.choice([A, A, A, B, B, X, "payment.succeeded", "page.viewed", "contact.started"]),
        "commerce": {"checkout_id": random.choice(["", "k1", "k2"])},
        "session_id": random.choice(["", "s1"]),
        "issue": {"issue_id": random.choice(["i1", "i1", "i2"])},
    }


def seen(pattern: str) -> str:
    events, within_s, more = PATTERNS[pattern]
    return f"""
[[pattern]]
id = "{pattern}"
events = [{events}]
within = "{within_s}s"
{more}
[[rule]]
id = "{pattern}"
on = "customer"
when = "pattern_{pattern} >= 1 and contacts >= 0"
show = ["contacts", "pattern_one"]
"""


def matching(after_ms: int, other: Sequence[tuple[str, str]] = ()) -> Case:
    """Sequences and absences at every other second, whose times end at those of other events."""
    logs = [history(seed, with_consents(touchpoint), events=80, span_ms=2 * MINUTE) for seed in SEEDS]
    return case_of(f'{SLICES}[contacts]\nwindow = "20s"\n{"".join(map(seen, PATTERNS))}', logs, other, after_ms)


@pytest.mark.parametrize("after_ms", [1, 30 * 24 * HOUR])
def test_every_match_of_every_pattern_is_recounted_equal(after_ms: int) -> None:
    case = matching(after_ms)
    assert case.differing() == {}
    assert {one.rule for one in case.counts.told} == PATTERNS.keys()
    assert sum(one.state == "amended" for one in case.counts.told) > 300


# Clauses of the SQL, what each is replaced by, and a pattern that none of the others of its group makes differ.
CLAUSES: Final = [
    [
        ("last.t - first.t <= within", "last.t - first.t < within", "two"),
        ("AND 1 PRECEDING", "AND CURRENT ROW", "same_type"),
        ("WHERE later.n >= waits.over", "WHERE later.n > waits.over", "silent"),
    ],
    [
        ("sequences.begun > matched.n", "sequences.n > matched.n", "repeated"),
        ("WHERE same = '' OR shared <> ''", "", "same_type"),
        ("coalesce(min_by(e.t, e.n) >= m.t + absence, true)", "coalesce(min_by(e.t, e.n) > m.t + absence, true)", "silent"),
    ],
    [
        ("THEN max(begun) OVER", "THEN min(begun) OVER", "repeated"),
        ("WHERE later.n >= waits.over", "WHERE later.n > waits.n", "lost"),
        ("at_event(t, place), at_deadline(t + counts_for)", "at_event(t, place), at_deadline(t + counts_for + 1)", "one"),
    ],
    [("at_deadline(due), at_deadline(due + counts_for)", "at_deadline(due + 1), at_deadline(due + counts_for)", "of_issue")],
]


@pytest.mark.parametrize("clauses", CLAUSES)
def test_a_pattern_that_means_something_else_is_a_difference(clauses: list[tuple[str, str, str]]) -> None:
    found = matching(2 * HOUR, [(clause, other) for clause, other, _ in clauses]).differing()
    assert {pattern for _, _, pattern in clauses} - found.keys() == set()


def test_a_processor_in_which_an_event_counts_for_the_first_place_it_can_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    farthest = patterns.Patterns._roles

    def roles(self: patterns.Patterns, kind: str) -> Any:
        return [(plan, sorted(places), ends) for plan, places, ends in farthest(self, kind)]

    monkeypatch.setattr(patterns.Patterns, "_roles", roles)
    assert {"same_type", "lost_pair"} <= matching(2 * HOUR).differing().keys()


def test_a_pattern_that_is_seen_more_often_than_is_kept_is_not_verified() -> None:
    text = seen("one").replace('"7s"', '"1h"').replace("pattern_one >= 1", f"pattern_one > {patterns.KEPT_MAX}")
    case = case_of(SLICES + text, [told(*((minute / 2, A, {}) for minute in range(patterns.KEPT_MAX + 2)))])
    assert case.counts.told == []
    verdict = case.differing()["one"]
    assert verdict.status == "not verified"
    assert "cut_patterns" in verdict.reason

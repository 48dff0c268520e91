"""Rows of an entity rule's comparison: what was told last, and what was not taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import Rule, parse
from streamer.verify.counted import Counted
from streamer.verify.raw_log import Clocks, Record
from streamer.verify.recount import Recount, recount
from streamer.verify.rule_rows import OfRule
from streamer.verify.rules import Holding, Refusal, Spell
from tests.chapters.support import event_at
from tests.journeys_support import BASE_MS, MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

RULE = Rule(id="busy", on="customer", when="contacts >= 2", show=("handoffs",))


def shown(contacts: int, handoffs: int = 0) -> dict[str, Any]:
    return {"contacts": contacts, "handoffs": handoffs}


def holding(second: int, signals: dict[str, Any], *, looked_at: bool = True, by_event: bool = True) -> Holding:
    since = 2_000 * second + by_event
    return Holding("c", "", "", 1_000 * second, signals, looked_at, since, since + 2_000)


def spell(begin: int, end: int | None, told: dict[str, Any] | None = None, **more: Any) -> Spell:
    return Spell("c", "", "", 1_000 * begin, None if end is None else 1_000 * end, told=told, **more)


def rows(mine: list[Spell], theirs: list[Spell], known: list[Holding], refused: Sequence[Refusal] = ()) -> OfRule:
    counted = Counted({}, {}, {}, {}, [], {"busy": mine})
    refusing = {"c": refused} if refused else {}
    return OfRule(RULE, counted, Recount((), {}, {}, {}, {"busy": known}, {"busy": theirs}, refusing))


def different(of_rule: OfRule, *, in_order: bool) -> list[tuple[str, Any, Any]]:
    found = of_rule.in_order() if in_order else of_rule.at_last()
    return [(about, mine, theirs) for (about, _), mine, theirs in found if mine != theirs]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(
    ("later", "last"),
    [
        ([], shown(2)),
        ([holding(2, shown(3))], shown(3)),
        ([holding(2, shown(2, handoffs=1))], shown(2)),  # a change of what is shown alone is no amendment
        ([holding(2, shown(2, 1)), holding(3, shown(3, 2)), holding(4, shown(3, 5))], shown(3, 2)),
        ([holding(2, shown(3), looked_at=False)], shown(2)),
    ],
)
def test_what_is_told_last_is_of_the_last_change_of_a_number_in_the_condition(
    later: list[Holding], last: dict[str, Any], *, in_order: bool
) -> None:
    known = [holding(1, shown(2)), *later]
    assert different(rows([spell(1, None, last)], [spell(1, None)], known), in_order=in_order) == []
    wrong = shown(9)
    assert different(rows([spell(1, None, wrong)], [spell(1, None)], known), in_order=in_order) == [("told last", wrong, last)]


def test_an_amendment_of_a_firing_that_has_ended_since_is_missed() -> None:
    known = [holding(1, shown(2)), holding(2, shown(3))]
    ended = {"signals": shown(1)}
    assert different(rows([spell(1, 5, shown(3), **ended)], [spell(1, 5, **ended)], known), in_order=True) == []
    missed = different(rows([spell(1, 5, shown(2), **ended)], [spell(1, 5, **ended)], known), in_order=True)
    assert missed == [("told last", shown(2), shown(3))]


def test_at_the_moment_of_its_end_either_may_have_come_first() -> None:
    known = [holding(1, shown(2)), holding(5, shown(4))]
    for last in (shown(2), shown(4)):
        assert different(rows([spell(1, 5, last, signals=shown(1))], [spell(1, 5, signals=shown(1))], known), in_order=True) == []


def test_what_was_held_back_begins_with_what_holds_by_then() -> None:
    known = [holding(1, shown(2)), holding(2, shown(3))._replace(until=2 * 9_000), holding(9, shown(4))]
    theirs = [spell(6, None, held_back=True)]
    assert different(rows([spell(6, None, shown(4))], theirs, known), in_order=False) == []
    assert different(rows([spell(6, None, shown(3))], theirs, known[:2]), in_order=False) == []
    assert different(rows([spell(6, None, shown(2))], theirs, known[:2]), in_order=False) == [("told last", shown(2), shown(3))]


def test_a_firing_that_was_not_taken_back_has_happened() -> None:
    ended, taken_back = spell(1, 5, shown(2)), spell(1, 1, shown(2), taken_back=True)
    assert different(rows([ended], [], []), in_order=False) == [("not taken back", {"fired": True}, None)]
    assert different(rows([ended], [spell(2, 3)], []), in_order=False) == []
    assert different(rows([taken_back], [], []), in_order=False) == []
    assert different(rows([ended], [], [], [Refusal(1, 2)]), in_order=False) == []
    assert different(rows([spell(0, 0), taken_back], [], []), in_order=False) == [], "only of what was told last it is said"


def test_who_fires_at_last_fires_in_the_recount() -> None:
    known = [holding(1, shown(2))]
    fires = {"fires": True}
    assert different(rows([spell(1, None, shown(2))], [], known), in_order=False) == [("in force", fires, None)]
    assert different(rows([], [spell(1, None)], known), in_order=False) == [("in force", None, fires)]


def test_who_refuses_at_last_is_not_told_of() -> None:
    fires, known = {"fires": True}, [holding(1, shown(2))]
    ours = [spell(1, None, shown(2))]
    assert different(rows(ours, [], known, [Refusal(1, None)]), in_order=False) == [("in force", fires, None)]
    assert different(rows(ours, [], known, [Refusal(1, 2)]), in_order=False) == [], "he has consented since"
    assert different(rows([], [spell(1, None)], known, [Refusal(1, None)]), in_order=False) == []


def test_a_refusal_is_from_when_it_counts_until_a_consent_that_was_said_after_it() -> None:
    """told: (customer, whether he consents, minute at which he says so, minute at which that is heard)."""
    told = [
        ("a", False, 10, 10), ("b", True, 10, 10), ("c", False, 10, 10), ("a", False, 20, 20), ("a", True, 30, 30),
        ("b", True, 40, 40), ("a", False, 5, 40), ("b", True, 50, 50), ("a", False, 35, 51), ("c", True, 9, 52),
    ]  # fmt: skip
    log = []
    for number, (customer, consents, said, heard) in enumerate(told):
        event = {"type": "consent.changed", "consent": {"categories": {"analytics": consents}}}
        value = event_at(BASE_MS + said * MINUTE, customer, number, event)
        log.append(Record(0, number, BASE_MS + heard * MINUTE, customer.encode(), value))
    recounted = recount(log, parse('revision = 1\nallowed_lateness = "2m"'), Clocks({0: log[-1].arrival}), signals=True)
    since, again, late = (BASE_MS + minute * MINUTE for minute in (10, 30, 50))
    assert recounted.refusing == {"a": [Refusal(since, again), Refusal(late, None)], "c": [Refusal(since, None)]}
    assert [Refusal(10, 30).has(at) for at in (10, 11, 29, 30)] == [False, True, True, False]
    assert [Refusal(10, None).has(at) for at in (10, 11)] == [False, True]

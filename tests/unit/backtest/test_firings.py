"""From transitions to firings, and how two versions' firings differ."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.alerts.alert import Alert, Entity, Measured, RuleRef, State
from streamer.alerts.times import rfc3339
from streamer.backtest.diff import differences
from streamer.backtest.firings import Firing, Span, firings_of

T0 = 1_767_225_600_000


def told(state: State, second: int, episode: str = "e1", n: int = 1) -> Alert:
    time = rfc3339(T0 + second * 1000)
    return Alert(
        alert_id=f"{episode}.{n}", episode_id=episode, fingerprint="f", schema_version=1, state=state, severity="warning",
        rule=RuleRef(id="r", version=1, text="x"), entity=Entity(canonical_id="c", journey_id="j"), metric=Measured(name="r"), why="w",
        event_time=time, detected_at=rfc3339(T0 + second * 1000 + 500), expires_at=time,
    )  # fmt: skip


def shape(firing: Firing) -> tuple[int, int | None, str | None, int]:
    end = None if firing.end_ms is None else (firing.end_ms - T0) // 1000
    return (firing.start_ms - T0) // 1000, end, firing.ended, len(firing.transitions)


def test_an_episode_goes_from_its_firing_to_its_end() -> None:
    found = firings_of([told("firing", 1), told("amended", 2, n=2), told("resolved", 9, n=3), told("firing", 20, "e2")])
    assert [shape(firing) for firing in found] == [(1, 9, "resolved", 3), (20, None, None, 1)]
    assert found[0].about == {"customer": "c", "journey_id": "j"}
    assert (found[0].told_ms - found[0].start_ms, found[0].metric) == (500, None)


def test_one_that_is_retracted_after_it_had_ended_should_never_have_begun() -> None:
    found = firings_of([told("firing", 1), told("resolved", 9, n=2), told("retracted", 4, n=3)])
    assert [shape(firing) for firing in found] == [(1, 9, "retracted", 3)]


def test_one_that_is_in_force_once_more_is_two_firings_and_ends_without_a_begin_are_none() -> None:
    found = firings_of([told("firing", 1), told("retracted", 3, n=2), told("firing", 2, n=3), told("resolved", 8, "e9")])
    assert [shape(firing) for firing in found] == [(1, 3, "retracted", 2), (2, None, None, 1)]


def test_a_span_is_from_inclusive_to_exclusive() -> None:
    assert [Span(1, 3).has(time) for time in range(5)] == [False, True, True, False, False]
    assert Span().has(-5)


def firing(start: int, end: int | None, fingerprint: str = "f", rule: str = "r") -> Firing:
    return Firing(rule, "warning", fingerprint, "e", {}, None, start, start, end, None if end is None else "resolved", "", ("a",))


def test_firings_of_one_subject_that_overlap_belong_together() -> None:
    here = [firing(0, 10), firing(20, 30), firing(50, 60), firing(0, 9, "g"), firing(0, None, "h")]
    there = [firing(0, 12), firing(25, 40), firing(70, 80), firing(5, 9, "i"), firing(3, 4, "h")]
    [found] = differences(here, there)
    assert found.same == 1
    assert [(one.start_ms, other.start_ms) for one, other in found.moved] == [(20, 25), (0, 3)]
    assert [(one.fingerprint, one.start_ms) for one in found.only_here] == [("f", 50), ("g", 0)]
    assert [(one.fingerprint, one.start_ms) for one in found.only_there] == [("f", 70), ("i", 5)]


def test_what_touches_does_not_overlap_and_the_same_start_is_matched_before_an_overlap() -> None:
    [found] = differences([firing(0, 10)], [firing(10, 20)])
    assert (len(found.only_here), len(found.only_there), found.moved) == (1, 1, [])
    [found] = differences([firing(10, 20)], [firing(0, 10)])
    assert (len(found.only_here), len(found.only_there), found.moved) == (1, 1, [])
    [found] = differences([firing(5, 30)], [firing(0, 40), firing(5, 30)])
    assert (found.same, len(found.only_there)) == (1, 1)


def test_of_a_span_there_are_the_pairs_of_which_one_begins_in_it() -> None:
    here = [firing(8, None), firing(0, 3, "before"), firing(1, 9, "x")]
    there = [firing(5, None), firing(0, 3, "before"), firing(2, 9, "x"), firing(7, 9, "y")]
    [found] = differences(here, there, Span(6, 20))
    assert [(one.start_ms, other.start_ms) for one, other in found.moved] == [(8, 5)], "the partner began before it"
    assert (found.same, found.only_here, [one.start_ms for one in found.only_there]) == (0, [], [7])
    assert differences([firing(0, 3)], [], Span(6, 20)) == []


STARTS, LENGTHS = st.integers(0, 50), st.integers(1, 20)
FIRINGS = st.lists(st.builds(lambda start, length, name: firing(start, start + length, name), STARTS, LENGTHS, st.sampled_from("ab")))


@settings(deadline=None)
@given(FIRINGS, FIRINGS)
def test_every_firing_is_in_exactly_one_place(here: list[Firing], there: list[Firing]) -> None:
    found = differences(here, there)
    assert sum(one.same + len(one.moved) + len(one.only_here) for one in found) == len(here)
    assert sum(one.same + len(one.moved) + len(one.only_there) for one in found) == len(there)


def test_a_version_does_not_differ_from_itself() -> None:
    here = [firing(0, 10), firing(5, 9, "g"), firing(3, None, "h", "s")]
    assert [(one.rule, one.same, [*one.moved, *one.only_here, *one.only_there]) for one in differences(here, here)] == [
        ("r", 2, []),
        ("s", 1, []),
    ]

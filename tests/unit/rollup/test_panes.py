from __future__ import annotations

import pytest

from streamer.rollup.panes import DAY_MS, HOUR_MS, Panes, granularity_ms

S = 1_000
T = 1_790_000_000_000  # a multiple of 10 s


def panes(*windows: int, granularity: int = 10 * S) -> Panes:
    made = Panes(granularity, windows)
    made.slide(T, set())
    return made


def sums(made: Panes) -> list[dict[int, int]]:
    return [window.sums for window in made.windows]


@pytest.mark.parametrize(
    ("window", "granularity"),
    [(1, 10 * S), (300 * S, 10 * S), (HOUR_MS, 10 * S), (HOUR_MS + 1, 300 * S), (DAY_MS, 300 * S), (7 * DAY_MS, HOUR_MS),
     (28 * DAY_MS, HOUR_MS), (90 * DAY_MS, DAY_MS)],
)  # fmt: skip
def test_granularity_of_a_window(window: int, granularity: int) -> None:
    assert granularity_ms(window) == granularity


def test_a_window_covers_the_pane_of_now_and_not_the_one_a_window_ago() -> None:
    made = panes(60 * S)
    made.add(T, [(0, {1: 1})])
    made.add(T - 50 * S, [(0, {1: 10})])
    made.add(T - 60 * S, [(0, {1: 100})])
    assert sums(made) == [{1: 11}]


def test_a_pane_leaves_exactly_when_the_floor_has_moved_by_the_window() -> None:
    made = panes(60 * S)
    made.add(T, [(0, {1: 1})])
    changed: set[int] = set()
    made.slide(T + 60 * S - 1, changed)
    assert (sums(made), changed) == ([{1: 1}], set())
    made.slide(T + 60 * S, changed)
    assert (sums(made), changed) == ([{}], {1})


def test_a_pane_to_come_counts_from_its_start() -> None:
    made = panes(60 * S)
    made.add(T + 20 * S, [(0, {1: 5})])
    assert (sums(made), made.next_slide_ms) == ([{}], T + 20 * S)
    made.slide(T + 19 * S, set())
    assert sums(made) == [{}]
    made.slide(T + 20 * S, set())
    assert (sums(made), made.next_slide_ms) == ([{1: 5}], T + 80 * S)


def test_a_pane_to_come_that_time_jumps_over_never_counts() -> None:
    made = panes(60 * S, 120 * S)
    made.add(T + 20 * S, [(0, {1: 5})])
    made.slide(T + 90 * S, set())
    assert sums(made) == [{}, {1: 5}]
    made.slide(T + 900 * S, set())
    assert (sums(made), list(made.rows())) == ([{}, {}], [])


def test_a_late_correction_reaches_the_old_pane_in_the_windows_that_still_see_it() -> None:
    made = panes(60 * S, 600 * S)
    made.add(T - 300 * S, [(0, {1: 1})])
    made.add(T - 300 * S, [(0, {1: -1, 2: 1})])
    assert sums(made) == [{}, {2: 1}]
    assert made.cells(T - 300 * S, 0) == {2: 1}
    made.slide(T + 300 * S, set())
    assert sums(made) == [{}, {}]


def test_a_correction_older_than_every_window_is_not_kept() -> None:
    made = panes(60 * S)
    made.add(T - 60 * S, [(0, {1: 1})])
    assert (list(made.rows()), made.dirty) == ([], set())


def test_a_pane_no_window_sees_is_dropped_and_marked_for_deletion() -> None:
    made = panes(60 * S, 120 * S)
    made.add(T, [(0, {1: 1}), (3, {9: 1})])
    made.dirty.clear()
    made.slide(T + 110 * S, set())
    assert list(made.rows()) == [(T, 0), (T, 3)]
    made.slide(T + 120 * S, set())
    assert (list(made.rows()), made.dirty, made.cells(T, 0)) == ([], {(T, 0), (T, 3)}, None)


def test_a_window_that_is_no_multiple_of_the_panes_slides_at_whole_panes() -> None:
    made = panes(25 * S)
    made.add(T, [(0, {1: 1})])
    assert made.next_slide_ms == T + 30 * S
    made.slide(T + 29 * S, set())
    assert sums(made) == [{1: 1}]
    made.slide(T + 30 * S, set())
    assert sums(made) == [{}]


def test_a_window_shorter_than_a_pane_is_that_pane() -> None:
    made = panes(5 * S)
    made.add(T, [(0, {1: 1})])
    made.slide(T + 9 * S, set())
    assert sums(made) == [{1: 1}]
    made.slide(T + 10 * S, set())
    assert sums(made) == [{}]


def test_rebuilt_windows_go_on_like_those_that_never_stopped() -> None:
    first, second = panes(60 * S, 600 * S), Panes(10 * S, [60 * S, 600 * S])
    for offset in (-590, -300, -50, 0, 30):
        first.add(T + offset * S, [(0, {1: offset + 1000})])
    for start, chunk in first.rows():
        second.load(start, chunk, dict(first.cells(start, chunk) or {}))
    second.rebuild(T)
    for now in (T, T + 10 * S, T + 40 * S, T + 95 * S, T + 10_000 * S):
        first.slide(now, set())
        second.slide(now, set())
        assert sums(second) == sums(first)
        assert second.next_slide_ms == first.next_slide_ms


def test_rebuilding_with_shorter_windows_drops_what_they_cannot_see() -> None:
    made = Panes(10 * S, [60 * S])
    made.load(T - 300 * S, 0, {1: 1})
    made.load(T, 0, {1: 2})
    made.rebuild(T)
    assert (sums(made), list(made.rows()), made.dirty) == ([{1: 2}], [(T, 0)], {(T - 300 * S, 0)})

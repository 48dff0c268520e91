from __future__ import annotations

import pytest

from streamer.rules.evaluate import RENEWED_TICKS, Episode, Outcome, Policy, step

HOLDS, FAILS, SMALL = Outcome.HOLDS, Outcome.FAILS, Outcome.INSUFFICIENT
POLICY = Policy(for_ticks=60, longest=1, longest_ticks=3_600, pane_ticks=10)
T = 1_000


def firing(at: int = T) -> Episode:
    episode = Episode()
    step(episode, POLICY._replace(for_ticks=0), at, (HOLDS, HOLDS))
    assert episode.status == "firing"
    return episode


def test_too_small_a_sample_in_any_window_is_insufficient() -> None:
    for outcomes in ((SMALL, HOLDS), (HOLDS, SMALL), (SMALL, FAILS)):
        episode = Episode("ok")
        assert step(episode, POLICY, T, outcomes) is None
        assert episode.status == "insufficient"


def test_all_windows_must_hold() -> None:
    episode = Episode()
    assert step(episode, POLICY, T, (HOLDS, FAILS)) is None
    assert episode.status == "ok"


def test_it_fires_when_the_condition_has_held_for_its_time_and_not_before() -> None:
    episode = Episode()
    assert step(episode, POLICY, T, (HOLDS, HOLDS)) is None
    assert (episode.status, episode.due) == ("pending", T + 60)
    assert step(episode, POLICY, T + 59, (HOLDS, HOLDS)) is None
    transition = step(episode, POLICY, T + 60, (HOLDS, HOLDS))
    assert transition is not None
    assert (transition.state, episode.status, episode.firings, episode.transitions) == ("firing", "firing", 1, 1)


def test_without_a_time_it_fires_at_once() -> None:
    assert firing().firings == 1


@pytest.mark.parametrize("interruption", [(FAILS, HOLDS), (SMALL, HOLDS)])
def test_an_interruption_starts_the_time_anew(interruption: tuple[Outcome, Outcome]) -> None:
    episode = Episode()
    step(episode, POLICY, T, (HOLDS, HOLDS))
    step(episode, POLICY, T + 30, interruption)
    step(episode, POLICY, T + 31, (HOLDS, HOLDS))
    assert step(episode, POLICY, T + 60, (HOLDS, HOLDS)) is None
    assert step(episode, POLICY, T + 91, (HOLDS, HOLDS)) is not None


def test_it_resolves_after_three_clean_evaluations_at_pane_boundaries() -> None:
    episode = firing()
    for tick in (T + 1, T + 9, T + 10, T + 15, T + 20):
        assert step(episode, POLICY, tick, (FAILS, HOLDS)) is None
    assert (episode.clean, episode.due) == (2, T + 30)
    transition = step(episode, POLICY, T + 30, (FAILS, HOLDS))
    assert transition is not None
    assert (transition.state, episode.status, episode.transitions, episode.due) == ("resolved", "ok", 2, None)


def test_holding_again_starts_the_clean_count_anew() -> None:
    episode = firing()
    step(episode, POLICY, T + 10, (FAILS, HOLDS))
    step(episode, POLICY, T + 20, (FAILS, HOLDS))
    step(episode, POLICY, T + 25, (HOLDS, HOLDS))
    assert (episode.clean, episode.due) == (0, T + RENEWED_TICKS)
    assert step(episode, POLICY, T + 30, (FAILS, HOLDS)) is None


def test_a_firing_episode_goes_on_while_the_sample_is_too_small() -> None:
    episode = firing()
    assert step(episode, POLICY, T + 3_000, (SMALL, HOLDS)) is None
    assert step(episode, POLICY, T + 30_000, (SMALL, HOLDS)) is None
    assert episode.status == "firing"


def test_a_window_with_enough_sample_that_contradicts_is_clean_though_the_other_is_too_small() -> None:
    episode = firing()
    for tick in (T + 10, T + 20):
        assert step(episode, POLICY, tick, (SMALL, FAILS)) is None
    transition = step(episode, POLICY, T + 30, (SMALL, FAILS))
    assert transition is not None
    assert episode.status == "insufficient"


def test_it_ends_when_the_longest_window_has_been_too_small_for_its_own_length() -> None:
    episode = firing()
    step(episode, POLICY, T + 100, (SMALL, SMALL))
    assert episode.due == T + 3_700
    assert step(episode, POLICY, T + 3_699, (SMALL, SMALL)) is None
    transition = step(episode, POLICY, T + 3_700, (SMALL, SMALL))
    assert transition is not None
    assert (transition.state, episode.status) == ("resolved", "insufficient")


def test_a_sufficient_longest_window_starts_that_time_anew() -> None:
    episode = firing()
    step(episode, POLICY, T + 100, (SMALL, SMALL))
    step(episode, POLICY, T + 200, (SMALL, HOLDS))
    step(episode, POLICY, T + 300, (SMALL, SMALL))
    assert step(episode, POLICY, T + 3_700, (SMALL, SMALL)) is None
    assert step(episode, POLICY, T + 3_900, (SMALL, SMALL)) is not None


def test_each_firing_is_a_new_episode_with_transitions_from_one() -> None:
    episode = firing()
    for tick in (T + 10, T + 20, T + 30):
        step(episode, POLICY, tick, (FAILS, FAILS))
    step(episode, POLICY, T + 40, (HOLDS, HOLDS))
    transition = step(episode, POLICY, T + 100, (HOLDS, HOLDS))
    assert transition is not None
    assert (episode.firings, episode.transitions, episode.clean) == (2, 1, 0)


def test_what_goes_on_firing_is_told_again_every_day() -> None:
    episode = firing()
    for day in (1, 2, 9):
        due = T + day * RENEWED_TICKS
        assert step(episode, POLICY, due - 1, (HOLDS, HOLDS)) is None
        assert episode.due == due
        transition = step(episode, POLICY, due, (HOLDS, HOLDS))
        assert transition is not None
        assert transition.state == "amended"
        assert step(episode, POLICY, due + 1, (HOLDS, HOLDS)) is None
    assert (episode.status, episode.firings, episode.transitions) == ("firing", 1, 4)

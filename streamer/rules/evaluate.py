"""The states of one aggregate rule on one series: insufficient, ok, pending, firing. Pure; time comes in as ticks.

`firing` when the condition has held in all windows for `for_ticks` without a break, and nothing holds it back. A firing episode ends
- after three clean evaluations at pane boundaries [H] (hysteresis), clean meaning that a window with enough sample contradicts
  the condition, and fulfils what clears the alert if the rule says that; a moment in which it holds or lingers starts the count anew,
  one without enough sample does not count; or
- when the longest window has had too small a sample for its own length [H]: nothing is known any more.
Otherwise too small a sample in any window is `insufficient`, neither ok nor firing; a firing episode goes on firing through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Literal, NamedTuple

import msgspec

from streamer.deltas import TICK_MS
from streamer.rules.quiet import QuietHours, held_until

CLEAN_EVALUATIONS: Final = 3
# What goes on firing is told again once a day, long before consumers may forget it (`rollup/telling.py`).
RENEWED_TICKS: Final = 86_400_000 // TICK_MS

Status = Literal["insufficient", "ok", "pending", "firing"]


class Outcome(IntEnum):
    """Of the condition in one window. LINGERS: it does not hold, but what clears the alert does not hold either."""

    INSUFFICIENT = 0
    FAILS = 1
    LINGERS = 2
    HOLDS = 3


class Policy(NamedTuple):
    """for_ticks: how long the condition must hold. longest: index of the longest window, longest_ticks: its length.

    cooldown_ms, max_per_day, quiet: what holds firings back, of a rule on accounts.
    """

    for_ticks: int
    longest: int
    longest_ticks: int
    pane_ticks: int
    cooldown_ms: int = 0
    max_per_day: int = 0
    quiet: QuietHours | None = None


class Episode(msgspec.Struct, array_like=True):
    """State of one rule on one series.

    since: tick the condition began to hold (pending). clean: clean evaluations so far. starved_since: tick from which the
    longest window's sample has been too small. firings, transitions: counted for the ids of alerts. due: the next tick at
    which time alone may change the state. muted: nobody was told that it fires. fired: tick at which it last began to fire.
    latest: the ticks of its latest firings, of a rule that has a daily maximum. severity: the rule's when it fired; "": an older row does
    not say.
    """

    status: Status = "insufficient"
    since: int = 0
    clean: int = 0
    starved_since: int | None = None
    firings: int = 0
    transitions: int = 0
    due: int | None = None
    muted: bool = False
    fired: int = 0
    latest: list[int] = []
    severity: str = ""


class Transition(NamedTuple):
    """What happened: `firing`, `amended`, or `resolved` and why."""

    state: Literal["firing", "amended", "resolved"]
    reason: str


def step(episode: Episode, policy: Policy, tick: int, outcomes: Sequence[Outcome]) -> Transition | None:
    """Evaluate at `tick` (ascending, once per tick); `outcomes` one per window."""
    transition = None
    if episode.status == "firing":
        ended = _ended(episode, policy, tick, outcomes)
        if ended:
            episode.status = idle(outcomes)
            episode.transitions += 1
            transition = Transition("resolved", ended)
        elif tick > episode.fired and (tick - episode.fired) % RENEWED_TICKS == 0:
            episode.transitions += 1
            transition = Transition("amended", "")
    elif min(outcomes) is Outcome.HOLDS:
        if episode.status != "pending":
            episode.status, episode.since = "pending", tick
        if tick - episode.since >= policy.for_ticks and _allowed(episode, policy, tick) <= tick:
            episode.status, episode.clean, episode.starved_since = "firing", 0, None
            episode.firings += 1
            episode.transitions = 1
            episode.fired = tick
            if policy.max_per_day:
                episode.latest = [*episode.latest, tick][-policy.max_per_day :]
            transition = Transition("firing", "")
    else:
        episode.status = idle(outcomes)
    episode.due = _due(episode, policy, tick, outcomes)
    return transition


def idle(outcomes: Sequence[Outcome]) -> Status:
    """The state of what neither fires nor is about to."""
    return "insufficient" if Outcome.INSUFFICIENT in outcomes else "ok"


def _ended(episode: Episode, policy: Policy, tick: int, outcomes: Sequence[Outcome]) -> str:
    """Why a firing episode ends at this tick, empty if it goes on."""
    if outcomes[policy.longest] is not Outcome.INSUFFICIENT:
        episode.starved_since = None
    elif episode.starved_since is None:
        episode.starved_since = tick
    if Outcome.FAILS in outcomes:
        if tick % policy.pane_ticks == 0:
            episode.clean += 1
    elif Outcome.INSUFFICIENT not in outcomes:
        episode.clean = 0
    if episode.clean >= CLEAN_EVALUATIONS:
        return f"{CLEAN_EVALUATIONS} clean evaluations"
    if episode.starved_since is not None and tick - episode.starved_since >= policy.longest_ticks:
        return "too small a sample for the whole of the longest window"
    return ""


def _allowed(episode: Episode, policy: Policy, tick: int) -> int:
    """The first tick, from this one on, at which nothing holds a firing back."""
    if not (policy.cooldown_ms or policy.max_per_day or policy.quiet):
        return tick
    cooldown_until_ms = episode.fired * TICK_MS + policy.cooldown_ms if episode.firings else 0
    fired_ms = [fired * TICK_MS for fired in episode.latest]
    return -(-held_until(tick * TICK_MS, cooldown_until_ms, fired_ms, policy.max_per_day, policy.quiet) // TICK_MS)


def _due(episode: Episode, policy: Policy, tick: int, outcomes: Sequence[Outcome]) -> int | None:
    if episode.status == "pending":
        return max(episode.since + policy.for_ticks, _allowed(episode, policy, tick))
    if episode.status != "firing":
        return None
    due = [episode.fired + ((tick - episode.fired) // RENEWED_TICKS + 1) * RENEWED_TICKS]
    if Outcome.FAILS in outcomes:
        due.append((tick // policy.pane_ticks + 1) * policy.pane_ticks)
    if episode.starved_since is not None:
        due.append(episode.starved_since + policy.longest_ticks)
    return min(due)

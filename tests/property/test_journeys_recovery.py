"""Invariants I1 and I3's pure half: batch boundaries, drains and crashes change nothing; the journal makes a replay the live run."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streamer.journeys.write_behind import Behind
from streamer.processor import LogRecord
from tests.journeys_support import BASE_MS, WRITE_AT_ONCE, Journalled, Run, record
from tests.property import journeys_histories as histories
from tests.property.journeys_histories import DEFINITIONS, DEFINITIONS_2, Step

Log = list[dict[str, Any]]

behinds = st.builds(Behind, st.sampled_from([1, 2, 1000]), st.sampled_from([1, 3, 8, 1000]), st.sampled_from([0, 1, 1000]))


class Act(NamedTuple):
    """One thing done to the processor: records [first, last), or a clock."""

    first: int = 0
    last: int = 0
    clock: int | None = None


def acts_of(log: Log, steps: list[Step], end: int) -> list[Act | Step]:
    """Steps with their records and clocks worked out; drains and crashes stay what they are. The rest of the log, then the end."""
    acts: list[Act | Step] = []
    sent = 0
    for step in steps:
        if step.kind == "records":
            last = min(sent + step.n, len(log))
            acts.append(Act(sent, last))
            sent = last
        elif step.kind == "advance":
            acts.append(Act(clock=(log[sent - 1]["arrival"] if sent else BASE_MS - 60_000) + step.n))
        else:
            acts.append(step)
    return [*acts, Act(sent, len(log)), Act(clock=log[-1]["arrival"] + end), Step("drain")]


def live(log: Log, acts: list[Act | Step], behind: Behind = WRITE_AT_ONCE) -> Run:
    """Run the acts; after a crash, everything since the last drain is done again by the next owner.

    After an `upgrade`, which follows a drain, owners have the next revision of the definitions. behind: how late rows are written.
    """
    run, since_drain = Run(DEFINITIONS, behind), list[Act]()
    for act in acts:
        if isinstance(act, Act):
            since_drain.append(act)
            do(run, log, act)
        elif act.kind in ("drain", "upgrade"):
            run.drain()
            since_drain.clear()
            if act.kind == "upgrade":
                run.upgrade(DEFINITIONS_2)
        else:
            run.crash()
            for lost in since_drain:
                do(run, log, lost)
    return run


def do(run: Run, log: Log, act: Act) -> None:
    if act.clock is not None:
        run.advance(act.clock)
    else:
        run.process([record(event) for event in log[act.first : act.last]])


def replayed(records: list[LogRecord], journal: list[Journalled]) -> Run:
    """From an empty state in one go, with the journal's clocks each after its record."""
    run = Run(DEFINITIONS)
    entries = Counter[int]()
    for entry in journal:
        assert entry.clock >= entries[entry.after]
        entries[entry.after] = entry.clock
    start = 0
    for after, clock in sorted(entries.items()):
        run.process([one for one in records if start <= one.offset <= after])
        run.advance(clock)
        start = max(start, after + 1)
    run.process([one for one in records if one.offset >= start])
    run.drain()
    return run


def assert_same(one: Run, other: Run) -> None:
    """Rows, marker, alerts to the byte, and the sums of every tick."""
    assert one.alert_bytes == other.alert_bytes
    assert one.tick_sums == other.tick_sums
    assert one.rows == other.rows
    for run in (one, other):
        run.crash()  # whatever has to be folded again is
    assert one.rows == other.rows
    assert one.written_rows == other.written_rows


@histories.EXAMPLES
@given(histories.logs(histories.late_events, size=9), histories.steps, histories.ends, behinds)
def test_batches_drains_crashes_and_late_rows_change_nothing(log: Log, steps: list[Step], end: int, behind: Behind) -> None:
    acts = acts_of(log, steps, end)
    at_once = live(log, [act for act in acts if isinstance(act, Act)] + [Step("drain")])
    assert_same(live(log, acts, behind), at_once)
    one_by_one = [
        part
        for act in acts
        if isinstance(act, Act)
        for one in ([Act(i, i + 1) for i in range(act.first, act.last)] if act.clock is None else [act])
        for part in (one, Step("drain"), Step("crash"))
    ]
    assert_same(live(log, one_by_one, behind), at_once)


@histories.EXAMPLES
@given(histories.logs(histories.late_events, size=12), histories.steps, histories.ends, st.integers(0, 8), behinds)
def test_crashes_around_a_change_of_definitions_change_nothing(log: Log, steps: list[Step], end: int, where: int, behind: Behind) -> None:
    acts = acts_of(log, steps, end)
    acts.insert(min(where, len(acts) - 1), Step("upgrade"))
    at_once = [act for act in acts if isinstance(act, Act) or act.kind == "upgrade"] + [Step("drain")]
    assert_same(live(log, acts, behind), live(log, at_once))


@histories.EXAMPLES
@given(histories.logs(histories.late_events, size=9), histories.steps, histories.ends)
def test_a_replay_with_the_journal_is_the_live_run(log: Log, steps: list[Step], end: int) -> None:
    run = live(log, acts_of(log, steps, end))
    assert_same(replayed([record(event) for event in log], run.journal), run)


@histories.EXAMPLES
@given(histories.logs(histories.narrow_events, size=9), histories.steps, histories.ends)
def test_no_alert_id_comes_twice_and_no_episode_is_told_out_of_turn(log: Log, steps: list[Step], end: int) -> None:
    run = live(log, acts_of(log, steps, end))
    assert max(Counter(alert.alert_id for alert in run.alerts).values(), default=1) == 1
    assert len(run.in_force) <= len(run.alerts)  # reading them checks that only what is in force is amended or ended

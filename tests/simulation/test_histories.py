"""Invariants I1, I3 (the pure half), I4 and I5 over seeded histories of both processors; and that each kind of mistake shows.

Any batches, checkpoints, aborted transactions, crashes, restores and late rows give the sums per tick and the alerts of the single
pass; any order of arrival within the allowed lateness gives the net sums and the alerts in force of the sorted pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from unittest.mock import patch

import pytest

from deploy.compiled.__main__ import ROOT, compiled, environment
from streamer.alerts.alert import decode as decode_alert
from streamer.journeys.processor import JourneysProcessor
from tests.simulation import runner
from tests.simulation.bugs import BUGS
from tests.simulation.compare import divergence
from tests.simulation.history import make
from tests.simulation.memory import remembered
from tests.simulation.world import World

# Of the sources, which are the reference; and in all, of the compiled copy, which is what the image runs and takes two thirds of the time.
OF_THE_SOURCES = 1_000
HISTORIES = 10_000
# Generous, for machines that are busy; what counts is CPU time, which is printed.
WHOLE_SECONDS = 900
CAUGHT_WITHIN = 500


@pytest.mark.timeout(WHOLE_SECONDS)
def test_no_schedule_of_batches_crashes_and_arrivals_shows_in_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    ran = list(runner.run(1, OF_THE_SOURCES))
    with capsys.disabled():
        print(f"\n{runner.report(ran, time.monotonic() - began)}")
    diverged = [seed for block in ran for seed in block.diverged]
    assert sum(block.histories for block in ran) == OF_THE_SOURCES
    assert not diverged, f"{len(diverged)} histories diverge, the first: {runner.explained(diverged[0])}"


@pytest.mark.timeout(WHOLE_SECONDS)
def test_nor_does_it_in_the_compiled_copy(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a C compiler it is the sources that do them all."""
    directory = compiled() if shutil.which("gcc") else ROOT
    command = [sys.executable, "-m", "tests.simulation", str(HISTORIES - OF_THE_SOURCES), str(OF_THE_SOURCES + 1)]
    done = subprocess.run(command, env={**os.environ, **environment(directory)}, capture_output=True, text=True, check=False)
    with capsys.disabled():
        print(f"\n{directory.name}: {done.stdout}{done.stderr}", end="")
    assert done.returncode == 0
    assert f"{HISTORIES - OF_THE_SOURCES} histories, 0 diverged" in done.stdout


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str, capsys: pytest.CaptureFixture[str]) -> None:
    with remembered(), BUGS[bug]():
        for seed in range(1, CAUGHT_WITHIN + 1):
            wrong = divergence(make(seed))
            if wrong is not None:
                break
        else:
            pytest.fail(f"{CAUGHT_WITHIN} histories do not show {bug}")
    with capsys.disabled():
        print(f"\n{bug}: caught by history {seed}: {wrong[:100]}")
    with remembered():
        assert divergence(make(seed)) is None, "the history diverges without the bug, too"


def test_a_failing_history_is_made_small_and_says_how_to_see_it_again() -> None:
    with BUGS["timers lost in a restore"]():
        seed = next(seed for seed in range(1, CAUGHT_WITHIN) if divergence(make(seed)) is not None)
        told = runner.explained(seed)
    whole = str(make(seed)).splitlines()
    assert len(told.splitlines()) < len(whole) / 2
    assert "minimised: DivergenceError: " in told
    assert f"make simulate-histories HISTORIES=1 SEED={seed}" in told


def test_the_histories_reach_what_they_are_for() -> None:
    """Were these empty, nothing would be compared."""
    reached = Counter[str]()
    refold = JourneysProcessor.refold

    def counted(self: JourneysProcessor, records: list[object], end: int, *, complete: bool = True) -> None:
        reached["folded again"] += len(records)
        refold(self, records, end, complete=complete)  # type: ignore[arg-type]

    with remembered(), patch.object(JourneysProcessor, "refold", counted):
        for seed in range(1, 301):
            world = World(make(seed)).run()
            for source in world.sources:
                reached.update(source.processor.accounting)
                reached.update(decode_alert(alert).state for alert in source.alerts)
                reached.update("revision" for entry in source.journal if entry.revision is not None)
                reached.update("idle clock" for entry in source.journal if entry.clock is not None)
            reached.update("aggregate " + decode_alert(alert).state for alert in world.rollup.alerts)
            reached.update("aggregate evidence" for alert in world.rollup.alerts if decode_alert(alert).evidence)
            reached["rollup revision"] += len(world.rollup.upgrades) - 1
    wanted = {
        "folded again", "applied", "duplicate", "late", "dead_lettered", "ignored", "out_of_order", "late_recoveries",
        "late_consents", "cut_events",
        "cut_journeys", "cut_issues", "cut_cases", "firing", "amended", "resolved", "retracted", "revision", "idle clock",
        "aggregate firing", "aggregate resolved", "aggregate evidence", "rollup revision",
    }  # fmt: skip
    assert not [name for name in wanted if not reached[name]], dict(reached)

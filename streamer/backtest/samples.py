"""The numbers that aggregate rules looked at, over time, for pictures: taken at panes, thinned out as they become many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.deltas import PANE_MS, TICK_MS

if TYPE_CHECKING:
    from streamer.rollup.decisions import Decisions
    from streamer.rollup.plans import Case

# All series together; beyond, every other sample goes and the step between samples doubles. About 100 bytes each.
SAMPLES_MAX: Final = 400_000

SeriesKey = tuple[str, tuple[str, ...]]  # rule, values of its dimensions


class Sample(NamedTuple):
    """The metric in the rule's longest window. Time in milliseconds since the epoch."""

    time_ms: int
    value: float
    lower: float | None
    upper: float | None
    n: int


class Samples:
    """To be told each decided tick (`Run`'s `observe`). step_ms: at least this far apart."""

    def __init__(self, samples_max: int = SAMPLES_MAX) -> None:
        self.of: dict[SeriesKey, list[Sample]] = {}
        self.step_ms = PANE_MS
        self._samples_max = samples_max
        self._taken = 0
        self._last: dict[int, int] = {}

    def __call__(self, decisions: Decisions, tick: int) -> None:
        """Note what every series is now."""
        now_ms = tick * TICK_MS
        # Each rollup partition has its own ticks.
        if now_ms < self._last.get(id(decisions), -self.step_ms) + self.step_ms:
            return
        self._last[id(decisions)] = now_ms - now_ms % self.step_ms
        for case in decisions.cases():
            if not case.excluded:
                self._take(decisions, case, now_ms)
        if self._taken > self._samples_max:
            self._thin()

    def _take(self, decisions: Decisions, case: Case, now_ms: int) -> None:
        found = decisions.look(case)[case.plan.longest][0]
        if found.value is not None:
            self.of.setdefault((case.plan.rule.id, case.values), []).append(Sample(now_ms, found.value, found.lower, found.upper, found.n))
            self._taken += 1

    def _thin(self) -> None:
        self.step_ms *= 2
        for key, samples in self.of.items():
            kept: list[Sample] = []
            for sample in samples:
                if not kept or sample.time_ms // self.step_ms != kept[-1].time_ms // self.step_ms:
                    kept.append(sample)
            self.of[key] = kept
        self._taken = sum(map(len, self.of.values()))

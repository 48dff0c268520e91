"""A history: logs, and what happens to those who fold them. Everything follows from one seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.journeys.write_behind import Behind
from tests.simulation import definitions
from tests.simulation.events import Sent, make_log

if TYPE_CHECKING:
    from streamer.definitions import Definitions

SOURCES: Final = 2
ROLLUP: Final = SOURCES  # the number after the source partitions'

_ADVANCES_MS: Final = (0, 1, 500, 10_000, 20_000, 30_000, 40_000, 60_000, 100_000)
_COUNTS: Final = {"records": (0, 1, 1, 2, 2, 3, 5), "deliver": (1, 2, 9), "advance": _ADVANCES_MS, "upgrade": (2, 2, 2, 1)}
_PLACES: Final = (0, 0, 0, 1, 1, 1, ROLLUP)
_ENDS_MS: Final = (0, 1, 10_000, 29_999, 30_000, 50_000, 90_000, 200_000)


class Step(NamedTuple):
    """What happens next to source partition `where`, or to the rollup.

    records: the next `n` are folded; 0: only the gap before the next one. advance: the clock is `n` ms after the latest arrival.
    drain: a checkpoint. lost: one whose transaction is aborted, then as crash. crash: the next owner opens, and folds again in batches
    of `n`. close: as an orderly end does, everything is written. upgrade: the next owner has revision `n` of the definitions.
    deliver: the rollup's topic gets the next `n` records of deltas of this partition. end: the rest of the log is folded and drained.
    """

    kind: str
    where: int
    n: int = 0

    def __str__(self) -> str:
        place = "rollup" if self.where == ROLLUP else f"source {self.where}"
        return f"{place}: {self.kind} {self.n}"


class History(NamedTuple):
    """orderly: everything arrives within the allowed lateness, nothing is cut, the definitions stay."""

    seed: int
    orderly: bool
    tight: bool
    logs: tuple[list[Sent], ...]
    steps: list[Step]
    behind: tuple[Behind, ...]
    end_ms: int

    @property
    def definitions(self) -> dict[int, Definitions]:
        """By revision."""
        return definitions.TIGHT if self.tight else definitions.WIDE

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {'tight' if self.tight else 'wide'} limits, ends {self.end_ms} ms after the last arrival"]
        for number, (log, behind) in enumerate(zip(self.logs, self.behind, strict=True)):
            lines.append(f"source {number}: {behind.rows_per_drain} rows a drain, {behind.replay_events} events of replay")
            for one in log:
                value = (one.record.value or b"").decode()
                lines.append(f"  {one.record.offset:3} {one.kind:7} arrives {one.record.timestamp} {one.record.key!r} {value}")
        return "\n".join([*lines, *(f"  {step}" for step in self.steps)])


def make(seed: int) -> History:
    """The history of a seed."""
    r = Random(seed)
    orderly = r.random() < 0.5
    tight = not orderly and r.random() < 0.5
    size = r.randint(8, 20)
    first = r.randint(0, size)
    logs = tuple(make_log(r, share, orderly=orderly, late_completions=True) for share in (first, size - first))
    unpacked = Random(~seed)  # apart, so that a seed's history stays what it was
    behind = tuple(
        Behind(r.choice((1, 1, 1, 1, 2, 3, 1000)), r.choice((1, 3, 5, 8, 15, 1000, 1000)), unpacked.choice((0, 1, 3, 1000))) for _ in logs
    )
    return History(seed, orderly, tight, logs, _steps(r, size, upgrades=not orderly and r.random() < 0.4), behind, r.choice(_ENDS_MS))


def _steps(r: Random, size: int, *, upgrades: bool) -> list[Step]:
    """About as many steps as let most of the log be folded; then the rest of it, and what the rollup makes of it."""
    crashes = r.choice((2, 4, 8))
    weights = {
        "records": 14,
        "drain": r.choice((4, 8, 12)),
        "deliver": r.choice((2, 12)),
        "advance": r.choice((1, 4)),
        "crash": crashes,
        "lost": 2,
        "close": 1,
    }
    of_source = _drawable(weights | {"upgrade": 2 if upgrades else 0})
    of_rollup = _drawable({"records": 12, "drain": 8, "crash": crashes, "lost": 2, "upgrade": 1 if upgrades else 0})
    steps = [_step(r, of_rollup if where == ROLLUP else of_source, where) for where in r.choices(_PLACES, k=r.randint(size, 3 * size))]
    steps += [Step(kind, where, 1) for kind in ("end", "deliver") for where in range(SOURCES)]
    for _ in range(r.randint(8, 24)):
        where = r.choice((0, 1, ROLLUP, ROLLUP))
        steps.append(_step(r, of_rollup if where == ROLLUP else ["deliver"], where))
    return steps


def _step(r: Random, kinds: list[str], where: int) -> Step:
    kind = r.choice(kinds)
    return Step(kind, where, r.choice(_COUNTS.get(kind, (1, 2, 1000))))


def _drawable(weights: dict[str, int]) -> list[str]:
    return [kind for kind, weight in weights.items() for _ in range(weight)]

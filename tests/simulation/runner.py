"""Runs histories by blocks of seeds, in as many processes as there are cores, and reports."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.compare import divergence
from tests.simulation.history import make
from tests.simulation.memory import remembered
from tests.simulation.minimise import minimised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 250


class Ran(NamedTuple):
    """A block of histories: the seeds that diverged, with what did, and the CPU time."""

    histories: int
    diverged: dict[int, str]
    cpu_seconds: float


def run_block(seeds: range) -> Ran:
    began = time.process_time()
    with remembered():
        found = {seed: wrong for seed in seeds if (wrong := divergence(make(seed))) is not None}
    return Ran(len(seeds), found, time.process_time() - began)


def run(first: int, histories: int) -> Iterator[Ran]:
    """The histories of seeds `first` and up."""
    blocks = [range(at, min(at + BLOCK, first + histories)) for at in range(first, first + histories, BLOCK)]
    # Each process on its own: nothing that a test has set or started is in it.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run_block, blocks)


def report(ran: Iterable[Ran], seconds: float) -> str:
    """One line: how many, how fast."""
    done = list(ran)
    histories, cpu = sum(one.histories for one in done), sum(one.cpu_seconds for one in done)
    diverged = sum(len(one.diverged) for one in done)
    return (
        f"{histories} histories, {diverged} diverged; {cpu:.1f} CPU-seconds, {histories / max(cpu, 1e-9):.0f} histories per CPU-second,"
        f" {1000 * cpu / max(histories, 1):.1f} CPU-ms each; {seconds:.0f} s by the clock"
    )


def explained(seed: int) -> str:
    """What diverges, the smallest history found in which it does, and how to see it again."""
    with remembered():
        whole = make(seed)
        wrong = divergence(whole)
        small = minimised(whole, lambda history: _like(wrong, divergence(history)))
        return f"{wrong}\nminimised: {divergence(small)}\n{small}\nreproduce with: make simulate-histories HISTORIES=1 SEED={seed}"


def _like(one: str | None, other: str | None) -> bool:
    """The same kind of thing is wrong, whatever the numbers and the partition."""
    return one is not None and other is not None and _kind(one) == _kind(other)


def _kind(wrong: str) -> str:
    return (
        wrong.split(":")[1].removeprefix(" source 0").removeprefix(" source 1") if wrong.startswith("Divergence") else wrong.split(":")[0]
    )

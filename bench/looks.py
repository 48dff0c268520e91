"""How often does a bound cross its threshold by chance, and how often in an incident? The arithmetic behind the default rules' thresholds.

A rule looks at a sliding hour after every answer: hundreds of looks a day at samples that overlap. How many of them are wrong
cannot be read off the 95 %. Here answers come by chance at a rate, each is one of three kinds (in favour, against, neither), and the
rule is evaluated at each: weeks without an incident give false alerts, incidents of two hours the chance of being seen.

    python -m bench.looks
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamer.rollup.estimates import Z

HOUR: Final = 3_600.0
WEEK_HOURS: Final = 168
Numbers = npt.NDArray[np.float64]


class Looked(NamedTuple):
    """A rule on a share or on a difference of shares. up, down: shares of the answers on an ordinary day, during: in an incident.

    below: it fires when the upper bound is below `threshold`, else when the lower bound is above it. clear: it is over when the other bound
    is beyond this.
    """

    rule: str
    condition: str
    per_hour: float
    usual: tuple[float, float]
    during: tuple[float, float]
    threshold: float
    clear: float
    min_n: int
    below: bool = True


def bounds(up: Numbers, down: Numbers, n: Numbers, *, share: bool) -> tuple[Numbers, Numbers]:
    """As in `streamer.rollup.estimates`: Wilson's of a share, the normal one of a difference."""
    n = np.maximum(n, 1.0)
    p = (up - down) / n
    if share:
        middle, half = p + Z * Z / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return (middle - half) / (1 + Z * Z / n), (middle + half) / (1 + Z * Z / n)
    half = Z * np.sqrt(np.maximum(0.0, (up + down) / n - p * p) / n)
    return p - half, p + half


def firings(looked: Looked, hours: float, strikes: tuple[float, float], chance: np.random.Generator) -> list[float]:
    """When it begins to fire, in hours. strikes: from when to when there is an incident."""
    times = np.sort(chance.uniform(0, hours * HOUR, chance.poisson(looked.per_hour * hours)))
    struck = (times >= strikes[0] * HOUR) & (times < strikes[1] * HOUR)
    up, down = (np.where(struck, during, usual) for during, usual in zip(looked.during, looked.usual, strict=True))
    draw = chance.random(times.size)
    first = np.searchsorted(times, times - HOUR, side="right")
    sums = []
    for kind in (draw < up, (draw >= up) & (draw < up + down)):
        total = np.concatenate([[0], np.cumsum(kind)])
        sums.append((total[1:] - total[first]).astype(float))
    n = (np.arange(times.size) + 1 - first).astype(float)
    lower, upper = bounds(sums[0], sums[1], n, share=looked.usual[1] == 0)
    enough = n >= looked.min_n
    begins = enough & ((upper < looked.threshold) if looked.below else (lower > looked.threshold))
    ends = enough & ((lower > looked.clear) if looked.below else (upper < looked.clear))
    found, fires = [], False
    for place in np.flatnonzero(begins | ends):
        if begins[place] and not fires:
            found.append(times[place] / HOUR)
        fires = bool(begins[place]) or (fires and not ends[place])
    return found


def false_per_week(looked: Looked, weeks: int, seed: int = 1) -> float:
    """Without any incident."""
    return len(firings(looked, weeks * WEEK_HOURS, (-1, -1), np.random.default_rng(seed))) / weeks


def seen_share(looked: Looked, incidents: int, seed: int = 2) -> float:
    """Of incidents of two hours, until an hour after their end."""
    chance = np.random.default_rng(seed)
    return sum(any(2 <= when < 5 for when in firings(looked, 5, (2, 4), chance)) for _ in range(incidents)) / incidents


def table_of(rules: Sequence[Looked], weeks: int, incidents: int) -> Table:
    """For people."""
    table = Table("rule", "condition", "answers an hour", "min_n", "false alerts a week", "incidents of 2 h seen")
    for looked in rules:
        false, seen = false_per_week(looked, weeks), seen_share(looked, incidents)
        table.add_row(looked.rule, looked.condition, f"{looked.per_hour:g}", str(looked.min_n), f"{false:.3f}", f"{seen:.1%}")
    return table


# The simulated shop's shares on ordinary days and in a survey drop (or among silent cases), over 40 days with seeds 1001 to 1040.
NPS: Final = Looked("nps-drop", "upper < 0", 34, (0.49, 0.19), (0.20, 0.57), 0.0, -0.2, 20)
CSAT: Final = Looked("csat-drop", "upper < 0.6", 34, (0.77, 0.0), (0.34, 0.0), 0.6, 0.5, 20)
CES: Final = Looked("ces-drop", "upper < 0.6", 34, (0.77, 0.0), (0.42, 0.0), 0.6, 0.5, 20)
STATUS: Final = Looked("asking-for-status", "lower > 0.17", 320, (0.122, 0.0), (0.22, 0.0), 0.17, 0.12, 100, below=False)
RULES: Final = (
    *(NPS._replace(per_hour=n) for n in (15, 24, 28, 34, 60, 120)),
    *(NPS._replace(per_hour=n, min_n=30) for n in (24, 28, 34)),
    NPS._replace(condition="upper < 10", threshold=0.1, clear=-0.1),
    *(CSAT._replace(per_hour=n) for n in (15, 24, 28, 34, 60, 120)),
    *(CSAT._replace(per_hour=n, min_n=30) for n in (24, 28, 34)),
    CSAT._replace(condition="upper < 0.65", threshold=0.65, clear=0.55),
    CSAT._replace(condition="upper < 0.7", threshold=0.7, clear=0.6),
    *(CES._replace(per_hour=n) for n in (13, 24, 34, 60, 120)),
    CES._replace(condition="upper < 0.65", threshold=0.65, clear=0.55),
    *(STATUS._replace(per_hour=n) for n in (80, 160, 320)),
    STATUS._replace(condition="lower > 0.15", threshold=0.15),
)


if __name__ == "__main__":
    Console(width=140).print(table_of(RULES, weeks=int(sys.argv[1]) if len(sys.argv) > 1 else 1_000, incidents=1_000))

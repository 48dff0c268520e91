"""Which metric of the product each fault must move: the one by which an operator would know of it.

After a death two things show: the place has a process with a new start time (what the alert RestartLoop looks at without a supervisor),
and whoever takes over. What only the dead one could have told (that a zombie's checkpoint was fenced, that a close was given up)
is in its log and its exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.chaos.cluster import SESSION_SECONDS
from tests.chaos.points import MACHINE_POINTS, PUBLISHER_POINTS
from tests.chaos.scrape import STARTED, Sample, changes, highest, increase, oldest

# Of the fault's own length: a look every half second may miss the end of it.
SEEN_SHARE: Final = 0.6


class Move(NamedTuple):
    """A metric, how it is read, and what it must come to at least.

    by_length: in multiples of how long the fault lasted. otherwise: what moves if the processes did not live to show it.
    """

    name: str
    read: Callable[..., float]
    least: float
    role: str = ""
    labels: Mapping[str, str] = {}
    by_length: bool = False
    otherwise: Move | None = None

    @property
    def title(self) -> str:
        """As a query would have it."""
        labels = {**({"role": self.role} if self.role and self.name != STARTED else {}), **self.labels}
        inside = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        return f"{self.read.__name__} of {self.name}{{{inside}}}" if inside else f"{self.read.__name__} of {self.name}"

    def moved(self, samples: list[Sample]) -> float:
        """How far it moved."""
        return self.read(samples, self.name, self.role, **self.labels)

    def enough(self, lasted_seconds: float) -> float:
        """How far it must move."""
        return self.least * lasted_seconds if self.by_length else self.least

    def look(self, samples: list[Sample], lasted_seconds: float) -> Moved:
        """What became of it."""
        found = Moved(self.title, round(self.moved(samples), 2), round(self.enough(lasted_seconds), 2))
        if self.otherwise is None or found.is_enough:
            return found
        instead = self.otherwise.look(samples, lasted_seconds)
        return instead if instead.is_enough else found


def began_anew(role: str) -> Move:
    """Another process at the same place."""
    return Move(STARTED, changes, 1, role)


def rebalanced(role: str, times: int = 1) -> Move:
    """Seen by those who take part."""
    return Move("streamer_rebalances_total", increase, times, role)


def restored(role: str) -> Move:
    """By the next owner."""
    return Move("streamer_state_restore_duration_seconds_count", increase, 1, role)


FAILING: Final = Move("streamer_redis_commands_total", increase, 1, "publisher", {"outcome": "error"})
# Of one partition, in an outage of some seconds; without one it is what came within the milliseconds of a delivery.
WAITING: Final = Move("streamer_publish_lag_records", highest, 5, "publisher")
# Two outages within half a minute end a process: a checkpoint that failed twice may be another owner's doing.
NO_CHECKPOINT: Final = Move(
    "streamer_checkpoint_timestamp_seconds", oldest, SEEN_SHARE, "journeys", by_length=True, otherwise=began_anew("journeys")
)

# Of a process that may have been a standby.
ENDED: Final[Mapping[str, Sequence[Move]]] = {
    "journeys": (began_anew("journeys"), rebalanced("journeys")),
    "rollup": (began_anew("rollup"), rebalanced("rollup")),
    "publisher": (began_anew("publisher"), rebalanced("publisher")),
}
# Of one that certainly owned something.
OWNER_ENDED: Final[Mapping[str, Sequence[Move]]] = {
    **ENDED,
    "journeys": (*ENDED["journeys"], restored("journeys")),
    "rollup": (*ENDED["rollup"], restored("rollup")),
}
_OF_JOURNEYS: Final = OWNER_ENDED["journeys"]
_LONG_RESTORE: Final = Move("streamer_state_restore_duration_seconds_sum", increase, SESSION_SECONDS, "journeys")

Moves = Sequence[Move] | Mapping[str, Sequence[Move]]
# What happens beside the faults, all along: outcomes of `streamer_accounted_events`, which must be what the recount says.
ALL_ALONG: Final = {"traffic: sent twice": "duplicate", "traffic: too late": "late", "traffic: poisoned": "dead_lettered"}

# By kind: moves, or moves by the role whose process ended.
MOVES: Final[Mapping[str, Moves]] = {
    "kill-at-random": ENDED,
    **{f"kill-{point}": OWNER_ENDED for point in (*MACHINE_POINTS, *PUBLISHER_POINTS)},
    "kill-supervised": (Move("streamer_child_restarts_total", increase, 1),),
    "freeze-after-apply": _OF_JOURNEYS,
    "freeze-in-transaction": _OF_JOURNEYS,
    "sigterm": ENDED,
    "storm": (began_anew("journeys"), rebalanced("journeys", 2)),
    "rebalance-while-restoring": (*_OF_JOURNEYS[:1], rebalanced("journeys", 2), restored("journeys")),
    "slow-restore": (*_OF_JOURNEYS, _LONG_RESTORE),
    "slow-opener": _OF_JOURNEYS,
    "endless-close": _OF_JOURNEYS,
    "broker-frozen": (NO_CHECKPOINT,),
    "broker-killed": (NO_CHECKPOINT,),
    "broker-restarted": (NO_CHECKPOINT,),
    "redis-stopped": (FAILING, WAITING),
    "redis-full": (FAILING, WAITING),
    "redis-read-only": (FAILING, WAITING),
    "redis-wiped": (FAILING, Move("streamer_active_set_rebuilds_total", increase, 1, "publisher")),
}


def fenced(times: int) -> Move:
    """Checkpoints of owners that were fenced and live on."""
    return Move("streamer_checkpoints_total", increase, times, "journeys", {"outcome": "fenced"})


def every(moves: Moves) -> list[Move]:
    """All that a kind may ask for, whoever ends."""
    found = [move for some in moves.values() for move in some] if isinstance(moves, Mapping) else list(moves)
    return found + [move.otherwise for move in found if move.otherwise is not None]


class Moved(NamedTuple):
    """What became of a metric in one fault."""

    title: str
    value: float
    enough: float

    @property
    def is_enough(self) -> bool:
        return self.value >= self.enough


def chosen(moves: Moves, ended_role: str | None) -> Sequence[Move]:
    """Those that count. ended_role: of the process that ended in the fault, if one did."""
    return moves.get(ended_role or "", ()) if isinstance(moves, Mapping) else moves


def moved(moves: Sequence[Move], samples: list[Sample], lasted_seconds: float) -> list[Moved]:
    """How far the metrics of a fault moved."""
    return [move.look(samples, lasted_seconds) for move in moves]

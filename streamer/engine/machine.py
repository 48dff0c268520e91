"""What makes the engine a particular machine: a source topic and a pure processor for each of its partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.processor import Processor
    from streamer.settings import Settings


def group_name(settings: Settings, machine: str) -> str:
    """The consumer group of a machine: one for each, so that none rebalances another."""
    return f"{settings.app}-{machine}"


@dataclass(frozen=True)
class Machine:
    """A machine. `source` is a logical topic name; `make` builds the processor of one of its `partitions`."""

    name: str
    source: str
    partitions: int
    make: Callable[[int], Processor]

    def group(self, settings: Settings) -> str:
        """The consumer group."""
        return group_name(settings, self.name)

"""A chapter of the catalogue in the fold: what it keeps of a customer, and what an event or a deadline does to that.

Like the rest of the fold it sees a customer's events in event order and knows no other time; so whatever it counts is right after a
crash, a restore, and an event out of order.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.state import NEVER, Kept

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint


NOTHING: Final = Kept()


class Chapter:
    """Folds the events of its `types`. Counters are counted at `EVENT` cells.

    id: as in the catalogue. types: event types or `prefix.*`, as in the definitions file. evidenced: by counter, whether the events behind
    its changes are wanted; a deadline's is kept only then. moved: whether a signal that rules see may have changed with the event or the
    deadline just applied; true before a deadline. first_look: whether a rule that names one of its signals holds of a customer of whom
    nothing is known, and so is looked at with the first event. watched: whether any rule names one. effort_tenths: what the event just
    applied adds to the effort index of its issue and its journeys, in tenths of a point.
    """

    id: str
    types: tuple[str, ...]

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        self.definitions = definitions
        self.cells = cells
        self.evidenced = evidenced
        self.moved = self.first_look = True
        self.watched = False
        self.effort_tenths = 0

    @abstractmethod
    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Fold one event; returns how many friction signals it is of itself, 0 for most."""

    def is_evidence(self, event: Touchpoint) -> bool:
        """Whether the event just applied is evidence of what rules see."""
        return True

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """The deadline `kept.due` has come: do what is to be done at it, and set the next one."""
        kept.due = NEVER

    @abstractmethod
    def set_due(self, kept: Kept) -> None:
        """Set the next deadline by what is kept and the definitions, and drop what is empty."""

    def adopt(self, kept: Kept, before: Definitions) -> None:
        """Go on with what was kept under the definitions `before`; drop what means nothing under these."""
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """The value of a signal of this chapter, for rules on the customer."""
        raise NotImplementedError(name)


def next_end(open_: dict[str, Any], last: str | int, within_ms: int) -> int:
    """When the first of what is open ends, `within_ms` after its last event, or NEVER. last: where in each that event's time is."""
    oldest = NEVER
    for one in open_.values():
        time: int = one[last]
        oldest = min(oldest, time)
    return oldest + within_ms if open_ else NEVER

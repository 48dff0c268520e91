"""The chapters of the catalogue in the fold. What each counts is in the file of the same name in `streamer.metrics.chapters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.journeys.chapters.causes import Causes
from streamer.journeys.chapters.communication import Communication
from streamer.journeys.chapters.handoffs import Handoffs
from streamer.journeys.chapters.steps import Steps
from streamer.journeys.chapters.surveys import Surveys

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.chapter import Chapter

# By name, because a compiled class does not say its own.
_CHAPTERS: Final[dict[str, type[Chapter]]] = {
    "surveys": Surveys,
    "steps": Steps,
    "handoffs": Handoffs,
    "communication": Communication,
    "causes": Causes,
}


def chapters_of(definitions: Definitions, cells: Cells) -> list[Chapter]:
    """The chapters that are on."""
    return [chapter(definitions, cells) for name, chapter in _CHAPTERS.items() if name in definitions.chapters]

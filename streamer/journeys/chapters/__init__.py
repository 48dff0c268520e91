"""The chapters of the catalogue in the fold. What each counts is in the file of the same name in `streamer.metrics.chapters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.journeys.chapters.operations import Operations
from streamer.journeys.chapters.surveys import Surveys
from streamer.journeys.chapters.value import Value

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.chapter import Chapter

# By name: the attribute `id` of a class that is compiled is not its text.
_CHAPTERS: Final[dict[str, type[Chapter]]] = {"surveys": Surveys, "operations": Operations, "value": Value}


def chapters_of(definitions: Definitions, cells: Cells) -> list[Chapter]:
    """The chapters that are on."""
    return [chapter(definitions, cells) for name, chapter in _CHAPTERS.items() if name in definitions.chapters]

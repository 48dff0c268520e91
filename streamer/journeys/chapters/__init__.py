"""The chapters of the catalogue in the fold. What each counts is in the file of the same name in `streamer.metrics.chapters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.journeys.chapters.browsing import Browsing
from streamer.journeys.chapters.causes import Causes
from streamer.journeys.chapters.commerce import Commerce
from streamer.journeys.chapters.communication import Communication
from streamer.journeys.chapters.contracts import Contracts
from streamer.journeys.chapters.digital import Digital
from streamer.journeys.chapters.handoffs import Handoffs
from streamer.journeys.chapters.operations import Operations
from streamer.journeys.chapters.service import Service
from streamer.journeys.chapters.steps import Steps
from streamer.journeys.chapters.surveys import Surveys
from streamer.journeys.chapters.value import Value
from streamer.journeys.chapters.wallet import Wallet
from streamer.journeys.patterns import Patterns

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.chapter import Chapter

# By name: the attribute `id` of a class that is compiled is not its text.
_CHAPTERS: Final[dict[str, type[Chapter]]] = {
    "commerce": Commerce, "browsing": Browsing, "wallet": Wallet, "surveys": Surveys, "service": Service, "digital": Digital,
    "steps": Steps, "handoffs": Handoffs, "communication": Communication, "causes": Causes, "operations": Operations,
    "value": Value, "contracts": Contracts,
}  # fmt: skip


def chapters_of(definitions: Definitions, cells: Cells, evidenced: bytes) -> list[Chapter]:
    """The chapters that are on, and the file's patterns."""
    names = definitions.chapters
    on = [chapter(definitions, cells, evidenced) for name, chapter in _CHAPTERS.items() if name in names]
    return [*on, Patterns(definitions, cells, evidenced)] if definitions.pattern else on

"""What rules see of a customer: every entity with its signals, and what differs between two moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from streamer.journeys.chapter import NOTHING
from streamer.metrics.catalogue import PATTERN_PREFIX, chapter_of_signal
from streamer.rules import language

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streamer.journeys.fold import Fold
    from streamer.journeys.state import State
    from streamer.rules.language import Value

Signals = dict[str, "Value"]


class Entity(NamedTuple):
    """A customer, a journey instance or an issue. id: as in the state, `customer`, `journey:ID:KEY` or `issue:KEY`."""

    kind: str
    id: str
    signals: Mapping[str, Value]


class Change(NamedTuple):
    """What became of an entity. signals: (before, after) of those that differ; before is None for one that begins."""

    entity: str
    what: Literal["begins", "changes", "ends"]
    signals: Mapping[str, tuple[Value | None, Value | None]]


def entities(fold: Fold, state: State) -> dict[str, Entity]:
    """Every entity that rules can be about, by id, with all signals that the definitions let it have."""
    found = {}
    patterns = [PATTERN_PREFIX + pattern.id for pattern in fold.definitions.pattern]
    for kind, reader in fold.episodes.readers(state):
        signals: Signals = {}
        for name in sorted({*language.ENTITY_NAMES[kind], *(patterns if kind == "customer" else ())}):
            chapter = chapter_of_signal(name) if kind == "customer" else None
            if chapter is not None:
                if chapter in fold.chapters and not name.endswith("*"):
                    signals[name] = fold.chapters[chapter].signal(state.kept.get(chapter, NOTHING), name)
                continue
            try:
                signals[name] = reader[name]
            except KeyError:  # a dimension that no slice and no rule of these definitions uses
                continue
        found[reader.id] = Entity(kind, reader.id, signals)
    return found


def changes(before: Mapping[str, Entity], after: Mapping[str, Entity]) -> Iterator[Change]:
    """What differs, the customer first, then by id."""
    for entity_id in sorted({*before, *after}, key=lambda name: (name != "customer", name)):
        old, new = before.get(entity_id), after.get(entity_id)
        if new is None:
            yield Change(entity_id, "ends", {})
        elif old is None:
            yield Change(entity_id, "begins", {name: (None, value) for name, value in new.signals.items() if value})
        else:
            found = {name: (old.signals.get(name), value) for name, value in new.signals.items() if old.signals.get(name) != value}
            if found:
                yield Change(entity_id, "changes", found)

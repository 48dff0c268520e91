"""The marker row, the journal, and the definitions kept with the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from streamer.definitions import Definitions, parse
from streamer.errors import DefinitionsError, StateError
from streamer.journeys.row import Boundary

# 2: rows may be of other moments than the marker, `replay` says from where to fold again.
MARKER_SCHEMA: Final = 2
# Changelog keys of definition texts: one row per revision still in use.
DEFINITIONS_PREFIX: Final = b"d"


class Marker(msgspec.Struct):
    """Where a partition is: of the same moment as its rows. Times in milliseconds; -1 is not yet.

    high: greatest min(event time, arrival); arrival: of the record that raised it; base: the clock then;
    start: first clock of a partition never written. since: the source offset after which the definitions came into force, None for those
    it began with. replay: from where the source has to be folded again, None if the rows are of
    this moment.
    """

    schema: int = MARKER_SCHEMA
    next_offset: int | None = None
    high: int = -1
    arrival: int = -1
    start: int = -1
    base: int = -1
    clock: int = 0
    revision: int = 0
    digest: str = ""
    build: str = ""
    accounting: dict[str, int] = {}
    replay: Boundary | None = None
    since: int | None = None


class JournalEntry(msgspec.Struct, omit_defaults=True):
    """What influenced the fold after source offset `after` but is not in the source."""

    after: int
    clock: int | None = None
    revision: int | None = None
    digest: str | None = None


encode = msgspec.json.Encoder().encode
encode_journal = msgspec.json.Encoder().encode
decode_journal = msgspec.json.Decoder(JournalEntry).decode
_decode = msgspec.json.Decoder(Marker).decode


def decode(packed: bytes) -> Marker:
    """The marker of its row. Raises StateError if a newer build wrote it."""
    marker = _decode(packed)
    if marker.schema > MARKER_SCHEMA:
        raise StateError(f"the state was written by a newer build ({marker.build}): start a build that reads schema {marker.schema}")
    return marker


def settle(mine: Definitions, marker: Marker, texts: Mapping[int, str]) -> list[Definitions]:
    """The kept definitions by revision, after checking `mine` against what is in force.

    Raises DefinitionsError if the content changed under the same revision: two workers would disagree about the past.
    """
    if marker.revision == mine.revision and marker.digest and marker.digest != mine.digest:
        raise DefinitionsError(
            f"the definitions differ from those in force under the same revision {mine.revision}: raise `revision` with every change"
        )
    if mine.revision in texts and parse(texts[mine.revision], f"kept revision {mine.revision}").digest != mine.digest:
        raise DefinitionsError(
            f"the definitions differ from those that the state was folded with under the same revision {mine.revision}: raise `revision`"
        )
    return [mine if revision == mine.revision else parse(texts[revision], f"kept revision {revision}") for revision in sorted(texts)]

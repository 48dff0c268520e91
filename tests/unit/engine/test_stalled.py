"""Commands that read from a Kafka which goes away in the middle of it: aiokafka answers nothing, and asks again for ever."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import TopicPartition

from streamer.engine import source_clock, stored
from streamer.engine.restore import ChangelogReader
from streamer.errors import UnreachableError
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamer.processor import WriteBehindProcessor

PLACE = TopicPartition("t", 0)
SENTENCE = r"^reading \S+ has stalled for \d+ s: is Kafka well\?$"


class Gone:
    """A consumer whose broker is away: it stands at a position, and has nothing after each timeout."""

    def assign(self, places: list[TopicPartition]) -> None:
        pass

    def seek(self, place: TopicPartition, offset: int) -> None:
        pass

    def pause(self, *places: TopicPartition) -> None:
        pass

    def resume(self, *places: TopicPartition) -> None:
        pass

    async def seek_to_beginning(self, *places: TopicPartition) -> None:
        pass

    async def position(self, _place: TopicPartition) -> int:
        return 0

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 10)

    async def getmany(self, **_options: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.01)
        return {}


class Unmoved:
    """A processor that has nothing to fold."""

    def refold(self, *_args: object, **_options: object) -> None:
        pass


async def test_a_changelog_that_gives_nothing_more_is_not_waited_for() -> None:
    reader = ChangelogReader(cast("Any", Gone()), PLACE, PLACE, stalled_seconds=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(UnreachableError, match=SENTENCE):
            await reader.read(10)
        with pytest.raises(UnreachableError, match=SENTENCE):
            await reader.refold(cast("WriteBehindProcessor", Unmoved()), 0, 10, complete=True, progress=lambda: None)


async def test_a_command_that_reads_state_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def reader(
        _settings: Settings, *, group: str, changelog: TopicPartition, source: TopicPartition, stalled_seconds: float
    ) -> AsyncIterator[ChangelogReader]:
        yield ChangelogReader(cast("Any", Gone()), changelog, source, stalled_seconds=stalled_seconds)

    monkeypatch.setattr(stored, "changelog_reader", reader)
    monkeypatch.setattr(stored, "STALLED_SECONDS", 0.05)
    async with asyncio.timeout(5):
        with pytest.raises(UnreachableError, match=SENTENCE):
            await stored.rows(Settings(), "journeys", 0)


async def test_the_look_at_the_time_that_a_topic_has_reached_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_clock, "STALLED_SECONDS", 0.05)
    log = source_clock._Log(cast("Any", Gone()), {PLACE: (0, 10)})
    async with asyncio.timeout(5):
        with pytest.raises(UnreachableError, match=SENTENCE):
            _ = [record async for record in log.records(PLACE, 0)]

"""When the cycle collector looks, and at what; large pages."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

from streamer.engine import heap, large_pages
from tests.engine_support import until

if TYPE_CHECKING:
    import pytest


class Connection:
    """Refers to itself, as connections do through their callbacks."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_connections_leave_behind_goes_though_nothing_else_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "LOOK_SECONDS", 0.01)
    before = gc.get_threshold()
    collecting = asyncio.create_task(heap.collect_forever())
    try:
        left = weakref.ref(Connection())
        assert left() is not None
        await until(lambda: left() is None, "the cycle is collected")
    finally:
        collecting.cancel()
        gc.set_threshold(*before)


def test_the_older_what_is_looked_at_the_seldomer() -> None:
    looked = [heap.generation(looks) for looks in range(1, 801)]
    assert (looked.count(0), looked.count(1), looked.count(2)) == (760, 38, 2)
    assert looked[399] == looked[799] == 2


async def test_large_pages_are_asked_for_again_soon_while_there_is_more_and_else_later(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True, True])
    pauses: list[float] = []

    async def passed(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(large_pages, "are_to_be_had", lambda: len(pauses) < 4)
    monkeypatch.setattr(large_pages, "ask_for", lambda _within_seconds: next(answers))
    monkeypatch.setattr(asyncio, "sleep", passed)
    await heap.ask_for_large_pages_forever()
    assert pauses == [heap.PAGES_PAUSE_SECONDS] * 2 + [heap.PAGES_SECONDS] * 2


async def test_without_large_pages_the_process_goes_on_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_within_seconds: float) -> bool:
        raise OSError("refused")

    monkeypatch.setattr(large_pages, "are_to_be_had", lambda: True)
    monkeypatch.setattr(large_pages, "ask_for", refused)
    await heap.ask_for_large_pages_forever()
    assert [record.getMessage() for record in caplog.records] == ["the heap stays in small pages, which is slower: OSError('refused')"]

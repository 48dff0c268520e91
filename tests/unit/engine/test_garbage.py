"""Cycles are collected by the clock."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from streamer.engine import garbage


class Ring:
    """Refers to itself, as a connection and its protocol do to each other."""

    def __init__(self) -> None:
        self.me = self


async def test_a_cycle_is_collected_though_hardly_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_SECONDS", 0.01)
    gc.disable()  # not by allocations
    looking = asyncio.create_task(garbage.look_forever())
    try:
        collected = asyncio.Event()
        ring = weakref.ref(Ring(), lambda _: collected.set())
        async with asyncio.timeout(10):
            await collected.wait()
        assert ring() is None
    finally:
        looking.cancel()
        gc.enable()

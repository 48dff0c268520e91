"""Reading a changelog, cut off at any moment."""

from __future__ import annotations

import asyncio
import gc
import warnings

from aiokafka import TopicPartition

from streamer.engine.restore import changelog_reader
from streamer.settings import Settings


async def test_a_reader_that_is_cancelled_while_it_connects_leaves_no_connection_open() -> None:
    """A rebalance cancels what is being opened; a broker that is slow to answer makes that likely."""
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while await reader.read(1 << 16):
            pass
        let_go.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def read() -> None:
            place = TopicPartition("t", 0)
            async with changelog_reader(Settings(kafka_bootstrap=f"127.0.0.1:{port}"), group="g", changelog=place, source=place):
                raise AssertionError("nobody answered")

        reading = asyncio.create_task(read())
        await asked.wait()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            reading.cancel()
            await asyncio.wait([reading])
            async with asyncio.timeout(10):
                await let_go.wait()
            del reading
            gc.collect()
        assert [str(warning.message) for warning in said if issubclass(warning.category, ResourceWarning)] == []

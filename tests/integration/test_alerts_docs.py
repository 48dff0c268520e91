"""The examples of the pages on alerts run as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamer.alerts import Outcomes
from tests.alert_support import RedisWriter, alert, settings_for

if TYPE_CHECKING:
    from deploy.local.redis import Redis

pytestmark = pytest.mark.integration

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (PAGES / "consume-alerts.md").read_text()


async def test_the_example_shows_what_fires_and_what_comes_and_stops_when_told(redis_server: Redis, unique: str) -> None:
    match = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    assert len([line for line in match[1].splitlines() if line.strip()]) <= 20
    # A database of its own, since the example has the default prefix.
    url = redis_server.url.removesuffix("/0") + "/9"
    writer = RedisWriter(settings_for(unique, None, redis_server, redis_url=url, redis_prefix="cx:"))
    await writer.write(alert("ann", why="ann gave up"))
    environment = {**os.environ, "REDIS_URL": url}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", match[1], env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line == b"already firing: abandoned-with-friction ann gave up\n"
        await writer.write(alert("ann", "resolved", 2, why="ann came back"))
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"resolved abandoned-with-friction ann came back\n"
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        async with writer.store.client as client:
            assert (await client.xpending("cx:alerts", "agent-desktop"))["pending"] == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await writer.store.close()


async def test_the_example_that_closes_the_loop_does(redis_server: Redis) -> None:
    match = re.search(r"```python\n(.*?)```", (PAGES / "close-the-loop.md").read_text(), re.DOTALL)
    assert match is not None
    names: dict[str, Any] = {}
    exec(match[1], names)  # noqa: S102  our own page
    url = redis_server.url.removesuffix("/0") + "/8"
    await names["closed"](url, alert("ann"), "agent-7", "saved")
    async with Outcomes(url) as outcomes:
        [known] = await outcomes.all()
    assert (known.acknowledged_by, known.outcome) == ("agent-7", "saved")

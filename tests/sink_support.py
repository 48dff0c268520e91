"""Receivers for tests of sinks: a web server on the loopback that answers as told and keeps what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from streamer.engine.forwarder import Forwarder
from streamer.sinks import config as sinks
from tests.alert_support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from streamer.settings import Settings

SECRET = "a secret of tests, long enough"  # noqa: S105


@dataclass
class Taken:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def record(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`answer` gets each request and returns the status; what it was sent is in `taken`, refused or not."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    answer: Callable[[Taken], Awaitable[web.Response]] | None = None
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def customers(self) -> list[str]:
        return [taken.record["entity"]["canonical_id"] for taken in self.taken]

    async def handle(self, request: web.Request) -> web.Response:
        taken = Taken(request.path, dict(request.headers), await request.read())
        self.taken.append(taken)
        return await self.answer(taken) if self.answer else web.Response()

    def replies(self, *statuses: int, **headers: str) -> None:
        """Answer with these in turn, then with 200."""
        waiting = list(statuses)

        async def answer(_taken: Taken) -> web.Response:
            status = waiting.pop(0) if waiting else 200
            return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

        self.answer = answer


@asynccontextmanager
async def receiving(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port, or on this one."""
    receiver = Receiver(scheme="https" if tls else "http")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


def write_config(directory: Path, *tables: str) -> Path:
    """A sinks.toml of these tables, without their `[[sink]]`; `crm.secret` beside it is SECRET."""
    (directory / "crm.secret").write_text(f"{SECRET}\n")
    path = directory / "sinks.toml"
    path.write_text("".join(f"[[sink]]\n{table}\n" for table in tables))
    return path


def webhook(receiver: Receiver, name: str = "crm", more: str = "") -> str:
    return f'name = "{name}"\nkind = "webhook"\nurl = "{receiver.url}"\nsecret_file = "crm.secret"\nstart = "all"\n{more}'


@asynccontextmanager
async def forwarding(
    settings: Settings, path: Path, *, name: str = "here", backoff_seconds: tuple[float, float] = (0.02, 0.1)
) -> AsyncIterator[tuple[Forwarder, asyncio.Task[None]]]:
    """A forwarder in this process; stopped in order at the end, its error raised."""
    stop = asyncio.Event()
    forwarder = Forwarder(settings, sinks.load(path), name=name, backoff_seconds=backoff_seconds)
    task = asyncio.create_task(forwarder.serve(stop))
    try:
        yield forwarder, task
    except BaseException:
        stop.set()
        with contextlib.suppress(Exception):
            await task
        raise
    stop.set()
    await task


async def until_counted(forwarder: Forwarder, sink: str, outcome: str, count: int, task: asyncio.Task[None]) -> None:
    """Wait until a sink has so many of an outcome."""
    await until(lambda: forwarder.counts()[sink].get(outcome, 0) >= count, f"{count} {outcome}", task=task)

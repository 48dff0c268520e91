"""The commands `streamer alerts dead` and `streamer alerts redrive`: what readers gave up."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer import settings
from streamer.alerts import dead
from streamer.alerts.connection import connect_as
from streamer.alerts.publisher import AlertStore
from streamer.errors import InputError
from streamer.sinks import config as sinks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamer.sinks.redrive import Redriven


def add(group: typer.Typer) -> None:
    """Add the commands of this module to `streamer alerts`."""
    group.command("dead")(list_dead)
    group.command()(redrive)


def list_dead(
    *,
    group: Annotated[str | None, typer.Option(help="Of this consumer group only; a sink's is sink-NAME.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, with the record.")] = False,
) -> None:
    """Print the deliveries that consumer groups and sinks gave up, oldest first. Exit code 7: Redis refused."""
    for entry in asyncio.run(_read(group)):
        typer.echo(json.dumps(_row(entry)) if as_json else _line(entry))


def redrive(
    *,
    config: Annotated[Path, typer.Option(help="File with the sinks, as of `streamer alerts forward`.")],
    sink: Annotated[str, typer.Option(help="The sink's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hand a sink once more what it gave up. Exit code 1: some are left; 2: no such sink; 7: Redis refused."""
    from streamer.sinks.make import make  # aiohttp takes a moment to load
    from streamer.sinks.redrive import redrive as redrive_all

    named = {one.config.name: one for one in sinks.load(config)}
    if sink not in named:
        raise InputError(f"{config} has no sink {sink}: it has {', '.join(named)}")

    async def run() -> Redriven:
        receiver = make(named[sink])
        try:
            async with _store() as store:
                return await redrive_all(store, named[sink].config, receiver)
        finally:
            await receiver.close()

    done = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(done._asdict()))
    else:
        late = "".join(f", {n} {what}" for n, what in ((done.expired, "expired"), (done.ended, "ended")) if n)
        typer.echo(f"{done.delivered} delivered{late}, {done.kept} left" + (f": {done.reason}" if done.reason else ""))
    raise typer.Exit(1 if done.kept else 0)


@asynccontextmanager
async def _store() -> AsyncIterator[AlertStore]:
    loaded = settings.load()
    store = AlertStore(connect_as(loaded), prefix=loaded.redis_prefix)
    try:
        yield store
    finally:
        await store.close()


async def _read(group: str | None) -> list[dead.DeadDelivery]:
    async with _store() as store:
        return [entry async for entry in dead.read(store, group)]


def _row(entry: dead.DeadDelivery) -> dict[str, Any]:
    told = entry._asdict()
    del told["data"]
    told["alert"] = json.loads(entry.data) if entry.alert is not None else None
    return told


def _line(entry: dead.DeadDelivery) -> str:
    about = f"{entry.alert.rule.id} {entry.alert.state} {entry.alert.alert_id}" if entry.alert is not None else "no alert"
    return "  ".join("".join(c if c.isprintable() else "\ufffd" for c in text) for text in (entry.id, entry.group, entry.reason, about))

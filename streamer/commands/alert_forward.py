"""The command `streamer alerts forward`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer import log, settings
from streamer.commands.console import as_text
from streamer.metrics.families import FORWARDER
from streamer.sinks import config as sinks
from streamer.sinks.forwarding import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.sinks.config import Configured


def add(group: typer.Typer) -> None:
    """Add the command of this module to `streamer alerts`."""
    group.command()(forward)


def forward(
    *,
    config: Annotated[Path, typer.Option(help="File with the sinks, see docs/how-to/forward-alerts.md.")],
    name: Annotated[str | None, typer.Option(help="Of this process, unique and the same after a restart; without it the host's.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what the file means.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: the sinks, or at the end what was done.")] = False,
) -> None:
    """Pass alerts on to webhooks, Alertmanager, chat and mail until SIGTERM or SIGINT.

    Exit code 0: stopped in order; what was not taken comes first next time. 2: the file or a setting is wrong. 7: Redis refused.
    """
    configured = sinks.load(config)
    if check:
        asyncio.run(_try_out(configured))
        _show(configured, as_json=as_json)
        return
    name = as_text(name or socket.gethostname())
    loaded = settings.load()
    log.setup(loaded, FORWARDER)
    counts = asyncio.run(_run(loaded, configured, name))
    if as_json:
        typer.echo(json.dumps(counts))
        return
    for sink, outcomes in counts.items():
        typer.echo(f"{sink}: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))


async def _try_out(configured: Sequence[Configured]) -> None:
    from streamer.sinks.make import try_out  # aiohttp takes a moment to load

    await try_out(configured)


async def _run(loaded: settings.Settings, configured: Sequence[Configured], name: str) -> dict[str, dict[str, int]]:
    from streamer.engine.forwarder import Forwarder

    await _try_out(configured)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    forwarder = Forwarder(loaded, configured, name=name)
    await forwarder.serve(stop)
    return forwarder.counts()


def _show(configured: Sequence[Configured], *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "name": sink.config.name,
            "kind": type(sink.config).__struct_config__.tag,
            "address": sink.config.address,
            "group": group_of(sink.config.name),
            "severity": sink.config.severity,
            "rules": list(sink.config.rules),
            "states": list(sink.config.states),
        }
        for sink in configured
    ]
    if as_json:
        typer.echo(json.dumps({"sinks": rows}))
        return
    for row in rows:
        rules = ", ".join(row["rules"]) or "all rules"
        typer.echo(f"{row['name']}: {row['kind']} {row['address']}, {rules}, {row['severity']} or worse, {', '.join(row['states'])}")

"""`streamer ingest`: a history file into the source topic."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from streamer import settings
from streamer.alerts.times import rfc3339
from streamer.commands.progress import progress_bar
from streamer.commands.replay import load_definitions
from streamer.engine import ingest as kafka
from streamer.replay import mapping as mapping_file
from streamer.replay.history import read_history, rejects
from streamer.replay.pipeline import end_of


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ingest)


def ingest(
    file: Annotated[Path, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input.")],
    mapping: Annotated[
        Path | None, typer.Option(help="From the file's columns to touchpoints; not needed for JSON lines of canonical events.")
    ] = None,
    definitions: Annotated[Path | None, typer.Option(help="The worker's definitions file: its longest deadline ends the history.")] = None,
    open_ended: Annotated[bool, typer.Option("--open", help="Write no end: the history goes on with what is sent later.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send a history to the source topic, sorted by event time, between control records that set the partitions' clocks.

    Start it before the first worker: a partition that is already past the file's start is refused.
    Exit code 0: all records are acknowledged. 2: the file, the mapping, the definitions or the topic's time forbid it. 3: the topic is
    missing or has another shape. 8: Kafka does not answer.
    """
    config = settings.load()
    history = read_history(file, None if mapping is None else mapping_file.load(mapping))
    end_ms = None if open_ended else end_of(history.end_ms, load_definitions(definitions or config.definitions))
    kafka.require_sizes(history)
    rejected = rejects(history, arrival_ms=time.time_ns() // 1_000_000)
    told: dict[str, Any] = {
        "rows": history.rows,
        "unmapped_rows": history.unmapped,
        "events": len(history.events),
        "rejected": {reason: found.number for reason, found in rejected.items()},
        "rejected_first": {reason: found.first for reason, found in rejected.items()},
        "begin": rfc3339(history.begin_ms),
        "end": rfc3339(history.end_ms),
        "closed_at": None if end_ms is None else rfc3339(end_ms),
        "sent": not dry_run,
    }
    if not dry_run:
        with progress_bar("sending", len(history.events)) as progress:
            delivered = asyncio.run(kafka.ingest(config, history, end_ms=end_ms, progress=progress))
        told |= {"by_partition": delivered.by_partition, "seconds": round(delivered.seconds, 3)}
    if as_json:
        typer.echo(orjson.dumps(told))
        return
    done = "would be sent" if dry_run else "sent"
    typer.echo(f"{told['events']} touchpoints of {told['rows']} rows {done}, {told['begin']} to {told['end']}")
    for reason, found in rejected.items():
        typer.echo(f"{found.number} of them will be dead letters: {reason}, the first of {found.first}")

"""`streamer events`: what producers need to get their events right before they send them."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import orjson
import typer

from streamer.errors import InputError
from streamer.replay.sources import read_lines
from streamer.touchpoints.check import OK, check
from streamer.touchpoints.schema import schema_text

events = typer.Typer(no_args_is_help=True, help="Check touchpoint events before they are sent.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(events, name="events")


@events.command("check")
def check_file(
    file: Annotated[
        Path, typer.Argument(help="JSON lines, one event each, flat or CloudEvents structured, also with .gz; - is standard input.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, the summary last.")] = False,
) -> None:
    """Say for each event whether it would be accepted, and what to do if not.

    Record keys are not part of the file and are taken to be right. Exit code 0: all are ok. 1: at least one is rejected, or has a
    part that is not in the schema. 2: the file cannot be read, or there is no event in it.
    """
    arrival_ms = time.time_ns() // 1_000_000
    counts: Counter[str] = Counter()
    for number, value in read_lines(file):
        finding = check(value, arrival_ms)
        counts["ok" if finding.reason == OK else "remarks" if finding.accepted else "rejected"] += 1
        if as_json:
            typer.echo(orjson.dumps({"line": number, "accepted": finding.accepted, **finding._asdict()}))
        else:
            typer.echo(f"line {number}: {finding.reason}" + (f": {finding.detail}. {finding.advice}" if finding.detail else ""))
    if not counts:
        raise InputError(f"{file}: there is no event in it")
    summary = {"events": counts.total(), **{name: counts[name] for name in ("ok", "remarks", "rejected")}}
    if as_json:
        typer.echo(orjson.dumps({"summary": summary}))
    else:
        typer.echo("{events} events: {ok} ok, {remarks} with remarks, {rejected} rejected".format(**summary))
    raise typer.Exit(0 if counts["ok"] == counts.total() else 1)


@events.command("schema")
def print_schema() -> None:
    """Print the JSON Schema (draft 2020-12) of an event."""
    typer.echo(schema_text(), nl=False)

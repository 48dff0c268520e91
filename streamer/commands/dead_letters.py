"""`streamer dead-letters`: what was rejected and why, and sending it again once what was wrong has been put right."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.table import Table

from streamer import settings
from streamer.alerts.times import rfc3339
from streamer.commands.console import console
from streamer.engine import dead_letters
from streamer.log import printable
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from streamer.engine.dead_letters import Letter

group = typer.Typer(no_args_is_help=True, help="Read the dead letters, and send them again.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="dead-letters")


@group.command("list")
def list_letters(
    *,
    reason: Annotated[Reason | None, typer.Option(help="Only letters of this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show the newest so many.")] = 100,
    values: Annotated[bool, typer.Option("--values", help="Show keys, values and headers too: they hold customers' data.")] = False,
    as_json: Json = False,
) -> None:
    """Show the newest dead letters, oldest first, and how many there are by reason."""
    listing = asyncio.run(dead_letters.read(settings.load(), reason=reason.value if reason else None, limit=limit))
    if as_json:
        letters = [_fields(letter, values=values) for letter in listing.letters]
        typer.echo(orjson.dumps({"counts": listing.counts, "letters": letters}))
        return
    if listing.letters:
        _print_table(listing.letters, values=values)
    total = sum(listing.counts.values())
    typer.echo(f"{total} dead letters, {len(listing.letters)} shown" + _by_reason(listing.counts))


@group.command()
def redrive(
    *,
    reason: Annotated[list[Reason] | None, typer.Option(help="Only letters of this reason; may be given several times.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    as_json: Json = False,
) -> None:
    """Write dead letters back to the source topic as they were; none is written twice, however often this runs."""
    reasons = [wanted.value for wanted in reason] if reason else dead_letters.REASONS
    done = asyncio.run(dead_letters.redrive(settings.load(), reasons=reasons, dry_run=dry_run))
    total = sum(done.counts.values())
    if as_json:
        typer.echo(orjson.dumps({"redriven": total, "counts": done.counts, "foreign": done.foreign, "kept": done.kept, "dry_run": dry_run}))
        return
    typer.echo(f"{total} dead letters {'would be ' if dry_run else ''}redriven" + _by_reason(done.counts))
    if done.foreign:
        typer.echo(f"{done.foreign} are not of the source topic and stay where they are")
    if done.kept:
        typer.echo(f"{done.kept} were cut or are larger than the source topic takes, and stay where they are: send the originals smaller")


def _by_reason(counts: dict[str, int]) -> str:
    return ": " + ", ".join(f"{count} {reason}" for reason, count in counts.items()) if counts else ""


def _fields(letter: Letter, *, values: bool) -> dict[str, Any]:
    """What `--json` tells of one letter; bytes as base64, because they may be anything."""
    fields: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": rfc3339(letter.timestamp_ms),
        "reason": letter.reason,
        "detail": letter.detail,
        "origin": {
            "topic": letter.origin_topic,
            "partition": letter.origin_partition,
            "offset": letter.origin_offset,
            "timestamp_ms": letter.origin_timestamp_ms,
        },
        "value_size_bytes": len(letter.value or b""),
    }
    if values:
        fields["key"] = _base64(letter.key)
        fields["value"] = _base64(letter.value)
        fields["headers"] = [[name, _base64(content)] for name, content in letter.headers]
    return fields


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _print_table(letters: list[Letter], *, values: bool) -> None:
    table = Table(box=None)
    for title in ("time", "letter", "reason", "detail", "origin", "bytes", *(("key", "value") if values else ())):
        table.add_column(title, overflow="fold")
    for letter in letters:
        cells = [
            rfc3339(letter.timestamp_ms),
            f"{letter.partition}/{letter.offset}",
            letter.reason,
            letter.detail,
            f"{letter.origin_topic}/{letter.origin_partition}/{letter.origin_offset}",
            str(len(letter.value or b"")),
            *([_shown(letter.key), _shown(letter.value)] if values else []),
        ]
        table.add_row(*[printable(cell) for cell in cells])
    console(highlight=False).print(table)


def _shown(content: bytes | None) -> str:
    return "-" if content is None else content.decode("utf-8", "backslashreplace")

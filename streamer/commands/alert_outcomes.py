"""The commands `streamer alerts ack` and `streamer alerts outcomes`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich import box
from rich.table import Table

from streamer import settings
from streamer.alerts.connection import connect_as
from streamer.alerts.outcomes import Outcomes
from streamer.alerts.verdicts import NOISY_BELOW, VERDICTS, WINDOW, Outcome, RuleVerdict, by_rule
from streamer.commands.console import as_text, console
from streamer.log import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("Rule", "Acknowledged", "Saved", "Lost", "False alarms", "Precision", "Saved share", "Time to acknowledge", "")
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object per line.")]


class Ending(StrEnum):
    """How an alert ended."""

    SAVED = "saved"
    LOST = "lost"
    FALSE_ALARM = "false-alarm"


def add(group: typer.Typer) -> None:
    """Add the commands of this module to `streamer alerts`."""
    group.command()(ack)
    group.command()(outcomes)


def ack(
    identity: Annotated[
        str, typer.Argument(metavar="ID", callback=as_text, help="alert_id, episode_id, or fingerprint for its latest episode.")
    ],
    *,
    by: Annotated[str, typer.Option(callback=as_text, help="Who says so.")],
    outcome: Annotated[
        Ending | None, typer.Option(help="How it ended; without it: somebody looks after it. Another one replaces the one before.")
    ] = None,
    note: Annotated[str, typer.Option(callback=as_text, help="Up to 500 characters, without customer data.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what is now known of it as one JSON object.")] = False,
) -> None:
    """Acknowledge an alert, and say how it ended. Exit code 2: no such alert; 7: Redis refused."""

    async def run() -> Outcome:
        config = settings.load()
        client = connect_as(config)
        try:
            async with Outcomes(client, prefix=config.redis_prefix) as told:
                return await told.acknowledge(identity, by=by, outcome=_VERDICT_OF[outcome] if outcome else None, note=note)
        finally:
            await client.aclose()

    known = asyncio.run(run())
    if as_json:
        typer.echo(msgspec.json.encode(known))
        return
    seconds = known.seconds_to_acknowledge
    after = "" if seconds is None else f" {seconds:.0f} s after it fired"
    ending = f"; {known.outcome}, says {known.judged_by}" if known.outcome else ""
    typer.echo(printable(f"{known.rule} {known.episode_id}: acknowledged by {known.acknowledged_by}{after}{ending}"))


def outcomes(
    *,
    each: Annotated[bool, typer.Option("--each", help="Print every outcome instead of one line per rule.")] = False,
    as_json: Json = False,
) -> None:
    """Print what became of alerts: precision, saved share and time to acknowledge of each rule. Exit code 7: Redis refused."""

    async def run() -> list[Outcome]:
        config = settings.load()
        client = connect_as(config)
        try:
            async with Outcomes(client, prefix=config.redis_prefix) as told:
                return await told.all()
        finally:
            await client.aclose()

    found = asyncio.run(run())
    records: Sequence[Outcome | RuleVerdict] = found if each else by_rule(found)
    if as_json or each:
        for record in records:
            typer.echo(msgspec.json.encode(record))
        return
    _print(by_rule(found))


def _print(verdicts: Sequence[RuleVerdict]) -> None:
    if not verdicts:
        typer.echo("no alert has been acknowledged")
        return
    table = Table(*COLUMNS, box=box.SIMPLE)
    for verdict in verdicts:
        table.add_row(*_cells(verdict))
    output = console()
    output.print(table)
    output.print(f"Shares and times of each rule's latest {WINDOW} alerts; noisy: {WINDOW} judged, precision below {NOISY_BELOW:.0%}.")


def _cells(verdict: RuleVerdict) -> list[str]:
    times = verdict.seconds_to_acknowledge
    return [
        verdict.rule,
        str(verdict.acknowledged),
        *(str(verdict.judged[name]) for name in VERDICTS),
        _percent(verdict.precision),
        _percent(verdict.saved),
        f"{times[0.5]:.0f} s, 90 % within {times[0.9]:.0f} s" if times else "-",
        "noisy" if verdict.noisy else "",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


_VERDICT_OF = dict(zip(Ending, VERDICTS, strict=True))

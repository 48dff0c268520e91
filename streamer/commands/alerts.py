"""Commands of `streamer alerts`."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer import settings
from streamer.alerts import alert as alerts
from streamer.alerts import tail as reading
from streamer.alerts.connection import connect_as
from streamer.alerts.publisher import AlertStore
from streamer.alerts.schema import schema_text
from streamer.alerts.times import milliseconds
from streamer.commands import alert_dead, alert_forward, alert_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable

group = typer.Typer(no_args_is_help=True, help="Alerts: look at them, say what became of them, forward them, rebuild what is firing.")
alert_outcomes.add(group)
alert_forward.add(group)
alert_dead.add(group)
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one record per line, as in Redis.")]
COLUMNS = ("Published", "State", "Severity", "Rule", "About", "Why")
STYLES = {"firing": "bold red", "amended": "yellow", "resolved": "green", "retracted": "dim"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="alerts")


@group.command()
def tail(
    *,
    as_json: Json = False,
    last: Annotated[int, typer.Option(min=0, max=10_000, help="How many of the latest to print.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as alerts arrive, until Ctrl-C.")] = False,
) -> None:
    """Print the latest alert transitions, oldest first."""
    asyncio.run(_tail(settings.load(), as_json=as_json, last=last, follow=follow))


@group.command()
def active(*, as_json: Json = False) -> None:
    """Print what is firing now, oldest first."""
    asyncio.run(_active(settings.load(), as_json=as_json))


@group.command()
def rebuild(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Rebuild the set of firing alerts in Redis from the alert topics in Kafka; nothing is delivered again."""
    from streamer.engine.rebuild import rebuild as rebuild_active_set  # Kafka's client takes a second to load

    async def run() -> None:
        config = settings.load()
        store = _store(config)
        try:
            report = await rebuild_active_set(config, store)
        finally:
            await store.close()
        if as_json:
            typer.echo(json.dumps(report._asdict()))
        else:
            typer.echo(f"{report.restored} firing alerts from {report.partitions} partitions in place, {report.removed} stale ones removed")

    asyncio.run(run())


@group.command("schema")
def print_schema() -> None:
    """Print the JSON Schema (draft 2020-12) of an alert record."""
    typer.echo(schema_text(), nl=False)


@group.command("asyncapi")
def print_asyncapi() -> None:
    """Print the AsyncAPI document (version 3) of every channel: touchpoints in, alerts and dead letters out."""
    from streamer import asyncapi  # what it describes takes a moment to load

    typer.echo(asyncapi.text(), nl=False)


def _store(config: settings.Settings) -> AlertStore:
    return AlertStore(connect_as(config), prefix=config.redis_prefix)


async def _tail(config: settings.Settings, *, as_json: bool, last: int, follow: bool) -> None:
    store = _store(config)
    try:
        entries = await reading.last(store.client, store.keys, last)
        _print([(entry.alert, entry.data) for entry in entries], as_json=as_json)
        if follow:
            newest = entries[-1].id if entries else None
            async for entry in reading.follow(store.client, store.keys, newest):
                _print_one(entry.alert, entry.data, as_json=as_json)
    finally:
        await store.close()


async def _active(config: settings.Settings, *, as_json: bool) -> None:
    store = _store(config)
    try:
        records = (await store.active()).values()
    finally:
        await store.close()
    found = []
    for data in records:
        try:
            alert = alerts.decode(data)
        except msgspec.DecodeError:
            continue  # of a newer version that this one cannot show
        if milliseconds(alert.expires_at) > time.time() * 1000:  # the publisher removes it within seconds
            found.append((alert, data))
    _print(sorted(found, key=lambda pair: (milliseconds(pair[0].detected_at), pair[0].fingerprint)), as_json=as_json)


def _print(records: Iterable[tuple[alerts.Alert, bytes]], *, as_json: bool) -> None:
    console = Console()
    if as_json or not console.is_terminal:
        for alert, data in records:
            _print_one(alert, data, as_json=as_json)
        return
    table = Table(*COLUMNS, box=box.SIMPLE)
    for alert, _ in records:
        table.add_row(*_cells(alert))
    if table.row_count:
        console.print(table)
    else:
        console.print("no alerts")


def _print_one(alert: alerts.Alert, data: bytes, *, as_json: bool) -> None:
    if as_json:
        typer.echo(data)
    else:
        Console().print(Text("  ").join(_cells(alert)), soft_wrap=True)


def _cells(alert: alerts.Alert) -> list[Text]:
    return [
        Text(printable(alert.published_at or alert.detected_at)),
        Text(f"{alert.state:<9}", style=STYLES[alert.state]),
        Text(f"{printable(alert.severity):<8}"),
        Text(printable(alert.rule.id)),
        Text(printable(about(alert))),
        Text(printable(alert.why)),
    ]


def about(alert: alerts.Alert) -> str:
    """Whom or what an alert is about: the entity's ids, or the slice."""
    if alert.entity is not None:
        entity = alert.entity
        ids = (entity.canonical_id, entity.journey, entity.journey_id, entity.issue_id, entity.account_id)
        return " ".join(part for part in ids if part)
    return " ".join(f"{name}={value}" for name, value in sorted((alert.slice or {}).items())) or "everything"


def printable(text: str) -> str:
    """The text with control characters replaced: ids come from outside, and a terminal obeys what it is sent."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)

"""Commands of `streamer topics`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from streamer import settings
from streamer.commands.progress import progress_bar
from streamer.engine import topic_admin
from streamer.errors import TopicsError

group = typer.Typer(no_args_is_help=True, help="Create the product's topics and check that they are as they should be.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="topics")


@group.command()
def create(*, as_json: Json = False) -> None:
    """Create the topics that are missing, then check all of them (ends with 3 if one deviates)."""
    config = settings.load()
    created = asyncio.run(topic_admin.create(config))
    if not as_json:
        for name in created:
            typer.echo(f"created {name}")
    _report(config, as_json=as_json, created=created)


@group.command()
def check(*, as_json: Json = False) -> None:
    """Say where topics deviate from what the product needs (then ends with 3)."""
    _report(settings.load(), as_json=as_json, created=None)


@group.command()
def refill(
    *,
    from_prefix: Annotated[str, typer.Option(help="topic_prefix of the old installation, whose source topic is read.")],
    as_json: Json = False,
) -> None:
    """Fill the empty source topic of a new installation from an old one's: how the number of partitions grows.

    Settings are the new installation's. Stop producers and workers first: what is appended to the old topic meanwhile is left out.
    """
    from streamer.engine import refill as kafka  # Kafka's producer takes a second to load

    config = settings.load()
    with progress_bar("copying") as progress:
        delivered = asyncio.run(kafka.refill(config, from_prefix, progress=progress))
    told = {"records": sum(delivered.by_partition), "by_partition": delivered.by_partition, "seconds": round(delivered.seconds, 3)}
    typer.echo(json.dumps(told) if as_json else f"{told['records']} records in {len(delivered.by_partition)} partitions")


def _report(config: settings.Settings, *, as_json: bool, created: list[str] | None) -> None:
    deviations = asyncio.run(topic_admin.check(config))
    names = [spec.name for spec in topic_admin.specs(config)]
    if as_json:
        report = {"topics": names, "deviations": [deviation._asdict() for deviation in deviations]}
        typer.echo(json.dumps(report if created is None else {"created": created, **report}))
    elif deviations:
        for deviation in deviations:
            typer.echo(f"{deviation.topic} {deviation.what}: {deviation.fix}")
    elif created == []:
        typer.echo(f"all {len(names)} topics exist")
    else:
        typer.echo(f"all {len(names)} topics are as they should be")
    if deviations:
        raise typer.Exit(TopicsError.exit_code)

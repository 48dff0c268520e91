"""Commands of `streamer topics`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from streamer import settings
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

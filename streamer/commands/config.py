"""Commands of `streamer config`."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from streamer import settings
from streamer.alerts.connection import connect_as
from streamer.commands.replay import load_definitions
from streamer.errors import DefinitionsError, DeliveryError, SettingsError
from streamer.network import client_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

group = typer.Typer(no_args_is_help=True, help="Show and check the settings.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="config")


@group.command()
def show(*, as_json: Json = False) -> None:
    """Print every setting with its value and where it comes from; passwords are masked."""
    loaded = settings.load()
    origins = settings.origins()
    if as_json:
        values = {field: {"value": settings.shown(loaded, field), "origin": origin} for field, origin in origins.items()}
        typer.echo(json.dumps({"settings": values}))
        return
    for field, origin in origins.items():
        value = settings.shown(loaded, field)
        typer.echo(f"{field} = {'' if value is None else value}  ({origin})")


@group.command()
def check(*, as_json: Json = False) -> None:
    """Check the settings and the definitions file; ends with 2 and one sentence for each thing wrong."""
    loaded = settings.attempt()
    errors = [] if isinstance(loaded, settings.Settings) else loaded
    if isinstance(loaded, settings.Settings):
        try:
            load_definitions(loaded.definitions)
        except DefinitionsError as exc:
            errors = [str(exc)]
        errors += _unusable(loaded)
    warnings = [f"{name} is no setting and has no effect" for name in settings.without_effect()]
    if as_json:
        typer.echo(json.dumps({"ok": not errors, "errors": errors, "warnings": warnings}))
    else:
        for line in errors:
            typer.echo(f"error: {line}", err=True)
        for line in warnings:
            typer.echo(f"warning: {line}", err=True)
        if not errors:
            typer.echo("settings and definitions hold together")
    if errors:
        raise typer.Exit(SettingsError.exit_code)


def _unusable(loaded: settings.Settings) -> list[str]:
    """A sentence for each file of certificates, each option of Redis' URL and each address that a worker would refuse to start with."""
    from streamer.engine.endpoint import tls_context  # an HTTP server takes a moment to load

    found = []
    looks: list[Callable[[], object]] = [
        partial(client_context, loaded.kafka_ca_file, "kafka_ca_file"),
        partial(client_context, loaded.redis_ca_file, "redis_ca_file"),
        partial(tls_context, loaded),
    ]
    for look in looks:
        try:
            look()
        except SettingsError as exc:
            found.append(str(exc))
    with contextlib.suppress(SettingsError):  # of the certificates, told above
        try:
            _ = connect_as(loaded)
        except DeliveryError as exc:
            found.append(str(exc))
    return found


@group.command(hidden=True)
def reference() -> None:
    """Print docs/reference/settings.md, generated from the settings themselves."""
    typer.echo(reference_text(), nl=False)


HEAD = """\
# Settings

Every setting is an environment variable `STREAMER_<NAME>`, a key of the TOML file that `STREAMER_SETTINGS_FILE` names, or a file
`streamer_<name>` in the directory that `STREAMER_SECRETS_DIR` names (for passwords). The first of these that has a value wins, in
this order. `streamer config show` prints what is in force and where it comes from; `streamer config check` says what is wrong.

This page is generated: `streamer config reference > docs/reference/settings.md`.

| setting | type | default | |
|---|---|---|---|
"""


def reference_text() -> str:
    """The page as Markdown, one row per setting in the order of the source."""
    rows = [
        f"| `{name}` | {_cell(_type(info))} | {_default(info)} | {_cell(info.description or '')}{_bounds(info)} |"
        for name, info in settings.Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(info: FieldInfo) -> str:
    """In words of the file: `text`, `path`, `one of ...`."""
    kinds = [kind for kind in get_args(info.annotation) if kind is not type(None)] or [info.annotation]
    if get_args(info.annotation) and get_origin(info.annotation) is not None and isinstance(kinds[0], str):
        return "one of " + ", ".join(f"`{kind}`" for kind in kinds)
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`", "Path": "path", "SecretStr": "secret"}
    return names[getattr(kinds[0], "__name__", "")]


def _default(info: FieldInfo) -> str:
    if info.default is None or info.default is PydanticUndefined:
        return "none"
    return f"`{json.dumps(info.default) if isinstance(info.default, bool) else info.default}`"


def _bounds(info: FieldInfo) -> str:
    """The limits a value must keep to."""
    words = {
        "ge": "at least {:.15g}",
        "gt": "more than {:.15g}",
        "le": "at most {:.15g}",
        "lt": "less than {:.15g}",
        "max_length": "at most {} characters",
    }
    found = [words[key].format(getattr(entry, key)) for entry in info.metadata for key in words if hasattr(entry, key)]
    return f" ({', '.join(found)})" if found else ""

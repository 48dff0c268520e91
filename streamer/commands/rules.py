"""`streamer rules`: what those who write definitions need before and after they are in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from streamer.authoring import advice
from streamer.authoring.definitions_schema import schema_text
from streamer.definitions import Definitions, examine
from streamer.errors import DefinitionsError, InputError
from streamer.validation import Problem

group = typer.Typer(no_args_is_help=True, help="Check and test definitions, and see which are in force.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="rules")


@group.command()
def check(
    file: Annotated[Path, typer.Argument(help="Definitions file.")],
    *,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a definitions file, with its line, and what was probably not meant.

    Exit code 0: it can be used; there may be warnings. 2: it cannot.
    """
    found = examine(read(file))
    errors, warnings = (found, []) if isinstance(found, list) else ([], advice.warnings(found))
    if as_json:
        report = {"ok": not errors, "file": str(file), "errors": [one._asdict() for one in errors]}
        report["warnings"] = [one._asdict() for one in warnings]
        if isinstance(found, Definitions):
            report |= {"revision": found.revision, "digest": found.digest, "rules": len(found.rule)}
        typer.echo(orjson.dumps(report))
    else:
        _print_problems(file, errors, warnings)
        typer.echo(_conclusion(file, found, len(warnings)))
    if errors:
        raise typer.Exit(DefinitionsError.exit_code)


@group.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a definitions file, for editors."""
    typer.echo(schema_text(), nl=False)


def read(file: Path) -> str:
    """The text of a file. Raises InputError."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{file} is not UTF-8") from exc


def _print_problems(file: Path, errors: list[Problem], warnings: list[Problem]) -> None:
    for one in errors:
        typer.echo(f"{file}:{one.line}: {one.message}")
    for one in warnings:
        typer.echo(f"{file}:{one.line}: warning: {one.message}")


def _conclusion(file: Path, found: Definitions | list[Problem], warnings: int) -> str:
    if isinstance(found, list):
        return f"{file}: {_count(len(found), 'error')}"
    told = f"{file}: revision {found.revision} ({found.digest}), {_count(len(found.journey), 'journey')}, {_count(len(found.rule), 'rule')}"
    return told + (f", {_count(warnings, 'warning')}" if warnings else "")


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"

"""`streamer replay`: the product's processors over a history file, with no server at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from streamer import definitions as definitions_file
from streamer import settings
from streamer.alerts import alert
from streamer.commands.console import console
from streamer.errors import DefinitionsError
from streamer.replay import mapping as mapping_file
from streamer.replay import report
from streamer.replay.history import read_history
from streamer.replay.pipeline import arrivals_of, end_of, run_history

DefinitionsFile = Annotated[
    Path | None, typer.Option("--definitions", help="Definitions file; without it the setting `definitions`, else the documented default.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input.")],
    mapping: Annotated[
        Path | None, typer.Option(help="From the file's columns to touchpoints; not needed for JSON lines of canonical events.")
    ] = None,
    definitions: DefinitionsFile = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=1024, help="Partitions to imitate; figures and what fires do not depend on it.")
    ] = 4,
    open_ended: Annotated[
        bool, typer.Option("--open", help="Stop at the last event instead of letting every deadline fall due: windows are as of then.")
    ] = False,
    alerts: Annotated[bool, typer.Option("--alerts", help="Print every alert transition first, one JSON object a line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Fold a history exactly as the worker would and print the metrics and alerts it gives.

    Exit code 0: done. 2: the file, the mapping or the definitions cannot be used.
    """
    wanted = chosen_definitions(definitions)
    history = read_history(file, None if mapping is None else mapping_file.load(mapping))
    end_ms = None if open_ended else end_of(history.end_ms, wanted)
    result = run_history(arrivals_of(history), wanted, partitions=partitions, begin_ms=history.begin_ms, end_ms=end_ms)
    if alerts:
        for transition in result.alerts:
            typer.echo(alert.encode(transition))
    told = report.summary(history, wanted, result)
    if as_json:
        typer.echo(orjson.dumps(told))
    else:
        report.show(console(), told)


def chosen_definitions(option: Path | None) -> definitions_file.Definitions:
    """Those of --definitions, else of the setting, else the default. Raises DefinitionsError, SettingsError."""
    return load_definitions(option or settings.load().definitions)


def load_definitions(path: Path | None) -> definitions_file.Definitions:
    """The definitions of a file, or the default. Raises DefinitionsError."""
    if path is None:
        return definitions_file.default()
    try:
        return definitions_file.parse(path.read_bytes().decode(), str(path))
    except OSError as exc:
        raise DefinitionsError(f"{path}: the definitions file cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DefinitionsError(f"{path}: is not UTF-8") from exc

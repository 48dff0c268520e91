"""The command line: `streamer COMMAND`. Errors users can meet end in one sentence and a documented exit code."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import typer

from streamer.errors import StreamerError

# Module in `streamer.commands` -> the commands it adds, with its function `register(app: typer.Typer) -> None`.
COMMANDS: Final = {
    "worker": ("worker",),
    "topics": ("topics",),
    "events": ("events",),
    "rules": ("rules",),
    "simulate": ("simulate",),
    "ingest": ("ingest",),
    "replay": ("replay",),
    "backtest": ("backtest",),
    "explain": ("explain",),
    "verify": ("verify",),
    "analyze": ("analyze",),
    "alerts": ("alerts",),
    "dead_letters": ("dead-letters",),
    "state": ("state",),
    "config": ("config",),
    "health": ("healthcheck", "doctor"),
}


def application(command: str | None = None) -> typer.Typer:
    """The program with all commands, or with the parts that `command` needs: a health check must not import everything."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help="Customer-journey metrics and alerts on Kafka, exactly once.")(_no_options)
    needed = [module for module, commands in COMMANDS.items() if command in commands] or list(COMMANDS)
    for module in needed:
        importlib.import_module(f"streamer.commands.{module}").register(app)
    return app


def _no_options() -> None:
    """Without a callback, Typer would take a single command for the program itself."""


def __getattr__(name: str) -> typer.Typer:
    if name == "app":
        return application()
    raise AttributeError(name)


def main() -> None:
    """Entry point of the `streamer` program."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else None)()
    except StreamerError as exc:
        sys.stderr.write(f"streamer: {exc}\n")
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

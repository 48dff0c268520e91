"""The command line: `streamer COMMAND`. Errors users can meet end in one sentence and a documented exit code."""

from __future__ import annotations

import importlib
import sys

import typer

from streamer.errors import StreamerError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Customer-journey metrics and alerts on Kafka, exactly once.")

# Each module has a function `register(app: typer.Typer) -> None` that adds its commands.
COMMANDS = (
    "worker", "topics", "events", "simulate", "ingest", "replay", "alerts", "dead_letters", "state", "config", "health",
)  # fmt: skip

for _name in COMMANDS:
    importlib.import_module(f"streamer.commands.{_name}").register(app)


def main() -> None:
    """Entry point of the `streamer` program."""
    try:
        app()
    except StreamerError as exc:
        sys.stderr.write(f"streamer: {exc}\n")
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

"""The command line: `streamer COMMAND`. Errors users can meet end in one sentence and a documented exit code."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

from streamer.errors import StreamerError

if TYPE_CHECKING:
    import typer

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

# Net allocations of containers between two looks for cycles among the youngest ones. State is hundreds of thousands of long-lived objects
# that refer to each other in one direction; cycles come from connections. At the default thresholds the looking took a fifth of a fold's
# CPU (22.0 against 17.5 us per event), also of a replay or a recount; with a million, what connections leave behind grew to 350 MB in a
# role that allocates little.
GC_ALLOCATIONS: Final = 100_000

# As of a program that the signal SIGPIPE ends. The signal itself would end a worker, too, when a server hangs up.
PIPE_CLOSED: Final = 128 + 13
# As of sysexits.h. A 1 would mean that the answer is no.
OUTPUT_LOST: Final = 74
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EBADF)


def application(command: str | None = None) -> typer.Typer:
    """The program with all commands, or with the parts that `command` needs: a health check must not import everything."""
    import typer  # loads for so long that Ctrl-C may come before it is there

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


def _prepare_output() -> None:
    """What a stream cannot show is written as an escape; on a closed one, output is an error and messages are nobody's."""
    if sys.stdout is None:
        sys.stdout = _nowhere(1, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _nowhere(2, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere(descriptor: int, mode: int) -> TextIO:
    """A stream in the place of a closed one, which the next file or connection would take otherwise."""
    found = os.open(os.devnull, mode)
    if found != descriptor:
        os.dup2(found, descriptor)
        os.close(found)
    return os.fdopen(descriptor, "w", closefd=False)


def main() -> None:
    """Entry point of the `streamer` program."""
    gc.set_threshold(GC_ALLOCATIONS, 20, 100)
    _prepare_output()
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else None)()
    except StreamerError as exc:
        sys.stderr.write(f"streamer: {exc}\n")
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        reason = "it is closed" if exc.errno == errno.EBADF else exc.strerror
        sys.stderr.write(f"streamer: the output cannot be written ({reason}): make room, or write it elsewhere\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more, and say so with a traceback
        sys.exit(OUTPUT_LOST)
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # Typer makes 1 of it, which means that the answer is no
            sys.exit(PIPE_CLOSED)
        raise

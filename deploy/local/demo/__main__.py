"""`python -m deploy.local.demo`: run the demonstration.

Environment: DEMO_SECONDS ends it by itself; DEMO_HOURS of past are replayed first, 6 by default;
DEMO_STATE is another directory for its data; DEMO_FREE_PORTS=1 avoids the usual ports.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from deploy.local.demo.session import HISTORY_HOURS, HISTORY_HOURS_LEAST, Options, run
from deploy.local.stack import STATE
from streamer.errors import SettingsError, StreamerError


def options() -> Options:
    """The options from the environment. Raises SettingsError."""
    state = os.environ.get("DEMO_STATE")
    return Options(
        _above("DEMO_SECONDS", 0),
        Path(state) if state else STATE,
        bool(os.environ.get("DEMO_FREE_PORTS")),
        _above("DEMO_HOURS", HISTORY_HOURS_LEAST) or HISTORY_HOURS,
    )


def _above(name: str, least: float) -> float | None:
    text = os.environ.get(name, "")
    try:
        number = float(text) if text else None
    except ValueError:
        raise SettingsError(f"{name} must be a number of {name.rpartition('_')[2].lower()}, not {text!r}") from None
    if number is not None and not least < number < math.inf:
        raise SettingsError(f"{name} must be above {least:g}, not {text}")
    return number


def main() -> int:
    """The exit code."""
    # SIGTERM ends it as Ctrl-C does: whatever was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return asyncio.run(run(options()))
    except StreamerError as error:
        sys.stderr.write(f"demo: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            sys.stderr.write("demo: stopped, nothing is left running\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""`python -m deploy.local.demo`: run the demonstration.

Environment: DEMO_SECONDS ends it by itself; DEMO_STATE is another directory for its data; DEMO_FREE_PORTS=1 avoids the usual ports.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from deploy.local.demo.session import Options, run
from deploy.local.stack import STATE
from streamer.errors import SettingsError, StreamerError


def options() -> Options:
    """The options from the environment. Raises SettingsError."""
    text = os.environ.get("DEMO_SECONDS", "")
    try:
        seconds = float(text) if text else None
    except ValueError:
        raise SettingsError(f"DEMO_SECONDS must be a number of seconds, not {text!r}") from None
    if seconds is not None and seconds <= 0:
        raise SettingsError(f"DEMO_SECONDS must be above 0, not {text}")
    state = os.environ.get("DEMO_STATE")
    return Options(seconds, Path(state) if state else STATE, bool(os.environ.get("DEMO_FREE_PORTS")))


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

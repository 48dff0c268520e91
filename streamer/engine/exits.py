"""How a worker process ends: the codes, and the one way to end at once.

Errors a user can act on keep the code of their class (`streamer.errors`: 1 to 10). The codes here are of faults after which
a fresh process carries on from the last checkpoint: a supervisor restarts on them.
"""

from __future__ import annotations

import logging
import os
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from streamer.engine.kafka import denial
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from typing import NoReturn

logger = logging.getLogger(__name__)

# A log handler can block on a full pipe, and the thread that wants to end the process must not hang with it.
LOG_SECONDS_MAX: Final = 2.0


class Exit(IntEnum):
    """Exit codes of a worker besides those of `streamer.errors`."""

    OK = 0
    CRASHED = 70  # something unexpected; the log has the traceback
    FENCED = 71  # another process owns the partitions
    STUCK = 72  # the watchdog saw no progress
    SLOW_CLOSE = 73  # the partitions could not be handed over in time


def end(code: int, why: str, error: BaseException | None = None) -> NoReturn:
    """Write one log line and end the process, without clean-up: what is not committed is the next owner's to redo.

    From any thread. `error`: a traceback follows the line in the log, unless it is an error a user can act on.
    """
    info = None if error is None or isinstance(error, StreamerError) else (type(error), error, error.__traceback__)
    details = {"action": "end", "exit_code": int(code)}
    line = threading.Thread(
        target=logger.critical, args=("%s (exit code %d)", why, code), kwargs={"exc_info": info, "extra": details}, daemon=True
    )
    line.start()
    line.join(LOG_SECONDS_MAX)
    os._exit(code)


def end_for(error: BaseException, doing: str) -> NoReturn:
    """End the process because of an error: in its own words if it is a user's to act on."""
    told = error if isinstance(error, StreamerError) else denial(error)
    if told is not None:
        end(told.exit_code, str(told), told)
    end(Exit.CRASHED, f"{doing} failed: {type(error).__name__}: {error}", error)

"""Log entries: one line each on stderr, as JSON or readable, with role, level and action.

Quiet by default: the program's own entries from `info` on (it logs what changes, not what goes on), libraries' from
`warning` on. Control characters are escaped, so that no message can pose as another entry or steer a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from streamer.settings import Settings

ROOT: Final = "streamer"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "action", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the call gave as `extra`, beside the action."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """`text` on one line: control characters as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class JsonFormatter(logging.Formatter):
    """`{"time": ..., "level": ..., "role": ..., "action": ..., "message": ..., ...}`; tracebacks in `traceback`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "role": self._role,
            "action": getattr(record, "action", record.name),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """`2026-11-22T20:15:01.123Z INFO journeys worker.started: message key=value`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One readable line; a traceback follows on the same line."""
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        action = getattr(record, "action", record.name)
        text = f"{_time(record)} {record.levelname} {self._role} {action}: {record.getMessage()}{fields}"
        if record.exc_info:
            text += f" | {self.formatException(record.exc_info)}"
        return printable(text)


def setup(settings: Settings, role: str, stream: TextIO | None = None) -> None:
    """Send all log entries of this process to stderr (or `stream`) in the configured form."""
    out = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter(role) if as_json else TextFormatter(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # It warns of what its clients retry by themselves, at every start of a broker.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    logging.getLogger(ROOT).setLevel(settings.log_level.upper())

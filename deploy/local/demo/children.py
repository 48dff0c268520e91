"""The programs the demonstration runs beside the servers: they end with it, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from deploy.local.process import end_with_parent
from streamer.errors import StackError

STOP_SECONDS_MAX: Final = 30.0


class Child:
    """A `streamer` command with its log in a file. It has a session of its own: Ctrl-C reaches the demonstration alone."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._file: IO[bytes] = self.log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raises StackError if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise StackError(f"the {self.name} ended with code {code}: {self.last_words()} (log: {self.log})")

    def last_words(self) -> str:
        """The first error in its log, else its last line."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        for line in lines:
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("level") == "error":
                    return f"{entry.get('role')}: {entry.get('message')}"
        return lines[-1][:300]

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """End it in order, and by force if that takes too long."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._file.close()

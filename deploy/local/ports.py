"""Free and busy loopback ports."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

from streamer.errors import StackError

HOST: Final = "127.0.0.1"
# Below Linux's ephemeral range (32768-60999): no outgoing connection can take the port of a server that a
# fault test has stopped and wants back. Each process starts elsewhere, so that test processes seldom meet.
_FIRST, _COUNT = 20_000, 12_000
_candidates = itertools.count((os.getpid() * 97) % _COUNT)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is not busy
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def pick() -> int:
    """A port that is free now; never the same one twice in this process until all were used."""
    for candidate in itertools.islice(_candidates, _COUNT):
        port = _FIRST + candidate % _COUNT
        if is_free(port):
            return port
    raise StackError(f"no free port between {_FIRST} and {_FIRST + _COUNT - 1} on {HOST}")


def require_free(port: int, who: str) -> None:
    """Raise StackError if somebody listens on the port that `who` was given."""
    if not is_free(port):
        raise StackError(f"port {port} on {HOST} is busy, {who} needs it: stop what listens there or choose another port")

"""Redis with its data in the state directory."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from deploy.local import ports, programs
from deploy.local.process import Server

if TYPE_CHECKING:
    from pathlib import Path


class Redis(Server):
    """A Redis server; `url` is what clients connect to. Appends to its log on disk every second, as production would."""

    name = "redis"

    def __init__(self, directory: Path, port: int = 0, *, cache: Path) -> None:
        super().__init__(directory, port)
        self._cache = cache

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`."""
        return f"redis://{self.address}/0"

    def prepare(self) -> list[str]:
        """Write redis.conf."""
        programs.ensure(["redis-server"], lock=self._cache / "install.lock")
        config = self.directory / "redis.conf"
        lines = [
            f"bind {ports.HOST}",
            f"port {self.port}",
            f"dir {self.directory}",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
        ]
        config.write_text("\n".join(lines) + "\n")
        return ["redis-server", str(config)]

    def is_ready(self) -> bool:
        """Whether PING is answered with PONG, which is not so while the data is being loaded."""
        try:
            with socket.create_connection((ports.HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

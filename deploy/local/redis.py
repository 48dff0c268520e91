"""Redis with its data in the state directory."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.local import ports, programs
from deploy.local.process import Server

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.certificates import Certificates


@dataclass(frozen=True)
class Secured:
    """TLS and users for Redis. users: further lines of its ACL file; nobody gets in without a name."""

    certificates: Certificates
    password: str
    users: tuple[str, ...] = ()
    administrator: str = "admin"


class Redis(Server):
    """A Redis server; `url` is what clients connect to. Appends to its log on disk every second, as production would."""

    name = "redis"

    def __init__(self, directory: Path, port: int = 0, *, cache: Path, secured: Secured | None = None) -> None:
        super().__init__(directory, port)
        self._cache = cache
        self.secured = secured

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`, or `rediss://`."""
        return f"redis{'s' if self.secured else ''}://{self.address}/0"

    def prepare(self) -> list[str]:
        """Write redis.conf, and the ACL file."""
        programs.ensure(["redis-server"], lock=self._cache / "install.lock")
        config = self.directory / "redis.conf"
        lines = [
            f"bind {ports.HOST}",
            f"port {0 if self.secured else self.port}",
            f"dir {self.directory}",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
        ]
        if self.secured is not None:
            files, acl = self.secured.certificates, self.directory / "users.acl"
            acl.touch(mode=0o600)
            own = (f"user {self.secured.administrator} on >{self.secured.password} ~* &* +@all", "user default off")
            acl.write_text("\n".join((*own, *self.secured.users)) + "\n")
            lines += [
                f"tls-port {self.port}",
                f"tls-cert-file {files.cert_file}",
                f"tls-key-file {files.key_file}",
                f"tls-ca-cert-file {files.ca_file}",
                "tls-auth-clients no",
                f"aclfile {acl}",
            ]
        config.write_text("\n".join(lines) + "\n")
        return ["redis-server", str(config)]

    def is_ready(self) -> bool:
        """Whether PING is answered with PONG, which is not so while the data is being loaded."""
        try:
            with ExitStack() as exits:
                connection = exits.enter_context(socket.create_connection((ports.HOST, self.port), timeout=1))
                if self.secured is not None:
                    context = ssl.create_default_context(cafile=self.secured.certificates.ca_file)
                    connection = exits.enter_context(context.wrap_socket(connection, server_hostname=ports.HOST))
                    connection.sendall(f"AUTH {self.secured.administrator} {self.secured.password}\r\n".encode())
                    if connection.recv(5) != b"+OK\r\n":
                        return False
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

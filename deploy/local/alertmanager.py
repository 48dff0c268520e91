"""Prometheus's Alertmanager, for the tests of the sink of that name."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final

from deploy.local import ports, programs
from deploy.local.process import Server

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS: Final = ("prometheus-alertmanager", "amtool")


class Alertmanager(Server):
    """A single Alertmanager that notifies nobody; `url` is its base address."""

    name = "alertmanager"

    def __init__(self, directory: Path, port: int = 0, *, cache: Path) -> None:
        super().__init__(directory, port)
        self._cache = cache

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://{self.address}"

    def prepare(self) -> list[str]:
        """Write alertmanager.yml."""
        programs.ensure(PROGRAMS, lock=self._cache / "install.lock")
        config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
        (self.directory / "alertmanager.yml").write_text(json.dumps(config))  # JSON is YAML
        return [
            "prometheus-alertmanager",
            f"--config.file={self.directory}/alertmanager.yml",
            f"--storage.path={self.directory}/data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        """Whether /-/ready says so."""
        connection = http.client.HTTPConnection(ports.HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

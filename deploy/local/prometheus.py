"""Prometheus scraping loopback targets every second."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deploy.local import ports, programs
from deploy.local.process import Server
from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The same bounds as deploy/prometheus/prometheus.yml: a label that runs away fails here first.
LIMITS: Final = {"sample_limit": 500_000, "label_limit": 30, "label_value_length_limit": 256}
# The same rules as everywhere, below the project's directory.
RULES: Final = "deploy/prometheus/rules/*.yml"
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """One scraped endpoint: `address` is host:port, `job` the job label; the path is /metrics."""

    job: str
    address: str


class Prometheus(Server):
    """A Prometheus server; `url` is its base address. Its first scrape of new targets comes after 5 s, which is fixed in it."""

    name = "prometheus"

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        cache: Path,
        targets: Sequence[Target] = (),
        interval_seconds: int = 1,
    ) -> None:
        super().__init__(directory, port)
        self._cache = cache
        self._targets = tuple(targets)
        self._interval_seconds = interval_seconds

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://{self.address}"

    def prepare(self) -> list[str]:
        """Write prometheus.yml."""
        programs.ensure(["prometheus"], lock=self._cache / "install.lock")
        self._write_config()
        return [
            "prometheus",
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address={self.address}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        """Whether /-/ready says so."""
        try:
            self._request("GET", "/-/ready")
        except (OSError, http.client.HTTPException, StackError):
            return False
        return True

    def scrape(self, targets: Sequence[Target]) -> None:
        """Replace the scraped targets of a running server."""
        self._targets = tuple(targets)
        self._write_config()
        self._request("POST", "/-/reload")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query: `[{"metric": {label: value}, "value": [unix seconds, "value"]}, ...]`.

        Raises:
            StackError: Prometheus refused the expression.
        """
        form = urllib.parse.urlencode({"query": expression})
        result: list[dict[str, Any]] = json.loads(self._request("GET", f"/api/v1/query?{form}"))["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """The loaded rule groups, each with its `rules`: name, query, state, health."""
        groups: list[dict[str, Any]] = json.loads(self._request("GET", "/api/v1/rules"))["data"]["groups"]
        return groups

    def _request(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(ports.HOST, self.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise StackError(f"Prometheus answered {answer.status} to {method} {path}: {body.decode(errors='replace')}")
        return body

    def _write_config(self) -> None:
        jobs: dict[str, list[str]] = {}
        for target in self._targets:
            jobs.setdefault(target.job, []).append(target.address)
        every = f"{self._interval_seconds}s"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(_ROOT / RULES)],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": addresses}], **LIMITS} for job, addresses in jobs.items()],
        }
        (self.directory / "prometheus.yml").write_text(json.dumps(config, indent=2))  # JSON is YAML

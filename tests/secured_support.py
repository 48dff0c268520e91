"""A Kafka and a Redis with TLS, users and permissions, set up with the very lines of the documentation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from deploy.local import certificates, ports
from deploy.local.kafka import Kafka
from deploy.local.kafka import Secured as SecuredKafka
from deploy.local.redis import Redis
from deploy.local.redis import Secured as SecuredRedis
from deploy.local.stack import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.certificates import Certificates

DOCS = Path(__file__).parents[1] / "docs"
# In the place of `change-me` in the documents: no output may have it.
CANARY = "canary-5f1d"
PARTITIONS = 2


class Servers(NamedTuple):
    """Both servers, the certificates they show, and a free port with three more behind it."""

    kafka: Kafka
    redis: Redis
    certificates: Certificates
    metrics_port: int

    def environment(self, user: str, redis_user: str = "cx-publisher", **settings: str) -> dict[str, str]:
        """Variables of a process of the product that is this user of each; `settings` go on top, empty ones are left out."""
        values = {
            "partitions": str(PARTITIONS),
            "metrics_port": str(self.metrics_port),
            "kafka_bootstrap": self.kafka.bootstrap,
            "kafka_security": "SASL_SSL",
            "kafka_username": user,
            "kafka_password": CANARY,
            "kafka_ca_file": str(self.certificates.ca_file),
            "redis_url": self.redis.url.replace("rediss://", f"rediss://{redis_user}@"),
            "redis_password": CANARY,
            "redis_ca_file": str(self.certificates.ca_file),
            **settings,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
        return {**clean, **{f"STREAMER_{name.upper()}": value for name, value in values.items() if value}}

    def run(self, user: str, *arguments: str, redis_user: str = "cx-publisher", **settings: str) -> subprocess.CompletedProcess[str]:
        """A command of the product, as this user of each server."""
        return subprocess.run(
            [sys.executable, "-m", "streamer", *arguments],
            env=self.environment(user, redis_user, **settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


@contextmanager
def secured_servers(directory: Path) -> Iterator[Servers]:
    """Start both, and run the documented commands."""
    files = certificates.make(directory / "certificates")
    users = tuple(line for line in blocks("reference/alerts.md", "acl").splitlines() if line)
    redis = Redis(directory / "redis", cache=STATE, secured=SecuredRedis(files, CANARY, users))
    kafka = Kafka(directory / "kafka", cache=STATE, secured=SecuredKafka(files, CANARY))
    base = next(port for port in iter(ports.pick, None) if all(ports.is_free(port + n) for n in range(1, 4)))
    with ExitStack() as exits:
        for server in (redis, kafka):
            exits.callback(server.kill)
            server.start()
        variables = kafka.write_commands(directory / "commands")
        subprocess.run(["bash", "-euc", blocks("how-to/secure.md", "sh")], env={**os.environ, **variables}, check=True, capture_output=True)
        yield Servers(kafka, redis, files, base)


def blocks(page: str, language: str) -> str:
    """The blocks of a language in a page, with the tests' password."""
    found = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found, page
    return "".join(found).replace("change-me", CANARY)

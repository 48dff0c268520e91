"""Real logs through the whole chain: `ingest` -> Kafka -> `worker` -> deltas, Redis and Prometheus, against the recount and `replay`.

The sums over the deltas are made here from the records' bytes, not by the product's code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.local.prometheus import Target
from tests import chain_support
from tests.acceptance import recount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.prometheus import Prometheus
    from deploy.local.redis import Redis
    from tests.servers import PrometheusFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PARTITIONS: Final = 4
WAIT_SECONDS: Final = 150
# Numbers of the counters in the deltas: the wire format, see docs/reference/metrics.md.
TOUCHPOINTS, CONTACTS, REPEAT_CONTACTS, CASES, CASES_HANDED_OFF, HANDOFFS, CASES_PING_PONG = 1, 20, 21, 40, 41, 42, 43


class Chain:
    """The product's processes and what they left behind."""

    def __init__(self, kafka: Kafka, redis_server: Redis, prometheus: Prometheus, environment: dict[str, str]) -> None:
        self._bootstrap = kafka.bootstrap
        self._redis = redis_server
        self._prometheus = prometheus
        self._environment = environment

    def run(self, *arguments: str) -> str:
        """A command's output."""
        command = [sys.executable, "-m", "streamer", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def worker(self, definitions: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`streamer worker` as long as the block."""
        command = [sys.executable, "-m", "streamer", "worker", "--definitions", definitions]
        with log.open("wb") as errors, subprocess.Popen(command, env=self._environment, stderr=errors) as process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    assert process.wait(60) == 0, log.read_text()[-3000:]
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise

    def lifetime(self, gauge: str) -> float | None:
        """A lifetime gauge over everything, as Prometheus has scraped it; None if it has not."""
        found = self._prometheus.query(f'{gauge}{{slice="all",window="lifetime"}}')
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, gauge: str, expected: float, worker: subprocess.Popen[bytes], log: Path) -> None:
        """Until Prometheus has the gauge at this value."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := self.lifetime(gauge)) != expected:
            assert worker.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{gauge} is {found}, not {expected}: {log.read_text()[-3000:]}"
            time.sleep(1)  # the scrape interval: asking more often cannot show more

    def wait_for_alerts(self, number: int) -> None:
        """Until Redis has this many transitions, or the time is over: then they will be compared."""
        deadline = time.monotonic() + 30
        while len(self.alerts()) < number and time.monotonic() < deadline:
            time.sleep(0.2)

    async def sums(self) -> Counter[int]:
        """Net sum of each counter over all committed deltas."""
        return await chain_support.delta_sums(self._bootstrap, f"{self._environment['STREAMER_TOPIC_PREFIX']}deltas.v1")

    def alerts(self) -> list[dict[str, Any]]:
        """Every transition in the Redis stream."""
        return chain_support.transitions(self._redis.url, self._environment["STREAMER_REDIS_PREFIX"])


@pytest.fixture
def chain(kafka: Kafka, redis_server: Redis, prometheus: PrometheusFactory, unique: str) -> Chain:
    port = chain_support.port_block()
    settings = {
        "APP": unique, "TOPIC_PREFIX": f"{unique}.", "REDIS_PREFIX": f"{unique}:", "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "REDIS_URL": redis_server.url, "PARTITIONS": str(PARTITIONS), "METRICS_PORT": str(port),
    }  # fmt: skip
    environment = {**os.environ, **{f"STREAMER_{name}": value for name, value in settings.items()}}
    scraping = prometheus([Target("streamer", f"127.0.0.1:{port + number}") for number in range(chain_support.PROCESSES)])
    started = Chain(kafka, redis_server, scraping, environment)
    started.run("topics", "create")
    return started


def replayed(chain: Chain, file: Path, name: str) -> list[dict[str, Any]]:
    """The alert transitions of `replay`."""
    definitions = f"mappings/{name}.definitions.toml"
    lines = chain.run("replay", str(file), "--mapping", f"mappings/{name}.toml", "--definitions", definitions, "--alerts", "--json")
    return [json.loads(line) for line in lines.splitlines()[:-1]]


def ingest(chain: Chain, file: Path, name: str) -> dict[str, Any]:
    options = ["--mapping", f"mappings/{name}.toml", "--definitions", f"mappings/{name}.definitions.toml", "--json"]
    answer: dict[str, Any] = json.loads(chain.run("ingest", str(file), *options))
    return answer


def identity(transition: dict[str, Any]) -> tuple[str, str, str, str]:
    return transition["alert_id"], transition["fingerprint"], transition["state"], transition["event_time"]


async def test_incidents_give_the_handoffs_of_the_recount_in_deltas_and_prometheus_and_alerts_in_redis(
    chain: Chain, tmp_path: Path
) -> None:
    path = recount.require(recount.INCIDENTS)
    expected = recount.incident_handoffs(path)
    assert ingest(chain, path, "bpic2013")["events"] == 65_533
    log = tmp_path / "worker.log"
    with chain.worker("mappings/bpic2013.definitions.toml", log) as worker:
        chain.wait_for("cx_touchpoints", 65_533, worker, log)
        chain.wait_for("cx_handoffs", expected.handoffs, worker, log)
        assert chain.lifetime("cx_cases") == 7_554
        assert chain.lifetime("cx_handoff_ratio") == pytest.approx(expected.cases / 7_554, abs=1e-12)
        assert chain.lifetime("cx_ping_pong_ratio") == pytest.approx(expected.ping_pong / 7_554, abs=1e-12)
        assert chain.lifetime("cx_handoff_ratio_sample_size") == 7_554
        told = replayed(chain, path, "bpic2013")
        chain.wait_for_alerts(len(told))
    sums = await chain.sums()
    assert [sums[counter] for counter in (TOUCHPOINTS, CASES)] == [65_533, 7_554]
    assert [sums[counter] for counter in (HANDOFFS, CASES_HANDED_OFF, CASES_PING_PONG)] == list(expected[:3])
    alerts = chain.alerts()
    assert sum(alert["state"] == "firing" for alert in alerts) == expected.bounced_twice
    assert Counter(map(identity, alerts)) == Counter(map(identity, told))


async def test_tickets_give_the_repeated_contacts_of_the_recount_in_deltas_and_prometheus_and_alerts_in_redis(
    chain: Chain, tmp_path: Path
) -> None:
    path = recount.require(recount.HELPDESK)
    expected = recount.helpdesk_contacts(path)
    ingest(chain, path, "helpdesk")
    log = tmp_path / "worker.log"
    with chain.worker("mappings/helpdesk.definitions.toml", log) as worker:
        chain.wait_for("cx_contacts", expected.contacts, worker, log)
        chain.wait_for("cx_repeat_contact_ratio_sample_size", expected.contacts, worker, log)
        assert chain.lifetime("cx_repeat_contact_ratio") == pytest.approx(expected.repeated / expected.contacts, abs=1e-12)
        told = replayed(chain, path, "helpdesk")
        chain.wait_for_alerts(len(told))
    sums = await chain.sums()
    assert [sums[counter] for counter in (CONTACTS, REPEAT_CONTACTS)] == list(expected)
    alerts = chain.alerts()
    assert len(alerts) > 0
    assert Counter(map(identity, alerts)) == Counter(map(identity, told))

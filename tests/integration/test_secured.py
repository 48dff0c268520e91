"""TLS, users and permissions on the real servers: what the documents grant is enough, and whatever is wrong is refused."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from deploy.local import certificates
from streamer.definitions import default_text
from tests.secured_support import CANARY, Servers, secured_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def servers(servers_directory: Path) -> Iterator[Servers]:
    with secured_servers(servers_directory / "secured") as found:
        created = found.run("cx-operator", "topics", "create", "--json")
        assert created.returncode == 0, created.stderr
        yield found


def refused(result: subprocess.CompletedProcess[str], code: int, sentence: str) -> None:
    """It ended with this code and one line, and said nothing secret."""
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    (line,) = result.stderr.splitlines()
    assert sentence in line
    assert "Traceback" not in said
    assert CANARY not in said


# -- what is refused: (settings, exit code, part of the sentence)

NO_TLS = {"kafka_ca_file": "", "kafka_username": "", "kafka_password": ""}
KAFKA_REFUSALS: dict[str, tuple[dict[str, str], int, str]] = {
    "wrong password": ({"kafka_password": f"{CANARY}-wrong"}, 9, "rejects the user or the password: check kafka_username"),
    "unknown user": ({"kafka_username": "cx-nobody"}, 9, "rejects the user or the password: check kafka_username"),
    "unknown CA": ({"kafka_ca_file": "{stranger}"}, 9, "shows a certificate that is not accepted (unable to get local issuer"),
    "wrong name": ({"kafka_bootstrap": "localhost:{kafka_port}"}, 9, "(Hostname mismatch, certificate is not valid for 'localhost')"),
    "plain towards TLS": ({**NO_TLS, "kafka_security": "PLAINTEXT"}, 9, "speaks TLS: set kafka_security to SSL or SASL_SSL"),
    "no user": (
        {"kafka_security": "SSL", "kafka_username": "", "kafka_password": ""},
        9,
        "wants a user and a password: set kafka_security to SASL_SSL",
    ),
    "TLS towards plain": ({"kafka_bootstrap": "{plain_kafka}"}, 9, "does not speak TLS: connect to the port that does"),
    "password in the clear": (
        {"kafka_security": "SASL_PLAINTEXT", "kafka_ca_file": ""},
        2,
        "SASL_PLAINTEXT sends the password in the clear: use SASL_SSL, or set allow_insecure",
    ),
    "password in the clear though allowed": (
        {"kafka_security": "SASL_PLAINTEXT", "kafka_ca_file": "", "allow_insecure": "true"},
        9,
        "speaks TLS: set kafka_security to SSL or SASL_SSL",
    ),
    "no password": ({"kafka_password": ""}, 2, "SASL_SSL needs kafka_username and kafka_password"),
    "missing file": ({"kafka_ca_file": "/nonexistent/ca.pem"}, 2, "kafka_ca_file names /nonexistent/ca.pem, which is not there"),
    "unreadable file": ({"kafka_ca_file": "/"}, 2, "kafka_ca_file names /, which cannot be read"),
    "no certificate": ({"kafka_ca_file": __file__}, 2, "which holds no certificate in PEM"),
}
REDIS_REFUSALS: dict[str, tuple[dict[str, str], int, str]] = {
    "wrong password": ({"redis_password": f"{CANARY}-wrong"}, 7, "rejects the user or the password: check redis_url and redis_password"),
    "no password": ({"redis_password": ""}, 7, "rejects the user or the password: check redis_url and redis_password"),
    "unknown CA": (
        {"redis_ca_file": "{stranger}"},
        7,
        "shows a certificate that is not accepted (self-signed certificate in certificate chain)",
    ),
    "wrong name": ({"redis_url": "rediss://cx-publisher@localhost:{redis_port}/0"}, 7, "certificate is not valid for 'localhost'"),
    "plain towards TLS": (
        {"redis_url": "redis://cx-publisher@127.0.0.1:{redis_port}/0", "redis_ca_file": ""},
        7,
        "speaks TLS: use rediss:// in redis_url",
    ),
    "TLS towards plain": ({"redis_url": "rediss://cx-publisher@{plain_redis}/0"}, 7, "does not speak TLS: connect to the port that does"),
    "missing file": ({"redis_ca_file": "/nonexistent/ca.pem"}, 2, "redis_ca_file names /nonexistent/ca.pem, which is not there"),
    "no permission": ({"redis_url": "rediss://cx-reader@127.0.0.1:{redis_port}/0"}, 7, "denies the user a command or key"),
}


@pytest.fixture(scope="module")
def places(servers: Servers, kafka: Kafka, redis_server: Redis, servers_directory: Path) -> dict[str, str]:
    """What the placeholders of the tables above stand for."""
    return {
        "stranger": str(certificates.make(servers_directory / "stranger").ca_file),
        "kafka_port": str(servers.kafka.port),
        "redis_port": str(servers.redis.port),
        "plain_kafka": kafka.bootstrap,
        "plain_redis": redis_server.address,
    }


def filled(settings: dict[str, str], places: dict[str, str]) -> dict[str, str]:
    return {name: value.format(**places) for name, value in settings.items()}


@pytest.mark.parametrize("case", KAFKA_REFUSALS)
def test_a_worker_that_kafka_or_its_settings_refuse_says_why_and_ends(servers: Servers, places: dict[str, str], case: str) -> None:
    settings, code, sentence = KAFKA_REFUSALS[case]
    refused(servers.run("cx-worker", "worker", **filled(settings, places)), code, sentence)


@pytest.mark.parametrize("case", ["wrong password", "unknown CA", "plain towards TLS"])
@pytest.mark.parametrize(
    "command",
    [
        "topics check",
        "dead-letters list",
        "state get c1",
        "state reset rollup",
        "alerts rebuild",
        "simulate --customers 5 --hours 0.1",
    ],
)
def test_every_command_says_why_kafka_refuses_it(servers: Servers, places: dict[str, str], command: str, case: str) -> None:
    settings, code, sentence = KAFKA_REFUSALS[case]
    refused(servers.run("cx-operator", *command.split(), **filled(settings, places)), code, sentence)


@pytest.mark.parametrize("case", REDIS_REFUSALS)
def test_what_redis_or_its_settings_refuse_is_one_sentence(servers: Servers, places: dict[str, str], case: str) -> None:
    settings, code, sentence = REDIS_REFUSALS[case]
    refused(servers.run("cx-worker", "alerts", "rebuild", **filled(settings, places)), code, sentence)


@pytest.mark.parametrize("case", ["wrong password", "unknown CA", "plain towards TLS", "missing file"])
def test_the_publisher_ends_when_redis_refuses_for_good(servers: Servers, places: dict[str, str], case: str) -> None:
    settings, code, sentence = REDIS_REFUSALS[case]
    result = servers.run("cx-worker", "worker", "--role", "publisher", **filled(settings, places))
    assert result.returncode == code, result.stderr
    assert sentence in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert CANARY not in result.stderr


# -- what is granted


class Worker:
    """`streamer worker` as the documented users."""

    def __init__(self, servers: Servers, log: Path, user: str = "cx-worker", *arguments: str) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamer", "worker", *arguments], env=servers.environment(user), stderr=stderr
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Wait for a condition while the worker lives."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; its log: {self.log[-3000:]}"
            time.sleep(0.2)


@pytest.fixture
def start(servers: Servers, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers that are gone after the test."""
    workers: list[Worker] = []

    def started(*arguments: str, user: str = "cx-worker") -> Worker:
        workers.append(Worker(servers, tmp_path / f"log-{len(workers)}", user, *arguments))
        return workers[-1]

    yield started
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
            worker.process.wait(timeout=60)


def client(servers: Servers, user: str) -> dict[str, Any]:
    """How an aiokafka client is this user."""
    return {
        "bootstrap_servers": servers.kafka.bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=servers.certificates.ca_file),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": CANARY,
    }


async def produce(servers: Servers) -> None:
    """As a producer's own program: three contacts of one issue on three channels, which the default rule tells; and nonsense."""
    begin = time.time() - 3
    async with AIOKafkaProducer(**client(servers, "cx-producer")) as producer:
        for n, channel in enumerate(("web", "phone", "chat")):
            event = {
                "id": f"e{n}", "source": "test", "type": "contact.started", "time": datetime.fromtimestamp(begin + n, UTC).isoformat(),
                "customer_id": "c1", "channel": channel, "reason": "bill", "contact_id": f"k{n}", "issue_id": "i1",
            }  # fmt: skip
            await producer.send_and_wait("cx.touchpoints.v1", json.dumps(event).encode(), key=b"c1")
        await producer.send_and_wait("cx.touchpoints.v1", b"{nonsense", key=b"c1")


def rules_file(directory: Path) -> Path:
    """The default definitions as a file."""
    (directory / "rules.toml").write_text(default_text())
    return directory / "rules.toml"


async def test_a_producer_may_write_and_nothing_else(servers: Servers) -> None:
    async with AIOKafkaProducer(**client(servers, "cx-producer")) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait("cx.alerts.v1", b"x", partition=0)
    async with AIOKafkaConsumer(**client(servers, "cx-producer"), group_id="cx-producer", enable_auto_commit=False) as consumer:
        consumer.subscribe(["cx.touchpoints.v1"])
        with pytest.raises(Exception, match="Authorization"):
            await asyncio.wait_for(consumer.getone(), 30)


def test_with_the_documented_permissions_the_whole_worker_and_every_command_work(
    servers: Servers, start: Callable[..., Worker], tmp_path: Path
) -> None:
    def output(user: str, *arguments: str, redis_user: str = "cx-publisher", **settings: str) -> str:
        result = servers.run(user, *arguments, redis_user=redis_user, **settings)
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        assert CANARY not in result.stdout + result.stderr
        return result.stdout

    history = tmp_path / "history.jsonl"
    output("cx-history", "simulate", "--customers", "20", "--hours", "0.2", "--start", "2026-11-01T00:00:00Z", "--out", str(history))
    output("cx-history", "ingest", str(history), "--json")
    assert "all 10 topics are as they should be" in output("cx-operator", "topics", "check")

    worker = start()
    worker.until(lambda: servers.run("cx-worker", "healthcheck", "--ready").returncode == 0, "it is ready")
    asyncio.run(produce(servers))

    def told() -> bool:
        alerts = output("cx-reader", "alerts", "active", "--json", redis_user="cx-reader")
        return any(json.loads(line)["entity"]["canonical_id"] == "c1" for line in alerts.splitlines())

    worker.until(told, "the alert is in Redis")
    output("cx-history", "simulate", "--customers", "20", "--live", "--hours", "0", "--seconds", "2", "--json")
    assert json.loads(output("cx-redrive", "dead-letters", "list", "--json").splitlines()[0])
    output("cx-redrive", "dead-letters", "redrive")
    assert json.loads(output("cx-operator", "state", "get", "c1", "--json"))["customer"] == "c1"
    assert json.loads(output("cx-operator", "alerts", "rebuild", "--json"))["restored"] >= 1
    told_of = json.loads(output("cx-reader", "alerts", "tail", "--json", redis_user="cx-reader").splitlines()[0])
    output("cx-reader", "alerts", "ack", told_of["alert_id"], "--by", "ann", "--outcome", "saved", redis_user="cx-agent")
    assert json.loads(output("cx-reader", "alerts", "outcomes", "--json", redis_user="cx-agent").splitlines()[0])["precision"] == 1
    assert output("cx-reader", "alerts", "dead", redis_user="cx-operator") == ""
    findings = output("cx-operator", "doctor")
    assert "failed" not in findings, findings

    worker.process.terminate()
    assert worker.process.wait(timeout=60) == 0, worker.log
    assert "Traceback" not in worker.log
    assert CANARY not in worker.log
    verified = servers.run("cx-auditor", "verify", "--topic", "--json")
    assert verified.returncode in (0, 1), "1: so few customers have more sessions than are kept, and what was cut counts otherwise"
    assert json.loads(verified.stdout)["log"]["records"] > 4
    backtest = json.loads(output("cx-auditor", "backtest", str(rules_file(tmp_path)), "--topic", "--json"))
    assert any(firing["rule"] == told_of["rule"]["id"] for firing in backtest["firings"])
    assert json.loads(output("cx-auditor", "explain", told_of["alert_id"], "--topic", "--json"))["kind"] == "alert"
    grown = {"app": "cx2", "topic_prefix": "cx2.", "partitions": "3"}
    output("admin", "topics", "create", **grown)
    assert json.loads(output("admin", "topics", "refill", "--from-prefix", "cx.", "--json", **grown))["records"] > 4
    output("cx-operator", "state", "reset", "journeys")
    assert json.loads(output("cx-operator", "state", "reset", "journeys", "--from-start", "--json"))["rows_dropped"] > 0


def test_a_worker_that_may_not_do_its_work_says_what_it_lacks_and_ends(servers: Servers, start: Callable[..., Worker]) -> None:
    # The operator's user sees every topic, so that the start is not refused, and may not write deltas.
    worker = start("--role", "journeys", user="cx-operator")
    assert worker.process.wait(timeout=90) == 9, worker.log
    last = json.loads(worker.log.splitlines()[-1])
    assert "Kafka denies the user an operation (" in last["message"]
    assert "docs/how-to/secure.md" in last["message"]
    assert "Traceback" not in worker.log


def test_topics_a_user_may_not_see_are_told_from_missing_ones(servers: Servers) -> None:
    refused(servers.run("cx-redrive", "worker"), 3, "does not exist (or kafka_username may not see it)")


def test_secrets_come_from_files_too_and_are_shown_masked(servers: Servers, tmp_path: Path) -> None:
    for name in ("kafka_password", "redis_password"):
        (tmp_path / f"streamer_{name}").write_text(f"{CANARY}\n")
    environment = servers.environment("cx-worker", kafka_password="", redis_password="", redis_url="")
    environment |= {"STREAMER_SECRETS_DIR": str(tmp_path), "STREAMER_REDIS_URL": f"rediss://cx-publisher@{servers.redis.address}/0"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "streamer", *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert CANARY not in result.stdout + result.stderr
        return result.stdout

    shown = json.loads(run("config", "show", "--json"))["settings"]
    assert shown["kafka_password"] == {"value": "**********", "origin": "secret"}
    assert shown["redis_password"] == {"value": "**********", "origin": "secret"}
    run("topics", "check")
    run("alerts", "active")

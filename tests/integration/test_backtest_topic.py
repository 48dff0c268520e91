"""`streamer backtest --topic`: of what a worker has folded it tells, with the journal, what the worker told, record for record."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner

from streamer import cli, definitions
from streamer.engine import topic_admin
from streamer.settings import Settings
from streamer.touchpoints.times import milliseconds
from tests import chain_support
from tests.integration.test_chain_takeover import committed, run
from tests.integration.test_worker_shell import Worker, working

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PARTITIONS: Final = 4
ROLLUP_PARTITIONS: Final = 2
# Out of order, some of it twice, some late, some broken; and so much that deadlines fall due while the worker goes on by the idle clock.
SIMULATION: Final = ("--hours", "0.5", "--rate", "3", "--customers", "300", "--seed", "11", "--poison")
RULES: Final = """
[[journey]]
id = "visit"
start = ["page.viewed", "product.viewed"]
complete = ["order.placed"]
deadline = "10s"
recoverable_for = "2m"

[[rule]]
id = "left"
on = "journey"
when = "journey == 'visit' and abandoned"

[[rule]]
id = "contacted"
on = "issue"
when = "contacts >= 1"

[[rule]]
id = "many-left"
metric = "journeys_abandoned"
by = ["journey", "platform"]
windows = ["5m"]
when = "value >= 5"
for = "10s"
"""


@pytest.fixture
def config(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "rules.toml").write_text(definitions.default_text() + RULES)
    monkeypatch.setenv("STREAMER_DEFINITIONS", str(tmp_path / "rules.toml"))
    monkeypatch.setenv("STREAMER_ROLLUP_PARTITIONS", str(ROLLUP_PARTITIONS))
    found = Settings(
        app=unique, topic_prefix=f"{unique}.", redis_prefix=f"{unique}:", partitions=PARTITIONS, metrics_port=chain_support.port_block(),
        kafka_bootstrap=kafka.bootstrap, redis_url=redis_server.url,
    )  # fmt: skip
    for name in ("app", "topic_prefix", "partitions", "kafka_bootstrap"):
        monkeypatch.setenv(f"STREAMER_{name.upper()}", str(getattr(found, name)))
    return found


def command(*arguments: str) -> str:
    """What a command prints, in this process: starting one costs more than the command."""
    result = CliRunner().invoke(cli.application(arguments[0]), arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


async def alerts_in(config: Settings) -> list[dict[str, Any]]:
    """Everything in both alert topics."""
    places = [TopicPartition(config.topic("alerts"), partition) for partition in range(PARTITIONS)]
    places += [TopicPartition(config.topic("aggregate-alerts"), partition) for partition in range(ROLLUP_PARTITIONS)]
    found = []
    async with AIOKafkaConsumer(bootstrap_servers=config.kafka_bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        for place, end in (await consumer.end_offsets(places)).items():
            while await consumer.position(place) < end:
                found += [json.loads(record.value) for record in (await consumer.getmany(place, timeout_ms=200)).get(place, [])]
    return found


def rollup_clock(worker: Worker) -> float:
    """The least clock of the rollup's partitions; 0 before all are there."""
    text = worker.get(2, "/metrics")[1]
    clocks = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("cx_rollup_clock_timestamp_seconds{")]
    return min(clocks) if len(clocks) == ROLLUP_PARTITIONS else 0.0


def by_id(alerts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {alert["alert_id"]: alert for alert in alerts}
    assert len(found) == len(alerts)
    return found


def test_the_backtest_of_what_a_worker_has_folded_is_what_it_told_and_explain_says_why(config: Settings, tmp_path: Path) -> None:
    asyncio.run(topic_admin.create(config))
    sent = json.loads(run(config, "simulate", *SIMULATION, "--json"))
    with working(config, tmp_path) as worker:
        worker.until_ready()
        worker.until(lambda: sum(asyncio.run(committed(config))) >= sent["events"], seconds=120)
        past_end_s = milliseconds(sent["past_end"]) / 1000
        worker.until(lambda: rollup_clock(worker) > past_end_s + 12)
        until_s = int(time.time())
        worker.until(lambda: rollup_clock(worker) > until_s)
        worker.process.terminate()
        assert worker.process.wait(60) == 0
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until_s))
    told = command("backtest", str(tmp_path / "rules.toml"), "--topic", "--to", until, "--alerts", "--json")
    *lines, report = [json.loads(line) for line in told.splitlines()]
    live = by_id([alert for alert in asyncio.run(alerts_in(config)) if milliseconds(alert["event_time"]) < until_s * 1000])
    assert by_id(lines) == live
    assert {alert["rule"]["id"] for alert in live.values()} >= {"left", "contacted", "many-left"}
    assert {alert["state"] for alert in live.values()} == {"firing", "amended", "resolved", "retracted"}
    by_idle_clock = [one for one in live.values() if "entity" in one and milliseconds(one["event_time"]) > past_end_s * 1000 + 1_000]
    assert len(by_idle_clock) >= 3
    assert report["log"]["records"] >= sent["events"]
    assert report["log"]["notes"] == []
    explains_a_person_and_a_series(list(live.values()))


def explains_a_person_and_a_series(live: list[dict[str, Any]]) -> None:
    """The last firings of both kinds, looked up in the alert topics and explained from the source and the journal."""
    person = next(alert for alert in reversed(live) if alert["rule"]["id"] == "contacted" and alert["state"] == "amended")
    found = json.loads(command("explain", person["alert_id"], "--topic", "--json"))
    assert (found["kind"], found["customer"], found["alert"]) == ("alert", person["entity"]["canonical_id"], person)
    statuses = {rule["rule"]: rule["status"] for rule in found["rules"]}
    assert (statuses.pop("contacted"), set(statuses.values())) == ("firing", {"not firing"})
    assert "channel-switching" in statuses
    [condition] = found["rules"][0]["conditions"]
    assert condition["value"] == person["metric"]["signals"]["contacts"]
    offsets = {row["offset"]: row["event_id"] for row in found["timeline"] if row["kind"] == "event"}
    assert {event["offset"]: event["event_id"] for event in person["evidence"]}.items() <= offsets.items()
    assert person["alert_id"] in [row.get("alert_id") for row in found["timeline"]]
    series = next(alert for alert in reversed(live) if alert["rule"]["id"] == "many-left" and alert["state"] == "firing")
    found = json.loads(command("explain", series["episode_id"], "--topic", "--json"))
    [one] = found["series"]
    assert (one["series"], one["status"], one["windows"][0]["k"]) == (series["slice"], "firing", series["metric"]["k"])
    assert series["alert_id"] in [row["alert_id"] for row in found["told"]]

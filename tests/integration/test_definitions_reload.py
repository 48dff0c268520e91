"""An edited definitions file comes into force while the worker runs; one that cannot be used changes nothing and is told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streamer.engine import topic_admin
from streamer.topics import journal_name
from tests import chain_support
from tests.integration.test_worker_shell import Worker, settings, working

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.settings import Settings

__all__ = ["settings"]  # a fixture
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

BASE = """
revision = 1
windows = ["1h"]
"""
RULES = """
[[rule]]
id = "two-contacts"
on = "customer"
when = "contacts >= 2"
[[rule]]
id = "many-contacts"
metric = "contacts"
windows = ["1h"]
when = "value >= 4"
[[rule]]
id = "busy-account"
on = "account"
metric = "contacts"
windows = ["1h"]
when = "value >= 2"
"""


def revised(revision: int, rest: str = "") -> str:
    return BASE.replace("revision = 1", f"revision = {revision}") + rest


def in_force(worker: Worker) -> dict[str, dict[str, Any]]:
    """Partition of a role -> what it is folded with."""
    found = {}
    for number, role in ((1, "journeys"), (2, "rollup")):
        status, text = worker.get(number, "/definitions")
        for partition, one in (json.loads(text)["partitions"] if status == 200 else {}).items():
            found[f"{role}-{partition}"] = one
    return found


def runs(worker: Worker, revision: int) -> bool:
    """Whether all three partitions have the revision, and fold."""
    found = in_force(worker)
    return len(found) == 3 and {one["revision"] for one in found.values()} == {revision} and worker.get(1, "/readyz")[0] == 200


def refused(worker: Worker) -> bool:
    return [worker.value(number, "streamer_definitions_reload_failed") for number in (1, 2)] == [1, 1]


def accepted(worker: Worker) -> bool:
    return [worker.value(number, "streamer_definitions_reload_failed") for number in (1, 2)] == [0, 0]


async def contact(settings: Settings, number: int, customer: str) -> None:
    """One contact of a customer."""
    event = {"id": f"e{number}", "source": "test", "type": "contact.started", "customer_id": customer, "channel": "web", "issue_id": "i"}
    event["account_id"] = "acme"
    event["time"] = datetime.fromtimestamp(time.time(), UTC).isoformat()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(settings.topic("touchpoints"), json.dumps(event).encode(), key=customer.encode())
    finally:
        await producer.stop()


async def journalled(settings: Settings, machine: str) -> list[tuple[int, dict[str, Any]]]:
    """(partition, entry) of every change of definitions in a machine's journal, committed ones only."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        topic = journal_name(settings.app, machine)
        places = [TopicPartition(topic, partition) for partition in range(settings.partitions if machine == "journeys" else 1)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        found = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, batch in (await consumer.getmany(timeout_ms=100)).items():
                found += [(place.partition, json.loads(record.value)) for record in batch]
        return [(partition, entry) for partition, entry in found if "revision" in entry]
    finally:
        await consumer.stop()


def status(settings: Settings, file: Path, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "STREAMER_METRICS_PORT": str(settings.metrics_port)}
    command = [sys.executable, "-m", "streamer", "rules", "status", "--definitions", str(file), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def fired(settings: Settings) -> list[tuple[str, str]]:
    return [(one["rule"]["id"], one["state"]) for one in chain_support.transitions(settings.redis_url, settings.redis_prefix)]


def broken_files_keep_the_last_good(worker: Worker, file: Path) -> None:
    # Broken, in place: the old ones stay, and metric, log and command say so.
    file.write_text(revised(2, RULES.replace("contacts >=", "contact >=")))
    worker.until(lambda: refused(worker))
    code, said = status(worker.settings, file)
    assert code == 1
    assert 'unknown name "contact" in "contact >= 2": did you mean "contacts"?' in said
    assert "journeys: revision 1 (" in said
    # A role that dies meanwhile is started again with the last good ones.
    worker.children()["journeys"].kill()
    worker.until(lambda: worker.value(0, "streamer_child_restarts_total", role="journeys") == 1)
    worker.until(lambda: runs(worker, 1) and refused(worker))
    # Other content under the same revision is refused, too; and the same as before is all right again.
    file.write_text(revised(1, RULES))
    worker.until(lambda: "revision 1 is in force: raise `revision` above 1" in worker.get(1, "/definitions")[1])
    assert refused(worker)
    file.write_text(revised(1))
    worker.until(lambda: accepted(worker))
    assert runs(worker, 1)


def test_an_edited_file_comes_into_force_from_a_known_offset_and_an_invalid_one_keeps_the_last_good(
    settings: Settings, tmp_path: Path
) -> None:
    asyncio.run(topic_admin.create(settings))
    folder = tmp_path / "first"
    folder.mkdir()
    file, link = tmp_path / "definitions.toml", folder / "definitions.toml"
    link.write_text(revised(1))
    file.symlink_to(link)
    with working(settings, tmp_path, "--definitions", str(file)) as worker:
        worker.until_ready()
        worker.until(lambda: runs(worker, 1))
        asyncio.run(contact(settings, 1, "c1"))
        worker.until(lambda: worker.value(2, "cx_contacts", window="lifetime", slice="all") == 1)

        broken_files_keep_the_last_good(worker, link)
        children = {role: child.pid for role, child in worker.children().items()}

        # Right, by a rename as editors do.
        (folder / "new").write_text(revised(2, RULES))
        (folder / "new").replace(link)
        worker.until(lambda: runs(worker, 2))
        before = in_force(worker)
        asyncio.run(contact(settings, 2, "c1"))
        worker.until(lambda: ("two-contacts", "firing") in fired(settings))
        asyncio.run(contact(settings, 3, "c2"))
        asyncio.run(contact(settings, 4, "c2"))
        worker.until(lambda: ("many-contacts", "firing") in fired(settings))
        # What was counted before the rule was there is of no account.
        told = chain_support.transitions(settings.redis_url, settings.redis_prefix)
        account = next(one for one in told if one["rule"]["id"] == "busy-account")
        assert account["entity"] == {"account_id": "acme"}
        assert [event["event_id"] for event in account["evidence"]] == ["e2", "e3", "e4"][: int(account["metric"]["value"])]
        assert worker.value(2, "cx_contacts", window="lifetime", slice="all") == 4  # nothing lost, nothing twice

        # From a known offset, which journal and status know.
        alert = chain_support.transitions(settings.redis_url, settings.redis_prefix)[0]
        first_contact = alert["evidence"][0]
        assert before[f"journeys-{first_contact['partition']}"]["after"] == first_contact["offset"] == 0
        for machine, partitions in (("journeys", 2), ("rollup", 1)):
            entries = dict(asyncio.run(journalled(settings, machine)))
            assert {p: e["after"] for p, e in entries.items()} == {p: before[f"{machine}-{p}"]["after"] for p in range(partitions)}
            assert {(e["revision"], e["digest"]) for e in entries.values()} == {(2, before["rollup-0"]["digest"])}
        code, said = status(settings, file, "--json")
        assert (code, json.loads(said)["ok"]) == (0, True)
        assert json.loads(said)["roles"]["rollup"]["partitions"]["0"] == before["rollup-0"]

        # Without the rules, by a link set anew as Kubernetes does: what fires of a removed rule ends.
        second = tmp_path / "second"
        second.mkdir()
        (second / "definitions.toml").write_text(revised(3))
        (tmp_path / "swapped").symlink_to(second / "definitions.toml")
        (tmp_path / "swapped").replace(file)
        worker.until(lambda: runs(worker, 3))
        asyncio.run(contact(settings, 5, "c1"))
        worker.until(lambda: {("two-contacts", "resolved"), ("busy-account", "resolved")} <= set(fired(settings)))
        worker.until(lambda: worker.value(2, "cx_contacts", window="lifetime", slice="all") == 5)

        assert {role: child.pid for role, child in worker.children().items()} == children, "it was the same processes all the time"
        assert worker.value(1, "streamer_config_reloads_total", outcome="rejected") == 2
        assert [entry for entry in worker.log if entry["level"] == "error" and not str(entry["action"]).startswith("aiokafka.")] == []

"""What `streamer doctor` looks at: is everything there that a worker needs, and if not, what to do."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from aiokafka.errors import GroupCoordinatorNotAvailableError
from redis.exceptions import RedisError

from streamer.alerts.connection import connect_as, diagnose
from streamer.engine import topic_admin
from streamer.engine.endpoint import tls_context
from streamer.errors import SettingsError, StreamerError
from streamer.metrics.families import ROLES, SUPERVISOR
from streamer.settings import without_effect

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

    from streamer.settings import Settings

# Streams, XAUTOCLAIM and functions as the publisher uses them.
REDIS_MAJOR_LEAST: Final = 7


class Finding(NamedTuple):
    """One thing looked at. `fix` says what to do unless `status` is ok."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


def together(settings: Settings) -> list[Finding]:
    """The settings: names that are none, and an endpoint that no worker would open."""
    findings = [Finding("settings", "warning", f"{name} is no setting", "correct or remove it") for name in without_effect()]
    try:
        tls_context(settings)
    except SettingsError as exc:
        findings.append(_failed("settings", exc))
    return findings or [Finding("settings", "ok", "hold together")]


async def kafka(settings: Settings) -> list[Finding]:
    """Brokers, topics and how partitions divide among the workers that run now."""
    try:
        async with topic_admin.connected(settings) as admin:
            brokers = len((await admin.describe_cluster())["brokers"])
            wanted = topic_admin.specs(settings)
            found = await topic_admin.observe(admin, [spec.name for spec in wanted])
            members = {machine: await _members(admin, f"{settings.app}-{machine}") for machine in topic_admin.MACHINES}
    except StreamerError as exc:
        return [_failed("kafka", exc)]
    findings = [Finding("kafka", "ok", f"{brokers} broker{'s' if brokers > 1 else ''} at {settings.kafka_bootstrap}")]
    differences = topic_admin.deviations(wanted, found, accept_create_time=settings.accept_create_time)
    for deviation in differences:
        status: Literal["failed", "warning"] = "failed" if deviation.fatal else "warning"
        findings.append(Finding("topics", status, f"{deviation.topic} {deviation.what}", deviation.fix))
    if not differences:
        findings.append(Finding("topics", "ok", f"all {len(wanted)} are as they should be"))
    partitions = {"journeys": settings.partitions, "rollup": settings.rollup_partitions}
    findings.extend(share(machine, partitions[machine], workers) for machine, workers in members.items())
    return findings


def share(machine: str, partitions: int, workers: int) -> Finding:
    """How evenly the partitions divide; Faust gives a worker up to ceil(partitions / workers), so some may idle."""
    most = -(-partitions // workers) if workers else 0
    busy = -(-partitions // most) if most else 0
    what = f"{machine}: {partitions} partition{'s' if partitions > 1 else ''}, {workers} worker{'s' if workers != 1 else ''} running"
    if workers > busy and machine != "rollup":  # standbys of the rollup are meant to wait
        fix = f"run a number of workers that divides {partitions}, or keep the idle ones as standbys"
        return Finding("workers", "warning", f"{what}, {workers - busy} of them idle", fix)
    if workers and partitions % workers and machine != "rollup":
        return Finding("workers", "warning", f"{what}, unevenly loaded", f"run a number of workers that divides {partitions}")
    return Finding("workers", "ok", what)


def _failed(name: str, problem: StreamerError) -> Finding:
    """A sentence says behind its last colon what to do; of what passes by itself there is nothing to be done."""
    sentence, colon, fix = str(problem).rpartition(": ")
    if colon:
        return Finding(name, "failed", sentence, fix)
    return Finding(name, "failed", fix, "correct the setting" if isinstance(problem, SettingsError) else "look again in a while")


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    try:
        responses = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:  # a broker that never had a group
        return 0
    members = [len(described["members"]) for response in responses for described in response.to_object()["groups"]]
    return sum(members)


async def redis(settings: Settings) -> Finding:
    """Redis answers and is new enough."""
    # Without the options: one may be the password of a key.
    where = settings.redis_url.partition("?")[0].rpartition("@")[2].removeprefix("redis://").removeprefix("rediss://")
    try:
        client = connect_as(settings)
    except StreamerError as exc:
        return Finding("redis", "failed", str(exc), "set redis_url")
    try:
        # Not INFO: every user may say HELLO, and the publisher's may not do more than it needs.
        words = await client.execute_command("HELLO")  # type: ignore[no-untyped-call]
        version = dict(zip(words[::2], words[1::2], strict=False))[b"version"].decode()
    except (RedisError, OSError) as exc:
        return _failed("redis", await diagnose(exc, client))
    finally:
        await client.aclose()
    if int(version.split(".", 1)[0]) < REDIS_MAJOR_LEAST:
        return Finding("redis", "failed", f"version {version} at {where}", f"install {REDIS_MAJOR_LEAST}.0 or newer")
    return Finding("redis", "ok", f"version {version} at {where}")


def ports(settings: Settings) -> list[Finding]:
    """Each port of the endpoints is free, or one of our own processes has it."""
    if settings.metrics_port == 0:
        return [Finding("ports", "ok", "any free ones")]
    return [_port(settings, role) for role in (SUPERVISOR, *ROLES)]


def _port(settings: Settings, role: str) -> Finding:
    port = settings.metrics_port_of(role)
    place = f"{settings.metrics_host}:{port} for the {role}"
    try:
        with socket.create_server((settings.metrics_host, port)):
            return Finding("ports", "ok", f"{place} is free")
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            return Finding("ports", "failed", f"{place}: {exc.strerror}", "set metrics_host to an address of this machine")
    if _is_ours(settings.metrics_host, port):
        return Finding("ports", "ok", f"{place} is a running worker's")
    return Finding("ports", "failed", f"{place} is taken by another program", "end it or set metrics_port")


def _is_ours(host: str, port: int) -> bool:
    """Whether our endpoint answers there. With mTLS a stranger is not answered, then it counts as another program's."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b"Server: streamer" in connection.recv(4096)
    except OSError:
        return False

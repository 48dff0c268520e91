"""The topics of the product: what shape each must have, creating them, and saying where a cluster deviates.

State is bound to hash(key) mod partitions, so a changed partition count cannot be read on and is refused; so are a source
without LogAppendTime (arrival must be the broker's) and a wrong cleanup policy (it loses state or keeps the log for ever).
Other deviations are reported and left to the operator.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from streamer import topics
from streamer.engine.kafka import client_options, kafka_errors
from streamer.errors import TopicsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from streamer.settings import Settings

MACHINES: Final = {"journeys": topics.TOUCHPOINTS, "rollup": topics.DELTAS}

SOURCE_BYTES_MAX: Final = 4 << 20
# A hundred retained events with all they may have, and the state of a customer with as many issues, cases and journeys as the limits let
# him have, came to 4.2 MiB.
ROW_BYTES_MAX: Final = 16 << 20
# A dead letter is the original record with reason and origin added.
DEAD_LETTER_BYTES_MAX: Final = SOURCE_BYTES_MAX + (1 << 20)
ALERT_RETENTION_MS: Final = 30 * 86_400_000
# Small segments and an eager cleaner: what a restore reads is near the live state (the defaults keep up to 1 GiB of the dead).
CHANGELOG: Final = {"segment.bytes": str(64 << 20), "min.cleanable.dirty.ratio": "0.1"}

REQUEST_SECONDS: Final = 10.0
CONTROLLER_POLL_SECONDS: Final = 0.1
LEADERS_SECONDS: Final = 15.0
MISSING: Final = "does not exist"


class TopicSpec(NamedTuple):
    """What a topic must be. `config`: values that must be equal. `outlives`: its retention is at least this topic's."""

    name: str
    partitions: int
    config: Mapping[str, str]
    outlives: str | None = None


class Observed(NamedTuple):
    """What a topic is: its partition count and its configuration, defaults included."""

    partitions: int
    config: Mapping[str, str]


class Deviation(NamedTuple):
    """One difference. `fix` says what to do; a worker does not start with a `fatal` one."""

    topic: str
    what: str
    fix: str
    fatal: bool


def specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Every topic of the product, sources first."""
    counts = {topics.TOUCHPOINTS: settings.partitions, topics.DELTAS: settings.rollup_partitions}
    common = {"message.timestamp.type": "LogAppendTime"}
    if settings.replication_factor >= 3:
        common["min.insync.replicas"] = "2"
    log = {**common, "cleanup.policy": "delete", "max.message.bytes": str(SOURCE_BYTES_MAX)}
    kept = {**log, "retention.ms": str(ALERT_RETENTION_MS)}
    dead = {**kept, "max.message.bytes": str(DEAD_LETTER_BYTES_MAX)}
    source, deltas = settings.topic(topics.TOUCHPOINTS), settings.topic(topics.DELTAS)
    found = [
        TopicSpec(source, settings.partitions, log),
        TopicSpec(deltas, settings.rollup_partitions, log, outlives=source),
        TopicSpec(settings.topic(topics.ALERTS), settings.partitions, kept),
        TopicSpec(settings.topic(topics.DEAD_LETTERS), settings.partitions, dead),
        TopicSpec(settings.topic(topics.LATE), settings.partitions, dead),
        TopicSpec(settings.topic(topics.AGGREGATE_ALERTS), settings.rollup_partitions, kept),
    ]
    for machine, logical in MACHINES.items():
        changelog = {**common, **CHANGELOG, "cleanup.policy": "compact", "max.message.bytes": str(ROW_BYTES_MAX)}
        found.append(TopicSpec(topics.changelog_name(settings.app, machine), counts[logical], changelog))
        found.append(TopicSpec(topics.journal_name(settings.app, machine), counts[logical], log, outlives=settings.topic(logical)))
    return tuple(found)


def deviations(wanted: Sequence[TopicSpec], found: Mapping[str, Observed], *, accept_create_time: bool = False) -> list[Deviation]:
    """Where `found` (topic name -> what it is) differs from `wanted`, in the order of `wanted`."""
    differences: list[Deviation] = []
    for spec in wanted:
        observed = found.get(spec.name)
        if observed is None:
            differences.append(Deviation(spec.name, MISSING, "run `streamer topics create`", fatal=True))
            continue
        if observed.partitions != spec.partitions:
            differences.append(_partitions_differ(spec, observed))
        for key, value in spec.config.items():
            if observed.config.get(key) != value:
                fatal = key == "cleanup.policy" or (key == "message.timestamp.type" and not accept_create_time)
                fix = f"set it with `kafka-configs.sh --alter --topic {spec.name} --add-config {key}={value}`"
                differences.append(Deviation(spec.name, f"has {key}={observed.config.get(key)} instead of {value}", fix, fatal))
        if spec.outlives is not None and spec.outlives in found:
            differences.extend(_retention_differs(spec, observed, found[spec.outlives]))
    return differences


def _partitions_differ(spec: TopicSpec, observed: Observed) -> Deviation:
    what = f"has {observed.partitions} partitions instead of {spec.partitions}"
    fix = (
        f"state is bound to the partition count: if it was created so, set partitions (or rollup_partitions) to {observed.partitions};"
        " to grow, create new topics (another topic_prefix and app) and fill them with `streamer topics refill`"
    )
    return Deviation(spec.name, what, fix, fatal=True)


def _retention_differs(spec: TopicSpec, observed: Observed, source: Observed) -> list[Deviation]:
    differences = []
    for key in ("retention.ms", "retention.bytes"):
        own, needed = int(observed.config.get(key, -1)), int(source.config.get(key, -1))
        if own != -1 and (needed == -1 or own < needed):
            fix = f"set it with `kafka-configs.sh --alter --topic {spec.name} --add-config {key}={needed}`"
            differences.append(Deviation(spec.name, f"has {key}={own}, less than {needed} of {spec.outlives}", fix, fatal=False))
    return differences


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client.

    Raises:
        UnreachableError: no broker answered; also when one stops answering meanwhile.
        AccessError, StreamerError: a broker answered and refused.
    """
    async with kafka_errors(settings):
        admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=int(REQUEST_SECONDS * 1000))
        try:
            async with asyncio.timeout(2 * REQUEST_SECONDS):
                await admin.start()
                # A broker that has just started, or starves, is not in its own metadata yet; aiokafka then fails on None.
                while admin._client.cluster.controller is None:
                    await asyncio.sleep(CONTROLLER_POLL_SECONDS)
                    await admin._client.force_metadata_update()
            yield admin
        finally:
            await admin.close()


async def observe(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Observed]:
    """What those of `names` are that exist."""
    # All topics, not `names`: asking for a missing one may create it.
    listed = await admin.describe_topics()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in listed if topic["topic"] in set(names)}
    if not counts:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in counts])
    found = {}
    for response in responses:
        for code, _, _, name, entries, *_ in response.resources:
            if code != 0:
                raise for_code(code)(name)
            found[name] = Observed(counts[name], {entry[0]: entry[1] for entry in entries})
    return found


async def create(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names. Existing ones are left as they are.

    Raises:
        UnreachableError: no broker answered.
        TopicsError: the broker refused a topic.
    """
    async with connected(settings) as admin:
        wanted = specs(settings)
        existing = await observe(admin, [spec.name for spec in wanted])
        missing = [spec for spec in wanted if spec.name not in existing]
        if not missing:
            return []
        new = [NewTopic(spec.name, spec.partitions, settings.replication_factor, topic_configs=dict(spec.config)) for spec in missing]
        created = []
        for name, code, message in (await admin.create_topics(new)).topic_errors:
            error = for_code(code)
            if error is NoError:
                created.append(name)
            elif error is not TopicAlreadyExistsError:  # another `create` was faster
                raise TopicsError(f"the broker refused to create {name}: {message or error.__name__}")
        await _leaders(admin, missing)
        return created


async def _leaders(admin: AIOKafkaAdminClient, wanted: Sequence[TopicSpec]) -> None:
    """Wait until every partition can be written: a worker started at once would meet errors."""
    expected = {spec.name: spec.partitions for spec in wanted}
    async with asyncio.timeout(LEADERS_SECONDS):
        while True:
            listed = await admin.describe_topics()
            led = {t["topic"]: sum(p["leader"] >= 0 for p in t["partitions"]) for t in listed if t["topic"] in expected}
            if all(led.get(name, 0) >= count for name, count in expected.items()):
                return
            await asyncio.sleep(0.1)


async def check(settings: Settings) -> list[Deviation]:
    """Where the cluster's topics deviate. Raises UnreachableError."""
    wanted = specs(settings)
    async with connected(settings) as admin:
        found = await observe(admin, [spec.name for spec in wanted])
    return deviations(wanted, found, accept_create_time=settings.accept_create_time)


async def require(settings: Settings) -> None:
    """Return if a worker may start.

    Raises:
        UnreachableError: no broker answered.
        TopicsError: a fatal deviation, with what to do about the first.
    """
    fatal = [deviation for deviation in await check(settings) if deviation.fatal]
    if fatal:
        hidden = " (or kafka_username may not see it)" if settings.kafka_username and fatal[0].what == MISSING else ""
        more = f" (and {len(fatal) - 1} more: see `streamer topics check`)" if len(fatal) > 1 else ""
        raise TopicsError(f"topic {fatal[0].topic} {fatal[0].what}{hidden}: {fatal[0].fix}{more}")

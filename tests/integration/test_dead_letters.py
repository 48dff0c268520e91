"""Dead letters on the real Kafka: listed with their reasons, and sent again to the byte, none twice."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from deploy.local import ports
from streamer.cli import app
from streamer.engine import dead_letters, topic_admin
from streamer.errors import OperatorError, TopicsError, UnreachableError
from streamer.settings import Settings
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deploy.local.kafka import Kafka

pytestmark = pytest.mark.integration

PARTITIONS = 3


class Dead(NamedTuple):
    """A record as the processor puts it aside."""

    reason: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    topic: str = ""
    cut: bool = False


class Written(NamedTuple):
    """A record found in the source."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    made = Settings(app=unique, topic_prefix=f"{unique}.", partitions=PARTITIONS, kafka_bootstrap=kafka.bootstrap)
    await topic_admin.create(made)
    return made


async def bury(settings: Settings, letters: Sequence[Dead], *, commit: bool = True) -> None:
    """One transaction with dead letters, headers as the journeys processor writes them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        transactional_id=f"{settings.app}-test-{commit}",
        max_request_size=topic_admin.DEAD_LETTER_BYTES_MAX,
    )
    async with producer:
        await producer.begin_transaction()
        for number, dead in enumerate(letters):
            headers = [
                ("reason", dead.reason.encode()),
                ("detail", b"because"),
                ("origin-topic", (dead.topic or f"{settings.topic_prefix}touchpoints.v1").encode()),
                ("origin-partition", str(dead.partition).encode()),
                ("origin-offset", str(100 + number).encode()),
                ("origin-timestamp", b"1795256104000"),
                *((f"o-{name}", content) for name, content in dead.headers),
                *([("original-size", b"5000000")] if dead.cut else []),
            ]
            await producer.send_and_wait(
                f"{settings.topic_prefix}dead-letters.v1", dead.value, dead.key, partition=dead.partition, headers=headers
            )
        if commit:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    await settled(settings, "dead-letters")


async def ends(settings: Settings, partitions: list[TopicPartition], isolation_level: str) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, isolation_level=isolation_level) as consumer:
        found: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return found


async def settled(settings: Settings, logical: str) -> dict[TopicPartition, int]:
    """The topic's ends, once every transaction's outcome is in its log: the broker answers a commit a little before that."""
    partitions = [TopicPartition(f"{settings.topic_prefix}{logical}.v1", number) for number in range(PARTITIONS)]
    async with asyncio.timeout(30):
        while True:
            stable = await ends(settings, partitions, "read_committed")
            if stable == await ends(settings, partitions, "read_uncommitted"):
                return stable
            await asyncio.sleep(0.05)


async def source_records(settings: Settings) -> list[Written]:
    """Everything committed in the source, by partition and offset."""
    until = await settled(settings, "touchpoints")
    found = []
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign(list(until))
        await consumer.seek_to_beginning(*until)
        async with asyncio.timeout(30):
            while any([await consumer.position(partition) < end for partition, end in until.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += [(r.partition, r.offset, Written(r.partition, r.key, r.value, tuple(r.headers))) for r in records]
    return [record for *_, record in sorted(found, key=lambda entry: entry[:2])]


def contents(records: Iterable[Written]) -> list[bytes | None]:
    return [record.value for record in records]


LETTERS = [
    Dead("future", 2, b"c-1", b'{"a": 1}', (("traceparent", b"00-4b"), ("ce_id", b"\xff"), ("empty", b""))),
    Dead("invalid_json", 0, b"c-2", b"\x00\xff not json"),
    Dead("unkeyed", 1, None, b"{}"),
    Dead("invalid_json", 0, b"c-3", None),
    Dead("future", 2, b"c-1", b"second", (("cx-redriven-from", b"an/earlier/one"),)),
]


async def test_list_tells_reason_and_origin_of_committed_letters_only(settings: Settings) -> None:
    await bury(settings, LETTERS)
    await bury(settings, [Dead("future", 1, b"c-9", b"aborted")], commit=False)
    listing = await dead_letters.read(settings, reason=None, limit=10)
    assert listing.counts == {"future": 2, "invalid_json": 2, "unkeyed": 1}
    first = next(found for found in listing.letters if found.value == b'{"a": 1}')
    assert first[3:11] == ("future", "because", f"{settings.topic_prefix}touchpoints.v1", 2, 100, 1_795_256_104_000, b"c-1", b'{"a": 1}')
    assert first.headers == LETTERS[0].headers
    only = await dead_letters.read(settings, reason="invalid_json", limit=10)
    assert {found.key for found in only.letters} == {b"c-2", b"c-3"}


async def test_list_shows_the_newest_and_counts_all(settings: Settings) -> None:
    for number in range(4):
        await bury(settings, [Dead("future", number % PARTITIONS, b"c", str(number).encode())])
    listing = await dead_letters.read(settings, reason=None, limit=2)
    assert [found.value for found in listing.letters] == [b"2", b"3"]
    assert listing.counts == {"future": 4}


async def test_redrive_writes_key_value_and_headers_to_the_byte_to_the_partition_they_came_from(settings: Settings) -> None:
    await bury(settings, LETTERS)
    done = await dead_letters.redrive(settings)
    assert done == dead_letters.Redriven({"future": 2, "invalid_json": 2, "unkeyed": 1}, 0)
    dead_topic = f"{settings.topic_prefix}dead-letters.v1"
    origin = "cx-redriven-from"
    assert await source_records(settings) == [
        Written(0, b"c-2", b"\x00\xff not json", ((origin, f"{dead_topic}/0/0".encode()),)),
        Written(0, b"c-3", None, ((origin, f"{dead_topic}/0/1".encode()),)),
        Written(1, None, b"{}", ((origin, f"{dead_topic}/1/0".encode()),)),
        Written(2, b"c-1", b'{"a": 1}', (*LETTERS[0].headers, (origin, f"{dead_topic}/2/0".encode()))),
        Written(2, b"c-1", b"second", ((origin, f"{dead_topic}/2/1".encode()),)),
    ]


async def test_a_second_redrive_writes_nothing_twice_and_what_is_new_once(settings: Settings) -> None:
    await bury(settings, LETTERS)
    await dead_letters.redrive(settings)
    assert await dead_letters.redrive(settings) == dead_letters.Redriven({}, 0)
    await bury(settings, [Dead("future", 0, b"c-4", b"new")])
    assert (await dead_letters.redrive(settings)).counts == {"future": 1}
    values = contents(await source_records(settings))
    assert sorted(map(repr, values)) == sorted(map(repr, [dead.value for dead in LETTERS] + [b"new"]))


async def test_redriving_one_reason_leaves_the_others_for_later(settings: Settings) -> None:
    await bury(settings, LETTERS)
    assert (await dead_letters.redrive(settings, reasons=["future"])).counts == {"future": 2}
    assert (await dead_letters.redrive(settings, reasons=["future"])).counts == {}
    assert (await dead_letters.redrive(settings)).counts == {"invalid_json": 2, "unkeyed": 1}
    assert len(await source_records(settings)) == len(LETTERS)


async def test_a_dry_run_counts_and_changes_nothing(settings: Settings) -> None:
    await bury(settings, LETTERS)
    expected = dead_letters.Redriven({"future": 2, "invalid_json": 2, "unkeyed": 1}, 0)
    assert await dead_letters.redrive(settings, dry_run=True) == expected
    assert await source_records(settings) == []
    assert await dead_letters.redrive(settings) == expected


async def test_letters_of_other_topics_are_counted_and_stay(settings: Settings) -> None:
    await bury(settings, [Dead("undecodable", 0, None, b"a delta", topic="cx.deltas.v1"), LETTERS[0]])
    assert await dead_letters.redrive(settings) == dead_letters.Redriven({"future": 1}, 1)
    assert contents(await source_records(settings)) == [LETTERS[0].value]


async def test_letters_that_the_source_cannot_take_are_counted_and_stay_and_hold_up_no_other(settings: Settings) -> None:
    largest = topic_admin.SOURCE_BYTES_MAX
    oversize = [Dead("oversize", 0, b"c-1", b"x" * largest, cut=True), Dead("oversize", 0, b"c-1", b"x", cut=True)]
    await bury(settings, [*oversize, Dead("oversize", 0, b"c-1", b"x" * (largest - 100)), *LETTERS])
    assert await dead_letters.redrive(settings) == dead_letters.Redriven({"future": 2, "invalid_json": 2, "unkeyed": 1}, 0, 3)
    assert len(await source_records(settings)) == len(LETTERS)
    await bury(settings, oversize[:1])
    assert (await run(settings, "redrive")).startswith("0 dead letters redriven\n1 were cut or are larger than the source topic takes")


async def test_more_letters_than_a_batch_are_all_redriven_in_order(settings: Settings) -> None:
    many = [Dead("future", 1, b"c-1", str(number).encode()) for number in range(2 * dead_letters.BATCH_RECORDS + 7)]
    await bury(settings, many)
    assert (await dead_letters.redrive(settings)).counts == {"future": len(many)}
    assert contents(await source_records(settings)) == [dead.value for dead in many]


# aiokafka 0.14 does not end the requests under way of a sender that was fenced: one of them may open a connection after `stop` has closed
# all there were. The command ends then, and with it the connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_redrive_that_another_one_overtakes_stops_and_nothing_is_written_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    many = [Dead("future", 1, b"c-1", str(number).encode()) for number in range(40)]
    await bury(settings, many)
    monkeypatch.setattr(dead_letters, "BATCH_RECORDS", 10)
    halfway, overtaken = asyncio.Event(), asyncio.Event()
    write = dead_letters._Writer.write

    async def write_and_wait(self: dead_letters._Writer, *arguments: object) -> None:
        if not halfway.is_set():
            await write(self, *arguments)  # type: ignore[arg-type]
            halfway.set()
            await overtaken.wait()
        else:
            await write(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letters._Writer, "write", write_and_wait)
    first = asyncio.create_task(dead_letters.redrive(settings))
    await halfway.wait()
    second = await dead_letters.redrive(settings)
    overtaken.set()
    with pytest.raises(OperatorError, match="another redrive"):
        await first
    assert second.counts == {"future": 30}
    assert contents(await source_records(settings)) == [dead.value for dead in many]
    del first
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []  # no exception that nobody asked for


async def test_a_recreated_topic_is_redriven_from_its_start(settings: Settings) -> None:
    await bury(settings, LETTERS)
    await dead_letters.redrive(settings)
    async with topic_admin.connected(settings) as admin:
        await admin.delete_topics([f"{settings.topic_prefix}dead-letters.v1"])
    async with asyncio.timeout(20):
        while f"{settings.topic_prefix}dead-letters.v1" not in await topic_admin.create(settings):  # noqa: ASYNC110  polling a broker
            await asyncio.sleep(0.1)
    await bury(settings, LETTERS)
    assert sum((await dead_letters.redrive(settings)).counts.values()) == len(LETTERS)


async def test_missing_topics_and_a_missing_broker_are_said_in_a_sentence(kafka: Kafka, unique: str) -> None:
    with pytest.raises(TopicsError, match=r"dead-letters.v1 does not exist: `streamer topics create`"):
        await dead_letters.read(Settings(app=unique, topic_prefix=f"{unique}.", kafka_bootstrap=kafka.bootstrap), reason=None, limit=1)
    nowhere = Settings(kafka_bootstrap=f"127.0.0.1:{ports.pick()}")
    with pytest.raises(UnreachableError, match="does not answer"):
        await dead_letters.redrive(nowhere)


async def run(settings: Settings, *arguments: str) -> str:
    """What `streamer dead-letters ...` prints."""
    fields = ("app", "topic_prefix", "partitions", "kafka_bootstrap")
    environment = {f"STREAMER_{name.upper()}": str(getattr(settings, name)) for name in fields}
    result = await asyncio.to_thread(CliRunner().invoke, app, ["dead-letters", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_the_commands_show_values_only_when_asked_and_let_none_steer_the_terminal(settings: Settings) -> None:
    await bury(settings, [Dead("wrong_type", 0, b"c-secret", b'{"note": "\x1b[31mred\n"}')])
    table = await run(settings, "list")
    assert "secret" not in table
    assert "note" not in table
    assert table.splitlines()[-1] == "1 dead letters, 1 shown: 1 wrong_type"
    shown = await run(settings, "list", "--values")
    assert r'c-secret  {"note": "\x1b[31mred\n"}' in shown
    assert "\x1b" not in shown
    listed = json.loads(await run(settings, "list", "--json", "--reason", "wrong_type", "--values"))
    assert listed["counts"] == {"wrong_type": 1}
    assert base64.b64decode(listed["letters"][0]["key"]) == b"c-secret"
    redriven = json.loads(await run(settings, "redrive", "--json", "--reason", "wrong_type"))
    assert redriven == {"redriven": 1, "counts": {"wrong_type": 1}, "foreign": 0, "kept": 0, "dry_run": False}
    assert await run(settings, "redrive") == "0 dead letters redriven\n"


async def test_an_operators_reset_of_the_group_counts_for_every_reason(settings: Settings) -> None:
    await bury(settings, LETTERS)
    partitions = [TopicPartition(f"{settings.topic_prefix}dead-letters.v1", number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, group_id=f"{settings.app}-redrive", enable_auto_commit=False
    ) as tool:
        tool.assign(partitions)
        await tool.commit({partitions[0]: 1, partitions[1]: 1, partitions[2]: 0})
    assert (await dead_letters.redrive(settings)).counts == {"future": 2, "invalid_json": 1}


def test_every_reason_has_a_progress_of_its_own() -> None:
    assert set(dead_letters.REASONS) == {*Reason, "unknown"}
    progress = dead_letters.Progress(dict.fromkeys(dead_letters.REASONS, 9) | {"future": 4})
    assert (progress.lowest(), progress.lowest(["unkeyed"]), progress.next_offset("never heard of")) == (4, 9, 9)

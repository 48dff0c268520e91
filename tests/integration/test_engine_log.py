"""What one worker makes of its log: gaps, silence, lost data, moved offsets, alerts."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from streamer import topics
from streamer.engine import stored
from streamer.engine.exits import Exit
from streamer.errors import DataLossError, OperatorError
from tests.engine_support import stage_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from tests.engine_support import Stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


async def test_offsets_without_records_are_no_gap(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """An upstream producer's aborted transactions and markers leave offsets that no reader ever gets."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        upstream = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{unique}-upstream")
        await upstream.start()
        worker = stage.start()
        await until(lambda: worker.owned == [0], "the worker is ready")
        committed = 0
        for round_number in range(6):
            await upstream.begin_transaction()
            await asyncio.gather(*[await upstream.send(stage.source, b"x", b"k%d" % i, partition=0) for i in range(5)])
            if round_number % 2:
                await upstream.commit_transaction()
                committed += 5
            else:
                await upstream.abort_transaction()
        await upstream.begin_transaction()
        await (await upstream.send(stage.source, b"x", b"last", partition=0))
        await upstream.abort_transaction()
        await upstream.stop()
        end = 7 * 6 - 4  # five records and a marker each time; one record and a marker the last time
        await until_committed(stage, end)
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK
        assert await stage.nothing_lost_or_doubled() == committed == 15


async def test_time_passes_in_a_silent_partition_and_survives_a_restart(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        before_ms = int(time.time() * 1000)
        worker = stage.start()
        await until(lambda: worker.owned == [0], "the worker is ready")
        await until_journalled(stage, 3)
        clocks = [orjson.loads(entry.value or b"") for entry in await stage.read(stage.journal)]
        assert before_ms <= clocks[0]["clock"] <= time.time() * 1000, "the partition never written to begins at the broker's time"
        worker.signal(signal.SIGKILL)
        await worker.ended()

        await stage.send(1)
        event = (await stage.read_timestamps(stage.source))[0]
        again = stage.start()
        await until(lambda: again.owned == [0], "it is ready again")
        journalled = len(await stage.read(stage.journal))
        await until_journalled(stage, journalled + 3)
        again.signal(signal.SIGTERM)
        assert await again.ended() == Exit.OK
        entries = [orjson.loads(entry.value or b"") for entry in await stage.read(stage.journal)]
        assert all(earlier["clock"] < later["clock"] for earlier, later in itertools.pairwise(entries)), "time never goes back"
        assert entries[0]["after"] == 0
        assert entries[-1]["after"] == 1
        passed_ms = time.time() * 1000 - event
        assert 0 < entries[-1]["clock"] - event <= passed_ms, "it is the event's time and what has passed since its arrival"
        assert [later["clock"] - earlier["clock"] >= 900 for earlier, later in itertools.pairwise(entries[-3:])] == [True, True]
        rows = {row.key: row.value for row in await stage.read(stage.changelog)}
        assert orjson.loads(rows[b"m"] or b"")["clock"] == entries[-1]["clock"], "effect and journal are one transaction"


async def test_records_deleted_before_they_were_read_are_refused_or_skipped_as_told(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        worker = stage.start()
        await stage.output_reaches(10)
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK
        await stage.send(20)
        await stage.admin.delete_records({TopicPartition(stage.source, 0): RecordsToDelete(25)})

        refused = stage.start()
        assert await refused.ended() == DataLossError.exit_code
        assert f"{stage.source}[0] begins at offset 25, but the state needs 10" in refused.log
        assert "15 records" in refused.log
        assert "on_data_loss=skip" in refused.log

        told = stage.start(on_data_loss="skip")
        await stage.output_reaches(15)
        told.signal(signal.SIGTERM)
        assert await told.ended() == Exit.OK
        entries = [orjson.loads(entry.value or b"") for entry in await stage.read(stage.journal)]
        assert {"after": 10, "lost_until": 25} in entries
        offsets = [orjson.loads(output.value or b"")["offset"] for output in await stage.read(stage.output)]
        assert offsets == [*range(10), *range(25, 30)]


async def test_another_source_topic_of_the_same_name_is_refused_however_long_it_is(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 10
        await stage.recreate(stage.source)
        await stage.send(25)

        refused = stage.start()
        assert await refused.ended() == DataLossError.exit_code
        assert f"{stage.source}[0] is another topic than the one that the state is of" in refused.log
        assert "streamer state reset toy --from-start" in refused.log

        await until_reset(stage, from_start=False)
        await folded_until(stage, 25)

        await stage.recreate(stage.source)
        await stage.send(12)
        refused = stage.start()
        assert await refused.ended() == DataLossError.exit_code
        await until_reset(stage, from_start=True)
        await folded_until(stage, 37)
        offsets = [orjson.loads(output.value or b"")["offset"] for output in await stage.read(stage.output)]
        assert offsets == [*range(10), *range(10, 25), *range(12)]


async def test_an_offset_moved_without_the_state_is_refused_until_they_are_reset(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        worker = stage.start()
        await stage.output_reaches(10)
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK
        assert await stage.committed(0) == 10
        operator = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=stage.group, enable_auto_commit=False)
        await operator.start()
        operator.assign([TopicPartition(stage.source, 0)])
        await operator.commit({TopicPartition(stage.source, 0): OffsetAndMetadata(3, "")})
        await operator.stop()

        refused = stage.start()
        assert await refused.ended() == OperatorError.exit_code
        assert "is at offset 3" in refused.log
        assert "the state of offset 10" in refused.log
        assert "streamer state reset toy" in refused.log

        with pytest.raises(OperatorError, match="running worker"):  # the group has not noticed yet that it died
            await stored.reset(stage.settings, "toy", from_start=False, source=topics.TOUCHPOINTS)
        await until_reset(stage, from_start=False)
        goes_on = stage.start()
        await stage.send(5)
        await stage.finish(goes_on)
        assert await stage.nothing_lost_or_doubled() == 15

        await until_reset(stage, from_start=True)
        await folded_until(stage, 30)
        offsets = [orjson.loads(output.value or b"")["offset"] for output in await stage.read(stage.output)]
        assert offsets == [*range(15), *range(15)]
        assert await stored.rows(stage.settings, "toy", 0, source=topics.TOUCHPOINTS)


async def test_a_changelog_made_anew_is_refused_and_only_a_new_beginning_is_offered(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    """Without the group's offset the worker would begin with the first record, and count everything a second time without a word."""
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        await stage.finish(stage.start())
        await stage.recreate(stage.changelog, **{"cleanup.policy": "compact"})
        refused = stage.start()
        assert await refused.ended() == OperatorError.exit_code
        assert f"is at offset 10 of {stage.source}[0], but {stage.changelog} has no state" in refused.log
        assert "streamer state reset toy --from-start" in refused.log

        await until_reset(stage, from_start=False, refusing="has no state, though the group is at offset 10")
        assert await stage.committed(0) == 10, "nothing was done"
        await until_reset(stage, from_start=True)
        await folded_until(stage, 20)


async def test_a_changelog_that_lost_its_head_is_refused_or_gone_on_with_as_told(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.send(10)
        await stage.finish(stage.start())
        await stage.configure(stage.changelog, cleanup_policy="compact,delete", message_timestamp_type="LogAppendTime")
        await stage.admin.delete_records({TopicPartition(stage.changelog, 0): RecordsToDelete(3)})
        await stage.configure(stage.changelog, cleanup_policy="compact", message_timestamp_type="LogAppendTime")
        refused = stage.start()
        assert await refused.ended() == DataLossError.exit_code
        assert f"{stage.changelog}[0] begins at offset 3: rows of the state were deleted" in refused.log
        assert "streamer state reset toy --from-start" in refused.log
        told = stage.start(on_data_loss="skip")
        await stage.send(1)
        await stage.output_reaches(11)
        told.signal(signal.SIGTERM)
        assert await told.ended() == Exit.OK
        assert f"{stage.changelog}[0] begins at offset 3" in told.log
        await stage.send(1)
        await folded_until(stage, 12)  # what has been accepted once is

        await stage.configure(stage.changelog, cleanup_policy="compact,delete", message_timestamp_type="LogAppendTime")
        await stage.admin.delete_records({TopicPartition(stage.changelog, 0): RecordsToDelete(5)})
        await stage.configure(stage.changelog, cleanup_policy="compact", message_timestamp_type="LogAppendTime")
        again = stage.start()
        assert await again.ended() == DataLossError.exit_code
        await until_reset(stage, from_start=True)
        await folded_until(stage, 24)
        await stage.send(1)
        await folded_until(stage, 25)


async def test_a_record_that_a_topic_does_not_take_ends_the_worker_with_what_to_do(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        await stage.configure(stage.output, max_message_bytes="200", message_timestamp_type="LogAppendTime")
        await stage.send(1, key="k" * 300)
        worker = stage.start()
        assert await worker.ended() == OperatorError.exit_code
        assert f"{stage.output}[0] does not take a batch of" in worker.log
        assert "raise the topic's max.message.bytes" in worker.log
        assert "Traceback" not in worker.log
        await stage.configure(stage.output, max_message_bytes="20000", message_timestamp_type="LogAppendTime")
        await stage.finish(stage.start())
        assert await stage.nothing_lost_or_doubled() == 1


async def test_an_alert_does_not_wait_for_the_interval(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    async with stage_of(kafka, unique, tmp_path) as stage:
        worker = stage.start(checkpoint_interval_seconds=30, alert_linger_seconds=0.05)
        await until(lambda: worker.owned == [0], "the worker is ready")
        async with stage.output_reader() as read:
            await stage.send(1)
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                assert await read() == 0, "an ordinary event waits"
            began = time.monotonic()
            await stage.send(1, key="alert")
            while await read() == 0:
                assert time.monotonic() - began < 15, "the alert waits as if it were ordinary"
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == Exit.OK
        assert await stage.nothing_lost_or_doubled() == 2


async def folded_until(stage: Stage, outputs: int) -> None:
    """A worker goes on until there are so many outputs, and ends."""
    worker = stage.start()
    await stage.output_reaches(outputs)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == Exit.OK


async def until_committed(stage: Stage, offset: int) -> None:
    async def reached() -> bool:
        return await stage.committed(0) == offset

    await until(reached, f"the group is at offset {offset}")


async def until_journalled(stage: Stage, entries: int) -> None:
    async def reached() -> bool:
        return len(await stage.read(stage.journal)) >= entries

    await until(reached, f"{entries} entries are journalled")


async def until_reset(stage: Stage, *, from_start: bool, refusing: str = "") -> None:
    """refusing: what it is to say, if it is not to be done."""
    said = "running worker"

    async def answered() -> bool:
        nonlocal said
        said = ""
        try:
            await stored.reset(stage.settings, "toy", from_start=from_start, source=topics.TOUCHPOINTS)
        except OperatorError as exc:
            said = str(exc)
        return "running worker" not in said

    await until(answered, "the group has no members any more")
    assert (refusing in said) if refusing else (said == "")

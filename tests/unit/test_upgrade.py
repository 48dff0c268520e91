"""Rows of every version up to this one are read, and rows of a newer one are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from streamer import deltas, topics
from streamer.alerts import alert
from streamer.errors import StateError
from streamer.journeys import customer, marker
from streamer.journeys import row as rows_of
from streamer.processor import MARKER_KEY, ROW_PREFIX, Output
from streamer.rollup import rows as rollup_rows
from streamer.rollup.processor import RollupProcessor
from tests import golden_rows

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(golden_rows.FOLDER.glob("*.json"))


def changes(outputs: list[Output]) -> dict[tuple[object, ...], int]:
    """Net counter changes by cell, counter, pane and tick, whatever the batches and the order of cells."""
    sums: dict[tuple[object, ...], int] = {}
    for output in outputs:
        if output.topic == topics.DELTAS:
            batch = deltas.decode(output.value or b"")
            for tick, flat in batch.ticks:
                for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                    named = tuple((d, v) for d, v in zip(batch.dimensions, batch.cells[cell], strict=True) if v)
                    key = (named, counter, pane, tick)
                    sums[key] = sums.get(key, 0) + n
    return {key: n for key, n in sums.items() if n}


def alerts(outputs: list[Output]) -> list[tuple[str, str, object]]:
    found = [alert.decode(o.value or b"") for o in outputs if o.topic in (topics.ALERTS, topics.AGGREGATE_ALERTS)]
    return [(one.alert_id, one.state, one.metric) for one in found]


@pytest.mark.parametrize("machine", ["journeys", "rollup"])
def test_the_rows_of_this_schema_are_recorded(machine: str) -> None:
    assert golden_rows.file_of(machine) in FILES, "a new schema: run `python -m tests.golden_rows` and commit what it writes"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_machine_goes_on_from_the_rows_as_if_it_had_never_stopped(file: Path) -> None:
    golden = golden_rows.load(file)
    unbroken, restored = golden_rows.make(golden), golden_rows.make(golden)
    golden_rows.feed(unbroken, golden.before)
    restored.restore(golden.rows)
    assert restored.next_offset == unbroken.next_offset == golden.after[0].offset
    assert (restored.clock_ms, restored.high_ms, restored.reference) == (unbroken.clock_ms, unbroken.high_ms, unbroken.reference)
    assert dict(restored.accounting) == dict(unbroken.accounting)

    wanted, found = golden_rows.feed(unbroken, golden.after), golden_rows.feed(restored, golden.after)
    for processor, outputs in ((unbroken, wanted), (restored, found)):
        if golden.machine == "journeys":
            processor.advance(golden.after[-1].timestamp + 3_600_000)
        outputs += processor.drain().outputs
    if golden.machine == "journeys" and file != golden_rows.file_of("journeys"):
        # Before 2.1 an episode's transitions were numbered on from those of earlier ones, and before 2.7 fewer contacts were repeated ones,
        # so that fewer transitions had been told: ids differ, and none comes twice.
        assert [one[1:] for one in alerts(found)] == [one[1:] for one in alerts(wanted)]
        ids = [one[0] for one in alerts(found)]
        assert len(set(ids)) == len(ids)
    else:
        assert alerts(found) == alerts(wanted)
    assert changes(found) == changes(wanted)
    assert alerts(wanted)
    assert golden.machine == "rollup" or len(changes(wanted)) > 10
    if isinstance(restored, RollupProcessor) and isinstance(unbroken, RollupProcessor):
        assert list(restored.gauges()) == list(unbroken.gauges())
        assert len(list(restored.gauges())) > 10


@pytest.mark.parametrize("file", [file for file in FILES if file.stem.startswith("rollup")], ids=lambda file: file.stem)
def test_the_first_checkpoint_of_a_rollup_leaves_no_sums_by_the_keys_of_an_earlier_schema(file: Path) -> None:
    golden = golden_rows.load(file)
    restored, again = golden_rows.make(golden), golden_rows.make(golden)
    assert isinstance(restored, RollupProcessor)
    assert isinstance(again, RollupProcessor)
    restored.restore(golden.rows)
    changelog = {**dict(golden.rows), **dict(restored.drain().rows)}
    again.restore([(key, row) for key, row in changelog.items() if row is not None])
    assert list(again.gauges()) == list(restored.gauges())
    kinds = (rollup_rows.LIFETIME, rollup_rows.PANE)
    written, held = ({k: row for k, row in rows.items() if rollup_rows.by_kind(k) in kinds} for rows in (changelog, restored.rows()))
    assert written == held
    assert len(written) > 2


def test_a_marker_of_a_newer_journeys_machine_is_refused() -> None:
    golden = golden_rows.load(golden_rows.file_of("journeys"))
    newer = marker.encode(marker.Marker(schema=marker.MARKER_SCHEMA + 1, build="9.9"))
    with pytest.raises(StateError, match=r"^the state was written by a newer build \(9\.9\): start a build that reads schema \d+$"):
        golden_rows.make(golden).restore([(MARKER_KEY, newer)])


def test_a_customers_row_of_a_newer_journeys_machine_is_refused() -> None:
    golden = golden_rows.load(golden_rows.file_of("journeys"))
    key, row = next((key, row) for key, row in golden.rows if key.startswith(ROW_PREFIX))
    with pytest.raises(StateError, match=r"^state row has schema \d+, this build reads \d+: start a build that is at least as new$"):
        customer.Customer.of_row(key.removeprefix(ROW_PREFIX), newer_row(row))


def test_a_marker_of_a_newer_rollup_is_refused() -> None:
    golden = golden_rows.load(golden_rows.file_of("rollup"))
    with pytest.raises(StateError, match=r"^the rollup's state was written in format \d+, this version reads up to \d+: deploy the newer"):
        golden_rows.make(golden).restore([(MARKER_KEY, newer_rollup_marker(dict(golden.rows)[MARKER_KEY]))])


def newer_row(row: bytes) -> bytes:
    """The row with its schema, the first field, one higher."""
    return msgspec.msgpack.encode([rows_of.ROW_SCHEMA + 1, *msgspec.msgpack.decode(row)[1:]])


def newer_rollup_marker(row: bytes) -> bytes:
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(row), "schema": rollup_rows.SCHEMA + 1})

"""What `--topic` makes of the records it reads, without a broker."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from streamer import deltas, topics
from streamer.definitions import Definitions, parse
from streamer.errors import InputError
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord
from streamer.touchpoints.control import encode_control
from streamer.verify import compare, live
from streamer.verify.ranges import Range
from streamer.verify.raw_log import Record, record_of
from streamer.verify.recount import recount
from streamer.verify.tables import used_dimensions
from tests.verify_support import adversarial_log, definitions


class Stored(NamedTuple):
    """A record as a consumer gives it, as far as it is looked at."""

    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Written(NamedTuple):
    """What a processor wrote. deltas: by rollup partition."""

    journal: list[Stored]
    deltas: list[list[bytes]]
    late: list[Stored]
    dead: list[Stored]


def fold(log: list[Record], rollup_partitions: int, wanted: Definitions) -> Written:
    """Batches, and between them time that passes in silence: deadlines fall due although nothing comes."""
    chance = Random(1)
    processor = JourneysProcessor(wanted, partition=0, partitions=1, rollup_partitions=rollup_partitions, build="test")
    processor.restore(())
    written = Written([], [[] for _ in range(rollup_partitions)], [], [])
    for first in range(0, len(log), 40):
        batch = log[first : first + 40]
        processor.process([LogRecord(r.off, r.arrival, r.key, r.value, r.headers) for r in batch], batch[-1].off + 1)
        processor.advance(batch[-1].arrival + chance.choice((0, 1, 7_000, 30_000)))
        drained = processor.drain()
        written.journal.extend(Stored(entry) for entry in drained.journal)
        for output in drained.outputs:
            if output.topic == topics.DELTAS:
                written.deltas[output.partition or 0].append(output.value or b"")
            elif output.topic != topics.ALERTS:
                into = written.late if output.topic == topics.LATE else written.dead
                into.append(Stored(output.value, tuple(output.headers)))
    return written


@pytest.mark.parametrize("rollup_partitions", [1, 3])
def test_the_recount_knows_the_time_that_passed_in_silence(rollup_partitions: int) -> None:
    log, wanted = adversarial_log(40, orderly=False), definitions()
    written = fold(log, rollup_partitions, wanted)
    batches = live.add_up(written.deltas, used_dimensions(wanted))
    idle = live.idle_clocks({0: written.journal}, wanted.revision)
    theirs = recount(log, wanted, live.clocks_of(batches, idle))
    mine = live.counted_of(batches, written.late, written.dead)
    verdicts = [
        compare.records(mine.records, live.put_aside(theirs.records), mine.cut),
        *compare.counters(mine, theirs, Range(), 3),
    ]
    assert [verdict for verdict in verdicts if verdict.status != "equal"] == []
    assert mine.records["late"] > 0
    without = recount(log, wanted, live.clocks_of(batches, ()))
    recovered = next(verdict for verdict in compare.counters(mine, without, Range(), 3) if verdict.name == "RECOVERED")
    assert recovered.mismatches, "nothing came late at a time that only the journal knows"


@pytest.mark.parametrize(
    ("entry", "says"), [(b'{"after":7,"revision":2,"digest":"d"}', "revision 2"), (b'{"command":"reset","at":1}', "tells of a reset")]
)
def test_a_log_that_was_not_folded_once_under_these_definitions_is_refused(entry: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        live.idle_clocks({3: [Stored(b'{"after":6,"clock":9}'), Stored(entry)]}, 1)


def test_a_cell_that_goes_to_several_rollup_partitions_counts_once() -> None:
    batch = deltas.DeltaBatch(1, 0, 1, 5, 0, 5_000, ["journey", "team"], [("checkout", ""), ("", "A")], [(4, [7, 0, 10, 1, 7, 1, 20, 2])])
    sums = live.add_up([[deltas.encode(batch)], [deltas.encode(batch)]], ("journey", "team")).sums
    assert sums == {("STARTED", ("checkout", ""), 7): 1, ("CONTACTS", ("", "A"), 7): 2}


def test_without_a_slice_of_everything_what_belongs_to_a_slice_is_recounted_equal() -> None:
    log = adversarial_log(20, orderly=True)
    text = definitions().text
    wanted = parse(text[: text.index("[[rule]]")].replace("[[slice]]\nby = []\n", ""))
    batches = live.add_up(fold(log, 5, wanted).deltas, used_dimensions(wanted))
    theirs = recount(log, wanted, live.clocks_of(batches, ()))
    assert batches.sums == live.in_slices(batches.sums, theirs.dimensions, wanted.slices)
    assert batches.sums == live.in_slices(theirs.sums, theirs.dimensions, wanted.slices) != theirs.sums


def test_control_records_move_time_and_broken_ones_are_dead_letters() -> None:
    value, headers = encode_control("end", 1_700_000_000_000)
    good = record_of(0, 0, 1_800_000_000_000, None, value, headers)
    assert (good.control_ms, good.value) == (1_700_000_000_000, None)
    broken = [record_of(0, n, 1, None, *one) for n, one in enumerate([(b"{}", headers), (value, [("cx-control", b"middle")])], start=1)]
    found = recount([good, *broken], definitions(), live.clocks_of(live.Batches({}, {0: 1}), ()))
    assert found.records == {"ignored": 1, "dead_lettered": 2, "dead_wrong_type": 2}

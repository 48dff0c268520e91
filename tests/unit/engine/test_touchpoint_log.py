"""What the journal says of idle clocks, and what else a reader of the past should know."""

from __future__ import annotations

from streamer.engine.touchpoint_log import Extent, _note


def taken(*entries: bytes) -> tuple[dict[int, int], set[str]]:
    clocks: dict[int, int] = {}
    told: set[str] = set()
    for entry in entries:
        _note(entry, clocks, told)
    return clocks, told


def test_of_several_clocks_after_the_same_offset_the_last_is_kept() -> None:
    clocks, told = taken(b'{"after":-1,"clock":5}', b'{"after":3,"clock":9}', b'{"after":3,"clock":12}', b'{"after":3,"clock":11}')
    assert (clocks, told) == ({-1: 5, 3: 12}, set())


def test_after_a_reset_the_log_was_folded_anew() -> None:
    clocks, told = taken(b'{"after":3,"clock":9}', b'{"command":"reset","at":1}', b'{"after":1,"clock":4}')
    assert clocks == {1: 4}
    assert len(told) == 1


def test_lost_records_and_other_definitions_are_said() -> None:
    clocks, told = taken(b'{"after":3,"lost_until":9}', b'{"after":12,"revision":4,"digest":"d"}', b'{"after":12,"clock":7}')
    assert clocks == {12: 7}
    assert {"lost" in note for note in told} == {True, False}
    assert any("definitions changed" in note for note in told)


def test_an_extent_can_be_of_one_partition() -> None:
    extent = Extent({0: (0, 5), 1: (2, 9)}, {0: [], 1: [(3, 4)]}, ["a note"])
    assert extent.records == 12
    assert extent.only(1) == Extent({1: (2, 9)}, {1: [(3, 4)]}, ["a note"])

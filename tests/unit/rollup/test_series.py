from __future__ import annotations

from streamer import definitions
from streamer.metrics.counters import Counter
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.series import OTHER, VALUE_CHARACTERS_MAX, RawCell, SeriesTable

TEXT = """
revision = 1
[limits]
label_values = 3
[[slice]]
by = []
[[slice]]
by = ["journey"]
[[slice]]
by = ["journey", "channel"]
[[slice]]
by = ["team"]
"""
DIMENSIONS = ("journey", "channel", "team")


def table(**limits: int) -> SeriesTable:
    return SeriesTable(definitions.parse(TEXT), partition=0, partitions=1, **limits)


def cells(*values: tuple[str, ...]) -> list[RawCell]:
    return [(DIMENSIONS, v) for v in values]


def labels(made: SeriesTable, cell: tuple[str, ...], counter: int) -> set[tuple[str, ...]]:
    (number,) = made.known(DIMENSIONS, [cell])
    assert number is not None
    return {made.series[key >> COUNTER_BITS].values for key in made.keys(number << COUNTER_BITS | counter)}


def test_a_cell_is_in_every_slice_whose_dimensions_it_and_its_counter_have() -> None:
    made = table()
    made.admit(cells(("checkout", "web", ""), ("", "phone", "t1"), ("checkout", "", "")))
    assert labels(made, ("checkout", "web", ""), Counter.STARTED) == {(), ("checkout",), ("checkout", "web")}
    assert labels(made, ("checkout", "", ""), Counter.STARTED) == {(), ("checkout",)}
    assert labels(made, ("", "phone", "t1"), Counter.CONTACTS) == {(), ("t1",)}
    # Journey counters have no team, whatever a cell says.
    assert labels(made, ("", "phone", "t1"), Counter.STARTED) == {()}


def test_the_first_values_keep_their_series_and_the_rest_are_other() -> None:
    made = table()
    made.admit(cells(("j2", "", ""), ("j1", "", "")))
    made.admit(cells(("j9", "", ""), ("j0", "", ""), ("j5", "", "")))
    # One place was left; within a tick the order is that of the values.
    assert list(made.vocabulary["journey"]) == ["j1", "j2", "j0"]
    assert labels(made, ("j5", "", ""), Counter.STARTED) == {(), (OTHER,)}
    cut = made.known(DIMENSIONS, [("j5", "", ""), ("j9", "", "")])
    assert made.overflowed == dict.fromkeys(cut, ("journey",))


def test_a_value_admitted_once_stays_after_the_cache_is_emptied() -> None:
    made = table()
    made.admit(cells(*[(f"j{i}", "", "") for i in range(5)]))
    series = list(made.series)
    made.forget()
    assert made.known(DIMENSIONS, [("j1", "", "")]) == [None]
    assert made.admit(cells(("j4", "", ""), ("j1", "", ""))) == []
    assert made.series == series
    assert labels(made, ("j1", "", ""), Counter.STARTED) == {(), ("j1",)}
    assert labels(made, ("j4", "", ""), Counter.STARTED) == {(), (OTHER,)}


def test_a_cell_that_is_not_remembered_has_the_keys_it_had() -> None:
    made = table(series_per_slice=2)
    long = "x" * (VALUE_CHARACTERS_MAX + 1)
    wanted = cells(("a", "app", ""), ("a", "web", ""), ("b", "app", ""), (long, "", ""), (OTHER, "", ""))
    made.admit(wanted)
    numbers = made.known(DIMENSIONS, [values for _, values in wanted])
    before = [made.keys(number << COUNTER_BITS | Counter.STARTED) for number in numbers if number is not None]
    made.forget()
    assert [made.existing_keys(*cell, Counter.STARTED) for cell in wanted] == before
    assert [len(keys) for keys in before] == [3, 3, 3, 2, 2]


def test_an_overlong_value_is_other_and_takes_no_place() -> None:
    made = table()
    long = "x" * (VALUE_CHARACTERS_MAX + 1)
    made.admit(cells((long, "", ""), ("j1", "", "")))
    assert list(made.vocabulary["journey"]) == ["j1"]
    assert labels(made, (long, "", ""), Counter.STARTED) == {(), (OTHER,)}


def test_beyond_the_series_of_a_slice_all_its_labels_are_other() -> None:
    made = table(series_per_slice=2)
    made.admit(cells(("a", "app", ""), ("a", "web", ""), ("b", "app", "")))
    assert labels(made, ("b", "app", ""), Counter.STARTED) == {(), ("b",), (OTHER, OTHER)}
    assert made.overflowed == {2: ("journey,channel",)}


def test_dimensions_the_batch_does_not_name_are_empty_and_unknown_ones_ignored() -> None:
    made = table()
    made.admit([(("planet", "journey"), ("mars", "checkout"))])
    assert [series.values for series in made.series] == [(), ("checkout",)]


def test_series_of_several_rollup_partitions_are_disjoint_and_complete() -> None:
    parts = [SeriesTable(definitions.parse(TEXT), partition=i, partitions=3) for i in range(3)]
    whole = table()
    wanted = cells(*[(f"j{i}", c, "t") for i in range(3) for c in ("web", "app", "")])
    for made in (*parts, whole):
        made.admit(wanted)
    found = [series for made in parts for series in made.series]
    assert sorted(found) == sorted(whole.series)
    assert sum(bool(made.series) for made in parts) > 1


def test_a_slice_that_is_defined_twice_is_one_also_where_an_earlier_build_kept_it_twice() -> None:
    text = TEXT + "".join(f"[[slice]]\nby = {list(by)}\n" for by in definitions.parse(TEXT).slices)
    assert definitions.parse(text).slices == definitions.parse(TEXT).slices
    restored = SeriesTable(definitions.parse(text), partition=0, partitions=1)
    for number in range(2):
        restored.restore_series(number, ("journey",), ("checkout",))
    restored.admit(cells(("checkout", "", "")))
    assert [(series.by, series.values) for series in restored.series if series.slice >= 0 and series.by] == [(("journey",), ("checkout",))]
    numbers = [key >> COUNTER_BITS for key in restored.existing_keys(*cells(("checkout", "", ""))[0], Counter.STARTED)]
    assert [number for number in numbers if restored.series[number].by] == [0], "the one with the sums that it began with"


def test_all_series_of_a_slice_are_with_one_rollup_partition_so_that_groups_and_other_meet() -> None:
    parts = [SeriesTable(definitions.parse(TEXT), partition=i, partitions=3) for i in range(3)]
    for made in parts:
        made.admit(cells(*[(f"j{i}", c, "t") for i in range(20) for c in ("web", "app")]))
    owners = [series.by for made in parts for series in dict.fromkeys(s._replace(values=()) for s in made.series)]
    assert len(owners) == len(set(owners)) == len(definitions.parse(TEXT).slices)


def test_a_value_that_is_other_is_counted_by_the_partition_that_owns_the_value() -> None:
    # The journeys route by the value itself: nobody else would see the change.
    parts = [SeriesTable(definitions.parse(TEXT), partition=i, partitions=3) for i in range(3)]
    wanted = [f"j{i}" for i in range(40)]
    for made in parts:
        made.admit(cells(*[(value, "", "") for value in wanted]))
    for value in wanted:
        owners = [made for made in parts if any(labels(made, (value, "", ""), Counter.STARTED) - {()})]
        assert len(owners) == 1

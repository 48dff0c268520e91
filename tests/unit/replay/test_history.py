"""A history is sorted by event time, the file's order deciding ties, and says what it could not use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.errors import InputError
from streamer.replay.history import Rejects, read_history, rejects
from streamer.replay.mapping import load
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario

MAPPING = """
source = "/crm"
case = "case"
time = { column = "at" }
[[touchpoint]]
type = "contact.started"
first_of_case = true
fields = { customer_id = "{who}", channel = "phone" }
[[touchpoint]]
type = "contact.ended"
when = { what = "done" }
fields = { customer_id = "{who}", channel = "phone" }
"""


def mapped(directory: Path, rows: str) -> list[tuple[str, str]]:
    (directory / "m.toml").write_text(MAPPING)
    (directory / "h.csv").write_text("case,at,who,what\n" + rows)
    history = read_history(directory / "h.csv", load(directory / "m.toml"))
    return [(event["id"], event["type"]) for event in map(json.loads, (e.value for e in history.events))]


def test_the_first_of_a_case_is_its_earliest_row_wherever_it_stands(tmp_path: Path) -> None:
    rows = "a,2026-01-02T00:00:00Z,c,x\nb,2026-01-01T00:00:00Z,c,x\na,2026-01-01T00:00:00Z,c,x\na,2026-01-01T00:00:00Z,c,x\n"
    assert mapped(tmp_path, rows) == [("2.1", "contact.started"), ("3.1", "contact.started")]


def test_a_first_row_that_also_ends_its_case_makes_both_in_block_order(tmp_path: Path) -> None:
    assert mapped(tmp_path, "a,2026-01-02T00:00:00Z,c,done\n") == [("1.1", "contact.started"), ("1.2", "contact.ended")]


def test_a_row_without_a_time_is_not_the_first_of_its_case(tmp_path: Path) -> None:
    assert mapped(tmp_path, "a,,c,x\na,2026-01-02T00:00:00Z,c,x\n") == [("2.1", "contact.started")]


def test_dead_letters_are_told_by_reason_with_the_first_row_of_each(tmp_path: Path) -> None:
    rows = ("2026-01-02T00:00:00Z,c", "2026-01-02T00:00:01Z,", "2026-01-01T00:00:00Z,", "2026-01-02T00:06:00Z,c", "2026-01-02T00:05:00Z,c")
    (tmp_path / "m.toml").write_text(MAPPING.replace("first_of_case = true\n", ""))
    (tmp_path / "h.csv").write_text("case,at,who,what\n" + "".join(f"a,{row},x\n" for row in rows))
    found = rejects(read_history(tmp_path / "h.csv", load(tmp_path / "m.toml")), 1767312000000)
    assert found == {
        "future": Rejects(1, "row 4: time is 360 s ahead of the arrival"),
        "missing_customer": Rejects(2, "row 2: customer_id and anonymous_id are missing"),
    }


def test_rows_without_touchpoints_are_counted(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "h.csv").write_text("case,at,who,what\na,2026-01-02T00:00:00Z,c,x\na,2026-01-03T00:00:00Z,c,y\n")
    history = read_history(tmp_path / "h.csv", load(tmp_path / "m.toml"))
    assert (history.rows, history.unmapped, len(history.events)) == (2, 1, 1)
    assert history.begin_ms == history.end_ms == 1767312000000


def test_a_column_that_occurs_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "h.csv").write_text("case,at,who\na,2026-01-02T00:00:00Z,c\n")
    with pytest.raises(InputError, match=r'no row has the column \'what\', which the mapping names; the last has "case", "at", "who"$'):
        read_history(tmp_path / "h.csv", load(tmp_path / "m.toml"))


def test_a_bad_time_names_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"h\.csv:3: the time 'soon' cannot be read"):
        mapped(tmp_path, "a,2026-01-02T00:00:00Z,c,x\nb,soon,c,x\n")


def test_a_row_without_its_time_says_whether_the_column_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"h\.csv:2: the column 'at', which is to have the time, is empty"):
        mapped(tmp_path, "a,,c,done\n")
    (tmp_path / "h.csv").write_text("case;at;who;what\na;2026-01-02T00:00:00Z;c;done\n")
    (tmp_path / "m.toml").write_text(MAPPING.replace('when = { what = "done" }', ""))
    with pytest.raises(InputError, match=r"""h\.csv:2: no column 'at', .* among "case;at;who;what": .* `csv.delimiter`"""):
        read_history(tmp_path / "h.csv", load(tmp_path / "m.toml"))


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path) -> None:
    line = '{"type":"a","time":"2026-01-01T00:00:02Z","customer_id":"c"}'
    (tmp_path / "h.jsonl").write_text(f"\ufeff{line}\n\ufeff{line}", encoding="utf-8")
    assert [e.value.decode() for e in read_history(tmp_path / "h.jsonl").events] == [line, f"\ufeff{line}"]


def test_canonical_lines_are_sorted_unchanged_and_keyed(tmp_path: Path) -> None:
    lines = [
        '{"type":"a","time":"2026-01-01T00:00:02Z","customer_id":"c"}',
        '{"specversion":"1.0","type":"a","time":"2026-01-01T00:00:01Z","data":{"anonymous_id":"d"}}',
        '{"type":"b","time":"2026-01-01T00:00:01.000Z","customer_id":"e","anonymous_id":"f"}',
    ]
    (tmp_path / "h.jsonl").write_text("\n".join(lines))
    events = read_history(tmp_path / "h.jsonl").events
    assert [(e.key, e.value.decode()) for e in events] == [(b"d", lines[1]), (b"e", lines[2]), (b"c", lines[0])]


def test_a_simulated_file_is_read_under_the_keys_that_the_simulation_sends_under(tmp_path: Path) -> None:
    sent = list(Simulation(Scenario(2, 2_000, 0, 3_600_000, ((0, 2.0),))).sent())
    assert sum(b'"identity.linked"' in record.value for record in sent) > 10
    (tmp_path / "h.jsonl").write_bytes(b"\n".join(record.value for record in sent))
    found = {(event.key, event.value) for event in read_history(tmp_path / "h.jsonl").events}
    assert found == {(record.key, record.value) for record in sent}


def test_a_canonical_line_that_is_no_event_keeps_its_place_for_the_dead_letters(tmp_path: Path) -> None:
    lines = ["{", '{"type":"a","time":"2026-01-01T00:00:02Z","customer_id":"c"}', "[]", '{"type":"a","time":"2026-01-01T00:00:01Z"}']
    (tmp_path / "h.jsonl").write_text("\n".join(lines))
    assert [e.value.decode() for e in read_history(tmp_path / "h.jsonl").events] == [lines[3], lines[0], lines[1], lines[2]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("h.jsonl", "", "makes no touchpoints"),
        ("h.jsonl", "{", "no line is an event"),
        ("h.csv", "a\n1\n", "needs --mapping"),
        ("h.jsonl", '\n{"time":"9999-12-31T23:59:59Z"}\n{', r"h\.jsonl:2: .* after the year 9000"),
        ("h.jsonl", '{"time":"9999-12-31T23:59:59-05:00"}', "no line is an event"),
    ],
)
def test_a_file_without_events_that_can_be_folded_is_an_error(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_history(tmp_path / name)


@pytest.mark.parametrize("name", sorted(path.name for path in Path("mappings").glob("*.toml") if "definitions" not in path.name))
def test_the_mappings_that_come_with_the_product_hold_together(name: str) -> None:
    load(Path("mappings") / name)

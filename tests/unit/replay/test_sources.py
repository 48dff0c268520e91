"""History files become rows, whole or not at all; what cannot be read is named with its place."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from streamer.errors import InputError
from streamer.replay.sources import read_rows

XES = """<?xml version="1.0"?>
<log xmlns="http://www.xes-standard.org/">
  <global scope="event"><string key="owner" value="UNKNOWN"/></global>
  <!-- a comment -->
  <float key="meta" value="1"><float key="nested" value="2"/></float>
  {traces}
</log>"""
TRACE = """<trace><string key="concept:name" value="{case}"/><event>
  <string key="owner" value="A &amp; B"><string key="nested" value="ignored"/></string>
  <date key="time:timestamp" value="2010-03-31T16:59:42+02:00"/><list key="l"><string key="in" value="x"/></list>
</event><event><int key="n" value="3"/></event></trace>"""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["log.xes", "log.xes.gz"])
def test_xes_rows_hold_the_events_attributes_and_the_traces_as_case(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, XES.format(traces=TRACE.format(case="1-a") + TRACE.format(case="1-b")))
    rows = list(read_rows(path))
    assert [row.position for row in rows] == [1, 2, 3, 4]
    assert rows[0].columns == {"case:concept:name": "1-a", "owner": "A & B", "time:timestamp": "2010-03-31T16:59:42+02:00"}
    assert rows[3].columns == {"case:concept:name": "1-b", "n": "3"}


def test_xes_without_a_namespace_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "log.xes", '<log><trace><event><string key="a" value="b"/></event></trace></log>')
    assert [row.columns for row in read_rows(path)] == [{"a": "b"}]


def test_xes_with_a_document_type_is_refused_before_any_row(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><log><trace><event><string key="x" value="&b;"/></event></trace></log>'
    with pytest.raises(InputError, match="document type"):
        next(iter(read_rows(write(tmp_path / "log.xes", bomb))))


def test_xes_memory_does_not_grow_with_the_number_of_traces(tmp_path: Path) -> None:
    path = write(tmp_path / "log.xes", XES.format(traces="".join(TRACE.format(case=n) for n in range(20_000))))
    rows = iter(read_rows(path))
    next(rows)
    before = resident_bytes()
    assert sum(1 for _ in rows) == 39_999
    assert resident_bytes() - before < 8 << 20  # the whole tree takes about 50 MiB


def test_broken_xml_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "log.xes", "<log><trace></log>")
    with pytest.raises(InputError, match="not well-formed"):
        list(read_rows(path))


def test_a_truncated_gzip_file_is_an_input_error_naming_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv.gz", "a,b\n" + "1,2\n" * 1000)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"log\.csv\.gz"):
        list(read_rows(path))


def test_csv_with_quotes_newlines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", '\ufeffcase;note\r\n1;"a;\nb"\r\n2;\r\n')
    assert [row.columns for row in read_rows(path, delimiter=";")] == [{"case": "1", "note": "a;\nb"}, {"case": "2", "note": ""}]


def test_csv_rows_of_another_length_than_the_header_are_named_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", "a,b\n1,2\n1,2,3\n")
    with pytest.raises(InputError, match=r"h\.csv:3"):
        list(read_rows(path))


def test_a_csv_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'h\.csv:1: the header has the column "at" more than once'):
        list(read_rows(write(tmp_path / "h.csv", "at,who,at\n1,2,3\n")))
    assert [row.columns for row in read_rows(write(tmp_path / "h.csv", "at,,\n1,,\n"))] == [{"at": "1", "": ""}]


def test_rows_know_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", 'a\n"x\ny"\nz\n')
    assert [row.place for row in read_rows(path)] == [f"{path}:3", f"{path}:4"]
    path = write(tmp_path / "h.jsonl", '\n{"a":1}\n')
    assert [row.place for row in read_rows(path)] == [f"{path}:2"]
    path = write(tmp_path / "log.xes", XES.format(traces=TRACE.format(case=1)))
    assert [row.place for row in read_rows(path)] == [f"{path}: row 1", f"{path}: row 2"]


def test_csv_in_another_encoding_than_said_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes("a\nMüller\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"h\.csv: is not utf-8"):
        list(read_rows(path))
    assert [row.columns for row in read_rows(path, encoding="latin-1")] == [{"a": "Müller"}]


def test_json_lines_are_flattened_with_dots(tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", '{"a": {"b": "x", "c": {"d": 1.5}}, "t": true, "l": [1, 2], "n": null}\n\n{"a": "y"}\n')
    assert [(row.position, row.columns) for row in read_rows(path)] == [
        (1, {"a.b": "x", "a.c.d": "1.5", "t": "true", "l": "[1,2]"}),
        (3, {"a": "y"}),
    ]


@pytest.mark.parametrize(("line", "said"), [("{", r"h\.jsonl:2: is not JSON"), ("[1]", r"h\.jsonl:2: expected a JSON object")])
def test_json_lines_that_are_no_objects_are_named_by_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_rows(write(tmp_path / "h.jsonl", f'{{"a": 1}}\n{line}\n')))


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    line = '{"id": 100000000000000000001, "a": {"b": 12345678901234.565, "c": 1e2}, "l": [1, {"x": 18446744073709551617}], "n": null}'
    [row] = read_rows(write(tmp_path / "h.jsonl", line))
    assert row.columns == {
        "id": "100000000000000000001", "a.b": "12345678901234.565", "a.c": "1e2", "l": '[1,{"x":18446744073709551617}]',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a":' * 2_000 + "1" + "}" * 2_000, r"h\.jsonl:1: objects are nested too deep"),
        ('{"a": NaN}', r"h\.jsonl:1: is not JSON"),
        ('{"a": "\\ud800"}', r"h\.jsonl:1: is not JSON"),
    ],
)
def test_lines_that_no_event_can_be_made_of_are_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_rows(write(tmp_path / "h.jsonl", line)))


def test_what_is_in_lists_is_written_without_spaces_and_escapes(tmp_path: Path) -> None:
    line = '{"tags": [ "Zahlung f\\u00e4llig", {"a" : [1.50, true, null]} ]}'
    [row] = read_rows(write(tmp_path / "h.jsonl", line))
    assert row.columns["tags"] == '["Zahlung fällig",{"a":[1.50,true,null]}]'


def test_lists_may_be_nested_deeper(tmp_path: Path) -> None:
    [row] = read_rows(write(tmp_path / "h.jsonl", '{"a":1,"l":' + "[" * 300 + "]" * 300 + "}"))
    assert row.columns["l"] == "[" * 300 + "]" * 300


def test_a_cell_may_have_the_mail_of_a_ticket(tmp_path: Path) -> None:
    [row] = read_rows(write(tmp_path / "h.csv", "at,note\n1," + "x" * 200_000 + "\n"))
    assert len(row.columns["note"]) == 200_000


def test_a_line_longer_than_the_limit_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * (64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="longer than"):
            list(read_rows(path))
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_unknown_kinds_and_missing_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown kind"):
        read_rows(tmp_path / "history.parquet")
    with pytest.raises(InputError, match="No such file"):
        list(read_rows(tmp_path / "absent.csv"))

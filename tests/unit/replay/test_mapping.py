"""A mapping file turns rows into touchpoints the decoder accepts; each mistake in it is one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamer.alerts.times import rfc3339
from streamer.errors import InputError
from streamer.replay.mapping import load
from streamer.replay.sources import Row
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint

if TYPE_CHECKING:
    from streamer.replay.mapping import HistoryMapping

HEAD = 'source = "/crm"\ntime = { column = "at" }\n'
BLOCK = '[[touchpoint]]\ntype = "case.updated"\n[touchpoint.fields]\ncustomer_id = "{who}"\nchannel = "other"\n'


def mapping(directory: Path, text: str) -> HistoryMapping:
    path = directory / "m.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def values(spec: HistoryMapping, *, first_of_case: bool = False, **columns: str) -> list[dict[str, Any]]:
    row = Row(7, {"at": "2026-11-21T10:15:03.120+01:00", "who": "c1"} | columns, "h.csv:8")
    return [json.loads(event.value) for event in spec.events(row, first_of_case=first_of_case)]


def test_a_row_becomes_a_flat_touchpoint_with_its_place_as_id(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + 'issue.case_id = "{case}"\nissue.resolved = true\nactor.owner = "{a}/{b}"\n')
    assert values(spec, case="9", a="x", b="y") == [
        {
            "id": "7.1",
            "source": "/crm",
            "type": "case.updated",
            "time": "2026-11-21T09:15:03.120Z",
            "sequence": 7,
            "customer_id": "c1",
            "channel": "other",
            "issue": {"case_id": "9", "resolved": True},
            "actor": {"owner": "x/y"},
        }
    ]


def test_the_key_is_the_customer_else_the_anonymous_id(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + 'anonymous_id = "{device}"\n')
    at = "2026-11-21T10:15:03Z"
    keys = [next(spec.events(Row(1, {"at": at, **who}, "h.csv:2"))).key for who in ({"who": "c", "device": "d"}, {"device": "d"}, {})]
    assert keys == [b"c", b"d", None]


def test_a_link_comes_under_the_visitor_whose_journeys_it_ends(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK.replace("case.updated", "identity.linked") + 'anonymous_id = "{device}"\n')
    at = "2026-11-21T10:15:03Z"
    keys = [next(spec.events(Row(1, {"at": at, **who}, "h.csv:2"))).key for who in ({"who": "c", "device": "d"}, {"who": "c"}, {})]
    assert keys == [b"d", b"c", None]


def test_so_does_a_link_of_a_type_with_a_prefix(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK.replace("case.updated", "com.acme.identity.linked") + 'anonymous_id = "{device}"\n')
    assert next(spec.events(Row(1, {"at": "2026-11-21T10:15:03Z", "who": "c", "device": "d"}, "h.csv:2"))).key == b"d"


def test_a_quoted_name_with_dots_means_the_same_field(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + '"issue.case_id" = "{case}"\n')
    assert values(spec, case="9")[0]["issue"] == {"case_id": "9"}


def test_columns_become_integers_and_booleans_where_the_event_has_them(tmp_path: Path) -> None:
    fields = 'search.results = "{n}"\nissue.resolved = "{r}"\nhandoff.context_passed = "{r}"\nconsent.categories.analytics = "{r}"\n'
    spec = mapping(tmp_path, HEAD + BLOCK + fields + 'commerce.revenue = "{n}"\npreference.ideal = 5\n')
    [value] = values(spec, n="12", r="TRUE")
    assert (value["search"], value["issue"], value["handoff"]) == ({"results": 12}, {"resolved": True}, {"context_passed": True})
    assert (value["consent"], value["commerce"]) == ({"categories": {"analytics": True}}, {"revenue": 12})
    [value] = values(spec, n="1.5", r="yes")  # no such thing: a dead letter of this row
    assert (value["search"], value["issue"]) == ({"results": "1.5"}, {"resolved": "yes"})


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("84.90", b'"revenue":84.90'), ("1e2", b'"revenue":1e2'), ("1.23456789E7", b'"revenue":1.23456789E7'), ("-0.5", b'"revenue":-0.5'),
        ("0.0033333333333333335", b'"revenue":0.0033333333333333335'), ("084.90", b'"revenue":"084.90"'), ("abc", b'"revenue":"abc"'),
    ],
)  # fmt: skip
def test_a_number_goes_on_with_all_its_digits(tmp_path: Path, text: str, written: bytes) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + 'commerce.revenue = "{n}"\n')
    [event] = spec.events(Row(1, {"at": "2026-11-21T10:15:03Z", "who": "c", "n": text}, "h.csv:2"))
    assert written in event.value
    taken = isinstance(decode(0, event.time_ms, b"c", event.value, ()), Touchpoint)
    assert taken == (text != "abc")


def test_a_whole_number_may_be_written_as_columns_that_may_be_empty_have_it(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + 'survey.brands = "{n}"\nsurvey.rank = 2.0\n')
    [value] = values(spec, n="3.0")
    assert value["survey"] == {"brands": 3, "rank": 2.0}


def test_fields_whose_columns_are_empty_or_absent_are_left_out(tmp_path: Path) -> None:
    spec = mapping(tmp_path, HEAD + BLOCK + 'step = "{a}-{b}"\nregion = "{a}"\n')
    [value] = values(spec, a="", b="y")
    assert "step" not in value
    assert "region" not in value


def test_conditions_choose_blocks_and_several_may_match_one_row(tmp_path: Path) -> None:
    closed = BLOCK.replace('"case.updated"', '"case.closed"\nwhen = { status = ["done", "closed"], "sub.status" = "x" }')
    opened = BLOCK.replace('"case.updated"', '"case.opened"\nfirst_of_case = true')
    spec = mapping(tmp_path, 'case = "who"\n' + HEAD + opened + closed)

    def types(status: str, sub: str = "", *, first: bool = False) -> list[str]:
        return [value["type"] for value in values(spec, first_of_case=first, status=status, **{"sub.status": sub})]

    assert types("done", "x") == ["case.closed"]
    assert types("done") == []
    assert types("open", "x") == []
    assert types("closed", "x", first=True) == ["case.opened", "case.closed"]


def test_tables_translate_values_with_a_default(tmp_path: Path) -> None:
    table = '[tables.channels]\nPhone = "phone"\nWeb = "web"\n'
    block = BLOCK.replace('channel = "other"', 'channel = { column = "via", table = "channels", default = "other" }')
    spec = mapping(tmp_path, HEAD + table + block + 'step = { column = "via", table = "channels" }\n')
    assert [values(spec, via=via)[0].get("channel") for via in ("Phone", "Fax")] == ["phone", "other"]
    assert "step" not in values(spec, via="Fax")[0]


@pytest.mark.parametrize(
    ("time", "text", "expected"),
    [
        ('{ column = "at" }', "2026-11-21T10:15:03.1239+05:30", "2026-11-21T04:45:03.123Z"),
        ('{ column = "at", zone = "Europe/Brussels" }', "2012-05-05T14:54:27", "2012-05-05T12:54:27.000Z"),
        ('{ column = "at", format = "%d.%m.%Y %H:%M", zone = "UTC" }', "05.05.2012 14:54", "2012-05-05T14:54:00.000Z"),
        ('{ column = "at", format = "epoch_s" }', "1336222467.5", "2012-05-05T12:54:27.500Z"),
        ('{ column = "at", format = "epoch_ms" }', "1336222467500", "2012-05-05T12:54:27.500Z"),
        ('{ column = "at", format = "epoch_s" }', "1336222467.9996", "2012-05-05T12:54:27.999Z"),
        ('{ column = "at", format = "epoch_ms" }', "1.3362224675e+12", "2012-05-05T12:54:27.500Z"),
        ('{ column = "at", format = "epoch_s" }', "-0.0001", "1969-12-31T23:59:59.999Z"),
        ('{ column = "at" }', "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ('{ column = "at" }', "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_read_in_their_format_and_zone(tmp_path: Path, time: str, text: str, expected: str) -> None:
    spec = mapping(tmp_path, f'source = "/crm"\ntime = {time}\n{BLOCK}')
    assert values(spec, at=text)[0]["time"] == expected
    assert rfc3339(spec.time_ms(Row(1, {"at": text}, "h.csv:2"))) == expected


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("epoch_s", "1336229667000"),
        ("epoch_ms", "1336229667000000000"),
        ("epoch_s", "nan"),
        ("epoch_s", "1e9999"),
        ("iso", "0001-01-01T00:00:00+01:00"),
        ("iso", "9999-12-31T00:00:00Z"),
    ],
)
def test_a_time_in_other_units_or_without_meaning_is_one_sentence(tmp_path: Path, time: str, text: str) -> None:
    spec = mapping(tmp_path, f'source = "/crm"\ntime = {{ column = "at", format = "{time}" }}\n{BLOCK}')
    with pytest.raises(InputError, match=r"h\.csv:8: the time '.*' cannot be read: "):
        values(spec, at=text)


def test_a_time_without_offset_needs_a_zone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"h\.csv:8: .*names no `zone`"):
        values(mapping(tmp_path, HEAD + BLOCK), at="2012-05-05T14:54:27")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source = ", "no TOML: invalid value"),
        (HEAD, "touchpoint"),
        (HEAD + "touchpoint = []", r"no \[\[touchpoint\]\] block"),
        (HEAD + "extra = 1\n" + BLOCK, "extra"),
        (HEAD + BLOCK + 'custmer_id = "x"\n', 'unknown field "custmer_id"; did you mean "customer_id"'),
        (HEAD + BLOCK + 'issue.case = "x"\n', 'unknown field "issue.case"'),
        (HEAD + BLOCK.replace("customer_id", "account_id"), "needs the field customer_id or anonymous_id"),
        (HEAD + BLOCK.replace('channel = "other"\n', ""), "channel must be one of web"),
        (HEAD + BLOCK.replace('"other"', '"fax"'), "channel must be one of web"),
        (HEAD + BLOCK + 'step = { column = "a", table = "steps" }\n', 'unknown table "steps"; none is known'),
        (HEAD + BLOCK.replace('"other"', "5"), 'channel: expected text, got "5"'),
        (HEAD + BLOCK.replace('"{who}"', "5"), 'customer_id: expected text, got "5"'),
        (HEAD + BLOCK + "step = true\n", 'step: expected text, got "True"'),
        (HEAD + BLOCK + 'issue.resolved = "yes"\n', 'issue.resolved: expected true or false, got "yes"'),
        (HEAD + BLOCK + "search.results = true\n", 'search.results: expected a whole number, got "True"'),
        (HEAD + "[tables.t]\na = 1\n" + BLOCK + 'issue.resolved = { column = "a", table = "t" }\n', "issue.resolved: expected true or"),
        (HEAD + BLOCK + 'commerce.revenue = "abc"\n', 'commerce.revenue: expected a number, got "abc"'),
        (HEAD + BLOCK + "survey.rank = 2.5\n", 'survey.rank: expected a whole number, got "2.5"'),
        (HEAD + BLOCK + 'issue.case_id = "a"\n"issue.case_id" = "b"\n', 'the field "issue.case_id" is given twice'),
        (HEAD + BLOCK + "commerce.revenue = false\n", 'commerce.revenue: expected a number, got "False"'),
        (HEAD.replace('"at"', '"at", format = "%d.%d.%Y"') + BLOCK, '"%d.%d.%Y" is no pattern that can be read'),
        (HEAD.replace('"at"', '"at", format = "%Q"') + BLOCK, '"%Q" is no pattern'),
        (HEAD.replace('"at"', '"at", format = "%H:%M %Z"') + BLOCK, "has %Z"),
        (HEAD + BLOCK + 'step = "{a"\n', 'step: "{a" has a brace that is not of a pair'),
        (HEAD + BLOCK + 'step = "{}"\n', 'step: "{}" has a brace'),
        (HEAD + BLOCK + 'step = "{a}-{{b}}"\n', 'step: "{a}-{{b}}" has a brace'),
        (HEAD + BLOCK + "commerce.revenue = inf\n", "commerce.revenue: expected a finite number, got inf"),
        (HEAD + "[tables.t]\na = nan\n" + BLOCK + 'step = { column = "a", table = "t" }\n', "step: expected a finite number, got nan"),
        (HEAD + BLOCK + "step = ['a']\n", "expected text, a number"),
        (HEAD + BLOCK.replace('"case.updated"', '"case.opened"\nfirst_of_case = true'), "needs `case`"),
        (HEAD.replace('"at"', '"at", zone = "Mars/Olympus"') + BLOCK, 'unknown time zone "Mars/Olympus": use an IANA name'),
        (HEAD.replace('"at"', '"at", zone = "Europe"') + BLOCK, 'unknown time zone "Europe"'),
        (HEAD.replace('"at"', f'"at", zone = "{"x" * 5_000}"') + BLOCK, r'unknown time zone "x{57}\.\.\."'),
        (HEAD + BLOCK + "step = " + "[" * 3_000 + "]" * 3_000, "nested too deeply"),
        (HEAD + BLOCK + "a." * 3_000 + "step = 1", "nested too deeply"),
        (HEAD + 'csv.delimiter = "||"\n' + BLOCK, "`delimiter` is one character, not '||'"),
        (HEAD + "csv.delimiter = '\\t'\n" + BLOCK, "`delimiter` is one character"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_the_files_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        mapping(tmp_path, text)
    assert re.match(r".*/m\.toml:[0-9]+: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_the_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert values(mapping(tmp_path, "\ufeff" + HEAD + BLOCK))[0]["customer_id"] == "c1"
    with pytest.raises(InputError, match=r"m\.toml:3: "):
        mapping(tmp_path, "\ufeff" + HEAD + "extra = 1\n" + BLOCK)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + "\n= 3", 4),
        (HEAD + "extra = 1\n" + BLOCK, 3),
        (HEAD + BLOCK + 'custmer_id = "x"\n', 8),
        (HEAD + BLOCK + BLOCK + 'step = { column = "a", table = "steps" }\n', 13),
        (HEAD + BLOCK + BLOCK.replace("customer_id", "account_id"), 8),
        (HEAD + BLOCK + BLOCK.replace('type = "case.updated"\n', "type = 7\n"), 9),
        (HEAD.replace('"at"', '"at", zone = "Mars/Olympus"') + BLOCK, 2),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(InputError, match=f"m.toml:{line}: "):
        mapping(tmp_path, text)


def test_the_example_and_the_field_names_of_the_reference_are_true(tmp_path: Path) -> None:
    page = Path("docs/reference/mapping.md").read_text(encoding="utf-8")
    example = page.split("## Example")[1].split("```toml\n")[1].split("```")[0]
    columns = {"ticket": "7", "at": "2026-07-01 12:00", "company": "acme", "via": "Portal", "product": "till", "status": "Closed"}
    started, ended = mapping(tmp_path, example).events(Row(1, columns, "h.csv:2"), first_of_case=True)
    assert json.loads(started.value)["channel"] == "web"
    assert (json.loads(ended.value)["time"], json.loads(ended.value)["issue"]["resolved"]) == ("2026-07-01T10:00:00.000Z", True)
    how_to = Path("docs/how-to/ingest-history.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert mapping(tmp_path, how_to).columns == {"changed_at", "customer", "ticket", "team"}

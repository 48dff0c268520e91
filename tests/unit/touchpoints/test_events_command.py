"""`streamer events`: its output is parsed by producers' builds, so it is fixed here to the byte."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.errors import InputError
from streamer.touchpoints.schema import schema_text

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"type":"page.viewed","time":"2026-01-21T10:15:03Z","customer_id":"c-1","channel":"web"}'
LINES = [
    GOOD,
    "",
    '{"type":"page.viewed","time":"2026-01-21T10:15:03Z","channel":"web"}',
    '{"type":"page.viewed","time":"2026-01-21T10:15:03","customer_id":"c-1","channel":"web"}',
    (
        '{"specversion":"1.0","id":"1","source":"/a","type":"checkout.started","time":"2026-01-21T10:15:03Z",'
        '"data":{"customer_id":"c-1","channel":"web","checkout_id":"k"}}'
    ),
    '{"type":"page.viewed","time":"2026-01-21T10:15:03Z","customer_id":"c-1","channel":"web","\\u001b[31m":1}',
    '{"a":',
]
ACCEPTED_IN_PART = "It would be accepted, but that part is ignored, cut or changed; `props` takes fields of your own."
GOLDEN = f"""\
line 1: ok
line 3: missing_customer: customer_id and anonymous_id are missing. Set customer_id if the customer is known, else anonymous_id.
line 4: invalid_time: time: expected RFC 3339 with an offset, as in 2026-11-21T10:15:03.120Z. \
Write when it happened with its offset, as in 2026-11-21T10:15:03.120Z.
line 5: not_in_schema: Object contains unknown field `checkout_id` - at `$.data`. Did you mean `data.commerce.checkout_id`? \
{ACCEPTED_IN_PART}
line 6: not_in_schema: Object contains unknown field `\ufffd[31m`. {ACCEPTED_IN_PART}
line 7: invalid_json: Input data was truncated. Send one JSON object in UTF-8; NaN, Infinity and trailing text are not JSON.
6 events: 1 ok, 2 with remarks, 3 rejected
"""
GOLDEN_JSON = [
    {"line": 1, "accepted": True, "reason": "ok", "detail": "", "advice": ""},
    {
        "line": 2,
        "accepted": False,
        "reason": "missing_customer",
        "detail": "customer_id and anonymous_id are missing",
        "advice": "Set customer_id if the customer is known, else anonymous_id.",
    },
    {"summary": {"events": 2, "ok": 1, "remarks": 0, "rejected": 1}},
]

runner = CliRunner()


def test_check_says_for_each_line_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(LINES))
    result = runner.invoke(app, ["events", "check", str(file)])
    assert result.output == GOLDEN
    assert result.exit_code == 1


def test_check_prints_json_lines_from_standard_input() -> None:
    result = runner.invoke(app, ["events", "check", "-", "--json"], input=f"{GOOD}\n{LINES[2]}\n")
    assert [json.loads(line) for line in result.output.splitlines()] == GOLDEN_JSON
    assert result.exit_code == 1


def test_check_of_good_events_exits_with_0() -> None:
    result = runner.invoke(app, ["events", "check", "-"], input=f"{GOOD}\n{GOOD}")
    assert result.output == "line 1: ok\nline 2: ok\n2 events: 2 ok, 0 with remarks, 0 rejected\n"
    assert result.exit_code == 0


def test_an_event_ahead_of_now_is_reported() -> None:
    result = runner.invoke(app, ["events", "check", "-"], input=GOOD.replace("2026-01", "9999-01"))
    assert result.output.startswith("line 1: future: time is ")
    assert result.exit_code == 1


def test_bytes_that_are_not_utf8_are_reported_as_such() -> None:
    result = runner.invoke(app, ["events", "check", "-"], input=GOOD.replace("c-1", "é").encode("latin-1"))
    assert "line 1: invalid_json: not valid UTF-8." in result.output


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        runner.invoke(app, ["events", "check", str(tmp_path / "missing")], catch_exceptions=False)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        runner.invoke(app, ["events", "check", str(tmp_path)], catch_exceptions=False)


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(LINES).encode()))
    assert runner.invoke(app, ["events", "check", str(file)]).output == GOLDEN


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_nothing_to_check_is_an_input_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(text)
    for file in (str(tmp_path / "events.jsonl"), "-"):
        error = runner.invoke(app, ["events", "check", file], input=text).exception
        assert isinstance(error, InputError)
        assert str(error) == f"{file}: there is no event in it"


def test_schema_prints_the_committed_schema() -> None:
    assert runner.invoke(app, ["events", "schema"]).stdout_bytes == schema_text()
